/*
 * evhttp's home: routes, replies and limits for the sockets of local readers.
 *
 * evhttp sets no bound on connections, and a silent client would cost a file descriptor for as long as it
 * likes to come back. So every connection has a place here: its bufferevent, with a reference of ours. When
 * evhttp has let go of one (its callbacks are gone), the place is free; when there is none, the listener
 * rests and clients wait in the kernel's queue.
 */
#include "http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HEADERS_MAX (16 << 10)
#define BODY_MAX (64 << 10)
#define TIMEOUT_S 10     /* without an octet */
#define REQUEST_MS 12000 /* for a whole request, so that an octet now and then keeps nobody's place */
#define REPLY_MS 60000   /* from a request to the next one's end */
#define CONNECTIONS_MAX 64
#define STREAM_BACKLOG_MAX (1 << 20)
#define LISTEN_BACKLOG 64

struct http_server {
	struct event_base *base;
	struct evhttp *http;
	struct evconnlistener *listener;
	struct event *sweep; /* looks for places that are free again */
	const struct http_route *routes;
	void *arg;
	bool rests;
	struct place {
		struct bufferevent *connection; /* NULL: free */
		int64_t deadline_ms;            /* monotonic; INT64_MAX for a stream */
	} place[CONNECTIONS_MAX];
};

struct http_request {
	struct http_server *server;
	const struct http_route *route;
	struct evhttp_request *evhttp;
	struct evkeyvalq parameters;
	char *body;
	size_t body_len;
	void (*gone)(void *arg);
	void *gone_arg;
};

struct http_stream {
	struct evhttp_request *evhttp;
	void (*closed)(void *arg);
	void *arg;
};

/* ---- the listening socket ---- */

/* Only a socket is replaced: whoever wrote a wrong path in the configuration does not lose a file. */
static int remove_old_socket(const char *path)
{
	struct stat status;

	if (lstat(path, &status) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(status.st_mode))
		return -EEXIST;
	return unlink(path) < 0 ? -errno : 0;
}

/* Nobody can connect before listen(), so owner and mode are right before the first client. */
static int bind_and_listen(int fd, const struct sockaddr_un *address, gid_t gid)
{
	mode_t mask = umask(0177);
	int ret = bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;

	umask(mask);
	if (ret < 0)
		return ret;
	if (gid != (gid_t)-1 &&
	        (lchown(address->sun_path, (uid_t)-1, gid) < 0 || chmod(address->sun_path, 0660) < 0))
		ret = -errno;
	else if (listen(fd, LISTEN_BACKLOG) < 0)
		ret = -errno;
	if (ret < 0)
		unlink(address->sun_path);
	return ret;
}

int http_unix_socket(const char *path, gid_t gid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	int ret = remove_old_socket(path);
	if (ret < 0)
		return ret;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	ret = bind_and_listen(fd, &address, gid);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

/* ---- connections ---- */

/* evhttp frees a bufferevent by taking its callbacks away and dropping its reference; ours is then the last.
 */
static bool is_left(struct bufferevent *connection)
{
	void *owner = NULL;

	bufferevent_getcb(connection, NULL, NULL, NULL, &owner);
	return owner == NULL;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Frees the places of connections that ended, and ends those that are late: evhttp sees the shut socket and
 * closes. */
static unsigned sweep_places(struct http_server *server)
{
	int64_t now = now_ms();
	unsigned taken = 0;

	for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
		struct place *place = &server->place[i];
		if (place->connection && is_left(place->connection)) {
			bufferevent_decref(place->connection);
			place->connection = NULL;
		}
		if (place->connection && now > place->deadline_ms)
			shutdown(bufferevent_getfd(place->connection), SHUT_RDWR);
		taken += place->connection != NULL;
	}
	return taken;
}

static void place_set_deadline(struct http_server *server, struct evhttp_request *evhttp, int64_t deadline_ms)
{
	struct evhttp_connection *owner = evhttp_request_get_connection(evhttp);
	struct bufferevent *connection = owner ? evhttp_connection_get_bufferevent(owner) : NULL;

	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		if (connection && server->place[i].connection == connection)
			server->place[i].deadline_ms = deadline_ms;
}

static void sweep_due(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *server = arg;
	unsigned taken = sweep_places(server);

	if (taken < CONNECTIONS_MAX && !server->rests)
		evconnlistener_enable(server->listener);
	if (taken > 0)
		event_add(server->sweep, &(struct timeval){ .tv_usec = 100000 });
}

/* evhttp asks for the bufferevent of a connection it just accepted. */
static struct bufferevent *connection_new(struct event_base *base, void *arg)
{
	struct http_server *server = arg;
	struct bufferevent *connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	if (!connection)
		return NULL;
	unsigned taken = sweep_places(server);
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		if (!server->place[i].connection) {
			server->place[i] = (struct place){ connection, now_ms() + REQUEST_MS };
			bufferevent_incref(connection);
			break;
		}
	if (taken + 1 >= CONNECTIONS_MAX)
		evconnlistener_disable(server->listener);
	event_add(server->sweep, &(struct timeval){ .tv_usec = 100000 });
	return connection;
}

/* ---- requests ---- */

static void request_free(struct http_request *request)
{
	evhttp_clear_headers(&request->parameters);
	free(request->body);
	free(request);
}

static int request_read(struct http_request *request)
{
	struct evbuffer *input = evhttp_request_get_input_buffer(request->evhttp);
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request->evhttp));

	if (query && evhttp_parse_query_str(query, &request->parameters) < 0)
		return 400;
	request->body_len = evbuffer_get_length(input);
	request->body = malloc(request->body_len + 1);
	if (!request->body)
		return 503;
	evbuffer_remove(input, request->body, request->body_len);
	request->body[request->body_len] = '\0';
	return 0;
}

