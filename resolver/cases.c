#include "cases.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "block_copy.h"
#include "block_item.h"
#include "block_reader.h"
#include "case_device.h"
#include "case_places.h"
#include "blocklists/member.h"
#include "log.h"
#include "utc.h"

#define PATH_LEN 4096
#define TROUBLE_NAME "case.trouble"
#define LOCK_NAME "case.lock" /* holds the highest number that was ever given */

int cases_lock(const char *dir, int *fd)
{
	char path[PATH_LEN];

	snprintf(path, sizeof path, "%s/" LOCK_NAME, dir);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return -errno;
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	int ret = errno == EWOULDBLOCK ? -EBUSY : -errno;
	close(*fd);
	return ret;
}

void cases_unlock(int fd)
{
	close(fd);
}

/* ---- numbers and files ---- */

static void case_path(const char *dir, uint32_t number, const char *end, char path[PATH_LEN])
{
	snprintf(path, PATH_LEN, "%s/case-%" PRIu32 ".json%s", dir, number, end);
}

static bool case_exists(const char *dir, uint32_t number)
{
	char path[PATH_LEN];

	case_path(dir, number, "", path);
	return access(path, F_OK) == 0;
}

/* A number is given once only: the ledger names cases by it. */
static int number_take(const char *dir, uint32_t *number)
{
	char path[PATH_LEN], text[16] = "";

	snprintf(path, sizeof path, "%s/" LOCK_NAME, dir);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	ssize_t got = read(fd, text, sizeof text - 1);
	*number = got > 0 ? (uint32_t)strtoul(text, NULL, 10) + 1 : 1;
	while (case_exists(dir, *number))
		(*number)++;
	int len = snprintf(text, sizeof text, "%" PRIu32 "\n", *number);
	int ret = pwrite(fd, text, (size_t)len, 0) == len && fsync(fd) == 0 ? 0 : -EIO;
	close(fd);
	return ret;
}

static void remove_file(const char *dir, struct block_file *file)
{
	char path[PATH_LEN];

	for (int kind = BLOCK_FILE_STORE; kind <= BLOCK_FILE_LOCK; kind++) {
		file->kind = (enum block_file_kind)kind;
		block_file_set_name(file);
		snprintf(path, sizeof path, "%s/%s", dir, file->name);
		unlink(path);
	}
}

/* The files of one case, or (number 0) of all that are none: a killed process left them. */
static int remove_files(const char *dir, uint32_t number)
{
	struct block_file *files;
	size_t count;

	int ret = block_file_list(dir, &files, &count);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < count; i++)
		if (files[i].hold && (number ? files[i].hold == number : !case_exists(dir, files[i].hold)))
			remove_file(dir, &files[i]);
	free(files);
	return block_file_sync_folder(dir);
}

/* ---- holding ---- */

struct holding {
	const char *dir;
	uint32_t number, piece;
	struct block_filter asked;
	bool by_device; /* only its rows, and those of the asked address */
	bool with_address, goes_on;
	struct case_device device;
	struct devices *devices;
	uint64_t after_id, last_id; /* only rows between; what comes meanwhile is for the next time */
	int64_t seen_us;
	struct block_copy *copy; /* of the day at hand */
	struct case_places places;
	uint64_t rows;
	int ret;
};

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* Returns NULL without memory. */
static struct holding *holding_new(const char *dir)
{
	struct holding *holding = calloc(1, sizeof *holding);

	if (!holding)
		return NULL;
	holding->dir = dir;
	holding->devices = devices_beside(dir);
	holding->after_id = 1;
	holding->seen_us = now_us();
	holding->last_id = block_log_last_id(dir);
	if (holding->devices)
		return holding;
	free(holding);
	return NULL;
}

static void holding_free(struct holding *holding)
{
	if (!holding)
		return;
	devices_free(holding->devices);
	free(holding);
}

static bool row_is_meant(
        const struct holding *holding, const struct block_item *item, const struct device *at)
{
	if (!holding->by_device || (item->client && case_device_has(&holding->device, at)))
		return true;
	return holding->with_address && block_client_passes(item->client, &holding->asked);
}

static bool row_found(void *arg, const struct block_item *item)
{
	struct holding *holding = arg;
	struct block_file file = { .day = block_file_day(item->time_us), .keep_s = UINT32_MAX };
	struct device at = { .confidence = DEVICE_UNKNOWN };

	if (item->client)
		devices_find(holding->devices, item->client, item->time_us, &at);
	if (item->id > holding->last_id || !row_is_meant(holding, item, &at))
		return true;
	file.hold = holding->number;
	file.revision = holding->piece;
	block_file_set_name(&file);
	if (!holding->copy)
		holding->ret = block_copy_begin(&holding->copy, holding->dir, file.name);
	if (holding->ret == 0)
		holding->ret = block_copy_add(holding->copy, item);
	if (item->client)
		case_places_add(&holding->places, item, &at);
	holding->rows++;
	return holding->ret == 0;
}

