/*
 * The packet cache. One mapping holds everything; nothing is allocated after cache_new().
 *
 *   mapping:  struct cache, struct shard for each, then for each shard its buckets, ghosts and arena
 *   arena:    small queue (10 %), main queue (90 %): rings of items, newest at head, oldest at tail
 *   item:     struct item, ttl_at[], name, answer; rounded up to 16 octets, never across the ring's end
 *   bucket:   16 references of 32 bits, one cache line: 8 bits of hash, 24 of place / 16 + 1; 0 is free
 *   ghosts:   8 fingerprints of 32 bits for each bucket: names that left the small queue unasked
 *
 * A look-up reads one bucket and, but for one tag in 256, only the item it wants. The index is
 * set-associative instead of probed, so that there are neither tombstones nor long chains: a full bucket
 * (rare, the table is made for small items) drops a newcomer's reference.
 *
 * S3-FIFO: newcomers enter the small queue; who is asked again there moves to main, the rest leaves a ghost;
 * who has a ghost enters main at once. Main gives a second chance per use, up to three. Of a Zipf trace with
 * a flood of as many names asked once, 12,000 answers had 61 % (bench_cache); with as much room SIEVE had 58,
 * CLOCK 46, LRU 44 and FIFO 40. SIEVE needs deletion in the middle besides, which a ring has not.
 */
#include "cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <xxhash.h>

#define SIZE_MIN (64 << 10)
#define SHARD_MAX (200 << 20) /* a reference reaches 256 MiB */
#define SHARDS_MAX 64
#define SHARD_MIN (256 << 10) /* so that the small queue takes the largest answer */
#define ANSWER_MAX (16 << 10)
#define ALIGN 16
#define WAYS 16
#define GHOSTS 8
#define ITEM_SPACE 2048 /* arena octets per bucket: 16 items of 128 */
#define USES_MAX 3
#define USES_TO_STAY 1    /* in the small queue, to be moved to main */
#define SECOND_CHANCES 64 /* in one put: a bound on its time */
#define SECRET_LEN 192    /* XXH3 takes 136 or more */
#define ITEM_USUAL 384    /* octets of an item that most answers lie in */
#define NOWHERE UINT32_MAX

enum item_state {
	ITEM_DEAD,
	ITEM_LIVE
}; /* dead: removed or padding; its room is free when it reaches the tail */

struct item {
	uint32_t size; /* in the queue, a multiple of ALIGN */
	uint8_t state;
	uint8_t uses;
	uint8_t variant;
	uint8_t name_len;
	/* padding before the ring's end may be no longer than this */
	uint64_t hash;
	uint16_t type;
	struct cache_entry entry;
};

/* Written under the shard's lock only; cache_prefetch_entry() looks without it. */
struct bucket {
	_Atomic uint32_t ref[WAYS];
};

struct ghosts {
	uint32_t print[GHOSTS];
};

struct queue {
	uint32_t begin, end; /* places in the arena */
	uint32_t head, tail; /* where the next item goes, where the oldest is */
	uint32_t used;       /* octets from tail to head, dead ones too */
};

struct shard {
	_Alignas(64) pthread_mutex_t lock;
	struct bucket *buckets;
	struct ghosts *ghosts;
	uint8_t *arena;
	uint32_t bucket_count;
	uint32_t now_s; /* latest stored_s: the clock, as far as the shard knows it */
	struct queue small, main;
	struct cache_figures figures;
};

struct cache {
	size_t mapped;
	unsigned shard_count, shard_shift;
	uint8_t secret[SECRET_LEN];
	struct shard shard[];
};

_Static_assert(sizeof(struct bucket) == 64, "one cache line");
_Static_assert(offsetof(struct item, hash) <= ALIGN, "padding has room for size and state");

/* ---- making ---- */

static void queue_init(struct queue *queue, uint32_t begin, uint32_t end)
{
	*queue = (struct queue){ .begin = begin, .end = end, .head = begin, .tail = begin };
}

