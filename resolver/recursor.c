/*
 * The process that speaks with strangers. It is given its configuration and one socket a worker, opens
 * libunbound, then gives up all else (sandbox.h) and serves until the last worker has closed its socket. It
 * holds nothing that would be missed: when it dies, the keeper starts another and the workers ask again.
 *
 * One cap, four times `in-flight`, on all that libunbound works on. What somebody still waits for is limited
 * by the workers (slots.h), and by them alone: they know when they gave up, and were the recursor late by a
 * second and counted too, it would refuse everybody for that second. The cap is for what nobody waits for any
 * more: libunbound tries dead name servers for half a minute, workers give up after 5 s.
 */
#include "recursor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper.h"
#include "log.h"
#include "sandbox.h"

#define FIRST_SOCKET 4
#define MEMORY_MAX (1024u << 20) /* caches, and in-flight * 4 states of some 20 KiB */
#define PENDING_FACTOR 4         /* of in-flight */
#define BATCH 64                 /* answers a packet */
#define UNSENT_MAX (16u << 20)   /* octets of answers kept for a worker that does not read */
#define SOCKET_ROOM (1 << 20)

/* An answer on its way: until the loop's turn ends, and while there is no room in a worker's socket. */
struct unsent {
	STAILQ_ENTRY(unsent) entry;
	size_t len;
	uint8_t message[];
};

/* The line to one worker. */
struct line {
	struct recursor *recursor;
	int fd; /* -1: the worker closed it */
	struct event *readable, *writable;
	struct event *due; /* at the end of the loop's turn: its answers go out together */
	STAILQ_HEAD(, unsent) unsent;
	unsigned unsent_count;
	size_t unsent_len;
};

/* A question that libunbound works on. */
struct pending {
	LIST_ENTRY(pending) entry;
	struct line *line;
	uint64_t id;
	bool checking_disabled;
};

struct recursor {
	struct event_base *base;
	struct upstream *upstream;
	struct line *lines;
	unsigned line_count, lines_open;
	LIST_HEAD(, pending) pending;
	unsigned pending_count, pending_max;
};

/* ---- answers ---- */

static void line_close(struct line *line)
{
	struct recursor *recursor = line->recursor;
	event_free(line->readable);
	event_free(line->writable);
	event_free(line->due);
	close(line->fd);
	line->fd = -1;
	line->unsent_count = 0;
	line->unsent_len = 0;
	for (struct unsent *unsent; (unsent = STAILQ_FIRST(&line->unsent));) {
		STAILQ_REMOVE_HEAD(&line->unsent, entry);
		free(unsent);
	}
	if (--recursor->lines_open == 0)
		event_base_loopbreak(recursor->base);
}

static void line_drop(struct line *line, int count)
{
	for (; count > 0; count--) {
		struct unsent *unsent = STAILQ_FIRST(&line->unsent);
		STAILQ_REMOVE_HEAD(&line->unsent, entry);
		line->unsent_count--;
		line->unsent_len -= unsent->len;
		free(unsent);
	}
}

/* As many as a packet holds. Returns how many went, or -1 with errno. */
static int line_send(const struct line *line)
{
	struct iovec iov[BATCH];
	struct msghdr packet = { .msg_iov = iov };
	struct unsent *unsent;
	size_t len = 0;

	STAILQ_FOREACH(unsent, &line->unsent, entry)
	{
		len += unsent->len;
		if (packet.msg_iovlen == BATCH || len > RECURSOR_ANSWERS_MAX)
			break;
		iov[packet.msg_iovlen++] = (struct iovec){ unsent->message, unsent->len };
	}
	return sendmsg(line->fd, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : (int)packet.msg_iovlen;
}

/* An answer that the kernel refuses is dropped alone: the worker's deadline answers for us. */
static void line_flush(struct line *line)
{
	while (!STAILQ_EMPTY(&line->unsent)) {
		int sent = line_send(line);
		if (sent < 0 && errno == EAGAIN) {
			event_add(line->writable, NULL);
			return;
		}
		line_drop(line, sent > 0 ? sent : 1);
	}
}

/* A worker that does not read loses what is beyond the queue: its deadline answers for us. */
static void answer_queue(struct line *line, const struct iovec *iov, int count, size_t len)
{
	struct unsent *unsent = line->unsent_len + len <= UNSENT_MAX ? malloc(sizeof *unsent + len) : NULL;
	if (!unsent)
		return;
	unsent->len = 0;
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > 0)
			memcpy(unsent->message + unsent->len, iov[i].iov_base, iov[i].iov_len);
		unsent->len += iov[i].iov_len;
	}
	STAILQ_INSERT_TAIL(&line->unsent, unsent, entry);
	line->unsent_len += len;
	if (++line->unsent_count % BATCH == 0)
		line_flush(line);
	else
		event_active(line->due, EV_TIMEOUT, 0);
}

