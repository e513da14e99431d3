/*
 * Networks that no answer may point to (dns.blocked-networks, dns.blocked-network-files): from an address to
 * the categories of all networks that hold it. Read only once made; a look-up is a binary search over ranges
 * that do not overlap, so that tens of thousands of networks cost as much as a handful.
 */
#ifndef USHER_NETWORKS_H
#define USHER_NETWORKS_H

#include <stdint.h>

#include "config.h"

struct networks;

/* NULL without memory. It keeps nothing of config. */
struct networks *networks_new(const struct config *config);
void networks_free(struct networks *networks);

/* Bits of the categories of an address: 16 octets, IPv4 mapped. One of NAT64's well-known prefix or of 6to4
 * has those of the IPv4 address in it too. */
uint64_t networks_find(const struct networks *networks, const uint8_t address[16]);

/* False if no address has any category. */
bool networks_hold_any(const struct networks *networks);

/* The longest network of this category that holds the address, or NULL: one by one, for the log. */
const struct config_network *networks_explain(
        const struct config *config, unsigned category, const uint8_t address[16]);

#endif
