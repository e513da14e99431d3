/*
 * A split-block Bloom filter over 64-bit hashes: "certainly not listed" for the price of one cache line. The
 * bits lie in the generation file and are read in place; every octet means the same on every machine.
 *
 * Sources: F. Putze, P. Sanders, J. Singler, "Cache-, hash- and space-efficient Bloom filters"; the block
 * layout is that of Apache Parquet (eight words of 32 bits, one bit set in each).
 */
#ifndef USHER_FILTER_H
#define USHER_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILTER_BLOCK 32
/* About 1 in 1,000 unlisted hashes passes; each walks a tree that is cold, so fewer bits cost more time. */
#define FILTER_BITS_PER_NAME 16

struct filter {
	const uint8_t *blocks; /* the caller's */
	uint32_t count;        /* of blocks, never 0 */
};

/* How many blocks a filter for so many names takes. */
uint32_t filter_blocks(uint64_t names);

/* Sets a hash's bits in count blocks at blocks. */
void filter_add(uint8_t *blocks, uint32_t count, uint64_t hash);

/* Brings the octets that filter_has() will read nearer. */
void filter_prefetch(const struct filter *filter, uint64_t hash);

/* False: the hash was never added. True: it probably was. */
bool filter_has(const struct filter *filter, uint64_t hash);

/*
 * What stands for "names lie below this one": another element, in the same block as the name's own, so that
 * asking for both costs one cache line.
 */
static inline uint64_t filter_below(uint64_t hash)
{
	return hash ^ UINT32_C(0x9e3779b9);
}

#endif
