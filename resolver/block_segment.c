/* Segments as read; their layout stands at the head of block_pack.c. The octets come from a disk: nothing is
 * believed. */
#include "block_segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block_octets.h"

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

static int in_span(struct block_in *in, struct block_span *span)
{
	if (block_in_number(in) != BLOCK_SEGMENT_VERSION)
		return -EBADMSG;
	span->count = block_in_count(in, BLOCK_SEGMENT_EVENTS);
	span->first_id = block_in_number(in);
	span->last_id = span->first_id + block_in_number(in);
	span->first_us = block_in_signed(in);
	span->last_us = (int64_t)((uint64_t)span->first_us + block_in_number(in));
	return in->bad || span->count == 0 ? -EBADMSG : 0;
}

int block_segment_span(struct block_span *span, const struct block_piece *summary)
{
	struct block_in in;
	return block_in_begin(&in, summary, 0) ? in_span(&in, span) : -EBADMSG;
}

/* The dictionaries of a summary, as read. */
struct texts {
	uint32_t count;
	const char *text[BLOCK_ENTRIES_MAX];
};

static void in_texts(struct block_in *in, struct texts *texts)
{
	texts->count = block_in_count(in, BLOCK_ENTRIES_MAX);
	for (uint32_t i = 0; i < texts->count && !in->bad; i++) {
		size_t len;
		const uint8_t *text = block_in_entry(in, &len);
		if (!text || len == 0 || text[len - 1] != 0)
			in->bad = true;
		texts->text[i] = (const char *)text;
	}
}

static void in_client(struct block_in *in, uint8_t client[16])
{
	size_t len;
	const uint8_t *octets = block_in_entry(in, &len);

	if (octets && len == 4) {
		memcpy(client, v4_mapped, sizeof v4_mapped);
		memcpy(client + 12, octets, 4);
	} else if (octets && len == 16) {
		memcpy(client, octets, 16);
	} else {
		in->bad = true;
	}
}

static const char *in_text(struct block_in *in, const struct texts *texts)
{
	uint64_t number = block_in_number(in);

	if (number > texts->count)
		in->bad = true;
	return number == 0 || number > texts->count ? NULL : texts->text[number - 1];
}

static void in_circumstance(struct block_in *in, const struct texts *texts, struct block_item *item)
{
	block_in_number(in); /* its length */
	item->profile = in_text(in, texts);
	item->category = in_text(in, texts);
	item->source = in_text(in, texts);
	item->type = (uint16_t)block_in_number(in);
	item->severity = (uint8_t)block_in_number(in);
	if (item->severity > SEVERITY_DANGER)
		in->bad = true;
	item->action = (uint8_t)block_in_number(in);
	item->rule_labels = (uint8_t)block_in_number(in);
	item->generation = block_in_number(in);
}

/* ---- skipping ---- */

static bool some_client_passes(struct block_in *in, const struct block_filter *filter)
{
	uint32_t count = block_in_count(in, BLOCK_SEGMENT_EVENTS);
	bool passes = !filter->has_client;
	uint8_t client[16];

	for (uint32_t i = 0; i < count && !in->bad; i++) {
		in_client(in, client);
		passes = passes || (!in->bad && block_client_passes(client, filter));
	}
	return passes;
}

static bool some_circumstance_passes(
        struct block_in *in, const struct texts *texts, const struct block_filter *filter)
{
	uint32_t count = block_in_count(in, BLOCK_SEGMENT_EVENTS);
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
	for (int i = 0; i < BLOCK_FILTER_HASHES; i++, hash >>= BLOCK_FILTER_SHIFT)
		if (!(filter[(hash & mask) / 8] & 1 << (hash & 7)))
			return false;
	return true;
}

