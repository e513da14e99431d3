/*
 * Who had an address at a moment. Three witnesses: the last lease of the address, what the kernel saw there
 * around that moment, and the session that RADIUS tells of; where they speak of different devices, the answer
 * says so.
 */
#include "devices.h"

#include <string.h>
#include <strings.h>

#define SHARED_S 600 /* a MAC that the kernel saw this soon at so many IPv4 addresses is no device's own */
#define SHARED_LEAST 4

/* ---- a device ---- */

const char *device_confidence_text(enum device_confidence confidence)
{
	static const char *const texts[] = { [DEVICE_LEASE] = "lease",
		[DEVICE_NEIGHBOUR] = "neighbour",
		[DEVICE_DISPUTED] = "disputed",
		[DEVICE_EXPIRED] = "expired",
		[DEVICE_RADIUS] = "radius",
		[DEVICE_SHARED] = "shared" };

	return texts[confidence];
}

const char *device_label(const struct device *device)
{
	return device->name[0] != '\0' ? device->name : device->mac[0] != '\0' ? device->mac : NULL;
}

bool device_is_sure(const struct device *device)
{
	return device->confidence == DEVICE_LEASE || device->confidence == DEVICE_NEIGHBOUR ||
	       device->confidence == DEVICE_RADIUS;
}

bool device_is_randomised(const struct device *device)
{
	return device->has_mac && (device->mac_octets[0] & 2) != 0;
}

bool device_is(const struct device *device, const char *wanted)
{
	if (*wanted == '\0')
		return true;
	return strcasecmp(device->name, wanted) == 0 || strcasecmp(device->mac, wanted) == 0;
}

/* ---- who had it ---- */

/* The name that the device with this MAC had in its last lease up to time_s. */
static void name_of_mac(struct devices *devices, const uint8_t mac[6], int64_t time_s, char *name)
{
	for (int64_t day = time_s / DEVICE_DAY_S; day >= time_s / DEVICE_DAY_S - DEVICES_LOOK_BACK_DAYS;
	        day--) {
		struct device_day *loaded = devices_day(devices, day);
		const struct device_record *best = NULL;
		const struct device_record *record = NULL;
		while (loaded != NULL && (record = device_day_of_mac(loaded, mac, record)) != NULL)
			if (record->source == DEVICE_FROM_LEASE && record->start_s <= time_s &&
			        record->name[0] != '\0' && (best == NULL || record->start_s > best->start_s))
				best = record;
		if (best == NULL)
			continue;
		memcpy(name, best->name, sizeof best->name);
		return;
	}
}

static void device_take(
        struct device *device, enum device_confidence confidence, const struct device_record *record)
{
	device->confidence = confidence;
	memcpy(device->name, record->name, sizeof device->name);
	if (!record->has_mac)
		return;
	device->has_mac = true;
	memcpy(device->mac_octets, record->mac, sizeof device->mac_octets);
	lease_mac_text(record->mac, device->mac);
}

/* Whether the kernel saw the MAC at more IPv4 addresses at that time than a device has: a repeater, or a
 * switch that answers for all behind it. */
static bool is_shared(struct devices *devices, const uint8_t mac[6], int64_t time_s)
{
	struct device_day *day = devices_day(devices, time_s / DEVICE_DAY_S);
	uint8_t addresses[SHARED_LEAST][4];
	unsigned count = 0;

	const struct device_record *record = NULL;
	while (day != NULL && (record = device_day_of_mac(day, mac, record)) != NULL) {
		unsigned known = 0;
		if (record->source != DEVICE_FROM_NEIGHBOUR || record->start_s > time_s + SHARED_S ||
		        record->end_s < time_s - SHARED_S)
			continue;
		while (known < count && memcmp(addresses[known], record->address + 12, 4) != 0)
			known++;
		if (known == count && ++count == SHARED_LEAST)
			return true;
		memcpy(addresses[known], record->address + 12, 4);
	}
	return false;
}

void devices_mac_address(const uint8_t mac[6], uint8_t address[16])
{
	memset(address, 0, 10);
	memcpy(address + 10, mac, 6);
}

