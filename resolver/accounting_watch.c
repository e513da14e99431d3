/*
 * A file is known by its inode, so that one that is renamed goes on where it is, and read in pieces, so that
 * a day's file that is there at the start does not keep the main thread from all else.
 *
 * A device that walks from one access point to another has two sessions for a while, and the stop of the old
 * one may come after the start of the new: which session was heard of last is kept for each MAC, and the stop
 * of another is nobody's end.
 */
#include "accounting_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "accounting.h"

#define FILES_MAX 1024
#define RECENT_S (2 * 86400)
#define SEARCH_EVERY_S 10
#define PIECE_LEN (2 << 20) /* more than any block */
#define EARLY_S 300         /* what is said of a time so far ahead is not believed */
#define HEARD_COUNT 4096

struct file {
	char *path;
	dev_t device;
	ino_t inode;
	off_t offset, size; /* size: as it was when all of it had been read */
	int64_t changed_s;
};

struct heard { /* the session of a MAC that was heard of last */
	uint8_t mac[6];
	uint64_t session;
	int64_t time_s;
};

struct accounting_watch {
	char *pattern;
	struct file *files; /* oldest first */
	size_t count;
	int64_t searched_s;
	int search_error;
	struct heard heard[HEARD_COUNT]; /* by hash; one that shares the place takes it */
};

/* Where the blocks of a piece go. */
struct target {
	struct accounting_watch *watch;
	struct devices *devices;
	int64_t now_s;
	uint32_t keep_s;
	int ret;
};

struct accounting_watch *accounting_watch_new(const char *pattern)
{
	struct accounting_watch *watch = calloc(1, sizeof *watch);

	if (watch == NULL)
		return NULL;
	watch->pattern = strdup(pattern);
	if (watch->pattern != NULL)
		return watch;
	free(watch);
	return NULL;
}

static void files_free(struct file *files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(files[i].path);
	free(files);
}

void accounting_watch_free(struct accounting_watch *watch)
{
	if (watch == NULL)
		return;
	files_free(watch->files, watch->count);
	free(watch->pattern);
	free(watch);
}

/* ---- sessions ---- */

static struct heard *heard_of(struct accounting_watch *watch, const uint8_t mac[6])
{
	return &watch->heard[XXH3_64bits(mac, 6) % HEARD_COUNT];
}

/* Whether the block ends what its device has; else a newer session of the device goes on. */
static bool session_follow(struct accounting_watch *watch, const struct accounting *block)
{
	struct heard *heard = heard_of(watch, block->mac);
	bool is_known = block->has_mac && memcmp(heard->mac, block->mac, sizeof heard->mac) == 0;

	if (block->status == ACCOUNTING_STOP && is_known && heard->session != block->session &&
	        heard->time_s <= block->time_s && heard->time_s + ACCOUNTING_SILENT_S > block->time_s)
		return false;
	if (block->status == ACCOUNTING_STOP && is_known && heard->session == block->session)
		*heard = (struct heard){ .session = 0 };
	if (block->status == ACCOUNTING_STOP || !block->has_mac)
		return block->status == ACCOUNTING_STOP;
	memcpy(heard->mac, block->mac, sizeof heard->mac);
	heard->session = block->session;
	heard->time_s = block->time_s;
	return false;
}

static int64_t session_end_s(const struct accounting *block)
{
	int64_t end_s = block->time_s + ACCOUNTING_SILENT_S;
	int64_t began_s = block->session_s > 0 ? block->time_s - block->session_s : block->time_s;

	if (block->timeout_s > 0 && began_s + block->timeout_s < end_s)
		end_s = began_s + block->timeout_s;
	return end_s > block->time_s ? end_s : block->time_s + 1;
}

/* A session is short: one day's file tells enough of it, as if it were noted the moment it was. */
static void row_note(struct target *target, const struct lease *row)
{
	int ret = devices_note(target->devices, DEVICE_FROM_RADIUS, row, row->start_s, target->keep_s);

	if (ret < 0)
		target->ret = ret;
}

static void block_found(void *arg, const struct accounting *block)
{
	struct target *target = arg;
	struct lease row = { .has_mac = block->has_mac, .start_s = block->time_s };

	if (block->time_s < target->now_s - target->keep_s || block->time_s > target->now_s + EARLY_S)
		return;
	row.ended = session_follow(target->watch, block);
	if (block->status == ACCOUNTING_STOP && !row.ended)
		return;
	row.end_s = row.ended ? row.start_s : session_end_s(block);
	memcpy(row.mac, block->mac, sizeof row.mac);
	memcpy(row.name, block->user, sizeof row.name);
	for (size_t i = 0; i < block->address_count; i++) {
		memcpy(row.address, block->addresses[i], sizeof row.address);
		row_note(target, &row);
	}
	if (!block->has_mac)
		return;
	devices_mac_address(block->mac, row.address);
	row_note(target, &row);
}

/* ---- files ---- */

static int unreadable; /* glob() hands no argument on; main thread only */

static int search_failed(const char *path, int error)
{
	(void)path;
	if (error != ENOENT && error != ENOTDIR)
		unreadable = error;
	return 0;
}