static bool some_name_may_pass(struct block_in *in, const struct block_filter *filter)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	uint64_t log2 = block_in_number(in);

	if (filter->name.labels == 0)
		return true;
	if (log2 < BLOCK_FILTER_LOG2_MIN || log2 > BLOCK_FILTER_LOG2_MAX)
		return false;
	const uint8_t *bits = block_in_octets(in, ((size_t)1 << log2) / 8);
	name_hash_suffixes(&filter->name, BLOCK_FILTER_SEED, hash);
	return bits && filter_has(bits, (1u << log2) - 1, hash[0]);
}

bool block_segment_may_pass(const struct block_piece *summary, const struct block_filter *filter)
{
	struct block_span span;
	struct texts texts;
	struct block_in in;

	if (!block_in_begin(&in, summary, 0) || in_span(&in, &span) < 0)
		return false;
	if (block_filter_is_open(filter))
		return true;
	in_texts(&in, &texts);
	return !in.bad && some_client_passes(&in, filter) && some_circumstance_passes(&in, &texts, filter) &&
	       some_name_may_pass(&in, filter) && !in.bad;
}

int block_segment_outline(struct block_outline *outline, const struct block_piece *summary)
{
	struct block_in in;
	struct texts texts;

	if (!block_in_begin(&in, summary, 0) || in_span(&in, &outline->span) < 0)
		return -EBADMSG;
	in_texts(&in, &texts);
	outline->client_count = block_in_count(&in, BLOCK_SEGMENT_EVENTS);
	for (uint32_t i = 0; i < outline->client_count && !in.bad; i++)
		in_client(&in, outline->client[i]);
	outline->circumstance_count = block_in_count(&in, BLOCK_SEGMENT_EVENTS);
	for (uint32_t i = 0; i < outline->circumstance_count && !in.bad; i++)
		in_circumstance(&in, &texts, &outline->circumstance[i]);
	uint64_t log2 = block_in_number(&in);
	if (in.bad || log2 < BLOCK_FILTER_LOG2_MIN || log2 > BLOCK_FILTER_LOG2_MAX)
		return -EBADMSG;
	outline->filter_log2 = (unsigned)log2;
	outline->filter = block_in_octets(&in, ((size_t)1 << log2) / 8);
	return outline->filter ? 0 : -EBADMSG;
}

/* ---- unpacking ---- */

struct names {
	uint32_t count;
	struct {
		const uint8_t *wire;
		uint8_t len;
	} name[2 * BLOCK_SEGMENT_EVENTS];
};

static void in_names(struct block_in *in, struct names *names)
{
	names->count = block_in_count(in, 2 * BLOCK_SEGMENT_EVENTS);
	for (uint32_t i = 0; i < names->count && !in->bad; i++) {
		size_t len;
		names->name[i].wire = block_in_entry(in, &len);
		names->name[i].len = (uint8_t)len;
		if (!names->name[i].wire || len > NAME_WIRE_MAX ||
		        !block_wire_is_name(names->name[i].wire, len))
			in->bad = true;
	}
}

/* What the events point to, and which of it passes. */
struct unpacker {
	struct texts texts;
	uint32_t client_count, circumstance_count;
	struct block_item circumstance[BLOCK_SEGMENT_EVENTS];
	struct names names;
	bool client_passes[BLOCK_SEGMENT_EVENTS + 1]; /* 0: an event without */
	bool circumstance_passes[BLOCK_SEGMENT_EVENTS];
	bool name_passes[2 * BLOCK_SEGMENT_EVENTS];
};

static void unpack_dictionaries(
        struct unpacker *unpacker, uint8_t (*clients)[16], struct block_in *head, struct block_in *body)
{
	in_texts(head, &unpacker->texts);
	unpacker->client_count = block_in_count(head, BLOCK_SEGMENT_EVENTS);
	for (uint32_t i = 0; i < unpacker->client_count && !head->bad; i++)
		in_client(head, clients[i]);
	unpacker->circumstance_count = block_in_count(head, BLOCK_SEGMENT_EVENTS);
	for (uint32_t i = 0; i < unpacker->circumstance_count && !head->bad; i++)
		in_circumstance(head, &unpacker->texts, &unpacker->circumstance[i]);
	in_names(body, &unpacker->names);
}

