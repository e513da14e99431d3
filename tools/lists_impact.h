/*
 * What another generation would change for this school: the names that it used (names/) and that were blocked
 * (the block log) in the last fortnight, judged for every profile with both generations' facts by the
 * functions that the daemon asks. A name that is blocked for what its answer leads to is not foreseen.
 */
#ifndef USHER_LISTS_IMPACT_H
#define USHER_LISTS_IMPACT_H

#include "lists_cmd.h"
#include "resolver/policy.h"

#define IMPACT_DAYS 14
#define IMPACT_PROFILE_WORDS (CONFIG_PROFILES_MAX / 64)

/* What a generation says of a name. */
struct impact_ruling {
	uint64_t profiles[IMPACT_PROFILE_WORDS]; /* bits: those for whom it is blocked */
	int category;                            /* of the first of them, -1 none */
	char *source;                            /* that lists it there, NULL none; owned */
};

struct impact_name {
	char *name;
	uint64_t asked, logged; /* in names/ and in the block log */
	bool is_protected;      /* by the configuration */
	struct impact_ruling before, after;
};

struct impact {
	const struct lists_tool *tool;
	struct moment now;
	struct impact_name *names;
	size_t count, room;
	size_t days;                           /* that names/ has */
	size_t used_count;                     /* names in it */
	bool has_log;                          /* the block log was read */
	size_t log_count;                      /* names in it */
	bool compared;                         /* both generations were there */
	size_t newly_blocked, newly_unblocked; /* names */
};

/* at: the moment to judge for, in seconds since 1970. */
void impact_init(struct impact *impact, const struct lists_tool *tool, int64_t at);
void impact_clear(struct impact *impact);

/* Reads names/. */
void impact_read_names(struct impact *impact);

/* Reads the block log, which is recorded in the ledger as a read by command; says on stderr why not. */
void impact_read_log(struct impact *impact, const char *command);

/* Judges the names by one generation, then by the other: only one need be open at a time. 0 or -ENOMEM. */
int impact_judge_before(struct impact *impact, struct lists *lists);
int impact_judge_after(struct impact *impact, struct lists *lists);

/* The changes: what is newly blocked before what is not any more, protected names first, then those asked
 * most. A table, or a JSON object a line. */
void impact_tell(const struct impact *impact);

/* One line on the names that are newly blocked, for the end of an update; nothing if nothing is known. */
void impact_summary(const struct impact *impact);

#endif
