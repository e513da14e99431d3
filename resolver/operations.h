/*
 * usherd's own troubles (its faults, fault.h; sources held back; sealed categories without a source), for
 * those who run it: written by the main thread to RUN-DIR/alerts/troubles.json whenever they change, an
 * object, id -> sentence; the alerter tells of what is new (alert_queue.h). It is in memory, so that a disk
 * that cannot be written is told, too. No personal data.
 */
#ifndef USHER_OPERATIONS_H
#define USHER_OPERATIONS_H

#include <jansson.h>
#include <stdint.h>

struct daemon;

struct operations {
	json_t *written; /* what is on disk; all zero: none yet */
};

/* To be called after faults_look(). */
void operations_look(struct operations *operations, struct daemon *daemon);
void operations_clear(struct operations *operations);

#endif
