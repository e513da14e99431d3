/*
 * Answers as they are kept: the normal form of what the recursor brought, and its way to a client. A hit only
 * copies octets and patches TTLs, which is why their places are kept.
 */
#include <errno.h>
#include <string.h>

#include "answer_builder.h"

#define TTL_NEGATIVE_MAX_S 3600u
#define TTL_FAILURE_S 5u
#define CHAIN_MAX 17 /* the asked name and 16 hops: more than libunbound follows */

/* ---- from the recursor's message ---- */

struct origin {
	const uint8_t *wire;
	size_t len;
	uint16_t type, class;
	uint8_t rcode;
	bool dnssec_ok;
	bool negative, has_soa;
	unsigned data_count; /* records of the asked type that stay */
	unsigned chain_count;
	struct pack_name chain[CHAIN_MAX]; /* the asked name, then where CNAMEs lead */
};

static int origin_start(struct origin *origin, const uint8_t *wire, size_t len, bool dnssec_ok)
{
	if (len < MESSAGE_HEADER_LEN || len > MESSAGE_MAX || wire_read16(wire + 4) != 1)
		return -EBADMSG;
	int name_len = pack_name_read(&origin->chain[0], wire, len, MESSAGE_HEADER_LEN);
	/* Equal lengths: the name is not compressed. */
	if (name_len != origin->chain[0].len || len - MESSAGE_HEADER_LEN - (size_t)name_len < 4)
		return -EBADMSG;
	const uint8_t *end = wire + MESSAGE_HEADER_LEN + name_len;
	origin->wire = wire;
	origin->len = len;
	origin->type = wire_read16(end);
	origin->class = wire_read16(end + 2);
	origin->rcode = wire[3] & 0xf;
	origin->dnssec_ok = dnssec_ok;
	origin->negative = origin->has_soa = false;
	origin->data_count = 0;
	origin->chain_count = 1;
	return 0;
}

static bool chain_has(const struct origin *origin, const struct pack_name *name)
{
	for (unsigned i = 0; i < origin->chain_count; i++)
		if (pack_name_equal(&origin->chain[i], name))
			return true;
	return false;
}

static bool chain_is_below(const struct origin *origin, const struct pack_name *parent)
{
	for (unsigned i = 0; i < origin->chain_count; i++)
		if (pack_name_below(&origin->chain[i], parent))
			return true;
	return false;
}

/* Appends the target of a CNAME at the chain's end. Returns 1 if it did, 0, or -EBADMSG. */
static int chain_add(struct origin *origin, const struct message_record *record)
{
	struct pack_name *last = &origin->chain[origin->chain_count - 1],
	                 *next = &origin->chain[origin->chain_count];
	struct pack_name owner;

	if (record->type != TYPE_CNAME || record->section != SECTION_ANSWER ||
	        origin->chain_count == CHAIN_MAX)
		return 0;
	if (pack_name_read(&owner, origin->wire, origin->len, record->pos) < 0)
		return -EBADMSG;
	if (!pack_name_equal(&owner, last))
		return 0;
	if (pack_name_read(next, origin->wire, record->rdata + record->rdata_len, record->rdata) < 0)
		return -EBADMSG;
	if (chain_has(origin, next))
		return 0;
	origin->chain_count++;
	return 1;
}

static int chain_pass(struct origin *origin)
{
	struct message_walk walk;
	struct message_record record;

	int ret = message_walk_start(&walk, origin->wire, origin->len);
	if (ret < 0)
		return ret;
	while ((ret = message_walk_next(&walk, &record)) > 0) {
		ret = chain_add(origin, &record);
		if (ret < 0)
			return ret;
	}
	return ret;
}

/* Follows the CNAMEs from the asked name, in whatever order they stand. Returns 0 or -EBADMSG. */
static int chain_follow(struct origin *origin)
{
	unsigned before;
	int ret;

	do {
		before = origin->chain_count;
		ret = chain_pass(origin);
	} while (ret == 0 && origin->chain_count > before);
	return ret;
}

static bool is_asked(const struct origin *origin, uint16_t type)
{
	return origin->type == type || origin->type == TYPE_ANY;
}

/* Does a record of the answer section answer this question, for this kind of client? A signature goes with
 * what it signs. */
static bool belongs_in_answer(
        const struct origin *origin, const struct message_record *record, const struct pack_name *owner)
{
	uint16_t type = record->type;

	if (type == TYPE_RRSIG && !is_asked(origin, type)) {
		if (!origin->dnssec_ok)
			return false;
		type = answer_covered_type(origin->wire, record);
	}
	if (type == TYPE_DNAME)
		return chain_is_below(origin, owner);
	return (type == TYPE_CNAME || is_asked(origin, type)) && chain_has(origin, owner);
}

/* Of the authority section: a negative answer's SOA, and the proofs of negatives and wildcards for those who
 * can read them. */
static bool belongs_in_authority(
        const struct origin *origin, const struct message_record *record, const struct pack_name *owner)
{
	uint16_t type = record->type == TYPE_RRSIG ? answer_covered_type(origin->wire, record) : record->type;

	if (record->type == TYPE_RRSIG && !origin->dnssec_ok)
		return false;
	if (type == TYPE_NSEC || type == TYPE_NSEC3)
		return origin->dnssec_ok;
	if (type != TYPE_SOA || !origin->negative || !chain_is_below(origin, owner))
		return false;
	return record->type == TYPE_RRSIG || !origin->has_soa;
}

/* RFC 2181 8: the top bit means 0. RFC 2308 5: a negative answer lives as long as its SOA and its MINIMUM
 * allow. */