static int hold_day(struct holding *holding, const struct block_filter *filter, int64_t day)
{
	int64_t day_us = INT64_C(1000000) * BLOCK_DAY_S;
	struct block_filter of_day = *filter;

	if (of_day.since_us < day * day_us)
		of_day.since_us = day * day_us;
	if (!of_day.until_us || of_day.until_us > (day + 1) * day_us)
		of_day.until_us = (day + 1) * day_us;
	of_day.after_id = holding->after_id; /* in order of ids */
	int64_t ret = block_scan_items(holding->dir, &of_day, false, row_found, holding);
	if (ret >= 0 && holding->ret == 0 && holding->copy)
		ret = block_copy_finish(holding->copy, 0);
	else
		block_copy_abandon(holding->copy);
	holding->copy = NULL;
	return holding->ret < 0 ? holding->ret : ret < 0 ? (int)ret : 0;
}

static int hold_days(struct holding *holding)
{
	struct block_filter filter = holding->asked;
	struct block_file *files;
	size_t count;
	int64_t before = INT64_MAX;

	if (holding->by_device && holding->with_address)
		filter.has_client = false; /* its rows at other addresses too */
	int ret = block_file_list_current(holding->dir, &files, &count);
	for (size_t i = 0; ret == 0 && i < count; i++) {
		int64_t day = files[i].day;
		if (day == before || (filter.since_us && day < block_file_day(filter.since_us)) ||
		        (filter.until_us && day > block_file_day(filter.until_us)))
			continue;
		before = day;
		ret = hold_day(holding, &filter, day);
	}
	free(files);
	return ret;
}

static int write_case(const char *dir, uint32_t number, const json_t *detail)
{
	char path[PATH_LEN], new[PATH_LEN];

	case_path(dir, number, "", path);
	case_path(dir, number, ".new", new);
	int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int ret = json_dumpfd(detail, fd, JSON_COMPACT) == 0 && fsync(fd) == 0 ? 0 : -EIO;
	close(fd);
	if (ret == 0 && rename(new, path) < 0)
		ret = -errno;
	if (ret < 0)
		unlink(new);
	return ret < 0 ? ret : block_file_sync_folder(dir);
}

/* What is needed to go on; null for a case that does not. */
static json_t *growth_json(const struct holding *holding, int64_t until_us)
{
	const struct block_filter *asked = &holding->asked;
	json_t *profiles = asked->profiles ? json_array() : json_null();
	char client[INET6_ADDRSTRLEN + 4];

	for (size_t i = 0; asked->profiles && i < asked->profile_count; i++)
		json_array_append_new(profiles, json_string(asked->profiles[i]));
	if (asked->has_client)
		config_network_text(&asked->client, client);
	return json_pack("{s:I, s:I, s:I, s:I, s:s?, s:o}", "seen_us", (json_int_t)holding->seen_us,
	        "last_id", (json_int_t)holding->last_id, "pieces", (json_int_t)holding->piece, "until_us",
	        (json_int_t)until_us, "client", asked->has_client && !holding->with_address ? client : NULL,
	        "profiles", profiles);
}

static int describe(const struct holding *holding, json_t *detail, uint64_t rows, int64_t until_us)
{
	json_t *growth = holding->goes_on ? growth_json(holding, until_us) : json_null();
	int ret = json_object_set_new(detail, "rows", json_integer((json_int_t)rows));

	ret |= case_device_write(&holding->device, detail);
	ret |= json_object_set_new(detail, "addresses", case_places_json(&holding->places));
	ret |= json_object_set_new(detail, "goes_on", json_boolean(holding->goes_on));
	ret |= json_object_set_new(detail, "growth", growth);
	return ret < 0 ? -ENOMEM : 0;
}

static int hold_begin(struct holding *holding, const struct cases_asked *asked)
{
	holding->asked = *asked->filter;
	int ret = remove_files(holding->dir, 0);
	if (ret == 0)
		ret = case_device_find(&holding->device, holding->dir, asked->filter, asked->device);
	holding->by_device = *holding->device.wanted != '\0';
	holding->with_address = holding->by_device && *asked->device == '\0';
	holding->goes_on =
	        holding->by_device && (!asked->goes_until_us || asked->goes_until_us > holding->seen_us);
	if (holding->goes_on)
		holding->asked.until_us = asked->goes_until_us;
	return ret < 0 ? ret : number_take(holding->dir, &holding->number);
}

