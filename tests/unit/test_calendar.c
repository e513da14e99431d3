/* Holidays as people and councils write them: what counts as a day without school, and what is refused with
 * its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/calendar.h"

#define WRAP(events) "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" events "END:VCALENDAR\r\n"
#define EVENT(properties) "BEGIN:VEVENT\r\nUID:1\r\n" properties "END:VEVENT\r\n"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int32_t day(int month, int of_month)
{
	return calendar_day(2026, month, of_month);
}

static void days_are_counted_from_1970(void **state)
{
	assert_int_equal(calendar_day(1970, 1, 1), 0);
	assert_int_equal(calendar_day(1970, 12, 31), 364);
	assert_int_equal(calendar_day(1969, 12, 31), -1);
	assert_int_equal(calendar_day(2000, 2, 29), 11016);
	assert_int_equal(calendar_day(2000, 3, 1), 11017);
	assert_int_equal(calendar_day(2026, 11, 22), 20779);
	assert_int_equal(calendar_day(2100, 3, 1) - calendar_day(2100, 2, 28), 1);
}

static void dates_and_ranges_hold_their_last_day(void **state)
{
	struct calendar calendar = { 0 };

	assert_int_equal(calendar_add_dates(&calendar, "2026-12-21..2027-01-03"), 0);
	assert_int_equal(calendar_add_dates(&calendar, "2026-10-26"), 0);
	assert_int_equal(calendar_add_dates(&calendar, "2027-01-04"), 0);
	assert_int_equal(calendar_add_dates(&calendar, "2026-12-24..2026-12-25"), 0);
	calendar_finish(&calendar);
	assert_int_equal(calendar.count, 2);
	assert_true(calendar_has(calendar.ranges, calendar.count, day(10, 26)));
	assert_false(calendar_has(calendar.ranges, calendar.count, day(10, 25)));
	assert_false(calendar_has(calendar.ranges, calendar.count, day(10, 27)));
	assert_false(calendar_has(calendar.ranges, calendar.count, day(12, 20)));
	assert_true(calendar_has(calendar.ranges, calendar.count, day(12, 21)));
	assert_true(calendar_has(calendar.ranges, calendar.count, day(12, 31)));
	assert_true(calendar_has(calendar.ranges, calendar.count, calendar_day(2027, 1, 4)));
	assert_false(calendar_has(calendar.ranges, calendar.count, calendar_day(2027, 1, 5)));
	assert_false(calendar_has(NULL, 0, 0));
	calendar_clear(&calendar);
}

static void no_dates_are_refused(void **state)
{
	static const char *const wrong[] = { "", "2026", "2026-02-30", "2026-13-01", "2026-00-10", "2026-1-1",
		"26-01-01", "2026-02-29", "2026-12-21 ", "2026-12-21...2026-12-22", "2026-12-21..",
		"2026-12-21..2026-12-20", "2026-12-21..2026-12-22x", "1969-12-31", "2026/12/21",
		"2026-12-21..2026-12" };
	struct calendar calendar = { 0 };

	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_int_equal(calendar_add_dates(&calendar, wrong[i]), -EINVAL);
	assert_int_equal(calendar.count, 0);
	assert_int_equal(calendar_add_dates(&calendar, "2028-02-29"), 0);
	calendar_clear(&calendar);
}

/* One event gives one range: first and last day, in 2026 (12 months and a day: 2027). */
static void assert_event(const char *ics, int32_t first, int32_t last, int line)
{
	struct calendar calendar = { 0 };
	char why[CALENDAR_WHY_MAX];

	if (calendar_add_ics(&calendar, ics, strlen(ics), why) != 0)
		print_error("%s\n", why);
	_assert_int_equal(calendar.count, 1, __FILE__, line);
	_assert_int_equal(calendar.ranges[0].first, first, __FILE__, line);
	_assert_int_equal(calendar.ranges[0].last, last, __FILE__, line);
	calendar_clear(&calendar);
}

#define event_is(properties, first, last) assert_event(WRAP(EVENT(properties)), first, last, __LINE__)

