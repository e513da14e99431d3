/*
 * A table counts by octets: an address, a name in wire form, a number. What the greatest counts are is only
 * known at the end, so a table that is full cannot drop any. Then it begins anew with an eighth of all, told
 * apart by their hashes, and the other eighths follow. After each part only as many are kept as are listed.
 */
#include "log_count.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "address.h"
#include "block_item.h"
#include "identity.h"

#define TABLE_MAX 250000
#define PARTS_FACTOR 8
#define PARTS_MAX 512
#define KEY_MAX NAME_WIRE_MAX
#define HOUR_US INT64_C(3600000000)

/* Places by enum log_count_by. */
static const char *const key_names[] = { NULL, "client", "device", "category", "name", "severity", "hour" };

struct entry {
	uint64_t hash, count;
	uint8_t *key;
	uint8_t len;
	char *label; /* of a device: its name */
};

struct listed {
	char *text;     /* "": there is none */
	char *identity; /* of a device; NULL: not counted by them */
	uint64_t count;
};

struct counting {
	enum log_count_by by;
	const char *device; /* of this one alone, "" all */
	struct devices *devices;
	size_t table_max, slot_count;
	struct entry *table;
	uint32_t *slots; /* place in the table + 1 */
	size_t used;
	unsigned part, parts;
	bool full, failed;
	/* of the parts that are done: */
	struct listed *list;
	size_t list_len, list_max;
	uint64_t others, others_count; /* different ones that are not listed, and how often */
};

/* ---- one event ---- */

/* What it is counted by, in octets; returns their number, 0: there is none. */
static size_t event_key(enum log_count_by by, const struct block_item *item, const struct device *device,
        uint8_t key[KEY_MAX])
{
	const void *octets = item->category;
	size_t len = item->category ? strlen(item->category) : 0;
	uint64_t hour = htobe64((uint64_t)(item->time_us / HOUR_US));
	struct identity identity = identity_of(item->client, device);

	if (by == LOG_COUNT_CLIENT) {
		octets = item->client;
		len = item->client ? 16 : 0;
	} else if (by == LOG_COUNT_DEVICE) {
		octets = &identity;
		len = device_label(device) ? sizeof identity : 0;
	} else if (by == LOG_COUNT_NAME) {
		octets = item->name;
		len = item->name_len;
	} else if (by == LOG_COUNT_SEVERITY) {
		octets = &item->severity;
		len = 1;
	} else if (by == LOG_COUNT_HOUR) {
		octets = &hour;
		len = sizeof hour;
	}
	if (len)
		memcpy(key, octets, len);
	return len;
}

static struct entry *entry_find(struct counting *counting, uint64_t hash, const uint8_t *key, size_t len)
{
	size_t at = hash % counting->slot_count;

	for (; counting->slots[at]; at = (at + 1) % counting->slot_count) {
		struct entry *entry = &counting->table[counting->slots[at] - 1];
		if (entry->hash == hash && entry->len == len && memcmp(entry->key, key, len) == 0)
			return entry;
	}
	if (counting->used == counting->table_max) {
		counting->full = true;
		return NULL;
	}
	struct entry *entry = &counting->table[counting->used];
	*entry = (struct entry){ .hash = hash, .key = malloc(len + 1), .len = (uint8_t)len };
	if (!entry->key) {
		counting->failed = true;
		return NULL;
	}
	memcpy(entry->key, key, len);
	counting->slots[at] = (uint32_t)++counting->used;
	return entry;
}

static bool event_found(void *arg, const struct block_item *item)
{
	struct counting *counting = arg;
	uint8_t key[KEY_MAX];
	struct device device = { .confidence = DEVICE_UNKNOWN };

	if (item->client && (counting->by == LOG_COUNT_DEVICE || *counting->device))
		devices_find(counting->devices, item->client, item->time_us, &device);
	if (!device_is(&device, counting->device))
		return true;
	size_t len = event_key(counting->by, item, &device, key);
	uint64_t hash = XXH3_64bits(key, len);

	if ((hash >> 32) * counting->parts >> 32 != counting->part)
		return true;
	struct entry *entry = entry_find(counting, hash, key, len);
	if (!entry)
		return false;
	if (counting->by == LOG_COUNT_DEVICE && !entry->label && device_label(&device))
		entry->label = strdup(device_label(&device));
	entry->count++;
	return true;
}