int64_t cases_hold(const char *dir, const struct cases_asked *asked, json_t *detail)
{
	struct holding *holding = holding_new(dir);
	char at[UTC_TEXT_LEN];

	int ret = holding ? hold_begin(holding, asked) : -ENOMEM;
	if (ret == 0)
		ret = hold_days(holding);
	if (ret == 0 && holding->rows > 0) {
		utc_text(time(NULL), at);
		json_object_set_new(detail, "case", json_integer(holding->number));
		json_object_set_new(detail, "at", json_string(at));
		ret = describe(holding, detail, holding->rows, asked->goes_until_us);
	}
	if (ret == 0 && holding->rows > 0)
		ret = write_case(dir, holding->number, detail);
	if (ret < 0)
		remove_files(dir, 0);
	int64_t number = ret < 0 ? ret : holding->rows > 0 ? (int64_t)holding->number : 0;
	holding_free(holding);
	return number;
}

/* ---- releasing, listing ---- */

bool cases_has(const char *dir, uint32_t number)
{
	char path[PATH_LEN];

	case_path(dir, number, "", path);
	return access(path, F_OK) == 0 || errno != ENOENT;
}

int cases_release(const char *dir, uint32_t number)
{
	char path[PATH_LEN];

	case_path(dir, number, "", path);
	if (unlink(path) < 0)
		return -errno;
	int ret = block_file_sync_folder(dir);
	return ret < 0 ? ret : remove_files(dir, number);
}

static int number_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* The numbers of all cases, malloc()ed. */
static uint32_t *case_numbers(const char *dir_path, size_t *count)
{
	struct dirent *entry;
	uint32_t *numbers = malloc(sizeof *numbers), *longer, number;
	int len;
	DIR *dir = opendir(dir_path);

	*count = 0;
	while (dir && numbers && (entry = readdir(dir)) != NULL) {
		len = 0;
		if (sscanf(entry->d_name, "case-%" SCNu32 ".json%n", &number, &len) != 1 || len == 0 ||
		        entry->d_name[len] != 0)
			continue;
		longer = realloc(numbers, (*count + 2) * sizeof *numbers);
		if (!longer)
			break;
		numbers = longer;
		numbers[(*count)++] = number;
	}
	if (dir)
		closedir(dir);
	if (numbers)
		qsort(numbers, *count, sizeof *numbers, number_order);
	return numbers;
}

/* As they stand in their files. */
static json_t *cases_load(const char *dir)
{
	char path[PATH_LEN];
	size_t count;
	uint32_t *numbers = case_numbers(dir, &count);
	json_t *list = numbers ? json_array() : NULL;

	for (size_t i = 0; list && i < count; i++) {
		case_path(dir, numbers[i], "", path);
		json_t *one = json_load_file(path, 0, NULL);
		if (one)
			json_array_append_new(list, one);
	}
	free(numbers);
	return list;
}

/* Those of before devices were held say nothing of them. */
json_t *cases_list(const char *dir)
{
	json_t *list = cases_load(dir), *one;
	json_t *unsaid = json_pack("{s:n, s:[], s:[], s:b}", "device", "macs", "addresses", "goes_on", 0);
	size_t i;

	json_array_foreach(list, i, one)
	{
		json_object_update_missing(one, unsaid);
		json_object_del(one, "growth");
	}
	json_decref(unsaid);
	return list;
}

/* ---- going on ---- */

/* Rows as they were asked for, from a case's file; borrows from it. Returns 0 or -EBADMSG. */
struct growing {
	struct block_filter filter;
	const char *profiles[CONFIG_PROFILES_MAX];
	int64_t until_us;
};

static int growing_read(struct growing *growing, const json_t *detail, const json_t *growth)
{
	struct block_filter *filter = &growing->filter;
	const char *client = json_string_value(json_object_get(growth, "client")),
	           *name = member_text(detail, "name");
	const json_t *profiles = json_object_get(growth, "profiles"), *profile;
	int64_t since_s;
	size_t i;

	*growing = (struct growing){ .filter.severity = -1 };
	growing->until_us = json_integer_value(json_object_get(growth, "until_us"));
	filter->until_us = growing->until_us;
	filter->profile = json_string_value(json_object_get(detail, "profile"));
	if (utc_read(member_text(detail, "since"), &since_s))
		filter->since_us = since_s * 1000000;
	json_array_foreach(profiles, i, profile)
	{
		if (filter->profile_count < CONFIG_PROFILES_MAX && json_is_string(profile))
			growing->profiles[filter->profile_count++] = json_string_value(profile);
	}
	filter->profiles = json_is_array(profiles) ? growing->profiles : NULL;
	filter->has_client = client != NULL;
	if (client && config_network_parse(&filter->client, client) < 0)
		return -EBADMSG;
	return *name && name_from_text(&filter->name, name, strlen(name)) < 0 ? -EBADMSG : 0;
}

