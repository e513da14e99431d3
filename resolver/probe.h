/*
 * Questions that usherd is asked over control.sock instead of from the network, as any client it serves: the
 * door of `usher selftest`. A probe goes the way of every query through a worker's own functions; it leaves
 * no trace in the block log, in counts of names and lookups or with the client's limits.
 */
#ifndef USHER_PROBE_H
#define USHER_PROBE_H

#include "worker.h"

#define PROBE_WIRE_MAX 512

struct probe {
	/* the caller's */
	uint8_t address[16]; /* the client, IPv4 mapped */
	bool raw;            /* past the policy: what the name itself is */
	uint8_t wire[PROBE_WIRE_MAX];
	size_t wire_len;
	void (*answered)(
	        struct probe *probe, void *arg); /* main thread; answer_len 0: none. Then it is freed */
	void *arg;

	uint8_t answer[MESSAGE_MAX];
	size_t answer_len;

	/* the door's */
	struct probe_door *door;
	struct probe *next;                   /* in a worker's mailbox */
	struct probe *next_open, **prev_open; /* of those on their way */
};

struct probe_door;

/* On the main loop. NULL without memory. */
struct probe_door *probe_door_open(struct event_base *base);
/* When no worker runs any more. Those on their way are told that there is no answer. */
void probe_door_close(struct probe_door *door);

/* Takes over a malloc()ed probe and asks a worker. */
void probe_ask(struct probe_door *door, struct worker *worker, struct probe *probe);

/* The worker's own: answers what lies in its mailbox. */
void probe_take(struct worker *worker);

#endif