static uint32_t record_ttl(const struct origin *origin, const struct message_record *record)
{
	uint32_t ttl_s = record->ttl_s > INT32_MAX ? 0 : record->ttl_s;

	if (ttl_s > ANSWER_TTL_MAX_S)
		ttl_s = ANSWER_TTL_MAX_S;
	if (record->section != SECTION_AUTHORITY || record->type != TYPE_SOA || record->rdata_len < 4)
		return ttl_s;
	uint32_t minimum_s = wire_read32(origin->wire + record->rdata + record->rdata_len - 4);
	if (ttl_s > minimum_s)
		ttl_s = minimum_s;
	return ttl_s > TTL_NEGATIVE_MAX_S ? TTL_NEGATIVE_MAX_S : ttl_s;
}

/* Takes over one record if it belongs. Returns 0 or -EBADMSG. */
static int origin_take(
        struct origin *origin, struct answer_builder *builder, const struct message_record *record)
{
	const struct pack_rdata rdata = {
		.wire = origin->wire, .pos = record->rdata, .len = record->rdata_len
	};
	struct pack_name owner;

	if (record->class != origin->class)
		return 0;
	if (pack_name_read(&owner, origin->wire, origin->len, record->pos) < 0)
		return -EBADMSG;
	bool belongs = record->section == SECTION_ANSWER ? belongs_in_answer(origin, record, &owner)
	                                                 : belongs_in_authority(origin, record, &owner);
	if (!belongs)
		return 0;
	if (record->section == SECTION_ANSWER && is_asked(origin, record->type))
		origin->data_count++;
	if (record->section == SECTION_AUTHORITY && record->type == TYPE_SOA)
		origin->has_soa = true;
	return answer_builder_add(builder, record, &owner, record_ttl(origin, record), &rdata);
}

static int origin_take_section(
        struct origin *origin, struct answer_builder *builder, enum message_section section)
{
	struct message_walk walk;
	struct message_record record;

	int ret = message_walk_start(&walk, origin->wire, origin->len);
	if (ret < 0)
		return ret;
	while ((ret = message_walk_next(&walk, &record)) > 0) {
		if (record.section != section)
			continue;
		ret = origin_take(origin, builder, &record);
		if (ret < 0)
			return ret;
	}
	return ret;
}

static uint32_t origin_ttl(const struct origin *origin, const struct answer_builder *builder)
{
	bool is_failure = origin->rcode != RCODE_NOERROR && origin->rcode != RCODE_NXDOMAIN;

	if (is_failure || (origin->negative && !origin->has_soa))
		return TTL_FAILURE_S;
	return builder->shortest_ttl_s;
}

int answer_normalise(struct answer_stored *stored, struct answer_room *room, const uint8_t *wire, size_t len,
        bool dnssec_ok)
{
	struct origin origin;
	struct answer_builder builder;

	int ret = origin_start(&origin, wire, len, dnssec_ok);
	if (ret < 0)
		return ret;
	ret = chain_follow(&origin);
	if (ret < 0)
		return ret;
	answer_builder_start(&builder, stored, room, &origin.chain[0], origin.type, origin.class);
	ret = origin_take_section(&origin, &builder, SECTION_ANSWER);
	if (ret < 0)
		return ret;
	origin.negative =
	        origin.rcode == RCODE_NXDOMAIN || (origin.rcode == RCODE_NOERROR && origin.data_count == 0);
	ret = origin_take_section(&origin, &builder, SECTION_AUTHORITY);
	if (ret < 0)
		return ret;
	answer_builder_end(&builder, origin.rcode, origin_ttl(&origin, &builder));
	if (origin.negative)
		stored->flags |= ANSWER_NEGATIVE;
	return 0;
}

/* ---- to a client ---- */

/* RFC 6840 5.7, 5.8: AD for those who sent AD or DO; who checks himself (CD) is told nothing. */
static bool tells_secure(const struct message *query, const struct answer_stored *stored)
{
	if (!(stored->flags & ANSWER_SECURE) || query->flags & FLAG_CD)
		return false;
	return query->edns.dnssec_ok || query->flags & FLAG_AD;
}

size_t answer_from_stored(uint8_t *out, size_t limit, const struct message *query,
        const struct answer_stored *stored, uint32_t age_s, uint32_t max_ttl_s, bool stale,
        const struct answer_edns *edns)
{
	uint16_t flags = FLAG_QR | FLAG_RA | (query->flags & (FLAG_RD | FLAG_CD)) | stored->rcode;
	bool fits = stored->len + answer_opt_len(query, edns) <= limit;
	size_t len = fits ? stored->len : MESSAGE_HEADER_LEN + (size_t)query->question_len;

	if (fits) {
		memcpy(out, stored->wire, len);
		for (unsigned i = 0; i < stored->ttl_count; i++) {
			uint8_t *ttl = out + stored->ttl_at[i];
			wire_write32(ttl, answer_ttl(wire_read32(ttl), age_s, max_ttl_s, stale));
		}
		if (tells_secure(query, stored))
			flags |= FLAG_AD;
	} else {
		memset(out + 6, 0, 6);
		wire_write16(out + 4, 1);
		flags |= FLAG_TC;
	}
	/* The question as the client wrote it (0x20): owners are pointers to it and follow. */
	memcpy(out + MESSAGE_HEADER_LEN, query->question, query->question_len);
	wire_write16(out, query->id);
	wire_write16(out + 2, flags);
	size_t opt_len = answer_opt(out + len, limit - len, query, stored->rcode, edns);
	wire_write16(out + 10, opt_len > 0);
	return len + opt_len;
}
