/* What a case holds: how many rows of each address, and whose it was, from when to when. */
#ifndef USHER_CASE_PLACES_H
#define USHER_CASE_PLACES_H

#include <jansson.h>

#include "block_item.h"
#include "devices.h"

#define CASE_PLACES_MAX 500 /* rows of further ones are held too, but not listed */

struct case_place {
	uint8_t client[16];
	char device[LEASE_NAME_MAX + 1]; /* its name or MAC, "": unknown */
	int64_t first_us, last_us;
	uint64_t rows;
};

struct case_places {
	size_t count;
	struct case_place place[CASE_PLACES_MAX];
};

void case_places_add(struct case_places *places, const struct block_item *item, const struct device *at);

/* [{"client","device","first","last","rows"}]; NULL without memory. */
json_t *case_places_json(const struct case_places *places);
int case_places_read(struct case_places *places, const json_t *json); /* returns 0 or -1 */

#endif
