/*
 * A group: what the summaries of 64 segments in a row say, turned around. For each client, each kind of event and each place of the filter
 * of names it says in which of the 64 they are, so that one look tells which segments a search must read: a search of ten million events
 * for a name that nobody asked for reads 160 groups, not 10,000 summaries. Octets in, octets out, as segments.
 */
#ifndef USHER_BLOCK_GROUP_H
#define USHER_BLOCK_GROUP_H

#include "block_segment.h"

#define BLOCK_GROUP_SEGMENTS 64
#define BLOCK_GROUP_STEP 16 /* the newest group is written anew with so many more, until it has all */

/*
 * Packs the summaries of count (1 to 64) segments, in order of ids. A damaged one has no events. Returns 0 or -ENOMEM, or -EBADMSG: they are
 * too many kinds for a group.
 */
int block_group_pack(struct block_piece *group, const struct block_piece *summaries, size_t count);

struct block_group {
	uint32_t count;
	struct block_span span[BLOCK_GROUP_SEGMENTS];
	uint64_t may_pass; /* bit i: some event of segment i may pass the filter's client, profile, category, severity and name */
};

/* Returns 0 or -EBADMSG (damaged). */
int block_group_read(struct block_group *group, const struct block_piece *piece, const struct block_filter *filter);

#endif
