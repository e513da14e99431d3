#include "precedence.h"

#include <cap-ng.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include "thread_class.h"

#define WINDOW_US 20000 /* so long may others have to wait */
#define SHARE_MAX 95    /* percent; what the log's writer needs is left */
#define CALM_US 100000  /* without such a window, and it goes first again */
#define FIRST_MAX_US 1000000

int precedence_allow(void)
{
	static const struct rlimit priority = { 1, 1 }, stretch = { FIRST_MAX_US, FIRST_MAX_US };
	struct rlimit now;

	setrlimit(RLIMIT_RTTIME, &stretch);
	if (getrlimit(RLIMIT_RTPRIO, &now) == 0 && now.rlim_cur > 0)
		return -1;
	if (setrlimit(RLIMIT_RTPRIO, &priority) == 0 || capng_get_caps_process() < 0)
		return -1;
	return capng_have_capability(CAPNG_PERMITTED, CAP_SYS_NICE) ? CAP_SYS_NICE : -1;
}

static unsigned processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static int64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void precedence_begin(struct precedence *precedence, unsigned threads, int64_t now_us)
{
	unsigned places = processors();

	*precedence = (struct precedence){
		/* threads that share a processor share that, too */
		.share_max = threads > places ? SHARE_MAX * places / threads : SHARE_MAX,
		.since_us = now_us,
		.cpu_us = cpu_us(),
		.busy_us = now_us,
	};
	thread_take_short_turns();
}

void precedence_end(struct precedence *precedence)
{
	precedence->share_max = 0;
}

bool precedence_judge(struct precedence *precedence, int64_t now_us, int64_t cpu_us)
{
	int64_t share = (cpu_us - precedence->cpu_us) * 100 / (now_us - precedence->since_us);

	precedence->since_us = now_us;
	precedence->cpu_us = cpu_us;
	if (share > precedence->share_max)
		precedence->busy_us = now_us;
	return now_us - precedence->busy_us >= (precedence->first ? 1 : CALM_US);
}

void precedence_turn(struct precedence *precedence, int64_t now_us)
{
	if (now_us - precedence->since_us < WINDOW_US || precedence->share_max == 0)
		return;
	bool first = precedence_judge(precedence, now_us, cpu_us());
	if (first == precedence->first)
		return;
	if (first && !thread_go_first()) {
		precedence->share_max = 0; /* never */
		return;
	}
	if (!first)
		thread_take_short_turns();
	precedence->first = first;
}
