/*
 * What segments and groups of the block log are made of: LEB128 varints, signed ones zigzag, octets, and entries with their length before
 * them, behind a check (8 octets, XXH3). Written into memory that grows, read with a mark that is set where the octets end too soon.
 */
#ifndef USHER_BLOCK_OCTETS_H
#define USHER_BLOCK_OCTETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block_segment.h"

struct block_out {
	uint8_t *data;
	size_t len, size;
	bool failed; /* without memory: nothing is written any more */
};

uint8_t *block_out_room(struct block_out *out, size_t len); /* NULL without memory */
void block_out_octets(struct block_out *out, const void *data, size_t len);
void block_out_number(struct block_out *out, uint64_t n);
void block_out_signed(struct block_out *out, int64_t n);
size_t block_varint_write(uint8_t *at, uint64_t n); /* returns its length, at most 10 */

/* Fills in the check, for which the first 8 octets were left, and hands the octets over. Returns 0 or -ENOMEM, and nothing is left then. */
int block_out_finish(struct block_out *out, uint64_t seed, struct block_piece *piece);

struct block_in {
	const uint8_t *at, *end;
	bool bad; /* what was read last is not to be believed */
};

bool block_in_begin(struct block_in *in, const struct block_piece *piece, uint64_t seed); /* false: the check is wrong */
uint64_t block_in_number(struct block_in *in);
int64_t block_in_signed(struct block_in *in);
const uint8_t *block_in_octets(struct block_in *in, size_t len);   /* NULL: too few */
const uint8_t *block_in_entry(struct block_in *in, size_t *len);   /* the same */
uint32_t block_in_count(struct block_in *in, uint32_t max);        /* above max: 0, and bad */

#endif
