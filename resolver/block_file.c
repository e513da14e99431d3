/*
 * Keys of an environment's one database: a letter, then a number of 8 octets, big endian.
 *
 *   d  first id of a segment   its data (block_pack.c)
 *   g  first id of a group     the directory of its 64 segments (block_group.c)
 *   r  id of a ring            the newest sequence number of that ring in this file, 8 octets, big endian
 *   s  first id of a segment   its summary
 *
 * Ids count the events of the whole store in the order of their commits, so that the order of the keys is
 * that of time, but for clocks that jump. An id is at least the time of its commit in microseconds since
 * 1970; so it stays unique even where all files were removed, and fits a double.
 *
 * A segment and the sequence numbers of its events are written in one transaction: an event that stands in a
 * ring and, after a crash, in a file as well, is known by its number and not written again.
 *
 * The day is that of the event, the class its profile's `keep`; so one unlink forgets a whole file when its
 * day is older than that, and nothing is left in free pages as a delete would leave it. A row lives for keep
 * and what was left of its day.
 */
#include "block_file.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "page_guard.h"

/* Places by enum block_file_kind. */
static const char *const endings[] = { ".mdb", ".mdb-lock", ".mdb.damaged" };

int64_t block_file_day(int64_t time_us)
{
	int64_t day_us = (int64_t)BLOCK_DAY_S * 1000000;
	return time_us / day_us - (time_us % day_us < 0);
}

void block_file_set_name(struct block_file *file)
{
	time_t start = (time_t)(file->day * BLOCK_DAY_S);
	bool whole_days = file->keep_s % BLOCK_DAY_S == 0;
	char date[32] = "", revision[16] = "";
	struct tm tm;

	if (gmtime_r(&start, &tm))
		strftime(date, sizeof date, "%Y-%m-%d", &tm);
	if (file->revision)
		snprintf(revision, sizeof revision, "-r%" PRIu32, file->revision);
	if (file->hold)
		snprintf(file->name, sizeof file->name, "%s-case%" PRIu32 "%s%s", date, file->hold, revision,
		        endings[file->kind]);
	else
		snprintf(file->name, sizeof file->name, "%s-%" PRIu32 "%c%s%s", date,
		        whole_days ? file->keep_s / BLOCK_DAY_S : file->keep_s, whole_days ? 'd' : 's',
		        revision, endings[file->kind]);
}

/* A name is ours if writing what it says gives it again; damaged ones after the first have a number behind
 * it. */
static bool name_is(const char *name, const char *again, enum block_file_kind kind)
{
	size_t len = strlen(again);

	if (kind != BLOCK_FILE_DAMAGED || strncmp(name, again, len) != 0 || name[len] != '.')
		return strcmp(name, again) == 0;
	size_t digits = strspn(name + len + 1, "0123456789");
	return digits > 0 && name[len + 1 + digits] == 0;
}

/* "90d", "90d-r2", "case7"; what follows is checked by writing the name again. */
static bool name_parse_class(struct block_file *file, const char *class)
{
	char *unit;

	if (sscanf(class, "case%" SCNu32 "-r%" SCNu32, &file->hold, &file->revision) >= 1) {
		file->keep_s = UINT32_MAX;
		return file->hold > 0;
	}
	unsigned long long keep = strtoull(class, &unit, 10);
	if (*unit == 'd')
		keep = keep > UINT32_MAX ? keep : keep * BLOCK_DAY_S;
	if (keep > UINT32_MAX || *unit == 0)
		return false;
	file->keep_s = (uint32_t)keep;
	if (sscanf(unit + 1, "-r%" SCNu32, &file->revision) != 1)
		file->revision = 0;
	return true;
}

static bool name_parse(struct block_file *file, const char *name)
{
	struct tm tm = { 0 };
	const char *end = strptime(name, "%Y-%m-%d-", &tm);

	*file = (struct block_file){ 0 };
	if (!end || !name_parse_class(file, end))
		return false;
	file->day = (int64_t)timegm(&tm) / BLOCK_DAY_S;
	for (file->kind = BLOCK_FILE_STORE; file->kind <= BLOCK_FILE_DAMAGED; file->kind++) {
		block_file_set_name(file);
		if (name_is(name, file->name, file->kind))
			break;
	}
	return file->kind <= BLOCK_FILE_DAMAGED;
}

