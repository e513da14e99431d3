#include "devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "address.h"

#define DAYS_MAX 16  /* in memory at a time */
#define RENEWED_S 60 /* a record that follows this soon on one of the same device makes it longer */

struct devices {
	char *dir;
	struct device_day *days[DAYS_MAX];
	uint64_t clock, seed;
};

struct device_day *devices_day(struct devices *devices, int64_t number)
{
	struct device_day **slot = &devices->days[0];

	for (unsigned i = 0; i < DAYS_MAX; i++) {
		struct device_day **other = &devices->days[i];
		if (*other != NULL && (*other)->day == number) {
			(*other)->used = ++devices->clock;
			return *other;
		}
		if (*slot != NULL && (*other == NULL || (*other)->used < (*slot)->used))
			slot = other;
	}
	struct device_day *day = device_day_load(devices->dir, number, devices->seed);
	if (day == NULL)
		return NULL;
	device_day_free(*slot);
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
		device_day_free(devices->days[i]);
	free(devices->dir);
	free(devices);
}

void devices_refresh(struct devices *devices)
{
	char path[PATH_MAX];
	struct stat st;

	for (unsigned i = 0; i < DAYS_MAX; i++) {
		struct device_day *day = devices->days[i];
		if (day == NULL)
			continue;
		if (device_day_path(devices->dir, day->day, path) < 0 || stat(path, &st) < 0)
			st = (struct stat){ .st_size = 0 };
		if (st.st_size == day->size && st.st_mtim.tv_sec == day->changed.tv_sec &&
		        st.st_mtim.tv_nsec == day->changed.tv_nsec)
			continue;
		device_day_free(day);
		devices->days[i] = NULL;
	}
}

const struct device_record *devices_record(
        struct devices *devices, enum device_source source, const uint8_t address[16], int64_t time_s)
{
	for (int64_t day = time_s / DEVICE_DAY_S; day >= time_s / DEVICE_DAY_S - DEVICES_LOOK_BACK_DAYS;
	        day--) {
		struct device_day *loaded = devices_day(devices, day);
		const struct device_record *record =
		        loaded != NULL ? device_day_at(loaded, source, address, time_s) : NULL;
		if (record != NULL)
			return record;
	}
	return NULL;
}

/* ---- writing ---- */

static bool is_same_mac(const struct device_record *a, const struct device_record *b)
{
	return a->has_mac == b->has_mac && memcmp(a->mac, b->mac, 6) == 0;
}

static bool is_same_device(const struct device_record *a, const struct device_record *b)
{
	return is_same_mac(a, b) && strncmp(a->name, b->name, sizeof a->name) == 0;
}

/* Whether the record gives back what its device had till now, maybe since a day before. */
static bool is_given_back(struct devices *devices, const struct device_record *record)
{
	const struct device_record *known =
	        devices_record(devices, (enum device_source)record->source, record->address, record->start_s);

	return known != NULL && known->end_s > record->start_s && is_same_mac(known, record);
}

/* Into one day's file: nothing, a longer record, or another one. */
static int day_note(struct devices *devices, int64_t number, const struct device_record *record)
{
	bool ends = record->end_s == record->start_s;

	if (ends && !is_given_back(devices, record))
		return 0;
	struct device_day *day = devices_day(devices, number);
	if (day == NULL)
		return -ENOMEM;
	if (ends)
		return device_day_append(devices->dir, day, record);
	struct device_record *known = (struct device_record *)device_day_at(
	        day, (enum device_source)record->source, record->address, record->start_s);
	if (known == NULL || !is_same_device(known, record))
		return device_day_append(devices->dir, day, record);
	int64_t gap_s = record->source == DEVICE_FROM_NEIGHBOUR ? DEVICES_SEEN_S : RENEWED_S;
	if (record->start_s - gap_s > known->end_s || known->end_s == known->start_s)
		return device_day_append(devices->dir, day, record);
	/* What was seen needs no second's truth, and a write for each. */
	int64_t worth_s = record->source == DEVICE_FROM_NEIGHBOUR ? DEVICES_SEEN_S / 4 : 0;
	return record->end_s - worth_s > known->end_s
	               ? device_day_extend(devices->dir, day, known, record->end_s)
	               : 0;
}

