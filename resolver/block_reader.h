/*
 * The reading half of the block log's files, for any process that may open them: one file at a time. Transactions are short, one a
 * call, so that a slow reader never keeps the writer from using freed pages again.
 */
#ifndef USHER_BLOCK_READER_H
#define USHER_BLOCK_READER_H

#include "block_file.h"
#include "block_segment.h"

struct block_reader;

/* Opens the file name in dir. Returns 0 or negative errno, -ENOENT if it was pruned meanwhile. Not twice in one process at a time. */
int block_reader_open(struct block_reader **out, const char *dir, const char *name);
void block_reader_close(struct block_reader *reader);
/* The same of an environment that is open in this process; it stays so. */
int block_reader_of(struct block_reader **out, MDB_env *env, MDB_dbi dbi);
/* Calls found with each ring's newest sequence number, until it does not return 0. Returns that, or negative errno. */
int block_reader_rings(struct block_reader *reader, int (*found)(void *arg, uint64_t ring_id, uint64_t sequence),
	void *arg);

/* Id of the newest event, 0 if there is none. */
uint64_t block_reader_last_id(struct block_reader *reader);

/*
 * Calls found for every segment that has an event newer than after_id and may hold one that passes the filter's client, profile, category,
 * severity and name; oldest first. A found() that does not return 0 ends it. Returns what found() returned, or negative errno.
 */
int block_reader_segments(struct block_reader *reader, uint64_t after_id, const struct block_filter *filter,
	int (*found)(void *arg, const struct block_span *span), void *arg);

/* Copies of a segment's two pieces, in one malloc(), that of summary->data. Returns 0 or negative errno. */
int block_reader_segment(struct block_reader *reader, uint64_t first_id, struct block_piece *summary,
	struct block_piece *data);

#endif
