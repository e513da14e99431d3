#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "blocklists/namemap.h"

#define SEED 42

static struct name name_of(const char *text)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

static void add(struct namemap *map, const char *text, bool exact, uint8_t role, uint16_t value)
{
	struct name name = name_of(text);

	assert_int_equal(namemap_add(map, &name, exact, role, value), 0);
}

static size_t find(const struct namemap *map, const char *text, struct namemap_hit *hits, size_t max)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct name name = name_of(text);

	name_hash_suffixes(&name, SEED, hash);
	return namemap_find(map, &name, hash, hits, max);
}

static void empty_map_finds_nothing(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[4];

	assert_int_equal(find(map, "www.example.com", hits, 4), 0);
	assert_int_equal(find(map, ".", hits, 4), 0);
	namemap_free(map);
	namemap_free(NULL);
}

static void below_matches_on_label_boundaries_only(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[4];

	add(map, "example.com", false, 3, 77);
	assert_int_equal(find(map, "example.com", hits, 4), 1);
	assert_int_equal(find(map, "a.b.EXAMPLE.com", hits, 4), 1);
	assert_int_equal(hits[0].role, 3);
	assert_int_equal(hits[0].value, 77);
	assert_int_equal(hits[0].labels, 2);
	assert_int_equal(find(map, "notexample.com", hits, 4), 0);
	assert_int_equal(find(map, "com", hits, 4), 0);
	assert_int_equal(find(map, "example.com.evil.test", hits, 4), 0);
	assert_int_equal(find(map, "a\\.example.com", hits, 4), 0);
	namemap_free(map);
}

static void exact_does_not_match_below(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[4];

	add(map, "www.google.com", true, 1, 1);
	assert_int_equal(find(map, "www.google.com", hits, 4), 1);
	assert_int_equal(find(map, "x.www.google.com", hits, 4), 0);
	assert_int_equal(find(map, "google.com", hits, 4), 0);
	namemap_free(map);
}

static void hits_come_longest_first_and_in_the_order_added(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[8];

	add(map, "com", false, 0, 1);
	add(map, "a.example.com", false, 0, 2);
	add(map, "example.com", false, 0, 3);
	add(map, "example.com", true, 0, 4);
	add(map, "a.example.com", true, 9, 5);
	assert_int_equal(find(map, "a.example.com", hits, 8), 4);
	assert_int_equal(hits[0].value, 2);
	assert_int_equal(hits[1].value, 5);
	assert_int_equal(hits[1].role, 9);
	assert_int_equal(hits[2].value, 3);
	assert_int_equal(hits[3].value, 1);
	assert_int_equal(hits[3].labels, 1);
	namemap_free(map);
}

static void what_does_not_fit_is_the_shortest(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[2];

	add(map, "com", false, 0, 1);
	add(map, "example.com", false, 0, 2);
	add(map, "a.example.com", false, 0, 3);
	assert_int_equal(find(map, "a.example.com", hits, 2), 2);
	assert_int_equal(hits[0].value, 3);
	assert_int_equal(hits[1].value, 2);
	assert_int_equal(find(map, "a.example.com", hits, 0), 0);
	namemap_free(map);
}

static void the_same_entry_twice_is_found_once(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[4];

	add(map, "example.com", false, 1, 1);
	add(map, "Example.Com.", false, 1, 1);
	assert_int_equal(find(map, "example.com", hits, 4), 1);
	namemap_free(map);
}

static void the_root_is_a_parent_of_all(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[4];

	add(map, ".", false, 5, 6);
	assert_int_equal(find(map, "www.example.com", hits, 4), 1);
	assert_int_equal(hits[0].labels, 0);
	assert_int_equal(find(map, ".", hits, 4), 1);
	namemap_free(map);
}

static void a_wrong_hash_is_confirmed_by_name(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[4];
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct name listed = name_of("example.com"), asked = name_of("example.org");

	add(map, "example.com", false, 0, 1);
	name_hash_suffixes(&listed, SEED, hash); /* as if all its suffixes collided */
	assert_int_equal(namemap_find(map, &asked, hash, hits, 4), 0);
	namemap_free(map);
}

static void twenty_thousand_names_are_all_found(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[4];
	char text[64];

	for (unsigned i = 0; i < 20000; i++) {
		snprintf(text, sizeof text, "n%u.zone%u.test", i, i % 7);
		add(map, text, false, (uint8_t)(i % 5), (uint16_t)i);
	}
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(text, sizeof text, "below.n%u.zone%u.test", i, i % 7);
		assert_int_equal(find(map, text, hits, 4), 1);
		assert_int_equal(hits[0].value, (uint16_t)i);
		snprintf(text, sizeof text, "n%u.zone%u.test", i, i % 7 + 1);
		assert_int_equal(find(map, text, hits, 4), 0);
	}
	namemap_free(map);
}

static void the_longest_name_possible_is_safe(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[NAME_LABELS_MAX + 1];
	char text[2 * NAME_LABELS_MAX];

	for (unsigned i = 0; i < NAME_LABELS_MAX; i++)
		memcpy(text + 2 * i, "a.", 2);
	text[2 * NAME_LABELS_MAX - 1] = '\0';
	add(map, "a", false, 0, 1);
	add(map, text, true, 0, 2);
	assert_int_equal(find(map, text, hits, NAME_LABELS_MAX + 1), 2);
	assert_int_equal(hits[0].labels, NAME_LABELS_MAX);
	assert_int_equal(hits[1].value, 1);
	namemap_free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_map_finds_nothing),
		cmocka_unit_test(below_matches_on_label_boundaries_only),
		cmocka_unit_test(exact_does_not_match_below),
		cmocka_unit_test(hits_come_longest_first_and_in_the_order_added),
		cmocka_unit_test(what_does_not_fit_is_the_shortest),
		cmocka_unit_test(the_same_entry_twice_is_found_once),
		cmocka_unit_test(the_root_is_a_parent_of_all),
		cmocka_unit_test(a_wrong_hash_is_confirmed_by_name),
		cmocka_unit_test(twenty_thousand_names_are_all_found),
		cmocka_unit_test(the_longest_name_possible_is_safe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
