#include "resolver/list_loader.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "blocklists/compile.h"

#define PATIENCE_S 2 /* list_loader.c */

static const char configuration[] = "default-profile: pupils\n"
                                    "profiles: [{name: pupils, networks: [10.0.0.0/8], block: [adult]}]\n";

/* A folder with a generation, and what was told of an open. */
static struct event_base *base;
static struct list_loader *loader;
static struct config *config;
static struct rules *rules;
static char folder[256];
static struct {
	unsigned times;
	int ret;
	struct snapshot *snapshot;
	char why[LISTS_WHY_MAX];
} told;

static void done(void *arg, int ret, struct snapshot *snapshot, const char *why)
{
	told.times++;
	told.ret = ret;
	told.snapshot = snapshot;
	snprintf(told.why, sizeof told.why, "%s", why);
}

static void in_folder(char path[320], const char *name)
{
	snprintf(path, 320, "%s/%s", folder, name);
}

static int setup(void **state)
{
	static const char text[] = "[adult]\ncasino.example\n";
	const char *tmp = getenv("TMPDIR"), *names[CONFIG_CATEGORIES_MAX];
	char why[CONFIG_WHY_MAX];

	snprintf(folder, sizeof folder, "%s/usher-loader-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(config_parse(&config, configuration, sizeof configuration - 1, "test", why), 0);
	for (size_t i = 0; i < config->category_count; i++)
		names[i] = config->categories[i].name;
	assert_int_equal(
	        compile_starter(folder, text, sizeof text - 1, names, config->category_count, why), 0);
	rules = rules_new();
	memset(&told, 0, sizeof told);
	base = event_base_new();
	loader = list_loader_new(base, done, NULL);
	assert_non_null(loader);
	return 0;
}

static int teardown(void **state)
{
	char command[320];

	list_loader_free(loader);
	event_base_free(base);
	snapshot_free(told.snapshot);
	rules_free(rules);
	config_free(config);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command);
}

static void loop_until_told(void)
{
	static const struct timeval limit = { .tv_sec = 30 };

	event_base_loopexit(base, &limit);
	while (told.times == 0 && !event_base_got_exit(base))
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(told.times, 1);
}

