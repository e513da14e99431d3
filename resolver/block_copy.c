/*
 * Written without syncing, then synced as a whole before the rename, and the folder after it: whoever finds
 * the name finds all of it, also after a power loss. No lock file: nobody else opens it before the rename.
 */
#include "block_copy.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "block_put.h"

#define MAP_SIZE ((size_t)16 << 30) /* of addresses, not of memory: more than a day can have */
#define TEXTS_LEN (256 << 10)
#define TEXT_ROOM (3 * 256 + 2 * NAME_WIRE_MAX + 16) /* of one event, at most */

struct block_copy {
	char dir[4096], path[4096 + BLOCK_FILE_NAME_MAX + 8], name[BLOCK_FILE_NAME_MAX];
	MDB_env *env;
	MDB_dbi dbi;
	struct block_item items[BLOCK_SEGMENT_EVENTS];
	size_t item_count;
	uint64_t count;
	uint8_t texts[TEXTS_LEN]; /* what the items point to */
	size_t texts_len;
};

static int open_new(struct block_copy *copy)
{
	MDB_txn *txn;
	int ret = mdb_env_create(&copy->env);

	if (ret != 0)
		return ret;
	mdb_env_set_mapsize(copy->env, MAP_SIZE);
	ret = mdb_env_open(copy->env, copy->path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600);
	if (ret == 0)
		ret = mdb_txn_begin(copy->env, NULL, 0, &txn);
	if (ret != 0)
		return ret;
	ret = mdb_dbi_open(txn, NULL, 0, &copy->dbi);
	if (ret == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return ret;
}

int block_copy_begin(struct block_copy **out, const char *dir, const char *name)
{
	struct block_copy *copy = calloc(1, sizeof *copy);

	*out = NULL;
	if (!copy)
		return -ENOMEM;
	snprintf(copy->dir, sizeof copy->dir, "%s", dir);
	snprintf(copy->name, sizeof copy->name, "%s", name);
	snprintf(copy->path, sizeof copy->path, "%s/%s.new", copy->dir, copy->name);
	unlink(copy->path);
	int ret = open_new(copy);
	if (ret != 0) {
		block_copy_abandon(copy);
		return block_file_error(ret);
	}
	*out = copy;
	return 0;
}

/* ---- adding ---- */

static int flush(struct block_copy *copy)
{
	struct block_put put = { .dbi = copy->dbi };

	if (copy->item_count == 0)
		return 0;
	int ret = mdb_txn_begin(copy->env, NULL, 0, &put.txn);
	if (ret != 0)
		return block_file_error(ret);
	ret = block_put_segment(&put, copy->items, copy->item_count);
	if (ret == 0)
		ret = mdb_txn_commit(put.txn);
	else
		mdb_txn_abort(put.txn);
	copy->item_count = copy->texts_len = 0;
	return block_file_error(ret);
}

static const void *keep(struct block_copy *copy, const void *octets, size_t len)
{
	if (!octets)
		return NULL;
	void *at = copy->texts + copy->texts_len;
	memcpy(at, octets, len);
	copy->texts_len += len;
	return at;
}

static const char *keep_text(struct block_copy *copy, const char *text)
{
	return keep(copy, text, text ? strlen(text) + 1 : 0);
}

int block_copy_add(struct block_copy *copy, const struct block_item *item)
{
	if (copy->item_count == BLOCK_SEGMENT_EVENTS || copy->texts_len + TEXT_ROOM > TEXTS_LEN) {
		int ret = flush(copy);
		if (ret < 0)
			return ret;
	}
	struct block_item *kept = &copy->items[copy->item_count++];
	*kept = *item;
	kept->client = keep(copy, item->client, 16);
	kept->profile = keep_text(copy, item->profile);
	kept->category = keep_text(copy, item->category);
	kept->source = keep_text(copy, item->source);
	kept->name = keep(copy, item->name, item->name_len);
	kept->matched = keep(copy, item->matched, item->matched_len);
	copy->count++;
	return 0;
}

int block_copy_ring(struct block_copy *copy, uint64_t ring_id, uint64_t sequence)
{
	struct block_put put = { .dbi = copy->dbi };
	uint64_t big = htobe64(sequence);
	int ret = mdb_txn_begin(copy->env, NULL, 0, &put.txn);

	if (ret != 0)
		return block_file_error(ret);
	ret = block_put(&put, BLOCK_KEY_RING, ring_id, &big, sizeof big);
	if (ret == 0)
		ret = mdb_txn_commit(put.txn);
	else
		mdb_txn_abort(put.txn);
	return block_file_error(ret);
}

int block_copy_sync(struct block_copy *copy)
{
	return block_file_error(mdb_env_sync(copy->env, 1));
}

uint64_t block_copy_count(const struct block_copy *copy)
{
	return copy->count;
}

/* ---- the end ---- */

/* LMDB may leave the file shorter than its pages (see block_store.c); a short file is a damaged one. */
static int lengthen(struct block_copy *copy)
{
	uint64_t len;
	int fd;

	if (block_file_covers_pages(copy->env, &len))
		return 0;
	return mdb_env_get_fd(copy->env, &fd) == 0 && ftruncate(fd, (off_t)len) == 0 ? 0 : -EIO;
}

static int publish(struct block_copy *copy)
{
	char path[sizeof copy->path];

	snprintf(path, sizeof path, "%s/%s", copy->dir, copy->name);
	if (rename(copy->path, path) < 0)
		return -errno;
	return block_file_sync_folder(copy->dir);
}

/* A file goes by its last change too: one that was written anew is no younger for it. */
static int set_written(const struct block_copy *copy, int64_t written_us)
{
	struct timespec at = { .tv_sec = written_us / 1000000, .tv_nsec = written_us % 1000000 * 1000 };
	struct timespec times[2] = { at, at };

	return written_us && utimensat(AT_FDCWD, copy->path, times, 0) < 0 ? -errno : 0;
}

int block_copy_finish(struct block_copy *copy, int64_t written_us)
{
	int ret = flush(copy);

	if (ret == 0)
		ret = lengthen(copy);
	if (ret == 0)
		ret = block_file_error(mdb_env_sync(copy->env, 1));
	mdb_env_close(copy->env);
	copy->env = NULL;
	if (ret == 0)
		ret = set_written(copy, written_us);
	if (ret == 0)
		ret = publish(copy);
	if (ret < 0)
		unlink(copy->path);
	free(copy);
	return ret;
}

void block_copy_abandon(struct block_copy *copy)
{
	if (!copy)
		return;
	if (copy->env)
		mdb_env_close(copy->env);
	unlink(copy->path);
	free(copy);
}

void block_copy_sweep(const char *dir_path)
{
	struct dirent *entry;
	DIR *dir = opendir(dir_path);

	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (fnmatch("*.mdb.new", entry->d_name, 0) == 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}
