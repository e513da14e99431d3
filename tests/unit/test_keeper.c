/* The keeper with real children: this program execs itself as its own recursor and reader. */
#include "resolver/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKERS 2
#define NOBODY 65534

/* ---- the children ---- */

static size_t child_config(char *text, size_t size)
{
	ssize_t got = read(3, text, size - 1);
	text[got > 0 ? got : 0] = '\0';
	return strlen(text);
}

/* "3 4 5": the descriptors that are open, without standard ones and the one that reads the folder. */
static void child_descriptors(char *text, size_t size)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t at = 0;
	text[0] = '\0';
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(dir))
			at += (size_t)snprintf(text + at, size - at, "%s ", entry->d_name);
	closedir(dir);
}

static void child_status(char *text, size_t size)
{
	FILE *file = fopen("/proc/self/status", "r");
	size_t at = 0;
	text[0] = '\0';
	for (char line[256]; file && fgets(line, sizeof line, file);)
		if (!strncmp(line, "Uid:", 4) || !strncmp(line, "Gid:", 4) || !strncmp(line, "Groups:", 7) ||
		        !strncmp(line, "CapPrm:", 7) || !strncmp(line, "NoNewPrivs:", 11))
			at += (size_t)snprintf(text + at, size - at, "%s", line);
	fclose(file);
}

/* How far it may go before others, and might allow itself. */
static void child_priority(char *text, size_t size)
{
	struct rlimit limit;
	getrlimit(RLIMIT_RTPRIO, &limit);
	snprintf(text, size, "%d %d", (int)limit.rlim_cur, (int)limit.rlim_max);
}

/* Answers each question with what it is asked about, and ends when all its sockets are closed. */
static int recursor_play(int sockets)
{
	char config[256], fds[256], status[512], reply[600];
	child_config(config, sizeof config);
	if (!strcmp(config, "crash"))
		return 9;
	child_descriptors(fds, sizeof fds);
	child_status(status, sizeof status);
	struct pollfd polled[16];
	for (int i = 0; i < sockets; i++)
		polled[i] = (struct pollfd){ .fd = 4 + i, .events = POLLIN };
	for (int open = sockets; open > 0;) {
		poll(polled, (nfds_t)sockets, -1);
		for (int i = 0; i < sockets; i++) {
			if (polled[i].fd < 0 || !polled[i].revents)
				continue;
			char asked[16] = "";
			if (recv(polled[i].fd, asked, sizeof asked - 1, 0) <= 0) {
				polled[i].fd = -1;
				open--;
				continue;
			}
			if (!strcmp(asked, "config"))
				snprintf(reply, sizeof reply, "%s", config);
			else if (!strcmp(asked, "keeper"))
				snprintf(reply, sizeof reply, "%d", getppid());
			else if (!strcmp(asked, "fds"))
				snprintf(reply, sizeof reply, "%s", fds);
			else if (!strcmp(asked, "status"))
				snprintf(reply, sizeof reply, "%s", status);
			else if (!strcmp(asked, "priority"))
				child_priority(reply, sizeof reply);
			else
				snprintf(reply, sizeof reply, "%d", i);
			send(polled[i].fd, reply, strlen(reply), MSG_NOSIGNAL);
		}
	}
	return 0;
}

static int reader_play(void)
{
	char config[256];
	child_config(config, sizeof config);
	for (;;) {
		int fd = accept(4, NULL, NULL);
		if (fd < 0)
			return 1;
		send(fd, config, strlen(config), MSG_NOSIGNAL);
		close(fd);
	}
}

/* ---- the daemon's side ---- */

struct daemon {
	struct event_base *base;
	struct keeper *keeper;
	int fds[WORKERS];
	unsigned started, ended;
	bool lost;
};

static void recursor_started(void *arg, const int *fds, unsigned count)
{
	struct daemon *daemon = arg;
	assert_int_equal(count, WORKERS);
	for (unsigned i = 0; i < count; i++) {
		if (daemon->fds[i] >= 0)
			close(daemon->fds[i]);
		daemon->fds[i] = fds[i];
	}
	daemon->started++;
}

static void recursor_ended(void *arg)
{
	((struct daemon *)arg)->ended++;
}

static void keeper_ended(void *arg)
{
	((struct daemon *)arg)->lost = true;
}

static void daemon_setup(struct daemon *daemon, uid_t recursor_uid, uid_t reader_uid)
{
	struct keeper_options options = { .program = "/proc/self/exe",
		.workers = WORKERS,
		.recursor_uid = recursor_uid,
		.recursor_gid = recursor_uid,
		.reader_uid = reader_uid,
		.reader_gid = reader_uid };
	*daemon = (struct daemon){ .base = event_base_new(), .fds = { -1, -1 } };
	struct keeper_events events = { recursor_started, recursor_ended, daemon, keeper_ended };
	assert_int_equal(keeper_start(&daemon->keeper, &options), 0);
	assert_int_equal(keeper_attach(daemon->keeper, daemon->base, &events), 0);
}

