/*
 * A day's file:
 *
 *   16 octets  "usher devices 1\n"
 *   records    of struct record, in the order of their writing, machine order
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
#include "devices.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define DAY_S 86400
#define LOOK_BACK_DAYS 7
#define DAYS_MAX 16  /* in memory at a time */
#define RENEWED_S 60 /* a record that follows this soon on one of the same device makes it longer */
#define SEEN_S 120   /* the kernel's word counts this long around what it saw */
#define SHARED_S 600 /* a MAC that it saw this soon at so many IPv4 addresses is no device's own */
#define SHARED_LEAST 4
#define BUCKETS 4096
#define NONE UINT32_MAX
#define RECORDS_MAX 100000 /* a day: no school has so many, but a device may make up addresses */

static const char magic[16] = "usher devices 1\n";

struct record {
	int64_t start_s, end_s;
	uint8_t address[16];
	uint8_t mac[6];
	uint8_t has_mac, source;
	char name[LEASE_NAME_MAX + 1];
};
_Static_assert(sizeof(struct record) == 104, "as it lies in the file");

struct day {
	int64_t day;   /* days since 1970 */
	uint64_t seed; /* of the hashes: a device chooses its addresses */
	struct timespec changed;
	off_t size;
	struct record *records;
	uint32_t *next_address, *next_mac; /* chains, newest written first */
	uint32_t count, room;
	uint32_t of_address[BUCKETS], of_mac[BUCKETS];
	bool has_sessions;
	uint64_t used; /* when last asked for */
};

struct devices {
	char *dir;
	struct day *days[DAYS_MAX];
	uint64_t clock, seed;
};

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

/* ---- a day in memory ---- */

static void day_free(struct day *day)
{
	if (day == NULL)
		return;
	free(day->records);
	free(day->next_address);
	free(day->next_mac);
	free(day);
}

static bool day_make_room(struct day *day, uint32_t room)
{
	struct record *records = realloc(day->records, room * sizeof *records);
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

static uint32_t *address_bucket(struct day *day, const uint8_t address[16])
{
	return &day->of_address[XXH3_64bits_withSeed(address, 16, day->seed) % BUCKETS];
}

static uint32_t *mac_bucket(struct day *day, const uint8_t mac[6])
{
	return &day->of_mac[XXH3_64bits_withSeed(mac, 6, day->seed) % BUCKETS];
}

/* A MAC is looked up for its leases, and for IPv4 addresses that the kernel saw at it. Not for IPv6
 * addresses: a device makes up as many as it likes, and would make its chain as long. */
static bool is_asked_by_mac(const struct record *record)
{
	if (!record->has_mac || record->source == DEVICE_FROM_RADIUS)
		return false;
	return record->source == DEVICE_FROM_LEASE ||
	       IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)record->address);
}

/* The record at count is in place: chains it. */
static void day_chain(struct day *day)
{
	const struct record *record = &day->records[day->count];
	uint32_t *address = address_bucket(day, record->address), *mac = mac_bucket(day, record->mac);

	day->next_address[day->count] = *address;
	*address = day->count;
	day->next_mac[day->count] = *mac;
	if (is_asked_by_mac(record))
		*mac = day->count;
	day->has_sessions |= record->source == DEVICE_FROM_RADIUS;
	day->count++;
}

static int day_path(const struct devices *devices, int64_t day, char path[PATH_MAX])
{
	time_t s = (time_t)(day * DAY_S);
	struct tm tm;
	char date[16];

	if (gmtime_r(&s, &tm) == NULL || strftime(date, sizeof date, "%Y-%m-%d", &tm) == 0)
		return -EINVAL;
	return snprintf(path, PATH_MAX, "%s/%s", devices->dir, date) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* A name in a file of another's making, or cut off, still ends. */
static void record_tidy(struct record *record)
{
	record->name[LEASE_NAME_MAX] = '\0';
}

/* Reads the records of an open file. A cut last one is left out. */
static int day_read(struct day *day, int fd)
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
	size_t whole = (size_t)(st.st_size - (off_t)sizeof magic) / sizeof(struct record);
	uint32_t count = whole < RECORDS_MAX ? (uint32_t)whole : RECORDS_MAX;
	if (!day_make_room(day, count + 16))
		return -ENOMEM;
	ssize_t got = pread(fd, day->records, count * sizeof(struct record), sizeof magic);
	if (got < 0)
		return -errno;
	count = (uint32_t)((size_t)got / sizeof(struct record));
	while (day->count < count) {
		record_tidy(&day->records[day->count]);
		day_chain(day);
	}
	return 0;
}

