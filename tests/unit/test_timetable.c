/* The school's clock: periods over midnight, terms, and the two nights a year in which clocks change; when it
 * changes next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "resolver/calendar.h"
#include "resolver/policy.h"

#define ALL_DAYS 0x7f
#define WEEKDAYS 0x1f
#define AT(hour, minute) ((hour)*60 + (minute))

enum { LUNCH, NIGHT, WHOLE, EVENING, PERIODS };
static struct config_period periods[PERIODS] = {
	[LUNCH] = { "lunch", PERIOD_TERM, WEEKDAYS, AT(12, 10), AT(13, 0) },
	[NIGHT] = { "night", PERIOD_ALWAYS, ALL_DAYS, AT(21, 0), AT(7, 0) },
	[WHOLE] = { "whole", PERIOD_HOLIDAYS, ALL_DAYS, 0, AT(24, 0) },
	[EVENING] = { "evening", PERIOD_TERM, 1 << 4, AT(18, 0), AT(24, 0) },
};
static struct calendar_range holidays[1];
static struct config_profile_period uses[PERIODS];
static struct config_profile profile = { .name = "pupils", .periods = uses };
static const struct config config = {
	.periods = periods,
	.period_count = PERIODS,
	.holiday_ranges = holidays,
	.holiday_range_count = 1,
	.profiles = &profile,
	.profile_count = 1,
};

/* Each period blocks a category of its own, so that its beginning and end are changes. */
static void profile_uses(unsigned count, ...)
{
	va_list list;

	va_start(list, count);
	for (unsigned i = 0; i < count; i++) {
		uses[i].period = va_arg(list, unsigned);
		uses[i].block = UINT64_C(1) << i;
		uses[i].unblock = 0;
	}
	va_end(list);
	profile.period_count = count;
}

/* "2026-10-25 00:30" in UTC */
static int64_t utc(const char *text)
{
	struct tm tm = { 0 };

	assert_non_null(strptime(text, "%Y-%m-%d %H:%M", &tm));
	return (int64_t)timegm(&tm);
}

static bool is_in(unsigned period, const char *text)
{
	struct moment now = moment_at(utc(text));

	return timetable_is_in(&config, &periods[period], &now);
}

static uint32_t next_change(const char *text, uint32_t horizon_s)
{
	struct moment now = moment_at(utc(text));

	return policy_next_change(&config, 0, &now, horizon_s);
}

static void a_moment_is_local(void **state)
{
	struct moment summer = moment_at(utc("2026-06-21 23:30")); /* 00:30 on Monday */

	assert_int_equal(summer.weekday, 0);
	assert_int_equal(summer.minute, 30);
	assert_int_equal(summer.day, calendar_day(2026, 6, 22));
}

static void a_term_period_rests_in_the_holidays(void **state)
{
	holidays[0] = (struct calendar_range){ calendar_day(2026, 12, 21), calendar_day(2027, 1, 3) };
	assert_true(is_in(LUNCH, "2026-12-18 12:30"));
	assert_false(is_in(LUNCH, "2026-12-21 12:30"));
	assert_false(is_in(LUNCH, "2027-01-01 12:30"));
	assert_true(is_in(LUNCH, "2027-01-04 12:30"));
	assert_false(is_in(WHOLE, "2026-12-20 23:59"));
	assert_true(is_in(WHOLE, "2026-12-21 00:00"));
	assert_true(is_in(WHOLE, "2027-01-03 23:59"));
	assert_false(is_in(WHOLE, "2027-01-04 00:00"));
	assert_true(is_in(NIGHT, "2026-12-25 22:00"));
}

/* The evening of the last day of term goes on over midnight into the holidays; that of the last holiday does
 * not begin. */
static void a_night_belongs_to_the_day_on_which_it_begins(void **state)
{
	holidays[0] = (struct calendar_range){ calendar_day(2026, 12, 21), calendar_day(2027, 1, 3) };
	periods[NIGHT].when = PERIOD_TERM;
	assert_true(is_in(NIGHT, "2026-12-20 22:00"));
	assert_true(is_in(NIGHT, "2026-12-21 06:59"));
	assert_false(is_in(NIGHT, "2026-12-21 22:00"));
	assert_false(is_in(NIGHT, "2027-01-04 06:59"));
	assert_true(is_in(NIGHT, "2027-01-04 22:00"));
	periods[NIGHT].when = PERIOD_HOLIDAYS;
	assert_false(is_in(NIGHT, "2026-12-21 06:59"));
	assert_true(is_in(NIGHT, "2027-01-04 06:59"));
	periods[NIGHT].when = PERIOD_ALWAYS;
}

static void the_next_change_is_the_next_beginning_or_end(void **state)
{
	profile_uses(1, LUNCH);
	assert_int_equal(next_change("2026-11-23 12:00", 3600), 600);
	assert_int_equal(next_change("2026-11-23 12:09", 3600), 60);
	assert_int_equal(next_change("2026-11-23 12:10", 3600), 50 * 60);
	assert_int_equal(next_change("2026-11-23 11:10", 3600), 3600);
	assert_int_equal(next_change("2026-11-23 11:09", 3600), UINT32_MAX);
	assert_int_equal(next_change("2026-11-23 13:00", 3600), UINT32_MAX);
	/* no lunch at weekends, so nothing changes there */
	assert_int_equal(next_change("2026-11-27 13:00", 7 * 86400), (2 * 24 + 23) * 3600 + 600);
}

