#include "blocklists/entries.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAMES 100000

/* A hash and a check for each number, as of names. */
static uint64_t mix(uint64_t n)
{
	n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
	n = (n ^ n >> 27) * 0x94d049bb133111eb;
	return n ^ n >> 31;
}

static uint64_t hash_of(uint64_t n)
{
	return mix(2 * n + 1);
}

static uint64_t check_of(uint64_t n)
{
	return mix(2 * n + 2);
}

static struct entries table_of(uint64_t names, uint8_t **lines)
{
	struct entries table = { .count = entries_lines(names) };

	*lines = calloc(table.count, ENTRIES_LINE);
	assert_non_null(*lines);
	table.lines = *lines;
	for (uint64_t i = 0; i < names; i++) {
		int reach = entries_add(*lines, table.count, hash_of(i), check_of(i), (uint32_t)(i % 1000));
		assert_true(reach >= 0);
		if ((uint32_t)reach > table.reach)
			table.reach = (uint32_t)reach;
	}
	return table;
}

static void what_was_added_is_found_and_nothing_else(void **state)
{
	static const uint64_t counts[] = { 0, 1, 6, 7, 8, 63, 1000, NAMES };

	for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
		uint8_t *lines;
		struct entries table = table_of(counts[c], &lines);
		uint32_t set;
		for (uint64_t i = 0; i < counts[c]; i++) {
			assert_true(entries_find(&table, hash_of(i), check_of(i), &set));
			assert_int_equal(set, i % 1000);
		}
		for (uint64_t i = counts[c]; i < counts[c] + NAMES; i++)
			assert_false(entries_find(&table, hash_of(i), check_of(i), &set));
		free(lines);
	}
}

static void entry_takes_eleven_octets_at_most(void **state)
{
	for (uint64_t names = 1000; names < 1000000000; names = names * 10 + 7)
		assert_true((uint64_t)entries_lines(names) * ENTRIES_LINE <= names * 11);
}

static void large_set_asks_the_tree(void **state)
{
	uint8_t lines[ENTRIES_LINE] = { 0 };
	struct entries table = { lines, 1, 0 };
	uint32_t set;

	assert_int_equal(entries_add(lines, 1, 1, 10, ENTRIES_ASK_TREE - 1), 0);
	assert_int_equal(entries_add(lines, 1, 2, 20, ENTRIES_ASK_TREE), 0);
	assert_int_equal(entries_add(lines, 1, 3, 30, 70000), 0);
	assert_true(entries_find(&table, 1, 10, &set));
	assert_int_equal(set, ENTRIES_ASK_TREE - 1);
	assert_true(entries_find(&table, 2, 20, &set));
	assert_int_equal(set, ENTRIES_ASK_TREE);
	assert_true(entries_find(&table, 3, 30, &set));
	assert_int_equal(set, ENTRIES_ASK_TREE);
}

static void two_names_with_one_check_ask_the_tree(void **state)
{
	uint8_t lines[2 * ENTRIES_LINE] = { 0 };
	struct entries table = { lines, 2, 1 };
	uint32_t set;

	assert_int_equal(entries_add(lines, 2, 1, 10, 1), 0);
	assert_int_equal(entries_add(lines, 2, 2, 10, 2), 0);
	assert_true(entries_find(&table, 1, 10, &set));
	assert_int_equal(set, ENTRIES_ASK_TREE);
}

static void check_of_zero_is_an_entry_too(void **state)
{
	uint8_t lines[ENTRIES_LINE] = { 0 };
	struct entries table = { lines, 1, 0 };
	uint32_t set;

	assert_false(entries_find(&table, 1, 0, &set));
	assert_int_equal(entries_add(lines, 1, 1, 0, 7), 0);
	assert_true(entries_find(&table, 1, 0, &set));
	assert_int_equal(set, 7);
}

static void full_lines_pass_on_to_the_next_and_at_last_refuse(void **state)
{
	uint8_t lines[2 * ENTRIES_LINE] = { 0 };
	struct entries table = { lines, 2, 1 };
	uint32_t set;

	/* All at home in the last line: the first is the next. */
	for (uint32_t i = 0; i < 14; i++)
		assert_int_equal(entries_add(lines, 2, UINT64_MAX, 100 + i, i), i / 7);
	assert_int_equal(entries_add(lines, 2, UINT64_MAX, 200, 1), -ENOSPC);
	for (uint32_t i = 0; i < 14; i++) {
		assert_true(entries_find(&table, UINT64_MAX, 100 + i, &set));
		assert_int_equal(set, i);
	}
	assert_false(entries_find(&table, UINT64_MAX, 200, &set));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_added_is_found_and_nothing_else),
		cmocka_unit_test(entry_takes_eleven_octets_at_most),
		cmocka_unit_test(large_set_asks_the_tree),
		cmocka_unit_test(two_names_with_one_check_ask_the_tree),
		cmocka_unit_test(check_of_zero_is_an_entry_too),
		cmocka_unit_test(full_lines_pass_on_to_the_next_and_at_last_refuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