/* The session that covers the moment; false: none. One is not longer than a day. */
static bool session_find(
        struct devices *devices, const uint8_t address[16], int64_t time_s, struct device_record *session)
{
	for (int64_t number = time_s / DEVICE_DAY_S; number >= time_s / DEVICE_DAY_S - 1; number--) {
		struct device_day *day = devices_day(devices, number);
		const struct device_record *found =
		        day != NULL && day->has_sessions
		                ? device_day_at(day, DEVICE_FROM_RADIUS, address, time_s)
		                : NULL;
		if (found == NULL)
			continue;
		*session = *found;
		return found->end_s > time_s;
	}
	return false;
}

/* Of the MAC, whatever its address. */
static bool session_of_mac(
        struct devices *devices, const uint8_t mac[6], int64_t time_s, struct device_record *session)
{
	uint8_t address[16];

	devices_mac_address(mac, address);
	return session_find(devices, address, time_s, session);
}

/* The user's name stands before the device's; where RADIUS knows another device there than DHCP or the
 * kernel, nobody is named as the user. */
static void session_take(
        struct devices *devices, const uint8_t address[16], int64_t time_s, struct device *device)
{
	struct device_record session;
	bool is_known = device_is_sure(device) && device->has_mac;
	bool has_session = session_find(devices, address, time_s, &session);

	/* The stop of a session may not name the address. */
	if (has_session && session.has_mac)
		has_session = session_of_mac(devices, session.mac, time_s, &session);
	if (is_known && has_session && session.has_mac && memcmp(session.mac, device->mac_octets, 6) != 0) {
		device->confidence = DEVICE_DISPUTED;
		return;
	}
	if (is_known && !has_session)
		has_session = session_of_mac(devices, device->mac_octets, time_s, &session);
	if (!has_session || device->confidence == DEVICE_DISPUTED || (is_known && session.name[0] == '\0'))
		return;
	if (session.name[0] == '\0' && session.has_mac)
		name_of_mac(devices, session.mac, time_s, session.name);
	if (!is_known)
		*device = (struct device){ .confidence = DEVICE_UNKNOWN };
	device_take(device, DEVICE_RADIUS, &session);
}

/* By leases and the kernel's word. */
static void device_find(
        struct devices *devices, const uint8_t address[16], int64_t time_s, struct device *device)
{
	struct device_record lease = { .end_s = 0 }, seen = { .end_s = 0 };

	*device = (struct device){ .confidence = DEVICE_UNKNOWN };
	/* Copies: looking into other days may move these. */
	const struct device_record *found = devices_record(devices, DEVICE_FROM_LEASE, address, time_s);
	bool has_lease = found != NULL;
	if (has_lease)
		lease = *found;
	found = devices_record(devices, DEVICE_FROM_NEIGHBOUR, address, time_s + DEVICES_SEEN_S);
	bool is_seen = found != NULL && found->end_s >= time_s - DEVICES_SEEN_S;
	if (is_seen)
		seen = *found;

	if (has_lease && is_seen && seen.end_s < lease.start_s)
		is_seen = false; /* of who had the address before */
	bool is_leased = has_lease && lease.end_s > time_s;
	char seen_name[LEASE_NAME_MAX + 1] = "";
	if (is_seen)
		name_of_mac(devices, seen.mac, time_s, seen_name);
	if (is_leased && is_seen && lease.has_mac && memcmp(lease.mac, seen.mac, 6) != 0)
		device_take(device, DEVICE_DISPUTED, seen_name[0] != '\0' ? &seen : &lease);
	else if (is_leased)
		device_take(device, DEVICE_LEASE, &lease);
	else if (is_seen)
		device_take(device, is_shared(devices, seen.mac, time_s) ? DEVICE_SHARED : DEVICE_NEIGHBOUR,
		        &seen);
	else if (has_lease)
		device_take(device, DEVICE_EXPIRED, &lease);
	if (is_seen && device->name[0] == '\0')
		memcpy(device->name, seen_name, sizeof device->name);
}

void devices_find(struct devices *devices, const uint8_t address[16], int64_t time_us, struct device *device)
{
	device_find(devices, address, time_us / 1000000, device);
	session_take(devices, address, time_us / 1000000, device);
}
