/*
 * The packet cache: time of a hit, a miss and a put; and how many lookups of a seeded Zipf trace it answers,
 * alone and with a flood of random subdomains mixed in (one name asked once for each lookup of the trace),
 * beside LRU, FIFO, CLOCK and SIEVE with room for as many answers.
 *
 * stdout: one CSV line a measurement (case, value, unit); words for people on stderr. One thread, one core.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "resolver/cache.h"

#define NAMES 200000
#define LOOKUPS 1000000
#define ZIPF 0.9
#define ANSWER_LEN 120
#define TIMED 2000000

static uint64_t seed = 42;

static uint64_t random_next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct name name_number(unsigned i)
{
	char text[40];
	struct name name;

	snprintf(text, sizeof text, "www%u.school%u.example", i, i % 1000);
	name_from_text(&name, text, strlen(text));
	return name;
}

static void put(struct cache *cache, const struct cache_key *key)
{
	static uint8_t wire[ANSWER_LEN];
	static uint16_t ttl_at[2];
	struct cache_entry entry = { .stored_s = 1,
		.expires_s = 300,
		.stale_until_s = 86400,
		.answer = { .wire = wire, .len = sizeof wire, .ttl_at = ttl_at, .ttl_count = 2 } };

	cache_put(cache, key, &entry);
}

static bool get(struct cache *cache, const struct cache_key *key)
{
	struct cache_pin pin;

	if (!cache_get(cache, key, &pin))
		return false;
	cache_release(&pin);
	return true;
}

/* ---- time ---- */

/* What a worker does: the name is at hand, key and look-up are timed. */
static void time_gets(struct cache *cache, const struct name *names, unsigned count, const char *which)
{
	unsigned hits = 0;
	double start = now_ns();

	for (unsigned i = 0; i < TIMED; i++) {
		struct cache_key key = cache_key(cache, &names[(uint64_t)i * 7919 % count], 1, 0);
		hits += get(cache, &key);
	}
	printf("get_%s,%.1f,ns\n", which, (now_ns() - start) / TIMED);
	fprintf(stderr, "%s: %u of %u were hits\n", which, hits, TIMED);
}

static void time_all(void)
{
	struct cache *cache = cache_new(64 << 20);
	unsigned count = 100000;
	struct name *names = malloc(2 * count * sizeof *names);

	for (unsigned i = 0; i < 2 * count; i++)
		names[i] = name_number(i);
	double start = now_ns();
	for (unsigned i = 0; i < count; i++) {
		struct cache_key key = cache_key(cache, &names[i], 1, 0);
		put(cache, &key);
	}
	printf("put_new,%.1f,ns\n", (now_ns() - start) / count);
	time_gets(cache, names, 1000, "hit_hot");
	time_gets(cache, names, count, "hit");
	time_gets(cache, names + count, count, "miss");
	struct cache_figures figures = cache_figures(cache);
	fprintf(stderr, "64 MiB: %llu answers of %d octets, %llu octets\n",
	        (unsigned long long)figures.entries, ANSWER_LEN, (unsigned long long)figures.bytes);
	free(names);
	cache_free(cache);

	cache = cache_new(1 << 20);
	start = now_ns();
	for (unsigned i = 0; i < TIMED / 4; i++) {
		struct name name = name_number(i);
		struct cache_key key = cache_key(cache, &name, 1, 0);
		put(cache, &key);
	}
	printf("put_evicting,%.1f,ns\n", (now_ns() - start) / (TIMED / 4.0));
	cache_free(cache);
}

/* ---- hit ratio ---- */

/* Which name each lookup asks: Zipf over NAMES. */
static unsigned *trace_new(void)
{
	double *sum = malloc(NAMES * sizeof *sum), total = 0;
	unsigned *trace = malloc(LOOKUPS * sizeof *trace);

	for (unsigned i = 0; i < NAMES; i++)
		sum[i] = total += 1 / pow(i + 1, ZIPF);
	for (unsigned i = 0; i < LOOKUPS; i++) {
		double want = (double)(random_next() >> 11) / (double)(1ull << 53) * total;
		unsigned low = 0, high = NAMES - 1;
		while (low < high) {
			unsigned middle = (low + high) / 2;
			if (sum[middle] < want)
				low = middle + 1;
			else
				high = middle;
		}
		trace[i] = low;
	}
	free(sum);
	return trace;
}

static double cache_ratio(
        const unsigned *trace, const struct name *names, uint64_t size, bool flood, uint64_t *entries)
{
	struct cache *cache = cache_new(size);
	unsigned hits = 0;

	for (unsigned i = 0; i < LOOKUPS; i++) {
		struct cache_key key = cache_key(cache, &names[trace[i]], 1, 0);
		if (get(cache, &key))
			hits++;
		else
			put(cache, &key);
		if (!flood)
			continue;
		struct name name = name_number(NAMES + i);
		key = cache_key(cache, &name, 1, 0);
		if (!get(cache, &key))
			put(cache, &key);
	}
	*entries = cache_figures(cache).entries;
	cache_free(cache);
	return (double)hits / LOOKUPS;
}

/* Which id the lookup asks: those of the flood come once. */
static unsigned id_of(const unsigned *trace, unsigned lookup, bool flood)
{
	if (!flood)
		return trace[lookup];
	return lookup % 2 == 1 ? NAMES + lookup / 2 : trace[lookup / 2];
}

/* Ids in a ring of room places, in the order they came. CLOCK spares those that were asked since the hand
 * last passed. */
