/*
 * A stored answer being made: records are packed one behind the other, the places of their TTLs and the facts in them
 * collected. Normalising and editing are both "walk the old message, add what stays".
 */
#ifndef USHER_ANSWER_BUILDER_H
#define USHER_ANSWER_BUILDER_H

#include "answer.h"
#include "pack.h"

#define ANSWER_TTL_MAX_S (7 * 86400u)

struct answer_builder {
	struct answer_stored *stored;
	struct answer_room *room;
	struct pack pack;
	uint16_t count[4];
	uint32_t shortest_ttl_s;
};

/* stored will point into room. The question is qname, type, class. */
void answer_builder_start(struct answer_builder *builder, struct answer_stored *stored, struct answer_room *room,
	const struct pack_name *qname, uint16_t type, uint16_t class);

/* Adds a record, its section, type and class from record. Returns 0 or -EBADMSG (rdata malformed, no room left). */
int answer_builder_add(struct answer_builder *builder, const struct message_record *record, const struct pack_name *owner,
	uint32_t ttl_s, const struct pack_rdata *rdata);

/* Writes the header and fills in what stored still lacks; its flags are those that the records showed. */
void answer_builder_end(struct answer_builder *builder, uint8_t rcode, uint32_t ttl_s);

/* RRSIG, NSEC, NSEC3: for those who sent DO (RFC 4035 3.2.1). */
bool answer_type_is_dnssec(uint16_t type);

/* The type that an RRSIG signs, 0 for another record (RFC 4034 3.1.1). */
uint16_t answer_covered_type(const uint8_t *wire, const struct message_record *record);

/* An address of 4 or 16 octets in the one space of address.h. */
void answer_address_map(uint8_t address[16], const uint8_t *octets, size_t len);

#endif
