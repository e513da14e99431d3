#include "blocklists/pace.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "blocklists/manifest.h"

#define STEPS 50
#define LONG_STEP_NS 40000
#define FILE_SIZE (4 << 20)

/* Work in a thread of its own, and how often that slept. */
struct work {
	bool paced;
	void (*run)(void);
	long naps;
};

static void *work_run(void *arg)
{
	struct work *work = arg;
	struct rusage before, after;

	if (work->paced)
		pace_begin();
	getrusage(RUSAGE_THREAD, &before);
	work->run();
	getrusage(RUSAGE_THREAD, &after);
	work->naps = after.ru_nvcsw - before.ru_nvcsw;
	return NULL;
}

static long naps_of(bool paced, void (*run)(void))
{
	struct work work = { paced, run, 0 };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, work_run, &work), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return work.naps;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void long_steps(void)
{
	for (unsigned i = 0; i < STEPS; i++) {
		for (int64_t began = now_ns(); now_ns() - began < LONG_STEP_NS;)
			;
		pace_step();
	}
}

static void one_step_after_another(void)
{
	for (unsigned i = 0; i < STEPS; i++)
		pace_step();
}

static char path[256];

static void hash_a_file(void)
{
	char hash[MANIFEST_HASH_TEXT];
	uint64_t size = 0;

	manifest_file_hash(path, &size, hash);
}

static int make_file(void **state)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(path, sizeof path, "%s/usher-pace-XXXXXX", tmp != NULL ? tmp : "/tmp");
	int fd = mkstemp(path);
	return fd < 0 || ftruncate(fd, FILE_SIZE) < 0 || close(fd) < 0;
}

static int remove_file(void **state)
{
	return unlink(path);
}

static void who_was_told_naps_after_each_long_step(void **state)
{
	assert_true(naps_of(true, long_steps) >= STEPS);
}

static void who_was_not_told_never_naps(void **state)
{
	assert_true(naps_of(false, long_steps) < STEPS / 2); /* it may wait for something else */
}

static void short_steps_share_a_nap(void **state)
{
	assert_true(naps_of(true, one_step_after_another) < STEPS / 2);
}

static void hash_of_a_big_file_naps_where_told(void **state)
{
	assert_true(naps_of(true, hash_a_file) > 16);
	assert_true(naps_of(false, hash_a_file) < 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_was_told_naps_after_each_long_step),
		cmocka_unit_test(who_was_not_told_never_naps),
		cmocka_unit_test(short_steps_share_a_nap),
		cmocka_unit_test_setup_teardown(hash_of_a_big_file_naps_where_told, make_file, remove_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
