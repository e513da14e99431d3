#include "sites.h"

#include <stdlib.h>

#define ROOM_FIRST 1024
#define COUNT_MAX 1000000

/* Open addressing; hash 0: free. */
struct site {
	uint64_t hash;
	int64_t first_us;
};

static struct site *place_of(struct site *places, uint64_t room, uint64_t hash)
{
	uint64_t at = hash % room;

	while (places[at].hash != 0 && places[at].hash != hash)
		at = (at + 1) % room;
	return &places[at];
}

/* Never more than half full. */
static int sites_grow(struct sites *sites)
{
	uint64_t room = sites->room ? 2 * sites->room : ROOM_FIRST;

	if (2 * sites->count < sites->room)
		return 0;
	struct site *places = calloc(room, sizeof *places);
	if (!places)
		return -1;
	for (uint64_t i = 0; i < sites->room; i++)
		if (sites->places[i].hash != 0)
			*place_of(places, room, sites->places[i].hash) = sites->places[i];
	free(sites->places);
	sites->places = places;
	sites->room = room;
	return 0;
}

int64_t sites_first(struct sites *sites, uint64_t hash, int64_t now_us)
{
	if (hash == 0)
		hash = 1;
	if (sites_grow(sites) < 0)
		return INT64_MIN;
	struct site *site = place_of(sites->places, sites->room, hash);
	if (site->hash != 0)
		return site->first_us;
	if (sites->count >= COUNT_MAX)
		return INT64_MIN;
	*site = (struct site){ hash, now_us };
	sites->count++;
	return now_us;
}

bool sites_has(const struct sites *sites, uint64_t hash)
{
	return sites->room > 0 && place_of(sites->places, sites->room, hash != 0 ? hash : 1)->hash != 0;
}

void sites_clear(struct sites *sites)
{
	free(sites->places);
	*sites = (struct sites){ 0 };
}
