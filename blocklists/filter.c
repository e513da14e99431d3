#include "filter.h"

#include <endian.h>
#include <string.h>

/* Odd multipliers, one a word, as in Parquet's specification: the top five bits of the product choose the
 * bit. */
static const uint32_t salts[8] = {
	0x47b6137b,
	0x44974d91,
	0x8824ad5b,
	0xa2b7289d,
	0x705495c7,
	0x2df1424b,
	0x9efc4947,
	0x5c6bfb31,
};

static size_t block_of(uint32_t count, uint64_t hash)
{
	return (size_t)((hash >> 32) * count >> 32) * FILTER_BLOCK;
}

uint32_t filter_blocks(uint64_t names)
{
	uint64_t blocks = (names * FILTER_BITS_PER_NAME + FILTER_BLOCK * 8 - 1) / (FILTER_BLOCK * 8);

	if (blocks == 0)
		return 1;
	return blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks;
}

void filter_add(uint8_t *blocks, uint32_t count, uint64_t hash)
{
	uint8_t *block = blocks + block_of(count, hash);

	for (unsigned i = 0; i < 8; i++) {
		unsigned bit = ((uint32_t)hash * salts[i]) >> 27;
		block[4 * i + bit / 8] |= (uint8_t)(1u << bit % 8);
	}
}

void filter_prefetch(const struct filter *filter, uint64_t hash)
{
	__builtin_prefetch(filter->blocks + block_of(filter->count, hash));
}

/* All eight words are looked at, without a branch: which one says no cannot be foreseen, and a wrong guess
 * costs more than the rest of them, above all while the block is still on its way from memory. */
bool filter_has(const struct filter *filter, uint64_t hash)
{
	const uint8_t *block = filter->blocks + block_of(filter->count, hash);
	uint32_t words[8], all = 1;

	memcpy(words, block, sizeof words);
	for (unsigned i = 0; i < 8; i++)
		all &= le32toh(words[i]) >> ((uint32_t)hash * salts[i] >> 27);
	return all;
}
