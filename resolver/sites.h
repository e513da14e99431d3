/* When a site was first asked for: a hash and a time each, up to a million. */
#ifndef USHER_SITES_H
#define USHER_SITES_H

#include <stdbool.h>
#include <stdint.h>

struct sites {
	struct site *places; /* all zero: none */
	uint64_t count, room;
};

/*
 * The time at which this site was first given here, now if it never was. INT64_MIN without memory, or when no
 * more fit: whoever asks takes it for an old one.
 */
int64_t sites_first(struct sites *sites, uint64_t hash, int64_t now_us);
bool sites_has(const struct sites *sites, uint64_t hash); /* given before */
void sites_clear(struct sites *sites);

#endif
