#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/held.h"

static uint8_t octets[100000];

static void assert_holds(const struct held *held, const void *expected, size_t expected_len)
{
	size_t len;
	const uint8_t *data = held_data(held, &len);

	assert_int_equal(len, expected_len);
	if (len > 0)
		assert_memory_equal(data, expected, len);
}

static void what_is_added_comes_out_in_order(void **state)
{
	struct held_budget budget = { .most = 1 << 20 };
	struct held *held = NULL;

	assert_true(held_add(&held, &budget, "one", 3));
	assert_true(held_add(&held, &budget, "two", 3));
	assert_holds(held, "onetwo", 6);
	held_skip(&held, &budget, 2);
	assert_true(held_add(&held, &budget, "three", 5));
	assert_holds(held, "etwothree", 9);
	held_skip(&held, &budget, 9);
	assert_null(held);
	assert_int_equal(budget.used, 0);
}

static void nothing_costs_nothing(void **state)
{
	struct held_budget budget = { .most = 1 << 20 };
	struct held *held = NULL;

	assert_true(held_add(&held, &budget, "", 0));
	assert_null(held);
	held_skip(&held, &budget, 0);
	held_drop(&held, &budget);
	assert_holds(held, NULL, 0);
}

static void single_octets_become_a_large_piece(void **state)
{
	struct held_budget budget = { .most = 1 << 20 };
	struct held *held = NULL;

	for (size_t i = 0; i < 70000; i++)
		assert_true(held_add(&held, &budget, &octets[i], 1));
	assert_holds(held, octets, 70000);
	assert_true(budget.used >= 70000 && budget.used <= 140000);
	held_drop(&held, &budget);
	assert_int_equal(budget.used, 0);
}

static void spent_budget_refuses_large_pieces_and_keeps_what_there_is(void **state)
{
	struct held_budget budget = { .most = 50000 };
	struct held *greedy = NULL, *other = NULL;

	assert_true(held_add(&greedy, &budget, octets, 30000));
	assert_false(held_add(&greedy, &budget, octets, 30000));
	assert_holds(greedy, octets, 30000);
	assert_false(held_add(&other, &budget, octets, 30000));
	assert_null(other);
	held_drop(&greedy, &budget);
	assert_true(held_add(&other, &budget, octets, 30000));
	held_drop(&other, &budget);
}

static void small_piece_is_held_though_the_budget_is_spent(void **state)
{
	struct held_budget budget = { .most = 40000 };
	struct held *greedy = NULL, *small[100] = { NULL };

	assert_true(held_add(&greedy, &budget, octets, 30000));
	for (size_t i = 0; i < 100; i++)
		assert_true(held_add(&small[i], &budget, octets, HELD_SMALL));
	assert_false(held_add(&small[0], &budget, octets, 1));
	assert_holds(small[0], octets, HELD_SMALL);
	for (size_t i = 0; i < 100; i++)
		held_drop(&small[i], &budget);
	held_drop(&greedy, &budget);
	assert_int_equal(budget.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_added_comes_out_in_order),
		cmocka_unit_test(nothing_costs_nothing),
		cmocka_unit_test(single_octets_become_a_large_piece),
		cmocka_unit_test(spent_budget_refuses_large_pieces_and_keeps_what_there_is),
		cmocka_unit_test(small_piece_is_held_though_the_budget_is_spent),
	};

	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(i * 31 >> 3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
