#include "timetable.h"

#include <time.h>

#include "calendar.h"

#define DAY_MIN 1440

struct moment moment_at(int64_t utc_s)
{
	time_t t = (time_t)utc_s;
	struct tm tm = { 0 };

	localtime_r(&t, &tm);
	return (struct moment){ .utc_s = utc_s,
		.day = calendar_day(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday),
		.minute = (uint16_t)(tm.tm_hour * 60 + tm.tm_min),
		.weekday = (uint8_t)((tm.tm_wday + 6) % 7) };
}

/* Whether a period begins on that day: by its weekdays, and by terms and holidays. */
static bool begins_on(
        const struct config *config, const struct config_period *period, unsigned weekday, int32_t day)
{
	if ((period->days >> weekday & 1) == 0)
		return false;
	return period->when == PERIOD_ALWAYS ||
	       calendar_has(config->holiday_ranges, config->holiday_range_count, day) ==
	               (period->when == PERIOD_HOLIDAYS);
}

bool timetable_is_in(
        const struct config *config, const struct config_period *period, const struct moment *now)
{
	bool over_midnight = period->from_min >= period->to_min;
	bool begun = now->minute >= period->from_min, ended = now->minute >= period->to_min;

	if (begun && (over_midnight || !ended) && begins_on(config, period, now->weekday, now->day))
		return true;
	return over_midnight && !ended && begins_on(config, period, (now->weekday + 6) % 7, now->day - 1);
}

/* Minutes from now to the next local minute, 1 to 1440. */
static unsigned minutes_to(unsigned minute, const struct moment *now)
{
	unsigned distance = (minute + DAY_MIN - now->minute) % DAY_MIN;
	return distance > 0 ? distance : DAY_MIN;
}

int64_t timetable_next(
        const struct config *config, const struct config_profile *profile, const struct moment *now)
{
	int64_t this_minute = now->utc_s - now->utc_s % 60;
	unsigned distance = minutes_to(0, now);

	if (profile->period_count == 0)
		return INT64_MAX;
	for (size_t i = 0; i < profile->period_count; i++) {
		const struct config_period *period = &config->periods[profile->periods[i].period];
		unsigned from = minutes_to(period->from_min, now),
		         to = minutes_to(period->to_min % DAY_MIN, now);
		distance = from < distance ? from : distance;
		distance = to < distance ? to : distance;
	}
	int64_t next = this_minute + (int64_t)distance * 60;
	if (moment_at(next).minute == (now->minute + distance) % DAY_MIN)
		return next;
	/* The clocks change before: that minute is the next to look at. */
	for (unsigned k = 1; k < distance; k++)
		if (moment_at(this_minute + k * 60).minute != (now->minute + k) % DAY_MIN)
			return this_minute + k * 60;
	return next;
}
