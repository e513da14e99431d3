/*
 * Which device had which address, when: a history made of DHCP leases, of what the kernel's neighbour table
 * showed and of the sessions that RADIUS accounting tells of, so that a record of the block log can be read
 * with the device that had the address at that moment, whoever has it now.
 *
 * One file a day (UTC) in state-dir/devices, named after it, of records of fixed size (device_day.h). usherd
 * is the only writer; any process that may open the files reads. What is older than the longest `keep` of a
 * profile is deleted as whole files; a record that spans days is written into each day's file, so that no
 * file tells of another day.
 */
#ifndef USHER_DEVICES_H
#define USHER_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "device_day.h"
#include "leases.h"

/* How sure we are, from best to worst. */
enum device_confidence {
	DEVICE_UNKNOWN,
	DEVICE_LEASE,     /* a DHCP lease covers the moment */
	DEVICE_RADIUS,    /* a RADIUS session of the address or its MAC does: the name is the user's */
	DEVICE_NEIGHBOUR, /* the kernel saw this MAC at the address around that moment */
	DEVICE_DISPUTED,  /* the lease is one device's, the kernel saw another: that one, where it has a name
	                     of  its own, else the lease's (a repeater answers for others) */
	DEVICE_EXPIRED,   /* the last lease of the address had ended */
	DEVICE_SHARED, /* the kernel saw this MAC at many addresses at that time: a repeater's, who is behind
	                  it nobody knows */
};

struct device {
	enum device_confidence confidence;
	char name[LEASE_NAME_MAX + 1]; /* "" unknown */
	char mac[18];                  /* "" unknown */
	bool has_mac;
	uint8_t mac_octets[6];
};

/* Its name, or else its MAC; NULL: unknown. */
const char *device_label(const struct device *device);

/* Whether it has that name (in any case) or MAC; "": any is meant. */
bool device_is(const struct device *device, const char *wanted);

/* Whether this device, and no other, had the address: by a lease, a session or the kernel's word. */
bool device_is_sure(const struct device *device);

/* Whether its MAC is one that it made up (IEEE 802: locally administered): for this network, or this day. */
bool device_is_randomised(const struct device *device);

/* "lease", "neighbour", "disputed", "expired", "radius", "shared"; NULL for DEVICE_UNKNOWN. */
const char *device_confidence_text(enum device_confidence confidence);

struct devices;

/* dir need not exist for a reader. Returns NULL without memory. */
struct devices *devices_new(const char *dir);
struct devices *devices_beside(const char *log_dir); /* those of the state folder that a block log is in */
void devices_free(struct devices *devices);

/*
 * Writer: that the address was, is or will be a device's from start_s to end_s, as is known at now_s. What is
 * in the history already changes nothing; a renewal makes the record longer. lease->ended: from start_s on it
 * is nobody's. Returns 0 or negative errno.
 *
 * Of a RADIUS session, lease->name is the user's ("": a device without login). It is noted for each address
 * that it names, and for its MAC under devices_mac_address().
 */
int devices_note(struct devices *devices, enum device_source source, const struct lease *lease, int64_t now_s,
        uint32_t keep_s);

/* What stands for a MAC where no address is known: of ::/96, which no device has (RFC 4291 2.5.5.1). */
void devices_mac_address(const uint8_t mac[6], uint8_t address[16]);

/* Last change of any day's file, 0: there is none. */
int64_t devices_written_s(const struct devices *devices);

/* How many days there are and what they hold; *oldest_s: when the first of them began. Returns 0 or negative
 * errno. */
int devices_count(struct devices *devices, uint64_t *days, uint64_t *records, int64_t *oldest_s);

/* Writer: deletes the days that are over by more than keep_s. Returns the files deleted. */
unsigned devices_prune(struct devices *devices, int64_t now_s, uint32_t keep_s);

/*
 * Writer: takes away all that is known of an address or network (NULL: none) and of a device (name or MAC,
 * "": none) in [since_s, until_s); a record that lies in it partly goes as a whole, and with a device's name
 * all that its MACs had, but with a user's name only that user's sessions: the next at the device is another.
 * The files are written anew. Returns 0 or negative errno: then some are as they were.
 */
int devices_forget(struct devices *devices, const struct config_network *client, const char *device,
        int64_t since_s, int64_t until_s);

/* Who had the address (16 octets) then? Looks back a week from that moment. */
void devices_find(struct devices *devices, const uint8_t address[16], int64_t time_us, struct device *device);

/* Reader: looks at the files anew that have changed since they were read. */
void devices_refresh(struct devices *devices);

/* ---- between the files of the noun: devices.c keeps days, device_find.c asks them ---- */

#define DEVICES_SEEN_S 120 /* the kernel's word counts this long around what it saw */
#define DEVICES_LOOK_BACK_DAYS 7

/* A day from memory or its file, until the next is asked for; the one not asked for the longest makes room.
 * NULL without memory. */
struct device_day *devices_day(struct devices *devices, int64_t number);

/* device_day_at() of the day of time_s, or else of the days before. NULL: none. */
const struct device_record *devices_record(
        struct devices *devices, enum device_source source, const uint8_t address[16], int64_t time_s);

#endif
