/* Segments as read; their layout stands at the head of block_pack.c. The octets come from a disk: nothing is
 * believed. */
#include "block_segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

/* ---- octets in ---- */

struct in {
	const uint8_t *at, *end;
	bool bad;
};

static bool in_begin(struct in *in, const struct block_piece *piece, uint64_t seed)
{
	uint64_t check;

	if (piece->len < BLOCK_CHECK_LEN)
		return false;
	memcpy(&check, piece->data, BLOCK_CHECK_LEN);
	*in = (struct in){ piece->data + BLOCK_CHECK_LEN, piece->data + piece->len, false };
	return check == XXH3_64bits_withSeed(in->at, (size_t)(in->end - in->at), seed);
}

static uint64_t in_number(struct in *in)
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

static int64_t in_signed(struct in *in)
{
	uint64_t n = in_number(in);
	return (int64_t)(n >> 1 ^ (0 - (n & 1)));
}

static const uint8_t *in_octets(struct in *in, size_t len)
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
static const uint8_t *in_entry(struct in *in, size_t *len)
{
	*len = in_number(in);
	return in_octets(in, *len);
}

static uint32_t in_count(struct in *in, uint32_t max)
{
	uint64_t count = in_number(in);

	if (count <= max)
		return (uint32_t)count;
	in->bad = true;
	return 0;
}

static int in_span(struct in *in, struct block_span *span)
{
	if (in_number(in) != BLOCK_SEGMENT_VERSION)
		return -EBADMSG;
	span->count = in_count(in, BLOCK_SEGMENT_EVENTS);
	span->first_id = in_number(in);
	span->last_id = span->first_id + in_number(in);
	span->first_us = in_signed(in);
	span->last_us = (int64_t)((uint64_t)span->first_us + in_number(in));
	return in->bad || span->count == 0 ? -EBADMSG : 0;
}

int block_segment_span(struct block_span *span, const struct block_piece *summary)
{
	struct in in;
	return in_begin(&in, summary, 0) ? in_span(&in, span) : -EBADMSG;
}

/* The dictionaries of a summary, as read. */
struct texts {
	uint32_t count;
	const char *text[BLOCK_ENTRIES_MAX];
};

static void in_texts(struct in *in, struct texts *texts)
{
	texts->count = in_count(in, BLOCK_ENTRIES_MAX);
	for (uint32_t i = 0; i < texts->count && !in->bad; i++) {
		size_t len;
		const uint8_t *text = in_entry(in, &len);
		if (!text || len == 0 || text[len - 1] != 0)
			in->bad = true;
		texts->text[i] = (const char *)text;
	}
}

static void in_client(struct in *in, uint8_t client[16])
{
	size_t len;
	const uint8_t *octets = in_entry(in, &len);

	if (octets && len == 4) {
		memcpy(client, v4_mapped, sizeof v4_mapped);
		memcpy(client + 12, octets, 4);
	} else if (octets && len == 16) {
		memcpy(client, octets, 16);
	} else {
		in->bad = true;
	}
}

static const char *in_text(struct in *in, const struct texts *texts)
{
	uint64_t number = in_number(in);

	if (number > texts->count)
		in->bad = true;
	return number == 0 || number > texts->count ? NULL : texts->text[number - 1];
}

static void in_circumstance(struct in *in, const struct texts *texts, struct block_item *item)
{
	in_number(in); /* its length */
	item->profile = in_text(in, texts);
	item->category = in_text(in, texts);
	item->source = in_text(in, texts);
	item->type = (uint16_t)in_number(in);
	item->severity = (uint8_t)in_number(in);
	if (item->severity > SEVERITY_DANGER)
		in->bad = true;
	item->action = (uint8_t)in_number(in);
	item->rule_labels = (uint8_t)in_number(in);
	item->generation = in_number(in);
}

/* ---- skipping ---- */

static bool some_client_passes(struct in *in, const struct block_filter *filter)
{
	uint32_t count = in_count(in, BLOCK_SEGMENT_EVENTS);
	bool passes = !filter->has_client;
	uint8_t client[16];

	for (uint32_t i = 0; i < count && !in->bad; i++) {
		in_client(in, client);
		passes = passes || (!in->bad && block_client_passes(client, filter));
	}
	return passes;
}

static bool some_circumstance_passes(
        struct in *in, const struct texts *texts, const struct block_filter *filter)
{
	uint32_t count = in_count(in, BLOCK_SEGMENT_EVENTS);
	bool passes = false;

	for (uint32_t i = 0; i < count && !in->bad; i++) {
		struct block_item item = { 0 };
		in_circumstance(in, texts, &item);
		passes = passes || (block_profile_passes(item.profile, filter) &&
		                           block_category_passes(item.category, item.severity, filter));
	}
	return passes;
}

static bool filter_has(const uint8_t *filter, uint32_t mask, uint64_t hash)
{
	for (int i = 0; i < 3; i++, hash >>= 20)
		if (!(filter[(hash & mask) / 8] & 1 << (hash & 7)))
			return false;
	return true;
}

