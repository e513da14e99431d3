/*
 * Two ways to read. At first, and when a file has been replaced, all of it: its rows are of the past, so each
 * ends where the next of its address begins, and only then goes into the history. Later only what was
 * appended, as it comes; a lease that is given back without saying when was given back now. dnsmasq writes
 * its file anew for every change and says neither when a lease began nor that it has gone: that shows by
 * comparing.
 *
 * RADIUS accounting is read in a way of its own (accounting_watch.h).
 *
 * Kea cleans its file up by moving it to FILE.1 and then to FILE.2; both are older than FILE.
 */
#include "lease_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "accounting_watch.h"

#define FILE_MAX (256 << 20)
#define DAY_S 86400

/* Rows of one reading. */
struct rows {
	struct lease *rows;
	size_t count, room;
	bool no_memory;
};

struct file {
	char *path, *format;
	struct lease_reader reader;
	dev_t device;
	ino_t inode;
	off_t size, offset;
	struct timespec changed;
	bool read;                           /* once at least */
	bool told;                           /* that it cannot be read */
	struct rows before;                  /* dnsmasq: as it was last */
	struct accounting_watch *accounting; /* of RADIUS; NULL: leases */
	const char *trouble_path; /* what is told of it: path, or one of those that it stands for */
};

struct lease_watch {
	struct file *files;
	size_t count;
	char trouble[PATH_MAX + 200];
};

/* The history that rows go into. */
struct target {
	struct devices *devices;
	int64_t now_s;
	uint32_t keep_s;
};

struct lease_watch *lease_watch_new(void)
{
	return calloc(1, sizeof(struct lease_watch));
}

static void file_clear(struct file *file)
{
	free(file->path);
	free(file->format);
	free(file->before.rows);
	accounting_watch_free(file->accounting);
}

void lease_watch_free(struct lease_watch *watch)
{
	if (watch == NULL)
		return;
	for (size_t i = 0; i < watch->count; i++)
		file_clear(&watch->files[i]);
	free(watch->files);
	free(watch);
}

/* Moves what is known of a file that is still followed. */
static void file_take(struct file *file, struct file *known, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (known[i].path == NULL || strcmp(known[i].path, file->path) != 0 ||
		        strcmp(known[i].format, file->format) != 0)
			continue;
		file_clear(file);
		*file = known[i];
		known[i] = (struct file){ .path = NULL };
		return;
	}
}

static int file_init(struct file *file, const struct config_lease_file *config)
{
	file->path = strdup(config->file);
	file->format = strdup(config->format);
	file->reader.format = lease_format_named(config->format);
	if (file->reader.format == LEASE_RADIUS)
		file->accounting = accounting_watch_new(config->file);
	bool has_all = file->path != NULL && file->format != NULL &&
	               (file->reader.format != LEASE_RADIUS || file->accounting != NULL);
	return has_all ? 0 : -ENOMEM;
}

int lease_watch_configure(struct lease_watch *watch, const struct config *config)
{
	struct file *files = calloc(config->lease_count + 1, sizeof *files);

	if (files == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < config->lease_count; i++) {
		if (file_init(&files[i], &config->leases[i]) < 0) {
			for (size_t k = 0; k <= i; k++)
				file_clear(&files[k]);
			free(files);
			return -ENOMEM;
		}
	}
	for (size_t i = 0; i < config->lease_count; i++)
		file_take(&files[i], watch->files, watch->count);
	for (size_t i = 0; i < watch->count; i++)
		file_clear(&watch->files[i]);
	free(watch->files);
	watch->files = files;
	watch->count = config->lease_count;
	watch->trouble[0] = '\0';
	return 0;
}

/* ---- rows ---- */

static void row_keep(void *arg, const struct lease *lease)
{
	struct rows *rows = arg;

	if (rows->count == rows->room) {
		size_t room = rows->room * 2 + 256;
		struct lease *more = realloc(rows->rows, room * sizeof *more);
		if (more == NULL) {
			rows->no_memory = true;
			return;
		}
		rows->rows = more;
		rows->room = room;
	}
	rows->rows[rows->count++] = *lease;
}

/* Each row of the past ends where the next one of its address begins. Of one that was given back nobody knows
 * when, nothing is said of today. */
