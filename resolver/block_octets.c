#include "block_octets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define VARINT_MAX 10

/* ---- out ---- */

uint8_t *block_out_room(struct block_out *out, size_t len)
{
	if (out->failed)
		return NULL;
	if (out->len + len > out->size) {
		size_t size = 2 * out->size + len + 1024;
		uint8_t *data = realloc(out->data, size);
		if (!data) {
			out->failed = true;
			return NULL;
		}
		out->data = data;
		out->size = size;
	}
	out->len += len;
	return out->data + out->len - len;
}

void block_out_octets(struct block_out *out, const void *data, size_t len)
{
	uint8_t *at = block_out_room(out, len);
	if (at && len)
		memcpy(at, data, len);
}

size_t block_varint_write(uint8_t *at, uint64_t n)
{
	size_t len = 0;

	for (; n >= 0x80; n >>= 7)
		at[len++] = (uint8_t)(n | 0x80);
	at[len++] = (uint8_t)n;
	return len;
}

void block_out_number(struct block_out *out, uint64_t n)
{
	uint8_t *at = block_out_room(out, VARINT_MAX);
	if (at)
		out->len -= VARINT_MAX - block_varint_write(at, n);
}

void block_out_signed(struct block_out *out, int64_t n)
{
	block_out_number(out, (uint64_t)n << 1 ^ (uint64_t)(n >> 63));
}

/* Fills in the check and hands the octets over. */
int block_out_finish(struct block_out *out, uint64_t seed, struct block_piece *piece)
{
	if (out->failed) {
		free(out->data);
		return -ENOMEM;
	}
	uint64_t check = XXH3_64bits_withSeed(out->data + BLOCK_CHECK_LEN, out->len - BLOCK_CHECK_LEN, seed);
	memcpy(out->data, &check, BLOCK_CHECK_LEN);
	piece->data = out->data;
	piece->len = out->len;
	return 0;
}

/* ---- in ---- */

bool block_in_begin(struct block_in *in, const struct block_piece *piece, uint64_t seed)
{
	uint64_t check;

	if (piece->len < BLOCK_CHECK_LEN)
		return false;
	memcpy(&check, piece->data, BLOCK_CHECK_LEN);
	*in = (struct block_in){ piece->data + BLOCK_CHECK_LEN, piece->data + piece->len, false };
	return check == XXH3_64bits_withSeed(in->at, (size_t)(in->end - in->at), seed);
}

uint64_t block_in_number(struct block_in *in)
{
	uint64_t n = 0;

	for (unsigned shift = 0; shift < 64 && in->at < in->end; shift += 7) {
		uint8_t octet = *in->at++;
		n |= (uint64_t)(octet & 0x7f) << shift;
		if (!(octet & 0x80))
			return n;
	}
	in->bad = true;
	return 0;
}

int64_t block_in_signed(struct block_in *in)
{
	uint64_t n = block_in_number(in);
	return (int64_t)(n >> 1 ^ (0 - (n & 1)));
}

const uint8_t *block_in_octets(struct block_in *in, size_t len)
{
	const uint8_t *at = in->at;

	if (len > (size_t)(in->end - in->at)) {
		in->bad = true;
		return NULL;
	}
	in->at += len;
	return at;
}

/* An entry of a dictionary. */
const uint8_t *block_in_entry(struct block_in *in, size_t *len)
{
	*len = block_in_number(in);
	return block_in_octets(in, *len);
}

uint32_t block_in_count(struct block_in *in, uint32_t max)
{
	uint64_t count = block_in_number(in);

	if (count <= max)
		return (uint32_t)count;
	in->bad = true;
	return 0;
}
