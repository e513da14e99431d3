/*
 * Can the clock be right? DNSSEC, timetables, grants and the dates of the log go by it, and a machine whose
 * battery is empty begins in another year. Nothing here asks the clock itself: what it says, and what is
 * known to be past, are given.
 */
#ifndef USHER_CLOCK_WATCH_H
#define USHER_CLOCK_WATCH_H

#include <stddef.h>
#include <stdint.h>

#define CLOCK_TEXT_MAX 256

struct clock_watch {
	int64_t known_s;     /* of what was known at the first look, the newest; seconds since 1970 */
	int64_t begun_s;     /* on the steady clock, the first look; 0: there was none yet */
	int64_t apart_s;     /* wall clock less steady clock, at the last look */
	int64_t jumped_s;    /* on the steady clock, the last jump */
	int64_t jumped_by_s; /* 0: none */
};

struct clock_reading {
	int64_t wall_s;   /* CLOCK_REALTIME */
	int64_t steady_s; /* CLOCK_BOOTTIME, above 0 */
	int64_t past_s; /* the newest thing that is known to have happened; seconds since 1970, 0: nothing */
};

/*
 * Looks. text becomes "" or a sentence: the clock is before what has happened already, more than a year
 * beyond what it should be by that, or it jumped by more than a minute within the last hour.
 */
void clock_watch_look(
        struct clock_watch *watch, const struct clock_reading *reading, char text[CLOCK_TEXT_MAX]);

#endif
