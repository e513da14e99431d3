/*
 * DNS messages as written. Two ways to make an answer:
 *  - a writer for what usherd says itself (blocked, rewritten, local, errors), always with the client's question octet for octet;
 *  - a stored answer: what the recursor brought, brought into a normal form once (no OPT, no authority NS, no additional section, DNSSEC
 *    records only for clients that asked), which a cache hit turns into a reply by copying and patching.
 * OPT with EDE (RFC 8914), cookie, NSID is added last, and only for clients that sent EDNS.
 */
#ifndef USHER_ANSWER_H
#define USHER_ANSWER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "message.h"
#include "pack.h"

/* What goes into the OPT of an answer. NSID and keepalive are sent to those who asked for them, a cookie to those who sent one. */
struct answer_edns {
	int ede;                        /* enum dns_ede, EDE_NONE */
	const char *ede_text;           /* UTF-8, NULL none; cut to what fits */
	const uint8_t *cookie;          /* client + server cookie, NULL none */
	uint8_t cookie_len;             /* at most 40 */
	const char *nsid;               /* NULL or "" none */
	uint16_t keepalive;             /* units of 100 ms, RFC 7828; 0 none */
	uint16_t extended_rcode;        /* full rcode when above 15 (BADVERS, BADCOOKIE) */
};

/*
 * Writes one reply into out. limit is the most octets the client takes (its UDP size, at most 1232; 65535 over TCP), never
 * more than the size of out, never less than 512. Room for the OPT is kept back from the start, so finish cannot fail.
 */
struct answer_writer {
	struct pack pack;               /* its limit leaves room for the OPT */
	size_t limit;
	uint16_t rcode;                 /* above 15 it needs the OPT */
	uint16_t count[4];
	bool truncated;
	const struct message *query;
};

/* Header (QR, RA, the query's RD and CD, its id) and question, if there is one to echo. rcode may be above 15 (BADVERS). */
void answer_begin(struct answer_writer *writer, uint8_t *out, size_t limit, const struct message *query, uint8_t rcode);

/*
 * Adds a record; sections must come in order. owner NULL is the question's name (written as a pointer to it). A record that
 * does not fit makes the reply one with TC and no records: half an RRset is of no use (RFC 2181 9). Malformed rdata is left out.
 */
void answer_record(struct answer_writer *writer, enum message_section section, const struct name *owner, uint16_t type,
	uint32_t ttl_s, const uint8_t *rdata, size_t rdata_len);

/*
 * Copies a stored answer's answer section and, if it is negative, its SOA behind what is written, for a rewrite: the target's
 * own records behind our CNAME. TTLs are aged and capped as in answer_from_stored(). RRSIG, NSEC and NSEC3 are left out; the
 * rcode is the caller's business.
 */
struct answer_stored;
void answer_copy(struct answer_writer *writer, const struct answer_stored *stored, uint32_t age_s, uint32_t max_ttl_s);

/* A TTL as sent: aged (a stale answer's is 30 s, RFC 8767 4), at least 1, but at most max_ttl_s. */
uint32_t answer_ttl(uint32_t ttl_s, uint32_t age_s, uint32_t max_ttl_s, bool stale);

/* Sets or clears header flags (FLAG_AA, FLAG_AD) of the reply being written. */
void answer_flags(struct answer_writer *writer, uint16_t set, uint16_t clear);

/* Adds the OPT if the query had one, writes the counts. Returns the reply's length. */
size_t answer_finish(struct answer_writer *writer, const struct answer_edns *edns);

/*
 * The OPT alone, in at most room octets; rcode gives its upper bits. Returns its length, 0 if the query had none. It needs
 * answer_opt_len() octets; the EDE's text and then the NSID are cut or left out where there are no more.
 */
size_t answer_opt(uint8_t *out, size_t room, const struct message *query, uint16_t rcode, const struct answer_edns *edns);
size_t answer_opt_len(const struct message *query, const struct answer_edns *edns);

/* A negative answer's SOA for a name that we block: MNAME and RNAME are "filter.usher.", TTL and MINIMUM ttl_s (RFC 2308). */
void answer_soa(struct answer_writer *writer, const struct name *owner, uint32_t ttl_s);

enum answer_flag {
	ANSWER_SECURE = 1 << 0,         /* validated: AD may be set (RFC 4035 3.2.3) */
	ANSWER_HAS_HOP = 1 << 1,        /* a CNAME, DNAME, or HTTPS/SVCB with a target of its own */
	ANSWER_LISTED_HOP = 1 << 2,     /* set by query.c after it looked the hops up */
	ANSWER_HAS_PRIVATE = 1 << 3,    /* an address, or an address hint, that public names must not have */
	ANSWER_HAS_ECH = 1 << 4,        /* HTTPS/SVCB with ech */
	ANSWER_NEGATIVE = 1 << 5,       /* NXDOMAIN or NODATA */
	ANSWER_HAS_ADDRESS = 1 << 6,    /* A, AAAA or hints at all */
	ANSWER_LISTED_ADDRESS = 1 << 7, /* set by deliver.c: one of them is in dns.blocked-networks */
};

/* The normal form. wire is header + question + records; its id, flags and question case are meaningless. */
struct answer_stored {
	uint8_t *wire;
	uint16_t len;
	uint16_t *ttl_at;               /* offsets of the TTL fields */
	uint16_t ttl_count;
	uint8_t rcode;
	uint8_t flags;                  /* enum answer_flag */
	uint32_t ttl_s;                 /* how long it may be kept: the shortest TTL; for negatives RFC 2308 5 (at most 3600); failures 5 */
};

/* Room a caller gives for one stored answer: it owns the octets. A record takes at least 11. */
struct answer_room {
	uint8_t wire[MESSAGE_MAX];
	uint16_t ttl_at[MESSAGE_MAX / 11];
};

/*
 * Brings what the recursor sent into normal form for clients with or without DO. Names are compressed against the question and earlier owners.
 * Returns 0, or -EBADMSG (malformed: treat as SERVFAIL). A message without SOA that is negative gets ttl_s 5.
 */
int answer_normalise(struct answer_stored *stored, struct answer_room *room, const uint8_t *wire, size_t len, bool dnssec_ok);

/*
 * Reply from a stored answer to the same question, bar case: TTLs less age_s, at least 1 (30 for a stale answer, RFC 8767 4: pass stale), at most max_ttl_s. AD is set if it is secure and the client sent
 * AD or DO and not CD. Sets TC and keeps only the question when it does not fit limit. Returns the reply's length.
 */
size_t answer_from_stored(uint8_t *out, size_t limit, const struct message *query, const struct answer_stored *stored,
	uint32_t age_s, uint32_t max_ttl_s, bool stale, const struct answer_edns *edns);

/* How a stored answer must be changed for one profile. */
struct answer_edit {
	bool drop_private;              /* addresses and hints in private networks (DESIGN.md 2) */
	bool strip_ech;
};

/*
 * The changed copy, in normal form again, without RRSIGs of what was changed and not secure any more. Returns 1 if anything changed, 0 if not (edited is then unset), -EBADMSG.
 */
int answer_edit(struct answer_stored *edited, struct answer_room *room, const struct answer_stored *stored,
	const struct answer_edit *how);

/* RFC 1918, loopback, link-local, unique local, and their v4-mapped forms; no others. address as in config.h: 16 octets. */
bool answer_address_is_private(const uint8_t address[16]);

#endif
