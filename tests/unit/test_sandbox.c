/* The cage, tried from inside by a child for each act. With sanitizers there is none, and nothing to try. */
#include "resolver/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMORY (64u << 20)

/* The wait status of a child that enters, runs act() and exits with what it returns. */
static int status_in(int (*enter)(uint64_t memory), int (*act)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(enter(MEMORY) == 0 ? act() : 100);
	waitpid(pid, &status, 0);
	return status;
}

static int status_of(int (*act)(void))
{
	return status_in(sandbox_enter, act);
}

static void expect_fenced(int (*act)(void))
{
	int status = status_in(sandbox_fence, act);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void expect_allowed(int (*act)(void))
{
	int status = status_of(act);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void expect_killed(int (*act)(void))
{
	int status = status_of(act);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static int ask_the_internet(void)
{
	int v4 = socket(AF_INET, SOCK_DGRAM, 0), v6 = socket(AF_INET6, SOCK_STREAM, 0);
	struct timespec now;
	void *memory = malloc(8 << 20);
	bool fine = v4 >= 0 && (v6 >= 0 || errno == EAFNOSUPPORT) && clock_gettime(CLOCK_REALTIME, &now) == 0;
	free(memory);
	return fine && memory ? 0 : 1;
}

static int open_files(void)
{
	bool refused = open("/etc/passwd", O_RDONLY) < 0 && errno == EPERM;
	refused = refused && open("/tmp", O_TMPFILE | O_RDWR, 0600) < 0 && errno == EPERM;
	return refused ? 0 : 1;
}

static int take_too_much_memory(void)
{
	char *much = malloc(2 * (size_t)MEMORY);
	return much ? 1 : 0;
}

static int start_a_program(void)
{
	return execl("/bin/true", "true", (char *)NULL);
}

static int make_a_process(void)
{
	return fork() < 0;
}

static int talk_to_the_machine(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0;
}

static int talk_raw(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0;
}

static int trace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0;
}

static int make_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED;
}

static int send_signals_by_a_socket(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	return fcntl(s, F_SETOWN, getppid()) < 0;
}

static int share_uncounted_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static int take_a_part_of_the_questions(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	return setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0 && errno == EPERM ? 0 : 1;
}

static void what_a_resolver_needs_is_allowed(void **state)
{
	expect_allowed(ask_the_internet);
}

static void files_cannot_be_opened(void **state)
{
	expect_allowed(open_files);
}

static void memory_is_limited(void **state)
{
	expect_allowed(take_too_much_memory);
}

static void ports_of_usherd_cannot_be_shared(void **state)
{
	expect_allowed(take_a_part_of_the_questions);
}

static void what_an_intruder_needs_kills(void **state)
{
	expect_killed(start_a_program);
	expect_killed(make_a_process);
	expect_killed(talk_to_the_machine);
	expect_killed(talk_raw);
	expect_killed(trace);
	expect_killed(make_code);
	expect_killed(send_signals_by_a_socket);
	expect_killed(share_uncounted_memory);
}

static int open_a_file(void)
{
	return open("/etc/passwd", O_RDONLY) < 0;
}

static int run_a_shell(void)
{
	return WEXITSTATUS(system("cat /etc/passwd | (exec cat) >/dev/null || exit 1"));
}

static int is_refused(long ret)
{
	return ret < 0 && errno == EPERM ? 0 : 1;
}

static int trace_fenced(void)
{
	return is_refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int become_root_of_a_namespace(void)
{
	return is_refused(unshare(CLONE_NEWUSER));
}

static int become_root_of_a_namespace_by_a_child(void)
{
	return is_refused(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0));
}

static int listen_on_the_wire(void)
{
	return is_refused(socket(AF_PACKET, SOCK_RAW, 0));
}

static int load_a_program_of_the_kernel(void)
{
	return is_refused(syscall(SYS_bpf, 0, NULL, 0));
}

static int gain_rights(void)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1;
}

static int unshare_in_a_program(void)
{
	return system("unshare -U true 2>/dev/null") != 0 ? 0 : 1;
}

static int leave_a_core_or_many_files(void)
{
	struct rlimit core, files;
	getrlimit(RLIMIT_CORE, &core);
	getrlimit(RLIMIT_NOFILE, &files);
	return core.rlim_max == 0 && files.rlim_max <= 1024 ? 0 : 1;
}

static void what_sendmail_needs_passes_the_fence(void **state)
{
	expect_fenced(ask_the_internet);
	expect_fenced(open_a_file);
	expect_fenced(run_a_shell);
}

static void what_attacks_begin_with_does_not_pass_the_fence(void **state)
{
	expect_fenced(trace_fenced);
	expect_fenced(become_root_of_a_namespace);
	expect_fenced(become_root_of_a_namespace_by_a_child);
	expect_fenced(listen_on_the_wire);
	expect_fenced(load_a_program_of_the_kernel);
	expect_fenced(gain_rights);
	expect_fenced(unshare_in_a_program);
	expect_fenced(take_too_much_memory);
	expect_fenced(leave_a_core_or_many_files);
}

int main(void)
{
	if (!sandbox_is_real()) {
		puts("1..0 # SKIP built with sanitizers");
		return 0;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_resolver_needs_is_allowed),
		cmocka_unit_test(files_cannot_be_opened),
		cmocka_unit_test(memory_is_limited),
		cmocka_unit_test(ports_of_usherd_cannot_be_shared),
		cmocka_unit_test(what_an_intruder_needs_kills),
		cmocka_unit_test(what_sendmail_needs_passes_the_fence),
		cmocka_unit_test(what_attacks_begin_with_does_not_pass_the_fence),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
