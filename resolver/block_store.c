/*
 * Every commit is synced, so that a power loss costs what is not committed yet. The newest segment is not
 * full in most commits: it is unpacked, lengthened and packed again, which costs a fraction of the sync and
 * keeps the number of segments small (five a second otherwise, with a dictionary each).
 */
#include "block_store.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "block_file.h"
#include "block_copy.h"
#include "block_put.h"
#include "block_segment.h"
#include "cases.h"
#include "page_guard.h"

#define OPEN_MAX 8
#define MAP_MIN ((size_t)16 << 20)
#define DAMAGED_MAX 1000 /* of a day and class */

struct open_file {
	MDB_env *env; /* NULL: free */
	MDB_dbi dbi;
	int64_t day;
	uint32_t keep_s, revision;
	uint64_t used; /* when, in appends */
	char name[BLOCK_FILE_NAME_MAX];
};

struct block_store {
	char *dir;
	unsigned ring_count;
	uint64_t *ring_ids;
	uint64_t *committed; /* a ring's newest sequence number in the file at hand */
	uint64_t next_id, appends, grown;
	int64_t written_s; /* last change of any file when the store was opened */
	bool over_size;
	struct open_file open[OPEN_MAX];
	char why[BLOCK_STORE_WHY_MAX];
	struct block_item segment[BLOCK_SEGMENT_EVENTS];
	uint8_t clients[BLOCK_SEGMENT_EVENTS][16];
};

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* ---- open files ---- */

static void file_close(struct open_file *file)
{
	if (file->env)
		mdb_env_close(file->env);
	file->env = NULL;
}

static void file_path(const struct block_store *store, const char *name, char path[4096])
{
	snprintf(path, 4096, "%s/%s", store->dir, name);
}

/* A name that no earlier one has; at last the last one's. */
static void damaged_path(const struct block_store *store, const struct open_file *file, char path[4096])
{
	char name[BLOCK_FILE_NAME_MAX + 8], numbered[BLOCK_FILE_NAME_MAX + 24];

	snprintf(name, sizeof name, "%s.damaged", file->name);
	file_path(store, name, path);
	for (unsigned i = 1; i < DAMAGED_MAX && access(path, F_OK) == 0; i++) {
		snprintf(numbered, sizeof numbered, "%s.%u", name, i);
		file_path(store, numbered, path);
	}
}

/* Out of the way with its lock, for somebody to look at, until its keep is over. */
static void file_move_aside(const struct block_store *store, const struct open_file *file)
{
	char name[BLOCK_FILE_NAME_MAX + 8], from[4096], to[4096];

	file_path(store, file->name, from);
	damaged_path(store, file, to);
	rename(from, to);
	snprintf(name, sizeof name, "%s-lock", file->name);
	file_path(store, name, from);
	unlink(from);
}

/* A file that failed is opened anew the next time: after an error in a commit LMDB wants that. */
static int file_failed(struct block_store *store, struct open_file *file, int ret)
{
	int error = block_file_error(ret);

	file_close(file);
	if (error == -EBADMSG)
		file_move_aside(store, file);
	snprintf(store->why, sizeof store->why, "%s: %s", file->name,
	        error == -EBADMSG ? "damaged, moved aside" : mdb_strerror(ret));
	return error;
}

static struct open_file *file_slot(struct block_store *store, int64_t day, uint32_t keep_s)
{
	struct open_file *slot = &store->open[0];

	for (unsigned i = 0; i < OPEN_MAX; i++) {
		struct open_file *file = &store->open[i];
		if (file->env && file->day == day && file->keep_s == keep_s)
			return file;
		if (slot->env && (!file->env || file->used < slot->used))
			slot = file;
	}
	file_close(slot);
	struct block_file named = { .day = day, .keep_s = keep_s };
	named.revision = slot->revision = block_file_revision(store->dir, day, keep_s);
	block_file_set_name(&named);
	slot->day = day;
	slot->keep_s = keep_s;
	strcpy(slot->name, named.name);
	return slot;
}

static size_t map_size(const char *path)
{
	struct stat st;
	size_t size = MAP_MIN;

	if (stat(path, &st) == 0)
		while (size < 2 * (size_t)st.st_size)
			size *= 2;
	return size;
}

