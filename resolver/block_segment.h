/*
 * A segment: up to BLOCK_SEGMENT_EVENTS events of the block log, packed into two pieces of octets. The summary says which
 * times, clients, profiles, categories and names are inside, so that a reader skips segments it need not read; the data
 * holds names and events. No file, no database here: octets in, octets out.
 */
#ifndef USHER_BLOCK_SEGMENT_H
#define USHER_BLOCK_SEGMENT_H

#include "block_item.h"

#define BLOCK_SEGMENT_EVENTS 1000

/* What those who write and those who read must agree on. */
#define BLOCK_SEGMENT_VERSION 1
#define BLOCK_CHECK_LEN 8
#define BLOCK_ENTRIES_MAX (3 * BLOCK_SEGMENT_EVENTS) /* of a dictionary: three texts an event */
#define BLOCK_FILTER_SEED 0x7573686572u
#define BLOCK_FILTER_LOG2_MIN 6u
#define BLOCK_FILTER_LOG2_MAX 14u
#define BLOCK_FILTER_HASHES 3
#define BLOCK_FILTER_SHIFT 20 /* bits of the hash of the name from one to the next */

struct block_piece {
	uint8_t *data;
	size_t len;
};

/*
 * Packs items, whose ids rise, into summary and data (malloc()ed, the caller's). count is 1 to BLOCK_SEGMENT_EVENTS.
 * Returns 0 or -ENOMEM.
 */
int block_segment_pack(struct block_piece *summary, struct block_piece *data, const struct block_item *items,
	size_t count);

/* What a summary tells without its dictionaries. */
struct block_span {
	uint32_t count;
	uint64_t first_id, last_id;
	int64_t first_us, last_us;      /* the earliest and the latest */
};

/* Returns 0 or -EBADMSG (damaged). */
int block_segment_span(struct block_span *span, const struct block_piece *summary);

/* All that a summary tells; it points into it. */
struct block_outline {
	struct block_span span;
	uint32_t client_count, circumstance_count;
	uint8_t client[BLOCK_SEGMENT_EVENTS][16];
	struct block_item circumstance[BLOCK_SEGMENT_EVENTS]; /* profile, category, severity and so on of events */
	unsigned filter_log2;
	const uint8_t *filter; /* 1 << filter_log2 bits */
};

/* Returns 0 or -EBADMSG (damaged). */
int block_segment_outline(struct block_outline *outline, const struct block_piece *summary);

/*
 * False if no event of the segment can pass the filter's client, profile, category, severity and name (its times and ids are
 * the caller's matter), or if the summary is damaged.
 */
bool block_segment_may_pass(const struct block_piece *summary, const struct block_filter *filter);

/*
 * Unpacks into items those events that pass the filter (NULL: all), in the order of their ids; they point into the pieces and into clients.
 * Both have room for BLOCK_SEGMENT_EVENTS. Returns their number or -EBADMSG (damaged).
 */
int block_segment_unpack(struct block_item *items, uint8_t (*clients)[16], const struct block_piece *summary,
	const struct block_piece *data, const struct block_filter *filter);

#endif