/* ---- what is listed ---- */

static void hour_text(uint64_t hour, char text[NAME_TEXT_MAX])
{
	time_t s = (time_t)((int64_t)hour * 3600);
	struct tm tm;

	*text = 0;
	if (gmtime_r(&s, &tm))
		strftime(text, NAME_TEXT_MAX, "%Y-%m-%dT%H:00:00Z", &tm);
}

static char *entry_text(enum log_count_by by, const struct entry *entry)
{
	char text[NAME_TEXT_MAX];
	struct name name;
	uint64_t hour;

	if (entry->len == 0)
		return strdup("");
	switch (by) {
	case LOG_COUNT_DEVICE:
		return strdup(entry->label ? entry->label : "");
	case LOG_COUNT_CLIENT:
		address_text(entry->key, text);
		return strdup(text);
	case LOG_COUNT_NAME:
		name_from_wire(&name, entry->key, entry->len);
		name_to_text(&name, text);
		return strdup(text);
	case LOG_COUNT_SEVERITY:
		return strdup(config_severity_text(entry->key[0]));
	case LOG_COUNT_HOUR:
		memcpy(&hour, entry->key, sizeof hour);
		hour_text(be64toh(hour), text);
		return strdup(text);
	default:
		return strndup((const char *)entry->key, entry->len);
	}
}

static char *entry_identity(const struct entry *entry)
{
	struct identity identity = { .kind = IDENTITY_NONE };
	char text[IDENTITY_TEXT_LEN];

	if (entry->len == sizeof identity)
		memcpy(&identity, entry->key, sizeof identity);
	return strdup(identity_text(&identity, text) ? text : "");
}

static void listed_clear(struct listed *listed)
{
	free(listed->text);
	free(listed->identity);
}

static int most_first(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	int order = strcmp(x->text, y->text);
	return order != 0 || !x->identity ? order : strcmp(x->identity, y->identity);
}

static int text_order(const void *a, const void *b)
{
	return strcmp(((const struct listed *)a)->text, ((const struct listed *)b)->text);
}

/* Only what will be listed stays. */
static void list_cut(struct counting *counting)
{
	qsort(counting->list, counting->list_len, sizeof *counting->list,
	        counting->by == LOG_COUNT_HOUR ? text_order : most_first);
	while (counting->list_len > counting->list_max) {
		struct listed *last = &counting->list[--counting->list_len];
		counting->others++;
		counting->others_count += last->count;
		listed_clear(last);
	}
}

/* Moves the table's counts to the list. */
static int list_add(struct counting *counting)
{
	struct listed *longer =
	        realloc(counting->list, (counting->list_len + counting->used + 1) * sizeof *longer);

	if (!longer)
		return -ENOMEM;
	counting->list = longer;
	for (size_t i = 0; i < counting->used; i++) {
		struct listed *listed = &counting->list[counting->list_len];
		listed->count = counting->table[i].count;
		listed->text = entry_text(counting->by, &counting->table[i]);
		listed->identity =
		        counting->by == LOG_COUNT_DEVICE ? entry_identity(&counting->table[i]) : NULL;
		if (!listed->text || (counting->by == LOG_COUNT_DEVICE && !listed->identity)) {
			listed_clear(listed);
			return -ENOMEM;
		}
		counting->list_len++;
	}
	list_cut(counting);
	return 0;
}

/* ---- all of it ---- */

static void table_clear(struct counting *counting)
{
	for (size_t i = 0; i < counting->used; i++) {
		free(counting->table[i].key);
		free(counting->table[i].label);
	}
	counting->used = 0;
	counting->full = false;
	memset(counting->slots, 0, counting->slot_count * sizeof *counting->slots);
}

