/*
 * Each client has one number, the time at which all it has asked so far would have been paid for at its limit
 * (the "theoretical arrival time" of the generic cell rate algorithm, ITU-T I.371). It is a token bucket in 8
 * octets that needs no refill and knows no limit: a client whose time has passed is as good as one never
 * seen, so its place may be taken without changing any answer to come. That is how old clients age out.
 *
 * A client's hash chooses a set of eight places. A flood from spoofed addresses takes places too, but a
 * client that asked once has paid after 1/limit seconds and gives its place back; only when all eight are
 * still paying is a newcomer sent to the set's common purse, which all such newcomers share. So the flood
 * starves itself: who is known keeps his place as long as he needs it, and his own limit. To keep one set
 * full takes 8 * limit packets a second that find it, and the hash is keyed, so nobody can aim at a set.
 */
#include "rate.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "address.h"

#define WAYS 8
#define BURST_NS UINT64_C(2000000000) /* so far ahead of the clock a client may get */
#define SECOND_NS UINT64_C(1000000000)
#define MS_NS UINT64_C(1000000)

struct place {
	_Atomic uint64_t client; /* its hash; two clients with one are unlikely and share a limit */
	_Atomic uint64_t paid_ns;
};

struct set {
	struct place place[WAYS];
	_Atomic uint64_t purse_paid_ns; /* of the newcomers when all places are taken */
};

struct rate {
	uint64_t seed;
	size_t set_count; /* a power of two */
	struct set *sets;
};

struct rate *rate_new(size_t clients)
{
	struct rate *rate = calloc(1, sizeof *rate);

	if (rate == NULL)
		return NULL;
	/* A set each: that nine of so many fall into one set has odds of one in a million. */
	for (rate->set_count = 1; rate->set_count < clients; rate->set_count *= 2)
		;
	rate->sets = calloc(rate->set_count, sizeof *rate->sets);
	if (rate->sets == NULL || getrandom(&rate->seed, sizeof rate->seed, 0) != sizeof rate->seed) {
		rate_free(rate);
		return NULL;
	}
	return rate;
}

void rate_free(struct rate *rate)
{
	if (rate == NULL)
		return;
	free(rate->sets);
	free(rate);
}

static uint64_t get(const _Atomic uint64_t *cell)
{
	return atomic_load_explicit(cell, memory_order_relaxed);
}

static bool swap(_Atomic uint64_t *cell, uint64_t from, uint64_t to)
{
	return atomic_compare_exchange_strong_explicit(
	        cell, &from, to, memory_order_relaxed, memory_order_relaxed);
}

/*
 * Where the client's time is kept: its own place, a free or paid one, or the purse. A place that another
 * worker takes in the same moment is the purse's case too, or this client's already.
 */
static _Atomic uint64_t *rate_place(struct set *set, uint64_t client, uint64_t now_ns)
{
	struct place *oldest = &set->place[0];

	for (unsigned i = 0; i < WAYS; i++) {
		struct place *place = &set->place[i];
		if (get(&place->client) == client)
			return &place->paid_ns;
		if (get(&place->paid_ns) < get(&oldest->paid_ns))
			oldest = place;
	}
	if (get(&oldest->paid_ns) > now_ns)
		return &set->purse_paid_ns;
	if (swap(&oldest->client, get(&oldest->client), client) || get(&oldest->client) == client)
		return &oldest->paid_ns;
	return &set->purse_paid_ns;
}

/* Workers read their clocks apart: one that is behind finds the other's time paid, and adds to it. */
static bool rate_pay(_Atomic uint64_t *paid_ns, uint64_t cost_ns, uint64_t now_ns)
{
	uint64_t paid, next;

	do {
		paid = get(paid_ns);
		next = (paid > now_ns ? paid : now_ns) + cost_ns;
		if (next > now_ns + BURST_NS)
			return false;
	} while (!swap(paid_ns, paid, next));
	return true;
}

/* The upper bits choose the set: the whole hash is the client's name in it. */
static struct set *rate_set(struct rate *rate, uint64_t client)
{
	return &rate->sets[(client >> 32) & (rate->set_count - 1)];
}

static bool rate_charge(struct rate *rate, uint64_t client, uint64_t cost_ns, uint64_t now_ms)
{
	uint64_t now_ns = now_ms * MS_NS;

	return rate_pay(rate_place(rate_set(rate, client), client, now_ns), cost_ns, now_ns);
}

/* Is it known that the client may not ask now? Takes no place. */
static bool rate_is_spent(struct rate *rate, uint64_t client, uint64_t cost_ns, uint64_t now_ms)
{
	struct set *set = rate_set(rate, client);

	for (unsigned i = 0; i < WAYS; i++)
		if (get(&set->place[i].client) == client)
			return get(&set->place[i].paid_ns) + cost_ns > now_ms * MS_NS + BURST_NS;
	return false;
}

/* A network that has asked enough gets no more places for its addresses; what is refused to one of them costs
 * the others nothing. */
bool rate_allow(struct rate *rate, const uint8_t address[16], uint32_t limit, uint64_t now_ms)
{
	if (limit == 0)
		return true;
	uint64_t one = address_hash(address, rate->seed), all = address_client_hash(address, rate->seed);
	uint64_t cost_ns = SECOND_NS / limit, share_ns = cost_ns / RATE_NETWORK;

	if (all == one)
		return rate_charge(rate, one, cost_ns, now_ms);
	return !rate_is_spent(rate, all, share_ns, now_ms) && rate_charge(rate, one, cost_ns, now_ms) &&
	       rate_charge(rate, all, share_ns, now_ms);
}

bool rate_allow_network(struct rate *rate, const uint8_t address[16], uint32_t limit, uint64_t now_ms)
{
	return limit == 0 ||
	       rate_charge(rate, address_client_hash(address, rate->seed), SECOND_NS / limit, now_ms);
}
