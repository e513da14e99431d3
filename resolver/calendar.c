/*
 * Of RFC 5545 only what a list of holidays needs: folded lines (3.1), VEVENT with DTSTART and DTEND or
 * DURATION as dates or times (3.8.2). What would make days appear that are not written down (3.8.5,
 * recurrence) is refused, not guessed.
 */
#include "calendar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EVENT_DAYS_MAX 366
#define DEPTH_MAX 8
#define DAY_S 86400
#define DURATION_MAX_S (INT64_C(10000) * 7 * DAY_S) /* too long for an event, and told as that */

/* ---- days ---- */

/* Days from civil: eras of 400 years that begin in March, so that the leap day is the last one. */
int32_t calendar_day(int year, int month, int day)
{
	year -= month <= 2;
	int era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
	int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool date_is_real(int year, int month, int day)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	if (year < 1970 || year > 9999 || month < 1 || month > 12 || day < 1)
		return false;
	return day <= days[month - 1] + (month == 2 && leap);
}

/* So many digits as a number, or -1. */
static int digits(const char *text, int count)
{
	int number = 0;

	for (int i = 0; i < count; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		number = number * 10 + text[i] - '0';
	}
	return number;
}

static int range_add(struct calendar *calendar, int32_t first, int32_t last)
{
	if (calendar->count == calendar->room) {
		size_t room = calendar->room > 0 ? calendar->room * 2 : 16;
		struct calendar_range *ranges = reallocarray(calendar->ranges, room, sizeof *ranges);
		if (ranges == NULL)
			return -ENOMEM;
		calendar->ranges = ranges;
		calendar->room = room;
	}
	calendar->ranges[calendar->count++] = (struct calendar_range){ first, last };
	return 0;
}

/* "2026-12-21"; returns false if it is no such day. */
static bool date_read(const char *text, int32_t *day)
{
	if (strnlen(text, 10) < 10 || text[4] != '-' || text[7] != '-')
		return false;
	int year = digits(text, 4), month = digits(text + 5, 2), of_month = digits(text + 8, 2);
	if (!date_is_real(year, month, of_month))
		return false;
	*day = calendar_day(year, month, of_month);
	return true;
}

int calendar_add_dates(struct calendar *calendar, const char *text)
{
	int32_t first, last;

	if (!date_read(text, &first))
		return -EINVAL;
	last = first;
	if (text[10] != '\0' &&
	        (strncmp(text + 10, "..", 2) != 0 || !date_read(text + 12, &last) || text[22] != '\0'))
		return -EINVAL;
	return last < first ? -EINVAL : range_add(calendar, first, last);
}

static int range_compare(const void *a, const void *b)
{
	const struct calendar_range *left = a, *right = b;

	return left->first < right->first ? -1 : left->first > right->first;
}

void calendar_finish(struct calendar *calendar)
{
	size_t kept = 0;

	if (calendar->count == 0)
		return;
	qsort(calendar->ranges, calendar->count, sizeof *calendar->ranges, range_compare);
	for (size_t i = 1; i < calendar->count; i++) {
		struct calendar_range *last = &calendar->ranges[kept];
		const struct calendar_range *next = &calendar->ranges[i];
		if (next->first > last->last + 1)
			calendar->ranges[++kept] = *next;
		else if (next->last > last->last)
			last->last = next->last;
	}
	calendar->count = kept + 1;
}

void calendar_clear(struct calendar *calendar)
{
	free(calendar->ranges);
	*calendar = (struct calendar){ 0 };
}

bool calendar_has(const struct calendar_range *ranges, size_t count, int32_t day)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (day > ranges[middle].last)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && day >= ranges[low].first;
}

/* ---- iCalendar ---- */

/* Where an event begins or ends: a day, and for a time the second of that day. */
struct moment_ics {
	bool known;
	int32_t day, second;
};

struct reader {
	struct calendar *calendar;
	char *why;
	unsigned line, next_line; /* of the file, for people: folded lines are many */
	unsigned events;
	char component[DEPTH_MAX][16];
	unsigned depth;
	struct moment_ics start, end;
	int64_t duration_s;
	bool has_duration, cancelled;
};

static int wrong(struct reader *reader, const char *what)
{
	snprintf(reader->why, CALENDAR_WHY_MAX, "line %u: %s", reader->line, what);
	return -EBADMSG;
}

/* DATE (3.3.4) or DATE-TIME (3.3.5); UTC is turned into local time, any other zone is taken for the school's.
 */
