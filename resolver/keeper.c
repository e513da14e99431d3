/*
 * The keeper, both ends of it: the process that holds the right to change uid, and the daemon's line to it (a
 * SOCK_SEQPACKET pair, one struct keeper_message a packet, descriptors by SCM_RIGHTS). What children there
 * are and under which uid they run is fixed when the keeper is forked: from the daemon it takes
 * configurations and sockets, never a program, a path or a uid, so a daemon that was taken over gains nothing
 * by it.
 *
 * How all end with their parent: the daemon's death closes the line, the keeper reads EOF, kills its children
 * and exits; the keeper's own death kills them by PR_SET_PDEATHSIG (which needs the keeper's CAP_KILL, since
 * the signal is sent with the rights of the dying). A recursor also ends by itself when its last socket is
 * closed.
 */
#include "keeper.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define CONFIG_FD 3
#define CONFIG_SIZE_MAX (64 << 20)
#define BACKOFF_MAX_MS 1000
#define ORDERLY_WAIT_MS 200
#define QUICK_DEATH_MS 1000 /* who dies sooner than this after a start waits for the next one */
#define RETIRE_MS 5000      /* how long a replaced child may take to end by itself */
#define FILES_WANTED 16384  /* the recursor's upstream sockets (outgoing-range) and then some */

enum keeper_word {
	WORD_READY,            /* keeper: rights are dropped, error is 0 or why not */
	WORD_RECURSOR,         /* daemon: run this configuration (fd 0) */
	WORD_READER,           /* daemon: run this configuration (fd 0) on this socket (fd 1) */
	WORD_ALERTER,          /* the same */
	WORD_RECURSOR_STARTED, /* keeper: pid runs, fds are its workers' sockets */
	WORD_RECURSOR_ENDED,   /* keeper: the one that ran has died */
};

struct keeper_message {
	uint32_t word;
	int32_t error;
	int32_t pid;
	uint32_t is_restart;
};

/* ---- the line ---- */