/* Entries of dictionaries are judged once, not each of their events. */
static void judge_dictionaries(
        struct unpacker *unpacker, uint8_t (*clients)[16], const struct block_filter *filter)
{
	unpacker->client_passes[0] = block_client_passes(NULL, filter);
	for (uint32_t i = 0; i < unpacker->client_count; i++)
		unpacker->client_passes[i + 1] = block_client_passes(clients[i], filter);
	for (uint32_t i = 0; i < unpacker->circumstance_count; i++) {
		const struct block_item *kind = &unpacker->circumstance[i];
		unpacker->circumstance_passes[i] =
		        block_profile_passes(kind->profile, filter) &&
		        block_category_passes(kind->category, kind->severity, filter);
	}
	for (uint32_t i = 0; i < unpacker->names.count; i++)
		unpacker->name_passes[i] =
		        block_name_passes(unpacker->names.name[i].wire, unpacker->names.name[i].len, filter);
}

/* Most numbers are one octet. */
static uint64_t in_short(struct block_in *in)
{
	return in->at < in->end && *in->at < 0x80 ? *in->at++ : block_in_number(in);
}

/* An event's numbers. */
struct event {
	uint64_t id, client, name, matched, circumstance;
	int64_t time_us;
};

static int in_event(struct block_in *in, struct event *event, const struct unpacker *unpacker)
{
	event->id += in_short(in);
	event->time_us = (int64_t)((uint64_t)event->time_us + (uint64_t)block_in_signed(in));
	event->client = in_short(in);
	event->name = in_short(in);
	event->matched = in_short(in);
	event->circumstance = in_short(in);
	if (in->bad || event->client > unpacker->client_count || event->name >= unpacker->names.count ||
	        event->matched > unpacker->names.count || event->circumstance >= unpacker->circumstance_count)
		return -EBADMSG;
	event->matched = event->matched ? event->matched - 1 : event->name;
	return 0;
}

static bool event_passes(
        const struct event *event, const struct unpacker *unpacker, const struct block_filter *filter)
{
	return !filter ||
	       (block_time_passes(event->time_us, filter) && unpacker->client_passes[event->client] &&
	               unpacker->circumstance_passes[event->circumstance] &&
	               (unpacker->name_passes[event->name] || unpacker->name_passes[event->matched]));
}

static void event_item(struct block_item *item, const struct event *event, const struct unpacker *unpacker,
        uint8_t (*clients)[16])
{
	const struct names *names = &unpacker->names;

	*item = unpacker->circumstance[event->circumstance];
	item->id = event->id;
	item->time_us = event->time_us;
	item->client = event->client ? clients[event->client - 1] : NULL;
	item->name = names->name[event->name].wire;
	item->name_len = names->name[event->name].len;
	item->matched = names->name[event->matched].wire;
	item->matched_len = names->name[event->matched].len;
}

int block_segment_unpack(struct block_item *items, uint8_t (*clients)[16], const struct block_piece *summary,
        const struct block_piece *data, const struct block_filter *filter)
{
	struct block_in head, body;
	struct block_span span;
	int count = 0;

	if (!block_in_begin(&head, summary, 0) || in_span(&head, &span) < 0 ||
	        !block_in_begin(&body, data, span.first_id))
		return -EBADMSG;
	struct unpacker *unpacker = malloc(sizeof *unpacker);
	if (!unpacker)
		return -ENOMEM;
	unpack_dictionaries(unpacker, clients, &head, &body);
	int ret = head.bad || body.bad ? -EBADMSG : 0;
	if (ret == 0 && filter)
		judge_dictionaries(unpacker, clients, filter);
	struct event event = { .id = span.first_id };
	for (uint32_t i = 0; i < span.count && ret == 0; i++) {
		ret = in_event(&body, &event, unpacker);
		if (ret == 0 && event_passes(&event, unpacker, filter))
			event_item(&items[count++], &event, unpacker, clients);
	}
	free(unpacker);
	return ret < 0 ? ret : count;
}
