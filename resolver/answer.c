/* Replies that usherd words itself, and the OPT of all replies. answer_stored.c does what the recursor
 * brought. */
#include "answer.h"

#include <errno.h>
#include <string.h>

#include "answer_builder.h"

#define EDNS_DO 0x8000
#define OPT_FIXED 11 /* root, type, size, TTL, length */
#define OPTION_HEADER 4
#define KEEPALIVE_LEN 2
#define EDE_CODE_LEN 2
#define TTL_STALE_S 30u /* RFC 8767 4 */
#define SOA_TTL_AT 6    /* in a record whose owner is a pointer */
#define SOA_MNAME_AT 12
#define SOA_RNAME_AT (SOA_MNAME_AT + 14)

enum edns_option { OPTION_NSID = 3, OPTION_COOKIE = 10, OPTION_KEEPALIVE = 11, OPTION_EDE = 15 };

static const struct answer_edns no_edns = { .ede = EDE_NONE };

/* ---- OPT ---- */

static bool sends_cookie(const struct message *query, const struct answer_edns *edns)
{
	return query->edns.cookie_len > 0 && edns->cookie != NULL;
}

static bool sends_keepalive(const struct message *query, const struct answer_edns *edns)
{
	return query->edns.keepalive && edns->keepalive > 0;
}

size_t answer_opt_len(const struct message *query, const struct answer_edns *edns)
{
	size_t len = OPT_FIXED;

	if (!query->edns.present)
		return 0;
	if (edns == NULL)
		return len;
	if (sends_cookie(query, edns))
		len += OPTION_HEADER + (size_t)edns->cookie_len;
	if (sends_keepalive(query, edns))
		len += OPTION_HEADER + KEEPALIVE_LEN;
	if (edns->ede != EDE_NONE)
		len += OPTION_HEADER + EDE_CODE_LEN;
	return len;
}

static size_t option_put(uint8_t *out, uint16_t code, const void *data, size_t len)
{
	wire_write16(out, code);
	wire_write16(out + 2, (uint16_t)len);
	memcpy(out + OPTION_HEADER, data, len);
	return OPTION_HEADER + len;
}

