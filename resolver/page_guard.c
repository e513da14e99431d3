/*
 * The handler calls nothing but system calls. The page goes through a pipe, because write(2) tells of a page
 * that cannot be read by an error, where memcpy() would be the next SIGBUS.
 */
#include "page_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

static struct sigaction before;
static size_t page_size;
static _Atomic uint64_t replaced;

static bool replace_through(const int pipe[2], void *page)
{
	return write(pipe[1], page, page_size) == (ssize_t)page_size &&
	       mmap(page, page_size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1,
	               0) == page &&
	       read(pipe[0], page, page_size) == (ssize_t)page_size;
}

static bool page_replace(void *address)
{
	int pipe[2];

	if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	bool done = replace_through(pipe, (void *)((uintptr_t)address & ~(uintptr_t)(page_size - 1)));
	close(pipe[0]);
	close(pipe[1]);
	return done;
}

/* Of the kernel's (BUS_ADRERR) only; what kill(2) sends ends the process as it always did. */
static void bus_error(int number, siginfo_t *info, void *context)
{
	int error = errno;

	(void)context;
	if (info->si_code == BUS_ADRERR && page_replace(info->si_addr)) {
		atomic_fetch_add_explicit(&replaced, 1, memory_order_relaxed);
	} else {
		sigaction(number, &before, NULL);
		if (info->si_code != BUS_ADRERR)
			raise(number);
	}
	errno = error;
}

void page_guard_start(void)
{
	struct sigaction action = { .sa_sigaction = bus_error, .sa_flags = SA_SIGINFO };

	page_size = (size_t)sysconf(_SC_PAGESIZE);
	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, &before);
}

uint64_t page_guard_count(void)
{
	return atomic_load_explicit(&replaced, memory_order_relaxed);
}
