/*
 * In a ring, an event is a struct ring_event, then profile, category and source, each ending with NUL, then
 * the asked name and, if it is another, the matched name in wire form. It names things, never counts them:
 * indices change with a reload, and the ring is read after it.
 */
#include "block_item.h"

#include <errno.h>
#include <string.h>

#include "address.h"

#define TEXT_MAX 255

enum ring_event_flag {
	HAS_CLIENT = 1 << 0,
	HAS_CATEGORY = 1 << 1,
	HAS_SOURCE = 1 << 2,
	HAS_PROFILE = 1 << 3
};

struct ring_event {
	int64_t time_us;
	uint64_t generation;
	uint32_t keep_s;
	uint16_t type;
	uint8_t severity, action, rule_labels, flags;
	uint8_t name_len, matched_len; /* matched_len 0: the asked name */
	uint8_t client[16];
};

static size_t text_len(const char *text)
{
	return text ? strnlen(text, TEXT_MAX) : 0;
}

static uint8_t *put_text(uint8_t *at, const char *text, size_t len)
{
	if (len)
		memcpy(at, text, len);
	at[len] = 0;
	return at + len + 1;
}

bool block_log_write(struct ring *ring, const struct block_event *event)
{
	size_t profile = text_len(event->profile), category = text_len(event->category),
	       source = text_len(event->source);
	uint8_t matched_len =
	        event->matched && !name_equal(event->matched, event->name) ? event->matched->len : 0;
	struct ring_event *out = ring_reserve(
	        ring, sizeof *out + profile + category + source + 3 + event->name->len + matched_len);
	if (!out)
		return false;

	*out = (struct ring_event){
		.time_us = event->time_us,
		.generation = event->generation,
		.keep_s = event->keep_s,
		.type = event->type,
		.severity = (uint8_t)event->severity,
		.action = (uint8_t)event->action,
		.rule_labels = event->rule_labels,
		.flags = (uint8_t)((event->client ? HAS_CLIENT : 0) | (event->category ? HAS_CATEGORY : 0) |
		                   (event->source ? HAS_SOURCE : 0) | (event->profile ? HAS_PROFILE : 0)),
		.name_len = event->name->len,
		.matched_len = matched_len,
	};
	if (event->client)
		memcpy(out->client, event->client, sizeof out->client);
	uint8_t *at = put_text((uint8_t *)(out + 1), event->profile, profile);
	at = put_text(at, event->category, category);
	at = put_text(at, event->source, source);
	memcpy(at, event->name->wire, event->name->len);
	if (matched_len)
		memcpy(at + event->name->len, event->matched->wire, matched_len);
	ring_commit(ring);
	return true;
}

static const char *take_text(const uint8_t **at, const uint8_t *end)
{
	const char *text = (const char *)*at;
	const uint8_t *nul = memchr(*at, 0, (size_t)(end - *at));

	*at = nul ? nul + 1 : end;
	return nul ? text : NULL;
}

int block_item_read(struct block_item *item, const void *data, size_t len)
{
	const struct ring_event *in = data;
	if (len < sizeof *in)
		return -EBADMSG;
	const uint8_t *at = (const uint8_t *)(in + 1), *end = (const uint8_t *)data + len;
	const char *profile = take_text(&at, end), *category = take_text(&at, end),
	           *source = take_text(&at, end);

	if (!profile || !category || !source || (size_t)(end - at) != (size_t)in->name_len + in->matched_len)
		return -EBADMSG;
	if (in->severity > SEVERITY_DANGER || !block_wire_is_name(at, in->name_len) ||
	        (in->matched_len && !block_wire_is_name(at + in->name_len, in->matched_len)))
		return -EBADMSG;
	*item = (struct block_item){
		.time_us = in->time_us,
		.generation = in->generation,
		.client = in->flags & HAS_CLIENT ? in->client : NULL,
		.profile = in->flags & HAS_PROFILE ? profile : NULL,
		.category = in->flags & HAS_CATEGORY ? category : NULL,
		.source = in->flags & HAS_SOURCE ? source : NULL,
		.name = at,
		.matched = in->matched_len ? at + in->name_len : at,
		.name_len = in->name_len,
		.matched_len = in->matched_len ? in->matched_len : in->name_len,
		.rule_labels = in->rule_labels,
		.severity = in->severity,
		.action = in->action,
		.type = in->type,
		.keep_s = in->keep_s,
	};
	return 0;
}