static bool file_read(struct block_file *file, DIR *dir, const char *name)
{
	struct stat st;

	if (strlen(name) >= sizeof file->name || !name_parse(file, name) ||
	        fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	strcpy(file->name, name);
	file->size = (uint64_t)st.st_size;
	file->written_us = st.st_mtim.tv_sec * INT64_C(1000000) + st.st_mtim.tv_nsec / 1000;
	return true;
}

static int newest_first(const void *a, const void *b)
{
	const struct block_file *x = a, *y = b;

	if (x->day != y->day)
		return x->day < y->day ? 1 : -1;
	return strcmp(x->name, y->name);
}

int block_file_list(const char *dir_path, struct block_file **files, size_t *count)
{
	size_t room = 0;
	struct dirent *entry;

	*files = NULL;
	*count = 0;
	DIR *dir = opendir(dir_path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)) != NULL) {
		if (*count == room) {
			room = 2 * room + 16;
			struct block_file *more = realloc(*files, room * sizeof **files);
			if (!more)
				goto no_memory;
			*files = more;
		}
		*count += file_read(&(*files)[*count], dir, entry->d_name);
	}
	closedir(dir);
	if (*count > 0)
		qsort(*files, *count, sizeof **files, newest_first);
	return 0;

no_memory:
	closedir(dir);
	free(*files);
	*files = NULL;
	*count = 0;
	return -ENOMEM;
}

static bool same_class(const struct block_file *a, const struct block_file *b)
{
	return a->day == b->day && a->keep_s == b->keep_s && a->hold == b->hold;
}

bool block_file_is_current(const struct block_file *file, const struct block_file *files, size_t count)
{
	if (file->hold)
		return true;
	for (size_t i = 0; i < count; i++)
		if (files[i].kind == BLOCK_FILE_STORE && same_class(&files[i], file) &&
		        files[i].revision > file->revision)
			return false;
	return true;
}

int block_file_list_current(const char *dir, struct block_file **files, size_t *count)
{
	size_t all;

	int ret = block_file_list(dir, files, &all);
	*count = 0;
	if (ret < 0)
		return ret;
	/* one that is not current becomes something else; it is no reason for any other to be */
	for (size_t from = 0, to; from < all; from = to) {
		for (to = from + 1; to < all && (*files)[to].day == (*files)[from].day;)
			to++;
		for (size_t i = from; i < to; i++)
			if (!block_file_is_current(&(*files)[i], *files + from, to - from))
				(*files)[i].kind = BLOCK_FILE_DAMAGED;
	}
	for (size_t i = 0; i < all; i++)
		if ((*files)[i].kind == BLOCK_FILE_STORE)
			(*files)[(*count)++] = (*files)[i];
	return 0;
}

