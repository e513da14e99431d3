/*
 * Brings a source's file if it changed: http, https and file, within limits of size, time and redirects. A
 * redirect may not lead to this machine, to a file, or from https to http. Nothing of what was
 * fetched is looked into here.
 */
#ifndef USHER_FETCH_H
#define USHER_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "lists.h"

#define FETCH_TAG_MAX 256
#define FETCH_SHA256_TEXT 65
#define FETCH_SIZE_MAX (UINT64_C(512) << 20)
#define FETCH_REDIRECTS_MAX 5
#define FETCH_SECONDS_MAX 900

struct fetch_request {
	const char *url;
	const char *etag, *last_modified; /* of the content held, "" for all of it anew */
	uint64_t size_max;                /* 0: FETCH_SIZE_MAX */
	uint32_t seconds_max;             /* 0: FETCH_SECONDS_MAX */
	void (*progress)(void *arg, uint64_t got, uint64_t total); /* NULL: none; total 0: not known */
	void *progress_arg;
};

struct fetch_result {
	bool unchanged; /* the server says that the content held is still the newest */
	char etag[FETCH_TAG_MAX], last_modified[FETCH_TAG_MAX];
	char sha256[FETCH_SHA256_TEXT]; /* of what was fetched */
	uint64_t size;
};

/* Once, before the first fetch(), while there is one thread. */
void fetch_init(void);

/* Fetches into the file at path, which it makes. Returns 0, or -EIO with `why`; then no file is left. */
int fetch(const struct fetch_request *request, const char *path, struct fetch_result *result,
        char why[LISTS_WHY_MAX]);

/* The SHA-256 of some octets, in hex. Returns 0 or -ENOMEM. */
int fetch_sha256(const void *data, size_t len, char hex[FETCH_SHA256_TEXT]);

#endif
