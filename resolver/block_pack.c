/*
 * Numbers are LEB128 varints, signed ones zigzag; what repeats stands once in a dictionary: in a school most
 * events of a segment share their names, clients and circumstances, and an event shrinks to about ten octets.
 *
 *   summary       check (8 octets), version, count, first id, last less first id, first time, last less first
 *                 time, texts, clients, circumstances, log2 of the filter's bits, filter
 *   data          check (8 octets), names, events
 *   text          octets with NUL
 *   client        4 octets (IPv4) or 16
 *   circumstance  profile + 1, category + 1, source + 1 (numbers of texts, 0: none), type, severity, action,
 *                 rule labels, generation
 *   name          wire form
 *   event         id and time less those before, client + 1 (0: none), name, matched + 1 (0: the same),
 *                 circumstance
 *
 * A dictionary is its count, then the entries, each with its length before it. The filter is a Bloom filter
 * of all suffixes of all names. The checks are XXH3, that of the data keyed by the first id.
 */
#include "block_segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define VARINT_MAX 10
#define SLOTS 8192 /* more than twice the entries of any dictionary */
#define CIRCUMSTANCE_MAX 48
#define FILTER_BITS_PER_NAME 16

/* ---- octets out ---- */

struct out {
	uint8_t *data;
	size_t len, size;
	bool failed;
};

static uint8_t *out_room(struct out *out, size_t len)
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

static void out_octets(struct out *out, const void *data, size_t len)
{
	uint8_t *at = out_room(out, len);
	if (at && len)
		memcpy(at, data, len);
}

static size_t varint_write(uint8_t *at, uint64_t n)
{
	size_t len = 0;

	for (; n >= 0x80; n >>= 7)
		at[len++] = (uint8_t)(n | 0x80);
	at[len++] = (uint8_t)n;
	return len;
}

static void out_number(struct out *out, uint64_t n)
{
	uint8_t *at = out_room(out, VARINT_MAX);
	if (at)
		out->len -= VARINT_MAX - varint_write(at, n);
}

static void out_signed(struct out *out, int64_t n)
{
	out_number(out, (uint64_t)n << 1 ^ (uint64_t)(n >> 63));
}

/* ---- dictionaries ---- */

struct dictionary {
	uint32_t count;
	struct {
		const uint8_t *data;
		size_t len;
	} entry[BLOCK_ENTRIES_MAX];
	uint16_t slot[SLOTS]; /* number + 1 */
};

/* The number of an entry, added if it is new. *data must stay where it is. */
static uint32_t dictionary_number(struct dictionary *dictionary, const void *data, size_t len)
{
	uint32_t at = (uint32_t)XXH3_64bits(data, len) % SLOTS;

	for (; dictionary->slot[at]; at = (at + 1) % SLOTS) {
		uint32_t number = dictionary->slot[at] - 1u;
		if (dictionary->entry[number].len == len &&
		        memcmp(dictionary->entry[number].data, data, len) == 0)
			return number;
	}
	dictionary->entry[dictionary->count].data = data;
	dictionary->entry[dictionary->count].len = len;
	dictionary->slot[at] = (uint16_t)++dictionary->count;
	return dictionary->count - 1;
}

static void dictionary_write(const struct dictionary *dictionary, struct out *out)
{
	out_number(out, dictionary->count);
	for (uint32_t i = 0; i < dictionary->count; i++) {
		out_number(out, dictionary->entry[i].len);
		out_octets(out, dictionary->entry[i].data, dictionary->entry[i].len);
	}
}

/* ---- packing ---- */

struct packer {
	struct dictionary texts, clients, circumstances, names;
	uint8_t circumstance[BLOCK_SEGMENT_EVENTS]
	                    [CIRCUMSTANCE_MAX]; /* what the dictionary's entries point to */
	struct out events;
};

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

static uint64_t client_number(struct packer *packer, const uint8_t *client)
{
	if (!client)
		return 0;
	if (memcmp(client, v4_mapped, sizeof v4_mapped) == 0)
		return 1 + dictionary_number(&packer->clients, client + 12, 4);
	return 1 + dictionary_number(&packer->clients, client, 16);
}

static uint64_t text_number(struct packer *packer, const char *text)
{
	return text ? 1 + dictionary_number(&packer->texts, text, strlen(text) + 1) : 0;
}