/* Counts all parts, in as few as will do. */
static int count_all(struct counting *counting, const struct block_filter *filter, const char *dir)
{
	for (counting->part = 0; counting->part < counting->parts;) {
		table_clear(counting);
		int64_t ret = block_scan_items(dir, filter, true, event_found, counting);
		if (ret < 0 || counting->failed)
			return ret < 0 ? (int)ret : -ENOMEM;
		if (!counting->full) {
			if (list_add(counting) < 0)
				return -ENOMEM;
			counting->part++;
			continue;
		}
		/* the parts that are done consist of whole smaller ones */
		if (counting->parts == PARTS_MAX)
			return -E2BIG;
		counting->part *= PARTS_FACTOR;
		counting->parts *= PARTS_FACTOR;
	}
	return 0;
}

/* Many devices have one name: then each says which it is. */
static int list_tell_apart(struct counting *counting)
{
	qsort(counting->list, counting->list_len, sizeof *counting->list, text_order);
	for (size_t i = 0; i < counting->list_len; i++) {
		struct listed *first = &counting->list[i];
		size_t alike = 1;
		while (i + alike < counting->list_len && strcmp(first->text, first[alike].text) == 0)
			alike++;
		for (size_t k = 0; k < alike && alike > 1 && *first->identity; k++) {
			char *text;
			if (asprintf(&text, "%s (%s)", first[k].text, first[k].identity) < 0)
				return -ENOMEM;
			free(first[k].text);
			first[k].text = text;
		}
		i += alike - 1;
	}
	list_cut(counting);
	return 0;
}

static int print_one(const char *key, const struct listed *listed, FILE *out)
{
	json_t *json = json_pack(
	        "{s:s?, s:I}", key, *listed->text ? listed->text : NULL, "count", (json_int_t)listed->count);
	int ret = json ? json_dumpf(json, out, JSON_COMPACT) : -1;

	json_decref(json);
	return ret < 0 || putc('\n', out) == EOF ? -ENOMEM : 0;
}

static int64_t print_list(const struct counting *counting, bool others, FILE *out)
{
	const char *key = key_names[counting->by];

	for (size_t i = 0; i < counting->list_len; i++)
		if (print_one(key, &counting->list[i], out) < 0)
			return -ENOMEM;
	if (others && counting->others &&
	        fprintf(out, "{\"%s\":null,\"count\":%" PRIu64 ",\"others\":%" PRIu64 "}\n", key,
	                counting->others_count, counting->others) < 0)
		return -ENOMEM;
	return (int64_t)counting->list_len;
}

static void counting_clear(struct counting *counting)
{
	if (counting->table && counting->slots)
		table_clear(counting);
	devices_free(counting->devices);
	free(counting->table);
	free(counting->slots);
	for (size_t i = 0; i < counting->list_len; i++)
		listed_clear(&counting->list[i]);
	free(counting->list);
}

int64_t log_count_run_with(const struct log_query *query, const char *dir, size_t table_max, FILE *out)
{
	struct block_filter filter = query->filter;
	struct counting counting = {
		.by = query->count_by,
		.device = query->device,
		.devices = devices_beside(dir),
		.table_max = table_max,
		.slot_count = 2 * table_max + 1,
		.table = calloc(table_max, sizeof *counting.table),
		.slots = calloc(2 * table_max + 1, sizeof *counting.slots),
		.parts = 1,
		.list_max = filter.limit ? filter.limit : LOG_COUNT_LIST_MAX,
	};

	filter.limit = 0;
	bool has_memory = counting.devices && counting.table && counting.slots;
	int64_t ret = has_memory ? count_all(&counting, &filter, dir) : -ENOMEM;
	if (ret == 0 && counting.by == LOG_COUNT_DEVICE)
		ret = list_tell_apart(&counting);
	if (ret == 0)
		ret = print_list(&counting, query->filter.limit == 0, out);
	counting_clear(&counting);
	return ret;
}

int64_t log_count_run(const struct log_query *query, const char *dir, FILE *out)
{
	return log_count_run_with(query, dir, TABLE_MAX, out);
}
