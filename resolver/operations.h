/*
 * usherd's own troubles, for those who run it: written by the main thread to STATE-DIR/alerts/troubles.json
 * whenever they change, an object, id -> sentence; the alerter tells of what is new (alert_queue.h). No
 * personal data.
 */
#ifndef USHER_OPERATIONS_H
#define USHER_OPERATIONS_H

#include <jansson.h>
#include <stdint.h>

struct daemon;

struct operations {
	json_t *written;   /* what is on disk; all zero: none yet */
	unsigned restarts; /* of the recursor, when counting began */
	int64_t restarts_since_s;
	uint64_t lost; /* events, as told last */
	int64_t lost_at_s;
};

/* To be called every few seconds. */
void operations_look(struct operations *operations, struct daemon *daemon);
void operations_clear(struct operations *operations);

#endif
