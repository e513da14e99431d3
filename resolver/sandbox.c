/*
 * What is not on the list kills the process, and the keeper starts a new one: a call that was never needed
 * before is more likely an intruder's than a library's. What libraries merely try (files of the time zone,
 * terminal questions) fails with EPERM instead.
 */
#include "sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

#define FENCE_FILES 1024

static const int allowed[] = {
	/* sockets that are there already, and new ones' life (socket() itself is below) */
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(close),
	SCMP_SYS(lseek),
	/* waiting */
	SCMP_SYS(epoll_create),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(futex),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sched_yield),
	/* time and chance */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getrandom),
	/* memory (mmap and mprotect are below) */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	/* itself */
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static const int refused[] = {
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(openat2),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(ioctl),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getrlimit),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(sched_getaffinity),
};

/* Beyond the fence. */
static const int fenced_off[] = {
	/* other processes */
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(process_madvise),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(kcmp),
	/* a namespace of its own, where it would be root */
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(fsopen),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	/* large parts of the kernel that mail has no use for */
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(keyctl),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(personality),
	SCMP_SYS(swapon),
	SCMP_SYS(reboot),
};

bool sandbox_is_real(void)
{
	return !SANITIZED;
}

/* Those whose arguments are looked at and that every upstream question makes: looked for first. */
static const int frequent[] = { SCMP_SYS(socket), SCMP_SYS(fcntl), SCMP_SYS(setsockopt) };

static int rules_add(scmp_filter_ctx filter)
{
	int ret = 0;
	for (size_t i = 0; i < sizeof frequent / sizeof *frequent && ret == 0; i++)
		ret = seccomp_syscall_priority(filter, frequent[i], UINT8_MAX);
	for (size_t i = 0; i < sizeof allowed / sizeof *allowed && ret == 0; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < sizeof refused / sizeof *refused && ret == 0; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);

	static const int families[] = { AF_INET, AF_INET6 };
	for (size_t i = 0; i < sizeof families / sizeof *families && ret == 0; i++)
		ret = seccomp_rule_add(
		        filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, families[i]));

	/* Flags alone: F_SETOWN and F_SETSIG would send signals to others of our uid. */
	static const int controls[] = { F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC };
	for (size_t i = 0; i < sizeof controls / sizeof *controls && ret == 0; i++)
		ret = seccomp_rule_add(
		        filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, controls[i]));

	/* No port is shared: usherd's own would take a part of the pupils' questions. */
	if (ret == 0)
		ret = seccomp_rule_add(
		        filter, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 1, SCMP_A2(SCMP_CMP_NE, SO_REUSEPORT));
	if (ret == 0)
		ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setsockopt), 1,
		        SCMP_A2(SCMP_CMP_EQ, SO_REUSEPORT));

	/* No memory that can be both written and run, and none that the limit does not count. */
	if (ret == 0)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
		        SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
		        SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_SHARED, 0));
	if (ret == 0)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
		        SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return ret;
}

static int fence_add(scmp_filter_ctx filter)
{
	int ret = 0;
	for (size_t i = 0; i < sizeof fenced_off / sizeof *fenced_off && ret == 0; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), fenced_off[i], 0);

	/* clone3() keeps its flags where no filter sees them; the C library then takes clone(). */
	if (ret == 0)
		ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (ret == 0)
		ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
		        SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
	static const int families[] = { AF_PACKET, AF_ALG, AF_VSOCK };
	for (size_t i = 0; i < sizeof families / sizeof *families && ret == 0; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
		        SCMP_A0(SCMP_CMP_EQ, families[i]));
	return ret;
}

static int filter_load(uint32_t otherwise, int (*add)(scmp_filter_ctx filter))
{
	scmp_filter_ctx filter = seccomp_init(otherwise);
	if (!filter)
		return -ENOMEM;
	int ret = add(filter);
	if (ret == 0)
		ret = seccomp_load(filter); /* with no_new_privs */
	seccomp_release(filter);
	return ret;
}

static void memory_limit(uint64_t memory)
{
	const struct rlimit none = { 0, 0 }, data = { memory, memory };
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_DATA, &data);
	prctl(PR_SET_DUMPABLE, 0);
}

int sandbox_enter(uint64_t memory)
{
	if (!sandbox_is_real())
		return 0;
	memory_limit(memory);
	capng_clear(CAPNG_SELECT_BOTH);
	capng_apply(CAPNG_SELECT_CAPS);
	return filter_load(SCMP_ACT_KILL_PROCESS, rules_add);
}

int sandbox_fence(uint64_t memory)
{
	static const struct rlimit files = { FENCE_FILES, FENCE_FILES };

	if (!sandbox_is_real())
		return 0;
	memory_limit(memory);
	setrlimit(RLIMIT_NOFILE, &files);
	return filter_load(SCMP_ACT_ALLOW, fence_add);
}
