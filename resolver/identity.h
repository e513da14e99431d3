/*
 * Whose a record of the block log is, for all that groups, counts or tells apart: the device, wherever its
 * address went.
 *
 * The MAC address is a device's identity where it is known and sure (a lease, a RADIUS session, or the
 * kernel's neighbour table). Where nobody knows it, where the lease had ended, two devices were seen at the
 * address or a repeater answers for many, it is the address: rather one device told as two than two children
 * as one.
 */
#ifndef USHER_IDENTITY_H
#define USHER_IDENTITY_H

#include <arpa/inet.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices.h"

enum identity_kind { IDENTITY_NONE, IDENTITY_ADDRESS, IDENTITY_MAC };

struct identity { /* octets alone, those not in use zero: may be a key as it is */
	uint8_t kind;
	uint8_t octets[16]; /* the address (IPv4 mapped), or six of the MAC */
};

#define IDENTITY_TEXT_LEN INET6_ADDRSTRLEN

/* client: 16 octets, NULL not logged. device: who had the address then; NULL or DEVICE_UNKNOWN: nobody knows.
 */
struct identity identity_of(const uint8_t *client, const struct device *device);

bool identity_is_same(const struct identity *a, const struct identity *b);
uint64_t identity_hash(const struct identity *identity, uint64_t seed);

/* "aa:bb:cc:00:00:01", "10.20.0.7"; NULL: it has none. */
const char *identity_text(const struct identity *identity, char text[IDENTITY_TEXT_LEN]);

/*
 * Sets the keys below in an object of a record, episode or signal: the device's name (or else MAC), its MAC,
 * how sure that is, whether the MAC is one that the device made up, and its identity; null where unknown.
 * Returns 0 or -1 without memory.
 */
int identity_add_to(json_t *object, const uint8_t *client, const struct device *device);
extern const char *const identity_keys[]; /* ends with NULL */

#endif
