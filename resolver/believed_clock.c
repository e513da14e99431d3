#include "believed_clock.h"

#include <time.h>

#define DAY_S 86400

static int64_t seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec;
}

int64_t believed_clock_uptime_s(void)
{
	return seconds(CLOCK_BOOTTIME);
}

void believed_clock_begin(struct believed_clock *clock, int64_t written_s)
{
	*clock = (struct believed_clock){ .believed_s = written_s, .uptime_s = believed_clock_uptime_s() };
}

int64_t believed_clock_at(struct believed_clock *clock, int64_t now_s, int64_t uptime_s)
{
	int64_t expected = clock->believed_s + uptime_s - clock->uptime_s;

	clock->uptime_s = uptime_s;
	if (clock->believed_s && now_s > expected + DAY_S &&
	        (!clock->doubted_uptime_s || uptime_s < clock->doubted_uptime_s + DAY_S)) {
		clock->doubted_uptime_s = clock->doubted_uptime_s ? clock->doubted_uptime_s : uptime_s;
		clock->believed_s = expected;
		return expected;
	}
	clock->doubted_uptime_s = 0;
	clock->believed_s = now_s > expected || !clock->believed_s ? now_s : expected;
	return now_s;
}

int64_t believed_clock_now(struct believed_clock *clock)
{
	return believed_clock_at(clock, seconds(CLOCK_REALTIME), believed_clock_uptime_s());
}