/* The day's file in memory; one that is not there, or is none of ours, is an empty day. NULL without memory.
 */
static struct day *day_load(const struct devices *devices, int64_t number)
{
	struct day *day = calloc(1, sizeof *day);
	char path[PATH_MAX];

	if (day == NULL)
		return NULL;
	day->day = number;
	day->seed = devices->seed;
	memset(day->of_address, 0xff, sizeof day->of_address);
	memset(day->of_mac, 0xff, sizeof day->of_mac);
	int fd = day_path(devices, number, path) == 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return day;
	int ret = day_read(day, fd);
	close(fd);
	if (ret == -ENOMEM) {
		day_free(day);
		return NULL;
	}
	return day;
}

/* The day from memory or its file; the one not asked for the longest makes room. */
static struct day *day_get(struct devices *devices, int64_t number)
{
	struct day **slot = &devices->days[0];

	for (unsigned i = 0; i < DAYS_MAX; i++) {
		struct day **other = &devices->days[i];
		if (*other != NULL && (*other)->day == number) {
			(*other)->used = ++devices->clock;
			return *other;
		}
		if (*slot != NULL && (*other == NULL || (*other)->used < (*slot)->used))
			slot = other;
	}
	struct day *day = day_load(devices, number);
	if (day == NULL)
		return NULL;
	day_free(*slot);
	day->used = ++devices->clock;
	*slot = day;
	return day;
}

struct devices *devices_new(const char *dir)
{
	struct devices *devices = calloc(1, sizeof *devices);

	if (devices == NULL)
		return NULL;
	devices->dir = strdup(dir);
	if (devices->dir == NULL ||
	        getrandom(&devices->seed, sizeof devices->seed, 0) != sizeof devices->seed) {
		free(devices->dir);
		free(devices);
		return NULL;
	}
	return devices;
}

struct devices *devices_beside(const char *log_dir)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof dir, "%s/../devices", log_dir);
	return devices_new(dir);
}

void devices_free(struct devices *devices)
{
	if (devices == NULL)
		return;
	for (unsigned i = 0; i < DAYS_MAX; i++)
		day_free(devices->days[i]);
	free(devices->dir);
	free(devices);
}

void devices_refresh(struct devices *devices)
{
	char path[PATH_MAX];
	struct stat st;

	for (unsigned i = 0; i < DAYS_MAX; i++) {
		struct day *day = devices->days[i];
		if (day == NULL)
			continue;
		if (day_path(devices, day->day, path) < 0 || stat(path, &st) < 0)
			st = (struct stat){ .st_size = 0 };
		if (st.st_size == day->size && st.st_mtim.tv_sec == day->changed.tv_sec &&
		        st.st_mtim.tv_nsec == day->changed.tv_nsec)
			continue;
		day_free(day);
		devices->days[i] = NULL;
	}
}

/* ---- asking ---- */

/* Among the records of the address from that source, the one that began last up to time_s; NULL none. */
static const struct record *record_at(
        struct day *day, enum device_source source, const uint8_t address[16], int64_t time_s)
{
	const struct record *best = NULL;

	for (uint32_t i = *address_bucket(day, address); i != NONE; i = day->next_address[i]) {
		const struct record *record = &day->records[i];
		if (record->source != source || record->start_s > time_s ||
		        memcmp(record->address, address, 16) != 0)
			continue;
		/* Newest written first: of two that began together, the first found stays. */
		if (best == NULL || record->start_s > best->start_s)
			best = record;
	}
	return best;
}

/* The same over the days before. */
static const struct record *record_find(
        struct devices *devices, enum device_source source, const uint8_t address[16], int64_t time_s)
{
	for (int64_t day = time_s / DAY_S; day >= time_s / DAY_S - LOOK_BACK_DAYS; day--) {
		struct day *loaded = day_get(devices, day);
		const struct record *record =
		        loaded != NULL ? record_at(loaded, source, address, time_s) : NULL;
		if (record != NULL)
			return record;
	}
	return NULL;
}

