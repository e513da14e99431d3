#include "report_fill.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "resolver/utc.h"

void report_when(const char *utc, char text[REPORT_WHEN_LEN])
{
	struct tm tm;
	int64_t s;

	time_t at = utc && utc_read(utc, &s) ? (time_t)s : -1;
	if (at == -1 || !localtime_r(&at, &tm))
		snprintf(text, REPORT_WHEN_LEN, "unknown");
	else
		strftime(text, REPORT_WHEN_LEN, "%a %d %b %H:%M", &tm);
}

void report_date(int64_t s, char text[REPORT_WHEN_LEN])
{
	time_t at = (time_t)s;
	struct tm tm;

	strftime(text, REPORT_WHEN_LEN, "%A %d %B %Y", localtime_r(&at, &tm));
}

static const struct config_category *category_find(const struct config *config, const char *name)
{
	for (size_t i = 0; name && i < config->category_count; i++)
		if (strcmp(config->categories[i].name, name) == 0)
			return &config->categories[i];
	return NULL;
}

const char *report_category(const struct config *config, const char *name)
{
	const struct config_category *category = category_find(config, name);

	if (category && category->title[0] != '\0')
		return category->title;
	return name && name[0] != '\0' ? name : "own rule";
}

enum report_tone report_category_tone(const struct config *config, const char *name)
{
	const struct config_category *category = category_find(config, name);

	if (!category || category->severity == SEVERITY_ADVISORY)
		return TONE_PLAIN;
	return category->severity == SEVERITY_DANGER ? TONE_DANGER : TONE_CAUTION;
}

void report_counts_add(json_t *to, const json_t *from)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)from, key, value) json_object_set_new(to, key,
	        json_integer(json_integer_value(json_object_get(to, key)) + json_integer_value(value)));
}

uint64_t report_counts_sum(const json_t *counts)
{
	uint64_t sum = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)counts, key, value) sum +=
	        (uint64_t)json_integer_value(value);
	return sum;
}

struct count {
	const char *key;
	uint64_t value;
};

static int count_compare(const void *a, const void *b)
{
	const struct count *x = a, *y = b;

	return x->value != y->value ? (x->value < y->value ? 1 : -1) : strcmp(x->key, y->key);
}

void report_bars_by_category(struct report *report, const struct config *config, const json_t *counts)
{
	struct count *sorted = calloc(json_object_size(counts) + 1, sizeof *sorted);
	size_t count = 0;
	const char *key;
	json_t *value;

	if (!sorted)
		abort();
	json_object_foreach((json_t *)(uintptr_t)counts, key, value) sorted[count++] =
	        (struct count){ key, (uint64_t)json_integer_value(value) };
	qsort(sorted, count, sizeof *sorted, count_compare);
	report_bars(report);
	for (size_t i = 0; i < count; i++)
		report_bar(report, report_category_tone(config, sorted[i].key),
		        report_category(config, sorted[i].key), sorted[i].value);
	free(sorted);
}

void report_health(struct report *report, struct command_context *context)
{
	json_t *stats = report_ask_state(context, "stats.sock", "/v1/stats");
	const json_t *generation = json_object_get(stats, "generation"), *log = json_object_get(stats, "log");

	report_section(report, "The filter itself");
	if (!stats) {
		report_sentence(report, TONE_QUIET,
		        "Its counters could not be read (the group usher-stats may): whether it lost events "
		        "is "
		        "not known here.");
		return;
	}
	json_int_t age = json_integer_value(json_object_get(generation, "age_s"));
	json_int_t lost = json_integer_value(json_object_get(log, "lost"));
	report_sentence(report, age > 3 * 86400 ? TONE_CAUTION : TONE_PLAIN,
	        "%" JSON_INTEGER_FORMAT " names are listed; the lists were published %" JSON_INTEGER_FORMAT
	        " hours ago.",
	        json_integer_value(json_object_get(generation, "names")), age / 3600);
	report_sentence(report, lost > 0 ? TONE_DANGER : TONE_PLAIN,
	        lost > 0 ? "%" JSON_INTEGER_FORMAT
	                   " events were lost since usherd was started: this report is not complete."
	                 : "No event was lost since usherd was started.",
	        lost);
	json_decref(stats);
}

void report_limits(struct report *report)
{
	report_section(report, "What this report cannot know");
	report_sentence(report, TONE_QUIET,
	        "usher sees the names that devices look up, nothing else: no search words, no pages, no "
	        "pictures, no messages. A name "
	        "can be looked up by a page or an app without anybody having asked for it. Mobile data and "
	        "devices outside the "
	        "school's network are not seen. A device is not a person: ask before you conclude.");
}
