/*
 * The writing half of the block log's files: appends events, each once, and prunes. One thread; one process at a time.
 */
#ifndef USHER_BLOCK_STORE_H
#define USHER_BLOCK_STORE_H

#include "block_file.h"
#include "block_item.h"
#include "block_reader.h"

#define BLOCK_STORE_WHY_MAX 256

struct block_store;

/*
 * Opens the store in dir (made if it is not there). sequences[i] becomes the newest number of ring ring_ids[i] that any file
 * holds, 0 if none does. Returns 0 or negative errno.
 */
int block_store_open(struct block_store **out, const char *dir, const uint64_t *ring_ids, uint64_t *sequences,
	unsigned ring_count);
void block_store_close(struct block_store *store);

/*
 * Appends items, all of one day and keep_s, in order of time, in one transaction that is on disk when this returns; those
 * that the file has already are left out. Returns 0 or negative errno, and nothing was written then.
 */
int block_store_append(struct block_store *store, const struct block_item *items, size_t count);

/*
 * Unlinks the files whose day and last change are older than their keep (of a day to come: whose last change is), then the oldest days until the rest takes at most max_size octets.
 * The present day stays; if it alone is too large, appends fail with -EDQUOT until it is not.
 */
int block_store_prune(struct block_store *store, int64_t now_s, uint64_t max_size);

/* A reader of a current file, in the writer's own environment: to be closed before the next append. Returns 0 or negative errno. */
int block_store_reader(struct block_store *store, const struct block_file *file, struct block_reader **reader);

/* Closes and unlinks a file, and its lock. */
void block_store_remove(struct block_store *store, const struct block_file *file);

/* The last change of any file when the store was opened, seconds since 1970; 0: there was none. */
int64_t block_store_written_s(const struct block_store *store);

/* Octets appended since the last prune. */
uint64_t block_store_grown(const struct block_store *store);

/* What was wrong when a function here last returned an error. */
const char *block_store_why(const struct block_store *store);

#endif
