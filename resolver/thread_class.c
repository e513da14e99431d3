#include "thread_class.h"

#include <cap-ng.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RLIMIT_NICE_USUAL 20 /* the lowest RLIMIT_NICE with which a thread may have niceness 0 */
#define NICE_LOW 10          /* a tenth of what a worker gets, where there is not enough for both */
#define SHORT_TURN_NS 100000 /* the shortest slice there is */

/* As the kernel has it, sched_setattr(2): glibc knows it from 2.41. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

static bool thread_class(pthread_t thread, int class, int priority)
{
	struct sched_param param = { priority };

	return pthread_setschedparam(thread, class, &param) == 0;
}

/* Who has not the right to niceness 0 never comes back from SCHED_IDLE (sched(7)). */
static bool may_come_back(void)
{
	struct rlimit nice;

	if (getrlimit(RLIMIT_NICE, &nice) == 0 && nice.rlim_cur >= RLIMIT_NICE_USUAL)
		return true;
	return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_NICE) == 1;
}

void thread_give_way(void)
{
	if (may_come_back())
		thread_class(pthread_self(), SCHED_IDLE, 0);
	else
		setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_LOW); /* of this thread alone */
}

void thread_take_share(pthread_t thread)
{
	thread_class(thread, SCHED_BATCH, 0);
}

/* Of this thread alone. Returns whether it is permitted. */
static bool nice_capability(capng_act_t act)
{
	if (capng_get_caps_process() < 0 || !capng_have_capability(CAPNG_PERMITTED, CAP_SYS_NICE))
		return false;
	return capng_update(act, CAPNG_EFFECTIVE, CAP_SYS_NICE) == 0 && capng_apply(CAPNG_SELECT_CAPS) == 0;
}

bool thread_go_first(void)
{
	int priority = sched_get_priority_min(SCHED_RR);

	if (thread_class(pthread_self(), SCHED_RR, priority))
		return true;
	if (!nice_capability(CAPNG_ADD))
		return false;
	bool first = thread_class(pthread_self(), SCHED_RR, priority);
	nice_capability(CAPNG_DROP);
	return first;
}

void thread_take_short_turns(void)
{
	struct attributes attributes = {
		.size = sizeof attributes,
		.policy = SCHED_OTHER,
		.nice = getpriority(PRIO_PROCESS, (id_t)gettid()),
		.runtime_ns = SHORT_TURN_NS,
	};

	syscall(SYS_sched_setattr, 0, &attributes, 0);
}
