/*
 * Reading DNS messages. The usual query (one question, at most one OPT) is one pass over its octets without a
 * copy but that of the name. ldns would allocate a tree a query and accept what we want refused, so it is
 * only the tests' second opinion.
 */
#include "message.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define QUESTION_FIXED 4 /* type, class */
#define RECORD_FIXED 10  /* type, class, TTL, length */
#define POINTER 0xc0
#define LABEL_MAX 63
#define EDNS_DO 0x8000
#define COOKIE_CLIENT 8
#define COOKIE_MIN 16
#define COOKIE_MAX 40

enum edns_option { OPTION_NSID = 3, OPTION_COOKIE = 10, OPTION_KEEPALIVE = 11 };

/* Where the name at pos ends, not following pointers, or 0. Its length as a whole is checked by who reads it.
 */
static size_t skip_name(const uint8_t *wire, size_t len, size_t pos)
{
	while (pos < len) {
		uint8_t label = wire[pos];
		if (label == 0)
			return pos + 1;
		if (label >= POINTER)
			return pos + 2 <= len ? pos + 2 : 0;
		if (label > LABEL_MAX)
			return 0;
		pos += 1u + label;
	}
	return 0;
}

/* Returns 0 or -EBADMSG; the wrong length of a cookie or keepalive is FORMERR by RFC 7873 5.2.2 and RFC
 * 7828 3.2.1. */
static int read_option(struct message_edns *edns, uint16_t code, const uint8_t *data, size_t len)
{
	switch (code) {
	case OPTION_NSID:
		edns->nsid = true;
		return 0;
	case OPTION_COOKIE:
		/* RFC 7873 4: of several, the first counts. */
		if (edns->cookie_len > 0)
			return 0;
		if (len != COOKIE_CLIENT && (len < COOKIE_MIN || len > COOKIE_MAX))
			return -EBADMSG;
		edns->cookie_len = (uint8_t)len;
		memcpy(edns->cookie, data, len);
		return 0;
	case OPTION_KEEPALIVE:
		edns->keepalive = true;
		return len == 0 ? 0 : -EBADMSG;
	default:
		return 0;
	}
}

static int read_options(struct message_edns *edns, const uint8_t *data, size_t len)
{
	size_t pos = 0;

	while (pos < len) {
		if (len - pos < 4)
			return -EBADMSG;
		size_t option_len = wire_read16(data + pos + 2);
		if (len - pos - 4 < option_len)
			return -EBADMSG;
		int ret = read_option(edns, wire_read16(data + pos), data + pos + 4, option_len);
		if (ret < 0)
			return ret;
		pos += 4 + option_len;
	}
	return 0;
}

/* fixed is the record after its owner. Returns 0, or -EBADMSG for the second OPT (RFC 6891 6.1.1) or a bad
 * option. */
static int read_opt(struct message_edns *edns, const uint8_t *fixed, size_t rdata_len)
{
	uint16_t size = wire_read16(fixed + 2);

	if (edns->present)
		return -EBADMSG;
	edns->present = true;
	/* RFC 6891 6.2.3: smaller than 512 means 512. */
	edns->udp_size = size < MESSAGE_UDP_MIN ? MESSAGE_UDP_MIN : size;
	edns->version = fixed[5];
	edns->dnssec_ok = wire_read16(fixed + 6) & EDNS_DO;
	/* What the options of a later version look like is not ours to judge. */
	if (edns->version > 0)
		return 0;
	return read_options(edns, fixed + RECORD_FIXED, rdata_len);
}

/* Steps over one record, reading it if it is an OPT. Returns where it ends, or 0. */
static size_t read_additional(struct message_edns *edns, const uint8_t *wire, size_t len, size_t pos)
{
	size_t fixed = skip_name(wire, len, pos);

	if (fixed == 0 || len - fixed < RECORD_FIXED)
		return 0;
	size_t rdata_len = wire_read16(wire + fixed + 8);
	if (len - fixed - RECORD_FIXED < rdata_len)
		return 0;
	if (wire_read16(wire + fixed) == TYPE_OPT) {
		/* RFC 6891 6.1.2: the owner is the root. */
		if (wire[pos] != 0 || read_opt(edns, wire + fixed, rdata_len) < 0)
			return 0;
	}
	return fixed + RECORD_FIXED + rdata_len;
}

