/*
 * The file that a transfer fills: PATH.part until it is whole, then PATH by one rename.
 *
 * What a broken transfer left can be gone on with if the server had given the content a validator (RFC 9110,
 * 8.8: a strong ETag, or else Last-Modified). PATH.from then holds the URL and the validator, a line each. It
 * is written after the content was synced and removed as soon as it is taken up, so what it says is always
 * true, whenever a run is killed.
 */
#ifndef USHER_PARTIAL_H
#define USHER_PARTIAL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "fetch.h"

#define PARTIAL_PATH_MAX (PATH_MAX + 8)

struct partial {
	const char *path, *url; /* the caller's */
	char part[PARTIAL_PATH_MAX], from[PARTIAL_PATH_MAX];
	FILE *file;
	uint64_t size;                 /* octets in it */
	char validator[FETCH_TAG_MAX]; /* of them; "": they cannot be gone on with */
};

/* Opens it with what an earlier transfer of url to path left, if anything. Returns 0 or negative errno. */
int partial_open(struct partial *partial, const char *path, const char *url);

/* Empties it; what follows has this validator. Returns 0 or negative errno. */
int partial_restart(struct partial *partial, const char *validator);

/* Returns 0 or negative errno. */
int partial_write(struct partial *partial, const void *data, size_t len);

/* The three ends. It is whole: syncs and renames, 0 or negative errno. It broke off: keeps it for later if
 * that is of use (returns whether it is). It is not wanted: removes it; after another end, nothing. */
int partial_finish(struct partial *partial);
bool partial_keep(struct partial *partial);
void partial_drop(struct partial *partial);

#endif
