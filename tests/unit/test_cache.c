#include "resolver/cache.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB (1 << 20)

static uint64_t random_state = 88172645463325252;

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static struct name name_of(const char *text)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

/* An answer whose every octet follows from seed, so that any mix-up shows. */
struct sample {
	uint8_t wire[MESSAGE_MAX];
	uint16_t ttl_at[64];
	struct cache_entry entry;
};

static void sample_make(struct sample *sample, uint32_t seed, uint16_t len)
{
	memset(sample, 0, sizeof *sample);
	for (unsigned i = 0; i < len; i++)
		sample->wire[i] = (uint8_t)(seed * 31 + i);
	sample->entry = (struct cache_entry){
		.stored_s = 100, .expires_s = 200, .stale_until_s = 300, .stamp = seed
	};
	sample->entry.facts.listed.categories = seed;
	sample->entry.answer = (struct answer_stored){ .wire = sample->wire,
		.len = len,
		.ttl_at = sample->ttl_at,
		.ttl_count = (uint16_t)(seed % 64),
		.ttl_s = seed };
	for (unsigned i = 0; i < sample->entry.answer.ttl_count; i++)
		sample->ttl_at[i] = (uint16_t)(seed + i);
}

static void assert_is_sample(const struct cache_entry *entry, uint32_t seed)
{
	static struct sample want;

	sample_make(&want, seed, entry->answer.len);
	assert_int_equal(entry->stamp, seed);
	assert_int_equal(entry->facts.listed.categories, seed);
	assert_int_equal(entry->answer.ttl_s, seed);
	assert_int_equal(entry->answer.ttl_count, want.entry.answer.ttl_count);
	assert_memory_equal(entry->answer.wire, want.wire, entry->answer.len);
	assert_memory_equal(entry->answer.ttl_at, want.ttl_at, entry->answer.ttl_count * sizeof(uint16_t));
}

static void put(struct cache *cache, const char *text, uint16_t type, uint32_t seed, uint16_t len)
{
	static struct sample sample;
	struct name name = name_of(text);
	struct cache_key key = cache_key(cache, &name, type, 0);

	sample_make(&sample, seed, len);
	cache_put(cache, &key, &sample.entry);
}

/* The stamp of what is found, 0 if nothing is; what is found must be whole. */
static uint32_t get(struct cache *cache, const char *text, uint16_t type, uint8_t variant)
{
	struct name name = name_of(text);
	struct cache_key key = cache_key(cache, &name, type, variant);
	struct cache_pin pin;
	struct cache_entry *entry = cache_get(cache, &key, &pin);

	if (!entry)
		return 0;
	uint32_t stamp = entry->stamp;
	assert_is_sample(entry, stamp);
	cache_release(&pin);
	return stamp;
}

static void what_was_put_is_found(void **state)
{
	struct cache *cache = cache_new(MIB);

	put(cache, "www.school.example", TYPE_A, 7, 120);
	assert_int_equal(get(cache, "www.school.example", TYPE_A, 0), 7);
	assert_int_equal(get(cache, "WWW.School.example", TYPE_A, 0), 7);
	cache_free(cache);
}

static void other_type_variant_or_name_is_a_miss(void **state)
{
	struct cache *cache = cache_new(MIB);

	put(cache, "www.school.example", TYPE_A, 7, 120);
	assert_int_equal(get(cache, "www.school.example", TYPE_AAAA, 0), 0);
	assert_int_equal(get(cache, "www.school.example", TYPE_A, CACHE_DNSSEC_OK), 0);
	assert_int_equal(get(cache, "www.school.example", TYPE_A, CACHE_CHECKING_DISABLED), 0);
	assert_int_equal(get(cache, "www.school.example", TYPE_A, CACHE_INTERNAL), 0);
	assert_int_equal(get(cache, "ww.wschool.example", TYPE_A, 0), 0);
	assert_int_equal(get(cache, "school.example", TYPE_A, 0), 0);
	cache_free(cache);
}

static void two_caches_hash_differently(void **state)
{
	struct cache *one = cache_new(MIB), *two = cache_new(MIB);
	struct name name = name_of("school.example");

	assert_true(cache_key(one, &name, TYPE_A, 0).hash != cache_key(two, &name, TYPE_A, 0).hash);
	cache_free(one);
	cache_free(two);
}