/* The manifest as a pipe: whoever reads it waits until somebody writes. */
static void hold_manifest(char path[320])
{
	in_folder(path, "gen-000001.json");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void release_manifest(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(write(fd, "no manifest\n", 12) == 12);
	close(fd);
}

/* The thread of that name, 0 if there is none. */
static pid_t thread_named(const char *name)
{
	char path[300], comm[32];
	struct dirent *entry;
	DIR *tasks = opendir("/proc/self/task");
	pid_t thread = 0;

	assert_non_null(tasks);
	while ((entry = readdir(tasks)) != NULL) {
		snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
		FILE *file = fopen(path, "r");
		if (file == NULL)
			continue;
		if (fgets(comm, sizeof comm, file) != NULL && strcspn(comm, "\n") == strlen(name) &&
		        strncmp(comm, name, strlen(name)) == 0)
			thread = (pid_t)atoi(entry->d_name);
		fclose(file);
	}
	closedir(tasks);
	return thread;
}

/* Its scheduling class, -1 if there is none. */
static int class_of_thread(const char *name)
{
	pid_t thread = thread_named(name);

	return thread > 0 ? sched_getscheduler(thread) : -1;
}

static bool becomes(int class)
{
	static const struct timespec step = { .tv_nsec = 5000000 };

	for (unsigned i = 0; i < 1000; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (class_of_thread("lists") == class)
			return true;
		nanosleep(&step, NULL);
	}
	return false;
}

static void whole_generation_is_handed_over(void **state)
{
	assert_int_equal(list_loader_open(loader, folder, config_ref(config), rules_ref(rules)), 0);
	loop_until_told();
	assert_int_equal(told.ret, 0);
	assert_int_equal(lists_info(told.snapshot->lists)->names, 1);
	assert_ptr_equal(told.snapshot->config, config);
	assert_ptr_equal(told.snapshot->rules, rules);
	assert_false(list_loader_is_busy(loader));
}

static void damaged_generation_is_told_with_a_reason(void **state)
{
	char path[320];

	in_folder(path, "gen-000001.mdb");
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(list_loader_open(loader, folder, config_ref(config), rules_ref(rules)), 0);
	loop_until_told();
	assert_int_equal(told.ret, -EBADMSG);
	assert_null(told.snapshot);
	assert_non_null(strstr(told.why, "gen-000001.mdb"));
}

static void slow_open_stands_in_nobodys_way(void **state)
{
	char path[320];

	hold_manifest(path);
	assert_int_equal(list_loader_open(loader, folder, config_ref(config), rules_ref(rules)), 0);
	assert_true(becomes(SCHED_IDLE));
	assert_int_equal(told.times, 0);
	assert_true(list_loader_is_busy(loader));
	assert_int_equal(list_loader_open(loader, folder, config_ref(config), rules_ref(rules)), -EBUSY);
	release_manifest(path);
	loop_until_told();
	assert_int_equal(told.ret, -EBADMSG);
}

static void starved_open_gets_its_share_after_a_while(void **state)
{
	char path[320];
	time_t began = time(NULL);

	hold_manifest(path);
	assert_int_equal(list_loader_open(loader, folder, config_ref(config), rules_ref(rules)), 0);
	assert_true(becomes(SCHED_IDLE));
	assert_true(becomes(SCHED_BATCH));
	assert_true(time(NULL) - began >= PATIENCE_S - 1);
	release_manifest(path);
	loop_until_told();
}

static void have_nice(capng_act_t act)
{
	capng_get_caps_process();
	capng_update(act, CAPNG_EFFECTIVE, CAP_SYS_NICE);
	assert_int_equal(capng_apply(CAPNG_SELECT_CAPS), 0);
}

/* As usherd is once it has let go of root. */
static void open_without_the_right_to_be_hurried_is_never_idle(void **state)
{
	static const struct timespec step = { .tv_nsec = 5000000 };
	char path[320];
	pid_t thread = 0;

	hold_manifest(path);
	have_nice(CAPNG_DROP);
	assert_int_equal(list_loader_open(loader, folder, config_ref(config), rules_ref(rules)), 0);
	for (unsigned i = 0; i < 1000 && (thread == 0 || getpriority(PRIO_PROCESS, (id_t)thread) == 0); i++) {
		thread = thread_named("lists");
		nanosleep(&step, NULL);
	}
	assert_true(getpriority(PRIO_PROCESS, (id_t)thread) > 0);
	assert_int_equal(sched_getscheduler(thread), SCHED_OTHER);
	have_nice(CAPNG_ADD);
	release_manifest(path);
	loop_until_told();
}

static void end_waits_for_an_open_under_way(void **state)
{
	assert_int_equal(list_loader_open(loader, folder, config_ref(config), rules_ref(rules)), 0);
	list_loader_free(loader);
	loader = NULL;
	assert_int_equal(told.times, 0);
}

static void dropped_snapshot_lives_as_long_as_somebody_holds_them(void **state)
{
	assert_int_equal(list_loader_open(loader, folder, config_ref(config), rules_ref(rules)), 0);
	loop_until_told();
	list_loader_drop(snapshot_ref(told.snapshot));
	list_loader_drop(NULL);
	while (class_of_thread("lists") >= 0)
		sched_yield();
	assert_int_equal(lists_info(told.snapshot->lists)->names, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole_generation_is_handed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_generation_is_told_with_a_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(slow_open_stands_in_nobodys_way, setup, teardown),
		cmocka_unit_test_setup_teardown(starved_open_gets_its_share_after_a_while, setup, teardown),
		cmocka_unit_test_setup_teardown(
		        open_without_the_right_to_be_hurried_is_never_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(end_waits_for_an_open_under_way, setup, teardown),
		cmocka_unit_test_setup_teardown(
		        dropped_snapshot_lives_as_long_as_somebody_holds_them, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
