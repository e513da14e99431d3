#include "answer_builder.h"

#include <errno.h>
#include <string.h>

#include "address.h"
#include "config.h"
#include "svcb.h"

bool answer_address_is_private(const uint8_t address[16])
{
	/* RFC 1918, loopback, link-local, unique local; and what a system takes for itself, as it does
	 * 0.0.0.0 and :: when it is connected to (RFC 1122 3.2.1.3, RFC 4291 2.5.2) */
	static const struct config_network networks[] = {
		{ { [10] = 0xff, 0xff, 10 }, 96 + 8 },
		{ { [10] = 0xff, 0xff, 172, 16 }, 96 + 12 },
		{ { [10] = 0xff, 0xff, 192, 168 }, 96 + 16 },
		{ { [10] = 0xff, 0xff, 127 }, 96 + 8 },
		{ { [10] = 0xff, 0xff, 0 }, 96 + 8 },
		{ { [15] = 1 }, 128 },
		{ { 0 }, 128 },
		{ { [10] = 0xff, 0xff, 169, 254 }, 96 + 16 },
		{ { 0xfe, 0x80 }, 10 },
		{ { 0xfc }, 7 },
	};

	for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
		if (address_is_in(address, &networks[i]))
			return true;
	return false;
}

void answer_address_map(uint8_t address[16], const uint8_t *octets, size_t len)
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

	memcpy(address, mapped, sizeof mapped);
	memcpy(address + 16 - len, octets, len);
}

/* enum answer_flag of one address, or -EBADMSG for a wrong length. */
static int address_flags(const uint8_t *octets, size_t len, size_t expected)
{
	uint8_t address[16];

	if (len != expected)
		return -EBADMSG;
	answer_address_map(address, octets, len);
	return ANSWER_HAS_ADDRESS | (answer_address_is_private(address) ? ANSWER_HAS_PRIVATE : 0);
}

static int svcb_flags(const uint8_t *rdata, size_t len)
{
	struct svcb_walk walk;
	struct svcb_param param;
	int flags, ret;

	ret = svcb_walk_start(&walk, rdata, len);
	if (ret < 0)
		return ret;
	flags = walk.target_is_owner ? 0 : ANSWER_HAS_HOP;
	while ((ret = svcb_walk_next(&walk, &param)) > 0) {
		size_t size = svcb_hint_size(param.key);
		for (size_t at = 0; size > 0 && at < param.len; at += size)
			flags |= address_flags(param.value + at, size, size);
		if (param.key == SVCB_ECH)
			flags |= ANSWER_HAS_ECH;
	}
	return ret < 0 ? ret : flags;
}

static int record_flags(uint16_t type, const uint8_t *rdata, size_t len)
{
	switch (type) {
	case TYPE_A:
		return address_flags(rdata, len, 4);
	case TYPE_AAAA:
		return address_flags(rdata, len, 16);
	case TYPE_CNAME:
	case TYPE_DNAME:
		return ANSWER_HAS_HOP;
	case TYPE_SVCB:
	case TYPE_HTTPS:
		return svcb_flags(rdata, len);
	default:
		return 0;
	}
}

bool answer_type_is_dnssec(uint16_t type)
{
	return type == TYPE_RRSIG || type == TYPE_NSEC || type == TYPE_NSEC3;
}

uint16_t answer_covered_type(const uint8_t *wire, const struct message_record *record)
{
	return record->type == TYPE_RRSIG && record->rdata_len >= 2 ? wire_read16(wire + record->rdata) : 0;
}

void answer_builder_start(struct answer_builder *builder, struct answer_stored *stored,
        struct answer_room *room, const struct pack_name *qname, uint16_t type, uint16_t class)
{
	uint8_t *end = room->wire + MESSAGE_HEADER_LEN + qname->len;

	*builder = (struct answer_builder){ .stored = stored,
		.room = room,
		.pack = { .out = room->wire, .limit = sizeof room->wire },
		.count = { 1 },
		.shortest_ttl_s = ANSWER_TTL_MAX_S };
	*stored = (struct answer_stored){ .wire = room->wire, .ttl_at = room->ttl_at };
	memcpy(room->wire + MESSAGE_HEADER_LEN, qname->octets, qname->len);
	wire_write16(end, type);
	wire_write16(end + 2, class);
	builder->pack.len = MESSAGE_HEADER_LEN + qname->len + 4u;
	pack_known(&builder->pack, MESSAGE_HEADER_LEN);
}

int answer_builder_add(struct answer_builder *builder, const struct message_record *record,
        const struct pack_name *owner, uint32_t ttl_s, const struct pack_rdata *rdata)
{
	int flags = record_flags(record->type, rdata->wire + rdata->pos, rdata->len);

	if (flags < 0)
		return flags;
	int ttl_at = pack_record(&builder->pack, owner->octets, record->type, record->class, ttl_s, rdata);
	/* Only a message made to be unpacked badly grows beyond what a message may have. */
	if (ttl_at < 0)
		return -EBADMSG;
	builder->stored->ttl_at[builder->stored->ttl_count++] = (uint16_t)ttl_at;
	builder->stored->flags |= (uint8_t)flags;
	builder->count[record->section]++;
	if (ttl_s < builder->shortest_ttl_s)
		builder->shortest_ttl_s = ttl_s;
	return 0;
}

void answer_builder_end(struct answer_builder *builder, uint8_t rcode, uint32_t ttl_s)
{
	wire_write16(builder->pack.out, 0);
	wire_write16(builder->pack.out + 2, (uint16_t)(FLAG_QR | FLAG_RA | rcode));
	for (int i = 0; i < 4; i++)
		wire_write16(builder->pack.out + 4 + 2 * i, builder->count[i]);
	builder->stored->len = (uint16_t)builder->pack.len;
	builder->stored->rcode = rcode;
	builder->stored->ttl_s = ttl_s;
}
