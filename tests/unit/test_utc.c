/* Times as files and JSON have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resolver/utc.h"

static void seconds_are_told_and_read(void **state)
{
	char text[UTC_TEXT_LEN];
	int64_t s;

	(void)state;
	assert_string_equal(utc_text(1795515302, text), "2026-11-24T10:15:02Z");
	assert_true(utc_read(text, &s));
	assert_int_equal(s, 1795515302);
	assert_string_equal(utc_text(0, text), "1970-01-01T00:00:00Z");
}

static void microseconds_have_six_digits(void **state)
{
	char text[UTC_TEXT_LEN];
	int64_t s;

	(void)state;
	assert_string_equal(utc_text_us(1795515302000042, text), "2026-11-24T10:15:02.000042Z");
	assert_true(utc_read(text, &s));
	assert_int_equal(s, 1795515302);
	assert_string_equal(utc_text_us(-1, text), "1969-12-31T23:59:59.999999Z");
}

static void any_number_fits(void **state)
{
	char text[UTC_TEXT_LEN];

	(void)state;
	assert_string_equal(utc_text(INT64_MAX, text), "");
	assert_string_equal(utc_text(INT64_MIN, text), "");
	assert_string_equal(utc_text_us(INT64_MAX, text), "294247-01-10T04:00:54.775807Z");
	assert_string_equal(utc_text_us(INT64_MIN, text), "-290308-12-21T19:59:05.224192Z");
}

static void what_is_no_time_is_not_read(void **state)
{
	static const char *const texts[] = { "", "yesterday", "2026-11-24", "2026-11-24 09:35:02",
		"2026-13-24T10:15:02Z", "2026-11-24T25:35:02Z" };
	int64_t s = 7;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_false(utc_read(texts[i], &s));
	assert_int_equal(s, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seconds_are_told_and_read),
		cmocka_unit_test(microseconds_have_six_digits),
		cmocka_unit_test(any_number_fits),
		cmocka_unit_test(what_is_no_time_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