static int line_send(int line, const struct keeper_message *message, const int *fds, unsigned fd_count)
{
	char control[CMSG_SPACE(sizeof(int) * KEEPER_WORKERS_MAX)] = { 0 };
	struct iovec iov = { (void *)message, sizeof *message };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fd_count > 0) {
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
	}
	ssize_t sent;
	do
		sent = sendmsg(line, &header, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

static void close_all(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

/* Returns 1 with *fd_count descriptors in fds (now ours), 0 at EOF, negative errno (-EAGAIN with
 * MSG_DONTWAIT). */
static int line_receive(
        int line, int flags, struct keeper_message *message, int fds[KEEPER_WORKERS_MAX], unsigned *fd_count)
{
	char control[CMSG_SPACE(sizeof(int) * KEEPER_WORKERS_MAX)];
	struct iovec iov = { message, sizeof *message };
	struct msghdr header = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	ssize_t got;
	do
		got = recvmsg(line, &header, flags | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	*fd_count = 0;
	if (got < 0)
		return errno == ECONNRESET ? 0 : -errno;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header); cmsg; cmsg = CMSG_NXTHDR(&header, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		*fd_count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(cmsg), sizeof(int) * *fd_count);
	}
	if (got == 0)
		return 0;
	if (got == sizeof *message && !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 1;
	close_all(fds, *fd_count);
	*fd_count = 0;
	return -EBADMSG;
}

/* ---- the keeper's own process ---- */

enum child_kind { CHILD_RECURSOR, CHILD_READER, CHILD_ALERTER, CHILD_COUNT };

/*
 * libunbound takes and frees a hundred small pieces a question, of many questions in turns. glibc keeps seven
 * of a size at hand by default, and merging and splitting the others was an eighth of the recursor's work.
 */
#define RECURSOR_TUNABLES "glibc.malloc.tcache_count=512:glibc.malloc.mxfast=0"

static const struct {
	const char *noun, *title, *option;
	bool ends_by_signal;  /* the recursor ends when its sockets are closed */
	const char *tunables; /* of its C library, NULL: as they are */
} kinds[CHILD_COUNT] = {
	[CHILD_RECURSOR] = { "recursor", "usherd: recursor", "--recursor", false, RECURSOR_TUNABLES },
	[CHILD_READER] = { "reader", "usherd: reader", "--reader", true, NULL },
	[CHILD_ALERTER] = { "alerter", "usherd: alerter", "--alerter", true, NULL },
};

struct child {
	enum child_kind kind;
	uid_t uid;
	gid_t gid;
	int config; /* memfd; -1: never asked for */
	int socket; /* what it listens on; -1: it gets worker sockets instead */
	pid_t pid;  /* 0: not running */
	int64_t started_ms;
	int64_t start_at_ms; /* when to start it; 0: no start is due */
	unsigned quick_deaths;
	pid_t retiring; /* the one it replaced, as long as that lives */
	int64_t kill_at_ms;
};

struct process {
	int line, signals;
	pid_t pid; /* our own */
	const char *program;
	unsigned workers;
	struct child child[CHILD_COUNT];
};

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Puts fds at 3, 4, …; all others are closed. The first pass moves them out of each other's way. */
static int descriptors_arrange(int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		fds[i] = fcntl(fds[i], F_DUPFD, 3 + (int)count);
		if (fds[i] < 0)
			return -errno;
	}
	for (unsigned i = 0; i < count; i++)
		if (dup2(fds[i], 3 + (int)i) < 0)
			return -errno;
	return close_range(3 + count, ~0U, 0) < 0 ? -errno : 0;
}

static int uid_change(uid_t uid, gid_t gid)
{
	if (uid == (uid_t)-1)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

/* The child's side of fork: own descriptors, own uid, no more rights than that, then the program. */
_Noreturn static void child_exec(
        const struct process *process, const struct child *child, int *fds, unsigned count)
{
	const char *title = kinds[child->kind].title;
	char sockets[12];
	snprintf(sockets, sizeof sockets, "%u", count - 1);
	char *argv[] = { (char *)title, (char *)kinds[child->kind].option, sockets, NULL };

	sigset_t none;
	sigemptyset(&none);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	int ret = descriptors_arrange(fds, count);
	if (ret == 0)
		ret = uid_change(child->uid, child->gid);
	/* A change of uid clears the parent-death signal, so it is set after. */
	if (ret == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		ret = -errno;
	if (ret == 0 && getppid() != process->pid)
		_exit(1);
	if (ret == 0) {
		lseek(3, 0, SEEK_SET); /* the one before may have read it */
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (kinds[child->kind].tunables != NULL)
			setenv("GLIBC_TUNABLES", kinds[child->kind].tunables, 1);
		execv(process->program, argv);
		ret = -errno;
	}
	log_error("%s: cannot start: %s", title, strerror(-ret));
	_exit(127);
}

static pid_t child_fork(
        const struct process *process, const struct child *child, const int *sockets, unsigned count)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	int fds[1 + KEEPER_WORKERS_MAX] = { child->config };
	memcpy(fds + 1, sockets, sizeof(int) * count);
	child_exec(process, child, fds, 1 + count);
}

static int socket_pairs(int ours[KEEPER_WORKERS_MAX], int theirs[KEEPER_WORKERS_MAX], unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		int pair[2];
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
			int ret = -errno;
			close_all(ours, i);
			close_all(theirs, i);
			return ret;
		}
		ours[i] = pair[0];
		theirs[i] = pair[1];
	}
	return 0;
}

/* A recursor and a socket for each worker. The keeper keeps none of their ends, so that closing one is seen
 * at the other. */
static pid_t recursor_fork(const struct process *process, const struct child *child, bool is_restart)
{
	int ours[KEEPER_WORKERS_MAX], theirs[KEEPER_WORKERS_MAX];
	if (socket_pairs(ours, theirs, process->workers) < 0)
		return -1;
	pid_t pid = child_fork(process, child, theirs, process->workers);
	close_all(theirs, process->workers);
	if (pid > 0) {
		struct keeper_message started = { WORD_RECURSOR_STARTED, 0, pid, is_restart };
		line_send(process->line, &started, ours, process->workers);
	}
	close_all(ours, process->workers);
	return pid;
}

static void child_start(const struct process *process, struct child *child, bool is_restart)
{
	pid_t pid = child->socket < 0 ? recursor_fork(process, child, is_restart)
	                              : child_fork(process, child, &child->socket, 1);
	child->started_ms = now_ms();
	child->start_at_ms = pid > 0 ? 0 : child->started_ms + BACKOFF_MAX_MS;
	child->pid = pid > 0 ? pid : 0;
	if (pid < 0)
		log_error("%s: cannot start: %s", kinds[child->kind].noun, strerror(errno));
}

/* Dies once: again at once. Keeps dying within a second of each start: 100, 200, … ms apart, never more than
 * a second. */
