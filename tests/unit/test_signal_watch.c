/* What rules remember of whom they look at: found again, bounded, and let go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/signal_watch.h"

static unsigned ended;

static void end(void *arg, struct watch *watch)
{
	(void)arg;
	(void)watch;
	ended++;
}

static struct watches *watches_new(void)
{
	struct watches *watches = malloc(sizeof *watches);

	assert_non_null(watches);
	watches_init(watches, end, NULL);
	ended = 0;
	return watches;
}

static void watches_free(struct watches *watches)
{
	watches_clear(watches);
	free(watches);
}

static void see(struct watch *watch, uint64_t key, int64_t time_us, size_t most)
{
	struct block_record record = { .time_us = time_us };
	const struct step as = { .key = key, .category = "games" };

	assert_int_equal(name_from_text(&record.name, "x.example", 9), 0);
	assert_int_equal(watch_add(watch, &as, &record, most), 0);
}

static void a_watch_is_found_again_by_rule_and_client(void **state)
{
	struct watches *watches = watches_new();
	struct watch *watch = watches_find(watches, 1, 7);

	assert_ptr_equal(watches_find(watches, 1, 7), watch);
	assert_ptr_not_equal(watches_find(watches, 2, 7), watch);
	assert_ptr_not_equal(watches_find(watches, 1, 8), watch);
	assert_int_equal(watches->count, 3);
	watches_free(watches);
	assert_int_equal(ended, 3);
}

static void the_one_that_waited_longest_makes_room(void **state)
{
	struct watches *watches = watches_new();
	struct watch *first = watches_find(watches, 0, 0);

	for (uint64_t i = 1; i < SIGNAL_WATCHES_MAX; i++)
		watches_find(watches, 0, i);
	assert_ptr_equal(watches_find(watches, 0, 0), first);
	see(first, 1, 1, 9);
	watches_find(watches, 1, 0);
	assert_int_equal(watches->count, SIGNAL_WATCHES_MAX);
	assert_int_equal(ended, 1);
	assert_int_equal(watches_find(watches, 0, 0)->step_count, 1);
	watches_free(watches);
}

static void a_step_counts_what_has_its_key(void **state)
{
	struct watches *watches = watches_new();
	struct watch *watch = watches_find(watches, 0, 0);

	see(watch, 5, 10, 9);
	see(watch, 6, 20, 9);
	see(watch, 5, 30, 9);
	assert_int_equal(watch->step_count, 2);
	assert_int_equal(watch->steps[0].count, 2);
	assert_int_equal(watch->steps[0].first_us, 10);
	assert_int_equal(watch->steps[0].last_us, 30);
	assert_string_equal(watch->steps[0].name, "x.example");
	watches_free(watches);
}

static void of_too_many_steps_the_oldest_goes_and_of_old_ones_all(void **state)
{
	struct watches *watches = watches_new();
	struct watch *watch = watches_find(watches, 0, 0);

	for (uint64_t i = 0; i < 50; i++)
		see(watch, i, (int64_t)i, 20);
	assert_int_equal(watch->step_count, 20);
	assert_int_equal(watch->steps[0].key, 30);
	watch_expire(watch, 45);
	assert_int_equal(watch->step_count, 5);
	watch_expire(watch, INT64_MAX);
	assert_int_equal(watch->step_count, 0);
	watches_free(watches);
}

static void a_count_forgets_what_left_the_window(void **state)
{
	static const struct {
		int64_t part;
		uint64_t count;
	} cases[] = { { 100, 1 }, { 100, 2 }, { 110, 3 }, { 129, 4 }, { 130, 3 }, { 129, 4 }, { 200, 1 } };
	struct watches *watches = watches_new();
	struct watch *watch = watches_find(watches, 0, 0);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(watch_count(watch, cases[i].part), cases[i].count);
	watches_free(watches);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_watch_is_found_again_by_rule_and_client),
		cmocka_unit_test(the_one_that_waited_longest_makes_room),
		cmocka_unit_test(a_step_counts_what_has_its_key),
		cmocka_unit_test(of_too_many_steps_the_oldest_goes_and_of_old_ones_all),
		cmocka_unit_test(a_count_forgets_what_left_the_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