static void answer_send(struct line *line, uint64_t id, const struct recursion_result *result)
{
	if (line->fd < 0)
		return;
	size_t why_len = strnlen(result->why, RECURSOR_ANSWER_WHY_MAX);
	struct recursor_answer answer = { .id = id,
		.status = (uint8_t)result->status,
		.secure = result->secure,
		.ede = (int16_t)result->ede,
		.why_len = (uint16_t)why_len,
		.wire_len = (uint16_t)result->wire_len };
	struct iovec iov[] = { { &answer, sizeof answer }, { (void *)result->why, why_len },
		{ (void *)result->wire, result->wire_len } };
	answer_queue(line, iov, 3, sizeof answer + why_len + result->wire_len);
}

static void question_answered(void *arg, const struct recursion_result *result)
{
	struct pending *pending = arg;
	struct recursion_result told = *result;
	/* Data that failed validation is for those who validate themselves (RFC 4035 3.2.2). */
	if (told.status == RECURSION_BOGUS && !pending->checking_disabled) {
		told.wire = NULL;
		told.wire_len = 0;
	}
	LIST_REMOVE(pending, entry);
	pending->line->recursor->pending_count--;
	answer_send(pending->line, pending->id, &told);
	free(pending);
}

/* ---- questions ---- */

static struct pending *pending_new(struct line *line, const struct recursor_question *question)
{
	struct recursor *recursor = line->recursor;
	if (recursor->pending_count >= recursor->pending_max)
		return NULL;
	struct pending *pending = malloc(sizeof *pending);
	if (!pending)
		return NULL;
	*pending = (struct pending){
		.line = line, .id = question->id, .checking_disabled = question->checking_disabled
	};
	LIST_INSERT_HEAD(&recursor->pending, pending, entry);
	recursor->pending_count++;
	return pending;
}

static void question_take(
        struct line *line, const struct recursor_question *question, const struct name *name)
{
	struct pending *pending = pending_new(line, question);

	if (!pending) {
		const struct recursion_result busy = { .status = RECURSION_BUSY, .ede = EDE_NONE, .why = "" };
		answer_send(line, question->id, &busy);
		return;
	}
	upstream_resolve(line->recursor->upstream, name, question->type, question_answered, pending);
}

/* Returns the octets of the question that stood first in a packet, or 0: there is no whole one. */
static size_t question_read(
        const uint8_t *packet, size_t left, struct recursor_question *question, struct name *name)
{
	if (left < sizeof *question)
		return 0;
	memcpy(question, packet, sizeof *question);
	if (left - sizeof *question < question->name_len ||
	        name_from_wire(name, packet + sizeof *question, question->name_len) != question->name_len)
		return 0;
	return sizeof *question + question->name_len;
}

/* Returns whether the worker is still there. */
static bool questions_take(struct line *line)
{
	uint8_t packet[RECURSOR_QUESTIONS_MAX];
	ssize_t got = recv(line->fd, packet, sizeof packet, MSG_DONTWAIT);
	struct recursor_question question;
	struct name name;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	for (size_t at = 0, took; at < (size_t)got; at += took) {
		took = question_read(packet + at, (size_t)got - at, &question, &name);
		if (took == 0)
			break;
		question_take(line, &question, &name);
	}
	return got > 0;
}

