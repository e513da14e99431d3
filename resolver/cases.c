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
#include "utc.h"

#define PATH_LEN 4096
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
	uint32_t number;
	struct block_copy *copy; /* of the day at hand */
	uint64_t rows;
	int ret;
};

static bool row_found(void *arg, const struct block_item *item)
{
	struct holding *holding = arg;
	struct block_file file = { .day = block_file_day(item->time_us), .keep_s = UINT32_MAX };

	file.hold = holding->number;
	block_file_set_name(&file);
	if (!holding->copy)
		holding->ret = block_copy_begin(&holding->copy, holding->dir, file.name);
	if (holding->ret == 0)
		holding->ret = block_copy_add(holding->copy, item);
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
	of_day.after_id = 1; /* in order of ids */
	int64_t ret = block_scan_items(holding->dir, &of_day, false, row_found, holding);
	if (ret >= 0 && holding->ret == 0 && holding->copy)
		ret = block_copy_finish(holding->copy, 0);
	else
		block_copy_abandon(holding->copy);
	holding->copy = NULL;
	return holding->ret < 0 ? holding->ret : ret < 0 ? (int)ret : 0;
}

static int hold_days(struct holding *holding, const struct block_filter *filter)
{
	struct block_file *files;
	size_t count;
	int64_t before = INT64_MAX;

	int ret = block_file_list_current(holding->dir, &files, &count);
	for (size_t i = 0; ret == 0 && i < count; i++) {
		int64_t day = files[i].day;
		if (day == before || (filter->since_us && day < block_file_day(filter->since_us)) ||
		        (filter->until_us && day > block_file_day(filter->until_us)))
			continue;
		before = day;
		ret = hold_day(holding, filter, day);
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

int64_t cases_hold(const char *dir, const struct block_filter *filter, json_t *detail)
{
	struct holding holding = { .dir = dir };
	char at[UTC_TEXT_LEN];

	int ret = remove_files(dir, 0);
	if (ret == 0)
		ret = number_take(dir, &holding.number);
	if (ret == 0)
		ret = hold_days(&holding, filter);
	if (ret == 0 && holding.rows > 0) {
		utc_text(time(NULL), at);
		json_object_set_new(detail, "case", json_integer(holding.number));
		json_object_set_new(detail, "at", json_string(at));
		json_object_set_new(detail, "rows", json_integer((json_int_t)holding.rows));
		ret = write_case(dir, holding.number, detail);
	}
	if (ret < 0)
		remove_files(dir, 0);
	return ret < 0 ? ret : holding.rows > 0 ? (int64_t)holding.number : 0;
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

json_t *cases_list(const char *dir)
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
