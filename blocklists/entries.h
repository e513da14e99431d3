/*
 * Which set each listed name is in, for the price of one cache line: a hash table that lies in the generation
 * file beside its tree and is read in place. The tree knows the names; the table knows two hashes of each and
 * nothing else.
 *
 * A line of 64 octets holds seven entries: the check of each (the lower 56 bits of it), then the set of each
 * (16 bits), little endian; the first free one has check 0. `hash` chooses an entry's home line, and a full
 * line passes it on to the next; no entry lies further than `reach` lines from home. Lines are nine tenths
 * full: 10.2 octets a name.
 *
 * A name that is not listed would be taken for one that is if its check were that of an entry near its home.
 * `check` is keyed apart from `hash`, so of N names not listed that is so for N * 2^-56 * entries looked at
 * (some twenty, on average). The filter, which goes by `hash`, lets one in a thousand come here at all: of
 * 10^9 different names, more than a school asks in a year, there is a wrong one with odds of 3 * 10^-10. Two
 * listed names with equal checks are found when the table is made: the tree answers for both.
 */
#ifndef USHER_ENTRIES_H
#define USHER_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTRIES_LINE 64
#define ENTRIES_REACH_MAX 4095      /* what is told to lie further is damaged */
#define ENTRIES_ASK_TREE UINT16_MAX /* a set whose number is too large, or a check that two names have */

struct entries {
	const uint8_t *lines; /* the caller's */
	uint32_t count;       /* of lines, never 0 */
	uint32_t reach;
};

/* How many lines a table for so many names takes. */
uint32_t entries_lines(uint64_t names);

/* Adds an entry to a table that began as zeros. Returns how far from its home it lies, or -ENOSPC. */
int entries_add(uint8_t *lines, uint32_t count, uint64_t hash, uint64_t check, uint32_t set);

/* Brings an entry's home nearer; changes nothing else. */
void entries_prefetch(const struct entries *entries, uint64_t hash);

/* True with the set, or ENTRIES_ASK_TREE, if there is an entry. */
bool entries_find(const struct entries *entries, uint64_t hash, uint64_t check, uint32_t *set);

#endif
