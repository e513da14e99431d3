/*
 * Brings files that changed: http, https and file, several side by side, within limits of size, time, speed
 * and redirects. A redirect may not lead to this machine, to a file, or from https to http. A transfer that
 * breaks off is gone on with where the server allows it, in the same run or the next. Nothing of what was
 * fetched is looked into here. The environment's proxy settings are not heeded: only options->proxy.
 */
#ifndef USHER_FETCH_H
#define USHER_FETCH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lists.h"

#define FETCH_TAG_MAX 256
#define FETCH_SHA256_TEXT 65
#define FETCH_SIZE_MAX (UINT64_C(512) << 20)
#define FETCH_REDIRECTS_MAX 5
#define FETCH_SECONDS_MAX 900
#define FETCH_SLOW_OCTETS 256 /* a second … */
#define FETCH_SLOW_SECONDS 60 /* … for so long: the server is as good as silent */
#define FETCH_ATTEMPTS_MAX 4  /* at one file in a run, each going on where the one before broke off */
#define FETCH_AT_ONCE 4

/* How far all are together. */
struct fetch_progress {
	size_t done, count; /* files */
	uint64_t got;       /* octets */
	unsigned permille; /* of the whole, each file counting the same; one of unknown size counts at its end
	                    */
	const char *name;  /* one that is not done yet, NULL if all are */
};

struct fetch_options {
	const char *
	        proxy; /* URL with or without user:password@, "" or NULL: none. Not for this machine itself */
	const char *ca_file;   /* of authorities beside the system's, "" or NULL: none */
	uint64_t size_max;     /* octets of a file, 0: FETCH_SIZE_MAX */
	uint32_t seconds_max;  /* for a file in all, 0: FETCH_SECONDS_MAX */
	uint32_t slow_seconds; /* 0: FETCH_SLOW_SECONDS */
	void (*progress)(void *arg, const struct fetch_progress *progress); /* NULL: none */
	void *progress_arg;
};

struct fetch_result {
	bool unchanged; /* the server says that the content held is still the newest */
	char etag[FETCH_TAG_MAX], last_modified[FETCH_TAG_MAX];
	char sha256[FETCH_SHA256_TEXT]; /* of what was fetched */
	uint64_t size;
};

/* One file. The caller fills the first part, fetch_all() the second. */
struct fetch {
	const char *name, *url;
	char path[PATH_MAX];              /* where it goes, once it is whole */
	const char *etag, *last_modified; /* of the content held, "" for all of it anew */

	int status; /* 0, or -EIO with `why`; then there is no file at path */
	struct fetch_result result;
	char why[LISTS_WHY_MAX];
};

/* Once, before the first fetch_all(), while there is one thread. */
void fetch_init(void);

/* Fetches all; each has its own status. What a broken one leaves (path.part, path.from) is of use to a later
 * fetch of the same URL to the same path. */
void fetch_all(const struct fetch_options *options, struct fetch *fetches, size_t count);

/* The SHA-256 of some octets, in hex. Returns 0 or -ENOMEM. */
int fetch_sha256(const void *data, size_t len, char hex[FETCH_SHA256_TEXT]);

/* The same of a file. Returns 0 or negative errno. */
int fetch_sha256_file(const char *path, char hex[FETCH_SHA256_TEXT]);

#endif