static uint32_t circumstance_number(struct packer *packer, const struct block_item *item)
{
	uint64_t number[] = { text_number(packer, item->profile), text_number(packer, item->category),
		text_number(packer, item->source), item->type, item->severity, item->action,
		item->rule_labels, item->generation };
	uint8_t *at = packer->circumstance[packer->circumstances.count];
	size_t len = 0;

	for (size_t i = 0; i < sizeof number / sizeof *number; i++)
		len += varint_write(at + len, number[i]);
	return dictionary_number(&packer->circumstances, at, len);
}

static void pack_event(struct packer *packer, const struct block_item *item, const struct block_item *before)
{
	struct out *out = &packer->events;
	uint32_t name = dictionary_number(&packer->names, item->name, item->name_len);
	bool same =
	        item->matched_len == item->name_len && memcmp(item->matched, item->name, item->name_len) == 0;

	out_number(out, item->id - before->id);
	out_signed(out, (int64_t)((uint64_t)item->time_us - (uint64_t)before->time_us));
	out_number(out, client_number(packer, item->client));
	out_number(out, name);
	out_number(out, same ? 0 : 1 + dictionary_number(&packer->names, item->matched, item->matched_len));
	out_number(out, circumstance_number(packer, item));
}

static void filter_add(uint8_t *filter, uint32_t mask, uint64_t hash)
{
	for (int i = 0; i < 3; i++, hash >>= 20)
		filter[(hash & mask) / 8] |= (uint8_t)(1 << (hash & 7));
}

static void pack_filter(const struct dictionary *names, struct out *out)
{
	uint8_t filter[(1u << BLOCK_FILTER_LOG2_MAX) / 8] = { 0 };
	uint64_t hash[NAME_LABELS_MAX + 1];
	unsigned log2 = BLOCK_FILTER_LOG2_MIN;
	struct name name;

	while (log2 < BLOCK_FILTER_LOG2_MAX && 1u << log2 < names->count * FILTER_BITS_PER_NAME)
		log2++;
	for (uint32_t i = 0; i < names->count; i++) {
		if (name_from_wire(&name, names->entry[i].data, names->entry[i].len) < 0)
			continue;
		name_hash_suffixes(&name, BLOCK_FILTER_SEED, hash);
		for (unsigned label = 0; label < name.labels; label++)
			filter_add(filter, (1u << log2) - 1, hash[label]);
	}
	out_number(out, log2);
	out_octets(out, filter, (1u << log2) / 8);
}

static void pack_span(const struct block_item *items, size_t count, struct out *out)
{
	int64_t first_us = items[0].time_us, last_us = items[0].time_us;

	for (size_t i = 1; i < count; i++) {
		first_us = items[i].time_us < first_us ? items[i].time_us : first_us;
		last_us = items[i].time_us > last_us ? items[i].time_us : last_us;
	}
	out_number(out, BLOCK_SEGMENT_VERSION);
	out_number(out, count);
	out_number(out, items[0].id);
	out_number(out, items[count - 1].id - items[0].id);
	out_signed(out, first_us);
	out_number(out, (uint64_t)last_us - (uint64_t)first_us);
}

/* Fills in the check and hands the octets over. */
static int out_finish(struct out *out, uint64_t seed, struct block_piece *piece)
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

int block_segment_pack(
        struct block_piece *summary, struct block_piece *data, const struct block_item *items, size_t count)
{
	struct out head = { 0 }, body = { 0 };
	struct packer *packer = calloc(1, sizeof *packer);
	if (!packer)
		return -ENOMEM;

	struct block_item before = { .id = items[0].id };
	for (size_t i = 0; i < count; i++) {
		pack_event(packer, &items[i], &before);
		before = items[i];
	}
	out_room(&head, BLOCK_CHECK_LEN);
	pack_span(items, count, &head);
	dictionary_write(&packer->texts, &head);
	dictionary_write(&packer->clients, &head);
	dictionary_write(&packer->circumstances, &head);
	pack_filter(&packer->names, &head);
	out_room(&body, BLOCK_CHECK_LEN);
	dictionary_write(&packer->names, &body);
	out_octets(&body, packer->events.data, packer->events.len);
	body.failed |= packer->events.failed;
	free(packer->events.data);
	free(packer);

	int ret = out_finish(&head, 0, summary);
	if (ret < 0) {
		free(body.data);
		return ret;
	}
	ret = out_finish(&body, items[0].id, data);
	if (ret < 0)
		free(summary->data);
	return ret;
}