static void rows_cut(struct rows *rows, int64_t now_s)
{
	size_t size = 64;

	while (size < rows->count * 2)
		size *= 2;
	size_t *last = calloc(size, sizeof *last); /* index + 1 of an address's newest row so far */
	if (last == NULL) {
		rows->no_memory = true;
		return;
	}
	for (size_t i = 0; i < rows->count; i++) {
		struct lease *row = &rows->rows[i], *before = NULL;
		size_t slot = XXH3_64bits(row->address, 16) & (size - 1);
		while (last[slot] != 0 && memcmp(rows->rows[last[slot] - 1].address, row->address, 16) != 0)
			slot = (slot + 1) & (size - 1);
		if (last[slot] != 0)
			before = &rows->rows[last[slot] - 1];
		last[slot] = i + 1;
		int64_t cut_s = row->start_s > 0 ? row->start_s : now_s / DAY_S * DAY_S - 1;
		if (before != NULL && before->start_s <= cut_s && before->end_s > cut_s)
			before->end_s = cut_s;
	}
	free(last);
}

static int row_note(const struct target *target, struct lease *row)
{
	if (row->start_s == 0)
		row->start_s = row->end_s = target->now_s;
	return devices_note(target->devices, DEVICE_FROM_LEASE, row, target->now_s, target->keep_s);
}

/* Given back without saying when: at the latest when the next of these rows gives the address away again. */
static void rows_date(struct rows *rows, size_t i)
{
	struct lease *row = &rows->rows[i];

	for (size_t k = i + 1; k < rows->count && row->start_s == 0; k++)
		if (rows->rows[k].start_s != 0 && memcmp(rows->rows[k].address, row->address, 16) == 0)
			row->start_s = row->end_s = rows->rows[k].start_s;
}

static int rows_note(const struct target *target, struct rows *rows, bool whole)
{
	int ret = 0;

	if (whole)
		rows_cut(rows, target->now_s);
	for (size_t i = 0; i < rows->count && ret == 0; i++) {
		if (whole && rows->rows[i].start_s == 0)
			continue;
		rows_date(rows, i);
		ret = row_note(target, &rows->rows[i]);
	}
	return ret;
}

static const struct lease *row_of(const struct rows *rows, const struct lease *row)
{
	for (size_t i = 0; i < rows->count; i++)
		if (memcmp(rows->rows[i].address, row->address, 16) == 0)
			return &rows->rows[i];
	return NULL;
}

/* What dnsmasq's file says now against what it said before. since_s: how long it has said so at least. */
static int dnsmasq_note(const struct target *target, struct file *file, struct rows *now, int64_t since_s)
{
	int ret = 0;

	for (size_t i = 0; i < now->count && ret == 0; i++) {
		struct lease row = now->rows[i];
		row.start_s = since_s < row.end_s ? since_s : row.end_s;
		ret = row_note(target, &row);
	}
	for (size_t i = 0; i < file->before.count && ret == 0; i++) {
		struct lease row = file->before.rows[i];
		if (row_of(now, &row) != NULL || row.end_s <= target->now_s)
			continue;
		row.ended = true;
		row.start_s = 0;
		ret = row_note(target, &row);
	}
	free(file->before.rows);
	file->before = *now;
	*now = (struct rows){ .rows = NULL };
	return ret;
}

/* ---- files ---- */

/* From the offset to the end, malloc()ed. Returns the octets or negative errno. */
static ssize_t file_text(int fd, off_t offset, off_t size, char **text)
{
	if (size - offset > FILE_MAX)
		return -EFBIG;
	*text = malloc((size_t)(size - offset) + 1);
	if (*text == NULL)
		return -ENOMEM;
	ssize_t got = pread(fd, *text, (size_t)(size - offset), offset);
	if (got >= 0)
		return got;
	free(*text);
	return -errno;
}

/* FILE.2 and FILE.1 of Kea, where they are. */
static void older_read(const struct file *file, const char *suffix, struct rows *rows)
{
	struct lease_reader reader = { .format = LEASE_KEA };
	char path[PATH_MAX], *text;
	struct stat st;

	snprintf(path, sizeof path, "%s%s", file->path, suffix);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	ssize_t len = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? file_text(fd, 0, st.st_size, &text) : -1;
	close(fd);
	if (len < 0)
		return;
	leases_read(&reader, text, (size_t)len, row_keep, rows);
	free(text);
}

