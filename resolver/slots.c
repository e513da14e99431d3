#include "slots.h"

#include "address.h"

#define NEWCOMERS_SHARE 8 /* of all places, one in so many */

static _Atomic uint32_t *count_of(struct slots *slots, uint64_t hash)
{
	return &slots->of_client[hash % SLOTS_CLIENT_BUCKETS];
}

struct slots_client slots_client(struct slots *slots, const uint8_t address[16], uint32_t most)
{
	uint64_t one = address_hash(address, slots->seed), all = address_client_hash(address, slots->seed);

	return (struct slots_client){ .count = count_of(slots, one),
		.network = all != one ? count_of(slots, all) : NULL,
		.most = most };
}

static uint32_t slots_free(const struct slots *slots)
{
	uint32_t taken = atomic_load_explicit(&slots->taken, memory_order_relaxed);

	return taken < slots->most ? slots->most - taken : 0;
}

bool slots_have_room(const struct slots *slots)
{
	return slots_free(slots) > 0;
}

/* The first is anybody's right, as far as there is room at all. */
static bool may_have_more(const _Atomic uint32_t *count, uint32_t most)
{
	return atomic_load_explicit(count, memory_order_relaxed) < (most > 0 ? most : 1);
}

bool slots_client_may(const struct slots *slots, const struct slots_client *client)
{
	if (client->count == NULL)
		return true;
	uint32_t left = slots_free(slots), kept = slots->most / NEWCOMERS_SHARE;

	left = left > kept ? left - kept : 0;
	return may_have_more(client->count, left < client->most ? left : client->most) &&
	       (client->network == NULL || may_have_more(client->network, left));
}

void slots_charge(const struct slots_client *client)
{
	if (client->count != NULL)
		atomic_fetch_add_explicit(client->count, 1, memory_order_relaxed);
	if (client->network != NULL)
		atomic_fetch_add_explicit(client->network, 1, memory_order_relaxed);
}

void slots_release(struct slots_client *client)
{
	if (client->count != NULL)
		atomic_fetch_sub_explicit(client->count, 1, memory_order_relaxed);
	if (client->network != NULL)
		atomic_fetch_sub_explicit(client->network, 1, memory_order_relaxed);
	*client = (struct slots_client){ .count = NULL };
}