static int file_get(struct block_store *store, int64_t day, uint32_t keep_s, struct open_file **out)
{
	struct open_file *file = file_slot(store, day, keep_s);
	char path[4096];

	*out = file;
	file->used = ++store->appends;
	if (file->env)
		return 0;
	file_path(store, file->name, path);
	mkdir(store->dir, 0700); /* the disk may have been read-only before */
	int ret = block_file_open(&file->env, &file->dbi, store->dir, file->name, 0, map_size(path));
	return ret == 0 ? 0 : file_failed(store, file, ret);
}

static int file_grow(struct open_file *file)
{
	MDB_envinfo info;

	mdb_env_info(file->env, &info);
	return mdb_env_set_mapsize(file->env, 2 * info.me_mapsize);
}

/* ---- opening ---- */

static uint64_t ring_committed(MDB_txn *txn, MDB_dbi dbi, uint64_t ring_id)
{
	uint8_t octets[BLOCK_KEY_LEN];
	MDB_val key = block_file_key(octets, BLOCK_KEY_RING, ring_id), value;
	uint64_t big = 0;

	if (mdb_get(txn, dbi, &key, &value) == 0 && value.mv_size == sizeof big)
		memcpy(&big, value.mv_data, sizeof big);
	return be64toh(big);
}

/* What one file says of ids and sequence numbers. One that cannot be read says nothing. */
static void survey_file(struct block_store *store, const char *name, uint64_t *sequences)
{
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn;
	MDB_val key, value;
	struct block_span span;

	/* for writing: that mends what a power loss left shorter than its pages */
	if (block_file_open(&env, &dbi, store->dir, name, MDB_RDONLY, MAP_MIN) != 0 &&
	        block_file_open(&env, &dbi, store->dir, name, 0, MAP_MIN) != 0)
		return;
	if (block_file_read(env, &txn) == 0) {
		for (unsigned i = 0; i < store->ring_count; i++) {
			uint64_t sequence = ring_committed(txn, dbi, store->ring_ids[i]);
			sequences[i] = sequence > sequences[i] ? sequence : sequences[i];
		}
		if (block_file_newest(txn, dbi, &key, &value) == 0 &&
		        block_segment_span(&span, &(struct block_piece){ value.mv_data, value.mv_size }) ==
		                0 &&
		        span.last_id >= store->next_id)
			store->next_id = span.last_id + 1;
		mdb_txn_abort(txn);
	}
	mdb_env_close(env);
}

static int survey(struct block_store *store, uint64_t *sequences)
{
	struct block_file *files;
	size_t count;

	memset(sequences, 0, store->ring_count * sizeof *sequences);
	store->next_id = 1;
	int ret = block_file_list(store->dir, &files, &count);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	for (size_t i = 0; i < count; i++)
		if (files[i].kind == BLOCK_FILE_STORE) {
			int64_t written_s = files[i].written_us / 1000000;
			store->written_s = written_s > store->written_s ? written_s : store->written_s;
			survey_file(store, files[i].name, sequences);
		}
	free(files);
	return 0;
}

int block_store_open(struct block_store **out, const char *dir, const uint64_t *ring_ids, uint64_t *sequences,
        unsigned ring_count)
{
	*out = NULL;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST && errno != EROFS)
		return -errno;
	struct block_store *store = calloc(1, sizeof *store);
	if (!store)
		return -ENOMEM;
	store->dir = strdup(dir);
	store->ring_ids = calloc(ring_count + 1, sizeof *store->ring_ids);
	store->committed = calloc(ring_count + 1, sizeof *store->committed);
	int ret = store->dir && store->ring_ids && store->committed ? 0 : -ENOMEM;
	if (ret == 0) {
		store->ring_count = ring_count;
		memcpy(store->ring_ids, ring_ids, ring_count * sizeof *ring_ids);
		ret = survey(store, sequences);
	}
	if (ret < 0) {
		block_store_close(store);
		return ret;
	}
	*out = store;
	return 0;
}

void block_store_close(struct block_store *store)
{
	if (!store)
		return;
	for (unsigned i = 0; i < OPEN_MAX; i++)
		file_close(&store->open[i]);
	free(store->dir);
	free(store->ring_ids);
	free(store->committed);
	free(store);
}

/* ---- appending ---- */

/* One transaction on its way. */
struct append {
	struct block_put put;
	uint64_t id;          /* of the next event */
	size_t segment_count; /* items in store->segment */
};

