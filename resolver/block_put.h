/* Puts segments, and the groups they make up, into an environment of the block log, in a transaction of the caller's. */
#ifndef USHER_BLOCK_PUT_H
#define USHER_BLOCK_PUT_H

#include "block_file.h"
#include "block_segment.h"

struct block_put {
	MDB_txn *txn;
	MDB_dbi dbi;
	uint64_t octets; /* put so far */
};

/* These return an LMDB result. */
int block_put(struct block_put *put, enum block_key kind, uint64_t number, const void *data, size_t len);
/* Items are 1 to BLOCK_SEGMENT_EVENTS, with ids that rise; one with the same first id is replaced. */
int block_put_segment(struct block_put *put, const struct block_item *items, size_t count);

#endif
