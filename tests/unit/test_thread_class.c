#include "resolver/thread_class.h"

#include <cap-ng.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

#define NICE 3

/* What a thread of its own found after what it did. */
static struct seen {
	int class, nice;
	uint64_t slice_ns;
	bool may, effective;
} seen;

static void look(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime_ns, deadline_ns, period_ns;
	} attributes;

	if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) == 0) {
		seen.class = (int)attributes.policy;
		seen.nice = attributes.nice;
		seen.slice_ns = attributes.runtime_ns;
	}
}

static void *give_way(void *none)
{
	thread_give_way();
	look();
	return NULL;
}

static void *give_way_and_come_back(void *none)
{
	thread_give_way();
	thread_take_share(pthread_self());
	look();
	return NULL;
}

static void *take_short_turns(void *none)
{
	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	thread_take_short_turns();
	look();
	return NULL;
}

/* Of this thread. */
static void without_effective_nice(void)
{
	capng_get_caps_process();
	capng_update(CAPNG_DROP, CAPNG_EFFECTIVE, CAP_SYS_NICE);
	capng_apply(CAPNG_SELECT_CAPS);
}

static void *without_nice_give_way(void *none)
{
	without_effective_nice();
	return give_way(none);
}

static void *without_effective_nice_go_first(void *none)
{
	without_effective_nice();
	seen.may = thread_go_first();
	look();
	capng_get_caps_process();
	seen.effective = capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_NICE);
	return NULL;
}

static void *go_first_and_take_short_turns(void *none)
{
	thread_go_first();
	thread_take_short_turns();
	look();
	return NULL;
}

static void in_a_thread(void *(*run)(void *))
{
	pthread_t thread;

	seen = (struct seen){ .class = -1 };
	assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* sched_setattr(2): slices of a thread's own. */
static bool kernel_has_slices(void)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	assert_int_equal(uname(&name), 0);
	assert_int_equal(sscanf(name.release, "%u.%u", &major, &minor), 2);
	return major > 6 || (major == 6 && minor >= 12);
}

static void who_gives_way_is_of_the_lowest_class(void **state)
{
	in_a_thread(give_way);
	assert_int_equal(seen.class, SCHED_IDLE);
}

static void who_gave_way_gets_its_share_again(void **state)
{
	in_a_thread(give_way_and_come_back);
	assert_int_equal(seen.class, SCHED_BATCH);
}

static void who_could_not_come_back_has_a_low_priority(void **state)
{
	in_a_thread(without_nice_give_way);
	assert_int_equal(seen.class, SCHED_OTHER);
	assert_true(seen.nice > 0);
}

static void short_turns_change_neither_class_nor_niceness(void **state)
{
	in_a_thread(take_short_turns);
	assert_int_equal(seen.class, SCHED_OTHER);
	assert_int_equal(seen.nice, NICE);
	if (kernel_has_slices())
		assert_int_equal(seen.slice_ns, 100000);
}

/* Whoever runs the tests may not have the right: then nobody goes first. */
static void to_go_first_needs_a_right_that_is_used_for_that_moment_alone(void **state)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_RTPRIO, &limit), 0);
	assert_int_equal(capng_get_caps_process(), 0);
	bool may = limit.rlim_cur > 0 || capng_have_capability(CAPNG_PERMITTED, CAP_SYS_NICE);
	in_a_thread(without_effective_nice_go_first);
	assert_int_equal(seen.may, may);
	assert_int_equal(seen.class, may ? SCHED_RR : SCHED_OTHER);
	assert_false(seen.effective);
}

static void who_went_first_is_among_equals_again(void **state)
{
	in_a_thread(go_first_and_take_short_turns);
	assert_int_equal(seen.class, SCHED_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_gives_way_is_of_the_lowest_class),
		cmocka_unit_test(who_gave_way_gets_its_share_again),
		cmocka_unit_test(who_could_not_come_back_has_a_low_priority),
		cmocka_unit_test(to_go_first_needs_a_right_that_is_used_for_that_moment_alone),
		cmocka_unit_test(who_went_first_is_among_equals_again),
		cmocka_unit_test(short_turns_change_neither_class_nor_niceness),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