static void an_event_is_every_day_it_touches(void **state)
{
	event_is("DTSTART;VALUE=DATE:20261026\r\n", day(10, 26), day(10, 26));
	event_is("DTSTART;VALUE=DATE:20261026\r\nDTEND;VALUE=DATE:20261031\r\n", day(10, 26), day(10, 30));
	event_is("DTEND:20261031\r\nDTSTART:20261026\r\n", day(10, 26), day(10, 30));
	event_is("DTSTART:20261026\r\nDTEND:20261026\r\n", day(10, 26), day(10, 26));
	event_is("DTSTART:20261026\r\nDURATION:P1W\r\n", day(10, 26), day(11, 1));
	event_is("DTSTART:20261026\r\nDURATION:P5D\r\n", day(10, 26), day(10, 30));
	/* times: an afternoon is that day; midnight at the end belongs to nobody */
	event_is("DTSTART;TZID=Europe/London:20261026T090000\r\nDTEND;TZID=Europe/London:20261027T150000\r\n",
	        day(10, 26), day(10, 27));
	event_is("DTSTART:20261026T000000\r\nDTEND:20261027T000000\r\n", day(10, 26), day(10, 26));
	event_is("DTSTART:20261026T220000\r\nDURATION:PT2H\r\n", day(10, 26), day(10, 26));
	event_is("DTSTART:20261026T220000\r\nDURATION:P1DT2H1M\r\n", day(10, 26), day(10, 28));
	/* UTC is turned into the school's time: 23:30 on Saturday is 00:30 on Sunday in summer */
	event_is("DTSTART:20260718T233000Z\r\nDTEND:20260719T003000Z\r\n", day(7, 19), day(7, 19));
	/* folded, quoted colons, line feeds alone, lower case, a byte order mark */
	event_is(
	        "SUMMARY;X=\"a:b\":Half\r\n  term\\, all: of it\r\nDTSTART;VALUE=\r\n DATE:2026\r\n 1026\r\n",
	        day(10, 26), day(10, 26));
	assert_event("\xef\xbb\xbf"
	             "begin:vcalendar\nbegin:vevent\ndtstart:20261026\nend:vevent\nend:vcalendar",
	        day(10, 26), day(10, 26), __LINE__);
}

static void time_zones_and_alarms_are_no_events(void **state)
{
	assert_event(
	        WRAP("BEGIN:VTIMEZONE\r\nTZID:Europe/London\r\nBEGIN:STANDARD\r\nDTSTART:19701025T020000\r\n"
	             "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n" EVENT(
	                     "DTSTART:20261026\r\nBEGIN:VALARM\r\nDURATION:PT15M\r\nDTSTART:20200101\r\nEND:"
	                     "VALARM\r\n")),
	        day(10, 26), day(10, 26), __LINE__);
}

static void cancelled_events_do_not_count(void **state)
{
	assert_event(WRAP(EVENT("DTSTART:20261224\r\nSTATUS:CANCELLED\r\n")
	                             EVENT("DTSTART:20261026\r\nSTATUS:CONFIRMED\r\n")),
	        day(10, 26), day(10, 26), __LINE__);
}

/* Some 5.9 million years: with the day on which it begins, more days than 32 bits count. */
static void duration_beyond_all_days_is_refused(void **state)
{
	char why[CALENDAR_WHY_MAX], *text = NULL;
	struct calendar calendar = { 0 };
	size_t len;
	FILE *to = open_memstream(&text, &len);

	fputs("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261026\nDURATION:P", to);
	for (unsigned i = 0; i < 3067; i++)
		fputs("100000W", to);
	fputs("83376W\nEND:VEVENT\nEND:VCALENDAR\n", to);
	fclose(to);
	assert_int_equal(calendar_add_ics(&calendar, text, len, why), -EBADMSG);
	assert_non_null(strstr(why, "line 4: DURATION"));
	assert_int_equal(calendar.count, 0);
	calendar_clear(&calendar);
	free(text);
}

