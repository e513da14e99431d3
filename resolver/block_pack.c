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

#include "block_octets.h"

#define SLOTS 8192 /* more than twice the entries of any dictionary */
#define CIRCUMSTANCE_MAX 48
#define FILTER_BITS_PER_NAME 16

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

static void dictionary_init(struct dictionary *dictionary)
{
	dictionary->count = 0;
	memset(dictionary->slot, 0, sizeof dictionary->slot);
}

static void dictionary_write(const struct dictionary *dictionary, struct block_out *out)
{
	block_out_number(out, dictionary->count);
	for (uint32_t i = 0; i < dictionary->count; i++) {
		block_out_number(out, dictionary->entry[i].len);
		block_out_octets(out, dictionary->entry[i].data, dictionary->entry[i].len);
	}
}

/* ---- packing ---- */

struct packer {
	struct dictionary texts, clients, circumstances, names;
	uint8_t circumstance[BLOCK_SEGMENT_EVENTS]
	                    [CIRCUMSTANCE_MAX]; /* what the dictionary's entries point to */
	struct block_out events;
};

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

/* What dictionaries have no entry for yet need not be cleared: that is most of it. */
static struct packer *packer_new(void)
{
	struct packer *packer = malloc(sizeof *packer);

	if (!packer)
		return NULL;
	dictionary_init(&packer->texts);
	dictionary_init(&packer->clients);
	dictionary_init(&packer->circumstances);
	dictionary_init(&packer->names);
	packer->events = (struct block_out){ 0 };
	return packer;
}

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
		len += block_varint_write(at + len, number[i]);
	return dictionary_number(&packer->circumstances, at, len);
}

static void pack_event(struct packer *packer, const struct block_item *item, const struct block_item *before)
{
	struct block_out *out = &packer->events;
	uint32_t name = dictionary_number(&packer->names, item->name, item->name_len);
	bool same =
	        item->matched_len == item->name_len && memcmp(item->matched, item->name, item->name_len) == 0;

	block_out_number(out, item->id - before->id);
	block_out_signed(out, (int64_t)((uint64_t)item->time_us - (uint64_t)before->time_us));
	block_out_number(out, client_number(packer, item->client));
	block_out_number(out, name);
	block_out_number(
	        out, same ? 0 : 1 + dictionary_number(&packer->names, item->matched, item->matched_len));
	block_out_number(out, circumstance_number(packer, item));
}

static void filter_add(uint8_t *filter, uint32_t mask, uint64_t hash)
{
	for (int i = 0; i < BLOCK_FILTER_HASHES; i++, hash >>= BLOCK_FILTER_SHIFT)
		filter[(hash & mask) / 8] |= (uint8_t)(1 << (hash & 7));
}

static void pack_filter(const struct dictionary *names, struct block_out *out)
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
	block_out_number(out, log2);
	block_out_octets(out, filter, (1u << log2) / 8);
}

static void pack_span(const struct block_item *items, size_t count, struct block_out *out)
{
	int64_t first_us = items[0].time_us, last_us = items[0].time_us;

	for (size_t i = 1; i < count; i++) {
		first_us = items[i].time_us < first_us ? items[i].time_us : first_us;
		last_us = items[i].time_us > last_us ? items[i].time_us : last_us;
	}
	block_out_number(out, BLOCK_SEGMENT_VERSION);
	block_out_number(out, count);
	block_out_number(out, items[0].id);
	block_out_number(out, items[count - 1].id - items[0].id);
	block_out_signed(out, first_us);
	block_out_number(out, (uint64_t)last_us - (uint64_t)first_us);
}

int block_segment_pack(
        struct block_piece *summary, struct block_piece *data, const struct block_item *items, size_t count)
{
	struct block_out head = { 0 }, body = { 0 };
	struct packer *packer = packer_new();
	if (!packer)
		return -ENOMEM;

	struct block_item before = { .id = items[0].id };
	for (size_t i = 0; i < count; i++) {
		pack_event(packer, &items[i], &before);
		before = items[i];
	}
	block_out_room(&head, BLOCK_CHECK_LEN);
	pack_span(items, count, &head);
	dictionary_write(&packer->texts, &head);
	dictionary_write(&packer->clients, &head);
	dictionary_write(&packer->circumstances, &head);
	pack_filter(&packer->names, &head);
	block_out_room(&body, BLOCK_CHECK_LEN);
	dictionary_write(&packer->names, &body);
	block_out_octets(&body, packer->events.data, packer->events.len);
	body.failed |= packer->events.failed;
	free(packer->events.data);
	free(packer);

	int ret = block_out_finish(&head, 0, summary);
	if (ret < 0) {
		free(body.data);
		return ret;
	}
	ret = block_out_finish(&body, items[0].id, data);
	if (ret < 0)
		free(summary->data);
	return ret;
}
