#include "device_tags.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define CARD_ADDRESSES_MAX 16 /* IPv4, IPv6, and privacy addresses of some days */
#define AGE_MAX_S 600         /* as neighbours.h: later it may be another's */

struct device_tag {
	uint32_t tag, device;
};

uint32_t device_tag_of(const uint8_t *address, uint64_t salt)
{
	return (uint32_t)XXH3_64bits_withSeed(address, 16, salt) | 1;
}

static int card_order(const void *a, const void *b)
{
	return memcmp(((const struct neighbour *)a)->mac, ((const struct neighbour *)b)->mac, 6);
}

static int tag_order(const void *a, const void *b)
{
	uint32_t x = ((const struct device_tag *)a)->tag, y = ((const struct device_tag *)b)->tag;

	return (x > y) - (x < y);
}

static void card_add(struct device_tags *tags, const struct neighbour *card, size_t addresses, uint64_t salt)
{
	for (size_t i = 0; i < addresses && addresses <= CARD_ADDRESSES_MAX; i++)
		if (card[i].age_s <= AGE_MAX_S)
			tags->tags[tags->count++] = (struct device_tag){ device_tag_of(card[i].address, salt),
				(uint32_t)XXH3_64bits_withSeed(card[i].mac, 6, salt) };
}

void device_tags_fill(struct device_tags *tags, struct neighbour *list, size_t count, uint64_t salt)
{
	device_tags_clear(tags);
	tags->tags = count > 0 ? calloc(count, sizeof *tags->tags) : NULL;
	if (tags->tags == NULL)
		return;
	qsort(list, count, sizeof *list, card_order);
	for (size_t first = 0, end; first < count; first = end) {
		for (end = first + 1; end < count && card_order(&list[first], &list[end]) == 0; end++)
			;
		card_add(tags, &list[first], end - first, salt);
	}
	if (tags->count > 0)
		qsort(tags->tags, tags->count, sizeof *tags->tags, tag_order);
}

void device_tags_clear(struct device_tags *tags)
{
	free(tags->tags);
	*tags = (struct device_tags){ 0 };
}

uint32_t device_tags_find(const struct device_tags *tags, uint32_t tag, uint32_t otherwise)
{
	const struct device_tag wanted = { .tag = tag };
	const struct device_tag *found =
	        tags->count > 0 ? bsearch(&wanted, tags->tags, tags->count, sizeof wanted, tag_order) : NULL;

	return found != NULL ? found->device : otherwise;
}
