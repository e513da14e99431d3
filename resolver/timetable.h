/*
 * The school's clock: what local time it is, and which periods that is in. A period belongs to the day on
 * which it begins, also over midnight; local times are those on the wall, so that a night in which clocks
 * change has an hour more or less of whatever period holds it.
 */
#ifndef USHER_TIMETABLE_H
#define USHER_TIMETABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

/* A moment as the school's clock shows it. */
struct moment {
	int64_t utc_s;   /* seconds since 1970 */
	int32_t day;     /* local, since 1970-01-01 (calendar.h) */
	uint16_t minute; /* local, since midnight: 0 to 1439 */
	uint8_t weekday; /* local: 0 Monday .. 6 Sunday */
};

struct moment moment_at(int64_t utc_s); /* local time zone; pure but for that */

/* Whether it is in one of the configuration's periods. */
bool timetable_is_in(
        const struct config *config, const struct config_period *period, const struct moment *now);

/*
 * The next second after now at which one of a profile's periods could begin or end: its times of day,
 * midnight, a change of the clocks. In seconds since 1970; INT64_MAX without periods.
 */
int64_t timetable_next(
        const struct config *config, const struct config_profile *profile, const struct moment *now);

#endif
