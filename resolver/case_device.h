/*
 * Whose rows a case holds: one device's, at all addresses that it had and gets. It is known by the name or
 * MAC address that was asked for, and by the MACs that its own rows show; a user's name (RADIUS) teaches no
 * MAC, for the next at that device is another.
 */
#ifndef USHER_CASE_DEVICE_H
#define USHER_CASE_DEVICE_H

#include <jansson.h>

#include "block_log.h"
#include "devices.h"

#define CASE_MACS_MAX 64

struct case_device {
	char wanted[LEASE_NAME_MAX + 1]; /* name or MAC; "": no device's */
	size_t mac_count;
	uint8_t macs[CASE_MACS_MAX][6];
};

/*
 * Looks at the rows that pass the filter. wanted: a name or MAC; "": the device that had the filter's address
 * then, if the rows show one and no other (else device->wanted is "", and the MACs are all that had it).
 * Returns 0 or negative errno.
 */
int case_device_find(struct case_device *device, const char *log_dir, const struct block_filter *filter,
        const char *wanted);

/* Whether this is the one, at the moment of a row. */
bool case_device_has(const struct case_device *device, const struct device *at);

/* The keys "device" (what is wanted, null) and "macs". Return 0 or -1. */
int case_device_write(const struct case_device *device, json_t *json);
int case_device_read(struct case_device *device, const json_t *json);

#endif
