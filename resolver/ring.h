/*
 * A ring of octet records in a memory-mapped file: one thread writes, one reads, neither waits. What was written before a
 * kill -9 is still there: the file outlives the process, a record counts once its header's head moved past it (release store), and what the reader has taken is zeroed.
 */
#ifndef USHER_RING_H
#define USHER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring;

/* Opens or makes path with room for size octets (rounded up to a page); an existing ring keeps its records and its size until it is empty. 0 or negative errno. */
int ring_open(struct ring **out, const char *path, size_t size);
void ring_close(struct ring *ring);

/* Room for len octets to fill in place, or NULL if the ring is full. ring_commit() makes the record visible; its sequence number (1, 2, … for the life of the file) is returned. */
void *ring_reserve(struct ring *ring, size_t len);
uint64_t ring_commit(struct ring *ring);

/* Reader: the next record after *cursor (0: the oldest not released), or NULL. A record with a bad checksum or length ends the ring there and is counted in *damaged. */
const void *ring_next(struct ring *ring, uint64_t *cursor, size_t *len, uint64_t *sequence, uint64_t *damaged);
/* Zeroes and frees everything up to cursor. */
void ring_release(struct ring *ring, uint64_t cursor);

uint64_t ring_pending(const struct ring *ring); /* records not yet released */
bool ring_is_half_full(const struct ring *ring);

#endif
