/*
 * DNS tunnels: data that leaves, and comes in, as names of a zone whose server plays along (iodine, dnscat2,
 * dns2tcp and their kin). Judged by client and zone: how many different names an hour look coded.
 *
 * A name looks coded if what stands before its zone is long and as uneven as random letters; or is shorter,
 * but is asked with a type that brings data down and that pages and devices do not ask for (TXT, CNAME, MX,
 * SRV, KEY, private ones); or is asked with NULL. Names are counted, not averaged, so that harmless lookups
 * beside them hide nothing. A zone is the name that somebody registered (the public suffix list), so that a
 * tunnel cannot spread over names below its own.
 *
 * One for all workers, of fixed size, behind a lock: it is asked only before a lookup leaves for the
 * recursor, and nearly always knows without the lock that it has nothing to say.
 */
#ifndef USHER_TUNNEL_H
#define USHER_TUNNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "blocklists/name.h"
#include "config.h"

struct tunnel;

struct tunnel *tunnel_new(void); /* NULL without memory */
void tunnel_free(struct tunnel *tunnel);

enum tunnel_finding {
	TUNNEL_NONE,
	TUNNEL_FOUND,   /* with this lookup; the next ones are TUNNEL_BLOCKED */
	TUNNEL_BLOCKED, /* found before, and its time is not over */
};

#define TUNNEL_RULE_MAX 320

/*
 * Notes a lookup that would leave. client: 16 octets, IPv4 mapped; an IPv6 /64 is one client. now_s:
 * monotonic. rule is set where something is found: the zone, and at first how it was seen: "evil.example (100
 * names, 92 octets, 4.1 bits)".
 */
enum tunnel_finding tunnel_note(struct tunnel *tunnel, const struct config_tunnelling *limits,
        const uint8_t client[16], const struct name *name, uint16_t type, uint32_t now_s,
        char rule[TUNNEL_RULE_MAX]);

#endif
