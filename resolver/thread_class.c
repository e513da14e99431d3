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

static void thread_class(pthread_t thread, int class)
{
	struct sched_param none = { 0 };

	pthread_setschedparam(thread, class, &none);
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
		thread_class(pthread_self(), SCHED_IDLE);
	else
		setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_LOW); /* of this thread alone */
}

void thread_take_share(pthread_t thread)
{
	thread_class(thread, SCHED_BATCH);
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
