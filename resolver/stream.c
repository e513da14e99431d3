/*
 * A stream is in one of three lists by what it waits for, each in order of time, so that one timer finds who
 * is due and the head of the idle ones is who makes room:
 *
 *   idle   for its client, since the last whole query or answer: a byte a second keeps nobody's place
 *   busy   for recursion, which has its own deadline
 *   slow   for its client to take answers, since the first of them was not taken; no query is read meanwhile
 *
 * Bufferevents were the alternative: 1470 octets of heap an idle connection where this takes 290. Queries are
 * read into the worker's own room and answers gathered there; only what is incomplete or not taken goes to
 * the heap (held.h). A stream is closed by its own event, the timer or an accept, never in the middle of a
 * reply.
 */
#include "stream.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "held.h"
#include "query.h"

#define PIPELINE_MAX 100 /* queries of one connection that may wait; reading pauses beyond */
#define READ_MAX 8192    /* octets taken in one turn, so that one connection cannot hold up the worker */
#define BATCH 32         /* queries of one connection that are read and fetched together, see query.h */
#define GATHER_MAX (96 * 1024) /* at least the largest answer */
#define HELD_MAX (16 << 20)    /* octets of heap for slow clients */
#define DROP_MAX (256 << 10)   /* octets behind what is no query, before a reset has to do */
#define ACCEPTS_A_TURN 64
#define ACCEPT_PAUSE_MS 100
#define NETWORK_CLIENTS 16 /* an IPv6 /64 may hold as many connections as so many clients */

enum stream_state { STREAM_IDLE, STREAM_BUSY, STREAM_SLOW, STREAM_STATES };

struct stream {
	struct streams *streams;
	TAILQ_ENTRY(stream) link; /* in its state's list */
	uint64_t since_us;        /* … and the order there */
	struct event ready;
	struct held *in;  /* part of a query, or more of them than may wait */
	struct held *out; /* answers not taken yet */
	struct query *waiting;
	uint8_t address[16];
	uint16_t waiting_count;
	uint8_t state;          /* enum stream_state */
	bool client_done;       /* its FIN, or no query, came: answer what waits, then close */
	bool no_query;          /* … the latter: more may come behind it */
	bool drops;             /* all is answered, our FIN sent: its FIN is waited for */
	uint32_t dropped;       /* octets */
	enum stats_counter end; /* other than 0: to be closed, counted as this */
};

TAILQ_HEAD(stream_list, stream);

struct listener {
	struct streams *streams;
	struct listener *next;
	struct event *readable, *resume; /* resume: after the process ran out of descriptors */
	int fd;
};

struct streams {
	struct worker *worker;
	struct stream_limits *limits;
	struct listener *listeners;
	struct stream_list list[STREAM_STATES];
	struct event *due;
	struct held_budget budget;
	struct stream *serving; /* its answers are gathered */
	size_t gathered;
	unsigned answered;         /* queries of this turn that are done with */
	struct query query[BATCH]; /* of the stream that is served */
	uint8_t in[READ_MAX], gather[GATHER_MAX];
};

/* The counts of connections of an address and, of IPv6, of all in its /64 (else NULL). */
struct client_counts {
	_Atomic uint32_t *address, *network;
};

static struct client_counts client_counts(struct streams *streams, const uint8_t address[16])
{
	struct stream_limits *limits = streams->limits;
	uint64_t one = address_hash(address, limits->seed), all = address_client_hash(address, limits->seed);

	return (struct client_counts){ &limits->of_client[one % STREAM_CLIENT_BUCKETS],
		all != one ? &limits->of_client[all % STREAM_CLIENT_BUCKETS] : NULL };
}

static bool client_may_open(struct streams *streams, const uint8_t address[16])
{
	uint32_t most = streams->worker->snapshot->config->limits.tcp_per_client;
	struct client_counts counts = client_counts(streams, address);

	return atomic_load(counts.address) < most &&
	       (counts.network == NULL || atomic_load(counts.network) / NETWORK_CLIENTS < most);
}

static void count_opened(struct streams *streams, const uint8_t address[16])
{
	struct client_counts counts = client_counts(streams, address);

	atomic_fetch_add(&streams->limits->open, 1);
	atomic_fetch_add(counts.address, 1);
	if (counts.network != NULL)
		atomic_fetch_add(counts.network, 1);
	STATS_ADD(&streams->worker->stats, TCP_ACCEPTED);
}