static const char *method_text(enum evhttp_cmd_type method)
{
	switch (method) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	default:
		return "";
	}
}

static const char *path_of(struct evhttp_request *evhttp)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(evhttp));
	return path ? path : "";
}

static void request_dispatch(struct http_request *request, const struct http_server *server)
{
	const char *method = method_text(evhttp_request_get_command(request->evhttp));
	const char *path = path_of(request->evhttp);
	char allowed[64] = "";

	for (const struct http_route *route = server->routes; route->method; route++) {
		if (strcmp(route->path, path) != 0)
			continue;
		if (strcmp(route->method, method) == 0) {
			request->route = route;
			route->handle(request, server->arg);
			return;
		}
		size_t len = strlen(allowed);
		snprintf(allowed + len, sizeof allowed - len, "%s%s", len > 0 ? ", " : "", route->method);
	}
	if (allowed[0] == '\0') {
		http_reply_error(request, HTTP_NOTFOUND, "no such path");
		return;
	}
	evhttp_add_header(evhttp_request_get_output_headers(request->evhttp), "Allow", allowed);
	http_reply_error(request, HTTP_BADMETHOD, "this path takes %s", allowed);
}

static void request_arrived(struct evhttp_request *evhttp, void *arg)
{
	struct http_request *request = calloc(1, sizeof *request);

	if (!request) {
		evhttp_send_error(evhttp, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	request->server = arg;
	request->evhttp = evhttp;
	place_set_deadline(request->server, evhttp, now_ms() + REPLY_MS);
	TAILQ_INIT(&request->parameters);
	int status = request_read(request);
	if (status != 0)
		http_reply_error(request, status, "the request cannot be read");
	else
		request_dispatch(request, arg);
}

const void *http_route_more(const struct http_request *request)
{
	return request->route->more;
}

const char *http_parameter(struct http_request *request, const char *name)
{
	return evhttp_find_header(&request->parameters, name);
}

size_t http_parameter_names(struct http_request *request, const char **names, size_t most)
{
	size_t count = 0;

	for (const struct evkeyval *pair = request->parameters.tqh_first; pair && count < most;
	        pair = pair->next.tqe_next)
		names[count++] = pair->key;
	return count;
}

const char *http_body(struct http_request *request, size_t *len)
{
	*len = request->body_len;
	return request->body;
}

uid_t http_peer_uid(struct http_request *request)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(request->evhttp);
	struct ucred peer;
	socklen_t len = sizeof peer;
	int domain;
	socklen_t domain_len = sizeof domain;

	if (!connection)
		return (uid_t)-1;
	int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) < 0 || domain != AF_UNIX)
		return (uid_t)-1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return (uid_t)-1;
	return peer.uid;
}

static void request_gone(struct evhttp_connection *connection, void *arg)
{
	struct http_request *request = arg;
	void (*gone)(void *arg) = request->gone;

	request->gone = NULL;
	if (gone)
		gone(request->gone_arg);
}

/* evhttp reads nothing until the reply is sent, and would not see the end: so we read, up to a bound, for it.
 */