static void daemon_teardown(struct daemon *daemon)
{
	keeper_stop(daemon->keeper);
	for (int i = 0; i < WORKERS; i++)
		if (daemon->fds[i] >= 0)
			close(daemon->fds[i]);
	event_base_free(daemon->base);
}

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Runs the loop until *counter reaches value or ms have passed; returns how long it took. */
static int64_t daemon_wait(struct daemon *daemon, const unsigned *counter, unsigned value, int ms)
{
	int64_t began = now_ms();
	while (*counter < value && now_ms() - began < ms) {
		struct timeval turn = { 0, 10000 };
		event_base_loopexit(daemon->base, &turn);
		event_base_dispatch(daemon->base);
	}
	return now_ms() - began;
}

static void ask(int fd, const char *question, char *reply, size_t size)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	assert_int_equal(send(fd, question, strlen(question), MSG_NOSIGNAL), strlen(question));
	assert_int_equal(poll(&polled, 1, 5000), 1);
	ssize_t got = recv(fd, reply, size - 1, 0);
	assert_true(got >= 0);
	reply[got] = '\0';
}

static void start_recursor(struct daemon *daemon, const char *config)
{
	unsigned before = daemon->started;
	assert_int_equal(keeper_recursor(daemon->keeper, config, strlen(config)), 0);
	daemon_wait(daemon, &daemon->started, before + 1, 5000);
	assert_int_equal(daemon->started, before + 1);
}

static bool process_is_gone(pid_t pid, int ms)
{
	for (int64_t began = now_ms(); now_ms() - began < ms; usleep(5000)) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			; /* orphans come to us: PR_SET_CHILD_SUBREAPER */
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return true;
	}
	return false;
}

/* cmocka's skip() is a failure to readers of TAP, so a test that cannot be made says so and passes. */
static bool is_root(void)
{
	if (getuid() != 0)
		print_message("# skipped: needs root\n");
	return getuid() == 0;
}

static void child_gets_its_configuration_and_a_socket_a_worker(void **state)
{
	struct daemon daemon;
	char reply[600];
	daemon_setup(&daemon, (uid_t)-1, (uid_t)-1);
	assert_int_equal(keeper_recursor_pid(daemon.keeper), 0);
	start_recursor(&daemon, "first");
	ask(daemon.fds[0], "config", reply, sizeof reply);
	assert_string_equal(reply, "first");
	for (int i = 0; i < WORKERS; i++) {
		ask(daemon.fds[i], "index", reply, sizeof reply);
		assert_int_equal(atoi(reply), i);
	}
	assert_true(keeper_recursor_pid(daemon.keeper) > 0);
	daemon_teardown(&daemon);
}

static void child_holds_no_foreign_descriptor(void **state)
{
	struct daemon daemon;
	char reply[600];
	int foreign = open("/dev/null", O_RDONLY); /* without CLOEXEC: a listening socket, say */
	daemon_setup(&daemon, (uid_t)-1, (uid_t)-1);
	start_recursor(&daemon, "x");
	ask(daemon.fds[0], "fds", reply, sizeof reply);
	assert_string_equal(reply, "3 4 5 ");
	daemon_teardown(&daemon);
	close(foreign);
}

static void killed_child_is_back_within_a_second(void **state)
{
	struct daemon daemon;
	char reply[600];
	daemon_setup(&daemon, (uid_t)-1, (uid_t)-1);
	start_recursor(&daemon, "again");
	for (unsigned death = 1; death <= 2; death++) {
		pid_t pid = keeper_recursor_pid(daemon.keeper);
		kill(pid, SIGKILL);
		assert_true(daemon_wait(&daemon, &daemon.started, death + 1, 5000) < 1000);
		assert_int_equal(daemon.ended, death);
		assert_int_not_equal(keeper_recursor_pid(daemon.keeper), pid);
		assert_int_equal(keeper_recursor_restarts(daemon.keeper), death);
		ask(daemon.fds[1], "config", reply, sizeof reply);
		assert_string_equal(reply, "again");
	}
	daemon_teardown(&daemon);
}