static void same_key_replaces_larger_and_smaller(void **state)
{
	struct cache *cache = cache_new(MIB);
	struct name root = name_of(".");

	put(cache, "a.example", TYPE_A, 1, 100);
	put(cache, "a.example", TYPE_A, 2, 4000);
	assert_int_equal(get(cache, "a.example", TYPE_A, 0), 2);
	put(cache, "a.example", TYPE_A, 3, 40);
	assert_int_equal(get(cache, "a.example", TYPE_A, 0), 3);
	assert_int_equal(cache_figures(cache).entries, 1);
	assert_int_equal(cache_flush(cache, &root, true), 1);
	assert_int_equal(cache_figures(cache).bytes, 0);
	cache_free(cache);
}

static void answer_over_16_kib_is_not_kept(void **state)
{
	struct cache *cache = cache_new(MIB);

	put(cache, "big.example", TYPE_A, 1, 16384);
	put(cache, "bigger.example", TYPE_A, 1, 16385);
	put(cache, "biggest.example", TYPE_A, 1, MESSAGE_MAX);
	assert_int_equal(get(cache, "big.example", TYPE_A, 0), 1);
	assert_int_equal(get(cache, "bigger.example", TYPE_A, 0), 0);
	assert_int_equal(get(cache, "biggest.example", TYPE_A, 0), 0);
	cache_free(cache);
}

static void failure_without_answer_is_kept(void **state)
{
	struct cache *cache = cache_new(MIB);
	struct name name = name_of("dead.example");
	struct cache_key key = cache_key(cache, &name, TYPE_A, 0);
	struct cache_entry entry = {
		.stored_s = 1, .expires_s = 6, .stale_until_s = 6, .status = EDE_NETWORK_ERROR + 2
	};
	struct cache_pin pin;

	cache_put(cache, &key, &entry);
	struct cache_entry *found = cache_get(cache, &key, &pin);
	assert_non_null(found);
	assert_int_equal(found->status, EDE_NETWORK_ERROR + 2);
	assert_int_equal(found->answer.len, 0);
	cache_release(&pin);
	cache_free(cache);
}

static void what_the_holder_writes_stays(void **state)
{
	struct cache *cache = cache_new(MIB);
	struct name name = name_of("a.example");
	struct cache_key key = cache_key(cache, &name, TYPE_A, 0);
	struct cache_pin pin;

	put(cache, "a.example", TYPE_A, 1, 100);
	struct cache_entry *entry = cache_get(cache, &key, &pin);
	entry->popular = true;
	entry->facts.flags = FACTS_PROTECTED;
	entry->answer.flags = ANSWER_LISTED_HOP;
	cache_release(&pin);
	entry = cache_get(cache, &key, &pin);
	assert_true(entry->popular);
	assert_int_equal(entry->facts.flags, FACTS_PROTECTED);
	assert_int_equal(entry->answer.flags, ANSWER_LISTED_HOP);
	cache_release(&pin);
	cache_free(cache);
}

static void flush_keeps_to_label_boundaries(void **state)
{
	struct cache *cache = cache_new(MIB);
	struct name name = name_of("school.example");

	put(cache, "school.example", TYPE_A, 1, 50);
	put(cache, "school.example", TYPE_AAAA, 2, 50);
	put(cache, "www.school.example", TYPE_A, 3, 50);
	put(cache, "preschool.example", TYPE_A, 4, 50);
	put(cache, "example", TYPE_A, 5, 50);
	assert_int_equal(cache_flush(cache, &name, false), 2);
	assert_int_equal(get(cache, "school.example", TYPE_A, 0), 0);
	assert_int_equal(get(cache, "www.school.example", TYPE_A, 0), 3);
	assert_int_equal(cache_flush(cache, &name, true), 1);
	assert_int_equal(get(cache, "www.school.example", TYPE_A, 0), 0);
	assert_int_equal(get(cache, "preschool.example", TYPE_A, 0), 4);
	assert_int_equal(get(cache, "example", TYPE_A, 0), 5);
	assert_int_equal(cache_figures(cache).entries, 2);
	cache_free(cache);
}

/* Far more than fits, all sizes, replacements and flushes between: whatever is found must be the latest put.
 */