/* The name that the device with this MAC had in its last lease up to time_s. */
static void name_of_mac(struct devices *devices, const uint8_t mac[6], int64_t time_s, char *name)
{
	for (int64_t day = time_s / DAY_S; day >= time_s / DAY_S - LOOK_BACK_DAYS; day--) {
		struct day *loaded = day_get(devices, day);
		const struct record *best = NULL;
		for (uint32_t i = loaded != NULL ? *mac_bucket(loaded, mac) : NONE; i != NONE;
		        i = loaded->next_mac[i]) {
			const struct record *record = &loaded->records[i];
			if (record->source == DEVICE_FROM_LEASE && record->start_s <= time_s &&
			        record->name[0] != '\0' && memcmp(record->mac, mac, 6) == 0 &&
			        (best == NULL || record->start_s > best->start_s))
				best = record;
		}
		if (best == NULL)
			continue;
		memcpy(name, best->name, sizeof best->name);
		return;
	}
}

static void device_take(struct device *device, enum device_confidence confidence, const struct record *record)
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
	struct day *day = day_get(devices, time_s / DAY_S);
	uint8_t addresses[SHARED_LEAST][4];
	unsigned count = 0;

	for (uint32_t i = day != NULL ? *mac_bucket(day, mac) : NONE; i != NONE; i = day->next_mac[i]) {
		const struct record *record = &day->records[i];
		unsigned known = 0;
		if (record->source != DEVICE_FROM_NEIGHBOUR || memcmp(record->mac, mac, 6) != 0 ||
		        !IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)record->address) ||
		        record->start_s > time_s + SHARED_S || record->end_s < time_s - SHARED_S)
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
        struct devices *devices, const uint8_t address[16], int64_t time_s, struct record *session)
{
	for (int64_t number = time_s / DAY_S; number >= time_s / DAY_S - 1; number--) {
		struct day *day = day_get(devices, number);
		const struct record *found = day != NULL && day->has_sessions
		                                     ? record_at(day, DEVICE_FROM_RADIUS, address, time_s)
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
        struct devices *devices, const uint8_t mac[6], int64_t time_s, struct record *session)
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
	struct record session;
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
	struct record lease = { .end_s = 0 }, seen = { .end_s = 0 };

