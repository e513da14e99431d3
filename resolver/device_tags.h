/*
 * Which device is behind an address of which only a keyed hash is known: those whose network card the kernel
 * knows (neighbours.h), so that a device is one whatever addresses it takes, and a class within one IPv6 /64
 * is as many devices as there are. A card with very many addresses is a router's, and says nothing.
 */
#ifndef USHER_DEVICE_TAGS_H
#define USHER_DEVICE_TAGS_H

#include <stddef.h>
#include <stdint.h>

#include "neighbours.h"

struct device_tags {
	struct device_tag *tags; /* sorted; all zero: none */
	size_t count;
};

/* The hash of a client's address (16 octets, IPv4 mapped); never 0. */
uint32_t device_tag_of(const uint8_t *address, uint64_t salt);

/* The neighbours as they are now instead of those before; without memory there are none. list is put in
 * another order. */
void device_tags_fill(struct device_tags *tags, struct neighbour *list, size_t count, uint64_t salt);
void device_tags_clear(struct device_tags *tags);

/* The device behind that hash under the same salt; otherwise: what to say where none is known. */
uint32_t device_tags_find(const struct device_tags *tags, uint32_t tag, uint32_t otherwise);

#endif
