/* A stored answer changed for one profile. Types are few, so which RRsets change is a set of types: see
 * survey(). */
#include <errno.h>
#include <string.h>

#include "address.h"
#include "answer_builder.h"
#include "config.h"
#include "svcb.h"

/* Bits of the types that may be changed; all others have none. */
static unsigned type_bit(uint16_t type)
{
	switch (type) {
	case TYPE_A:
		return 1;
	case TYPE_AAAA:
		return 2;
	case TYPE_SVCB:
		return 4;
	case TYPE_HTTPS:
		return 8;
	default:
		return 0;
	}
}

static bool address_is_unwanted(void *arg, const uint8_t *octets, size_t len)
{
	const struct answer_edit *how = arg;
	uint8_t address[16];

	answer_address_map(address, octets, len);
	return how->drop_private && answer_address_is_private(address);
}

/*
 * The new rdata's length: as it was if nothing changes, 0 if the record goes; changed SVCB rdata is put into
 * out. Or -EBADMSG.
 */
static int edit_rdata(uint8_t *out, const uint8_t *rdata, const struct message_record *record,
        const struct answer_edit *how)
{
	const struct svcb_edit svcb = {
		.strip_ech = how->strip_ech, .unwanted = address_is_unwanted, .arg = (void *)how
	};

	switch (record->type) {
	case TYPE_A:
	case TYPE_AAAA:
		return address_is_unwanted((void *)how, rdata, record->rdata_len) ? 0 : record->rdata_len;
	case TYPE_SVCB:
	case TYPE_HTTPS:
		return svcb_copy(out, rdata, record->rdata_len, &svcb);
	default:
		return record->rdata_len;
	}
}

/*
 * Which types change, as bits, or -EBADMSG. In normal form only the end of the chain has records of the asked
 * type, so type says RRset well enough to know the RRSIGs that became wrong.
 */
static int survey(const struct answer_stored *stored, const struct answer_edit *how, uint8_t *scratch)
{
	struct message_walk walk;
	struct message_record record;
	unsigned changed = 0;

	int ret = message_walk_start(&walk, stored->wire, stored->len);
	if (ret < 0)
		return ret;
	while ((ret = message_walk_next(&walk, &record)) > 0) {
		int len = edit_rdata(scratch, stored->wire + record.rdata, &record, how);
		if (len < 0)
			return len;
		if (len != record.rdata_len)
			changed |= type_bit(record.type);
	}
	return ret < 0 ? ret : (int)changed;
}

static bool is_data(uint16_t type)
{
	return type != TYPE_CNAME && type != TYPE_DNAME && !answer_type_is_dnssec(type);
}

/* Copies what stays. Returns how many records of data the answer section still has, or -EBADMSG. */
static int copy_edited(struct answer_builder *builder, const struct answer_stored *stored,
        const struct answer_edit *how, unsigned changed, uint8_t *scratch)
{
	struct message_walk walk;
	struct message_record record;
	struct pack_name owner;
	int data = 0;

	int ret = message_walk_start(&walk, stored->wire, stored->len);
	if (ret < 0)
		return ret;
	while ((ret = message_walk_next(&walk, &record)) > 0) {
		struct pack_rdata rdata = {
			.wire = stored->wire, .pos = record.rdata, .len = record.rdata_len
		};
		if (type_bit(answer_covered_type(stored->wire, &record)) & changed)
			continue;
		int len = edit_rdata(scratch, stored->wire + record.rdata, &record, how);
		if (len < 0)
			return len;
		if (len == 0 && record.rdata_len > 0)
			continue;
		if (len != record.rdata_len)
			rdata = (struct pack_rdata){ .wire = scratch, .pos = 0, .len = (uint16_t)len };
		if (pack_name_read(&owner, stored->wire, stored->len, record.pos) < 0)
			return -EBADMSG;
		ret = answer_builder_add(builder, &record, &owner, record.ttl_s, &rdata);
		if (ret < 0)
			return ret;
		data += record.section == SECTION_ANSWER && is_data(record.type);
	}
	return ret < 0 ? ret : data;
}

int answer_edit(struct answer_stored *edited, struct answer_room *room, const struct answer_stored *stored,
        const struct answer_edit *how)
{
	uint8_t scratch[MESSAGE_MAX];
	struct answer_builder builder;
	struct pack_name qname;

	int changed = survey(stored, how, scratch);
	if (changed <= 0)
		return changed;
	int name_len = pack_name_read(&qname, stored->wire, stored->len, MESSAGE_HEADER_LEN);
	if (name_len < 0)
		return name_len;
	const uint8_t *end = stored->wire + MESSAGE_HEADER_LEN + name_len;
	answer_builder_start(&builder, edited, room, &qname, wire_read16(end), wire_read16(end + 2));
	int data = copy_edited(&builder, stored, how, (unsigned)changed, scratch);
	if (data < 0)
		return data;
	/* No data left is NODATA; what was altered is not secure any more. */
	answer_builder_end(&builder, data == 0 ? RCODE_NOERROR : stored->rcode, stored->ttl_s);
	edited->flags |= stored->flags & (ANSWER_LISTED_HOP | ANSWER_LISTED_ADDRESS | ANSWER_NEGATIVE);
	if (data == 0)
		edited->flags |= ANSWER_NEGATIVE;
	return 1;
}
