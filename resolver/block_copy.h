/*
 * A file of the block log that is written whole: events are added in order of ids, and it comes to be, under its name, on disk, by one
 * rename when it is finished. Until then it is NAME.new, which a start removes.
 */
#ifndef USHER_BLOCK_COPY_H
#define USHER_BLOCK_COPY_H

#include "block_file.h"
#include "block_item.h"

struct block_copy;

/* All return 0 or negative errno. */
int block_copy_begin(struct block_copy **out, const char *dir, const char *name);
int block_copy_add(struct block_copy *copy, const struct block_item *item); /* copied */
int block_copy_ring(struct block_copy *copy, uint64_t ring_id, uint64_t sequence);
int block_copy_sync(struct block_copy *copy); /* so that there is less to do at the end */
uint64_t block_copy_count(const struct block_copy *copy); /* events added */

/* Frees copy in any case; after an error nothing is left. written_us: its last change shall be so long ago; 0: now. */
int block_copy_finish(struct block_copy *copy, int64_t written_us);
void block_copy_abandon(struct block_copy *copy); /* NULL is fine */

/* Removes what a killed process left unfinished in dir. */
void block_copy_sweep(const char *dir);

#endif