bool block_wire_is_name(const uint8_t *wire, size_t len)
{
	size_t at = 0;

	while (at < len && wire[at] != 0 && wire[at] <= 63)
		at += 1 + (size_t)wire[at];
	return at + 1 == len && wire[at] == 0;
}

static bool wire_is_below(const uint8_t *wire, size_t len, const struct name *parent)
{
	size_t at = 0;

	if (len < parent->len || memcmp(wire + len - parent->len, parent->wire, parent->len) != 0)
		return false;
	while (at < len - parent->len)
		at += 1 + (size_t)wire[at];
	return at == len - parent->len;
}

bool block_client_passes(const uint8_t *client, const struct block_filter *filter)
{
	return !filter->has_client || (client && address_is_in(client, &filter->client));
}

bool block_profile_passes(const char *profile, const struct block_filter *filter)
{
	if (filter->profile && (!profile || strcmp(profile, filter->profile) != 0))
		return false;
	if (!filter->profiles)
		return true;
	for (size_t i = 0; profile && i < filter->profile_count; i++)
		if (strcmp(profile, filter->profiles[i]) == 0)
			return true;
	return false;
}

bool block_category_passes(const char *category, unsigned severity, const struct block_filter *filter)
{
	if (filter->severity >= 0 && severity < (unsigned)filter->severity)
		return false;
	return !filter->category || (category && strcmp(category, filter->category) == 0);
}

bool block_filter_is_open(const struct block_filter *filter)
{
	return !filter->has_client && !filter->profile && !filter->profiles && !filter->category &&
	       filter->severity <= SEVERITY_ADVISORY && filter->name.labels == 0;
}

bool block_time_passes(int64_t time_us, const struct block_filter *filter)
{
	return (!filter->since_us || time_us >= filter->since_us) &&
	       (!filter->until_us || time_us < filter->until_us);
}

bool block_name_passes(const uint8_t *wire, size_t len, const struct block_filter *filter)
{
	return filter->name.len == 0 || wire_is_below(wire, len, &filter->name);
}

bool block_item_passes(const struct block_item *item, const struct block_filter *filter)
{
	return block_time_passes(item->time_us, filter) && block_client_passes(item->client, filter) &&
	       block_profile_passes(item->profile, filter) &&
	       block_category_passes(item->category, item->severity, filter) &&
	       (block_name_passes(item->name, item->name_len, filter) ||
	               block_name_passes(item->matched, item->matched_len, filter));
}

void block_item_record(const struct block_item *item, struct block_record *record)
{
	record->id = item->id;
	record->time_us = item->time_us;
	record->client = item->client;
	record->profile = item->profile;
	record->category = item->category;
	record->source = item->source;
	name_from_wire(&record->name, item->name, item->name_len);
	name_from_wire(&record->matched, item->matched, item->matched_len);
	record->rule_labels = item->rule_labels;
	record->type = item->type;
	record->severity = item->severity;
	record->action = item->action;
	record->generation = item->generation;
}

bool block_log_passes(const struct block_record *record, const struct block_filter *filter)
{
	struct block_item item = {
		.time_us = record->time_us,
		.client = record->client,
		.profile = record->profile,
		.category = record->category,
		.name = record->name.wire,
		.name_len = record->name.len,
		.matched = record->matched.wire,
		.matched_len = record->matched.len,
		.severity = (uint8_t)record->severity,
	};
	return block_item_passes(&item, filter);
}
