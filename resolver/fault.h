/*
 * What can go wrong with usherd itself: one table, looked at by the main thread every two seconds, told by
 * `usher status` (a part each), /v1/stats and /metrics (a gauge each) and the operations alerts
 * (operations.h). What each profile gets meanwhile stands in README.md and usherd(8), a line each. Nothing
 * here changes what is filtered.
 */
#ifndef USHER_FAULT_H
#define USHER_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "clock_watch.h"

#define FAULT_TEXT_MAX 600

/* name, key, state in `usher status` while it lasts, what status says otherwise (NULL: the part of that key
 * tells it already) */
#define FAULTS(X)                                                                                            \
	X(LISTS, "lists", "failed", NULL)                                                                    \
	X(LISTS_DAMAGED, "lists-damaged", "warning", "no generation was refused")                            \
	X(LISTS_OLD, "lists-old", "warning", "every source was confirmed within eight days")                 \
	X(RULES, "rules", "warning", NULL)                                                                   \
	X(LOG, "log", "failed", NULL)                                                                        \
	X(LOG_LOST, "log-lost", "warning", "no event was lost in the last hour")                             \
	X(LEDGER, "ledger", "failed", NULL)                                                                  \
	X(CASES, "cases", "failed", "those that go on do")                                                   \
	X(RECURSOR, "recursor", "failed", NULL)                                                              \
	X(UPSTREAM, "upstream", "failed", "name servers answer")                                             \
	X(TRUST_ANCHOR, "trust-anchor", "failed", "DNSSEC works")                                            \
	X(CLOCK, "clock", "failed", "it can be right")                                                       \
	X(RELOAD, "reload", "warning", "the file's configuration is in effect")                              \
	X(WORKER, "worker", "failed", "all turn")                                                            \
	X(DISK, "disk", "failed", "there is room in state-dir")                                              \
	X(MEMORY, "memory", "warning", "there is memory")

enum fault {
#define X(name, key, state, well) FAULT_##name,
	FAULTS(X)
#undef X
	        FAULT_COUNT
};

struct fault_row {
	const char *key, *state, *well;
};
extern const struct fault_row fault_rows[FAULT_COUNT];

struct daemon;

struct faults {
	char text[FAULT_COUNT][FAULT_TEXT_MAX]; /* "": not there */
	struct clock_watch clock;
	int64_t past_s; /* the newest of usherd's own file and the log, at start; seconds since 1970 */
	int64_t recursor_gone_s; /* since when it does not run, 0: it does */
	unsigned restarts;       /* of it, when counting began */
	int64_t restarts_since_s;
	uint64_t lost; /* events, as told last */
	int64_t lost_at_s;
	struct fault_streak {                     /* of questions that came back, since the last good one */
		uint64_t answered, failed, bogus; /* as counted then */
		int64_t since_s;
	} streak;
};

/* Before the log is opened for writing: takes what is known to be past from state_dir. */
void faults_start(struct faults *faults, const char *state_dir);

/* Looks at everything. Any time, on the main thread. */
void faults_look(struct faults *faults, struct daemon *daemon);

/* ---- for tests ---- */

/* Is less than a twentieth of the memory available? meminfo: the text of /proc/meminfo; text becomes "" or a
 * sentence. */
void fault_of_memory(const char *meminfo, char text[FAULT_TEXT_MAX]);

/* The questions that came back up to now (total answered, failed, bogus); tells by *upstream and *anchor, ""
 * or a sentence each, whether all of them fail. */
void fault_of_streak(struct fault_streak *streak, const struct fault_streak *now,
        char upstream[FAULT_TEXT_MAX], char anchor[FAULT_TEXT_MAX]);

#endif
