/*
 * HTTP/1.1 for local readers (libevent's evhttp) on a Unix socket or a loopback port: a table of routes, JSON
 * and text replies, the peer's uid. Any Host is accepted; requests are bounded (64 KiB, 10 s), connections
 * too (64 a server; more wait unaccepted). It runs on the main loop or in a child, never on a worker. The
 * process must ignore SIGPIPE.
 */
#ifndef USHER_HTTP_H
#define USHER_HTTP_H

#include <event2/event.h>
#include <stddef.h>
#include <sys/types.h>

struct http_request;
struct http_server;

struct http_route {
	const char *method; /* "GET", "POST", "DELETE" (without a body) */
	const char *path;
	void (*handle)(struct http_request *request, void *arg);
	const void *more; /* the handler's, see http_route_more() */
};

/*
 * Makes a Unix socket at path (an old one is replaced), mode 0660 and owned by group gid ((gid_t)-1: mode
 * 0600). Returns a listening fd or negative errno.
 */
int http_unix_socket(const char *path, gid_t gid);

/* Serves the routes (ending with a NULL method) on a listening socket; the server owns it. NULL without
 * memory. */
struct http_server *http_serve(struct event_base *base, int fd, const struct http_route *routes, void *arg);
void http_server_free(struct http_server *server);
/* Accepts no more connections; those there are go on. */
void http_server_rest(struct http_server *server);

/* The route's `more`, where one handler serves several. */
const void *http_route_more(const struct http_request *request);

/* A parameter of the query string, decoded; NULL if absent. Valid while the request is. */
const char *http_parameter(struct http_request *request, const char *name);
/* The names of the parameters as they came, at most so many. Returns their count. Valid as the above. */
size_t http_parameter_names(struct http_request *request, const char **names, size_t most);
/* The body, NUL-terminated. */
const char *http_body(struct http_request *request, size_t *len);
/* (uid_t)-1 where the socket is not a Unix one. */
uid_t http_peer_uid(struct http_request *request);

/* A handler ends, at once or later, with one of the replies or a stream: then the request is gone. */
void http_reply(
        struct http_request *request, int status, const char *content_type, const char *body, size_t len);
void http_reply_json(struct http_request *request, int status, const char *json);
/* {"error": "..."} with that status. */
void http_reply_error(struct http_request *request, int status, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/*
 * The same from the first len octets of a file, sent as the client takes it; the fd is taken over. taken is
 * called once when they are sent or the client is gone.
 */
void http_reply_file(struct http_request *request, int status, const char *content_type, int fd, size_t len,
        void (*taken)(void *arg), void *arg);

/*
 * gone is called once if the client goes before the request is answered; the request is still to be answered
 * then, which frees it. NULL: no more.
 */
void http_request_on_gone(struct http_request *request, void (*gone)(void *arg), void *arg);

/*
 * A reply in pieces (follow). closed is called once when the client is gone, and then the stream must not be
 * used; never from inside another call, nor after http_stream_end(). A client that leaves 1 MiB untaken, or
 * takes nothing for 10 s, is cut off. NULL without memory.
 */
struct http_stream;
struct http_stream *http_stream_start(
        struct http_request *request, const char *content_type, void (*closed)(void *arg), void *arg);
void http_stream_send(struct http_stream *stream, const char *data, size_t len);
void http_stream_end(struct http_stream *stream);
size_t http_stream_backlog(struct http_stream *stream); /* octets the client has not taken yet */

#endif
