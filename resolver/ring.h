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

#define RING_REPLACED 1

/*
 * Opens or makes path with room for size octets (rounded up to a page); an existing ring keeps its records and its size until it is empty.
 * Returns 0, RING_REPLACED (path was no ring or a damaged one: it is now path.damaged, and this is a new one; for the caller to say),
 * or negative errno.
 */
int ring_open(struct ring **out, const char *path, size_t size);

/* One without a file, for a disk that cannot be written: what it holds when the process ends is lost. Returns as ring_open(). */
int ring_open_memory(struct ring **out, size_t size);

void ring_close(struct ring *ring);

/* Drawn when the file was made: tells this ring's sequence numbers from those of one that had the same path before. */
uint64_t ring_id(const struct ring *ring);

/* Before the first record is written: the next sequence number will be greater than this one (after a power loss the file may be older than what was read from it). */
void ring_sequence_after(struct ring *ring, uint64_t sequence);

/* Room for len octets to fill in place, or NULL if the ring is full. ring_commit() makes the record visible; its sequence number (1, 2, … for the life of the file) is returned. */
void *ring_reserve(struct ring *ring, size_t len);
uint64_t ring_commit(struct ring *ring);

/* Reader: the next record after *cursor (0: the oldest not released), or NULL. A record with a bad checksum or length ends the ring there: it and what lies behind it is given up (*cursor moves past it), and counted once in *damaged. */
const void *ring_next(struct ring *ring, uint64_t *cursor, size_t *len, uint64_t *sequence, uint64_t *damaged);
/* Zeroes and frees everything up to cursor. */
void ring_release(struct ring *ring, uint64_t cursor);

uint64_t ring_pending(const struct ring *ring); /* records not yet released */
bool ring_is_half_full(const struct ring *ring);

#endif