static bool some_name_may_pass(struct in *in, const struct block_filter *filter)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	uint64_t log2 = in_number(in);

	if (filter->name.labels == 0)
		return true;
	if (log2 < BLOCK_FILTER_LOG2_MIN || log2 > BLOCK_FILTER_LOG2_MAX)
		return false;
	const uint8_t *bits = in_octets(in, ((size_t)1 << log2) / 8);
	name_hash_suffixes(&filter->name, BLOCK_FILTER_SEED, hash);
	return bits && filter_has(bits, (1u << log2) - 1, hash[0]);
}

static bool filter_is_open(const struct block_filter *filter)
{
	return !filter->has_client && !filter->profile && !filter->profiles && !filter->category &&
	       filter->severity <= SEVERITY_ADVISORY && filter->name.labels == 0;
}

bool block_segment_may_pass(const struct block_piece *summary, const struct block_filter *filter)
{
	struct block_span span;
	struct texts texts;
	struct in in;

	if (!in_begin(&in, summary, 0) || in_span(&in, &span) < 0)
		return false;
	if (filter_is_open(filter))
		return true;
	in_texts(&in, &texts);
	return !in.bad && some_client_passes(&in, filter) && some_circumstance_passes(&in, &texts, filter) &&
	       some_name_may_pass(&in, filter) && !in.bad;
}

/* ---- unpacking ---- */

struct names {
	uint32_t count;
	struct {
		const uint8_t *wire;
		uint8_t len;
	} name[2 * BLOCK_SEGMENT_EVENTS];
};

static void in_names(struct in *in, struct names *names)
{
	names->count = in_count(in, 2 * BLOCK_SEGMENT_EVENTS);
	for (uint32_t i = 0; i < names->count && !in->bad; i++) {
		size_t len;
		names->name[i].wire = in_entry(in, &len);
		names->name[i].len = (uint8_t)len;
		if (!names->name[i].wire || len > NAME_WIRE_MAX ||
		        !block_wire_is_name(names->name[i].wire, len))
			in->bad = true;
	}
}

/* What the events point to. */
struct unpacker {
	struct texts texts;
	uint32_t client_count, circumstance_count;
	struct block_item circumstance[BLOCK_SEGMENT_EVENTS];
	struct names names;
};

static void unpack_dictionaries(
        struct unpacker *unpacker, uint8_t (*clients)[16], struct in *head, struct in *body)
{
	in_texts(head, &unpacker->texts);
	unpacker->client_count = in_count(head, BLOCK_SEGMENT_EVENTS);
	for (uint32_t i = 0; i < unpacker->client_count && !head->bad; i++)
		in_client(head, clients[i]);
	unpacker->circumstance_count = in_count(head, BLOCK_SEGMENT_EVENTS);
	for (uint32_t i = 0; i < unpacker->circumstance_count && !head->bad; i++)
		in_circumstance(head, &unpacker->texts, &unpacker->circumstance[i]);
	in_names(body, &unpacker->names);
}

static int unpack_event(struct block_item *item, const struct block_item *before,
        const struct unpacker *unpacker, uint8_t (*clients)[16], struct in *in)
{
	uint64_t id = before->id + in_number(in);
	int64_t time_us = (int64_t)((uint64_t)before->time_us + (uint64_t)in_signed(in));
	uint64_t client = in_number(in), name = in_number(in), matched = in_number(in),
	         circumstance = in_number(in);

	if (in->bad || client > unpacker->client_count || name >= unpacker->names.count ||
	        matched > unpacker->names.count || circumstance >= unpacker->circumstance_count)
		return -EBADMSG;
	matched = matched ? matched - 1 : name;
	*item = unpacker->circumstance[circumstance];
	item->id = id;
	item->time_us = time_us;
	item->client = client ? clients[client - 1] : NULL;
	item->name = unpacker->names.name[name].wire;
	item->name_len = unpacker->names.name[name].len;
	item->matched = unpacker->names.name[matched].wire;
	item->matched_len = unpacker->names.name[matched].len;
	return 0;
}

int block_segment_unpack(struct block_item *items, uint8_t (*clients)[16], const struct block_piece *summary,
        const struct block_piece *data)
{
	struct in head, body;
	struct block_span span;

	if (!in_begin(&head, summary, 0) || in_span(&head, &span) < 0 ||
	        !in_begin(&body, data, span.first_id))
		return -EBADMSG;
	struct unpacker *unpacker = malloc(sizeof *unpacker);
	if (!unpacker)
		return -ENOMEM;
	unpack_dictionaries(unpacker, clients, &head, &body);
	int ret = head.bad || body.bad ? -EBADMSG : 0;
	struct block_item before = { .id = span.first_id };
	for (uint32_t i = 0; i < span.count && ret == 0; i++) {
		ret = unpack_event(&items[i], &before, unpacker, clients, &body);
		before = items[i];
	}
	free(unpacker);
	return ret < 0 ? ret : (int)span.count;
}
