/*
 * An erasure on its way: a file in the log's folder, DIR/erase.json, that says which rows go. From the moment it is there no reader shows
 * them; the log's writer then writes each file that has some anew without them and unlinks the old one. Last it moves the file on: into the
 * folder of the history of devices, whose writer does its part and moves it into that of the alerts, whose writer takes it away. So it is in
 * one place at any instant, and killed then, it goes on at the next start. One at a time.
 */
#ifndef USHER_ERASURE_H
#define USHER_ERASURE_H

#include "block_item.h"
#include "leases.h"

#define ERASURE_SPANS_MAX 1000

/* When an address was the device's. */
struct erasure_span {
	uint8_t client[16];
	int64_t since_us, until_us; /* [since, until) */
};

struct erasure {
	struct block_filter filter; /* points into the rest */
	bool rows_only;             /* devices and alerts keep what they have */
	char device[LEASE_NAME_MAX + 1]; /* name or MAC: only rows in one of the spans go; "": whoever's */
	struct erasure_span *spans;      /* malloc()ed */
	size_t span_count;
	size_t profile_count;
	char profile[CONFIG_PROFILES_MAX][256];
	const char *profiles[CONFIG_PROFILES_MAX];
};

/* On disk when this returns. Of the filter client, name, profile, profiles, since and until count. Returns 0 or negative errno. */
int erasure_begin(const char *dir, const struct erasure *erasure);

/* The one on its way in this folder; NULL: none. Returns 0 or negative errno. */
int erasure_read(const char *dir, struct erasure **out);
void erasure_free(struct erasure *erasure); /* NULL is fine */

/* Whether there is one, in any of the folders. dir: that of the log. */
bool erasure_is_pending(const char *log_dir);

/* Whether this row goes. */
bool erasure_takes(const struct erasure *erasure, const struct block_item *item);

/*
 * All is done in this folder: it moves on into `next` beside it ("devices"), or is over (NULL, or there is no such folder). Returns 0 or
 * negative errno.
 */
int erasure_pass_on(const char *dir, const char *next);

#endif