static void watch_connection(struct bufferevent *connection)
{
	bufferevent_event_cb event;
	bufferevent_data_cb write;
	void *owner;

	bufferevent_getcb(connection, NULL, &write, &event, &owner);
	bufferevent_setcb(connection, NULL, write, event, owner);
	bufferevent_setwatermark(connection, EV_READ, 0, HEADERS_MAX);
	bufferevent_set_timeouts(connection, NULL, &(struct timeval){ .tv_sec = TIMEOUT_S });
	bufferevent_enable(connection, EV_READ);
}

static void unwatch_connection(struct bufferevent *connection)
{
	struct timeval timeout = { .tv_sec = TIMEOUT_S };

	bufferevent_disable(connection, EV_READ);
	bufferevent_setwatermark(connection, EV_READ, 0, 0);
	bufferevent_set_timeouts(connection, &timeout, &timeout);
}

void http_request_on_gone(struct http_request *request, void (*gone)(void *arg), void *arg)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(request->evhttp);

	request->gone = gone;
	request->gone_arg = arg;
	if (!connection)
		return;
	evhttp_connection_set_closecb(connection, gone ? request_gone : NULL, request);
	if (gone)
		watch_connection(evhttp_connection_get_bufferevent(connection));
	else
		unwatch_connection(evhttp_connection_get_bufferevent(connection));
}

/* ---- replies ---- */

void http_reply(struct http_request *request, int status, const char *type, const char *body, size_t len)
{
	struct evhttp_request *evhttp = request->evhttp;
	struct evbuffer *buffer = evbuffer_new();

	if (!buffer || evbuffer_add(buffer, body, len) < 0) {
		evhttp_send_error(evhttp, HTTP_SERVUNAVAIL, NULL);
	} else {
		evhttp_add_header(evhttp_request_get_output_headers(evhttp), "Content-Type", type);
		evhttp_send_reply(evhttp, status, NULL, buffer);
	}
	if (buffer)
		evbuffer_free(buffer);
	/* Last: body may be one of its parameters. */
	request_free(request);
}

struct file_reply {
	void (*taken)(void *arg);
	void *arg;
};

static void file_taken(const struct evbuffer_file_segment *segment, int flags, void *arg)
{
	struct file_reply *reply = arg;

	reply->taken(reply->arg);
	free(reply);
}

void http_reply_file(struct http_request *request, int status, const char *type, int fd, size_t len,
        void (*taken)(void *arg), void *arg)
{
	struct evhttp_request *evhttp = request->evhttp;
	struct evbuffer *buffer = evbuffer_new();
	struct file_reply *reply = malloc(sizeof *reply);
	struct evbuffer_file_segment *segment =
	        buffer && reply && len > 0
	                ? evbuffer_file_segment_new(fd, 0, (ev_off_t)len, EVBUF_FS_CLOSE_ON_FREE)
	                : NULL;

	evhttp_add_header(evhttp_request_get_output_headers(evhttp), "Content-Type", type);
	if (segment) {
		*reply = (struct file_reply){ taken, arg };
		evbuffer_file_segment_add_cleanup_cb(segment, file_taken, reply);
	} else {
		close(fd);
		free(reply);
		taken(arg);
	}
	if ((segment && evbuffer_add_file_segment(buffer, segment, 0, (ev_off_t)len) == 0) ||
	        (buffer && len == 0))
		evhttp_send_reply(evhttp, status, NULL, buffer);
	else
		evhttp_send_error(evhttp, HTTP_SERVUNAVAIL, NULL);
	if (segment)
		evbuffer_file_segment_free(segment);
	if (buffer)
		evbuffer_free(buffer);
	request_free(request);
}

void http_reply_json(struct http_request *request, int status, const char *json)
{
	http_reply(request, status, "application/json", json, strlen(json));
}

void http_reply_error(struct http_request *request, int status, const char *format, ...)
{
	char sentence[8192];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	/* A sentence that quotes what is not UTF-8, or was cut inside a character, is better than none. */
	json_t *text = json_string(sentence);
	json_t *object =
	        json_pack("{s:o}", "error", text ? text : json_string("the reason is not valid UTF-8"));
	char *json = object ? json_dumps(object, JSON_COMPACT) : NULL;
	json_decref(object);
	http_reply_json(request, status, json ? json : "{\"error\":\"out of memory\"}");
	free(json);
}

/* ---- streams ---- */

