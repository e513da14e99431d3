#include "resolver/page_guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static volatile sig_atomic_t others; /* SIGBUS that came to who was there before */

static void other_handler(int number)
{
	(void)number;
	others++;
	_exit(7);
}

/* The exit code of a child that does it under the guard. */
static int in_child(void (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGBUS, other_handler);
		page_guard_start();
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A page behind the end of its file cannot be read either: there is nothing to go on with. */
static void touch_lost_page(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	volatile char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	page[0] = 1;
}

static void page_that_cannot_be_read_ends_the_process_as_before(void **state)
{
	(void)state;
	assert_int_equal(in_child(touch_lost_page), 7);
}

static void send_signal(void)
{
	raise(SIGBUS);
}

static void signal_that_somebody_sent_is_not_swallowed(void **state)
{
	(void)state;
	assert_int_equal(in_child(send_signal), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_that_cannot_be_read_ends_the_process_as_before),
		cmocka_unit_test(signal_that_somebody_sent_is_not_swallowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