static void child_that_keeps_crashing_is_not_started_in_a_frenzy(void **state)
{
	struct daemon daemon;
	daemon_setup(&daemon, (uid_t)-1, (uid_t)-1);
	start_recursor(&daemon, "crash");
	daemon_wait(&daemon, &daemon.started, 1000, 1500);
	assert_in_range(daemon.started, 3, 8);
	/* a better configuration ends it at once */
	char reply[600];
	start_recursor(&daemon, "good");
	daemon_wait(
	        &daemon, &daemon.started, daemon.started + 1, 300); /* a last crash may have been under way */
	ask(daemon.fds[0], "config", reply, sizeof reply);
	assert_string_equal(reply, "good");
	daemon_teardown(&daemon);
}

static void new_configuration_replaces_the_child(void **state)
{
	struct daemon daemon;
	char reply[600];
	daemon_setup(&daemon, (uid_t)-1, (uid_t)-1);
	start_recursor(&daemon, "old");
	pid_t old = keeper_recursor_pid(daemon.keeper);
	start_recursor(&daemon, "new"); /* recursor_started closes the old one's sockets: it ends by itself */
	assert_int_not_equal(keeper_recursor_pid(daemon.keeper), old);
	ask(daemon.fds[0], "config", reply, sizeof reply);
	assert_string_equal(reply, "new");
	assert_true(process_is_gone(old, 2000));
	assert_int_equal(daemon.ended, 0);
	assert_int_equal(keeper_recursor_restarts(daemon.keeper), 0);
	daemon_teardown(&daemon);
}

