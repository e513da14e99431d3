/*
 * The part of the log's writer that takes rows away before their file is unlinked: an erasure that was asked for (erasure.h), and the rows
 * of profiles whose `keep` is shorter now than the class of the file. A file is copied without them, a piece at a time between commits, takes
 * the old one's place by one rename, and the old one is unlinked: so nothing of them is left in free pages.
 */
#ifndef USHER_BLOCK_ERASE_H
#define USHER_BLOCK_ERASE_H

#include "block_log.h"
#include "block_store.h"

struct block_erase;

/* store is borrowed. NULL without memory. */
struct block_erase *block_erase_new(struct block_store *store, const char *dir);
void block_erase_free(struct block_erase *erase);

/* How long the rows of each profile are kept now; copied. Others: as long as their file's class says. Returns 0 or -ENOMEM. */
int block_erase_set_keeps(struct block_erase *erase, const struct block_keep *keeps, size_t count);

/*
 * A piece of work, some milliseconds. Everything that was in the rings before must be committed. now_s: the time by which rows are old.
 * Returns 1 if there is more to do, 0 if not, or negative errno: it is tried again a minute later.
 */
int block_erase_step(struct block_erase *erase, int64_t now_s);

#endif