static int file_order(const void *a, const void *b)
{
	const struct file *one = a, *other = b;

	if (one->changed_s != other->changed_s)
		return one->changed_s < other->changed_s ? -1 : 1;
	return strcmp(one->path, other->path);
}

/* The offset of a file that was followed before. */
static off_t offset_known(const struct accounting_watch *watch, const struct stat *st)
{
	for (size_t i = 0; i < watch->count; i++)
		if (watch->files[i].device == st->st_dev && watch->files[i].inode == st->st_ino)
			return watch->files[i].offset;
	return 0;
}

/* Takes the recent ones of the paths. Returns 0 or negative errno. */
static int files_take(struct accounting_watch *watch, char *const *paths, size_t count, int64_t now_s)
{
	struct file *files = calloc(FILES_MAX, sizeof *files);
	size_t taken = 0;
	int ret = files != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && ret == 0; i++) {
		struct stat st;
		if (stat(paths[i], &st) < 0 || !S_ISREG(st.st_mode) || st.st_mtim.tv_sec < now_s - RECENT_S)
			continue;
		if (taken == FILES_MAX) {
			ret = -EMFILE;
			break;
		}
		files[taken] = (struct file){ .path = strdup(paths[i]),
			.device = st.st_dev,
			.inode = st.st_ino,
			.offset = offset_known(watch, &st),
			.size = -1,
			.changed_s = st.st_mtim.tv_sec };
		ret = files[taken].path != NULL ? 0 : -ENOMEM;
		taken += ret == 0;
	}
	if (ret < 0) {
		files_free(files, taken);
		return ret;
	}
	if (taken > 1)
		qsort(files, taken, sizeof *files, file_order);
	files_free(watch->files, watch->count);
	watch->files = files;
	watch->count = taken;
	return 0;
}

/* Nothing fits a pattern: why. A folder that has no file yet is no fault. */
static int nothing_found(const char *pattern, bool is_folder)
{
	if (unreadable != 0)
		return -unreadable;
	return is_folder ? 0 : access(pattern, F_OK) < 0 ? -errno : -ENOENT;
}

static int files_search(struct accounting_watch *watch, int64_t now_s)
{
	char pattern[PATH_MAX];
	struct stat st;
	glob_t found = { .gl_pathc = 0 };
	bool is_folder = stat(watch->pattern, &st) == 0 && S_ISDIR(st.st_mode);

	unreadable = 0;
	if (snprintf(pattern, sizeof pattern, "%s%s", watch->pattern, is_folder ? "/*" : "") >=
	        (int)sizeof pattern)
		return -ENAMETOOLONG;
	int ret = glob(pattern, GLOB_NOSORT, search_failed, &found);
	ret = ret == GLOB_NOSPACE ? -ENOMEM
	      : ret == GLOB_NOMATCH || !found.gl_pathc
	              ? nothing_found(watch->pattern, is_folder)
	              : files_take(watch, found.gl_pathv, found.gl_pathc, now_s);
	globfree(&found);
	return ret < 0 ? ret : -unreadable;
}

/* At most room octets of an open file. Returns those read, or negative errno. */
static ssize_t file_piece(struct file *file, int fd, struct target *target, size_t room)
{
	struct stat st;
	unsigned bad = 0; /* of no device: nobody could be named by it */

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_dev != file->device || st.st_ino != file->inode || st.st_size < file->offset)
		file->offset = 0;
	file->device = st.st_dev;
	file->inode = st.st_ino;
	char *text = malloc(room);
	if (text == NULL)
		return -ENOMEM;
	ssize_t got = pread(fd, text, room, file->offset);
	int error = errno;
	if (got > 0)
		file->offset += (off_t)accounting_read(text, (size_t)got, &bad, block_found, target);
	free(text);
	file->size = got >= 0 && (size_t)got < room ? st.st_size : -1;
	return got < 0 ? -error : got;
}

/* Reads on where the file has grown. Returns the octets read, or negative errno. */
static ssize_t file_look(struct file *file, struct target *target, size_t room)
{
	struct stat st;

	if (stat(file->path, &st) < 0)
		return errno == ENOENT ? 0 : -errno; /* the next search forgets it */
	if (st.st_size == file->size && st.st_ino == file->inode && st.st_dev == file->device)
		return 0;
	int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ssize_t got = file_piece(file, fd, target, room);
	close(fd);
	return got;
}

int accounting_watch_look(struct accounting_watch *watch, struct devices *devices, int64_t now_s,
        uint32_t keep_s, const char **path)
{
	struct target target = { watch, devices, now_s, keep_s, 0 };
	size_t room = PIECE_LEN;
	int ret = 0;

	if (now_s < watch->searched_s || now_s >= watch->searched_s + SEARCH_EVERY_S ||
	        watch->search_error < 0) {
		watch->search_error = files_search(watch, now_s);
		watch->searched_s = now_s;
	}
	*path = watch->pattern;
	for (size_t i = 0; i < watch->count && room > PIECE_LEN / 2; i++) {
		ssize_t got = file_look(&watch->files[i], &target, room);
		if (got < 0) {
			*path = watch->files[i].path;
			ret = (int)got;
		} else {
			room -= (size_t)got < room ? (size_t)got : room;
		}
	}
	return ret < 0 ? ret : target.ret < 0 ? target.ret : watch->search_error;
}
