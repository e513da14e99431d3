#include "entries.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define SLOTS 7 /* a line */
#define CHECK_LEN 7
#define CHECK_MASK (UINT64_MAX >> 8)
#define SETS_AT (SLOTS * CHECK_LEN)
#define NAMES_A_LINE_10 63 /* nine tenths of seven, in tenths */

_Static_assert(SETS_AT + SLOTS * sizeof(uint16_t) <= ENTRIES_LINE, "seven entries are a line");

static size_t home_of(uint32_t count, uint64_t hash)
{
	return (size_t)((hash >> 32) * count >> 32);
}

/* 0 says that a slot is free. */
static uint64_t check_stored(uint64_t check)
{
	check &= CHECK_MASK;
	return check != 0 ? check : 1;
}

/* Reads an octet too many, which is in the line. */
static uint64_t slot_check(const uint8_t *line, unsigned slot)
{
	uint64_t check;

	memcpy(&check, line + slot * CHECK_LEN, sizeof check);
	return le64toh(check) & CHECK_MASK;
}

static uint32_t slot_set(const uint8_t *line, unsigned slot)
{
	uint16_t set;

	memcpy(&set, line + SETS_AT + slot * sizeof set, sizeof set);
	return le16toh(set);
}

static void slot_fill(uint8_t *line, unsigned slot, uint64_t check, uint32_t set)
{
	uint16_t stored = htole16(set < ENTRIES_ASK_TREE ? (uint16_t)set : ENTRIES_ASK_TREE);

	check = htole64(check);
	memcpy(line + slot * CHECK_LEN, &check, CHECK_LEN);
	memcpy(line + SETS_AT + slot * sizeof stored, &stored, sizeof stored);
}

uint32_t entries_lines(uint64_t names)
{
	uint64_t lines = names * 10 / NAMES_A_LINE_10 + 1;

	return lines > UINT32_MAX ? UINT32_MAX : (uint32_t)lines;
}

int entries_add(uint8_t *lines, uint32_t count, uint64_t hash, uint64_t check, uint32_t set)
{
	size_t at = home_of(count, hash);

	check = check_stored(check);
	for (uint32_t reach = 0; reach < count && reach <= ENTRIES_REACH_MAX; reach++) {
		uint8_t *line = lines + at * ENTRIES_LINE;
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			uint64_t there = slot_check(line, slot);
			if (there != 0 && there != check)
				continue;
			slot_fill(line, slot, check, there == 0 ? set : ENTRIES_ASK_TREE);
			return (int)reach;
		}
		at = at + 1 < count ? at + 1 : 0;
	}
	return -ENOSPC;
}

void entries_prefetch(const struct entries *entries, uint64_t hash)
{
	__builtin_prefetch(entries->lines + home_of(entries->count, hash) * ENTRIES_LINE);
}

bool entries_find(const struct entries *entries, uint64_t hash, uint64_t check, uint32_t *set)
{
	size_t at = home_of(entries->count, hash);

	check = check_stored(check);
	for (uint32_t reach = 0; reach <= entries->reach; reach++) {
		const uint8_t *line = entries->lines + at * ENTRIES_LINE;
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			uint64_t there = slot_check(line, slot);
			if (there == check) {
				*set = slot_set(line, slot);
				return true;
			}
			if (there == 0)
				return false;
		}
		at = at + 1 < entries->count ? at + 1 : 0;
	}
	return false;
}