static void count_closed(struct streams *streams, const uint8_t address[16])
{
	struct client_counts counts = client_counts(streams, address);

	atomic_fetch_sub(&streams->limits->open, 1);
	atomic_fetch_sub(counts.address, 1);
	if (counts.network != NULL)
		atomic_fetch_sub(counts.network, 1);
	STATS_ADD(&streams->worker->stats, TCP_CLOSED);
}

static uint64_t idle_us(const struct streams *streams)
{
	return (uint64_t)streams->worker->snapshot->config->limits.tcp_idle_ms * 1000;
}

/* ---- lists ---- */

static void due_in(struct streams *streams, uint64_t us)
{
	struct timeval in = { .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };

	if (!event_pending(streams->due, EV_TIMEOUT, NULL))
		event_add(streams->due, &in);
}

static void stream_enter(struct stream *stream, enum stream_state state)
{
	struct streams *streams = stream->streams;

	stream->state = (uint8_t)state;
	stream->since_us = streams->worker->mono_us;
	TAILQ_INSERT_TAIL(&streams->list[state], stream, link);
	due_in(streams, idle_us(streams));
}

static void stream_leave(struct stream *stream)
{
	TAILQ_REMOVE(&stream->streams->list[stream->state], stream, link);
}

static void waiting_unlink(struct query *query)
{
	if (query->prev == NULL)
		return;
	*query->prev = query->next;
	if (query->next != NULL)
		query->next->prev = query->prev;
	query->prev = NULL;
	query->stream->waiting_count--;
}

/* ---- the end ---- */

/* For one that takes nothing, the kernel shall not go on trying. */
static void close_at_once(int fd)
{
	struct linger none = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	close(fd);
}

static void stream_close(struct stream *stream, enum stats_counter why)
{
	struct streams *streams = stream->streams;
	int fd = event_get_fd(&stream->ready);

	while (stream->waiting != NULL) {
		struct query *query = stream->waiting;
		waiting_unlink(query);
		query_abandon(query);
	}
	stream_leave(stream);
	count_closed(streams, stream->address);
	if (why != STATS_TCP_CLOSED)
		stats_add(&streams->worker->stats.counter[why], 1);
	event_del(&stream->ready);
	if (stream->out != NULL)
		close_at_once(fd);
	else
		close(fd);
	held_drop(&stream->in, &streams->budget);
	held_drop(&stream->out, &streams->budget);
	free(stream);
}

/* In the middle of a reply nothing may be freed: the stream's own turn comes soon. */
static void stream_end_soon(struct stream *stream, enum stats_counter why)
{
	if (stream->end == 0)
		stream->end = why;
	event_active(&stream->ready, EV_TIMEOUT, 0);
}

static void streams_expire(struct streams *streams)
{
	static const struct {
		enum stream_state state;
		enum stats_counter why;
	} ends[] = { { STREAM_IDLE, STATS_TCP_CLOSED_IDLE }, { STREAM_SLOW, STATS_TCP_CLOSED_SLOW } };
	uint64_t patience_us = idle_us(streams), next_us = UINT64_MAX;
	struct stream *stream;

	worker_clock(streams->worker);
	uint64_t now_us = streams->worker->mono_us;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		while ((stream = TAILQ_FIRST(&streams->list[ends[i].state])) != NULL &&
		        stream->since_us + patience_us <= now_us)
			stream_close(stream, ends[i].why);
		if (stream != NULL && stream->since_us + patience_us - now_us < next_us)
			next_us = stream->since_us + patience_us - now_us;
	}
	if (next_us != UINT64_MAX)
		due_in(streams, next_us);
}

static void streams_due(evutil_socket_t fd, short what, void *arg)
{
	streams_expire(arg);
}

/* ---- answers ---- */

/* What the kernel does not take is held. */
static void stream_write(struct stream *stream, const void *data, size_t len)
{
	struct held_budget *budget = &stream->streams->budget;
	ssize_t sent = 0;

	if (stream->end != 0)
		return;
	if (stream->out == NULL)
		sent = send(event_get_fd(&stream->ready), data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
		stream_end_soon(stream, STATS_TCP_CLOSED);
		return;
	}
	if (sent < 0)
		sent = 0;
	if (!held_add(&stream->out, budget, (const uint8_t *)data + sent, len - (size_t)sent))
		stream_end_soon(stream, STATS_TCP_CLOSED_SLOW);
}

static void stream_flush_held(struct stream *stream)
{
	struct held_budget *budget = &stream->streams->budget;
	size_t len;
	const uint8_t *data = held_data(stream->out, &len);

	if (len == 0)
		return;
	ssize_t sent = send(event_get_fd(&stream->ready), data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent >= 0)
		held_skip(&stream->out, budget, (size_t)sent);
	else if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
		stream_end_soon(stream, STATS_TCP_CLOSED);
}

