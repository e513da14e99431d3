/*
 *   group    check (8 octets), version, count of segments, spans, kinds, clients, log2 of the filter's
 * places, filter span     count, first id less the one before, last less first id, first time, last less
 * first time kind     has profile (1) and category (2), severity, profile, category (octets with NUL), mask
 *   client   16 octets, mask; in ascending order
 *   filter   a mask for each place: bit i is that place of the filter of segment i
 *
 * A mask is 8 octets, little endian; bit i stands for segment i.
 */
#include "block_group.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "block_octets.h"

#define VERSION 1
#define KINDS_MAX 4096
#define CLIENTS_MAX (BLOCK_GROUP_SEGMENTS * BLOCK_SEGMENT_EVENTS)
#define CLIENT_SLOTS 131072 /* more than twice CLIENTS_MAX */
#define CLIENT_LEN 16
#define MASK_LEN 8

/* ---- packing ---- */

struct client {
	uint8_t address[CLIENT_LEN];
	uint64_t mask;
};

struct kind {
	const char *profile, *category;
	uint8_t severity;
	uint64_t mask;
};

struct packer {
	struct block_outline outline; /* of the segment at hand */
	struct kind kind[KINDS_MAX];
	size_t kind_count, client_count;
	struct client client[CLIENTS_MAX];
	uint32_t client_slot[CLIENT_SLOTS]; /* number + 1, by hash */
	uint64_t place[1u << BLOCK_FILTER_LOG2_MAX];
	unsigned log2;
	struct block_span span[BLOCK_GROUP_SEGMENTS];
	size_t count;
	bool too_many; /* kinds: the group would not be true */
};

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void kind_add(struct packer *packer, const struct block_item *event, uint64_t bit)
{
	size_t i = 0;

	while (i < packer->kind_count && (packer->kind[i].severity != event->severity ||
	                                         !same_text(packer->kind[i].category, event->category) ||
	                                         !same_text(packer->kind[i].profile, event->profile)))
		i++;
	if (i == KINDS_MAX) {
		packer->too_many = true;
		return;
	}
	if (i == packer->kind_count)
		packer->kind[packer->kind_count++] =
		        (struct kind){ event->profile, event->category, event->severity, 0 };
	packer->kind[i].mask |= bit;
}

/* Most clients stand in many segments: found by hash, only the different ones are sorted at the end. */
static void client_add(struct packer *packer, const uint8_t address[CLIENT_LEN], uint64_t bit)
{
	uint32_t at = (uint32_t)XXH3_64bits(address, CLIENT_LEN) % CLIENT_SLOTS;

	for (; packer->client_slot[at]; at = (at + 1) % CLIENT_SLOTS) {
		struct client *client = &packer->client[packer->client_slot[at] - 1];
		if (memcmp(client->address, address, CLIENT_LEN) == 0) {
			client->mask |= bit;
			return;
		}
	}
	struct client *client = &packer->client[packer->client_count++];
	memcpy(client->address, address, CLIENT_LEN);
	client->mask = bit;
	packer->client_slot[at] = (uint32_t)packer->client_count;
}

/* A smaller filter has the low bits of the same hashes: each of its places stands for several of a larger. */
static void filter_add(struct packer *packer, uint64_t bit)
{
	const struct block_outline *outline = &packer->outline;
	uint32_t mask = (1u << outline->filter_log2) / 8 - 1;

	for (uint32_t i = 0; i < (1u << BLOCK_FILTER_LOG2_MAX) / 8; i++) {
		uint64_t octet = outline->filter[i & mask];
		for (unsigned k = 0; k < 8; k++)
			packer->place[8 * i + k] |= -(octet >> k & 1) & bit;
	}
	if (outline->filter_log2 > packer->log2)
		packer->log2 = outline->filter_log2;
}

static void segment_add(struct packer *packer)
{
	const struct block_outline *outline = &packer->outline;
	uint64_t bit = UINT64_C(1) << packer->count;

	packer->span[packer->count++] = outline->span;
	for (uint32_t i = 0; i < outline->circumstance_count; i++)
		kind_add(packer, &outline->circumstance[i], bit);
	for (uint32_t i = 0; i < outline->client_count; i++)
		client_add(packer, outline->client[i], bit);
	filter_add(packer, bit);
}

static void damaged_add(struct packer *packer)
{
	uint64_t id = packer->count ? packer->span[packer->count - 1].last_id : 0;

	packer->span[packer->count++] = (struct block_span){ .first_id = id, .last_id = id };
}

static int client_order(const void *a, const void *b)
{
	return memcmp(a, b, CLIENT_LEN);
}

static void out_mask(struct block_out *out, uint64_t mask)
{
	uint64_t little = htole64(mask);
	block_out_octets(out, &little, sizeof little);
}

static void out_text(struct block_out *out, const char *text)
{
	if (text)
		block_out_octets(out, text, strlen(text) + 1);
}

static void out_spans(struct block_out *out, const struct packer *packer)
{
	uint64_t before = 0;

	block_out_number(out, packer->count);
	for (size_t i = 0; i < packer->count; i++) {
		const struct block_span *span = &packer->span[i];
		block_out_number(out, span->count);
		block_out_number(out, span->first_id - before);
		block_out_number(out, span->last_id - span->first_id);
		block_out_signed(out, span->first_us);
		block_out_number(out, (uint64_t)span->last_us - (uint64_t)span->first_us);
		before = span->first_id;
	}
}