	*device = (struct device){ .confidence = DEVICE_UNKNOWN };
	/* Copies: looking into other days may move these. */
	const struct record *found = record_find(devices, DEVICE_FROM_LEASE, address, time_s);
	bool has_lease = found != NULL;
	if (has_lease)
		lease = *found;
	found = record_find(devices, DEVICE_FROM_NEIGHBOUR, address, time_s + SEEN_S);
	bool is_seen = found != NULL && found->end_s >= time_s - SEEN_S;
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

/* ---- writing ---- */

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

static int file_open(const struct devices *devices, int64_t day)
{
	char path[PATH_MAX];
	int ret = day_path(devices, day, path);

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
static int file_write(const struct devices *devices, struct day *day, off_t at, const void *data, size_t len)
{
	struct stat st;
	int fd = file_open(devices, day->day);

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
	return (off_t)(sizeof magic + index * sizeof(struct record));
}

static int day_append(const struct devices *devices, struct day *day, const struct record *record)
{
	if (day->count >= RECORDS_MAX)
		return -ENOSPC;
	if (day->count == day->room && !day_make_room(day, day->room + day->room / 2 + 64))
		return -ENOMEM;
	int ret = file_write(devices, day, record_place(day->count), record, sizeof *record);
	if (ret < 0)
		return ret;
	day->records[day->count] = *record;
	day_chain(day);
	return 0;
}

static int day_extend(const struct devices *devices, struct day *day, struct record *record, int64_t end_s)
{
	uint32_t index = (uint32_t)(record - day->records);

	record->end_s = end_s;
	return file_write(devices, day, record_place(index) + (off_t)offsetof(struct record, end_s), &end_s,
	        sizeof end_s);
}

static bool is_same_mac(const struct record *a, const struct record *b)
{
	return a->has_mac == b->has_mac && memcmp(a->mac, b->mac, 6) == 0;
}

static bool is_same_device(const struct record *a, const struct record *b)
{
	return is_same_mac(a, b) && strncmp(a->name, b->name, sizeof a->name) == 0;
}

/* Whether the record gives back what its device had till now, maybe since a day before. */
static bool is_given_back(struct devices *devices, const struct record *record)
{
	const struct record *known =
	        record_find(devices, (enum device_source)record->source, record->address, record->start_s);

	return known != NULL && known->end_s > record->start_s && is_same_mac(known, record);
}

/* Into one day's file: nothing, a longer record, or another one. */
static int day_note(struct devices *devices, int64_t number, const struct record *record)
{
	bool ends = record->end_s == record->start_s;

	if (ends && !is_given_back(devices, record))
		return 0;
	struct day *day = day_get(devices, number);
	if (day == NULL)
		return -ENOMEM;
	if (ends)
		return day_append(devices, day, record);
	struct record *known = (struct record *)record_at(
	        day, (enum device_source)record->source, record->address, record->start_s);
	if (known == NULL || !is_same_device(known, record))
		return day_append(devices, day, record);
	int64_t gap_s = record->source == DEVICE_FROM_NEIGHBOUR ? SEEN_S : RENEWED_S;
	if (record->start_s - gap_s > known->end_s || known->end_s == known->start_s)
		return day_append(devices, day, record);
	/* What was seen needs no second's truth, and a write for each. */
	int64_t worth_s = record->source == DEVICE_FROM_NEIGHBOUR ? SEEN_S / 4 : 0;
	return record->end_s - worth_s > known->end_s ? day_extend(devices, day, known, record->end_s) : 0;
}

int devices_note(struct devices *devices, enum device_source source, const struct lease *lease, int64_t now_s,
        uint32_t keep_s)
{
	struct record record = { .start_s = lease->start_s,
		.end_s = lease->ended ? lease->start_s : lease->end_s,
		.has_mac = lease->has_mac,
		.source = (uint8_t)source };
	int64_t today_s = now_s / DAY_S * DAY_S;
	int ret = 0;

	memcpy(record.address, lease->address, sizeof record.address);
	memcpy(record.name, lease->name, sizeof record.name);
	if (lease->has_mac)
		memcpy(record.mac, lease->mac, sizeof record.mac);
	if (record.start_s > now_s + DAY_S || record.end_s < now_s - keep_s)
		return 0;
	if (record.start_s < today_s && record.start_s >= now_s - keep_s)
		ret = day_note(devices, record.start_s / DAY_S, &record);
	if (ret < 0 || record.end_s < today_s)
		return ret;
	if (record.start_s < today_s)
		record.start_s = today_s;
	return day_note(devices, record.start_s / DAY_S, &record);
}

int64_t devices_written_s(const struct devices *devices)
{
	int64_t newest_s = 0;
	struct stat st;
	DIR *dir = opendir(devices->dir);

	if (dir == NULL)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		        S_ISREG(st.st_mode) && st.st_mtim.tv_sec > newest_s)
			newest_s = st.st_mtim.tv_sec;
	closedir(dir);
	return newest_s;
}

unsigned devices_prune(struct devices *devices, int64_t now_s, uint32_t keep_s)
{
	int64_t first = (now_s - keep_s) / DAY_S;
	char oldest[PATH_MAX];
	unsigned deleted = 0;
	DIR *dir = opendir(devices->dir);

	if (dir == NULL || day_path(devices, first, oldest) < 0) {
		if (dir != NULL)
			closedir(dir);
		return 0;
	}
	const char *oldest_name = strrchr(oldest, '/') + 1;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (strlen(entry->d_name) != strlen(oldest_name) || entry->d_name[0] == '.' ||
		        strcmp(entry->d_name, oldest_name) >= 0)
			continue;
		deleted += unlinkat(dirfd(dir), entry->d_name, 0) == 0;
	}
	closedir(dir);
	for (unsigned i = 0; i < DAYS_MAX; i++)
		if (devices->days[i] != NULL && devices->days[i]->day < first) {
			day_free(devices->days[i]);
			devices->days[i] = NULL;
		}
	return deleted;
}

/* ---- forgetting ---- */

#define MACS_MAX 256 /* that had one name */

struct wish {
	const struct config_network *client;
	const char *device;
	int64_t since_s, until_s;
	uint8_t macs[MACS_MAX][6];
	size_t mac_count;
};

static bool address_is_in(const uint8_t address[16], const struct config_network *network)
{
	size_t whole = network->length / 8;
	unsigned rest = network->length % 8;

	return memcmp(address, network->address, whole) == 0 &&
	       (rest == 0 || (address[whole] ^ network->address[whole]) >> (8 - rest) == 0);
}

static bool has_name(const struct wish *wish, const struct record *record)
{
	char mac[18] = "";

	if (record->has_mac)
		lease_mac_text(record->mac, mac);
	return *wish->device != '\0' &&
	       (strcasecmp(record->name, wish->device) == 0 || strcasecmp(mac, wish->device) == 0);
}