static void child_ended(const struct process *process, struct child *child, int status)
{
	int64_t now = now_ms();
	bool quick = now - child->started_ms < QUICK_DEATH_MS;
	child->quick_deaths = quick ? child->quick_deaths + 1 : 0;
	int64_t wait_ms = 0;
	if (child->quick_deaths > 1)
		wait_ms = child->quick_deaths > 5 ? BACKOFF_MAX_MS : 50 << (child->quick_deaths - 1);
	child->start_at_ms = now + wait_ms;

	/* Exit code 0: its sockets were closed. The daemon is ending, then so are we in a moment, or it wants
	 * a new one. */
	if (WIFSIGNALED(status))
		log_warn("%s: killed by signal %d, starting it again", kinds[child->kind].noun,
		        WTERMSIG(status));
	else if (WEXITSTATUS(status) == 0)
		child->start_at_ms = now + ORDERLY_WAIT_MS;
	else
		log_warn("%s: ended with exit code %d, starting it again", kinds[child->kind].noun,
		        WEXITSTATUS(status));
	if (child->kind == CHILD_RECURSOR) {
		struct keeper_message ended = { WORD_RECURSOR_ENDED, 0, child->pid, 0 };
		line_send(process->line, &ended, NULL, 0);
	}
	child->pid = 0;
}

static void children_reap(struct process *process)
{
	struct signalfd_siginfo info;
	while (read(process->signals, &info, sizeof info) > 0)
		;
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < CHILD_COUNT; i++) {
			struct child *child = &process->child[i];
			if (child->pid == pid)
				child_ended(process, child, status);
			else if (child->retiring == pid)
				child->retiring = 0;
		}
}

/* A new configuration: the new child first, then the old one may go. */
static void child_replace(const struct process *process, struct child *child, int config, int socket)
{
	if (child->config >= 0)
		close(child->config);
	if (child->socket >= 0)
		close(child->socket);
	child->config = config;
	child->socket = socket;

	pid_t old = child->pid;
	child->quick_deaths = 0;
	child_start(process, child, false);
	if (old == 0)
		return;
	if (child->retiring)
		kill(child->retiring, SIGKILL);
	child->retiring = old;
	child->kill_at_ms = now_ms() + RETIRE_MS;
	if (kinds[child->kind].ends_by_signal)
		kill(old, SIGTERM);
}

/* One word from the daemon. Returns false when the daemon is gone. */
static bool process_obey(struct process *process)
{
	struct keeper_message message;
	int fds[KEEPER_WORKERS_MAX];
	unsigned count;
	int ret = line_receive(process->line, MSG_DONTWAIT, &message, fds, &count);
	if (ret == -EAGAIN || ret == -EBADMSG)
		return true;
	if (ret <= 0)
		return false;
	if (message.word == WORD_RECURSOR && count == 1)
		child_replace(process, &process->child[CHILD_RECURSOR], fds[0], -1);
	else if (message.word == WORD_READER && count == 2)
		child_replace(process, &process->child[CHILD_READER], fds[0], fds[1]);
	else if (message.word == WORD_ALERTER && count == 2)
		child_replace(process, &process->child[CHILD_ALERTER], fds[0], fds[1]);
	else
		close_all(fds, count);
	return true;
}

static void children_due(const struct process *process)
{
	int64_t now = now_ms();
	for (int i = 0; i < CHILD_COUNT; i++) {
		struct child *child = (struct child *)&process->child[i];
		if (child->retiring && now >= child->kill_at_ms) {
			kill(child->retiring, SIGKILL);
			child->kill_at_ms = now + RETIRE_MS;
		}
		if (child->start_at_ms && now >= child->start_at_ms)
			child_start(process, child, true);
	}
}

static int process_wait_ms(const struct process *process)
{
	int64_t next = INT64_MAX;
	for (int i = 0; i < CHILD_COUNT; i++) {
		const struct child *child = &process->child[i];
		if (child->start_at_ms && child->start_at_ms < next)
			next = child->start_at_ms;
		if (child->retiring && child->kill_at_ms < next)
			next = child->kill_at_ms;
	}
	if (next == INT64_MAX)
		return -1;
	int64_t wait = next - now_ms();
	return wait < 0 ? 0 : (int)wait;
}

static void process_run(struct process *process)
{
	struct pollfd polled[] = { { .fd = process->line, .events = POLLIN },
		{ .fd = process->signals, .events = POLLIN } };
	for (;;) {
		polled[0].revents = polled[1].revents = 0;
		poll(polled, 2, process_wait_ms(process));
		if (polled[1].revents)
			children_reap(process);
		if (polled[0].revents && !process_obey(process))
			return;
		children_due(process);
	}
}

