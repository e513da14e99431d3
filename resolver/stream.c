#include "stream.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "query.h"

#define PIPELINE_MAX 100 /* queries of one connection that may wait; reading pauses beyond */
#define OUTPUT_MAX                                                                                           \
	(64 * 1024) /* octets of answers a client has not taken: no more queries are taken then … */
#define OUTPUT_LOW (16 * 1024) /* … until so many are left */
#define INPUT_MAX (128 * 1024) /* octets read ahead; more than one query of any length */
#define QUERIES_A_TURN 16      /* so that one connection cannot hold up the worker */
#define ACCEPT_PAUSE_MS 100

struct stream_listener {
	struct worker *worker;
	struct stream_limits *limits;
	struct evconnlistener *listener;
	struct event *resume; /* after the process ran out of descriptors */
	struct stream *streams;
};

struct stream {
	struct stream_listener *listener;
	struct stream *next, **prev;
	struct bufferevent *bev;
	struct event *idle;
	struct event *again; /* more queries are buffered than one turn takes */
	uint8_t address[16];
	struct query *waiting;
	unsigned waiting_count;
	bool client_done; /* it sent its FIN: answer what waits, then close */
};

static _Atomic uint32_t *client_count(struct stream_listener *listener, const uint8_t address[16])
{
	uint64_t hash = address_client_hash(address, listener->limits->seed);

	return &listener->limits->of_client[hash % STREAM_CLIENT_BUCKETS];
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

static void stream_close(struct stream *stream)
{
	struct stream_listener *listener = stream->listener;

	while (stream->waiting != NULL) {
		struct query *query = stream->waiting;
		waiting_unlink(query);
		query_abandon(query);
	}
	*stream->prev = stream->next;
	if (stream->next != NULL)
		stream->next->prev = stream->prev;
	atomic_fetch_sub(&listener->limits->open, 1);
	atomic_fetch_sub(client_count(listener, stream->address), 1);
	STATS_ADD(&listener->worker->stats, TCP_CLOSED);
	if (stream->idle != NULL)
		event_free(stream->idle);
	if (stream->again != NULL)
		event_free(stream->again);
	bufferevent_free(stream->bev);
	free(stream);
}

/* The idle time counts from the last whole query or answer, so that a byte a second keeps nobody's place. */
static void stream_touch(struct stream *stream)
{
	uint32_t idle_ms = stream->listener->worker->snapshot->config->limits.tcp_idle_ms;
	struct timeval idle = { .tv_sec = idle_ms / 1000, .tv_usec = idle_ms % 1000 * 1000 };

	event_add(stream->idle, &idle);
}

static bool stream_has_query(const struct stream *stream)
{
	struct evbuffer *in = bufferevent_get_input(stream->bev);
	uint8_t prefix[2];

	return evbuffer_copyout(in, prefix, 2) == 2 && evbuffer_get_length(in) >= 2u + wire_read16(prefix);
}

static bool stream_is_finished(const struct stream *stream)
{
	return stream->client_done && stream->waiting_count == 0 && !stream_has_query(stream) &&
	       evbuffer_get_length(bufferevent_get_output(stream->bev)) == 0;
}

static void stream_idle_expired(evutil_socket_t fd, short what, void *arg)
{
	struct stream *stream = arg;

	if (stream->waiting_count > 0)
		stream_touch(stream); /* recursion has its own deadline */
	else
		stream_close(stream);
}

/* Serves again in the loop's next turn, after everybody else had theirs. */
static void stream_serve_soon(struct stream *stream)
{
	static const struct timeval now = { 0 };

	event_add(stream->again, &now);
}

static void stream_reply(struct query *query, const uint8_t *wire, size_t len)
{
	struct stream *stream = query->stream;
	struct evbuffer *out = bufferevent_get_output(stream->bev);
	uint8_t prefix[2];

	waiting_unlink(query);
	if (query->kept)
		stream_serve_soon(stream); /* a place in the pipeline is free, or all is done */
	if (wire == NULL)
		return;
	wire_write16(prefix, (uint16_t)len);
	evbuffer_add(out, prefix, sizeof prefix);
	evbuffer_add(out, wire, len);
	stream_touch(stream);
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

static void stream_query(struct stream *stream, const uint8_t *wire, size_t len)
{
	struct worker *worker = stream->listener->worker;
	struct query query = {
		.worker = worker,
		.wire = wire,
		.wire_len = len,
		.tcp = true,
		.out = worker->reply,
		.out_size = sizeof worker->reply,
		.stream = stream,
		.reply = stream_reply,
		.keep = stream_keep,
	};

	memcpy(query.address, stream->address, sizeof query.address);
	stream_touch(stream);
	query_read(&query);
	query_answer(&query);
}

enum take { TAKE_QUERY, TAKE_NONE, TAKE_BAD };

/* Takes one whole query from the input. */
static enum take stream_take(struct stream *stream)
{
	struct evbuffer *in = bufferevent_get_input(stream->bev);
	uint8_t prefix[2];

	if (evbuffer_copyout(in, prefix, 2) < 2)
		return TAKE_NONE;
	size_t len = wire_read16(prefix);
	if (len < MESSAGE_HEADER_LEN)
		return TAKE_BAD;
	if (evbuffer_get_length(in) < 2 + len) {
		bufferevent_setwatermark(stream->bev, EV_READ, 2 + len, INPUT_MAX);
		return TAKE_NONE;
	}
	bufferevent_setwatermark(stream->bev, EV_READ, 0, INPUT_MAX);
	evbuffer_drain(in, 2);
	const uint8_t *wire = evbuffer_pullup(in, (ev_ssize_t)len);
	if (wire == NULL)
		return TAKE_BAD;
	stream_query(stream, wire, len);
	evbuffer_drain(in, len);
	return TAKE_QUERY;
}

static bool stream_has_room(const struct stream *stream)
{
	return stream->waiting_count < PIPELINE_MAX &&
	       evbuffer_get_length(bufferevent_get_output(stream->bev)) < OUTPUT_MAX;
}

/* The one place that takes queries, and beside the idle time and errors the one that closes. */
static void stream_serve(struct stream *stream)
{
	enum take take = TAKE_NONE;
	unsigned taken = 0;

	worker_clock(stream->listener->worker);
	while (taken < QUERIES_A_TURN && stream_has_room(stream)) {
		take = stream_take(stream);
		if (take != TAKE_QUERY)
			break;
		taken++;
	}
	if (take == TAKE_BAD || stream_is_finished(stream)) {
		stream_close(stream);
		return;
	}
	if (taken == QUERIES_A_TURN)
		stream_serve_soon(stream);
	if (!stream_has_room(stream))
		bufferevent_disable(stream->bev, EV_READ);
	else if (!stream->client_done)
		bufferevent_enable(stream->bev, EV_READ);
}

static void stream_readable(struct bufferevent *bev, void *arg)
{
	stream_serve(arg);
}

static void stream_again(evutil_socket_t fd, short what, void *arg)
{
	stream_serve(arg);
}

static void stream_written(struct bufferevent *bev, void *arg)
{
	stream_serve(arg);
}

static void stream_ended(struct bufferevent *bev, short what, void *arg)
{
	struct stream *stream = arg;

	if ((what & BEV_EVENT_EOF) == 0) {
		stream_close(stream);
		return;
	}
	stream->client_done = true;
	bufferevent_disable(bev, EV_READ);
	stream_serve(stream);
}

static void stream_open(struct stream_listener *listener, int fd, const uint8_t address[16])
{
	struct event_base *base = listener->worker->base;
	struct stream *stream = calloc(1, sizeof *stream);
	struct bufferevent *bev = stream ? bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
	int on = 1;

	STATS_ADD(&listener->worker->stats, TCP_ACCEPTED);
	atomic_fetch_add(&listener->limits->open, 1);
	atomic_fetch_add(client_count(listener, address), 1);
	if (bev == NULL) {
		atomic_fetch_sub(&listener->limits->open, 1);
		atomic_fetch_sub(client_count(listener, address), 1);
		free(stream);
		close(fd);
		return;
	}
	stream->listener = listener;
	stream->bev = bev;
	memcpy(stream->address, address, sizeof stream->address);
	stream->next = listener->streams;
	if (stream->next != NULL)
		stream->next->prev = &stream->next;
	stream->prev = &listener->streams;
	listener->streams = stream;
	stream->idle = evtimer_new(base, stream_idle_expired, stream);
	stream->again = evtimer_new(base, stream_again, stream);
	if (stream->idle == NULL || stream->again == NULL) {
		stream_close(stream);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	bufferevent_setcb(bev, stream_readable, stream_written, stream_ended, stream);
	bufferevent_setwatermark(bev, EV_READ, 0, INPUT_MAX);
	bufferevent_setwatermark(bev, EV_WRITE, OUTPUT_LOW, 0);
	stream_touch(stream);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static void listener_accepted(
        struct evconnlistener *evl, evutil_socket_t fd, struct sockaddr *peer, int len, void *arg)
{
	struct stream_listener *listener = arg;
	const struct config_limits *limits = &listener->worker->snapshot->config->limits;
	uint8_t address[16];

	address_from_socket(address, peer);
	if (atomic_load(&listener->limits->open) >= limits->tcp_clients ||
	        atomic_load(client_count(listener, address)) >= limits->tcp_per_client) {
		STATS_ADD(&listener->worker->stats, TCP_REFUSED);
		close(fd);
		return;
	}
	stream_open(listener, fd, address);
}

/* No descriptors or memory left: wait a little instead of spinning on the same pending connection. */
static void listener_failed(struct evconnlistener *evl, void *arg)
{
	static const struct timeval pause = { .tv_usec = ACCEPT_PAUSE_MS * 1000 };
	struct stream_listener *listener = arg;

	evconnlistener_disable(evl);
	event_add(listener->resume, &pause);
}

static void listener_resumed(evutil_socket_t fd, short what, void *arg)
{
	evconnlistener_enable(((struct stream_listener *)arg)->listener);
}

struct stream_listener *stream_listen(struct worker *worker, int fd, struct stream_limits *limits)
{
	struct stream_listener *listener = calloc(1, sizeof *listener);

	if (listener == NULL) {
		close(fd);
		return NULL;
	}
	listener->worker = worker;
	listener->limits = limits;
	listener->resume = evtimer_new(worker->base, listener_resumed, listener);
	/* backlog 0: the socket listens already. */
	listener->listener = evconnlistener_new(worker->base, listener_accepted, listener,
	        LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (listener->resume == NULL || listener->listener == NULL) {
		if (listener->listener == NULL)
			close(fd);
		stream_listener_free(listener);
		return NULL;
	}
	evconnlistener_set_error_cb(listener->listener, listener_failed);
	return listener;
}

void stream_listener_stop(struct stream_listener *listener)
{
	evconnlistener_disable(listener->listener);
	event_del(listener->resume);
}

void stream_listener_free(struct stream_listener *listener)
{
	if (listener == NULL)
		return;
	while (listener->streams != NULL)
		stream_close(listener->streams);
	if (listener->listener != NULL)
		evconnlistener_free(listener->listener);
	if (listener->resume != NULL)
		event_free(listener->resume);
	free(listener);
}