static void gather_flush(struct streams *streams)
{
	if (streams->gathered > 0)
		stream_write(streams->serving, streams->gather, streams->gathered);
	streams->gathered = 0;
}

static void gather_add(struct streams *streams, const uint8_t *wire, size_t len)
{
	if (streams->gathered + 2 + len > GATHER_MAX)
		gather_flush(streams);
	wire_write16(streams->gather + streams->gathered, (uint16_t)len);
	memcpy(streams->gather + streams->gathered + 2, wire, len);
	streams->gathered += 2 + len;
}

/* ---- what the stream waits for ---- */

static bool stream_has_room(const struct stream *stream)
{
	return stream->waiting_count < PIPELINE_MAX && stream->out == NULL;
}

/* The events and the list that fit what it waits for now. */
static void stream_settle(struct stream *stream)
{
	short want = EV_PERSIST, have = event_get_events(&stream->ready) & (EV_READ | EV_WRITE | EV_PERSIST);
	enum stream_state state = STREAM_IDLE;

	if (stream->out != NULL) {
		want |= EV_WRITE;
		state = STREAM_SLOW;
	} else if (stream->waiting_count > 0) {
		state = STREAM_BUSY;
	}
	if (stream->drops || (stream_has_room(stream) && !stream->client_done))
		want |= EV_READ;
	if (state != stream->state) {
		stream_leave(stream);
		stream_enter(stream, state);
	}
	if (want == have)
		return;
	struct event_base *base = event_get_base(&stream->ready);
	event_callback_fn callback = event_get_callback(&stream->ready);
	event_del(&stream->ready);
	event_assign(&stream->ready, base, event_get_fd(&stream->ready), want, callback, stream);
	if ((want & (EV_READ | EV_WRITE)) != 0)
		event_add(&stream->ready, NULL);
}

/* A whole query or answer: its idle time begins anew. */
static void stream_touch(struct stream *stream)
{
	if (stream->state != STREAM_IDLE)
		return;
	stream_leave(stream);
	stream_enter(stream, STREAM_IDLE);
}

/* An answer that recursion brought. The stream's own turn goes on with what it could not take before. */
static void stream_answer(struct stream *stream, const uint8_t *wire, size_t len)
{
	struct streams *streams = stream->streams;

	streams->serving = stream;
	if (wire != NULL)
		gather_add(streams, wire, len);
	gather_flush(streams);
	streams->serving = NULL;
	stream_settle(stream);
	if (stream->in != NULL || stream->client_done || stream->end != 0)
		event_active(&stream->ready, EV_TIMEOUT, 0);
}

static void stream_reply(struct query *query, const uint8_t *wire, size_t len)
{
	struct stream *stream = query->stream;

	waiting_unlink(query);
	if (stream != stream->streams->serving) {
		stream_answer(stream, wire, len);
		return;
	}
	stream->streams->answered += !query->kept;
	if (wire != NULL)
		gather_add(stream->streams, wire, len);
}

static void stream_keep(struct query *query, struct query *kept)
{
	struct stream *stream = query->stream;

	waiting_unlink(query); /* judged again: the new copy takes its place */
	kept->next = stream->waiting;
	if (kept->next != NULL)
		kept->next->prev = &kept->next;
	kept->prev = &stream->waiting;
	stream->waiting = kept;
	stream->waiting_count++;
}

/* ---- queries ---- */

/*
 * Reads the whole queries of data, as many as may come next, up to what is no query. Returns their number.
 */
static unsigned stream_read_batch(struct stream *stream, const uint8_t *data, size_t len)
{
	struct streams *streams = stream->streams;
	unsigned count = 0, most = PIPELINE_MAX - stream->waiting_count;

	if (most > BATCH)
		most = BATCH;
	while (count < most && len >= 2) {
		struct query *query = &streams->query[count];
		query->wire_len = wire_read16(data);
		if (query->wire_len < MESSAGE_HEADER_LEN || len - 2 < query->wire_len)
			break;
		query->wire = data + 2;
		query->stream = stream;
		memcpy(query->address, stream->address, sizeof query->address);
		query_read(query);
		data += 2 + query->wire_len;
		len -= 2 + query->wire_len;
		count++;
	}
	return count;
}

/* What no query can begin with. */
static bool is_no_query(const uint8_t *data, size_t len)
{
	return len >= 2 && wire_read16(data) < MESSAGE_HEADER_LEN;
}

