/*
 * Text, and not a database: a day is some ten thousand lines, written as a whole every few minutes and read
 * from one end to the other. A person can look what is in it.
 */
#include "names_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NEW_FILE "new"
#define DAY_LEN 10 /* 2026-11-22 */
#define LINE_LEN (NAME_TEXT_MAX + 32)

/* One day's file while it is read. */
struct day_file {
	FILE *file;
	bool has_row;
	struct name name;
	uint64_t count;
};

struct names_reader {
	struct day_file *days;
	size_t day_count;
};

int names_store_compare(const uint8_t *a, const uint8_t *b)
{
	/* No name's wire form begins another's: the octets differ before either ends, or the names are one.
	 */
	for (; *a == *b; a += *a + 1, b += *b + 1) {
		int order = *a == 0 ? 0 : memcmp(a + 1, b + 1, *a);
		if (order != 0 || *a == 0)
			return order;
	}
	return *a < *b ? -1 : 1;
}

/* ---- days and their files ---- */

static void day_text(int64_t day, char text[DAY_LEN + 1])
{
	time_t s = (time_t)day * NAMES_DAY_S;
	struct tm tm;

	if (gmtime_r(&s, &tm) == NULL || strftime(text, DAY_LEN + 1, "%Y-%m-%d", &tm) != DAY_LEN)
		strcpy(text, "1970-01-01");
}

/* Returns false if the file is none of a day. */
static bool day_of_file(const char *name, int64_t *day)
{
	struct tm tm = { 0 };
	char again[DAY_LEN + 1];
	const char *end = strlen(name) == DAY_LEN ? strptime(name, "%Y-%m-%d", &tm) : NULL;

	if (end == NULL || *end != '\0')
		return false;
	*day = (int64_t)timegm(&tm) / NAMES_DAY_S;
	day_text(*day, again);
	return strcmp(again, name) == 0;
}

static int path_in(char path[PATH_MAX], const char *dir, const char *name)
{
	return snprintf(path, PATH_MAX, "%s/%s", dir, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* ---- writing ---- */

static int write_rows(FILE *file, const struct names_row *rows, size_t count)
{
	struct name name;
	char text[NAME_TEXT_MAX];

	for (size_t i = 0; i < count; i++) {
		if (name_from_wire(&name, rows[i].wire, NAME_WIRE_MAX) < 0)
			continue;
		name_to_text(&name, text);
		if (fprintf(file, "%" PRIu64 " %s\n", rows[i].count, text) < 0)
			return -EIO;
	}
	return fflush(file) == 0 && fsync(fileno(file)) == 0 ? 0 : -errno;
}

int names_store_write(const char *dir, int64_t day, const struct names_row *rows, size_t count)
{
	char aside[PATH_MAX], path[PATH_MAX], name[DAY_LEN + 1];

	day_text(day, name);
	if (path_in(path, dir, name) < 0 || path_in(aside, dir, NEW_FILE) < 0)
		return -ENAMETOOLONG;
	int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	FILE *file = fdopen(fd, "w");
	if (file == NULL) {
		close(fd);
		return -ENOMEM;
	}
	int ret = write_rows(file, rows, count);
	if (fclose(file) != 0 && ret == 0)
		ret = -errno;
	if (ret == 0 && rename(aside, path) != 0)
		ret = -errno;
	if (ret < 0)
		unlink(aside);
	return ret;
}

int names_store_prune(const char *dir, int64_t before)
{
	char path[PATH_MAX];
	DIR *folder = opendir(dir);
	int64_t day;
	int ret = 0;

	if (folder == NULL)
		return -errno;
	for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
		bool goes = strcmp(entry->d_name, NEW_FILE) == 0 ||
		            (day_of_file(entry->d_name, &day) && day < before);
		if (goes && path_in(path, dir, entry->d_name) == 0 && unlink(path) != 0 && errno != ENOENT)
			ret = -errno;
	}
	closedir(folder);
	return ret;
}

/* ---- reading ---- */

static bool row_read(const char *line, struct day_file *day)
{
	char *end;

	if (*line < '0' || *line > '9')
		return false;
	day->count = strtoull(line, &end, 10);
	size_t len = strcspn(end, "\n");
	return *end == ' ' && end[len] == '\n' && name_from_text(&day->name, end + 1, len - 1) == 0;
}

static void day_next(struct day_file *day)
{
	char line[LINE_LEN];

	do
		day->has_row = fgets(line, sizeof line, day->file) != NULL;
	while (day->has_row && !row_read(line, day));
}

static int reader_add(struct names_reader *reader, const char *dir, const char *name)
{
	char path[PATH_MAX];
	struct day_file *days = realloc(reader->days, (reader->day_count + 1) * sizeof *days);

	if (days == NULL)
		return -ENOMEM;
	reader->days = days;
	int ret = path_in(path, dir, name);
	if (ret < 0)
		return ret;
	struct day_file *day = &days[reader->day_count];
	day->file = fopen(path, "re");
	if (day->file == NULL)
		return errno == ENOENT ? 0 : -errno; /* pruned meanwhile */
	reader->day_count++;
	day_next(day);
	return 0;
}

int names_reader_open(struct names_reader **out, const char *dir, int64_t since, int64_t until)
{
	struct names_reader *reader = calloc(1, sizeof *reader);
	DIR *folder = opendir(dir);
	int64_t day;
	int ret = 0;

	*out = NULL;
	if (folder == NULL && errno != ENOENT)
		ret = -errno;
	if (reader == NULL)
		ret = -ENOMEM;
	for (const struct dirent *entry; ret == 0 && folder != NULL && (entry = readdir(folder)) != NULL;)
		if (day_of_file(entry->d_name, &day) && day >= since && day < until)
			ret = reader_add(reader, dir, entry->d_name);
	if (folder != NULL)
		closedir(folder);
	if (ret < 0) {
		names_reader_close(reader);
		return ret;
	}
	*out = reader;
	return 0;
}

void names_reader_close(struct names_reader *reader)
{
	if (reader == NULL)
		return;
	for (size_t i = 0; i < reader->day_count; i++)
		fclose(reader->days[i].file);
	free(reader->days);
	free(reader);
}

size_t names_reader_days(const struct names_reader *reader)
{
	return reader->day_count;
}

int names_reader_next(struct names_reader *reader, struct name *name, uint64_t *count)
{
	const struct day_file *first = NULL;

	for (size_t i = 0; i < reader->day_count; i++) {
		const struct day_file *day = &reader->days[i];
		if (day->has_row &&
		        (first == NULL || names_store_compare(day->name.wire, first->name.wire) < 0))
			first = day;
	}
	if (first == NULL)
		return 0;
	*name = first->name;
	*count = 0;
	for (size_t i = 0; i < reader->day_count; i++) {
		struct day_file *day = &reader->days[i];
		while (day->has_row && name_equal(&day->name, name)) {
			*count += day->count;
			day_next(day);
		}
	}
	return 1;
}
