/*
 * A day's file:
 *
 *   16 octets  "usher devices 1\n"
 *   records    of struct device_record, in the order of their writing, machine order
 *
 * Of the records of one address, the one that began last before a moment speaks for it; of two that began at
 * the same time the one written last. A record that ends where it begins says that from then on the address
 * is nobody's. Only `end_s` of a record is ever changed, in place: eight octets, aligned.
 *
 * A session of RADIUS is a record of each of its addresses and one of its MAC, under an address that no
 * device has: the latter says who, and till when, for an access point often learns the address late or never.
 *
 * A day is read whole, and chained by address and by MAC: a school's day is some thousands of records.
 */
#include "device_day.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define NONE UINT32_MAX
#define RECORDS_MAX 100000 /* no school has so many, but a device may make up addresses */

static const char magic[16] = "usher devices 1\n";

_Static_assert(sizeof(struct device_record) == 104, "as it lies in the file");

/* ---- in memory ---- */

void device_day_free(struct device_day *day)
{
	if (day == NULL)
		return;
	free(day->records);
	free(day->next_address);
	free(day->next_mac);
	free(day);
}

static bool day_make_room(struct device_day *day, uint32_t room)
{
	struct device_record *records = realloc(day->records, room * sizeof *records);
	if (records != NULL)
		day->records = records;
	uint32_t *next_address = realloc(day->next_address, room * sizeof *next_address);
	if (next_address != NULL)
		day->next_address = next_address;
	uint32_t *next_mac = realloc(day->next_mac, room * sizeof *next_mac);
	if (next_mac != NULL)
		day->next_mac = next_mac;
	if (records == NULL || next_address == NULL || next_mac == NULL)
		return false;
	day->room = room;
	return true;
}

static size_t bucket_of(const struct device_day *day, const uint8_t *octets, size_t len)
{
	return XXH3_64bits_withSeed(octets, len, day->seed) % DEVICE_DAY_BUCKETS;
}

/* A MAC is looked up for its leases, and for IPv4 addresses that the kernel saw at it. Not for IPv6
 * addresses: a device makes up as many as it likes, and would make its chain as long. */
static bool is_asked_by_mac(const struct device_record *record)
{
	if (!record->has_mac || record->source == DEVICE_FROM_RADIUS)
		return false;
	return record->source == DEVICE_FROM_LEASE ||
	       IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)record->address);
}

/* The record at count is in place: chains it. */
static void day_chain(struct device_day *day)
{
	const struct device_record *record = &day->records[day->count];
	uint32_t *address = &day->of_address[bucket_of(day, record->address, 16)],
	         *mac = &day->of_mac[bucket_of(day, record->mac, 6)];

	day->next_address[day->count] = *address;
	*address = day->count;
	day->next_mac[day->count] = *mac;
	if (is_asked_by_mac(record))
		*mac = day->count;
	day->has_sessions |= record->source == DEVICE_FROM_RADIUS;
	day->count++;
}

