/*
 * Many sources' claims to one generation: merged in key order, written, synced, read back through
 * lists_open(). The layout is told at the head of lists.c.
 */
#ifndef USHER_COMPILE_H
#define USHER_COMPILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "claims.h"
#include "lists.h"

struct compile_options {
	const char *work; /* folder for what is being made */
	uint64_t id;
	const char *const *categories; /* the meaning of the claims' bits */
	size_t category_count;
	struct claims **claims; /* one a source, in the order of `sources` */
	size_t source_count;
	json_t *sources;    /* array: what the manifest says of each; lists.c reads name, url, licence, taken,
	                       fetched_at */
	bool starter;       /* the starter list is all there is */
	const char *inputs; /* fingerprint of everything it was made from */
};

/*
 * Writes WORK/gen-%06d.mdb and its manifest, and checks them. Returns 0 with the number of names in *names,
 * or negative errno with `why`.
 */
int compile_generation(const struct compile_options *options, uint64_t *names, char why[LISTS_WHY_MAX]);

/*
 * Publishes a first generation made from the starter list alone, so that the first minute is filtered: for
 * usherd's start when lists_open() says -ENOENT. dir is STATE-DIR/lists, made if missing; text is
 * conf/starter.txt; categories those of the configuration. Does nothing if a generation is there already.
 * Returns 0 or negative errno with `why`.
 */
int compile_starter(const char *dir, const char *text, size_t len, const char *const *categories,
        size_t category_count, char why[LISTS_WHY_MAX]);

#endif
