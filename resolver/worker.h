/*
 * A worker: one thread, one event loop, its own sockets, log ring, counters and line to the recursor. It
 * shares the packet cache and read-only snapshots, and hears from the main thread by a mailbox it looks at
 * when woken.
 */
#ifndef USHER_WORKER_H
#define USHER_WORKER_H

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

#include "answer.h"
#include "cache.h"
#include "cookie.h"
#include "names.h"
#include "policy.h"
#include "precedence.h"
#include "rate.h"
#include "recursion.h"
#include "ring.h"
#include "snapshot.h"
#include "stats.h"

struct probe;
struct tunnel;
struct udp;
struct streams;
struct stream_limits;

struct worker {
	unsigned index;
	struct event_base *base;
	struct snapshot *snapshot; /* one reference; read by this thread alone */
	struct neighbour_table *neighbours; /* one reference; NULL: no profile names devices */
	struct lists_view *view;   /* of the snapshot's lists, NULL without any */
	struct cache *cache;       /* shared */
	struct recursion *recursion;
	struct ring *ring;
	struct names_counter *names;         /* NULL: none are counted */
	struct rate *rate, *strangers;       /* shared: of the clients served, and of all others */
	const struct cookie_secret *cookies; /* shared, read only */
	struct tunnel *tunnel;               /* shared, locks by itself */
	struct stats stats;
	struct precedence precedence;

	/* The clock, read once a turn. */
	int64_t utc_us; /* since 1970 */
	uint64_t mono_us;
	uint32_t mono_s;         /* the cache's clock */
	struct moment moment;    /* local time of the last full second */
	struct worker_boundary { /* of a profile's timetable, looked up once a minute and snapshot */
		int64_t minute;  /* in which it was, since 1970; 0: never */
		int64_t at_s;    /* since 1970; INT64_MAX: too far off to matter */
	} boundary[CONFIG_PROFILES_MAX];

	/* Where a lookup puts an answer together. */
	uint8_t reply[MESSAGE_MAX];
	struct answer_room fresh, edited;

	struct recursion_waiter pulse; /* the first worker's: does the recursor still answer? */
	bool pulse_waits;
	_Atomic unsigned pulses_missed; /* one after the other */

	struct slots *slots; /* shared */
	unsigned waiting;    /* queries on the heap */

	struct udp **udp;
	struct streams *streams;
	size_t socket_count;

	/* The mailbox: written by the main thread, read when wake_fd rings. */
	pthread_t thread;
	int wake_fd;
	struct event *wake, *tick, *drain;
	uint64_t drain_until_us;
	_Atomic(struct snapshot *) next_snapshot;
	_Atomic(struct neighbour_table *) next_neighbours;
	_Atomic(struct probe *) probes; /* a chain */
	_Atomic int next_recursor; /* a socket + 1, or -1: the recursor has gone; 0: nothing new */
	_Atomic bool stopping;
	_Atomic uint32_t stamp_taken; /* of the snapshot in use */
	_Atomic uint64_t heartbeat;   /* turns of the one-second tick */
};

struct worker_options {
	unsigned index;
	struct snapshot *snapshot; /* a reference that the worker takes over */
	struct cache *cache;
	struct ring *ring;
	struct names_counter *names;
	const struct cookie_secret *cookies;
	struct tunnel *tunnel;
	struct stream_limits *limits; /* shared by all workers */
	const int *udp_fds, *tcp_fds; /* one of each per listen address; owned by the worker */
	const bool *wildcard;         /* listen address is 0.0.0.0 or :: */
	size_t socket_count;
	struct slots *slots; /* shared by all workers, as are … */
	struct rate *rate, *strangers;
};

/* Makes a worker without a thread: for what replays queries through it. Returns 0 or negative errno. */
int worker_new(struct worker **out, const struct worker_options *options);
void worker_free(struct worker *worker);

/* Makes a worker and starts its thread. Returns 0 or negative errno. */
int worker_start(struct worker **out, const struct worker_options *options);

/* From the main thread: hand over a reference to a snapshot; a socket to a new recursor (-1: it has gone). */
void worker_set_snapshot(struct worker *worker, struct snapshot *snapshot);
void worker_set_recursor(struct worker *worker, int fd);
void worker_set_neighbours(struct worker *worker, struct neighbour_table *table);

/* From any thread: look into the mailbox. */
void worker_wake(struct worker *worker);

/* Stops taking queries, finishes what is under way for at most 1.5 s. worker_join() waits for that and frees.
 */
void worker_stop(struct worker *worker);
void worker_join(struct worker *worker);

/* When the timetable of a profile next changes what is blocked, in seconds since 1970, or INT64_MAX. */
int64_t worker_boundary(struct worker *worker, unsigned profile);

/* The worker's own: reads the clock. Called by the transports at the top of each turn. */
void worker_clock(struct worker *worker);

#endif
