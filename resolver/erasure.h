/*
 * An erasure on its way: a file in the log's folder, DIR/erase.json, that says which rows go. From the moment it is there no reader shows
 * them; the log's writer then writes each file that has some anew without them and unlinks the old one, and takes the erasure away last.
 * Killed at any instant, it goes on at the next start. One at a time.
 */
#ifndef USHER_ERASURE_H
#define USHER_ERASURE_H

#include "block_item.h"

struct erasure {
	struct block_filter filter; /* points into the rest */
	size_t profile_count;
	char profile[CONFIG_PROFILES_MAX][256];
	const char *profiles[CONFIG_PROFILES_MAX];
};

/* On disk when this returns. filter: client, name, profile, profiles, since and until count. Returns 0 or negative errno. */
int erasure_begin(const char *dir, const struct block_filter *filter);

/* The one on its way, malloc()ed; NULL: none. Returns 0 or negative errno. */
int erasure_read(const char *dir, struct erasure **out);
bool erasure_is_pending(const char *dir);

/* Everything is done. */
int erasure_end(const char *dir);

#endif
