/*
 * A child tells its status by its exit code: 0, or 1 + a status of HTTP - 400; the sentence stands in the
 * memfd then. Children are forked from a process without threads, so that they may do anything, and leave by
 * _exit(): what this process wants done at its end is not theirs.
 */
#include "job.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define RUNNING_MAX 8         /* children side by side */
#define RUNNING_OF_ONE_MAX 4  /* of one uid */
#define WAITING_MAX 56        /* more than connections there are (http.h) never come */
#define RUN_S 40              /* a reader's client waits a minute */
#define WAIT_S 15             /* for the turn */
#define ANSWER_MAX (64 << 20) /* octets; of 100,000 rows about half */
#define UNTAKEN_MAX (256u << 20)
#define OUT_FD 3

struct job {
	TAILQ_ENTRY(job) link;
	struct jobs *jobs;
	struct http_request *request;
	struct job_work work;
	uid_t uid;
	int64_t added_s;
	pid_t pid; /* 0: it waits */
	int pidfd, out;
	struct event *ended;
	bool late; /* killed when its time was over */
};

struct jobs {
	struct event_base *base;
	struct event *turn; /* looks who waits too long */
	TAILQ_HEAD(, job) jobs;
	unsigned count, running;
	size_t untaken; /* octets of answers that clients have not taken */
	bool closing;
};

static int64_t uptime_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* ---- the child ---- */

/* Only what nobody else wants: no processor, no disk that a lookup or the log's writer waits for. */
static void run_in_background(void)
{
	static const struct sched_param none = { 0 };

	setpriority(PRIO_PROCESS, 0, 19);
	sched_setscheduler(0, SCHED_IDLE, &none);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

/* In place of what was written, the sentence. */
static int say_why(int status, const char *why)
{
	if (lseek(OUT_FD, 0, SEEK_SET) < 0 || ftruncate(OUT_FD, 0) < 0 || write(OUT_FD, why, strlen(why)) < 0)
		return 1 + 503 - 400;
	return 1 + status - 400;
}

_Noreturn static void child_run(const struct job_work *work, int out, pid_t parent)
{
	char why[JOB_WHY_MAX] = "";
	static const struct rlimit most = { ANSWER_MAX, ANSWER_MAX };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || dup2(out, OUT_FD) < 0)
		_exit(1 + 503 - 400);
	close_range(OUT_FD + 1, ~0u, 0);
	signal(SIGTERM, SIG_DFL);
	if (!work->changes) {
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &most);
		run_in_background();
	}
	FILE *to = fdopen(dup(OUT_FD), "w");
	int status = to ? work->run(work->arg, to, why) : 503;
	if (to && fflush(to) != 0 && status == 0) {
		snprintf(why, sizeof why,
		        errno == EFBIG ? "the answer is too long: choose fewer by since, until or limit"
		                       : "out of memory");
		status = errno == EFBIG ? 400 : 503;
	}
	_exit(status == 0 ? 0 : say_why(status, why));
}

/* ---- the parent ---- */

static void jobs_go_on(struct jobs *jobs);

static void job_free(struct job *job)
{
	struct jobs *jobs = job->jobs;

	TAILQ_REMOVE(&jobs->jobs, job, link);
	jobs->count--;
	jobs->running -= job->pid != 0;
	if (job->ended)
		event_free(job->ended);
	if (job->pidfd >= 0)
		close(job->pidfd);
	if (job->out >= 0)
		close(job->out);
	if (job->work.free)
		job->work.free(job->work.arg);
	free(job);
}

struct answer {
	struct jobs *jobs;
	size_t len;
};

static void answer_taken(void *arg)
{
	struct answer *answer = arg;
	struct jobs *jobs = answer->jobs;

	jobs->untaken -= answer->len;
	free(answer);
	jobs_go_on(jobs);
}

static void reply_sentence(struct job *job, int status)
{
	char why[JOB_WHY_MAX];
	ssize_t len = pread(job->out, why, sizeof why - 1, 0);

	why[len > 0 ? len : 0] = 0;
	if (!job->request)
		log_error("log: %s", len > 0 ? why : "the reader failed");
	else
		http_reply_error(job->request, status, "%s", len > 0 ? why : "the reader failed");
}

static void reply_answer(struct job *job)
{
	off_t len = lseek(job->out, 0, SEEK_END);
	struct answer *answer = malloc(sizeof *answer);

	if (len < 0 || !answer) {
		free(answer);
		http_reply_error(job->request, 503, "out of memory");
		return;
	}
	*answer = (struct answer){ job->jobs, (size_t)len };
	job->jobs->untaken += (size_t)len;
	http_reply_file(
	        job->request, 200, job->work.content_type, job->out, (size_t)len, answer_taken, answer);
	job->out = -1;
}

/* request NULL: nobody waits for it, only a failure is told. */
static void job_reply(struct job *job, const siginfo_t *end)
{
	bool exited = end->si_code == CLD_EXITED;

	if (!job->request) {
		if (!exited || end->si_status != 0)
			reply_sentence(job, 503);
		return;
	}
	http_request_on_gone(job->request, NULL, NULL);
	if (exited && end->si_status == 0)
		reply_answer(job);
	else if (exited && end->si_status <= 200)
		reply_sentence(job, end->si_status - 1 + 400);
	else if (job->late)
		http_reply_error(job->request, 503,
		        "this took longer than %d s: choose less by since, until or client", RUN_S);
	else
		http_reply_error(job->request, 503, "the process that read the log ended unexpectedly");
}

