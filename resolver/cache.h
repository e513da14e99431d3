/*
 * The packet cache: stored answers with the facts about the asked name, never verdicts, shared by all
 * workers. Memory is fixed when it is made. Sharded; a get holds its shard's lock until the release, which
 * must come soon (no blocking between).
 *
 * Eviction: S3-FIFO (Yang et al., SOSP 2023) over two rings of octets a shard, a small one for newcomers and
 * a large one for those asked again, so that a flood of names asked once cannot push out what a school uses.
 * The key's hash is seeded at start (no chosen collisions).
 */
#ifndef USHER_CACHE_H
#define USHER_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "answer.h"
#include "facts.h"

enum cache_variant {
	CACHE_DNSSEC_OK = 1 << 0,
	CACHE_CHECKING_DISABLED = 1 << 1,
	CACHE_INTERNAL = 1 << 2, /* the view of the internal zones */
};

struct cache_key {
	const struct name *name;
	uint16_t type;
	uint8_t variant; /* enum cache_variant */
	uint64_t hash;
};

struct cache_entry {
	uint32_t stored_s; /* cache clock: seconds, monotonic */
	uint32_t expires_s;
	uint32_t stale_until_s;
	uint32_t retry_s; /* after a failed refresh: serve stale without asking until then (RFC 8767 5) */
	uint32_t stamp;   /* of the snapshot that facts belong to */
	uint8_t status;   /* 0, or the EDE + 2 of a cached failure (RFC 9520) */
	bool popular;     /* asked in the last tenth of its life: worth refreshing */
	struct facts facts;
	struct answer_stored answer; /* points into the entry */
};

struct cache;
struct cache_pin { /* what cache_get() holds */
	struct cache *cache;
	unsigned shard;
};

/* size in octets, index and entries together; 64 KiB to 12 GiB, what lies outside is brought inside. NULL
 * without memory. */
struct cache *cache_new(uint64_t size);
void cache_free(struct cache *cache);

/*
 * For many look-ups at once: first cache_prefetch() for all of them, then cache_prefetch_entry(), then
 * cache_get(). Memory is on its way meanwhile; nothing else changes. False: there is probably no entry.
 */
void cache_prefetch(const struct cache *cache, uint64_t hash);
bool cache_prefetch_entry(const struct cache *cache, uint64_t hash);

struct cache_key cache_key(
        const struct cache *cache, const struct name *name, uint16_t type, uint8_t variant);

/*
 * The entry for a key, fresh or not (compare expires_s with the clock), or NULL. Its shard stays locked until
 * cache_release(pin), which is due only if an entry came back. The caller may write retry_s, stamp, facts,
 * popular and answer.flags.
 */
struct cache_entry *cache_get(struct cache *cache, const struct cache_key *key, struct cache_pin *pin);
void cache_release(struct cache_pin *pin);

/*
 * Keeps a copy, replacing an entry of the same key. An answer larger than 16 KiB is not kept (in a cache
 * below 256 KiB: than about a twelfth of it). entry must not be one that the caller holds pinned. A failure
 * (status) may come without wire: len 0.
 */
void cache_put(struct cache *cache, const struct cache_key *key, const struct cache_entry *entry);

/* Forgets a name for all types and variants (below: and all names under it). Returns how many entries went.
 */
unsigned cache_flush(struct cache *cache, const struct name *name, bool below);

struct cache_figures {
	uint64_t entries, bytes, evictions;
};
struct cache_figures cache_figures(struct cache *cache);

#endif
