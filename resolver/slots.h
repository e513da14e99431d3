/*
 * Places for questions under way to the recursor, shared by all workers: how many are taken, and how many
 * each client has. Atomic counters alone; who asks checks before it takes, so that each worker may go one
 * over a limit.
 *
 * An eighth of the places is for clients that have none. Of the others a client never gets more than are left
 * free: one alone reaches half, two a third each. So a newcomer finds a place however many clients flood,
 * also where they come one after the other and each takes half of what the one before left. The same holds
 * for an IPv6 /64 among networks: a device with a thousand addresses in it takes places of its room, a device
 * with one does not.
 */
#ifndef USHER_SLOTS_H
#define USHER_SLOTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SLOTS_CLIENT_BUCKETS 16384 /* by hash: clients that share one share its limit */

struct slots {
	uint32_t most; /* limits.in-flight */
	uint64_t seed; /* of the clients' hash */
	_Atomic uint32_t taken;
	_Atomic uint32_t of_client[SLOTS_CLIENT_BUCKETS];
};

/* Whose question it is. Zeroed: nobody's, as for a prefetch. */
struct slots_client {
	_Atomic uint32_t *count; /* of the address */
	_Atomic uint32_t
	        *network; /* of all addresses of its IPv6 /64, which may be one device; NULL for IPv4 */
	uint32_t most;    /* limits.in-flight-per-client */
};

struct slots_client slots_client(struct slots *slots, const uint8_t address[16], uint32_t most);

bool slots_have_room(const struct slots *slots);
bool slots_client_may(const struct slots *slots, const struct slots_client *client);

/* One question more of the client, and one less: then client is nobody. */
void slots_charge(const struct slots_client *client);
void slots_release(struct slots_client *client);

#endif
