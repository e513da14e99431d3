/*
 * The time to delete by. A clock of day that runs more than a day ahead of what was written last and of what has passed since is not
 * believed at once: it would cost the school its records. Until it has stood so for a day (the machine was switched off for long, then),
 * time goes on from where it was.
 */
#ifndef USHER_BELIEVED_CLOCK_H
#define USHER_BELIEVED_CLOCK_H

#include <stdint.h>

struct believed_clock {
	int64_t believed_s;       /* since 1970; 0: nothing is known, the first look is believed */
	int64_t uptime_s;         /* of the last look */
	int64_t doubted_uptime_s; /* since when the clock of day is not believed, 0: it is */
};

/* written_s: last change of what is deleted by the clock; 0: there is none. */
void believed_clock_begin(struct believed_clock *clock, int64_t written_s);

/* A look at the clocks. Returns the time to delete by. */
int64_t believed_clock_now(struct believed_clock *clock);

/* The same, with the clocks' times given. */
int64_t believed_clock_at(struct believed_clock *clock, int64_t now_s, int64_t uptime_s);

int64_t believed_clock_uptime_s(void);

#endif