/* If evhttp gave the request up, it is ours to free; else the connection frees it. */
static void stream_closed(struct evhttp_connection *connection, void *arg)
{
	struct http_stream *stream = arg;

	if (!evhttp_request_get_connection(stream->evhttp))
		evhttp_request_free(stream->evhttp);
	stream->closed(stream->arg);
	free(stream);
}

static struct bufferevent *stream_connection(const struct http_stream *stream)
{
	return evhttp_connection_get_bufferevent(evhttp_request_get_connection(stream->evhttp));
}

struct http_stream *http_stream_start(
        struct http_request *request, const char *content_type, void (*closed)(void *arg), void *arg)
{
	struct http_stream *stream = malloc(sizeof *stream);
	struct evhttp_request *evhttp = request->evhttp;
	struct evhttp_connection *connection = evhttp_request_get_connection(evhttp);

	place_set_deadline(request->server, evhttp, INT64_MAX);
	request_free(request);
	if (!stream || !connection) {
		evhttp_send_error(evhttp, HTTP_SERVUNAVAIL, NULL);
		free(stream);
		return NULL;
	}
	*stream = (struct http_stream){ .evhttp = evhttp, .closed = closed, .arg = arg };
	evhttp_connection_set_closecb(connection, stream_closed, stream);
	evhttp_add_header(evhttp_request_get_output_headers(evhttp), "Content-Type", content_type);
	evhttp_send_reply_start(evhttp, HTTP_OK, NULL);
	/* A follower says nothing for hours; it is only expected to take what it is sent. */
	bufferevent_set_timeouts(stream_connection(stream), NULL, &(struct timeval){ .tv_sec = TIMEOUT_S });
	return stream;
}

size_t http_stream_backlog(struct http_stream *stream)
{
	return evbuffer_get_length(bufferevent_get_output(stream_connection(stream)));
}

void http_stream_send(struct http_stream *stream, const char *data, size_t len)
{
	struct evbuffer *buffer = NULL;

	/* The loop notices the shut socket and closes the stream, outside the caller's call. */
	if (http_stream_backlog(stream) + len > STREAM_BACKLOG_MAX || !(buffer = evbuffer_new()) ||
	        evbuffer_add(buffer, data, len) < 0)
		shutdown(bufferevent_getfd(stream_connection(stream)), SHUT_RDWR);
	else
		evhttp_send_reply_chunk(stream->evhttp, buffer);
	if (buffer)
		evbuffer_free(buffer);
}

void http_stream_end(struct http_stream *stream)
{
	evhttp_connection_set_closecb(evhttp_request_get_connection(stream->evhttp), NULL, NULL);
	evhttp_send_reply_end(stream->evhttp);
	free(stream);
}

/* ---- the server ---- */

static int server_start(struct http_server *server, int fd)
{
	server->sweep = evtimer_new(server->base, sweep_due, server);
	server->http = evhttp_new(server->base);
	if (!server->sweep || !server->http || evutil_make_socket_nonblocking(fd) < 0)
		return -ENOMEM;
	server->listener = evconnlistener_new(
	        server->base, NULL, NULL, LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE, 0, fd);
	if (!server->listener)
		return -ENOMEM;
	if (!evhttp_bind_listener(server->http, server->listener)) {
		evconnlistener_free(server->listener);
		return -ENOMEM;
	}
	evhttp_set_bevcb(server->http, connection_new, server);
	evhttp_set_gencb(server->http, request_arrived, server);
	evhttp_set_max_headers_size(server->http, HEADERS_MAX);
	evhttp_set_max_body_size(server->http, BODY_MAX);
	evhttp_set_timeout(server->http, TIMEOUT_S);
	/* All that evhttp knows, so that a wrong one gets our words. */
	evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
	                                                 EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
	                                                 EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	return 0;
}

struct http_server *http_serve(struct event_base *base, int fd, const struct http_route *routes, void *arg)
{
	struct http_server *server = calloc(1, sizeof *server);

	if (!server) {
		close(fd);
		return NULL;
	}
	server->base = base;
	server->routes = routes;
	server->arg = arg;
	if (server_start(server, fd) < 0) {
		if (!server->listener)
			close(fd);
		http_server_free(server);
		return NULL;
	}
	return server;
}

void http_server_rest(struct http_server *server)
{
	server->rests = true;
	evconnlistener_disable(server->listener);
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	if (server->http)
		evhttp_free(server->http);
	sweep_places(server);
	if (server->sweep)
		event_free(server->sweep);
	free(server);
}
