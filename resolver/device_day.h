/*
 * One day (UTC) of which device had which address: a file of records of fixed size, and all of it in memory,
 * found by address and by MAC. What records mean when they are read together: devices.h.
 */
#ifndef USHER_DEVICE_DAY_H
#define USHER_DEVICE_DAY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "leases.h"

#define DEVICE_DAY_S 86400
#define DEVICE_DAY_BUCKETS 4096

enum device_source { DEVICE_FROM_LEASE, DEVICE_FROM_NEIGHBOUR, DEVICE_FROM_RADIUS };

/* As it lies in the file. */
struct device_record {
	int64_t start_s, end_s;
	uint8_t address[16];
	uint8_t mac[6];
	uint8_t has_mac, source; /* enum device_source */
	char name[LEASE_NAME_MAX + 1];
};

struct device_day {
	int64_t day;   /* days since 1970 */
	uint64_t seed; /* of the hashes: a device chooses its addresses */
	struct timespec changed;
	off_t size; /* of the file when it was read or written */
	struct device_record *records;
	uint32_t *next_address, *next_mac; /* chains, newest written first */
	uint32_t count, room;
	uint32_t of_address[DEVICE_DAY_BUCKETS], of_mac[DEVICE_DAY_BUCKETS];
	bool has_sessions;
	uint64_t used; /* the caller's: when last asked for */
};

/* The path of a day's file in dir. Returns 0, -ENAMETOOLONG or -EINVAL. */
int device_day_path(const char *dir, int64_t number, char path[PATH_MAX]);

/* A day's file in memory; one that is not there, or is none of ours, is an empty day. NULL without memory. */
struct device_day *device_day_load(const char *dir, int64_t number, uint64_t seed);
void device_day_free(struct device_day *day); /* NULL is fine */

/* Among the records of the address from that source, the one that began last up to time_s; NULL: none. */
const struct device_record *device_day_at(
        const struct device_day *day, enum device_source source, const uint8_t address[16], int64_t time_s);

/*
 * The records of a MAC that a lease or an IPv4 address which the kernel saw made, the one written last first:
 * after NULL the first of them, else the next. NULL: no more.
 */
const struct device_record *device_day_of_mac(
        const struct device_day *day, const uint8_t mac[6], const struct device_record *after);

/* Writer: another record, in the file (made where there is none) and in memory. Returns 0 or negative errno.
 */
int device_day_append(const char *dir, struct device_day *day, const struct device_record *record);

/* Writer: one of the day's records ends at another time. Returns 0 or negative errno. */
int device_day_extend(const char *dir, struct device_day *day, struct device_record *record, int64_t end_s);

/* Writer: the file without the records that go; what is in memory stays. Returns 0 or negative errno: then
 * the file is as it was. */
int device_day_write_anew(const char *dir, const struct device_day *day,
        bool (*goes)(void *arg, const struct device_record *record), void *arg);

#endif
