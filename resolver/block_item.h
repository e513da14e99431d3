/*
 * An event of the block log in parts that point elsewhere: into a ring, or into a segment. Its form in a ring (written by
 * block_log_write()), and the test of a filter on it.
 */
#ifndef USHER_BLOCK_ITEM_H
#define USHER_BLOCK_ITEM_H

#include "block_log.h"

struct block_item {
	uint64_t id;
	int64_t time_us;
	uint64_t generation;
	const uint8_t *client;                   /* 16 octets, NULL: not logged */
	const char *profile, *category, *source; /* NULL: none */
	const uint8_t *name, *matched;           /* wire form, the same pointer if they are the same */
	uint8_t name_len, matched_len;
	uint8_t rule_labels, severity, action;
	uint16_t type;
	uint32_t keep_s;                         /* keep_s, ring and sequence: only of an event from a ring */
	unsigned ring;
	uint64_t sequence;
};

/* Reads a ring's record. Returns 0 or -EBADMSG; item points into data. */
int block_item_read(struct block_item *item, const void *data, size_t len);

/* Whether wire is a whole name of exactly len octets. */
bool block_wire_is_name(const uint8_t *wire, size_t len);

bool block_client_passes(const uint8_t *client, const struct block_filter *filter);
bool block_profile_passes(const char *profile, const struct block_filter *filter);
bool block_time_passes(int64_t time_us, const struct block_filter *filter);
bool block_name_passes(const uint8_t *wire, size_t len, const struct block_filter *filter);
bool block_category_passes(const char *category, unsigned severity, const struct block_filter *filter);

/* Whether events of any client, profile, category, severity and name pass. */
bool block_filter_is_open(const struct block_filter *filter);

/* All of a filter, but for limit and after_id. */
bool block_item_passes(const struct block_item *item, const struct block_filter *filter);

/*
 * As block_log_scan(), with events as they lie in the store, valid during the call. any_order: as they lie there, which spares sorting.
 */
int64_t block_scan_items(const char *dir, const struct block_filter *filter, bool any_order,
	bool (*found)(void *arg, const struct block_item *item), void *arg);

/* Fills a record for people and programs outside; it points where item does. */
void block_item_record(const struct block_item *item, struct block_record *record);

#endif
