/*
 * DNS messages as read (RFC 1035, EDNS(0) RFC 6891): a client's query taken apart, and a walk over the records of any message.
 * Input is hostile: nothing here reads outside [wire, wire + len) or loops.
 */
#ifndef USHER_MESSAGE_H
#define USHER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blocklists/name.h"

#define MESSAGE_HEADER_LEN 12
#define MESSAGE_MAX 65535
#define MESSAGE_UDP_MIN 512     /* RFC 1035 4.2.1, clients without EDNS */
#define MESSAGE_UDP_MAX 1232    /* what we send at most and advertise (DNS flag day 2020) */

/* IANA DNS parameters: the numbers this program speaks of. */
enum dns_rcode { RCODE_NOERROR, RCODE_FORMERR, RCODE_SERVFAIL, RCODE_NXDOMAIN, RCODE_NOTIMP, RCODE_REFUSED, RCODE_BADVERS = 16,
	RCODE_BADCOOKIE = 23 };
enum dns_type { TYPE_A = 1, TYPE_NS = 2, TYPE_CNAME = 5, TYPE_SOA = 6, TYPE_NULL = 10, TYPE_PTR = 12, TYPE_MX = 15, TYPE_TXT = 16,
	TYPE_AAAA = 28, TYPE_SRV = 33, TYPE_DNAME = 39, TYPE_OPT = 41, TYPE_DS = 43, TYPE_RRSIG = 46, TYPE_NSEC = 47, TYPE_DNSKEY = 48,
	TYPE_NSEC3 = 50, TYPE_SVCB = 64, TYPE_HTTPS = 65, TYPE_IXFR = 251, TYPE_AXFR = 252, TYPE_ANY = 255 };
enum dns_class { CLASS_IN = 1, CLASS_CH = 3, CLASS_HS = 4, CLASS_NONE = 254, CLASS_ANY = 255 };
enum dns_opcode { OPCODE_QUERY, OPCODE_IQUERY, OPCODE_STATUS, OPCODE_NOTIFY = 4, OPCODE_UPDATE = 5 };
enum dns_flag { FLAG_QR = 0x8000, FLAG_AA = 0x0400, FLAG_TC = 0x0200, FLAG_RD = 0x0100, FLAG_RA = 0x0080, FLAG_AD = 0x0020,
	FLAG_CD = 0x0010 };
enum dns_ede { EDE_NONE = -1, EDE_OTHER = 0, EDE_STALE = 3, EDE_FORGED = 4, EDE_DNSSEC_INDETERMINATE = 5, EDE_BOGUS = 6,
	EDE_SIGNATURE_EXPIRED = 7, EDE_SIGNATURE_NOT_YET_VALID = 8, EDE_DNSKEY_MISSING = 9, EDE_RRSIGS_MISSING = 10, EDE_NOT_READY = 14,
	EDE_BLOCKED = 15, EDE_CENSORED = 16, EDE_FILTERED = 17, EDE_PROHIBITED = 18, EDE_STALE_NXDOMAIN = 19, EDE_NOT_AUTHORITATIVE = 20,
	EDE_NOT_SUPPORTED = 21, EDE_NO_REACHABLE_AUTHORITY = 22, EDE_NETWORK_ERROR = 23 };

static inline uint16_t wire_read16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t wire_read32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void wire_write16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void wire_write32(uint8_t *p, uint32_t v)
{
	wire_write16(p, (uint16_t)(v >> 16));
	wire_write16(p + 2, (uint16_t)v);
}

/* A client's query. Valid as long as the octets it was read from. */
struct message {
	uint16_t id;
	uint16_t flags;                 /* the header's second word */
	uint8_t opcode;
	uint16_t type, class;
	struct name name;               /* lower case */
	const uint8_t *question;        /* the question section verbatim (0x20 case), NULL if there is none to echo */
	uint16_t question_len;
	struct message_edns {
		bool present;
		uint8_t version;
		bool dnssec_ok;
		uint16_t udp_size;      /* at least 512 */
		bool nsid;              /* RFC 5001, asked for */
		bool keepalive;         /* RFC 7828, asked for */
		uint8_t cookie_len;     /* RFC 7873: 0, 8, or 16 to 40 */
		uint8_t cookie[40];
	} edns;
};

/*
 * Reads a query. Returns
 *   0            a well-formed query with one question, opcode QUERY, or with none and a cookie (RFC 7873 5.4: the client wants
 *                a cookie of ours and nothing else): then question is NULL;
 *   rcode > 0    answer it with this: FORMERR (QDCOUNT not 1, truncated, trailing octets, two OPTs, bad option, a wrong cookie length), NOTIMP
 *                (another opcode), BADVERS (EDNS version above 0); id, flags, opcode and, where it could be read, the question are set;
 *   -ENOMSG      say nothing: shorter than a header, or a response (QR set).
 * An additional section may hold records other than OPT (TSIG, SIG(0)): they are skipped.
 */
int message_read(struct message *message, const uint8_t *wire, size_t len);

enum message_section { SECTION_QUESTION, SECTION_ANSWER, SECTION_AUTHORITY, SECTION_ADDITIONAL };

/* One record, as places in the message: owner is at pos, rdata at rdata. */
struct message_record {
	enum message_section section;
	size_t pos;
	uint16_t type, class;
	size_t ttl_at;
	uint32_t ttl_s;
	size_t rdata;
	uint16_t rdata_len;
};

struct message_walk {
	const uint8_t *wire;
	size_t len, pos;
	uint16_t left[4];               /* records still to come in each section */
};

/* Starts after the header and skips the question section. Returns 0 or -EBADMSG. */
int message_walk_start(struct message_walk *walk, const uint8_t *wire, size_t len);

/* Steps to the next record. Returns 1, 0 at the end, -EBADMSG for a record that does not fit. */
int message_walk_next(struct message_walk *walk, struct message_record *record);

/* Reads the name in a record's rdata at an offset into it. Returns the octets at that place or -EBADMSG. */
int message_rdata_name(const struct message_walk *walk, const struct message_record *record, size_t offset, struct name *name);

/* "HTTPS", "A", "TYPE65280": for the log. The other way for `usher check --type`: -1 if there is none. */
const char *message_type_text(uint16_t type, char text[16]);
int message_type_parse(const char *text);

#endif
