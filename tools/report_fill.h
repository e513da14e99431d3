/* What each kind of report tells: from the log into a struct report. */
#ifndef USHER_REPORT_FILL_H
#define USHER_REPORT_FILL_H

#include "report.h"
#include "report_ask.h"

/* What the command line asked for. */
struct report_request {
	struct command_context *context;
	const struct config *config;
	struct report_period period;
	const char *client, *device; /* subject-access: whose rows */
	const char *profiles[CONFIG_PROFILES_MAX];
	size_t profile_count;
	bool cpoms; /* the rows in the columns of a safeguarding system's import */
};

/* Each fills a report that report_init() has begun. Returns COMMAND_OK, or COMMAND_FAILED after saying why.
 */
int report_fill_day(struct report *report, const struct report_request *request);
int report_fill_week(struct report *report, const struct report_request *request);
int report_fill_term(struct report *report, const struct report_request *request);
int report_fill_person(struct report *report, const struct report_request *request);

/* ---- shared by them ---- */

#define REPORT_WHEN_LEN 48

/* "Sun 22 Nov 09:02", local; "unknown" for what is no time. */
void report_when(const char *utc, char text[REPORT_WHEN_LEN]);
/* "Sunday 22 November 2026", local. */
void report_date(int64_t s, char text[REPORT_WHEN_LEN]);

/* A category's title, its name where it has none, "own rule" for none at all. */
const char *report_category(const struct config *config, const char *name);
enum report_tone report_category_tone(const struct config *config, const char *name);

/* Adds the counts of one object to those of another. */
void report_counts_add(json_t *to, const json_t *from);
uint64_t report_counts_sum(const json_t *counts);

/* Bars of counts by category, most first. */
void report_bars_by_category(struct report *report, const struct config *config, const json_t *counts);

/* Is it on, is it fresh, has it lost anything? Left out for who may not ask stats.sock. */
void report_health(struct report *report, struct command_context *context);

/* The last section of every report: what a DNS filter cannot know. */
void report_limits(struct report *report);

#endif