static int file_read(struct file *file, int fd, const struct stat *st, const struct target *target)
{
	bool whole = !file->read || file->device != st->st_dev || file->inode != st->st_ino ||
	             st->st_size < file->offset || file->reader.format == LEASE_DNSMASQ ||
	             file->reader.format == LEASE_AUTO;
	struct rows rows = { .rows = NULL };
	char *text;

	if (whole) {
		file->offset = 0;
		file->reader = (struct lease_reader){ .format = lease_format_named(file->format) };
	}
	ssize_t len = file_text(fd, file->offset, st->st_size, &text);
	if (len < 0)
		return (int)len;
	if (whole && file->reader.format != LEASE_ISC && file->reader.format != LEASE_DNSMASQ && len >= 8 &&
	        memcmp(text, "address,", 8) == 0) {
		older_read(file, ".2", &rows);
		older_read(file, ".1", &rows);
	}
	size_t used = leases_read(&file->reader, text, (size_t)len, row_keep, &rows);
	free(text);
	int ret = rows.no_memory ? -ENOMEM : 0;
	if (ret == 0 && file->reader.format == LEASE_DNSMASQ)
		ret = dnsmasq_note(target, file, &rows, file->read ? target->now_s : st->st_mtim.tv_sec);
	else if (ret == 0)
		ret = rows_note(target, &rows, whole);
	free(rows.rows);
	file->read = ret == 0;
	file->device = st->st_dev;
	file->inode = st->st_ino;
	file->size = st->st_size;
	file->changed = st->st_mtim;
	file->offset += (off_t)used;
	return ret;
}

static bool file_is_as_read(const struct file *file, const struct stat *st)
{
	return file->read && st->st_dev == file->device && st->st_ino == file->inode &&
	       st->st_size == file->size && st->st_mtim.tv_sec == file->changed.tv_sec &&
	       st->st_mtim.tv_nsec == file->changed.tv_nsec;
}

static int file_open_and_read(struct file *file, const struct target *target)
{
	struct stat st;
	int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	int ret = fstat(fd, &st) < 0     ? -errno
	          : !S_ISREG(st.st_mode) ? -EINVAL
	                                 : file_read(file, fd, &st, target);
	close(fd);
	return ret;
}

static int file_look(struct file *file, const struct target *target)
{
	struct stat st;

	file->trouble_path = file->path;
	if (file->accounting != NULL)
		return accounting_watch_look(file->accounting, target->devices, target->now_s, target->keep_s,
		        &file->trouble_path);
	if (stat(file->path, &st) < 0)
		return -errno;
	if (!file_is_as_read(file, &st)) {
		int ret = file_open_and_read(file, target);
		if (ret < 0)
			return ret;
	}
	return file->reader.format == LEASE_AUTO && file->size > 0 ? -EBADMSG : 0;
}

static void trouble_text(struct lease_watch *watch, const struct file *file, int error)
{
	const struct passwd *user = error == EACCES ? getpwuid(geteuid()) : NULL;

	if (error == EBADMSG)
		snprintf(watch->trouble, sizeof watch->trouble,
		        "leases: %s: found a file of another kind, expected leases of Kea (memfile), ISC "
		        "dhcpd or "
		        "dnsmasq (RADIUS accounting needs `format: radius`)",
		        file->trouble_path);
	else
		snprintf(watch->trouble, sizeof watch->trouble, "leases: %s: %s%s%s", file->trouble_path,
		        strerror(error), user != NULL ? "; usherd reads it as user " : "",
		        user != NULL ? user->pw_name : "");
}

void lease_watch_look(struct lease_watch *watch, struct devices *devices, int64_t now_s, uint32_t keep_s,
        void (*trouble)(const char *sentence))
{
	const struct target target = { devices, now_s, keep_s };

	watch->trouble[0] = '\0';
	for (size_t i = 0; i < watch->count; i++) {
		struct file *file = &watch->files[i];
		int ret = file_look(file, &target);
		if (ret < 0) {
			trouble_text(watch, file, -ret);
			if (!file->told)
				trouble(watch->trouble);
		}
		file->told = ret < 0;
	}
}

const char *lease_watch_trouble(const struct lease_watch *watch)
{
	return watch->trouble;
}