/* Takes the newest segment back if it is not full. A damaged one is left alone: the next begins a new one. */
static int segment_resume(struct block_store *store, struct append *append)
{
	uint8_t octets[BLOCK_KEY_LEN];
	MDB_val key, summary, data;
	struct block_span span;

	append->segment_count = 0;
	int ret = block_file_newest(append->put.txn, append->put.dbi, &key, &summary);
	if (ret != 0)
		return ret == MDB_NOTFOUND ? 0 : ret;
	struct block_piece head = { summary.mv_data, summary.mv_size };
	if (block_segment_span(&span, &head) < 0 || span.count == BLOCK_SEGMENT_EVENTS)
		return 0;
	key = block_file_key(octets, BLOCK_KEY_DATA, span.first_id);
	ret = mdb_get(append->put.txn, append->put.dbi, &key, &data);
	if (ret != 0)
		return ret == MDB_NOTFOUND ? 0 : ret;
	int count = block_segment_unpack(store->segment, store->clients, &head,
	        &(struct block_piece){ data.mv_data, data.mv_size }, NULL);
	append->segment_count = count > 0 ? (size_t)count : 0;
	return 0;
}

static int segment_put(struct block_store *store, struct append *append)
{
	size_t count = append->segment_count;

	append->segment_count = 0;
	return count > 0 ? block_put_segment(&append->put, store->segment, count) : 0;
}

static int put_items(
        struct block_store *store, struct append *append, const struct block_item *items, size_t count)
{
	int ret = segment_resume(store, append);

	for (size_t i = 0; i < count && ret == 0; i++) {
		const struct block_item *item = &items[i];
		if (item->sequence <= store->committed[item->ring])
			continue;
		store->segment[append->segment_count] = *item;
		store->segment[append->segment_count++].id = append->id++;
		if (append->segment_count == BLOCK_SEGMENT_EVENTS)
			ret = segment_put(store, append);
	}
	return ret == 0 ? segment_put(store, append) : ret;
}

/* Items are in order of time, not of their rings: the highest number of each ring is noted after all are put.
 */
static int put_sequences(
        struct block_store *store, struct append *append, const struct block_item *items, size_t count)
{
	int ret = 0;

	for (size_t i = 0; i < count; i++)
		if (items[i].sequence > store->committed[items[i].ring])
			store->committed[items[i].ring] = items[i].sequence;
	for (unsigned i = 0; i < store->ring_count && ret == 0; i++) {
		uint64_t big = htobe64(store->committed[i]);
		if (big)
			ret = block_put(&append->put, BLOCK_KEY_RING, store->ring_ids[i], &big, sizeof big);
	}
	return ret;
}

static bool all_committed(const struct block_store *store, const struct block_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].sequence > store->committed[items[i].ring])
			return false;
	return true;
}

/*
 * LMDB does not write a page that it took at the end and gave up in the same transaction, and the file may
 * stay shorter than it says. Then it is lengthened: a short file is a damaged one when it is opened.
 */
static void file_lengthen(struct open_file *file)
{
	uint64_t len;
	int fd;

	if (!block_file_covers_pages(file->env, &len) && mdb_env_get_fd(file->env, &fd) == 0 &&
	        ftruncate(fd, (off_t)len) < 0)
		return; /* the next commit tries again */
}

/* Returns an LMDB result. */
static int append_once(
        struct block_store *store, struct open_file *file, const struct block_item *items, size_t count)
{
	struct append append = { .put = { .dbi = file->dbi } };
	uint64_t now = (uint64_t)now_us(), replaced = page_guard_count();
	int dead;

	/* The pages that a reader held when it was killed are not used again before it is forgotten. */
	mdb_reader_check(file->env, &dead);
	int ret = mdb_txn_begin(file->env, NULL, 0, &append.put.txn);
	if (ret == 0 && page_guard_count() != replaced) {
		/* the disk does not take the lock's page: readers would not see this writer */
		mdb_txn_abort(append.put.txn);
		ret = EIO;
	}
	if (ret != 0)
		return ret;
	append.id = now > store->next_id ? now : store->next_id;
	for (unsigned i = 0; i < store->ring_count; i++)
		store->committed[i] = ring_committed(append.put.txn, append.put.dbi, store->ring_ids[i]);
	if (all_committed(store, items, count)) {
		mdb_txn_abort(append.put.txn);
		return 0;
	}
	ret = put_items(store, &append, items, count);
	if (ret == 0)
		ret = put_sequences(store, &append, items, count);
	if (ret != 0) {
		mdb_txn_abort(append.put.txn);
		return ret;
	}
	ret = mdb_txn_commit(append.put.txn);
	if (ret == 0) {
		file_lengthen(file);
		store->next_id = append.id;
		store->grown += append.put.octets;
	}
	return ret;
}

