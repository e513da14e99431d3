#include "resolver/refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct told {
	unsigned lines;
	uint64_t more;
	uid_t uid;
	bool fails;
};

static bool tell(void *arg, uid_t uid, uint64_t more)
{
	struct told *told = arg;

	if (told->fails)
		return false;
	told->lines++;
	told->more += more;
	told->uid = uid;
	return true;
}

static void first_ten_of_a_minute_are_written_and_the_others_are_counted(void **state)
{
	struct refusals refusals = { 0 };
	struct told told = { 0 };

	(void)state;
	for (int i = 0; i < REFUSALS_FULL; i++)
		assert_true(refusals_add(&refusals, 1000, 100));
	for (int i = 0; i < 999; i++)
		assert_false(refusals_add(&refusals, 1000, 101));
	assert_true(refusals_add(&refusals, 1001, 101));
	refusals_tell(&refusals, 159, tell, &told);
	assert_int_equal(told.lines, 0);
	refusals_tell(&refusals, 160, tell, &told);
	assert_int_equal(told.lines, 1);
	assert_int_equal(told.more, 999);
	assert_int_equal(told.uid, 1000);
	assert_true(refusals_add(&refusals, 1000, 161));
}

static void one_alone_is_told_no_second_time(void **state)
{
	struct refusals refusals = { 0 };
	struct told told = { 0 };

	(void)state;
	assert_true(refusals_add(&refusals, 0, 5));
	refusals_tell(&refusals, INT64_MAX, tell, &told);
	assert_int_equal(told.lines, 0);
	assert_true(refusals_add(&refusals, 0, 5));
	assert_true(refusals_add(&refusals, 0, 5 + REFUSALS_WINDOW_S));
}

static void count_that_cannot_be_written_is_kept(void **state)
{
	struct refusals refusals = { 0 };
	struct told told = { .fails = true };

	(void)state;
	for (int i = 0; i <= REFUSALS_FULL; i++)
		refusals_add(&refusals, 7, 1);
	refusals_tell(&refusals, 100, tell, &told);
	assert_false(refusals_add(&refusals, 7, 101));
	told.fails = false;
	refusals_tell(&refusals, 102, tell, &told);
	assert_int_equal(told.more, 2);
}

static void more_people_than_there_is_room_for_are_counted_together(void **state)
{
	struct refusals refusals = { 0 };
	struct told told = { 0 };
	unsigned full = 0;

	(void)state;
	for (uid_t uid = 0; uid < 1000; uid++)
		full += refusals_add(&refusals, uid, 10);
	assert_int_equal(full, REFUSALS_PEOPLE + REFUSALS_FULL);
	refusals_tell(&refusals, INT64_MAX, tell, &told);
	assert_int_equal(told.lines, 1);
	assert_int_equal(told.more, 1000 - REFUSALS_PEOPLE - REFUSALS_FULL);
	assert_int_equal(told.uid, (uid_t)-1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_ten_of_a_minute_are_written_and_the_others_are_counted),
		cmocka_unit_test(one_alone_is_told_no_second_time),
		cmocka_unit_test(count_that_cannot_be_written_is_kept),
		cmocka_unit_test(more_people_than_there_is_room_for_are_counted_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
