/*
 * DNS over TCP (RFC 7766): length framing, pipelining, answers in any order. A connection is closed when it
 * is idle, sends a length that cannot be a query, or does not take its answers. Counts are limited for the
 * process and for each client.
 */
#ifndef USHER_STREAM_H
#define USHER_STREAM_H

#include <stdatomic.h>
#include <stdint.h>

struct worker;
struct stream_listener;

#define STREAM_CLIENT_BUCKETS 16384

/* Shared by all workers: how many connections there are, in all and by hash of the client. */
struct stream_limits {
	uint64_t seed; /* of the clients' hash */
	_Atomic uint32_t open;
	_Atomic uint32_t of_client[STREAM_CLIENT_BUCKETS];
};

/* fd is listening and non-blocking, owned from here on. NULL without memory. */
struct stream_listener *stream_listen(struct worker *worker, int fd, struct stream_limits *limits);
void stream_listener_stop(struct stream_listener *listener); /* takes no more connections; those open go on */
void stream_listener_free(struct stream_listener *listener); /* closes every connection; NULL is fine */

#endif
