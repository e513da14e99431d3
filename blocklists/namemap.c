/*
 * Open addressing with linear probing over the hashes of whole entry names: a slot is eight octets, at most
 * half of them are taken, so a suffix that is no entry usually costs one read. Equal tags are confirmed by
 * comparing the names: a collision may cost time, never a wrong answer. Entries of one name are a chain in
 * the order they were added.
 *
 * A trie was the other candidate: it walks label by label and needs no hashes, but the hashes are there
 * anyway (lists needs the same ones), and a trie pays a cache miss a label.
 */
#include "namemap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64 /* a power of two */
#define NO_ENTRY UINT32_MAX

struct entry {
	uint64_t hash;
	uint32_t wire_at; /* the name in namemap.wire */
	uint32_t next;    /* of the same name, or NO_ENTRY */
	uint16_t value;
	uint8_t wire_len;
	uint8_t labels;
	uint8_t role;
	bool exact;
};

struct slot {
	uint32_t tag;   /* upper half of the hash */
	uint32_t first; /* entry + 1, 0: empty */
};

struct namemap {
	uint64_t seed;
	unsigned labels_max; /* no entry has more: longer suffixes need no probe */
	struct slot *slots;
	size_t slot_count, names;
	struct entry *entries;
	size_t entry_count, entry_room;
	uint8_t *wire;
	size_t wire_len, wire_room;
};

struct namemap *namemap_new(uint64_t seed)
{
	struct namemap *map = calloc(1, sizeof *map);

	if (map == NULL)
		return NULL;
	map->seed = seed;
	map->slot_count = SLOTS_MIN;
	map->slots = calloc(map->slot_count, sizeof *map->slots);
	if (map->slots == NULL) {
		free(map);
		return NULL;
	}
	return map;
}

void namemap_free(struct namemap *map)
{
	if (map == NULL)
		return;
	free(map->slots);
	free(map->entries);
	free(map->wire);
	free(map);
}

/* The slot of a name, or the empty one where it would go. */
static struct slot *namemap_slot(
        const struct namemap *map, uint64_t hash, const uint8_t *wire, size_t wire_len)
{
	size_t mask = map->slot_count - 1;

	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct slot *slot = &map->slots[i];
		if (slot->first == 0)
			return slot;
		if (slot->tag != (uint32_t)(hash >> 32))
			continue;
		const struct entry *entry = &map->entries[slot->first - 1];
		if (entry->wire_len == wire_len && memcmp(map->wire + entry->wire_at, wire, wire_len) == 0)
			return slot;
	}
}

static int namemap_grow_slots(struct namemap *map)
{
	struct slot *old = map->slots;
	size_t old_count = map->slot_count;

	struct slot *slots = calloc(old_count * 2, sizeof *slots);
	if (slots == NULL)
		return -ENOMEM;
	map->slots = slots;
	map->slot_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++) {
		if (old[i].first == 0)
			continue;
		const struct entry *entry = &map->entries[old[i].first - 1];
		*namemap_slot(map, entry->hash, map->wire + entry->wire_at, entry->wire_len) = old[i];
	}
	free(old);
	return 0;
}

/* Makes room for one more entry, its slot and its name. */
static int namemap_reserve(struct namemap *map)
{
	if (map->entry_count == map->entry_room) {
		size_t room = map->entry_room > 0 ? map->entry_room * 2 : SLOTS_MIN;
		struct entry *entries = reallocarray(map->entries, room, sizeof *entries);
		if (entries == NULL)
			return -ENOMEM;
		map->entries = entries;
		map->entry_room = room;
	}
	if (map->wire_room - map->wire_len < NAME_WIRE_MAX) {
		size_t room = map->wire_room > 0 ? map->wire_room * 2 : 4096;
		if (room > UINT32_MAX)
			return -ENOMEM;
		uint8_t *wire = realloc(map->wire, room);
		if (wire == NULL)
			return -ENOMEM;
		map->wire = wire;
		map->wire_room = room;
	}
	return (map->names + 1) * 2 > map->slot_count ? namemap_grow_slots(map) : 0;
}

int namemap_add(struct namemap *map, const struct name *name, bool exact, uint8_t role, uint16_t value)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	uint32_t last = NO_ENTRY;

	if (namemap_reserve(map) < 0)
		return -ENOMEM;
	name_hash_suffixes(name, map->seed, hash);
	struct slot *slot = namemap_slot(map, hash[0], name->wire, name->len);
	for (uint32_t i = slot->first - 1; i != NO_ENTRY; i = map->entries[i].next) {
		const struct entry *old = &map->entries[i];
		if (old->exact == exact && old->role == role && old->value == value)
			return 0;
		last = i;
	}

	uint32_t added = (uint32_t)map->entry_count++;
	uint32_t wire_at = last != NO_ENTRY ? map->entries[last].wire_at : (uint32_t)map->wire_len;
	map->entries[added] = (struct entry){ .hash = hash[0],
		.wire_at = wire_at,
		.next = NO_ENTRY,
		.value = value,
		.wire_len = name->len,
		.labels = name->labels,
		.role = role,
		.exact = exact };
	if (last != NO_ENTRY) {
		map->entries[last].next = added;
		return 0;
	}
	memcpy(map->wire + map->wire_len, name->wire, name->len);
	map->wire_len += name->len;
	map->names++;
	*slot = (struct slot){ .tag = (uint32_t)(hash[0] >> 32), .first = added + 1 };
	if (name->labels > map->labels_max)
		map->labels_max = name->labels;
	return 0;
}

size_t namemap_find(const struct namemap *map, const struct name *name, const uint64_t *hash,
        struct namemap_hit *hits, size_t max)
{
	size_t count = 0;

	if (map->names == 0)
		return 0;
	for (unsigned i = name->labels > map->labels_max ? name->labels - map->labels_max : 0;
	        i <= name->labels; i++) {
		unsigned at = i < name->labels ? name->offset[i] : name->len - 1u;
		const struct slot *slot = namemap_slot(map, hash[i], name->wire + at, name->len - at);
		for (uint32_t k = slot->first - 1; k != NO_ENTRY; k = map->entries[k].next) {
			const struct entry *entry = &map->entries[k];
			if (entry->exact && i > 0)
				continue;
			if (count == max)
				return count;
			hits[count++] = (struct namemap_hit){
				.role = entry->role, .labels = entry->labels, .value = entry->value
			};
		}
	}
	return count;
}
