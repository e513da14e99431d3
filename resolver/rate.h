/*
 * How fast one client may ask: a table of fixed size, one for all workers, without allocation or locks after
 * it is made.
 *
 * A client is an address. It may ask `limit` queries a second, and two seconds' worth at once, whichever
 * workers its source ports lead to. An IPv6 /64 is all devices of a room or a school, and one device may take
 * as many addresses in it as it likes (RFC 8981): so all of it together has a limit too, that of
 * RATE_NETWORK clients. Two workers that meet at one client's place settle it by compare and exchange.
 */
#ifndef USHER_RATE_H
#define USHER_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_NETWORK 64

struct rate;

/* Room for so many clients that all ask at their limit at the same time (136 octets each). NULL without
 * memory. */
struct rate *rate_new(size_t clients);
void rate_free(struct rate *rate);

/*
 * True if this client may ask now; then the query is counted. limit 0 allows everything. now_ms: a monotonic
 * clock. address: 16 octets, IPv4 as ::ffff:a.b.c.d.
 */
bool rate_allow(struct rate *rate, const uint8_t address[16], uint32_t limit, uint64_t now_ms);

/* The same where an IPv6 /64 has the limit of one client: what goes to forged addresses. */
bool rate_allow_network(struct rate *rate, const uint8_t address[16], uint32_t limit, uint64_t now_ms);

#endif