static void line_readable(int fd, short what, void *arg)
{
	struct line *line = arg;

	if (!questions_take(line))
		line_close(line);
}

static void line_writable(int fd, short what, void *arg)
{
	line_flush(arg);
}

static void line_due(int fd, short what, void *arg)
{
	line_flush(arg);
}

/* ---- the process ---- */

static void line_open(struct line *line, struct recursor *recursor, int fd)
{
	int room = SOCKET_ROOM; /* as much of it as the system grants; an answer of 65535 octets fits the
	                           default too */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	evutil_make_socket_nonblocking(fd);
	line->recursor = recursor;
	line->fd = fd;
	STAILQ_INIT(&line->unsent);
	line->readable = event_new(recursor->base, fd, EV_READ | EV_PERSIST, line_readable, line);
	line->writable = event_new(recursor->base, fd, EV_WRITE, line_writable, line);
	line->due = event_new(recursor->base, -1, 0, line_due, line);
	if (!line->readable || !line->writable || !line->due || event_add(line->readable, NULL) < 0)
		log_fatal("out of memory");
}

/* Upstream questions take a socket each. */
static void limits_raise(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur == files.rlim_max)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static void recursor_open(struct recursor *recursor, unsigned sockets)
{
	char why[UPSTREAM_WHY_MAX];
	struct config *config = keeper_take_config();
	recursor->pending_max = PENDING_FACTOR * config->limits.in_flight;
	recursor->line_count = recursor->lines_open = sockets;
	recursor->base = event_base_new();
	recursor->lines = calloc(sockets, sizeof *recursor->lines);
	if (!recursor->base || !recursor->lines)
		log_fatal("out of memory");
	if (upstream_open(&recursor->upstream, recursor->base, config, why) < 0)
		log_fatal("%s", why);
	config_free(config);
	for (unsigned i = 0; i < sockets; i++)
		line_open(&recursor->lines[i], recursor, FIRST_SOCKET + (int)i);
}

static void recursor_close(struct recursor *recursor)
{
	upstream_close(recursor->upstream);
	for (struct pending *pending; (pending = LIST_FIRST(&recursor->pending));) {
		LIST_REMOVE(pending, entry);
		free(pending);
	}
	free(recursor->lines);
	event_base_free(recursor->base);
}

static void recursor_cage(void)
{
	int ret = sandbox_enter(MEMORY_MAX);
	if (!sandbox_is_real())
		log_info("built with sanitizers: no sandbox");
	else if (ret < 0)
		log_warn("running without a system call filter: %s", strerror(-ret));
}

_Noreturn void recursor_main(int argc, char **argv)
{
	int sockets = argc == 3 ? atoi(argv[2]) : 0;
	struct recursor recursor = { 0 };
	log_start("usherd: recursor");
	if (sockets < 1 || sockets > KEEPER_WORKERS_MAX)
		log_fatal("this process is usherd's to start");
	prctl(PR_SET_NAME, "usherd:recursor"); /* 15 characters are what the kernel keeps */
	signal(SIGINT, SIG_IGN);               /* it ends with its sockets */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	limits_raise();
	recursor_open(&recursor, (unsigned)sockets);
	recursor_cage();
	event_base_dispatch(recursor.base);
	recursor_close(&recursor);
	exit(0);
}

int recursor_check(const struct config *config, char why[RECURSOR_WHY_MAX])
{
	struct upstream *upstream;
	struct event_base *base = event_base_new();
	if (!base) {
		snprintf(why, RECURSOR_WHY_MAX, "out of memory");
		return -ENOMEM;
	}
	int ret = upstream_open(&upstream, base, config, why);
	if (ret == 0)
		upstream_close(upstream);
	event_base_free(base);
	return ret;
}