/*
 * Serves the whole queries of data, as long as there is room. Returns how many octets were taken: after what
 * is no query all of them, for where the next would begin nobody knows. The client gets what it asked for
 * before.
 */
static size_t stream_take(struct stream *stream, const uint8_t *data, size_t len)
{
	struct query *query = stream->streams->query;
	size_t taken = 0;

	while (stream->end == 0 && stream_has_room(stream)) {
		unsigned count = stream_read_batch(stream, data + taken, len - taken);
		if (count == 0)
			break;
		query_fetch(query, count);
		for (unsigned i = 0; i < count && stream_has_room(stream); i++) {
			query_answer(&query[i]);
			taken += 2 + query[i].wire_len;
		}
	}
	if (!stream_has_room(stream) || !is_no_query(data + taken, len - taken))
		return taken;
	stream->client_done = stream->no_query = true;
	return len;
}

/* What came now stands behind what is held, or is taken where it lies. */
static void stream_take_all(struct stream *stream, size_t got)
{
	struct streams *streams = stream->streams;
	struct held_budget *budget = &streams->budget;
	bool fits = true;
	size_t len, taken = 0;

	if (stream->in == NULL) {
		taken = stream_take(stream, streams->in, got);
		fits = held_add(&stream->in, budget, streams->in + taken, got - taken);
	} else if ((fits = held_add(&stream->in, budget, streams->in, got))) {
		const uint8_t *data = held_data(stream->in, &len);
		taken = stream_take(stream, data, len);
		held_skip(&stream->in, budget, taken);
	}
	if (!fits)
		stream_end_soon(stream, STATS_TCP_CLOSED_SLOW);
	if (taken > 0)
		stream_touch(stream);
}

static size_t stream_read(struct stream *stream)
{
	ssize_t got = recv(event_get_fd(&stream->ready), stream->streams->in, READ_MAX, MSG_DONTWAIT);

	if (got == 0)
		stream->client_done = true;
	else if (got < 0 && errno != EAGAIN && errno != EINTR)
		stream_end_soon(stream, STATS_TCP_CLOSED);
	return got > 0 ? (size_t)got : 0;
}

/*
 * All is answered. To close a socket with input that nobody read is a reset, which may take answers away that
 * the client has not got yet: so behind what is no query the client's end is waited for, as long as for an
 * idle one.
 */
static void stream_finish(struct stream *stream)
{
	stream->drops = stream->no_query && shutdown(event_get_fd(&stream->ready), SHUT_WR) == 0;
	if (stream->drops)
		stream_settle(stream);
	else
		stream_close(stream, STATS_TCP_CLOSED);
}

static void stream_drop(struct stream *stream)
{
	ssize_t got = recv(event_get_fd(&stream->ready), stream->streams->in, READ_MAX, MSG_DONTWAIT);
	bool ended = got < 0 ? errno != EAGAIN && errno != EINTR : got == 0;

	stream->dropped += got > 0 ? (uint32_t)got : 0;
	if (ended || stream->dropped > DROP_MAX)
		stream_close(stream, STATS_TCP_CLOSED);
}

/* Answers, then queries, then what comes of it: the one place that reads queries, and closes by itself. */
static void stream_serve(struct stream *stream)
{
	struct streams *streams = stream->streams;
	size_t got = 0;

	worker_clock(streams->worker);
	uint64_t begin_us = streams->worker->mono_us;
	streams->answered = 0;
	stream_flush_held(stream);
	if (stream_has_room(stream) && !stream->client_done)
		got = stream_read(stream);
	streams->serving = stream;
	stream_take_all(stream, got);
	gather_flush(streams);
	streams->serving = NULL;
	worker_clock(streams->worker);
	for (unsigned i = 0; i < streams->answered; i++)
		stats_latency(&streams->worker->stats, streams->worker->mono_us - begin_us);
	bool finished = stream->client_done && stream->waiting_count == 0 && stream->out == NULL;
	if (stream->end != 0)
		stream_close(stream, stream->end);
	else if (finished)
		stream_finish(stream);
	else
		stream_settle(stream);
}

static void stream_ready(evutil_socket_t fd, short what, void *arg)
{
	struct stream *stream = arg;

	if (stream->drops)
		stream_drop(stream);
	else
		stream_serve(stream);
}

/* ---- connections ---- */

/* Whoever is idle longest gives way. False if all of this worker's are in use. */
static bool streams_make_room(struct streams *streams)
{
	struct stream *oldest = TAILQ_FIRST(&streams->list[STREAM_IDLE]);

	if (oldest == NULL)
		return false;
	stream_close(oldest, STATS_TCP_CLOSED_CAP);
	return true;
}

