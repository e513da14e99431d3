/* A point in time as a person types and reads it. */
#include "commands.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Reads exactly count digits. */
static bool digits(const char **text, unsigned count, int *value)
{
	*value = 0;
	for (unsigned i = 0; i < count; i++, (*text)++) {
		if (!isdigit((unsigned char)**text))
			return false;
		*value = *value * 10 + (**text - '0');
	}
	return true;
}

static bool literal(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

/* YYYY-MM-DD; the 30th of February is none. */
static bool read_date(const char **text, struct tm *tm)
{
	if (!digits(text, 4, &tm->tm_year) || !literal(text, '-') || !digits(text, 2, &tm->tm_mon) ||
	        !literal(text, '-') || !digits(text, 2, &tm->tm_mday))
		return false;
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	struct tm same = { .tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday };
	timegm(&same);
	return same.tm_mon == tm->tm_mon && same.tm_mday == tm->tm_mday;
}

/* HH:MM[:SS[.fraction]]; a fraction is dropped, a leap second is the next one. */
static bool read_clock(const char **text, struct tm *tm)
{
	if (!digits(text, 2, &tm->tm_hour) || !literal(text, ':') || !digits(text, 2, &tm->tm_min))
		return false;
	if (literal(text, ':')) {
		if (!digits(text, 2, &tm->tm_sec))
			return false;
		if (literal(text, '.')) {
			if (!isdigit((unsigned char)**text))
				return false;
			*text += strspn(*text, "0123456789");
		}
	}
	return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

/* Z, +HH:MM or -HH:MM of RFC 3339. */
static bool read_offset(const char **text, int *offset_s)
{
	int hours, minutes, sign = **text == '-' ? -1 : 1;

	*offset_s = 0;
	if (literal(text, 'Z') || literal(text, 'z'))
		return true;
	if (!literal(text, '+') && !literal(text, '-'))
		return false;
	if (!digits(text, 2, &hours) || !literal(text, ':') || !digits(text, 2, &minutes) || hours > 23 ||
	        minutes > 59)
		return false;
	*offset_s = sign * (hours * 3600 + minutes * 60);
	return true;
}

static int read_calendar(const char *text, int64_t *s)
{
	struct tm tm = { .tm_isdst = -1 };
	int offset_s;

	if (!read_date(&text, &tm))
		return -EINVAL;
	if (*text == '\0') {
		*s = mktime(&tm);
		return 0;
	}
	if (!literal(&text, ' ') && !literal(&text, 'T') && !literal(&text, 't'))
		return -EINVAL;
	if (!read_clock(&text, &tm))
		return -EINVAL;
	if (*text == '\0') {
		*s = mktime(&tm);
		return 0;
	}
	if (!read_offset(&text, &offset_s) || *text != '\0')
		return -EINVAL;
	*s = timegm(&tm) - offset_s;
	return 0;
}

/* Local midnight, some days from today. */
static int64_t midnight(time_t now, int days)
{
	struct tm tm;

	localtime_r(&now, &tm);
	tm.tm_mday += days;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	return mktime(&tm);
}

int command_time(const char *text, bool past, int64_t *s)
{
	time_t now = time(NULL);
	uint64_t ms;

	if (strcmp(text, "now") == 0) {
		*s = now;
	} else if (strcmp(text, "today") == 0) {
		*s = midnight(now, 0);
	} else if (strcmp(text, "yesterday") == 0) {
		*s = midnight(now, -1);
	} else if (config_duration_parse(text, &ms) == 0) {
		int64_t length_s = (int64_t)(ms / 1000);
		*s = past ? now - length_s : now + length_s;
	} else {
		return read_calendar(text, s);
	}
	return 0;
}

const char *command_local_time(const char *utc, char text[UTC_TEXT_LEN])
{
	struct tm tm;
	int64_t s;

	time_t at = utc_read(utc, &s) ? (time_t)s : -1;
	if (at == -1 || !localtime_r(&at, &tm))
		snprintf(text, UTC_TEXT_LEN, "%s", utc);
	else
		strftime(text, UTC_TEXT_LEN, "%Y-%m-%d %H:%M:%S", &tm);
	return text;
}