static void job_ended(evutil_socket_t fd, short what, void *arg)
{
	struct job *job = arg;
	struct jobs *jobs = job->jobs;
	siginfo_t end = { 0 };

	if (what & EV_TIMEOUT) {
		job->late = true;
		kill(job->pid, SIGKILL);
		event_add(job->ended, NULL);
		return;
	}
	waitid(P_PIDFD, (id_t)fd, &end, WEXITED);
	job_reply(job, &end);
	job_free(job);
	jobs_go_on(jobs);
}

/* The request is answered all the same when the child has ended: that frees it. */
static void client_gone(void *arg)
{
	struct job *job = arg;

	if (job->pid) {
		kill(job->pid, SIGKILL);
		return;
	}
	http_reply_error(job->request, 503, "gone");
	job_free(job);
}

static int job_start(struct job *job)
{
	pid_t parent = getpid();

	job->out = memfd_create("answer", MFD_CLOEXEC);
	if (job->out < 0)
		return -errno;
	job->pid = fork();
	if (job->pid == 0)
		child_run(&job->work, job->out, parent);
	if (job->pid < 0) {
		job->pid = 0;
		return -errno;
	}
	job->jobs->running++;
	job->pidfd = (int)syscall(SYS_pidfd_open, job->pid, 0);
	job->ended = job->pidfd < 0 ? NULL : event_new(job->jobs->base, job->pidfd, EV_READ, job_ended, job);
	if (job->ended && event_add(job->ended, &(struct timeval){ .tv_sec = RUN_S }) == 0)
		return 0;
	kill(job->pid, SIGKILL);
	waitpid(job->pid, NULL, 0);
	return -ENOMEM;
}

static bool may_start(const struct jobs *jobs, const struct job *job)
{
	const struct job *other;
	unsigned of_one = 0;

	if (job->pid || jobs->running >= RUNNING_MAX || jobs->untaken > UNTAKEN_MAX)
		return false;
	TAILQ_FOREACH(other, &jobs->jobs, link)
	of_one += other->pid && other->uid == job->uid;
	return of_one < RUNNING_OF_ONE_MAX;
}

static void job_refuse(struct job *job, const char *why)
{
	if (job->request) {
		http_request_on_gone(job->request, NULL, NULL);
		http_reply_error(job->request, 503, "%s", why);
	}
	job_free(job);
}

/* Starts those whose turn it is, the oldest first. */
static void jobs_go_on(struct jobs *jobs)
{
	struct job *next;

	for (struct job *job = TAILQ_FIRST(&jobs->jobs); job && !jobs->closing; job = next) {
		next = TAILQ_NEXT(job, link);
		if (!may_start(jobs, job))
			continue;
		int ret = job_start(job);
		if (ret < 0) {
			log_error("log: a request cannot be worked on: %s", strerror(-ret));
			job_refuse(job, strerror(-ret));
		}
	}
}

static void turn_due(evutil_socket_t fd, short what, void *arg)
{
	struct jobs *jobs = arg;
	struct job *next;

	for (struct job *job = TAILQ_FIRST(&jobs->jobs); job; job = next) {
		next = TAILQ_NEXT(job, link);
		if (!job->pid && uptime_s() > job->added_s + WAIT_S)
			job_refuse(job, "too many are reading the log at the moment: try again soon");
	}
}

void jobs_add(struct jobs *jobs, struct http_request *request, const struct job_work *work)
{
	struct job *job = jobs->count < RUNNING_MAX + WAITING_MAX ? calloc(1, sizeof *job) : NULL;

	if (!job) {
		if (request)
			http_reply_error(
			        request, 503, "too many are reading the log at the moment: try again soon");
		if (work->free)
			work->free(work->arg);
		return;
	}
	*job = (struct job){ .jobs = jobs,
		.request = request,
		.work = *work,
		.uid = request ? http_peer_uid(request) : getuid(),
		.added_s = uptime_s(),
		.pidfd = -1,
		.out = -1 };
	TAILQ_INSERT_TAIL(&jobs->jobs, job, link);
	jobs->count++;
	if (request)
		http_request_on_gone(request, client_gone, job);
	jobs_go_on(jobs);
}

bool jobs_are_done(const struct jobs *jobs)
{
	return jobs->count == 0 && jobs->untaken == 0;
}

struct jobs *jobs_new(struct event_base *base)
{
	struct jobs *jobs = calloc(1, sizeof *jobs);

	if (!jobs)
		return NULL;
	jobs->base = base;
	TAILQ_INIT(&jobs->jobs);
	jobs->turn = event_new(base, -1, EV_PERSIST, turn_due, jobs);
	if (!jobs->turn || event_add(jobs->turn, &(struct timeval){ .tv_sec = 1 }) < 0) {
		if (jobs->turn)
			event_free(jobs->turn);
		free(jobs);
		return NULL;
	}
	return jobs;
}

void jobs_stop(struct jobs *jobs)
{
	struct job *job;

	jobs->closing = true;
	while ((job = TAILQ_FIRST(&jobs->jobs)) != NULL) {
		if (job->pid) {
			kill(job->pid, SIGKILL);
			waitpid(job->pid, NULL, 0);
		}
		job_refuse(job, "the reader is being replaced");
	}
}

void jobs_free(struct jobs *jobs)
{
	if (!jobs)
		return;
	event_free(jobs->turn);
	free(jobs);
}