static void check_against_model(uint64_t size, unsigned names, unsigned rounds, unsigned longest)
{
	struct cache *cache = cache_new(size);
	uint32_t *latest = calloc(names, sizeof *latest);
	struct name root = name_of(".");
	unsigned hits = 0;

	for (unsigned i = 1; i <= rounds; i++) {
		uint64_t r = random_next(&random_state);
		unsigned which =
		        (unsigned)(r % names) * (unsigned)(r >> 32 & 3) / 3; /* some more often than others */
		char text[32];
		snprintf(text, sizeof text, "n%u.example", which);
		uint32_t found = get(cache, text, TYPE_A, 0);
		if (found != 0) {
			assert_int_equal(found, latest[which]);
			hits++;
		}
		if (found == 0 || r >> 40 & 1) {
			put(cache, text, TYPE_A, i, (uint16_t)(12 + (r >> 48) % longest));
			latest[which] = i;
		}
	}
	struct cache_figures figures = cache_figures(cache);
	assert_true(hits > 0);
	assert_true(figures.evictions > 0);
	assert_true(figures.entries > 0);
	assert_true(figures.bytes <= size);
	assert_int_equal(cache_flush(cache, &root, true), figures.entries);
	assert_int_equal(cache_figures(cache).entries, 0);
	assert_int_equal(cache_figures(cache).bytes, 0);
	free(latest);
	cache_free(cache);
}

static void smallest_cache_agrees_with_a_model(void **state)
{
	check_against_model(64 << 10, 500, 60000, 3000);
}

static void tiny_answers_fill_the_index_and_agree_with_a_model(void **state)
{
	check_against_model(256 << 10, 3000, 60000, 4);
}

static void sharded_cache_agrees_with_a_model(void **state)
{
	check_against_model(2 * MIB, 3000, 60000, 16000);
}

static void size_zero_is_the_smallest_cache(void **state)
{
	struct cache *cache = cache_new(0);

	put(cache, "a.example", TYPE_A, 1, 100);
	assert_int_equal(get(cache, "a.example", TYPE_A, 0), 1);
	cache_free(cache);
	cache_free(NULL);
}

static void flood_of_names_asked_once_keeps_what_a_class_uses(void **state)
{
	struct cache *cache = cache_new(MIB);
	char text[32];
	unsigned kept = 0;

	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 200; i++) {
			snprintf(text, sizeof text, "lesson%u.example", i);
			if (get(cache, text, TYPE_A, 0) == 0)
				put(cache, text, TYPE_A, i + 1, 100);
		}
	for (unsigned i = 0; i < 50000; i++) {
		snprintf(text, sizeof text, "x%u.flood.example", i);
		assert_int_equal(get(cache, text, TYPE_A, 0), 0);
		put(cache, text, TYPE_A, i + 1, 100);
	}
	for (unsigned i = 0; i < 200; i++) {
		snprintf(text, sizeof text, "lesson%u.example", i);
		kept += get(cache, text, TYPE_A, 0) != 0;
	}
	assert_true(kept >= 195);
	cache_free(cache);
}

static void cache_that_is_not_full_forgets_nothing(void **state)
{
	struct cache *cache = cache_new(MIB);
	char text[32];

	for (unsigned i = 1; i <= 1200; i++) {
		snprintf(text, sizeof text, "n%u.example", i);
		put(cache, text, TYPE_A, i, 100);
	}
	for (unsigned i = 1; i <= 1200; i++) {
		snprintf(text, sizeof text, "n%u.example", i);
		assert_int_equal(get(cache, text, TYPE_A, 0), i);
	}
	assert_int_equal(cache_figures(cache).evictions, 0);
	cache_free(cache);
}

static void entry_past_its_stale_time_gets_no_second_chance(void **state)
{
	struct cache *cache = cache_new(64 << 10);
	struct sample *sample = malloc(sizeof *sample);
	struct name name;
	char text[32];

	put(cache, "old.example", TYPE_A, 1, 100);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(get(cache, "old.example", TYPE_A, 0), 1);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(text, sizeof text, "n%u.example", i);
		name = name_of(text);
		struct cache_key key = cache_key(cache, &name, TYPE_A, 0);
		sample_make(sample, i + 1, 100);
		sample->entry.stored_s = 301;
		sample->entry.stale_until_s = 900;
		cache_put(cache, &key, &sample->entry);
	}
	assert_int_equal(get(cache, "old.example", TYPE_A, 0), 0);
	free(sample);
	cache_free(cache);
}

#define THREADS 4