static void shard_init(struct shard *shard, uint8_t *memory, size_t size)
{
	pthread_mutexattr_t attributes;

	shard->bucket_count = (uint32_t)(size / (ITEM_SPACE + sizeof(struct bucket) + sizeof(struct ghosts)));
	shard->buckets = (struct bucket *)memory;
	shard->ghosts = (struct ghosts *)(shard->buckets + shard->bucket_count);
	shard->arena = (uint8_t *)(shard->ghosts + shard->bucket_count);
	uint32_t arena_size = (uint32_t)(memory + size - shard->arena) / ALIGN * ALIGN;
	uint32_t small_size = arena_size / 10 / ALIGN * ALIGN;
	queue_init(&shard->small, 0, small_size);
	queue_init(&shard->main, small_size, arena_size);
	pthread_mutexattr_init(&attributes);
	/* Held for about the time of one copy: spin a little before sleeping. */
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&shard->lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

struct cache *cache_new(uint64_t size)
{
	unsigned count = SHARDS_MAX, shift = 58;

	if (size < SIZE_MIN)
		size = SIZE_MIN;
	if (size > (uint64_t)SHARD_MAX * SHARDS_MAX)
		size = (uint64_t)SHARD_MAX * SHARDS_MAX;
	for (; count > 1 && size / count < SHARD_MIN; count /= 2)
		shift++;

	struct cache *cache = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (cache == MAP_FAILED)
		return NULL;
	cache->mapped = size;
	cache->shard_count = count;
	cache->shard_shift = shift;
	if (getrandom(cache->secret, sizeof cache->secret, 0) != sizeof cache->secret) {
		munmap(cache, size);
		return NULL;
	}
	size_t head = sizeof *cache + count * sizeof(struct shard);
	head = (head + 63) / 64 * 64;
	size_t shard_size = (size - head) / count / 64 * 64;
	for (unsigned i = 0; i < count; i++)
		shard_init(&cache->shard[i], (uint8_t *)cache + head + i * shard_size, shard_size);
	return cache;
}

void cache_free(struct cache *cache)
{
	if (!cache)
		return;
	for (unsigned i = 0; i < cache->shard_count; i++)
		pthread_mutex_destroy(&cache->shard[i].lock);
	munmap(cache, cache->mapped);
}

/* A secret of our own, not XXH3's seed: nobody outside can choose names that collide. */
struct cache_key cache_key(const struct cache *cache, const struct name *name, uint16_t type, uint8_t variant)
{
	uint64_t hash = XXH3_64bits_withSecret(name->wire, name->len, cache->secret, sizeof cache->secret);
	hash ^= ((uint64_t)type << 8 | variant) * 0x9e3779b97f4a7c15;
	return (struct cache_key){ .name = name, .type = type, .variant = variant, .hash = hash };
}

static unsigned shard_of(const struct cache *cache, uint64_t hash)
{
	/* A shift by 64 is undefined, so in two steps. */
	return (unsigned)(hash >> 1 >> (cache->shard_shift - 1));
}

/* ---- items ---- */

static struct item *item_at(const struct shard *shard, uint32_t place)
{
	return (struct item *)(shard->arena + place);
}

static uint32_t item_place(const struct shard *shard, const struct item *item)
{
	return (uint32_t)((const uint8_t *)item - shard->arena);
}

static uint16_t *item_ttl_at(struct item *item)
{
	return (uint16_t *)(item + 1);
}

static uint8_t *item_name(struct item *item)
{
	return (uint8_t *)(item_ttl_at(item) + item->entry.answer.ttl_count);
}

static size_t item_size(const struct cache_key *key, const struct answer_stored *answer)
{
	size_t size = sizeof(struct item) + answer->ttl_count * sizeof *answer->ttl_at + key->name->len +
	              answer->len;
	return (size + ALIGN - 1) / ALIGN * ALIGN;
}

/* The entry points into its item, so its pointers follow whenever the item moves. */
static void item_settle(struct item *item)
{
	item->entry.answer.ttl_at = item_ttl_at(item);
	item->entry.answer.wire = item_name(item) + item->name_len;
}

static bool item_is(struct item *item, const struct cache_key *key)
{
	return item->hash == key->hash && item->type == key->type && item->variant == key->variant &&
	       item->name_len == key->name->len &&
	       memcmp(item_name(item), key->name->wire, item->name_len) == 0;
}

static void item_fill(struct item *item, const struct cache_key *key, const struct cache_entry *entry)
{
	const struct answer_stored *answer = &entry->answer;

	item->state = ITEM_LIVE;
	item->variant = key->variant;
	item->name_len = key->name->len;
	item->hash = key->hash;
	item->type = key->type;
	item->entry = *entry;
	item_settle(item);
	memcpy(item_name(item), key->name->wire, key->name->len);
	if (answer->ttl_count > 0)
		memcpy(item->entry.answer.ttl_at, answer->ttl_at, answer->ttl_count * sizeof *answer->ttl_at);
	if (answer->len > 0)
		memcpy(item->entry.answer.wire, answer->wire, answer->len);
}

/* ---- index ---- */

static uint32_t bucket_of(const struct shard *shard, uint64_t hash)
{
	return (uint32_t)((hash & UINT32_MAX) * shard->bucket_count >> 32);
}

static uint32_t ref_make(uint64_t hash, uint32_t place)
{
	return (uint32_t)(hash >> 32) << 24 | (place / ALIGN + 1);
}

static uint32_t ref_place(uint32_t ref)
{
	return ((ref & 0xffffff) - 1) * ALIGN;
}

static bool in_small(const struct shard *shard, uint32_t place)
{
	return place < shard->small.end;
}

static uint32_t ref_get(const struct bucket *bucket, unsigned way)
{
	return atomic_load_explicit(&bucket->ref[way], memory_order_relaxed);
}

static void ref_set(struct bucket *bucket, unsigned way, uint32_t ref)
{
	atomic_store_explicit(&bucket->ref[way], ref, memory_order_relaxed);
}

static bool ref_may_be(uint32_t ref, uint64_t hash)
{
	return ref != 0 && ref >> 24 == ((uint32_t)(hash >> 32) & 0xff);
}

static struct item *index_find(const struct shard *shard, const struct cache_key *key)
{
	const struct bucket *bucket = &shard->buckets[bucket_of(shard, key->hash)];

	for (unsigned i = 0; i < WAYS; i++) {
		uint32_t ref = ref_get(bucket, i);
		if (!ref_may_be(ref, key->hash))
			continue;
		struct item *item = item_at(shard, ref_place(ref));
		if (item_is(item, key))
			return item;
	}
	return NULL;
}

/* Changes the reference to an item; to is its new one, or 0. */
static void index_change(struct shard *shard, uint64_t hash, uint32_t from, uint32_t to)
{
	struct bucket *bucket = &shard->buckets[bucket_of(shard, hash)];

	for (unsigned i = 0; i < WAYS; i++)
		if (ref_get(bucket, i) == from) {
			ref_set(bucket, i, to);
			return;
		}
}

static void item_drop(struct shard *shard, struct item *item)
{
	index_change(shard, item->hash, ref_make(item->hash, item_place(shard, item)), 0);
	item->state = ITEM_DEAD;
	shard->figures.entries--;
	shard->figures.bytes -= item->size;
}

static void index_add(struct shard *shard, uint64_t hash, uint32_t place)
{
	struct bucket *bucket = &shard->buckets[bucket_of(shard, hash)];
	unsigned way = (hash >> 40) % WAYS;

	for (unsigned i = 0; i < WAYS; i++) {
		uint32_t ref = ref_get(bucket, i);
		if (ref == 0) {
			ref_set(bucket, i, ref_make(hash, place));
			return;
		}
		if (in_small(shard, ref_place(ref)))
			way = i;
	}
	item_drop(shard, item_at(shard, ref_place(ref_get(bucket, way))));
	shard->figures.evictions++;
	ref_set(bucket, way, ref_make(hash, place));
}

/* ---- ghosts ---- */

static uint32_t ghost_print(uint64_t hash)
{
	uint32_t print = (uint32_t)(hash >> 32);
	return print != 0 ? print : 1; /* 0 is free */
}

static void ghost_add(struct shard *shard, uint64_t hash)
{
	struct ghosts *ghosts = &shard->ghosts[bucket_of(shard, hash)];

	memmove(ghosts->print + 1, ghosts->print, sizeof ghosts->print - sizeof ghosts->print[0]);
	ghosts->print[0] = ghost_print(hash);
}

static bool ghost_take(struct shard *shard, uint64_t hash)
{
	struct ghosts *ghosts = &shard->ghosts[bucket_of(shard, hash)];

	for (unsigned i = 0; i < GHOSTS; i++)
		if (ghosts->print[i] == ghost_print(hash)) {
			ghosts->print[i] = 0;
			return true;
		}
	return false;
}

/* ---- queues ---- */

static uint32_t queue_take(struct queue *queue, uint32_t size)
{
	uint32_t place = queue->head;

	queue->head += size;
	queue->used += size;
	return place;
}

/* Room for size octets at the head, as an unwritten item, or NOWHERE if the tail must give way first. */
static uint32_t queue_place(struct shard *shard, struct queue *queue, uint32_t size)
{
	if (queue->used == 0)
		queue->head = queue->tail = queue->begin;
	bool wrapped = queue->used > 0 && queue->head <= queue->tail;
	uint32_t room = (wrapped ? queue->tail : queue->end) - queue->head;
	if (room >= size)
		return queue_take(queue, size);
	if (wrapped || queue->tail - queue->begin < size)
		return NOWHERE;
	if (room > 0) {
		struct item *padding = item_at(shard, queue->head);
		padding->size = room;
		padding->state = ITEM_DEAD;
		queue->used += room;
	}
	queue->head = queue->begin;
	return queue_take(queue, size);
}

/* Takes the oldest item out. Its octets stay as they are until the queue's head comes there. */
static struct item *queue_pop(struct shard *shard, struct queue *queue)
{
	if (queue->tail == queue->end)
		queue->tail = queue->begin;
	struct item *item = item_at(shard, queue->tail);
	queue->tail += item->size;
	queue->used -= item->size;
	return item;
}

/* Moves a popped item to a place, which may overlap it. */
static void item_move(struct shard *shard, struct item *item, uint32_t place)
{
	uint32_t from = ref_make(item->hash, item_place(shard, item));
	struct item *moved = item_at(shard, place);

	memmove(moved, item, item->size);
	item_settle(moved);
	index_change(shard, moved->hash, from, ref_make(moved->hash, place));
}

static void item_evict(struct shard *shard, struct item *item)
{
	item_drop(shard, item);
	shard->figures.evictions++;
}

static bool item_is_worn(const struct shard *shard, const struct item *item)
{
	return item->entry.stale_until_s < shard->now_s;
}

static uint32_t main_place(struct shard *shard, uint32_t size)
{
	struct queue *queue = &shard->main;
	unsigned chances = SECOND_CHANCES;
	uint32_t place;

	while ((place = queue_place(shard, queue, size)) == NOWHERE) {
		struct item *item = queue_pop(shard, queue);
		if (item->state == ITEM_DEAD)
			continue;
		if (item->uses == 0 || chances == 0 || item_is_worn(shard, item)) {
			item_evict(shard, item);
			continue;
		}
		chances--;
		item->uses--;
		/* What was just popped always fits again: it was next to the free room. */
		item_move(shard, item, queue_place(shard, queue, item->size));
	}
	return place;
}

/* Where an item that leaves the small queue goes on living, or NOWHERE. */
static uint32_t place_after_small(struct shard *shard, const struct item *item)
{
	if (item_is_worn(shard, item))
		return NOWHERE;
	if (item->uses >= USES_TO_STAY)
		return main_place(shard, item->size);
	/* Room that nobody has is for everybody: a cache that is not full forgets nothing. */
	return queue_place(shard, &shard->main, item->size);
}

static uint32_t small_place(struct shard *shard, uint32_t size)
{
	struct queue *queue = &shard->small;
	uint32_t place;

	while ((place = queue_place(shard, queue, size)) == NOWHERE) {
		struct item *item = queue_pop(shard, queue);
		if (item->state == ITEM_DEAD)
			continue;
		uint32_t to = place_after_small(shard, item);
		if (to == NOWHERE) {
			ghost_add(shard, item->hash);
			item_evict(shard, item);
			continue;
		}
		item->uses = 0;
		item_move(shard, item, to);
	}
	return place;
}

/* ---- the public calls ---- */

void cache_prefetch(const struct cache *cache, uint64_t hash)
{
	const struct shard *shard = &cache->shard[shard_of(cache, hash)];

	__builtin_prefetch(&shard->buckets[bucket_of(shard, hash)]);
}

bool cache_prefetch_entry(const struct cache *cache, uint64_t hash)
{
	const struct shard *shard = &cache->shard[shard_of(cache, hash)];
	const struct bucket *bucket = &shard->buckets[bucket_of(shard, hash)];

	for (unsigned i = 0; i < WAYS; i++) {
		uint32_t ref = ref_get(bucket, i);
		if (!ref_may_be(ref, hash))
			continue;
		const uint8_t *item = shard->arena + ref_place(ref);
		for (unsigned at = 0; at < ITEM_USUAL; at += 64)
			__builtin_prefetch(item + at);
		return true;
	}
	return false;
}

struct cache_entry *cache_get(struct cache *cache, const struct cache_key *key, struct cache_pin *pin)
{
	*pin = (struct cache_pin){ .cache = cache, .shard = shard_of(cache, key->hash) };
	struct shard *shard = &cache->shard[pin->shard];

	pthread_mutex_lock(&shard->lock);
	struct item *item = index_find(shard, key);
	if (!item) {
		pthread_mutex_unlock(&shard->lock);
		return NULL;
	}
	if (item->uses < USES_MAX)
		item->uses++;
	return &item->entry;
}

void cache_release(struct cache_pin *pin)
{
	pthread_mutex_unlock(&pin->cache->shard[pin->shard].lock);
}

static void shard_put(struct shard *shard, const struct cache_key *key, const struct cache_entry *entry)
{
	uint32_t size = (uint32_t)item_size(key, &entry->answer);
	struct item *old = index_find(shard, key);
	uint8_t uses = old ? old->uses : 0;
	bool stays = false;

	if (size > shard->small.end - shard->small.begin)
		return;
	if (entry->stored_s > shard->now_s)
		shard->now_s = entry->stored_s;
	if (old && size <= old->size) {
		item_fill(old, key, entry);
		return;
	}
	if (old) {
		stays = !in_small(shard, item_place(shard, old));
		item_drop(shard, old);
	}
	if (!stays)
		stays = ghost_take(shard, key->hash);

	uint32_t place = stays ? main_place(shard, size) : small_place(shard, size);
	struct item *item = item_at(shard, place);
	item->size = size;
	item->uses = uses;
	item_fill(item, key, entry);
	index_add(shard, key->hash, place);
	shard->figures.entries++;
	shard->figures.bytes += size;
}

void cache_put(struct cache *cache, const struct cache_key *key, const struct cache_entry *entry)
{
	struct shard *shard = &cache->shard[shard_of(cache, key->hash)];

	if (entry->answer.len > ANSWER_MAX)
		return;
	pthread_mutex_lock(&shard->lock);
	shard_put(shard, key, entry);
	pthread_mutex_unlock(&shard->lock);
}

static bool item_is_named(struct item *item, const struct name *name, bool below)
{
	const uint8_t *wire = item_name(item);
	size_t at = 0;

	if (!below)
		return item->name_len == name->len && memcmp(wire, name->wire, name->len) == 0;
	while (item->name_len - at > name->len)
		at += 1u + wire[at];
	return item->name_len - at == name->len && memcmp(wire + at, name->wire, name->len) == 0;
}

static unsigned queue_flush(
        struct shard *shard, const struct queue *queue, const struct name *name, bool below)
{
	uint32_t place = queue->tail, left = queue->used;
	unsigned count = 0;

	while (left > 0) {
		if (place == queue->end)
			place = queue->begin;
		struct item *item = item_at(shard, place);
		if (item->state == ITEM_LIVE && item_is_named(item, name, below)) {
			item_drop(shard, item);
			count++;
		}
		place += item->size;
		left -= item->size;
	}
	return count;
}

unsigned cache_flush(struct cache *cache, const struct name *name, bool below)
{
	unsigned count = 0;

	for (unsigned i = 0; i < cache->shard_count; i++) {
		struct shard *shard = &cache->shard[i];
		pthread_mutex_lock(&shard->lock);
		count += queue_flush(shard, &shard->small, name, below);
		count += queue_flush(shard, &shard->main, name, below);
		pthread_mutex_unlock(&shard->lock);
	}
	return count;
}

struct cache_figures cache_figures(struct cache *cache)
{
	struct cache_figures sum = { 0 };

	for (unsigned i = 0; i < cache->shard_count; i++) {
		struct shard *shard = &cache->shard[i];
		pthread_mutex_lock(&shard->lock);
		sum.entries += shard->figures.entries;
		sum.bytes += shard->figures.bytes;
		sum.evictions += shard->figures.evictions;
		pthread_mutex_unlock(&shard->lock);
	}
	return sum;
}