/* The daemon is gone or wants an end: none of the children holds anything that would be lost. */
static void children_end(const struct process *process)
{
	for (int i = 0; i < CHILD_COUNT; i++) {
		const struct child *child = &process->child[i];
		if (child->pid)
			kill(child->pid, SIGKILL);
		if (child->retiring)
			kill(child->retiring, SIGKILL);
	}
	while (waitpid(-1, NULL, 0) > 0)
		;
}

/*
 * As root: the reader's uid, with the three capabilities and an empty bounding set, so that not even root's
 * own files can be written. Not as root there is nothing to drop.
 */
static int rights_drop(const struct keeper_options *options)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (options->reader_uid == (uid_t)-1)
		return 0;
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max < FILES_WANTED) {
		files.rlim_max =
		        FILES_WANTED; /* a wish: without it the recursor asks upstream from fewer ports */
		setrlimit(RLIMIT_NOFILE, &files);
	}
	capng_clear(CAPNG_SELECT_BOTH);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SETUID, CAP_SETGID, CAP_KILL, -1);
	if (capng_change_id((int)options->reader_uid, (int)options->reader_gid,
	            CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) != 0)
		return -EPERM;
	return 0;
}

static int process_prepare(struct process *process, int *line, const struct keeper_options *options)
{
	int ret = descriptors_arrange(line, 1);
	if (ret < 0)
		return ret;
	*line = 3;
	fcntl(*line, F_SETFD, FD_CLOEXEC);
	setsid(); /* control-C on the daemon's terminal is the daemon's to answer */
	prctl(PR_SET_NAME, "usherd: keeper");
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	process->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (process->signals < 0)
		return -errno;
	/* To go first is for the daemon's workers alone, which have a limit of its time. */
	setrlimit(RLIMIT_RTPRIO, &(struct rlimit){ 0, 0 });
	ret = rights_drop(options);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* where the daemon's uid may send it; EOF comes in any case */
	return ret;
}

_Noreturn static void process_main(int line, const struct keeper_options *options)
{
	struct process process = {
		.pid = getpid(),
		.program = options->program,
		.workers = options->workers,
		.child = { [CHILD_RECURSOR] = { CHILD_RECURSOR, options->recursor_uid, options->recursor_gid,
		                   -1, -1 },
		        [CHILD_READER] = { CHILD_READER, options->reader_uid, options->reader_gid, -1, -1 },
		        [CHILD_ALERTER] = { CHILD_ALERTER, options->reader_uid, options->reader_gid, -1,
		                -1 } },
	};
	struct keeper_message ready = { .word = WORD_READY };
	ready.error = process_prepare(&process, &line, options);
	process.line = line;
	if (line_send(line, &ready, NULL, 0) < 0 || ready.error != 0)
		_exit(1);
	process_run(&process);
	children_end(&process);
	_exit(0);
}

/* ---- a child's end ---- */

struct config *keeper_take_config(void)
{
	static char why[CONFIG_WHY_MAX];
	struct config *config;
	struct stat st;

	if (fstat(CONFIG_FD, &st) < 0 || st.st_size <= 0 || st.st_size > CONFIG_SIZE_MAX)
		log_fatal("no configuration: this process is usherd's to start");
	size_t len = (size_t)st.st_size;
	char *text = malloc(len);
	if (!text || pread(CONFIG_FD, text, len, 0) != (ssize_t)len)
		log_fatal("cannot read the configuration");
	close(CONFIG_FD);
	if (config_parse(&config, text, len, "configuration", why) < 0)
		log_fatal("%s", why);
	free(text);
	return config;
}

/* ---- the daemon's end ---- */

struct keeper {
	int line;
	pid_t pid;
	pid_t recursor_pid;
	unsigned recursor_restarts;
	struct event *readable;
	struct keeper_events events;
};

static int process_await_ready(int line)
{
	struct keeper_message message;
	int fds[KEEPER_WORKERS_MAX];
	unsigned count;
	int ret = line_receive(line, 0, &message, fds, &count);
	if (ret <= 0)
		return ret < 0 ? ret : -ECHILD;
	return message.error;
}

