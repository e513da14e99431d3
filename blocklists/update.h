/*
 * One run of `usher lists update`: fetch what changed, read it, hold back what looks wrong, compile, publish.
 * Either a checked generation appears by one act, or nothing changes and the result says why. A source that
 * fails or is held keeps its last good content while the others go ahead.
 */
#ifndef USHER_UPDATE_H
#define USHER_UPDATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fetch.h"
#include "source.h"

struct update_report;

struct update_options {
	const char *dir; /* STATE-DIR/lists */
	const char *const *categories;
	size_t category_count;
	const struct source *sources;
	size_t source_count;
	const char *starter; /* text of the starter list, NULL: not a source */
	size_t starter_len;
	const struct source_guard *guards;
	size_t guard_count;
	uint64_t sealed; /* categories that guards do not stop */
	uint32_t keep_generations;
	uint32_t max_shrink_percent;
	const struct name *must_pass; /* what no source may list */
	size_t must_pass_count;
	size_t memory;    /* for sorting, 0: 64 MiB */
	const char *only; /* fetch this source alone, NULL: all */
	bool offline;     /* fetch none: compile from what is held */
	bool force;   /* ask for everything anew and compile though nothing changed; no guard is skipped */
	bool resume;  /* end a pin first */
	bool preview; /* publish nothing, and let no pin stop it; what was fetched is kept for the next run */
	void (*report)(void *arg, const struct update_report *report); /* once a source; NULL: none */
	/* The new generation is made and checked, and not yet published; file is its store. NULL: nobody
	 * asks. */
	void (*made)(void *arg, const char *file);
	void *arg;
	struct fetch_options fetch; /* all zero: nothing special */
};

enum update_state {
	UPDATE_UNCHANGED, /* the last good content is still the newest, or was not asked for */
	UPDATE_TAKEN,     /* new content */
	UPDATE_HELD,      /* new content that is held back */
	UPDATE_FAILED     /* not fetched, or no list */
};
const char *update_state_name(enum update_state state);

struct update_report {
	const char *source;
	enum update_state state;
	const char *why;       /* held or failed; "" else */
	bool has_good;         /* there is earlier content that stays in use */
	const json_t *account; /* what is in use: good.json; NULL without */
};

struct update_result {
	bool published;
	bool pinned;           /* a rollback pins the current generation: nothing was done */
	uint64_t id;           /* the generation that is current now, 0: none */
	uint64_t names;        /* in the published one */
	unsigned held, failed; /* sources */
};

/* Returns 0 with *result (sources may have failed), or negative errno with `why`: then nothing was published.
 */
int update_run(const struct update_options *options, struct update_result *result, char why[LISTS_WHY_MAX]);

#endif
