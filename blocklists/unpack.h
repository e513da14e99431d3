/*
 * Reads a downloaded file as a stream of entries: a plain or compressed (gzip, xz, …) text is one, a tar or
 * zip has many. Nothing is ever written to disk under a name the archive chose. An archive is looked through
 * first: one that climbs out of itself (`..`, absolute names, links to the outside) or unpacks to more than
 * it should is refused as a whole, before any of it is used.
 */
#ifndef USHER_UNPACK_H
#define USHER_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lists.h"

#define UNPACK_SIZE_MAX (UINT64_C(4) << 30) /* octets of all entries together */
#define UNPACK_RATIO_MAX 50 /* times the size of the file, beyond the first UNPACK_RATIO_FREE octets */
#define UNPACK_RATIO_FREE (UINT64_C(32) << 20)
#define UNPACK_ENTRIES_MAX 10000

struct unpack_entry {
	char *path;   /* without leading ./ and trailing / */
	char *target; /* a link's, as a path inside the archive; NULL: not a link */
	bool is_file;
};

struct unpack;

/* Looks through the file at path. Returns 0 (release with unpack_close), or negative errno with `why`. */
int unpack_open(struct unpack **out, const char *path, char why[LISTS_WHY_MAX]);
void unpack_close(struct unpack *unpack); /* NULL is fine */

/* False: one text, and its entry's path means nothing. */
bool unpack_is_archive(const struct unpack *unpack);

size_t unpack_count(const struct unpack *unpack);
const struct unpack_entry *unpack_entry(const struct unpack *unpack, size_t index);

/* The path that path leads to when links are followed, also those of folders on the way: malloc()ed, NULL if
 * they turn in circles. */
char *unpack_resolve(const struct unpack *unpack, const char *path);

/* The entry of that path, or -1. */
long unpack_find(const struct unpack *unpack, const char *path);

/*
 * Reads the archive once: for each file, in order, begin(index) says if it is wanted; then data comes in
 * pieces and end(). A callback that returns a negative errno ends it. Returns 0 or negative errno, with `why`
 * if it was the archive's fault.
 */
struct unpack_sink {
	void *arg;
	bool (*begin)(void *arg, size_t index);
	int (*data)(void *arg, const char *data, size_t len);
	int (*end)(void *arg, size_t index);
};
int unpack_read(struct unpack *unpack, const struct unpack_sink *sink, char why[LISTS_WHY_MAX]);

#endif
