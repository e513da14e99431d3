#include "resolver/clock_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define NOON INT64_C(1795348800) /* 2026-11-22 12:00 UTC */
#define DAY INT64_C(86400)

/* A look `after` seconds from the first, with a wall clock that is `off` by so much. */
static const char *look(struct clock_watch *watch, int64_t after_s, int64_t off_s, int64_t past_s)
{
	static char text[CLOCK_TEXT_MAX];
	struct clock_reading reading = { NOON + after_s + off_s, 1000 + after_s, past_s };

	clock_watch_look(watch, &reading, text);
	return text;
}

static void right_clock_is_not_told_of(void **state)
{
	struct clock_watch watch = { 0 };

	assert_string_equal(look(&watch, 0, 0, NOON - DAY), "");
	assert_string_equal(look(&watch, 2, 0, NOON - DAY), "");
	assert_string_equal(look(&watch, 4, -59, NOON - DAY), "");
}

static void clock_before_what_has_happened_is_slow(void **state)
{
	struct clock_watch watch = { 0 };

	assert_non_null(strstr(look(&watch, 0, 0, NOON + 61), "it says 2026-11-22 12:00 UTC"));
	assert_string_equal(look(&watch, 2, 0, NOON + 62), "");
	watch = (struct clock_watch){ 0 };
	assert_non_null(strstr(look(&watch, 0, -NOON, NOON), "1970-01-01"));
}

static void clock_set_right_is_well_after_an_hour(void **state)
{
	struct clock_watch watch = { 0 };

	assert_string_not_equal(look(&watch, 0, -30 * DAY, NOON), "");
	assert_non_null(strstr(look(&watch, 10, 0, NOON), "set ahead by 2592000 s"));
	assert_non_null(strstr(look(&watch, 3609, 0, NOON), "set ahead"));
	assert_string_equal(look(&watch, 3610, 0, NOON), "");
}

static void jump_back_is_told(void **state)
{
	struct clock_watch watch = { 0 };

	assert_string_equal(look(&watch, 0, 0, NOON - DAY), "");
	assert_non_null(strstr(look(&watch, 2, -61, NOON - DAY), "set back by 61 s"));
}

static void clock_years_ahead_is_fast_until_it_is_set(void **state)
{
	struct clock_watch watch = { 0 };

	assert_non_null(strstr(look(&watch, 0, 401 * DAY, NOON), "more than a year after"));
	/* A list that was published by the wrong clock is no proof. */
	assert_non_null(strstr(look(&watch, 2, 401 * DAY, NOON + 401 * DAY), "more than a year after"));
}

static void years_without_a_restart_make_no_clock_fast(void **state)
{
	struct clock_watch watch = { 0 };

	assert_string_equal(look(&watch, 0, 0, NOON), "");
	assert_string_equal(look(&watch, 1000 * DAY, 0, NOON), "");
}

static void where_nothing_is_known_only_jumps_are_told(void **state)
{
	struct clock_watch watch = { 0 };

	assert_string_equal(look(&watch, 0, 0, 0), "");
	assert_string_not_equal(look(&watch, 2, 120, 0), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_clock_is_not_told_of),
		cmocka_unit_test(clock_before_what_has_happened_is_slow),
		cmocka_unit_test(clock_set_right_is_well_after_an_hour),
		cmocka_unit_test(jump_back_is_told),
		cmocka_unit_test(clock_years_ahead_is_fast_until_it_is_set),
		cmocka_unit_test(years_without_a_restart_make_no_clock_fast),
		cmocka_unit_test(where_nothing_is_known_only_jumps_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