static void a_change_at_midnight_counts(void **state)
{
	profile_uses(2, EVENING, WHOLE);
	holidays[0] = (struct calendar_range){ calendar_day(2026, 11, 29), calendar_day(2026, 11, 29) };
	assert_int_equal(next_change("2026-11-27 23:00", 7200), 3600); /* Friday's evening ends */
	assert_int_equal(next_change("2026-11-28 23:30", 7200), 1800); /* the holiday begins */
	assert_int_equal(next_change("2026-11-29 23:45", 7200), 900);  /* and ends */
	assert_int_equal(next_change("2026-11-30 23:45", 7200), UINT32_MAX);
}

static void two_periods_that_say_the_same_change_nothing(void **state)
{
	profile_uses(2, NIGHT, NIGHT);
	uses[1].block = uses[0].block;
	assert_int_equal(next_change("2026-11-23 20:59", 3600), 60);
	profile_uses(0);
	assert_int_equal(next_change("2026-11-23 20:59", 3600), UINT32_MAX);
}

/* 2026-10-25: at 02:00 it is 01:00 once more. */
static void in_autumn_an_hour_comes_twice(void **state)
{
	struct config_period before = periods[LUNCH];
	periods[LUNCH] = (struct config_period){ "dst", PERIOD_ALWAYS, ALL_DAYS, AT(1, 30), AT(1, 45) };
	assert_true(is_in(LUNCH, "2026-10-25 00:30"));
	assert_false(is_in(LUNCH, "2026-10-25 00:45"));
	assert_true(is_in(LUNCH, "2026-10-25 01:30"));
	assert_false(is_in(LUNCH, "2026-10-25 01:45"));
	profile_uses(1, LUNCH);
	assert_int_equal(next_change("2026-10-25 00:00", 86400), 30 * 60);
	assert_int_equal(next_change("2026-10-25 00:30", 86400), 15 * 60);
	assert_int_equal(next_change("2026-10-25 00:45", 86400), 45 * 60);
	assert_int_equal(next_change("2026-10-25 01:30", 86400), 15 * 60);
	/* one that is open when the clocks go back ends, and begins again: 01:00 to 01:30 and 01:00 to 01:30
	 */
	periods[LUNCH].from_min = AT(0, 0);
	periods[LUNCH].to_min = AT(1, 30);
	assert_int_equal(next_change("2026-10-24 23:00", 86400), 90 * 60);
	assert_int_equal(next_change("2026-10-25 00:30", 86400), 30 * 60);
	assert_int_equal(next_change("2026-10-25 01:00", 86400), 30 * 60);
	periods[LUNCH] = before;
	/* the night is an hour longer */
	profile_uses(1, NIGHT);
	assert_int_equal(next_change("2026-10-24 20:00", 86400), 11 * 3600);
}

/* 2027-03-28: at 01:00 it is 02:00. */
static void in_spring_an_hour_is_missing(void **state)
{
	struct config_period before = periods[LUNCH];
	periods[LUNCH] = (struct config_period){ "dst", PERIOD_ALWAYS, ALL_DAYS, AT(1, 30), AT(1, 45) };
	profile_uses(1, LUNCH);
	assert_int_equal(next_change("2027-03-28 00:00", 12 * 3600), UINT32_MAX);
	periods[LUNCH].to_min = AT(3, 0);
	assert_false(is_in(LUNCH, "2027-03-28 00:59"));
	assert_true(is_in(LUNCH, "2027-03-28 01:00"));
	assert_int_equal(next_change("2027-03-28 00:10", 12 * 3600), 50 * 60);
	assert_int_equal(next_change("2027-03-28 01:00", 12 * 3600), 3600);
	periods[LUNCH] = before;
	profile_uses(1, NIGHT);
	assert_int_equal(next_change("2027-03-27 21:00", 86400), 9 * 3600);
}

/* What it says against every minute of a week with a change of the clocks, asked one by one. */
static void it_agrees_with_looking_at_every_minute(void **state)
{
	static const char *const weeks[] = { "2026-10-22 00:00", "2027-03-25 00:00", "2026-12-19 00:00" };

	holidays[0] = (struct calendar_range){ calendar_day(2026, 12, 21), calendar_day(2027, 3, 28) };
	profile_uses(4, LUNCH, NIGHT, WHOLE, EVENING);
	for (unsigned week = 0; week < 3; week++) {
		int64_t change = 0;
		for (int64_t minute = 6 * 1440; minute-- > 0;) {
			struct moment now = moment_at(utc(weeks[week]) + minute * 60),
			              next = moment_at(now.utc_s + 60);
			if (policy_blocked_categories(&config, 0, &now) !=
			        policy_blocked_categories(&config, 0, &next))
				change = next.utc_s;
			if (change > 0)
				assert_int_equal(
				        policy_next_change(&config, 0, &now, 7 * 86400), change - now.utc_s);
		}
	}
}

int main(void)
{
	setenv("TZ", "Europe/London", 1);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_moment_is_local),
		cmocka_unit_test(a_term_period_rests_in_the_holidays),
		cmocka_unit_test(a_night_belongs_to_the_day_on_which_it_begins),
		cmocka_unit_test(the_next_change_is_the_next_beginning_or_end),
		cmocka_unit_test(a_change_at_midnight_counts),
		cmocka_unit_test(two_periods_that_say_the_same_change_nothing),
		cmocka_unit_test(in_autumn_an_hour_comes_twice),
		cmocka_unit_test(in_spring_an_hour_is_missing),
		cmocka_unit_test(it_agrees_with_looking_at_every_minute),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
