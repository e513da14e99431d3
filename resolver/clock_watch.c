#include "clock_watch.h"

#include <stdio.h>
#include <time.h>

#define TOLERANCE_S 60
#define JUMP_TOLD_S 3600
#define FAR_AHEAD_S (400 * INT64_C(86400)) /* no school leaves its resolver off for so long */

static const char *time_text(int64_t at_s, char text[32])
{
	time_t at = (time_t)at_s;
	struct tm tm;

	if (gmtime_r(&at, &tm) == NULL || strftime(text, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		return "?";
	return text;
}

static void jump_take(struct clock_watch *watch, const struct clock_reading *reading)
{
	int64_t apart_s = reading->wall_s - reading->steady_s, by_s = apart_s - watch->apart_s;

	if (by_s > TOLERANCE_S || by_s < -TOLERANCE_S) {
		watch->jumped_s = reading->steady_s;
		watch->jumped_by_s = by_s;
	}
	watch->apart_s = apart_s;
}

void clock_watch_look(
        struct clock_watch *watch, const struct clock_reading *reading, char text[CLOCK_TEXT_MAX])
{
	char now[32], past[32];

	text[0] = '\0';
	if (watch->begun_s == 0) {
		watch->begun_s = reading->steady_s;
		watch->known_s = reading->past_s;
		watch->apart_s = reading->wall_s - reading->steady_s;
	}
	jump_take(watch, reading);
	/* A daemon that runs for years gets no newer at what it knew when it began. */
	int64_t expected_s = watch->known_s + reading->steady_s - watch->begun_s;
	if (reading->wall_s < reading->past_s - TOLERANCE_S)
		snprintf(text, CLOCK_TEXT_MAX,
		        "it says %s, but lists, log or usherd itself are of %s: it is slow, or was fast then",
		        time_text(reading->wall_s, now), time_text(reading->past_s, past));
	else if (watch->known_s > 0 && reading->wall_s > expected_s + FAR_AHEAD_S)
		snprintf(text, CLOCK_TEXT_MAX,
		        "it says %s, more than a year after all that is here (%s): is it fast?",
		        time_text(reading->wall_s, now), time_text(expected_s, past));
	else if (watch->jumped_by_s != 0 && reading->steady_s - watch->jumped_s < JUMP_TOLD_S)
		snprintf(text, CLOCK_TEXT_MAX, "it was set %s by %lld s, and says %s now",
		        watch->jumped_by_s < 0 ? "back" : "ahead",
		        watch->jumped_by_s < 0 ? -(long long)watch->jumped_by_s
		                               : (long long)watch->jumped_by_s,
		        time_text(reading->wall_s, now));
}