static void out_group(struct block_out *out, const struct packer *packer)
{
	block_out_room(out, BLOCK_CHECK_LEN);
	block_out_number(out, VERSION);
	out_spans(out, packer);
	block_out_number(out, packer->kind_count);
	for (size_t i = 0; i < packer->kind_count; i++) {
		const struct kind *kind = &packer->kind[i];
		block_out_number(out, (kind->profile ? 1u : 0) | (kind->category ? 2u : 0));
		block_out_number(out, kind->severity);
		out_text(out, kind->profile);
		out_text(out, kind->category);
		out_mask(out, kind->mask);
	}
	block_out_number(out, packer->client_count);
	for (size_t i = 0; i < packer->client_count; i++) {
		block_out_octets(out, packer->client[i].address, CLIENT_LEN);
		out_mask(out, packer->client[i].mask);
	}
	block_out_number(out, packer->log2);
	for (size_t i = 0; i < (size_t)1 << packer->log2; i++)
		out_mask(out, packer->place[i]);
}

int block_group_pack(struct block_piece *group, const struct block_piece *summaries, size_t count)
{
	struct block_out out = { 0 };
	struct packer *packer = calloc(1, sizeof *packer);

	if (!packer)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (block_segment_outline(&packer->outline, &summaries[i]) == 0)
			segment_add(packer);
		else
			damaged_add(packer);
	if (packer->too_many) {
		free(packer);
		return -EBADMSG;
	}
	qsort(packer->client, packer->client_count, sizeof *packer->client, client_order);
	out_group(&out, packer);
	free(packer);
	return block_out_finish(&out, 0, group);
}

/* ---- reading ---- */

static void in_spans(struct block_in *in, struct block_group *group)
{
	uint64_t before = 0;

	group->count = block_in_count(in, BLOCK_GROUP_SEGMENTS);
	for (uint32_t i = 0; i < group->count; i++) {
		struct block_span *span = &group->span[i];
		span->count = block_in_count(in, BLOCK_SEGMENT_EVENTS);
		span->first_id = before + block_in_number(in);
		span->last_id = span->first_id + block_in_number(in);
		span->first_us = block_in_signed(in);
		span->last_us = (int64_t)((uint64_t)span->first_us + block_in_number(in));
		before = span->first_id;
	}
}

static uint64_t mask_at(const uint8_t *octets)
{
	uint64_t little;

	memcpy(&little, octets, sizeof little);
	return le64toh(little);
}

static uint64_t in_mask(struct block_in *in)
{
	const uint8_t *octets = block_in_octets(in, MASK_LEN);
	return octets ? mask_at(octets) : 0;
}

static const char *in_text(struct block_in *in)
{
	const uint8_t *nul = memchr(in->at, 0, (size_t)(in->end - in->at));

	return (const char *)block_in_octets(in, nul ? (size_t)(nul - in->at) + 1 : SIZE_MAX);
}

static uint64_t kinds_that_pass(struct block_in *in, const struct block_filter *filter)
{
	uint32_t count = block_in_count(in, KINDS_MAX);
	uint64_t passing = 0;

	for (uint32_t i = 0; i < count && !in->bad; i++) {
		uint64_t has = block_in_number(in), severity = block_in_number(in);
		const char *profile = has & 1 ? in_text(in) : NULL, *category = has & 2 ? in_text(in) : NULL;
		uint64_t mask = in_mask(in);
		if (!in->bad && block_profile_passes(profile, filter) &&
		        block_category_passes(category, (unsigned)severity, filter))
			passing |= mask;
	}
	return passing;
}

/* The first client that is not below the address. */
static size_t client_from(const uint8_t *clients, size_t count, const uint8_t *address)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (memcmp(clients + middle * (CLIENT_LEN + MASK_LEN), address, CLIENT_LEN) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Those of a network stand in a row, from its own address on. */
static uint64_t clients_that_pass(struct block_in *in, const struct block_filter *filter)
{
	size_t count = block_in_count(in, CLIENTS_MAX), record = CLIENT_LEN + MASK_LEN;
	const uint8_t *clients = block_in_octets(in, count * record);
	uint64_t passing = 0;

	if (!filter->has_client || !clients)
		return UINT64_MAX;
	for (size_t i = client_from(clients, count, filter->client.address);
	        i < count && block_client_passes(clients + i * record, filter); i++)
		passing |= mask_at(clients + i * record + CLIENT_LEN);
	return passing;
}

static uint64_t names_that_pass(struct block_in *in, const struct block_filter *filter)
{
	uint64_t hash[NAME_LABELS_MAX + 1], log2 = block_in_number(in), passing = UINT64_MAX;

	if (filter->name.labels == 0)
		return UINT64_MAX;
	if (log2 < BLOCK_FILTER_LOG2_MIN || log2 > BLOCK_FILTER_LOG2_MAX) {
		in->bad = true;
		return 0;
	}
	const uint8_t *places = block_in_octets(in, ((size_t)1 << log2) * MASK_LEN);
	name_hash_suffixes(&filter->name, BLOCK_FILTER_SEED, hash);
	for (int i = 0; i < BLOCK_FILTER_HASHES && places; i++, hash[0] >>= BLOCK_FILTER_SHIFT)
		passing &= mask_at(places + (hash[0] & ((UINT64_C(1) << log2) - 1)) * MASK_LEN);
	return passing;
}

int block_group_read(
        struct block_group *group, const struct block_piece *piece, const struct block_filter *filter)
{
	struct block_in in;

	if (!block_in_begin(&in, piece, 0) || block_in_number(&in) != VERSION)
		return -EBADMSG;
	in_spans(&in, group);
	group->may_pass = kinds_that_pass(&in, filter);
	group->may_pass &= clients_that_pass(&in, filter);
	group->may_pass &= names_that_pass(&in, filter);
	return in.bad || group->count == 0 ? -EBADMSG : 0;
}