int devices_note(struct devices *devices, enum device_source source, const struct lease *lease, int64_t now_s,
        uint32_t keep_s)
{
	struct device_record record = { .start_s = lease->start_s,
		.end_s = lease->ended ? lease->start_s : lease->end_s,
		.has_mac = lease->has_mac,
		.source = (uint8_t)source };
	int64_t today_s = now_s / DEVICE_DAY_S * DEVICE_DAY_S;
	int ret = 0;

	memcpy(record.address, lease->address, sizeof record.address);
	memcpy(record.name, lease->name, sizeof record.name);
	if (lease->has_mac)
		memcpy(record.mac, lease->mac, sizeof record.mac);
	if (record.start_s > now_s + DEVICE_DAY_S || record.end_s < now_s - keep_s)
		return 0;
	if (record.start_s < today_s && record.start_s >= now_s - keep_s)
		ret = day_note(devices, record.start_s / DEVICE_DAY_S, &record);
	if (ret < 0 || record.end_s < today_s)
		return ret;
	if (record.start_s < today_s)
		record.start_s = today_s;
	return day_note(devices, record.start_s / DEVICE_DAY_S, &record);
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
	int64_t first = (now_s - keep_s) / DEVICE_DAY_S;
	char oldest[PATH_MAX];
	unsigned deleted = 0;
	DIR *dir = opendir(devices->dir);

	if (dir == NULL || device_day_path(devices->dir, first, oldest) < 0) {
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
			device_day_free(devices->days[i]);
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

static bool has_name(const struct wish *wish, const struct device_record *record)
{
	char mac[18] = "";

	if (record->has_mac)
		lease_mac_text(record->mac, mac);
	return *wish->device != '\0' &&
	       (strcasecmp(record->name, wish->device) == 0 || strcasecmp(mac, wish->device) == 0);
}

static bool has_mac(const struct wish *wish, const struct device_record *record)
{
	for (size_t i = 0; i < wish->mac_count && record->has_mac; i++)
		if (memcmp(wish->macs[i], record->mac, sizeof record->mac) == 0)
			return true;
	return false;
}

static bool record_goes(void *arg, const struct device_record *record)
{
	const struct wish *wish = arg;

	if (record->start_s >= wish->until_s || record->end_s < wish->since_s)
		return false;
	return (wish->client != NULL && address_is_in(record->address, wish->client)) ||
	       has_name(wish, record) || has_mac(wish, record);
}

/* In each day's file, begin to end: the MACs that go by the name, as devices' and not as users'. */
static int day_learn(struct devices *devices, struct wish *wish, struct device_day *day)
{
	(void)devices;
	for (uint32_t i = 0; i < day->count && wish->mac_count < MACS_MAX; i++)
		if (day->records[i].source != DEVICE_FROM_RADIUS && day->records[i].has_mac &&
		        has_name(wish, &day->records[i]) && !has_mac(wish, &day->records[i]))
			memcpy(wish->macs[wish->mac_count++], day->records[i].mac, 6);
	return 0;
}

static int day_forget(struct devices *devices, struct wish *wish, struct device_day *day)
{
	uint32_t i = 0;

	while (i < day->count && !record_goes(wish, &day->records[i]))
		i++;
	return i < day->count ? device_day_write_anew(devices->dir, day, record_goes, wish) : 0;
}

/* Of each day there is; what a rewriting left behind that was killed is taken away. */
static int each_day(struct devices *devices, struct wish *wish,
        int (*each)(struct devices *devices, struct wish *wish, struct device_day *day))
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
		struct device_day *day =
		        device_day_load(devices->dir, timegm(&tm) / DEVICE_DAY_S, devices->seed);
		ret = day != NULL ? each(devices, wish, day) : -ENOMEM;
		device_day_free(day);
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
		device_day_free(devices->days[i]);
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

static int day_count(struct devices *devices, struct wish *wish, struct device_day *day)
{
	struct count *count = (struct count *)wish;

	(void)devices;
	count->days++;
	count->records += day->count;
	if (count->days == 1 || day->day * DEVICE_DAY_S < count->oldest_s)
		count->oldest_s = day->day * DEVICE_DAY_S;
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
