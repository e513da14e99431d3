/*
 * Records as written: appended to a message with their names compressed (RFC 1035 4.1.4), read from another message or from
 * plain rdata. Case is kept (RFC 4343 4). What rdata holds names is one table line a type.
 */
#ifndef USHER_PACK_H
#define USHER_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blocklists/name.h"

#define PACK_PLACES 32

/* A name as it stands in a message, decompressed. */
struct pack_name {
	uint8_t len;
	uint8_t octets[NAME_WIRE_MAX];
};

/* The message being written. The caller has set out, limit and len, and no places. */
struct pack {
	uint8_t *out;
	size_t limit, len;
	uint8_t place_count;
	struct pack_place {             /* of a name that a pointer may lead to; further ones are not remembered */
		uint16_t at;
		uint8_t name_len;       /* decompressed */
	} places[PACK_PLACES];
};

/* Rdata as it stands in a message, or alone: then wire is the rdata. */
struct pack_rdata {
	const uint8_t *wire;
	size_t pos;
	uint16_t len;
};

/* Reads a name at pos of a message. Returns the octets it takes there, or -EBADMSG. */
int pack_name_read(struct pack_name *name, const uint8_t *message, size_t len, size_t pos);

bool pack_name_equal(const struct pack_name *a, const struct pack_name *b);

/* True if name is parent or lies below it. */
bool pack_name_below(const struct pack_name *name, const struct pack_name *parent);

/* Remembers the name that stands uncompressed at a place, and its parents, as targets of pointers. */
void pack_known(struct pack *pack, size_t at);

/*
 * Appends a record. owner is a name in wire form, NULL the question's (a pointer to it). Returns the place of the TTL;
 * -EMSGSIZE if the record does not fit, -EBADMSG if its rdata is malformed: then nothing is written.
 */
int pack_record(struct pack *pack, const uint8_t *owner, uint16_t type, uint16_t class, uint32_t ttl_s,
	const struct pack_rdata *rdata);

#endif
