#include "resolver/precedence.h"

#include <cap-ng.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WINDOW_US 20000
#define SHARE 95

/* Windows of one kind, one after the other. */
struct stretch {
	unsigned windows;
	int share;  /* of the processor, in percent */
	bool first; /* after all of them */
};

static void judge(const struct stretch *stretches, size_t count)
{
	struct precedence precedence = { .share_max = SHARE, .since_us = WINDOW_US, .busy_us = WINDOW_US };
	int64_t now_us = WINDOW_US, cpu_us = 0;

	for (size_t i = 0; i < count; i++) {
		for (unsigned k = 0; k < stretches[i].windows; k++) {
			now_us += WINDOW_US;
			cpu_us += stretches[i].share * WINDOW_US / 100;
			precedence.first = precedence_judge(&precedence, now_us, cpu_us);
		}
		if (precedence.first != stretches[i].first)
			fail_msg("after stretch %zu (%u windows of %d %%) it is %sfirst", i,
			        stretches[i].windows, stretches[i].share, precedence.first ? "" : "not ");
	}
}

static void calm_thread_goes_first_after_a_tenth_of_a_second(void **state)
{
	static const struct stretch stretches[] = { { 4, 10, false }, { 1, 10, true }, { 1000, 90, true } };
	judge(stretches, sizeof stretches / sizeof *stretches);
}

static void flood_makes_it_one_among_equals_within_a_window(void **state)
{
	static const struct stretch stretches[] = { { 5, 0, true }, { 5, 94, true }, { 1, 96, false },
		{ 1000, 100, false } };
	judge(stretches, sizeof stretches / sizeof *stretches);
}

static void flood_has_to_be_over_for_a_while(void **state)
{
	static const struct stretch stretches[] = { { 5, 0, true }, { 1, 100, false }, { 4, 50, false },
		{ 1, 96, false }, { 4, 94, false }, { 1, 94, true } };
	judge(stretches, sizeof stretches / sizeof *stretches);
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The class of a thread while it waited most of the time, then when it never did. */
struct seen {
	unsigned threads;
	bool may;
	int calm, flooded, after;
};

static void *work(void *arg)
{
	static const struct timespec nap = { .tv_nsec = 5000000 };
	struct seen *seen = arg;
	struct precedence precedence;

	if (!seen->may) {
		capng_get_caps_process();
		capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_NICE);
		capng_apply(CAPNG_SELECT_CAPS); /* of this thread */
	}
	precedence_begin(&precedence, seen->threads, now_us());
	for (unsigned i = 0; i < 60; i++, precedence_turn(&precedence, now_us()))
		nanosleep(&nap, NULL);
	seen->calm = sched_getscheduler(0);
	for (int64_t end = now_us() + 100000; now_us() < end;)
		precedence_turn(&precedence, now_us());
	seen->flooded = sched_getscheduler(0);
	for (unsigned i = 0; i < 60; i++, precedence_turn(&precedence, now_us()))
		nanosleep(&nap, NULL);
	seen->after = sched_getscheduler(0);
	return NULL;
}

static void in_a_thread(struct seen *seen)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, work, seen), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* Whoever runs the tests may not have the right: then it must not go first. */
static bool we_may(void)
{
	struct rlimit limit;

	return (getrlimit(RLIMIT_RTPRIO, &limit) == 0 && limit.rlim_cur > 0) ||
	       (capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_NICE));
}

static void class_follows(void **state)
{
	struct seen seen = { .threads = 1, .may = true };
	int first = we_may() ? SCHED_RR : SCHED_OTHER;

	in_a_thread(&seen);
	assert_int_equal(seen.calm, first);
	assert_int_equal(seen.flooded, SCHED_OTHER);
	assert_int_equal(seen.after, first);
}

static void who_may_not_stays_among_equals(void **state)
{
	struct seen seen = { .threads = 1 };
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_RTPRIO, &limit), 0);
	in_a_thread(&seen);
	assert_int_equal(seen.calm, limit.rlim_cur > 0 ? SCHED_RR : SCHED_OTHER);
	assert_int_equal(seen.flooded, SCHED_OTHER);
}

static void before_it_begins_nothing_is_done(void **state)
{
	struct precedence precedence = { 0 };

	precedence_turn(&precedence, now_us());
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	assert_int_equal(precedence.since_us, 0);
}

static void *begin_and_end(void *arg)
{
	precedence_begin(arg, 1, now_us());
	precedence_end(arg);
	return NULL;
}

static void who_tidies_up_after_a_thread_keeps_its_own_class(void **state)
{
	static const struct timespec nap = { .tv_nsec = 30000000 };
	struct precedence precedence;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, begin_and_end, &precedence), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (unsigned i = 0; i < 6; i++) {
		nanosleep(&nap, NULL);
		precedence_turn(&precedence, now_us());
		assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
		assert_false(precedence.first);
	}
}

static void threads_that_share_a_processor_share_what_they_may_use(void **state)
{
	struct precedence one, many;
	unsigned processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);

	precedence_begin(&one, 1, now_us());
	precedence_begin(&many, 4 * processors, now_us());
	assert_int_equal(one.share_max, SHARE);
	assert_in_range(many.share_max, 1, SHARE / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calm_thread_goes_first_after_a_tenth_of_a_second),
		cmocka_unit_test(flood_makes_it_one_among_equals_within_a_window),
		cmocka_unit_test(flood_has_to_be_over_for_a_while),
		cmocka_unit_test(class_follows),
		cmocka_unit_test(who_may_not_stays_among_equals),
		cmocka_unit_test(before_it_begins_nothing_is_done),
		cmocka_unit_test(who_tidies_up_after_a_thread_keeps_its_own_class),
		cmocka_unit_test(threads_that_share_a_processor_share_what_they_may_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