int device_day_path(const char *dir, int64_t number, char path[PATH_MAX])
{
	time_t s = (time_t)(number * DEVICE_DAY_S);
	struct tm tm;
	char date[16];

	if (gmtime_r(&s, &tm) == NULL || strftime(date, sizeof date, "%Y-%m-%d", &tm) == 0)
		return -EINVAL;
	return snprintf(path, PATH_MAX, "%s/%s", dir, date) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* A name in a file of another's making, or cut off, still ends. */
static void record_tidy(struct device_record *record)
{
	record->name[LEASE_NAME_MAX] = '\0';
}

/* Reads the records of an open file. A cut last one is left out. */
static int day_read(struct device_day *day, int fd)
{
	char head[sizeof magic];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	day->changed = st.st_mtim;
	day->size = st.st_size;
	if (st.st_size < (off_t)sizeof magic)
		return -EBADMSG;
	if (pread(fd, head, sizeof head, 0) != sizeof head || memcmp(head, magic, sizeof magic) != 0)
		return -EBADMSG;
	size_t whole = (size_t)(st.st_size - (off_t)sizeof magic) / sizeof(struct device_record);
	uint32_t count = whole < RECORDS_MAX ? (uint32_t)whole : RECORDS_MAX;
	if (!day_make_room(day, count + 16))
		return -ENOMEM;
	ssize_t got = pread(fd, day->records, count * sizeof(struct device_record), sizeof magic);
	if (got < 0)
		return -errno;
	count = (uint32_t)((size_t)got / sizeof(struct device_record));
	while (day->count < count) {
		record_tidy(&day->records[day->count]);
		day_chain(day);
	}
	return 0;
}

struct device_day *device_day_load(const char *dir, int64_t number, uint64_t seed)
{
	struct device_day *day = calloc(1, sizeof *day);
	char path[PATH_MAX];

	if (day == NULL)
		return NULL;
	day->day = number;
	day->seed = seed;
	memset(day->of_address, 0xff, sizeof day->of_address);
	memset(day->of_mac, 0xff, sizeof day->of_mac);
	int fd = device_day_path(dir, number, path) == 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return day;
	int ret = day_read(day, fd);
	close(fd);
	if (ret == -ENOMEM) {
		device_day_free(day);
		return NULL;
	}
	return day;
}

const struct device_record *device_day_at(
        const struct device_day *day, enum device_source source, const uint8_t address[16], int64_t time_s)
{
	const struct device_record *best = NULL;

	for (uint32_t i = day->of_address[bucket_of(day, address, 16)]; i != NONE; i = day->next_address[i]) {
		const struct device_record *record = &day->records[i];
		if (record->source != source || record->start_s > time_s ||
		        memcmp(record->address, address, 16) != 0)
			continue;
		/* Newest written first: of two that began together, the first found stays. */
		if (best == NULL || record->start_s > best->start_s)
			best = record;
	}
	return best;
}

const struct device_record *device_day_of_mac(
        const struct device_day *day, const uint8_t mac[6], const struct device_record *after)
{
	uint32_t i =
	        after == NULL ? day->of_mac[bucket_of(day, mac, 6)] : day->next_mac[after - day->records];

	while (i != NONE && memcmp(day->records[i].mac, mac, 6) != 0)
		i = day->next_mac[i];
	return i != NONE ? &day->records[i] : NULL;
}

/* ---- its file ---- */

/* A file that is none of ours is begun anew. */
static int file_begin(int fd)
{
	char head[sizeof magic];

	if (pread(fd, head, sizeof head, 0) == sizeof head && memcmp(head, magic, sizeof magic) == 0)
		return 0;
	if (ftruncate(fd, 0) < 0)
		return -errno;
	ssize_t wrote = pwrite(fd, magic, sizeof magic, 0);
	return wrote == sizeof magic ? 0 : wrote < 0 ? -errno : -ENOSPC;
}

static int file_open(const char *dir, int64_t number)
{
	char path[PATH_MAX];
	int ret = device_day_path(dir, number, path);

	if (ret < 0)
		return ret;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	ret = file_begin(fd);
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

/* Octets at their place in the day's file, whole or not at all for who reads by records. */
static int file_write(const char *dir, struct device_day *day, off_t at, const void *data, size_t len)
{
	struct stat st;
	int fd = file_open(dir, day->day);

	if (fd < 0)
		return fd;
	ssize_t wrote = pwrite(fd, data, len, at);
	int ret = wrote == (ssize_t)len ? 0 : wrote < 0 ? -errno : -ENOSPC;
	if (fstat(fd, &st) == 0) {
		day->size = st.st_size;
		day->changed = st.st_mtim;
	}
	close(fd);
	return ret;
}

static off_t record_place(uint32_t index)
{
	return (off_t)(sizeof magic + index * sizeof(struct device_record));
}

int device_day_append(const char *dir, struct device_day *day, const struct device_record *record)
{
	if (day->count >= RECORDS_MAX)
		return -ENOSPC;
	if (day->count == day->room && !day_make_room(day, day->room + day->room / 2 + 64))
		return -ENOMEM;
	int ret = file_write(dir, day, record_place(day->count), record, sizeof *record);
	if (ret < 0)
		return ret;
	day->records[day->count] = *record;
	day_chain(day);
	return 0;
}

int device_day_extend(const char *dir, struct device_day *day, struct device_record *record, int64_t end_s)
{
	uint32_t index = (uint32_t)(record - day->records);

	record->end_s = end_s;
	return file_write(dir, day, record_place(index) + (off_t)offsetof(struct device_record, end_s),
	        &end_s, sizeof end_s);
}

int device_day_write_anew(const char *dir, const struct device_day *day,
        bool (*goes)(void *arg, const struct device_record *record), void *arg)
{
	char path[PATH_MAX], new[PATH_MAX];

	if (device_day_path(dir, day->day, path) < 0)
		return -ENAMETOOLONG;
	if (snprintf(new, sizeof new, "%s.new", path) >= (int)sizeof new)
		return -ENAMETOOLONG;
	FILE *out = fopen(new, "we");
	if (out == NULL)
		return -errno;
	int ret = fchmod(fileno(out), 0600) < 0 || fwrite(magic, sizeof magic, 1, out) != 1 ? -EIO : 0;
	for (uint32_t i = 0; i < day->count && ret == 0; i++)
		if (!goes(arg, &day->records[i]) &&
		        fwrite(&day->records[i], sizeof day->records[i], 1, out) != 1)
			ret = -ENOSPC;
	if (ret == 0 && (fflush(out) != 0 || fsync(fileno(out)) < 0))
		ret = -errno;
	if (fclose(out) != 0 && ret == 0)
		ret = -errno;
	if (ret == 0 && rename(new, path) < 0)
		ret = -errno;
	if (ret < 0)
		unlink(new);
	return ret;
}
