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

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "address.h"

#define WAYS 8
#define BURST_NS UINT64_C(2000000000) /* so far ahead of the clock a client may get */
#define SECOND_NS UINT64_C(1000000000)
#define MS_NS UINT64_C(1000000)

struct place {
	uint64_t client; /* its hash; two clients with one are unlikely and share a limit */
	uint64_t paid_ns;
};

struct set {
	struct place place[WAYS];
	uint64_t purse_paid_ns; /* of the newcomers when all places are taken */
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

/* Where the client's time is kept: its own place, a free or paid one, or the purse. */
static uint64_t *rate_place(struct set *set, uint64_t client, uint64_t now_ns)
{
	struct place *oldest = &set->place[0];

	for (unsigned i = 0; i < WAYS; i++) {
		struct place *place = &set->place[i];
		if (place->client == client)
			return &place->paid_ns;
		if (place->paid_ns < oldest->paid_ns)
			oldest = place;
	}
	if (oldest->paid_ns > now_ns)
		return &set->purse_paid_ns;
	oldest->client = client;
	return &oldest->paid_ns;
}

bool rate_allow(struct rate *rate, const uint8_t address[16], uint32_t limit, uint64_t now_ms)
{
	if (limit == 0)
		return true;
	uint64_t client = address_client_hash(address, rate->seed);
	uint64_t now_ns = now_ms * MS_NS;
	/* The upper bits choose the set: the whole hash is the client's name in it. */
	uint64_t *paid_ns = rate_place(&rate->sets[(client >> 32) & (rate->set_count - 1)], client, now_ns);
	uint64_t next_ns = (*paid_ns > now_ns ? *paid_ns : now_ns) + SECOND_NS / limit;

	if (next_ns > now_ns + BURST_NS)
		return false;
	*paid_ns = next_ns;
	return true;
}