uint32_t block_file_revision(const char *dir, int64_t day, uint32_t keep_s)
{
	struct block_file *files;
	size_t count;
	uint32_t revision = 0;

	if (block_file_list(dir, &files, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++)
		if (files[i].kind == BLOCK_FILE_STORE && files[i].hold == 0 && files[i].day == day &&
		        files[i].keep_s == keep_s && files[i].revision > revision)
			revision = files[i].revision;
	free(files);
	return revision;
}

int64_t block_file_end_s(const struct block_file *file, int64_t today)
{
	int64_t day_end_s = (file->day + 1) * BLOCK_DAY_S, written_s = file->written_us / 1000000;

	return file->day > today || written_s > day_end_s ? written_s : day_end_s;
}

int block_file_sync_folder(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

void block_file_forget_rings(const char *dir_path, int64_t before_s)
{
	struct dirent *entry;
	struct stat st;
	DIR *dir = opendir(dir_path);

	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (fnmatch("ring-*.damaged", entry->d_name, 0) == 0 &&
		        fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		        st.st_mtim.tv_sec < before_s)
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

/* LMDB's lock file of the 126 readers that it allows if not told otherwise: a table head, a record each. */
#define LOCK_LEN 8192
#define FIRST_PAGES_LEN (4 * 4096)

/*
 * LMDB writes to its lock file through a map, and the first write to a page that the disk has no room for is
 * a SIGBUS. So all of it gets its blocks beforehand; LMDB leaves a file of that length as it is. Closing the
 * file drops the process's locks on it (fcntl(2)), hence before LMDB opens it.
 */
static int lock_reserve(const char *path)
{
	char lock_path[4096 + 8];
	struct stat st;

	snprintf(lock_path, sizeof lock_path, "%s-lock", path);
	int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int ret = fd < 0 || fstat(fd, &st) < 0 ? errno : 0;
	if (ret == 0 && (st.st_size < LOCK_LEN || st.st_blocks * 512 < LOCK_LEN) &&
	        fallocate(fd, 0, 0, LOCK_LEN) < 0 && errno != EOPNOTSUPP)
		ret = errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* A new file that was begun and not finished for want of room would be a damaged one later. It stays empty:
 * what has a length is no new file to LMDB. */
static int first_pages_reserve(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	int ret = fd < 0 || fstat(fd, &st) < 0 ? errno : 0;
	if (ret == 0 && st.st_size == 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, FIRST_PAGES_LEN) < 0 &&
	        errno != EOPNOTSUPP)
		ret = errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* A reader makes nothing where no store is, or one that its writer has just begun, and on a read-only disk
 * LMDB goes without the lock. */
static int file_reserve(const char *path, unsigned flags)
{
	struct stat st;

	if (flags & MDB_RDONLY) {
		if (stat(path, &st) < 0)
			return errno;
		if (st.st_size == 0)
			return ENOENT;
		int ret = lock_reserve(path);
		return ret == EROFS ? 0 : ret;
	}
	int ret = lock_reserve(path);
	return ret == 0 ? first_pages_reserve(path) : ret;
}

bool block_file_covers_pages(MDB_env *env, uint64_t *len)
{
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;
	int fd;

	mdb_env_info(env, &info);
	mdb_env_stat(env, &stat);
	*len = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
	return mdb_env_get_fd(env, &fd) == 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size >= *len;
}

/* How many of the pages from that one on are free, by LMDB's own list: arrays of page numbers, their length
 * first. */
static uint64_t free_pages_from(MDB_env *env, size_t first)
{
	MDB_txn *txn;
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t count = 0;

	if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
		return 0;
	if (mdb_cursor_open(txn, 0, &cursor) == 0) {
		while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
			const size_t *pages = value.mv_data;
			for (size_t i = 1; i <= pages[0] && (i + 1) * sizeof *pages <= value.mv_size; i++)
				count += pages[i] >= first;
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return count;
}

/*
 * LMDB does not write a page that it took at the end and gave up in the same transaction, so the file may be
 * shorter than it says. The writer lengthens it after its commit, and a power loss in between leaves it
 * short: if all that is missing is free, it is whole. It is long first, as looking goes through the map.
 */
static bool lengthen_if_free(MDB_env *env, uint64_t len)
{
	MDB_stat page;
	struct stat st;
	int fd;

	if (mdb_env_get_fd(env, &fd) != 0 || fstat(fd, &st) < 0 || mdb_env_stat(env, &page) != 0 ||
	        ftruncate(fd, (off_t)len) < 0)
		return false;
	size_t first = (size_t)st.st_size / page.ms_psize, missing = (size_t)len / page.ms_psize - first;
	if (free_pages_from(env, first) >= missing)
		return true;
	/* as it was, for somebody to look at */
	return ftruncate(fd, st.st_size) < 0 && false;
}

static bool is_empty(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 || st.st_size == 0;
}

int block_file_open(
        MDB_env **env, MDB_dbi *dbi, const char *dir, const char *name, unsigned flags, size_t map_size)
{
	char path[4096];
	MDB_txn *txn;
	uint64_t len;

	*env = NULL;
	if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
		return ENAMETOOLONG;
	bool is_new = is_empty(path);
	uint64_t replaced = page_guard_count();
	int ret = file_reserve(path, flags);
	if (ret != 0)
		return ret;
	ret = mdb_env_create(env);
	if (ret != 0)
		return ret;
	ret = mdb_env_set_mapsize(*env, map_size);
	if (ret == 0)
		ret = mdb_env_open(*env, path, MDB_NOSUBDIR | MDB_NOTLS | flags, 0600);
	if (ret == 0 && !block_file_covers_pages(*env, &len) &&
	        (flags & MDB_RDONLY || !lengthen_if_free(*env, len)))
		ret = MDB_CORRUPTED; /* a page behind the end would be a SIGBUS */
	if (ret == 0)
		ret = mdb_txn_begin(*env, NULL, flags & MDB_RDONLY, &txn);
	if (ret == 0) {
		ret = mdb_dbi_open(txn, NULL, 0, dbi);
		if (ret == 0)
			ret = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	/* A writer whose lock is a copy would not know its readers; a reader goes on, for where the lock
	 * cannot be written, there is hardly a writer that succeeds. */
	if (ret == 0 && !(flags & MDB_RDONLY) && page_guard_count() != replaced)
		ret = EIO;
	/* what will be synced in the file is found after a power loss by its name alone */
	if (ret == 0 && is_new)
		ret = -block_file_sync_folder(dir);
	if (ret != 0) {
		mdb_env_close(*env);
		*env = NULL;
	}
	return ret;
}

int block_file_error(int ret)
{
	if (ret >= 0)
		return -ret;
	switch (ret) {
	case MDB_CORRUPTED:
	case MDB_INVALID:
	case MDB_PAGE_NOTFOUND:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_VALSIZE:
		return -EBADMSG;
	case MDB_MAP_FULL:
		return -ENOSPC;
	case MDB_READERS_FULL:
		return -EBUSY;
	default:
		return -EIO;
	}
}

int block_file_read(MDB_env *env, MDB_txn **txn)
{
	int ret = mdb_txn_begin(env, NULL, MDB_RDONLY, txn);

	if (ret == MDB_MAP_RESIZED) {
		ret = mdb_env_set_mapsize(env, 0);
		if (ret == 0)
			ret = mdb_txn_begin(env, NULL, MDB_RDONLY, txn);
	}
	return ret;
}

MDB_val block_file_key(uint8_t octets[BLOCK_KEY_LEN], enum block_key kind, uint64_t number)
{
	uint64_t big = htobe64(number);

	octets[0] = (uint8_t)kind;
	memcpy(octets + 1, &big, sizeof big);
	return (MDB_val){ BLOCK_KEY_LEN, octets };
}

uint64_t block_file_key_number(const MDB_val *key)
{
	uint64_t big = 0;

	if (key->mv_size == BLOCK_KEY_LEN)
		memcpy(&big, (const uint8_t *)key->mv_data + 1, sizeof big);
	return be64toh(big);
}

bool block_file_key_is(const MDB_val *key, enum block_key kind)
{
	return key->mv_size == BLOCK_KEY_LEN && *(const uint8_t *)key->mv_data == kind;
}

int block_file_seek(MDB_cursor *cursor, enum block_key kind, uint64_t number, MDB_val *key, MDB_val *value)
{
	uint8_t octets[BLOCK_KEY_LEN];

	*key = block_file_key(octets, kind, number);
	int ret = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
	if (ret == 0 && block_file_key_is(key, kind) && block_file_key_number(key) == number)
		return 0;
	ret = mdb_cursor_get(cursor, key, value, ret == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
	if (ret == 0 && block_file_key_is(key, kind))
		return 0;
	*key = block_file_key(octets, kind, 0);
	ret = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
	return ret == 0 && !block_file_key_is(key, kind) ? MDB_NOTFOUND : ret;
}

/* Summaries are the last keys of all. */
int block_file_newest(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *summary)
{
	MDB_cursor *cursor;
	int ret = mdb_cursor_open(txn, dbi, &cursor);

	if (ret != 0)
		return ret;
	ret = mdb_cursor_get(cursor, key, summary, MDB_LAST);
	mdb_cursor_close(cursor);
	if (ret == 0 && !block_file_key_is(key, BLOCK_KEY_SUMMARY))
		ret = MDB_NOTFOUND;
	return ret;
}