static bool has_mac(const struct wish *wish, const struct record *record)
{
	for (size_t i = 0; i < wish->mac_count && record->has_mac; i++)
		if (memcmp(wish->macs[i], record->mac, sizeof record->mac) == 0)
			return true;
	return false;
}

static bool record_goes(const struct wish *wish, const struct record *record)
{
	if (record->start_s >= wish->until_s || record->end_s < wish->since_s)
		return false;
	return (wish->client != NULL && address_is_in(record->address, wish->client)) ||
	       has_name(wish, record) || has_mac(wish, record);
}

/* In each day's file, begin to end: the MACs that go by the name, as devices' and not as users'. */
static int day_learn(struct devices *devices, struct wish *wish, struct day *day)
{
	(void)devices;
	for (uint32_t i = 0; i < day->count && wish->mac_count < MACS_MAX; i++)
		if (day->records[i].source != DEVICE_FROM_RADIUS && day->records[i].has_mac &&
		        has_name(wish, &day->records[i]) && !has_mac(wish, &day->records[i]))
			memcpy(wish->macs[wish->mac_count++], day->records[i].mac, 6);
	return 0;
}

static int day_write_anew(const char *path, const struct day *day, const struct wish *wish)
{
	char new[PATH_MAX];

	if (snprintf(new, sizeof new, "%s.new", path) >= (int)sizeof new)
		return -ENAMETOOLONG;
	FILE *out = fopen(new, "we");
	if (out == NULL)
		return -errno;
	int ret = fchmod(fileno(out), 0600) < 0 || fwrite(magic, sizeof magic, 1, out) != 1 ? -EIO : 0;
	for (uint32_t i = 0; i < day->count && ret == 0; i++)
		if (!record_goes(wish, &day->records[i]) &&
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

static int day_forget(struct devices *devices, struct wish *wish, struct day *day)
{
	char path[PATH_MAX];
	uint32_t i = 0;

	while (i < day->count && !record_goes(wish, &day->records[i]))
		i++;
	if (i == day->count)
		return 0;
	int ret = day_path(devices, day->day, path);
	return ret < 0 ? ret : day_write_anew(path, day, wish);
}

/* Of each day there is; what a rewriting left behind that was killed is taken away. */
static int each_day(struct devices *devices, struct wish *wish,
        int (*each)(struct devices *devices, struct wish *wish, struct day *day))
{
	int ret = 0;
	DIR *dir = opendir(devices->dir);

	if (dir == NULL)
		return errno == ENOENT ? 0 : -errno;
	for (struct dirent *entry; ret == 0 && (entry = readdir(dir)) != NULL;) {
		struct tm tm = { 0 };
		const char *end = strptime(entry->d_name, "%Y-%m-%d", &tm);
		if (each == day_forget && end != NULL && strcmp(end, ".new") == 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
		if (end == NULL || *end != '\0')
			continue;
		struct day *day = day_load(devices, timegm(&tm) / DAY_S);
		ret = day != NULL ? each(devices, wish, day) : -ENOMEM;
		day_free(day);
	}
	if (ret == 0 && fsync(dirfd(dir)) < 0)
		ret = -errno;
	closedir(dir);
	return ret;
}

int devices_forget(struct devices *devices, const struct config_network *client, const char *device,
        int64_t since_s, int64_t until_s)
{
	struct wish wish = { .client = client, .device = device, .since_s = since_s, .until_s = until_s };
	int ret = each_day(devices, &wish, day_learn);

	if (ret == 0)
		ret = each_day(devices, &wish, day_forget);
	for (unsigned i = 0; i < DAYS_MAX; i++) {
		day_free(devices->days[i]);
		devices->days[i] = NULL;
	}
	return ret;
}

/* ---- what there is ---- */

struct count {
	struct wish wish; /* first: each_day() hands it on */
	uint64_t days, records;
	int64_t oldest_s;
};

static int day_count(struct devices *devices, struct wish *wish, struct day *day)
{
	struct count *count = (struct count *)wish;

	(void)devices;
	count->days++;
	count->records += day->count;
	if (count->days == 1 || day->day * DAY_S < count->oldest_s)
		count->oldest_s = day->day * DAY_S;
	return 0;
}

int devices_count(struct devices *devices, uint64_t *days, uint64_t *records, int64_t *oldest_s)
{
	struct count count = { .days = 0 };
	int ret = each_day(devices, &count.wish, day_count);

	*days = count.days;
	*records = count.records;
	*oldest_s = count.oldest_s;
	return ret;
}