static void stream_open(struct streams *streams, int fd, const uint8_t address[16])
{
	struct event_base *base = streams->worker->base;
	struct stream *stream = calloc(1, sizeof *stream);

	count_opened(streams, address);
	if (stream == NULL) {
		count_closed(streams, address);
		close(fd);
		return;
	}
	stream->streams = streams;
	memcpy(stream->address, address, sizeof stream->address);
	event_assign(&stream->ready, base, fd, EV_READ | EV_PERSIST, stream_ready, stream);
	stream_enter(stream, STREAM_IDLE);
	if (event_add(&stream->ready, NULL) < 0)
		stream_close(stream, STATS_TCP_CLOSED);
}

static void connection_accepted(struct streams *streams, int fd, const struct sockaddr *peer)
{
	const struct config_limits *limits = &streams->worker->snapshot->config->limits;
	uint8_t address[16];

	address_from_socket(address, peer);
	if (!client_may_open(streams, address) ||
	        (atomic_load(&streams->limits->open) >= limits->tcp_clients && !streams_make_room(streams))) {
		STATS_ADD(&streams->worker->stats, TCP_REFUSED);
		close(fd);
		return;
	}
	stream_open(streams, fd, address);
}

/* No descriptors or memory left: somebody makes room, and a little later there is another try. */
static void listener_failed(struct listener *listener)
{
	static const struct timeval pause = { .tv_usec = ACCEPT_PAUSE_MS * 1000 };

	streams_make_room(listener->streams);
	event_del(listener->readable);
	event_add(listener->resume, &pause);
}

static void listener_accept(struct listener *listener)
{
	worker_clock(listener->streams->worker);
	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof peer;
		int fd = accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			connection_accepted(listener->streams, fd, (const struct sockaddr *)&peer);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			listener_failed(listener);
		if (fd < 0)
			return;
	}
}

static void listener_readable(evutil_socket_t fd, short what, void *arg)
{
	listener_accept(arg);
}

static void listener_resumed(evutil_socket_t fd, short what, void *arg)
{
	event_add(((struct listener *)arg)->readable, NULL);
}

/* ---- the interface ---- */

struct streams *streams_new(struct worker *worker, struct stream_limits *limits)
{
	struct streams *streams = calloc(1, sizeof *streams);

	if (streams == NULL)
		return NULL;
	streams->worker = worker;
	streams->limits = limits;
	streams->budget.most = HELD_MAX;
	for (unsigned i = 0; i < STREAM_STATES; i++)
		TAILQ_INIT(&streams->list[i]);
	for (unsigned i = 0; i < BATCH; i++)
		streams->query[i] = (struct query){
			.worker = worker,
			.tcp = true,
			.out = worker->reply,
			.out_size = sizeof worker->reply,
			.reply = stream_reply,
			.keep = stream_keep,
		};
	streams->due = evtimer_new(worker->base, streams_due, streams);
	if (streams->due == NULL) {
		free(streams);
		return NULL;
	}
	return streams;
}

int streams_listen(struct streams *streams, int fd)
{
	struct event_base *base = streams->worker->base;
	struct listener *listener = calloc(1, sizeof *listener);

	if (listener == NULL) {
		close(fd);
		return -ENOMEM;
	}
	listener->streams = streams;
	listener->fd = fd;
	listener->next = streams->listeners;
	streams->listeners = listener;
	listener->readable = event_new(base, fd, EV_READ | EV_PERSIST, listener_readable, listener);
	listener->resume = evtimer_new(base, listener_resumed, listener);
	if (listener->readable == NULL || listener->resume == NULL || event_add(listener->readable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void streams_stop(struct streams *streams)
{
	for (struct listener *listener = streams->listeners; listener != NULL; listener = listener->next) {
		event_del(listener->readable);
		event_del(listener->resume);
	}
}

static void listener_free(struct listener *listener)
{
	if (listener->readable != NULL)
		event_free(listener->readable);
	if (listener->resume != NULL)
		event_free(listener->resume);
	close(listener->fd);
	free(listener);
}

void streams_free(struct streams *streams)
{
	struct listener *listener;
	struct stream *stream;

	if (streams == NULL)
		return;
	for (unsigned i = 0; i < STREAM_STATES; i++)
		while ((stream = TAILQ_FIRST(&streams->list[i])) != NULL)
			stream_close(stream, STATS_TCP_CLOSED);
	while ((listener = streams->listeners) != NULL) {
		streams->listeners = listener->next;
		listener_free(listener);
	}
	event_free(streams->due);
	free(streams);
}