int keeper_start(struct keeper **out, const struct keeper_options *options)
{
	if (options->workers == 0 || options->workers > KEEPER_WORKERS_MAX)
		return -EINVAL;
	struct keeper *keeper = calloc(1, sizeof *keeper);
	if (!keeper)
		return -ENOMEM;
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		int ret = -errno;
		free(keeper);
		return ret;
	}
	keeper->line = pair[0];
	keeper->pid = fork();
	if (keeper->pid == 0)
		process_main(pair[1], options);
	close(pair[1]);
	int ret = keeper->pid < 0 ? -errno : process_await_ready(keeper->line);
	if (ret < 0) {
		keeper_stop(keeper);
		return ret;
	}
	*out = keeper;
	return 0;
}

static void keeper_lost(struct keeper *keeper)
{
	log_error("the keeper has died and the recursor with it: only cached, local and blocked names can be "
	          "answered");
	event_free(keeper->readable);
	keeper->readable = NULL;
	keeper->recursor_pid = 0;
	keeper->events.recursor_ended(keeper->events.arg);
	if (keeper->events.keeper_ended)
		keeper->events.keeper_ended(keeper->events.arg);
}

static void keeper_hear(struct keeper *keeper, const struct keeper_message *message, int *fds, unsigned count)
{
	switch (message->word) {
	case WORD_RECURSOR_STARTED:
		keeper->recursor_pid = message->pid;
		keeper->recursor_restarts += message->is_restart;
		keeper->events.recursor_started(keeper->events.arg, fds, count);
		return;
	case WORD_RECURSOR_ENDED:
		keeper->recursor_pid = 0;
		keeper->events.recursor_ended(keeper->events.arg);
		return;
	default:
		close_all(fds, count);
	}
}

static void keeper_readable(int line, short what, void *arg)
{
	struct keeper *keeper = arg;
	struct keeper_message message;
	int fds[KEEPER_WORKERS_MAX];
	unsigned count;
	int ret = line_receive(line, MSG_DONTWAIT, &message, fds, &count);
	if (ret > 0)
		keeper_hear(keeper, &message, fds, count);
	else if (ret == 0)
		keeper_lost(keeper);
	else if (ret == -EBADMSG) /* its sockets are closed now, so it ends and comes again */
		log_warn("cannot take a recursor's sockets: out of file descriptors?");
}

int keeper_attach(struct keeper *keeper, struct event_base *base, const struct keeper_events *events)
{
	keeper->events = *events;
	keeper->readable = event_new(base, keeper->line, EV_READ | EV_PERSIST, keeper_readable, keeper);
	if (!keeper->readable || event_add(keeper->readable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

/* Text in memory that nobody can change any more. Returns a descriptor or negative errno. */
static int memory_file(const char *name, const char *text, size_t len)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	int ret = 0;
	for (size_t at = 0; at < len && ret == 0;) {
		ssize_t wrote = write(fd, text + at, len - at);
		if (wrote < 0 && errno != EINTR)
			ret = -errno;
		else if (wrote > 0)
			at += (size_t)wrote;
	}
	if (ret == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		ret = -errno;
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

static int keeper_say(struct keeper *keeper, enum keeper_word word, const char *text, size_t len, int socket)
{
	int fds[2] = { memory_file("usher.yaml", text, len), socket };
	if (fds[0] < 0)
		return fds[0];
	struct keeper_message message = { .word = word };
	int ret = line_send(keeper->line, &message, fds, socket < 0 ? 1 : 2);
	close(fds[0]);
	return ret;
}

int keeper_recursor(struct keeper *keeper, const char *text, size_t len)
{
	return keeper_say(keeper, WORD_RECURSOR, text, len, -1);
}

int keeper_reader(struct keeper *keeper, const char *text, size_t len, int socket)
{
	return socket < 0 ? -EBADF : keeper_say(keeper, WORD_READER, text, len, socket);
}

int keeper_alerter(struct keeper *keeper, const char *text, size_t len, int socket)
{
	return socket < 0 ? -EBADF : keeper_say(keeper, WORD_ALERTER, text, len, socket);
}

pid_t keeper_recursor_pid(const struct keeper *keeper)
{
	return keeper->recursor_pid;
}

unsigned keeper_recursor_restarts(const struct keeper *keeper)
{
	return keeper->recursor_restarts;
}

void keeper_stop(struct keeper *keeper)
{
	if (!keeper)
		return;
	if (keeper->readable)
		event_free(keeper->readable);
	shutdown(keeper->line, SHUT_RDWR); /* EOF for the keeper, whoever else may hold a copy of the line */
	close(keeper->line);
	if (keeper->pid > 0)
		while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
			;
	free(keeper);
}