int block_store_append(struct block_store *store, const struct block_item *items, size_t count)
{
	struct open_file *file;

	if (store->over_size) {
		snprintf(store->why, sizeof store->why, "today's events alone have reached log.max-size");
		return -EDQUOT;
	}
	int ret = file_get(store, block_file_day(items[0].time_us), items[0].keep_s, &file);
	if (ret < 0)
		return ret;
	ret = append_once(store, file, items, count);
	while (ret == MDB_MAP_FULL) {
		ret = file_grow(file);
		if (ret == 0)
			ret = append_once(store, file, items, count);
	}
	return ret == 0 ? 0 : file_failed(store, file, ret);
}

/* ---- pruning ---- */

/* Closed first even where only the lock file goes: with another lock file, readers would not see the writer.
 */
static void file_remove(struct block_store *store, const struct block_file *file)
{
	char path[4096];

	for (unsigned i = 0; i < OPEN_MAX; i++)
		if (store->open[i].day == file->day && store->open[i].keep_s == file->keep_s &&
		        store->open[i].revision == file->revision)
			file_close(&store->open[i]);
	file_path(store, file->name, path);
	unlink(path);
}

/* A store stands right before its lock in a list, and a lock without its store is nothing. */
static bool has_lock(const struct block_file *store, const struct block_file *lock)
{
	return store->kind == BLOCK_FILE_STORE && store->day == lock->day && store->keep_s == lock->keep_s &&
	       store->revision == lock->revision && store->hold == lock->hold;
}

/* What is held for a case stays; what was written anew without some rows goes. */
static bool is_kept(const char *dir, const struct block_file *file, const struct block_file *files,
        size_t count, int64_t now_s)
{
	int64_t today = block_file_day(now_s * 1000000);

	if (file->hold)
		return true;
	if (!block_file_is_current(file, files, count))
		return false;
	return block_file_end_s(file, today) + file->keep_s > now_s || cases_await(dir, file);
}

int block_store_prune(struct block_store *store, int64_t now_s, uint64_t max_size)
{
	struct block_file *files;
	size_t count;
	uint64_t total = 0;
	int64_t today = block_file_day(now_s * 1000000);

	int ret = block_file_list(store->dir, &files, &count);
	if (ret < 0) {
		snprintf(store->why, sizeof store->why, "%s: %s", store->dir, strerror(-ret));
		return ret;
	}
	size_t left = 0;
	for (size_t i = 0; i < count; i++) {
		bool keep = files[i].kind == BLOCK_FILE_LOCK
		                    ? left > 0 && has_lock(&files[left - 1], &files[i])
		                    : is_kept(store->dir, &files[i], files, count, now_s);
		if (!keep) {
			file_remove(store, &files[i]);
			continue;
		}
		total += files[i].size;
		files[left++] = files[i];
	}
	while (total > max_size && left > 0 && files[--left].day < today)
		if (!files[left].hold) {
			total -= files[left].size;
			file_remove(store, &files[left]);
		}
	free(files);
	block_file_forget_rings(store->dir, now_s - BLOCK_DAMAGED_RING_KEEP_S);
	store->over_size = total > max_size;
	store->grown = 0;
	return 0;
}

int block_store_reader(struct block_store *store, const struct block_file *file, struct block_reader **reader)
{
	struct open_file *open;
	int ret = file_get(store, file->day, file->keep_s, &open);

	if (ret < 0)
		return ret;
	return open->revision == file->revision ? block_reader_of(reader, open->env, open->dbi) : -ENOENT;
}

void block_store_remove(struct block_store *store, const struct block_file *file)
{
	struct block_file lock = *file;

	file_remove(store, file);
	lock.kind = BLOCK_FILE_LOCK;
	block_file_set_name(&lock);
	if (file->kind == BLOCK_FILE_STORE)
		file_remove(store, &lock);
}

int64_t block_store_written_s(const struct block_store *store)
{
	return store->written_s;
}

uint64_t block_store_grown(const struct block_store *store)
{
	return store->grown;
}

const char *block_store_why(const struct block_store *store)
{
	return store->why;
}
