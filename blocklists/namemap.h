/*
 * An immutable map from names to small numbers, for the names that the configuration itself speaks of
 * (protected names, internal zones, local records, canaries, safe-search engines, a school's rules): a few
 * thousand at most, in memory, one probe a suffix. Built once per configuration, read by all threads.
 */
#ifndef USHER_NAMEMAP_H
#define USHER_NAMEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "name.h"

struct namemap;

/* seed: that of name_hash_suffixes() used at look-up. Returns NULL without memory. */
struct namemap *namemap_new(uint64_t seed);
void namemap_free(struct namemap *map);

/* Adds name -> (role, value). exact: the name alone, else the name and all below. One name may have many. 0
 * or -ENOMEM. */
int namemap_add(struct namemap *map, const struct name *name, bool exact, uint8_t role, uint16_t value);

/* One found entry: role and value as added, labels the length of the entry's name. */
struct namemap_hit {
	uint8_t role;
	uint8_t labels;
	uint16_t value;
};

/*
 * Fills hits with the entries for name and its parents, longest first, up to max; returns how many.
 * hash: name_hash_suffixes() with the map's seed.
 */
size_t namemap_find(const struct namemap *map, const struct name *name, const uint64_t *hash,
        struct namemap_hit *hits, size_t max);

#endif