/* Returns where the question ends, or 0: no pointer can be right in the first name of a message. */
static size_t read_question(struct message *message, const uint8_t *wire, size_t len)
{
	const uint8_t *question = wire + MESSAGE_HEADER_LEN;
	int name_len = name_from_wire(&message->name, question, len - MESSAGE_HEADER_LEN);

	if (name_len < 0 || len - MESSAGE_HEADER_LEN - (size_t)name_len < QUESTION_FIXED)
		return 0;
	message->type = wire_read16(question + name_len);
	message->class = wire_read16(question + name_len + 2);
	message->question = question;
	message->question_len = (uint16_t)(name_len + QUESTION_FIXED);
	return MESSAGE_HEADER_LEN + message->question_len;
}

static int read_body(struct message *message, const uint8_t *wire, size_t len)
{
	unsigned questions = wire_read16(wire + 4);

	if (questions > 1)
		return RCODE_FORMERR;
	size_t pos = questions == 1 ? read_question(message, wire, len) : MESSAGE_HEADER_LEN;
	if (pos == 0)
		return RCODE_FORMERR;
	/* Nothing answers in a query, and only IXFR says something of authority (RFC 1995 3). */
	unsigned authority = wire_read16(wire + 8), additional = wire_read16(wire + 10);
	if (wire_read16(wire + 6) != 0 || (authority != 0 && message->type != TYPE_IXFR))
		return RCODE_FORMERR;
	for (unsigned i = 0; i < authority + additional; i++) {
		pos = read_additional(&message->edns, wire, len, pos);
		if (pos == 0)
			return RCODE_FORMERR;
	}
	if (pos != len)
		return RCODE_FORMERR;
	/* RFC 7873 5.4: without a question, a query for a cookie. */
	if (questions == 0 && message->edns.cookie_len == 0 && message->edns.version == 0)
		return RCODE_FORMERR;
	return message->edns.version > 0 ? RCODE_BADVERS : 0;
}

int message_read(struct message *message, const uint8_t *wire, size_t len)
{
	if (len < MESSAGE_HEADER_LEN || (wire[2] & FLAG_QR >> 8))
		return -ENOMSG;
	message->id = wire_read16(wire);
	message->flags = wire_read16(wire + 2);
	message->opcode = wire[2] >> 3 & 0xf;
	message->type = 0;
	message->class = 0;
	message->name.len = 0;
	message->name.labels = 0;
	message->question = NULL;
	message->question_len = 0;
	memset(&message->edns, 0, offsetof(struct message_edns, cookie));
	message->edns.udp_size = MESSAGE_UDP_MIN;

	int ret = read_body(message, wire, len);
	/* What another opcode's message looks like is not ours to judge; question and OPT are used if they
	 * could be read. */
	return message->opcode == OPCODE_QUERY ? ret : RCODE_NOTIMP;
}

int message_walk_start(struct message_walk *walk, const uint8_t *wire, size_t len)
{
	if (len < MESSAGE_HEADER_LEN)
		return -EBADMSG;
	walk->wire = wire;
	walk->len = len;
	walk->pos = MESSAGE_HEADER_LEN;
	for (int i = 0; i < 4; i++)
		walk->left[i] = wire_read16(wire + 4 + 2 * i);
	for (; walk->left[SECTION_QUESTION] > 0; walk->left[SECTION_QUESTION]--) {
		size_t end = skip_name(wire, len, walk->pos);
		if (end == 0 || len - end < QUESTION_FIXED)
			return -EBADMSG;
		walk->pos = end + QUESTION_FIXED;
	}
	return 0;
}

