/* Which profile a client address has: longest network prefix over all profiles, IPv4 and IPv6, by binary
 * search. */
#ifndef USHER_CLIENTS_H
#define USHER_CLIENTS_H

#include <stdint.h>

#include "config.h"

#define CLIENTS_UNSERVED (-1)

struct clients;

struct clients *clients_new(const struct config *config); /* NULL without memory; keeps nothing of config */
void clients_free(struct clients *clients);

/*
 * address: 16 octets, IPv4 as ::ffff:a.b.c.d. Returns a profile's index, the default profile's for a served
 * client in no profile's networks, or CLIENTS_UNSERVED for an address outside `serve`. A network of a profile
 * is served only if it lies in `serve`. O(log n) in the number of networks.
 */
int clients_find(const struct clients *clients, const uint8_t address[16]);

#endif