static bool moment_read(struct moment_ics *moment, const char *value)
{
	int year = digits(value, 4), month = year < 0 ? -1 : digits(value + 4, 2),
	    day = month < 0 ? -1 : digits(value + 6, 2);

	if (day < 0 || !date_is_real(year, month, day))
		return false;
	*moment = (struct moment_ics){ .known = true, .day = calendar_day(year, month, day) };
	if (value[8] == '\0')
		return true;
	int hour = value[8] == 'T' ? digits(value + 9, 2) : -1,
	    minute = hour < 0 ? -1 : digits(value + 11, 2), second = minute < 0 ? -1 : digits(value + 13, 2);
	if (second < 0 || hour > 23 || minute > 59 || second > 60)
		return false;
	moment->second = hour * 3600 + minute * 60 + second;
	if (value[15] == '\0')
		return true;
	if (strcmp(value + 15, "Z") != 0)
		return false;
	time_t utc = (time_t)moment->day * DAY_S + moment->second;
	struct tm tm;
	if (localtime_r(&utc, &tm) == NULL)
		return false;
	moment->day = calendar_day(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	moment->second = tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
	return true;
}

/* P2W, P3D, P1DT12H30M (3.3.6). */
static bool duration_read(const char *value, int64_t *seconds)
{
	static const struct {
		char unit;
		bool of_time;
		int64_t s;
	} units[] = { { 'W', false, 7 * DAY_S }, { 'D', false, DAY_S }, { 'H', true, 3600 },
		{ 'M', true, 60 }, { 'S', true, 1 } };
	bool time = false, any = false;

	*seconds = 0;
	if (*value == '+')
		value++;
	if (*value++ != 'P')
		return false;
	while (*value != '\0') {
		char *end;
		if (*value == 'T' && !time) {
			time = true;
			value++;
			continue;
		}
		if (*value < '0' || *value > '9')
			return false;
		long number = strtol(value, &end, 10);
		bool found = false;
		for (size_t i = 0; i < sizeof units / sizeof *units; i++)
			if (units[i].unit == *end && units[i].of_time == time && number <= 100000) {
				*seconds += number * units[i].s;
				found = any = true;
			}
		if (!found || *seconds > DURATION_MAX_S)
			return false;
		value = end + 1;
	}
	return any;
}

/* The last day that an event touches: its end is the first moment that does not belong to it. */
static int32_t event_last_day(const struct reader *reader)
{
	const struct moment_ics *start = &reader->start;
	struct moment_ics end = reader->end;

	if (reader->has_duration) {
		int64_t s = (int64_t)start->second + reader->duration_s;
		end = (struct moment_ics){ .known = true,
			.day = start->day + (int32_t)(s / DAY_S),
			.second = (int32_t)(s % DAY_S) };
	}
	if (!end.known || end.day <= start->day)
		return start->day;
	return end.second == 0 ? end.day - 1 : end.day;
}

static int event_end(struct reader *reader)
{
	if (!reader->start.known)
		return wrong(reader, "this event has no DTSTART");
	if (reader->end.known && reader->end.day < reader->start.day)
		return wrong(reader, "this event ends before it begins");
	int32_t last = event_last_day(reader);
	if (last - reader->start.day >= EVENT_DAYS_MAX)
		return wrong(reader, "this event lasts for more than a year");
	reader->events++;
	return reader->cancelled ? 0 : range_add(reader->calendar, reader->start.day, last);
}

static int component_begin(struct reader *reader, const char *name)
{
	if (reader->depth == DEPTH_MAX)
		return wrong(reader, "too many components in each other");
	if (reader->depth == 0 && strcasecmp(name, "VCALENDAR") != 0)
		return wrong(reader, "expected BEGIN:VCALENDAR: this is no iCalendar file");
	snprintf(reader->component[reader->depth++], sizeof reader->component[0], "%s", name);
	if (strcasecmp(name, "VEVENT") == 0) {
		reader->start = reader->end = (struct moment_ics){ 0 };
		reader->has_duration = reader->cancelled = false;
	}
	return 0;
}

static int component_end(struct reader *reader, const char *name)
{
	if (reader->depth == 0 ||
	        strncasecmp(reader->component[reader->depth - 1], name, sizeof reader->component[0] - 1) != 0)
		return wrong(reader, "this END has no BEGIN");
	reader->depth--;
	return strcasecmp(name, "VEVENT") == 0 ? event_end(reader) : 0;
}

static int event_property(struct reader *reader, const char *name, const char *value)
{
	static const char *const repeats[] = { "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID" };

	for (size_t i = 0; i < sizeof repeats / sizeof *repeats; i++)
		if (strcasecmp(name, repeats[i]) == 0)
			return wrong(reader, "events that repeat are not understood: write each of their "
			                     "days as an event");
	if (strcasecmp(name, "STATUS") == 0)
		reader->cancelled = strcasecmp(value, "CANCELLED") == 0;
	else if (strcasecmp(name, "DTSTART") == 0 && !moment_read(&reader->start, value))
		return wrong(reader, "DTSTART: expected a date such as 20261221, or one with a time");
	else if (strcasecmp(name, "DTEND") == 0 && !moment_read(&reader->end, value))
		return wrong(reader, "DTEND: expected a date such as 20270104, or one with a time");
	else if (strcasecmp(name, "DURATION") == 0) {
		reader->has_duration = true;
		if (!duration_read(value, &reader->duration_s))
			return wrong(reader, "DURATION: expected one such as P14D");
	}
	return 0;
}

/* "NAME;PARAMETER=…:VALUE", where a quoted parameter may hold colons (3.2). */
static int line_read(struct reader *reader, char *line)
{
	bool quoted = false;
	char *colon = line;

	if (*line == '\0')
		return 0;
	for (; *colon != '\0' && (quoted || *colon != ':'); colon++)
		quoted ^= *colon == '"';
	if (*colon == '\0')
		return wrong(reader, "expected NAME:VALUE: this is no iCalendar file");
	*colon = '\0';
	const char *value = colon + 1;
	line[strcspn(line, ";")] = '\0';
	if (strcasecmp(line, "BEGIN") == 0)
		return component_begin(reader, value);
	if (reader->depth == 0)
		return wrong(reader, "expected BEGIN:VCALENDAR: this is no iCalendar file");
	if (strcasecmp(line, "END") == 0)
		return component_end(reader, value);
	if (strcasecmp(reader->component[reader->depth - 1], "VEVENT") == 0)
		return event_property(reader, line, value);
	return 0;
}

/* Takes the next line, unfolded, out of *text and ends it with NUL. NULL at the end. */
static char *line_next(struct reader *reader, char **text)
{
	char *line = *text, *from = line, *to = line;

	if (*line == '\0')
		return NULL;
	reader->line = reader->next_line;
	for (; *from != '\0'; from++) {
		if (*from == '\r' && from[1] == '\n')
			continue;
		if (*from != '\n') {
			*to++ = *from;
			continue;
		}
		reader->next_line++;
		if (from[1] != ' ' && from[1] != '\t') {
			from++;
			break;
		}
		from++; /* a folded line goes on behind its first blank */
	}
	*text = from;
	*to = '\0';
	return line;
}

int calendar_add_ics(struct calendar *calendar, const char *text, size_t len, char why[CALENDAR_WHY_MAX])
{
	struct reader reader = { .calendar = calendar, .why = why, .line = 1, .next_line = 1 };
	char *copy = len <= CALENDAR_FILE_MAX ? malloc(len + 1) : NULL, *at = copy, *line;
	int ret = copy != NULL ? 0 : -ENOMEM;

	*why = '\0';
	if (len > CALENDAR_FILE_MAX || memchr(text, '\0', len) != NULL) {
		free(copy);
		return wrong(&reader,
		        len > CALENDAR_FILE_MAX ? "the file is larger than 4 MiB" : "this is no text");
	}
	if (ret == 0) {
		memcpy(copy, text, len);
		copy[len] = '\0';
		if (strncmp(at, "\xef\xbb\xbf", 3) == 0)
			at += 3;
	}
	while (ret == 0 && (line = line_next(&reader, &at)) != NULL)
		ret = line_read(&reader, line);
	free(copy);
	if (ret == 0 && reader.depth > 0)
		ret = wrong(&reader, "the file ends before END:VCALENDAR: it was cut short");
	if (ret == 0 && reader.events == 0)
		ret = wrong(&reader, "there is no event in the file");
	return ret;
}

int calendar_add_file(struct calendar *calendar, const char *path, char why[CALENDAR_WHY_MAX])
{
	char *text = malloc(CALENDAR_FILE_MAX + 1);
	FILE *file = text != NULL ? fopen(path, "re") : NULL;

	if (file == NULL) {
		int ret = text == NULL ? -ENOMEM : -errno;
		snprintf(why, CALENDAR_WHY_MAX, "%s", strerror(-ret));
		free(text);
		return ret;
	}
	size_t len = fread(text, 1, CALENDAR_FILE_MAX + 1, file);
	int ret = ferror(file) ? -EIO : 0;
	fclose(file);
	if (ret < 0)
		snprintf(why, CALENDAR_WHY_MAX, "%s", strerror(-ret));
	else
		ret = calendar_add_ics(calendar, text, len, why);
	free(text);
	return ret;
}
