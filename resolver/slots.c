#include "slots.h"

#include "address.h"

struct slots_client slots_client(struct slots *slots, const uint8_t address[16], uint32_t most)
{
	uint64_t hash = address_client_hash(address, slots->seed);

	return (struct slots_client){ .count = &slots->of_client[hash % SLOTS_CLIENT_BUCKETS], .most = most };
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

bool slots_client_may(const struct slots *slots, const struct slots_client *client)
{
	if (client->count == NULL)
		return true;
	uint32_t has = atomic_load_explicit(client->count, memory_order_relaxed);
	uint32_t most = client->most, left = slots_free(slots);

	/* The first is anybody's right, as far as there is room at all. */
	return has < (left < most ? (left > 0 ? left : 1) : most);
}