static double ring_ratio(const unsigned *trace, uint64_t room, bool flood, bool spares)
{
	unsigned *place = calloc(room, sizeof *place), used = 0, hand = 0, hits = 0;
	bool *in = calloc(NAMES + LOOKUPS, sizeof *in), *asked = calloc(NAMES + LOOKUPS, sizeof *asked);

	for (unsigned i = 0; i < LOOKUPS * (flood ? 2u : 1u); i++) {
		unsigned id = id_of(trace, i, flood);
		hits += in[id];
		asked[id] = in[id];
		if (in[id])
			continue;
		in[id] = true;
		if (used < room) {
			place[used++] = id;
			continue;
		}
		for (; spares && asked[place[hand]]; hand = (hand + 1) % room)
			asked[place[hand]] = false;
		in[place[hand]] = false;
		place[hand] = id;
		hand = (hand + 1) % room;
	}
	free(place);
	free(in);
	free(asked);
	return (double)hits / LOOKUPS;
}

static double fifo_ratio(const unsigned *trace, uint64_t room, bool flood)
{
	return ring_ratio(trace, room, flood, false);
}

static double clock_ratio(const unsigned *trace, uint64_t room, bool flood)
{
	return ring_ratio(trace, room, flood, true);
}

/* SIEVE (Zhang et al., NSDI 2024): as CLOCK, but newcomers go to the head and not to where the hand is. Ids
 * are shifted by one, 0 is head and tail. */
static double sieve_ratio(const unsigned *trace, uint64_t room, bool flood)
{
	unsigned ids = NAMES + LOOKUPS + 1, used = 0, hand = 0, hits = 0;
	unsigned *next = calloc(ids, sizeof *next), *before = calloc(ids, sizeof *before);
	bool *in = calloc(ids, sizeof *in), *asked = calloc(ids, sizeof *asked);

	for (unsigned i = 0; i < LOOKUPS * (flood ? 2u : 1u); i++) {
		unsigned id = 1 + id_of(trace, i, flood);
		hits += in[id];
		asked[id] = in[id];
		if (in[id])
			continue;
		if (used++ >= room) {
			for (hand = hand ? hand : before[0]; asked[hand];
			        hand = before[hand] ? before[hand] : before[0])
				asked[hand] = false;
			unsigned gone = hand;
			in[gone] = false;
			hand = before[gone];
			next[before[gone]] = next[gone];
			before[next[gone]] = before[gone];
		}
		in[id] = true;
		next[id] = next[0];
		before[id] = 0;
		before[next[0]] = id;
		next[0] = id;
	}
	free(next);
	free(before);
	free(in);
	free(asked);
	return (double)hits / LOOKUPS;
}

/* A list of ids, latest first, of at most room: head and tail are id 0, so ids are shifted by one. */
static double lru_ratio(const unsigned *trace, uint64_t room, bool flood)
{
	unsigned ids = NAMES + LOOKUPS + 1, used = 0, hits = 0;
	unsigned *next = calloc(ids, sizeof *next), *before = calloc(ids, sizeof *before);
	bool *in = calloc(ids, sizeof *in);

	for (unsigned i = 0; i < LOOKUPS * (flood ? 2u : 1u); i++) {
		unsigned id = 1 + id_of(trace, i, flood);
		if (in[id]) {
			hits++;
			next[before[id]] = next[id];
			before[next[id]] = before[id];
		} else if (used < room) {
			used++;
		} else {
			unsigned last = before[0];
			in[last] = false;
			next[before[last]] = 0;
			before[0] = before[last];
		}
		in[id] = true;
		next[id] = next[0];
		before[id] = 0;
		before[next[0]] = id;
		next[0] = id;
	}
	free(next);
	free(before);
	free(in);
	return (double)hits / LOOKUPS;
}

static const struct other {
	const char *name;
	double (*ratio)(const unsigned *trace, uint64_t room, bool flood);
} others[] = {
	{ "lru", lru_ratio },
	{ "fifo", fifo_ratio },
	{ "clock", clock_ratio },
	{ "sieve", sieve_ratio },
};

static void ratios_of(const unsigned *trace, const struct name *names, uint64_t size, bool flood)
{
	unsigned long long mib = size >> 20;
	const char *mix = flood ? "flood" : "zipf";
	uint64_t entries;

	double ours = cache_ratio(trace, names, size, flood, &entries);
	printf("ratio_%s_%llumib,%.4f,\n", mix, mib, ours);
	fprintf(stderr, "%s, %llu MiB, %llu answers: %.3f", mix, mib, (unsigned long long)entries, ours);
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
		double theirs = others[i].ratio(trace, entries, flood);
		printf("ratio_%s_%llumib_%s,%.4f,\n", mix, mib, others[i].name, theirs);
		fprintf(stderr, ", %s %.3f", others[i].name, theirs);
	}
	fprintf(stderr, "\n");
}

static void ratios(void)
{
	unsigned *trace = trace_new();
	struct name *names = malloc(NAMES * sizeof *names);

	for (unsigned i = 0; i < NAMES; i++)
		names[i] = name_number(i);
	for (uint64_t size = 1 << 20; size <= 16 << 20; size *= 4)
		for (int flood = 0; flood <= 1; flood++)
			ratios_of(trace, names, size, flood);
	free(names);
	free(trace);
}

int main(void)
{
	fprintf(stderr, "Zipf %.1f over %d names, %d lookups, seed %llu\n", ZIPF, NAMES, LOOKUPS,
	        (unsigned long long)seed);
	printf("case,value,unit\n");
	time_all();
	ratios();
	return 0;
}