static int listening_socket(struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "usher-test-keeper-%d", getpid());
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static void connect_and_read(const struct sockaddr_un *address, char *text, size_t size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = { 5, 0 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
	ssize_t got = recv(fd, text, size - 1, MSG_WAITALL);
	text[got > 0 ? got : 0] = '\0';
	close(fd);
}

static void reader_serves_the_passed_socket_and_is_replaced(void **state)
{
	struct daemon daemon;
	struct sockaddr_un address;
	char text[64];
	int fd = listening_socket(&address);
	daemon_setup(&daemon, (uid_t)-1, (uid_t)-1);
	assert_int_equal(keeper_reader(daemon.keeper, "one", 3, fd), 0);
	connect_and_read(&address, text, sizeof text);
	assert_string_equal(text, "one");
	assert_int_equal(keeper_reader(daemon.keeper, "two", 3, fd), 0);
	for (int64_t began = now_ms(); strcmp(text, "two") && now_ms() - began < 5000;)
		connect_and_read(&address, text, sizeof text);
	assert_string_equal(text, "two");
	assert_int_equal(keeper_reader(daemon.keeper, "two", 3, -1), -EBADF);
	daemon_teardown(&daemon);
	close(fd);
}

static void stop_ends_the_children(void **state)
{
	struct daemon daemon;
	daemon_setup(&daemon, (uid_t)-1, (uid_t)-1);
	start_recursor(&daemon, "x");
	pid_t pid = keeper_recursor_pid(daemon.keeper);
	daemon_teardown(&daemon); /* returns when keeper and child are gone */
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

/* The whole family: a daemon of its own process, killed as hard as can be. */
static void killed_daemon_leaves_no_orphan_under(uid_t recursor_uid, uid_t reader_uid)
{
	int tell[2];
	pid_t pids[2];
	assert_int_equal(pipe(tell), 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t pid = fork();
	if (pid == 0) {
		struct daemon daemon;
		char reply[600];
		daemon_setup(&daemon, recursor_uid, reader_uid);
		start_recursor(&daemon, "x");
		ask(daemon.fds[0], "keeper", reply, sizeof reply);
		pids[0] = atoi(reply);
		pids[1] = keeper_recursor_pid(daemon.keeper);
		if (write(tell[1], pids, sizeof pids) != sizeof pids)
			_exit(1);
		pause();
		_exit(1);
	}
	assert_int_equal(read(tell[0], pids, sizeof pids), sizeof pids);
	assert_int_equal(kill(pids[0], 0), 0);
	assert_int_equal(kill(pids[1], 0), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 2; i++)
		assert_true(process_is_gone(pids[i], 2000));
	close(tell[0]);
	close(tell[1]);
}

static void killed_daemon_leaves_no_orphan(void **state)
{
	killed_daemon_leaves_no_orphan_under((uid_t)-1, (uid_t)-1);
}

static void killed_daemon_leaves_no_orphan_of_another_uid(void **state)
{
	if (!is_root())
		return;
	killed_daemon_leaves_no_orphan_under(NOBODY, NOBODY - 1);
}

static void killed_keeper_takes_its_children_along_and_the_daemon_hears(void **state)
{
	struct daemon daemon;
	char reply[600];
	bool root = getuid() == 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	daemon_setup(&daemon, root ? NOBODY : (uid_t)-1, root ? NOBODY - 1 : (uid_t)-1);
	start_recursor(&daemon, "x");
	pid_t child = keeper_recursor_pid(daemon.keeper);
	ask(daemon.fds[0], "keeper", reply, sizeof reply);
	kill(atoi(reply), SIGKILL);
	daemon_wait(&daemon, &daemon.ended, 1, 2000);
	assert_int_equal(daemon.ended, 1);
	assert_true(daemon.lost);
	assert_int_equal(keeper_recursor_pid(daemon.keeper), 0);
	assert_true(process_is_gone(child, 2000));
	daemon_teardown(&daemon);
}

static void child_runs_under_its_own_uid_without_rights(void **state)
{
	if (!is_root())
		return;
	struct daemon daemon;
	char reply[600];
	daemon_setup(&daemon, NOBODY, NOBODY - 1);
	start_recursor(&daemon, "x");
	ask(daemon.fds[0], "status", reply, sizeof reply);
	assert_non_null(strstr(reply, "Uid:\t65534\t65534\t65534\t65534\n"));
	assert_non_null(strstr(reply, "Gid:\t65534\t65534\t65534\t65534\n"));
	assert_non_null(strstr(reply, "Groups:\t \n"));
	assert_non_null(strstr(reply, "CapPrm:\t0000000000000000\n"));
	assert_non_null(strstr(reply, "NoNewPrivs:\t1\n"));
	daemon_teardown(&daemon);
}

/* As under LimitRTPRIO=1 of the unit, which is for the workers. Who may not raise it has 0 anyhow. */
static void child_may_not_go_before_all_others(void **state)
{
	struct daemon daemon;
	char reply[600];
	setrlimit(RLIMIT_RTPRIO, &(struct rlimit){ 1, 1 });
	daemon_setup(&daemon, (uid_t)-1, (uid_t)-1);
	start_recursor(&daemon, "x");
	ask(daemon.fds[0], "priority", reply, sizeof reply);
	assert_string_equal(reply, "0 0");
	daemon_teardown(&daemon);
}

static void keeper_holds_three_capabilities_and_no_more(void **state)
{
	if (!is_root())
		return;
	struct daemon daemon;
	char reply[600], path[64], line[256];
	unsigned found = 0;
	daemon_setup(&daemon, NOBODY, NOBODY - 1);
	start_recursor(&daemon, "x");
	ask(daemon.fds[0], "keeper", reply, sizeof reply);
	snprintf(path, sizeof path, "/proc/%d/status", atoi(reply));
	FILE *file = fopen(path, "r");
	while (fgets(line, sizeof line, file))
		found += !strcmp(line, "CapPrm:\t00000000000000e0\n") ||
		         !strcmp(line, "CapEff:\t00000000000000e0\n") ||
		         !strcmp(line, "CapInh:\t0000000000000000\n") ||
		         !strcmp(line, "CapBnd:\t0000000000000000\n") ||
		         !strcmp(line, "Uid:\t65533\t65533\t65533\t65533\n");
	fclose(file);
	assert_int_equal(found, 5);
	daemon_teardown(&daemon);
}

static void unfit_number_of_workers_is_refused(void **state)
{
	struct keeper *keeper;
	struct keeper_options options = { .program = "/proc/self/exe", .workers = KEEPER_WORKERS_MAX + 1 };
	assert_int_equal(keeper_start(&keeper, &options), -EINVAL);
	options.workers = 0;
	assert_int_equal(keeper_start(&keeper, &options), -EINVAL);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--recursor"))
		return recursor_play(atoi(argv[2]));
	if (argc == 3 && !strcmp(argv[1], "--reader"))
		return reader_play();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(child_gets_its_configuration_and_a_socket_a_worker),
		cmocka_unit_test(child_holds_no_foreign_descriptor),
		cmocka_unit_test(killed_child_is_back_within_a_second),
		cmocka_unit_test(child_that_keeps_crashing_is_not_started_in_a_frenzy),
		cmocka_unit_test(new_configuration_replaces_the_child),
		cmocka_unit_test(reader_serves_the_passed_socket_and_is_replaced),
		cmocka_unit_test(stop_ends_the_children),
		cmocka_unit_test(killed_daemon_leaves_no_orphan),
		cmocka_unit_test(killed_daemon_leaves_no_orphan_of_another_uid),
		cmocka_unit_test(killed_keeper_takes_its_children_along_and_the_daemon_hears),
		cmocka_unit_test(child_runs_under_its_own_uid_without_rights),
		cmocka_unit_test(child_may_not_go_before_all_others),
		cmocka_unit_test(keeper_holds_three_capabilities_and_no_more),
		cmocka_unit_test(unfit_number_of_workers_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