static int case_take_new_rows(struct holding *holding, json_t *detail, const json_t *growth)
{
	struct growing growing;
	int64_t rows = json_integer_value(json_object_get(detail, "rows"));

	holding->number = (uint32_t)json_integer_value(json_object_get(detail, "case"));
	holding->piece = (uint32_t)json_integer_value(json_object_get(growth, "pieces")) + 1;
	holding->after_id = (uint64_t)json_integer_value(json_object_get(growth, "last_id"));
	holding->after_id += holding->after_id == 0;
	holding->by_device = true;
	if (growing_read(&growing, detail, growth) < 0 || case_device_read(&holding->device, detail) < 0 ||
	        case_places_read(&holding->places, json_object_get(detail, "addresses")) < 0)
		return -EBADMSG;
	holding->asked = growing.filter;
	holding->goes_on = !growing.until_us || growing.until_us > holding->seen_us;
	int ret = hold_days(holding);
	if (ret < 0)
		return ret;
	ret = describe(holding, detail, (uint64_t)rows + holding->rows, growing.until_us);
	return ret < 0 ? ret : write_case(holding->dir, holding->number, detail);
}

static int case_grow(const char *dir, json_t *detail, bool all)
{
	json_t *growth = json_object_get(detail, "growth");
	int64_t seen_us = json_integer_value(json_object_get(growth, "seen_us"));

	if (!json_is_object(growth) || (!all && block_file_day(seen_us) == block_file_day(now_us())))
		return 0;
	struct holding *holding = holding_new(dir);
	int ret = holding ? case_take_new_rows(holding, detail, growth) : -ENOMEM;
	holding_free(holding);
	return ret;
}

int cases_grow(const char *dir, bool all)
{
	json_t *list = cases_load(dir), *one;
	int ret = list ? remove_files(dir, 0) : -ENOMEM;
	size_t i;

	json_array_foreach(list, i, one)
	{
		int grown = case_grow(dir, one, all);
		ret = ret < 0 ? ret : grown;
	}
	json_decref(list);
	return ret;
}

/* On a disk that takes no octet the file is at least there. */
void cases_tell_trouble(const char *dir, const char *why)
{
	char path[PATH_LEN];

	snprintf(path, sizeof path, "%s/" TROUBLE_NAME, dir);
	if (*why == '\0') {
		unlink(path);
		return;
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, why, strlen(why)) < 0)
		log_error("log: %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

bool cases_trouble(const char *dir, char why[CASES_TROUBLE_MAX])
{
	char path[PATH_LEN];

	snprintf(path, sizeof path, "%s/" TROUBLE_NAME, dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t len = fd >= 0 ? read(fd, why, CASES_TROUBLE_MAX - 1) : 0;
	why[len > 0 ? len : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

bool cases_await(const char *dir, const struct block_file *file)
{
	json_t *list = cases_load(dir), *one;
	bool await = false;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const json_t *growth = json_object_get(one, "growth");
		int64_t until_us = json_integer_value(json_object_get(growth, "until_us"));
		await |= json_is_object(growth) &&
		         json_integer_value(json_object_get(growth, "seen_us")) < file->written_us &&
		         (!until_us || file->day <= block_file_day(until_us));
	}
	json_decref(list);
	return await;
}

struct counting {
	struct block_reader *reader;
	const struct block_filter *filter;
	int64_t rows;
	struct block_item items[BLOCK_SEGMENT_EVENTS];
	uint8_t clients[BLOCK_SEGMENT_EVENTS][16];
};

static int count_segment(void *arg, const struct block_span *span)
{
	struct counting *counting = arg;
	struct block_piece summary, data;
	int ret = block_reader_segment(counting->reader, span->first_id, &summary, &data);

	if (ret < 0)
		return ret;
	ret = block_segment_unpack(counting->items, counting->clients, &summary, &data, counting->filter);
	free(summary.data);
	counting->rows += ret > 0 ? ret : 0;
	return ret < 0 ? ret : 0;
}

int64_t cases_held(const char *dir, const struct block_filter *filter, uint32_t *number)
{
	struct block_file *files;
	size_t count;
	struct counting *counting = calloc(1, sizeof *counting);

	int ret = counting ? block_file_list_current(dir, &files, &count) : -ENOMEM;
	if (ret < 0) {
		free(counting);
		return ret;
	}
	counting->filter = filter;
	for (size_t i = 0; i < count && ret == 0; i++) {
		if (!files[i].hold || !case_exists(dir, files[i].hold))
			continue;
		int64_t before = counting->rows;
		ret = block_reader_open(&counting->reader, dir, files[i].name);
		if (ret == 0)
			ret = block_reader_segments(counting->reader, 0, filter, count_segment, counting);
		if (counting->rows > before)
			*number = files[i].hold;
		block_reader_close(counting->reader);
		counting->reader = NULL;
	}
	int64_t rows = counting->rows;
	free(files);
	free(counting);
	return ret < 0 ? ret : rows;
}
