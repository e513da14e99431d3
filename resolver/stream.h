/*
 * DNS over TCP (RFC 7766): length framing, pipelining, answers in any order. One `streams` a worker, with all
 * its listening sockets and connections.
 *
 * An idle connection holds a small struct and an event, no buffer. A connection is closed when it is idle,
 * sends a length that cannot be a query, or does not take its answers, each within limits.tcp-idle. When
 * there are limits.tcp-clients of them, the one that is idle longest makes room for a new one. What comes
 * behind a length that cannot be a query is dropped, up to 256 KiB, until the client ends too: a reset would
 * take answers away.
 */
#ifndef USHER_STREAM_H
#define USHER_STREAM_H

#include <stdatomic.h>
#include <stdint.h>

struct worker;
struct streams;

#define STREAM_CLIENT_BUCKETS 16384

/* Shared by all workers: how many connections there are, in all, by hash of the client's address, and by that
 * of its IPv6 /64. */
struct stream_limits {
	uint64_t seed; /* of the clients' hash */
	_Atomic uint32_t open;
	_Atomic uint32_t of_client[STREAM_CLIENT_BUCKETS];
};

/* NULL without memory. */
struct streams *streams_new(struct worker *worker, struct stream_limits *limits);
/* fd is listening and non-blocking, owned from here on. Returns 0 or -ENOMEM. */
int streams_listen(struct streams *streams, int fd);
void streams_stop(struct streams *streams); /* takes no more connections; those open go on */
void streams_free(struct streams *streams); /* closes every connection; NULL is fine */

#endif
