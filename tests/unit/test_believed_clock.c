#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "resolver/believed_clock.h"

#define DAY 86400
#define WRITTEN (20000 * (int64_t)DAY)

static void clock_that_goes_on_is_believed(void **state)
{
	(void)state;
	struct believed_clock clock = { .believed_s = WRITTEN };
	for (int64_t hour = 1; hour < 200; hour++)
		assert_int_equal(
		        believed_clock_at(&clock, WRITTEN + hour * 3600, hour * 3600), WRITTEN + hour * 3600);
	assert_int_equal(clock.doubted_uptime_s, 0);
}

static void clock_far_ahead_is_believed_after_a_day(void **state)
{
	(void)state;
	struct believed_clock clock = { .believed_s = WRITTEN };
	int64_t ahead = WRITTEN + 400 * DAY;
	assert_int_equal(believed_clock_at(&clock, ahead, 10), WRITTEN + 10);
	assert_int_equal(believed_clock_at(&clock, ahead + DAY - 1, DAY + 9), WRITTEN + DAY + 9);
	assert_int_equal(believed_clock_at(&clock, ahead + DAY, DAY + 10), ahead + DAY);
	assert_int_equal(believed_clock_at(&clock, ahead + DAY + 5, DAY + 15), ahead + DAY + 5);
}

static void clock_that_was_put_right_is_believed_at_once(void **state)
{
	(void)state;
	struct believed_clock clock = { .believed_s = WRITTEN };
	believed_clock_at(&clock, WRITTEN + 400 * DAY, 10);
	assert_int_equal(believed_clock_at(&clock, WRITTEN + 20, 20), WRITTEN + 20);
	assert_int_equal(clock.doubted_uptime_s, 0);
}

static void first_clock_of_all_is_believed(void **state)
{
	(void)state;
	struct believed_clock clock = { 0 };
	assert_int_equal(believed_clock_at(&clock, WRITTEN, 5), WRITTEN);
	assert_int_equal(believed_clock_at(&clock, WRITTEN + 3 * DAY, 10), WRITTEN + 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clock_that_goes_on_is_believed),
		cmocka_unit_test(clock_far_ahead_is_believed_after_a_day),
		cmocka_unit_test(clock_that_was_put_right_is_believed_at_once),
		cmocka_unit_test(first_clock_of_all_is_believed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