/* How many octets of a UTF-8 text fit, no character cut in two. */
static size_t text_fits(const char *text, size_t room)
{
	size_t len = strnlen(text, room + 1);

	if (len <= room)
		return len;
	for (len = room; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
		len--;
	return len;
}

static size_t option_put_ede(uint8_t *out, size_t room, const struct answer_edns *edns)
{
	const char *text = edns->ede_text != NULL ? edns->ede_text : "";
	size_t len = text_fits(text, room - OPTION_HEADER - EDE_CODE_LEN);

	wire_write16(out, OPTION_EDE);
	wire_write16(out + 2, (uint16_t)(EDE_CODE_LEN + len));
	wire_write16(out + OPTION_HEADER, (uint16_t)edns->ede);
	memcpy(out + OPTION_HEADER + EDE_CODE_LEN, text, len);
	return OPTION_HEADER + EDE_CODE_LEN + len;
}

static size_t options_put(
        uint8_t *out, size_t room, const struct message *query, const struct answer_edns *edns)
{
	size_t ede_len = edns->ede != EDE_NONE ? OPTION_HEADER + EDE_CODE_LEN : 0;
	size_t len = 0;

	if (sends_cookie(query, edns))
		len += option_put(out + len, OPTION_COOKIE, edns->cookie, edns->cookie_len);
	if (sends_keepalive(query, edns)) {
		uint8_t timeout[KEEPALIVE_LEN];
		wire_write16(timeout, edns->keepalive);
		len += option_put(out + len, OPTION_KEEPALIVE, timeout, sizeof timeout);
	}
	if (query->edns.nsid && edns->nsid != NULL && edns->nsid[0] != '\0') {
		size_t nsid_len = strlen(edns->nsid);
		if (OPTION_HEADER + nsid_len + ede_len <= room - len)
			len += option_put(out + len, OPTION_NSID, edns->nsid, nsid_len);
	}
	if (ede_len > 0)
		len += option_put_ede(out + len, room - len, edns);
	return len;
}

size_t answer_opt(uint8_t *out, size_t room, const struct message *query, uint16_t rcode,
        const struct answer_edns *edns)
{
	if (!query->edns.present)
		return 0;
	size_t options_len = edns == NULL ? 0 : options_put(out + OPT_FIXED, room - OPT_FIXED, query, edns);

	/* RFC 6891 6.1.3: the upper eight bits of the rcode, version 0, DO as the client's. */
	out[0] = 0;
	wire_write16(out + 1, TYPE_OPT);
	wire_write16(out + 3, MESSAGE_UDP_MAX);
	out[5] = (uint8_t)(rcode >> 4);
	out[6] = 0;
	wire_write16(out + 7, query->edns.dnssec_ok ? EDNS_DO : 0);
	wire_write16(out + 9, (uint16_t)options_len);
	return OPT_FIXED + options_len;
}

/* ---- the writer ---- */

/* The most that answer_opt_len() can say for this query later. */
static size_t opt_room(const struct message *query)
{
	static const uint8_t cookie[1];
	const struct answer_edns all = {
		.ede = EDE_OTHER, .cookie = cookie, .cookie_len = sizeof query->edns.cookie, .keepalive = 1
	};

	return answer_opt_len(query, &all);
}

void answer_begin(
        struct answer_writer *writer, uint8_t *out, size_t limit, const struct message *query, uint8_t rcode)
{
	writer->pack.out = out;
	writer->pack.limit = limit - opt_room(query);
	writer->pack.len = MESSAGE_HEADER_LEN + query->question_len;
	writer->pack.place_count = 0;
	writer->limit = limit;
	writer->rcode = rcode;
	memset(writer->count, 0, sizeof writer->count);
	writer->count[SECTION_QUESTION] = query->question != NULL;
	writer->truncated = false;
	writer->query = query;

	wire_write16(out, query->id);
	wire_write16(out + 2, (uint16_t)(FLAG_QR | FLAG_RA | query->opcode << 11 |
	                                 (query->flags & (FLAG_RD | FLAG_CD)) | (rcode & 0xf)));
	memset(out + 4, 0, 8);
	if (query->question != NULL)
		memcpy(out + MESSAGE_HEADER_LEN, query->question, query->question_len);
}

/* A record as pack_record() takes it, counted. */
static void writer_put(struct answer_writer *writer, enum message_section section, const uint8_t *owner,
        uint16_t type, uint32_t ttl_s, const struct pack_rdata *rdata)
{
	uint16_t class = writer->query->class;

	if (writer->truncated)
		return;
	/* Most replies point to the question's name only and need not know its parents. */
	if (owner != NULL && writer->pack.place_count == 0 && writer->query->question != NULL)
		pack_known(&writer->pack, MESSAGE_HEADER_LEN);
	if (class == CLASS_ANY || class == 0)
		class = CLASS_IN;
	int ret = pack_record(&writer->pack, owner, type, class, ttl_s, rdata);
	writer->truncated = ret == -EMSGSIZE;
	writer->count[section] += ret >= 0;
}

void answer_record(struct answer_writer *writer, enum message_section section, const struct name *owner,
        uint16_t type, uint32_t ttl_s, const uint8_t *rdata, size_t rdata_len)
{
	const struct pack_rdata plain = { .wire = rdata, .pos = 0, .len = (uint16_t)rdata_len };

	if (owner != NULL && name_equal(owner, &writer->query->name))
		owner = NULL;
	writer_put(writer, section, owner != NULL ? owner->wire : NULL, type, ttl_s, &plain);
}

uint32_t answer_ttl(uint32_t ttl_s, uint32_t age_s, uint32_t max_ttl_s, bool stale)
{
	ttl_s = stale ? TTL_STALE_S : ttl_s > age_s ? ttl_s - age_s : 1;
	return ttl_s < max_ttl_s ? ttl_s : max_ttl_s;
}

/* What a rewrite takes over: data and a negative answer's SOA, no proofs of another name's answer. */
static bool is_copied(const struct message_record *record, const struct answer_stored *stored)
{
	if (answer_type_is_dnssec(record->type))
		return false;
	return record->section == SECTION_ANSWER ||
	       (stored->flags & ANSWER_NEGATIVE && record->type == TYPE_SOA);
}

void answer_copy(
        struct answer_writer *writer, const struct answer_stored *stored, uint32_t age_s, uint32_t max_ttl_s)
{
	struct message_walk walk;
	struct message_record record;
	struct pack_name owner;

	if (message_walk_start(&walk, stored->wire, stored->len) < 0)
		return;
	while (message_walk_next(&walk, &record) > 0) {
		const struct pack_rdata rdata = {
			.wire = stored->wire, .pos = record.rdata, .len = record.rdata_len
		};
		if (!is_copied(&record, stored) ||
		        pack_name_read(&owner, stored->wire, stored->len, record.pos) < 0)
			continue;
		writer_put(writer, record.section, owner.octets, record.type,
		        answer_ttl(record.ttl_s, age_s, max_ttl_s, false), &rdata);
	}
}

void answer_flags(struct answer_writer *writer, uint16_t set, uint16_t clear)
{
	uint16_t flags = wire_read16(writer->pack.out + 2);

	wire_write16(writer->pack.out + 2, (uint16_t)((flags & ~clear) | set));
}

size_t answer_finish(struct answer_writer *writer, const struct answer_edns *edns)
{
	const struct message *query = writer->query;
	struct pack *pack = &writer->pack;

	if (edns == NULL)
		edns = &no_edns;
	if (edns->extended_rcode > 0) {
		writer->rcode = edns->extended_rcode;
		answer_flags(writer, edns->extended_rcode & 0xf, 0xf);
	}
	if (writer->truncated) {
		answer_flags(writer, FLAG_TC, FLAG_AD);
		pack->len = MESSAGE_HEADER_LEN + query->question_len;
		memset(writer->count + SECTION_ANSWER, 0, 3 * sizeof writer->count[0]);
	}
	size_t opt_len =
	        answer_opt(pack->out + pack->len, writer->limit - pack->len, query, writer->rcode, edns);
	writer->count[SECTION_ADDITIONAL] += opt_len > 0;
	for (int i = 0; i < 4; i++)
		wire_write16(pack->out + 4 + 2 * i, writer->count[i]);
	return pack->len + opt_len;
}

/*
 * The SOA of most answers: the asked name's, in class IN, and nothing before it whose name could be pointed
 * to. It lies ready but for its TTL, its MINIMUM and the pointer from RNAME to MNAME. False: it is none of
 * those, or does not fit.
 */
static bool put_usual_soa(struct answer_writer *writer, uint32_t ttl_s)
{
	static const uint8_t ready[] = "\300\14\0\6\0\1\0\0\0\0\0\44\6filter\5usher\0\300\0\0\0\0\1\0\0\16\20"
	                               "\0\0\2\130\0\1\121\200\0\0\0";
	struct pack *pack = &writer->pack;
	uint8_t *at = pack->out + pack->len;

	if (writer->query->class != CLASS_IN || writer->query->question == NULL || pack->place_count > 0 ||
	        pack->limit - pack->len < sizeof ready)
		return false;
	memcpy(at, ready, sizeof ready);
	wire_write32(at + SOA_TTL_AT, ttl_s);
	wire_write16(at + SOA_RNAME_AT, (uint16_t)(0xc000 | (pack->len + SOA_MNAME_AT)));
	wire_write32(at + sizeof ready - 4, ttl_s);
	pack->len += sizeof ready;
	writer->count[SECTION_AUTHORITY]++;
	return true;
}

void answer_soa(struct answer_writer *writer, const struct name *owner, uint32_t ttl_s)
{
	if (owner == NULL && !writer->truncated && put_usual_soa(writer, ttl_s))
		return;
	/* filter.usher. filter.usher. 1 3600 600 86400, and MINIMUM in the last four octets. */
	uint8_t rdata[] = "\6filter\5usher\0\6filter\5usher\0\0\0\0\1\0\0\16\20\0\0\2\130\0\1\121\200\0\0\0";

	wire_write32(rdata + sizeof rdata - 4, ttl_s);
	answer_record(writer, SECTION_AUTHORITY, owner, TYPE_SOA, ttl_s, rdata, sizeof rdata);
}