static void what_is_no_calendar_of_holidays_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{ "", "line 1: there is no event in the file" },
		{ "<html>\n<body>", "line 1: expected" },
		{ "a:b\n", "line 1: expected BEGIN:VCALENDAR" },
		{ WRAP(""), "there is no event" },
		{ WRAP(EVENT("")), "line 5: this event has no DTSTART" },
		{ WRAP(EVENT("DTSTART:20261301\r\n")), "line 5: DTSTART: expected a date" },
		{ WRAP(EVENT("DTSTART:2026-10-26\r\n")), "line 5: DTSTART" },
		{ WRAP(EVENT("DTSTART:20261026T2500\r\n")), "line 5: DTSTART" },
		{ WRAP(EVENT("DTSTART:20261026T090000X\r\n")), "line 5: DTSTART" },
		{ WRAP(EVENT("DTSTART:20261026\r\nDTEND:soon\r\n")), "line 6: DTEND" },
		{ WRAP(EVENT("DTSTART:20261026\r\nDTEND:20261020\r\n")),
		        "line 7: this event ends before it begins" },
		{ WRAP(EVENT("DTSTART:20261026\r\nDTEND:20281026\r\n")),
		        "line 7: this event lasts for more than a year" },
		{ WRAP(EVENT("DTSTART:20261026\r\nDURATION:P\r\n")), "line 6: DURATION" },
		{ WRAP(EVENT("DTSTART:20261026\r\nDURATION:PT1D\r\n")), "line 6: DURATION" },
		{ WRAP(EVENT("DTSTART:20261026\r\nDURATION:P99999999999D\r\n")), "line 6: DURATION" },
		{ WRAP(EVENT("DTSTART:20261026\r\nDURATION:P10000W\r\n")), "more than a year" },
		{ WRAP(EVENT("DTSTART:20261026\r\nRRULE:FREQ=YEARLY\r\n")), "line 6: events that repeat" },
		{ WRAP(EVENT("DTSTART:20261026\r\nRDATE:20261027\r\n")), "line 6: events that repeat" },
		{ WRAP("END:VEVENT\r\n"), "line 3: this END has no BEGIN" },
		{ "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261026\nEND:VEVENT\n", "cut short" },
		{ "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:2026102", "line 3: DTSTART" },
		{ "BEGIN:VCALENDAR\nBEGIN:a\nBEGIN:a\nBEGIN:a\nBEGIN:a\nBEGIN:a\nBEGIN:a\nBEGIN:a\nBEGIN:a\n",
		        "line 9: too many" },
	};

	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct calendar calendar = { 0 };
		char why[CALENDAR_WHY_MAX];
		assert_int_equal(
		        calendar_add_ics(&calendar, wrong[i].text, strlen(wrong[i].text), why), -EBADMSG);
		if (strstr(why, wrong[i].why) == NULL)
			fail_msg("%zu: '%s' instead of '%s'", i, why, wrong[i].why);
		calendar_clear(&calendar);
	}
}

static void hostile_files_are_refused(void **state)
{
	struct calendar calendar = { 0 };
	char why[CALENDAR_WHY_MAX];
	char *large = calloc(1, CALENDAR_FILE_MAX + 1);

	assert_non_null(large);
	assert_int_equal(calendar_add_ics(&calendar, large, 10, why), -EBADMSG);
	memset(large, '\n', CALENDAR_FILE_MAX + 1);
	assert_int_equal(calendar_add_ics(&calendar, large, CALENDAR_FILE_MAX + 1, why), -EBADMSG);
	assert_non_null(strstr(why, "larger than"));
	assert_int_equal(calendar_add_file(&calendar, "/nonexistent/terms.ics", why), -ENOENT);
	assert_int_equal(calendar_add_file(&calendar, "/", why), -EIO);
	free(large);
	calendar_clear(&calendar);
}

/* Every prefix and every flipped letter of a good file: read or refused, never more. */
static void a_broken_file_never_breaks_the_reader(void **state)
{
	static const char good[] = WRAP("BEGIN:VTIMEZONE\r\nEND:VTIMEZONE\r\n" EVENT(
	        "DTSTART;X=\"q\":20261026T100000Z\r\nDURATION:P1DT2H\r\nSUMMARY:a\r\n b\r\n"));
	char text[sizeof good], why[CALENDAR_WHY_MAX];

	for (size_t len = 0; len < sizeof good; len++) {
		for (unsigned char letter = 1; letter < 255; letter += 9) {
			struct calendar calendar = { 0 };
			memcpy(text, good, sizeof good);
			if (len + 1 < sizeof good)
				text[len] = (char)letter;
			calendar_add_ics(&calendar, text, sizeof good - 1, why);
			calendar_add_ics(&calendar, good, len, why);
			calendar_finish(&calendar);
			calendar_clear(&calendar);
		}
	}
}

int main(void)
{
	setenv("TZ", "Europe/London", 1);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(days_are_counted_from_1970),
		cmocka_unit_test(dates_and_ranges_hold_their_last_day),
		cmocka_unit_test(no_dates_are_refused),
		cmocka_unit_test(an_event_is_every_day_it_touches),
		cmocka_unit_test(time_zones_and_alarms_are_no_events),
		cmocka_unit_test(cancelled_events_do_not_count),
		cmocka_unit_test(duration_beyond_all_days_is_refused),
		cmocka_unit_test(what_is_no_calendar_of_holidays_is_refused_with_its_line),
		cmocka_unit_test(hostile_files_are_refused),
		cmocka_unit_test(a_broken_file_never_breaks_the_reader),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