/* cmocka's assertions are for the main thread: these count what is wrong. */
static bool is_sample(const struct cache_entry *entry, uint32_t seed)
{
	for (unsigned i = 0; i < entry->answer.len; i++)
		if (entry->answer.wire[i] != (uint8_t)(seed * 31 + i))
			return false;
	for (unsigned i = 0; i < entry->answer.ttl_count; i++)
		if (entry->answer.ttl_at[i] != (uint16_t)(seed + i))
			return false;
	return entry->stamp == seed && entry->answer.ttl_count == seed % 64;
}

static void prefetch_of_what_is_there_says_so(void **state)
{
	static struct sample sample;
	struct cache *cache = cache_new(MIB);
	struct name name = name_of("www.example");
	struct cache_key key = cache_key(cache, &name, TYPE_A, 0);
	struct cache_figures before = cache_figures(cache);

	cache_prefetch(cache, key.hash);
	assert_false(cache_prefetch_entry(cache, key.hash));
	sample_make(&sample, 1, 100);
	cache_put(cache, &key, &sample.entry);
	assert_true(cache_prefetch_entry(cache, key.hash));
	assert_int_equal(cache_figures(cache).entries, before.entries + 1);
	cache_free(cache);
}

struct hammer {
	struct cache *cache;
	uint64_t seed;
	unsigned hits, wrong;
};

static void *hammer_run(void *arg)
{
	struct hammer *hammer = arg;
	struct sample *sample = malloc(sizeof *sample);

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = random_next(&hammer->seed);
		uint32_t which = (uint32_t)(r % 300) + 1;
		char text[32];
		struct name name;
		struct cache_pin pin;
		int len = snprintf(text, sizeof text, "n%u.example", which);
		name_from_text(&name, text, (size_t)len);
		struct cache_key key = cache_key(hammer->cache, &name, TYPE_A, 0);
		cache_prefetch(hammer->cache, key.hash);
		cache_prefetch_entry(hammer->cache, key.hash);
		struct cache_entry *entry = cache_get(hammer->cache, &key, &pin);
		if (entry) {
			hammer->hits++;
			hammer->wrong += !is_sample(entry, which);
			entry->popular = !entry->popular;
			cache_release(&pin);
		} else {
			sample_make(sample, which, (uint16_t)(r >> 40 & 0x7ff));
			cache_put(hammer->cache, &key, &sample->entry);
		}
		if (i % 1000 == 0)
			cache_flush(hammer->cache, &name, r >> 20 & 1);
		if (i % 500 == 0)
			hammer->wrong += cache_figures(hammer->cache).bytes > MIB;
	}
	free(sample);
	return NULL;
}

static void threads_never_see_each_others_half(void **state)
{
	for (uint64_t size = 64 << 10; size <= MIB; size *= 4) {
		struct cache *cache = cache_new(size);
		struct hammer hammer[THREADS];
		pthread_t thread[THREADS];

		for (unsigned i = 0; i < THREADS; i++) {
			hammer[i] = (struct hammer){ .cache = cache, .seed = 0x9e3779b97f4a7c15 * (i + 1) };
			assert_int_equal(pthread_create(&thread[i], NULL, hammer_run, &hammer[i]), 0);
		}
		for (unsigned i = 0; i < THREADS; i++) {
			pthread_join(thread[i], NULL);
			assert_true(hammer[i].hits > 0);
			assert_int_equal(hammer[i].wrong, 0);
		}
		cache_free(cache);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_is_found),
		cmocka_unit_test(other_type_variant_or_name_is_a_miss),
		cmocka_unit_test(two_caches_hash_differently),
		cmocka_unit_test(same_key_replaces_larger_and_smaller),
		cmocka_unit_test(answer_over_16_kib_is_not_kept),
		cmocka_unit_test(failure_without_answer_is_kept),
		cmocka_unit_test(what_the_holder_writes_stays),
		cmocka_unit_test(flush_keeps_to_label_boundaries),
		cmocka_unit_test(smallest_cache_agrees_with_a_model),
		cmocka_unit_test(tiny_answers_fill_the_index_and_agree_with_a_model),
		cmocka_unit_test(sharded_cache_agrees_with_a_model),
		cmocka_unit_test(size_zero_is_the_smallest_cache),
		cmocka_unit_test(flood_of_names_asked_once_keeps_what_a_class_uses),
		cmocka_unit_test(cache_that_is_not_full_forgets_nothing),
		cmocka_unit_test(entry_past_its_stale_time_gets_no_second_chance),
		cmocka_unit_test(prefetch_of_what_is_there_says_so),
		cmocka_unit_test(threads_never_see_each_others_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
