/*
 * One run of `usher lists pull`: takes the generation that another usher published, as it is. Its folder
 * `lists` is served by any web server, or copied here: current.json says what is current and how large it is,
 * with which hash. What comes is checked as usherd checks at opening, walked from end to end by a process of
 * its own, and published by the same act, under the same lock, as one compiled here.
 */
#ifndef USHER_PULL_H
#define USHER_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fetch.h"

#define PULL_MANIFEST_MAX (UINT64_C(16) << 20)
#define PULL_SIZE_MAX (UINT64_C(16) << 30)

struct pull_options {
	const char *dir;  /* STATE-DIR/lists */
	const char *from; /* URL of the other's folder, or the path of a copy */
	const char *const *categories;
	size_t category_count;
	uint32_t keep_generations;
	struct fetch_options fetch;
	bool force;  /* take a generation that is not newer than ours; never one of a number we have otherwise
	              */
	bool resume; /* end a pin first */
};

struct pull_result {
	bool published;
	bool pinned;        /* a rollback pins the current generation: nothing was done */
	bool held;          /* what is there is not taken, as `why` says */
	uint64_t id, names; /* of the generation that is current now */
};

/* Returns 0 with *result, or negative errno with `why`: then nothing changed. */
int pull_run(const struct pull_options *options, struct pull_result *result, char why[LISTS_WHY_MAX]);

#endif
