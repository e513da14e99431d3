/*
 * Days without school: dates and ranges of dates as people write them, and iCalendar files (RFC 5545) as
 * councils publish them. Days are counted in the calendar on the wall, from 1970-01-01, without time zones.
 */
#ifndef USHER_CALENDAR_H
#define USHER_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALENDAR_FILE_MAX (4 << 20)
#define CALENDAR_WHY_MAX 256

struct calendar_range {
	int32_t first, last; /* both days belong to it */
};

/* Grows as it is filled; start with zeros. */
struct calendar {
	struct calendar_range *ranges;
	size_t count, room;
};

/* 0 for 1970-01-01; month 1 to 12, day 1 to 31. */
int32_t calendar_day(int year, int month, int day);

/* Adds "2026-12-21" or "2026-12-21..2027-01-03". Returns 0, -EINVAL or -ENOMEM. */
int calendar_add_dates(struct calendar *calendar, const char *text);

/*
 * Adds the days of all events of an iCalendar file; each day that an event touches counts, cancelled events
 * don't. Events that repeat are refused. Returns 0, -ENOMEM, or -EBADMSG with a sentence in why that names
 * the line.
 */
int calendar_add_ics(struct calendar *calendar, const char *text, size_t len, char why[CALENDAR_WHY_MAX]);

/* The same from a file; why may then be about the file itself. */
int calendar_add_file(struct calendar *calendar, const char *path, char why[CALENDAR_WHY_MAX]);

/* Sorts the ranges and joins those that touch, for calendar_has(). */
void calendar_finish(struct calendar *calendar);
void calendar_clear(struct calendar *calendar);

/* ranges: as calendar_finish() left them. */
bool calendar_has(const struct calendar_range *ranges, size_t count, int32_t day);

#endif
