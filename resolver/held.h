/*
 * Octets that wait for a client: a query that has come in part, answers that were not taken yet. Nothing is
 * allocated for a client that keeps up. A small piece is always held, so that a slow client is served like
 * any other; large ones share a budget, so that a thousand of them cannot take the memory of all.
 */
#ifndef USHER_HELD_H
#define USHER_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HELD_SMALL 2048 /* octets that need no budget */

/* One a worker. Zeroed but for most: nothing is held. */
struct held_budget {
	size_t most, used; /* octets */
};

struct held; /* NULL: nothing */

/* Adds a copy behind what is held. False, and nothing changes: the budget is spent, or there is no memory. */
bool held_add(struct held **held, struct held_budget *budget, const void *data, size_t len);

/* What is held, oldest first; len 0 for NULL. */
const uint8_t *held_data(const struct held *held, size_t *len);

/* Forgets the first len octets; with the last of them the memory goes. */
void held_skip(struct held **held, struct held_budget *budget, size_t len);
void held_drop(struct held **held, struct held_budget *budget); /* all of them; NULL inside is fine */

#endif
