#include "pace.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define WORK_NS 10000 /* less than an answer takes with its way there and back */
#define NAP_NS 50000  /* the kernel's slack makes it twice that */

static _Thread_local bool paced;
static _Thread_local int64_t rested_ns; /* when the last nap ended */

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void pace_begin(void)
{
	paced = true;
}

void pace_step(void)
{
	static const struct timespec nap = { .tv_nsec = NAP_NS };

	if (!paced || now_ns() - rested_ns < WORK_NS)
		return;
	nanosleep(&nap, NULL);
	rested_ns = now_ns();
}