int message_walk_next(struct message_walk *walk, struct message_record *record)
{
	enum message_section section = SECTION_ANSWER;

	while (section <= SECTION_ADDITIONAL && walk->left[section] == 0)
		section++;
	if (section > SECTION_ADDITIONAL)
		return 0;
	size_t fixed = skip_name(walk->wire, walk->len, walk->pos);
	if (fixed == 0 || walk->len - fixed < RECORD_FIXED)
		return -EBADMSG;
	const uint8_t *p = walk->wire + fixed;
	*record = (struct message_record){ .section = section,
		.pos = walk->pos,
		.type = wire_read16(p),
		.class = wire_read16(p + 2),
		.ttl_at = fixed + 4,
		.ttl_s = wire_read32(p + 4),
		.rdata = fixed + RECORD_FIXED,
		.rdata_len = wire_read16(p + 8) };
	if (walk->len - record->rdata < record->rdata_len)
		return -EBADMSG;
	walk->pos = record->rdata + record->rdata_len;
	walk->left[section]--;
	return 1;
}

int message_rdata_name(const struct message_walk *walk, const struct message_record *record, size_t offset,
        struct name *name)
{
	if (offset >= record->rdata_len)
		return -EBADMSG;
	/* The end of the rdata is the end of what may be read: a pointer leads backwards only. */
	return name_from_message(name, walk->wire, record->rdata + record->rdata_len, record->rdata + offset);
}

/* IANA's table of types, as far as people ask for them or a log meets them. */
static const struct {
	uint16_t type;
	const char *text;
} types[] = {
	{ TYPE_A, "A" },
	{ TYPE_NS, "NS" },
	{ TYPE_CNAME, "CNAME" },
	{ TYPE_SOA, "SOA" },
	{ TYPE_NULL, "NULL" },
	{ TYPE_PTR, "PTR" },
	{ 13, "HINFO" },
	{ TYPE_MX, "MX" },
	{ TYPE_TXT, "TXT" },
	{ 17, "RP" },
	{ 18, "AFSDB" },
	{ 24, "SIG" },
	{ 25, "KEY" },
	{ TYPE_AAAA, "AAAA" },
	{ 29, "LOC" },
	{ TYPE_SRV, "SRV" },
	{ 35, "NAPTR" },
	{ 36, "KX" },
	{ 37, "CERT" },
	{ TYPE_DNAME, "DNAME" },
	{ TYPE_OPT, "OPT" },
	{ 42, "APL" },
	{ TYPE_DS, "DS" },
	{ 44, "SSHFP" },
	{ 45, "IPSECKEY" },
	{ TYPE_RRSIG, "RRSIG" },
	{ TYPE_NSEC, "NSEC" },
	{ TYPE_DNSKEY, "DNSKEY" },
	{ 49, "DHCID" },
	{ TYPE_NSEC3, "NSEC3" },
	{ 51, "NSEC3PARAM" },
	{ 52, "TLSA" },
	{ 53, "SMIMEA" },
	{ 55, "HIP" },
	{ 59, "CDS" },
	{ 60, "CDNSKEY" },
	{ 61, "OPENPGPKEY" },
	{ 62, "CSYNC" },
	{ 63, "ZONEMD" },
	{ TYPE_SVCB, "SVCB" },
	{ TYPE_HTTPS, "HTTPS" },
	{ 99, "SPF" },
	{ 108, "EUI48" },
	{ 109, "EUI64" },
	{ 249, "TKEY" },
	{ 250, "TSIG" },
	{ TYPE_IXFR, "IXFR" },
	{ TYPE_AXFR, "AXFR" },
	{ TYPE_ANY, "ANY" },
	{ 256, "URI" },
	{ 257, "CAA" },
};

const char *message_type_text(uint16_t type, char text[16])
{
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (types[i].type == type)
			return types[i].text;
	snprintf(text, 16, "TYPE%u", type);
	return text;
}

int message_type_parse(const char *text)
{
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (strcasecmp(types[i].text, text) == 0)
			return types[i].type;
	/* RFC 3597 5 */
	if (strncasecmp(text, "TYPE", 4) != 0 || !isdigit((unsigned char)text[4]))
		return -1;
	char *end;
	unsigned long type = strtoul(text + 4, &end, 10);
	return *end == '\0' && type <= UINT16_MAX ? (int)type : -1;
}
