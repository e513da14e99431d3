#include "block_reader.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block_group.h"

#define MAP_MIN ((size_t)1 << 20) /* LMDB takes the file's size if that is more */

struct block_reader {
	MDB_env *env;
	MDB_dbi dbi;
	bool borrowed; /* env is somebody else's */
};

int block_reader_open(struct block_reader **out, const char *dir, const char *name)
{
	struct block_reader *reader = calloc(1, sizeof *reader);

	*out = NULL;
	if (!reader)
		return -ENOMEM;
	int ret = block_file_open(&reader->env, &reader->dbi, dir, name, MDB_RDONLY, MAP_MIN);
	if (ret != 0) {
		free(reader);
		return block_file_error(ret);
	}
	*out = reader;
	return 0;
}

int block_reader_of(struct block_reader **out, MDB_env *env, MDB_dbi dbi)
{
	struct block_reader *reader = calloc(1, sizeof *reader);

	*out = reader;
	if (!reader)
		return -ENOMEM;
	*reader = (struct block_reader){ env, dbi, true };
	return 0;
}

void block_reader_close(struct block_reader *reader)
{
	if (!reader)
		return;
	if (!reader->borrowed)
		mdb_env_close(reader->env);
	free(reader);
}

uint64_t block_reader_last_id(struct block_reader *reader)
{
	MDB_txn *txn;
	MDB_val key, summary;
	struct block_span span = { 0 };

	if (block_file_read(reader->env, &txn) != 0)
		return 0;
	if (block_file_newest(txn, reader->dbi, &key, &summary) != 0 ||
	        block_segment_span(&span, &(struct block_piece){ summary.mv_data, summary.mv_size }) < 0)
		span.last_id = 0;
	mdb_txn_abort(txn);
	return span.last_id;
}

/* What is looked for, and whom to tell. */
struct walk {
	uint64_t after_id;
	const struct block_filter *filter;
	int (*found)(void *arg, const struct block_span *span);
	void *arg;
	int stop; /* what found() returned */
};

static int tell(struct walk *walk, const struct block_span *span)
{
	if (span->last_id > walk->after_id)
		walk->stop = walk->found(walk->arg, span);
	return walk->stop;
}

/* One by one, by their summaries: the segments in [from_id, to_id). Returns an LMDB result. */
static int walk_segments(struct walk *walk, MDB_cursor *cursor, uint64_t from_id, uint64_t to_id)
{
	MDB_val key, value;
	struct block_span span;
	int ret = block_file_seek(cursor, BLOCK_KEY_SUMMARY, from_id, &key, &value);

	for (; ret == 0 && block_file_key_is(&key, BLOCK_KEY_SUMMARY) && block_file_key_number(&key) < to_id;
	        ret = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		struct block_piece summary = { value.mv_data, value.mv_size };
		if (block_segment_span(&span, &summary) < 0 || span.last_id < from_id ||
		        !block_segment_may_pass(&summary, walk->filter))
			continue;
		if (tell(walk, &span) != 0)
			return 0;
	}
	return ret;
}

/* The segments of a group that its directory names. */
static void walk_group(struct walk *walk, const struct block_group *group)
{
	for (uint32_t i = 0; i < group->count; i++)
		if (group->may_pass >> i & 1 && tell(walk, &group->span[i]) != 0)
			return;
}

/*
 * Groups first; what lies between them (a damaged one) and behind the last is gone through one by one.
 * Returns an LMDB result.
 */
static int walk_groups(struct walk *walk, MDB_cursor *groups, MDB_cursor *segments)
{
	MDB_val key, value;
	struct block_group group;
	uint64_t next_id = walk->after_id;
	int ret = block_file_seek(groups, BLOCK_KEY_GROUP, walk->after_id, &key, &value);

	for (; ret == 0 && block_file_key_is(&key, BLOCK_KEY_GROUP);
	        ret = mdb_cursor_get(groups, &key, &value, MDB_NEXT)) {
		if (block_group_read(
		            &group, &(struct block_piece){ value.mv_data, value.mv_size }, walk->filter) < 0)
			continue;
		int between = next_id < group.span[0].first_id
		                      ? walk_segments(walk, segments, next_id, group.span[0].first_id)
		                      : 0;
		if (between != 0 && between != MDB_NOTFOUND)
			return between;
		if (walk->stop == 0)
			walk_group(walk, &group);
		if (walk->stop != 0)
			return 0;
		next_id = group.span[group.count - 1].last_id + 1;
	}
	return ret == 0 || ret == MDB_NOTFOUND ? walk_segments(walk, segments, next_id, UINT64_MAX) : ret;
}

static int walk_with_cursors(struct walk *walk, MDB_txn *txn, MDB_dbi dbi)
{
	MDB_cursor *groups = NULL, *segments = NULL;
	int ret = mdb_cursor_open(txn, dbi, &groups);

	if (ret == 0)
		ret = mdb_cursor_open(txn, dbi, &segments);
	if (ret == 0)
		ret = walk_groups(walk, groups, segments);
	if (groups)
		mdb_cursor_close(groups);
	if (segments)
		mdb_cursor_close(segments);
	return ret;
}

int block_reader_segments(struct block_reader *reader, uint64_t after_id, const struct block_filter *filter,
        int (*found)(void *arg, const struct block_span *span), void *arg)
{
	struct walk walk = { after_id, filter, found, arg, 0 };
	MDB_txn *txn;

	int ret = block_file_read(reader->env, &txn);
	if (ret != 0)
		return block_file_error(ret);
	ret = walk_with_cursors(&walk, txn, reader->dbi);
	mdb_txn_abort(txn);
	if (walk.stop != 0)
		return walk.stop;
	return ret == MDB_NOTFOUND ? 0 : block_file_error(ret);
}

static int rings_found(MDB_cursor *cursor, int (*found)(void *arg, uint64_t ring_id, uint64_t sequence),
        void *arg, int *stop)
{
	MDB_val key, value;
	uint8_t octets[BLOCK_KEY_LEN];

	key = block_file_key(octets, BLOCK_KEY_RING, 0);
	int ret = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	for (; ret == 0 && block_file_key_is(&key, BLOCK_KEY_RING);
	        ret = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		uint64_t big = 0;
		if (value.mv_size == sizeof big)
			memcpy(&big, value.mv_data, sizeof big);
		*stop = found(arg, block_file_key_number(&key), be64toh(big));
		if (*stop != 0)
			return 0;
	}
	return ret == MDB_NOTFOUND ? 0 : ret;
}

int block_reader_rings(
        struct block_reader *reader, int (*found)(void *arg, uint64_t ring_id, uint64_t sequence), void *arg)
{
	MDB_txn *txn;
	MDB_cursor *cursor;
	int stop = 0, ret = block_file_read(reader->env, &txn);

	if (ret != 0)
		return block_file_error(ret);
	ret = mdb_cursor_open(txn, reader->dbi, &cursor);
	if (ret == 0) {
		ret = rings_found(cursor, found, arg, &stop);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return stop != 0 ? stop : block_file_error(ret);
}

static int get(
        struct block_reader *reader, MDB_txn *txn, enum block_key kind, uint64_t first_id, MDB_val *value)
{
	uint8_t octets[BLOCK_KEY_LEN];
	MDB_val key = block_file_key(octets, kind, first_id);

	return mdb_get(txn, reader->dbi, &key, value);
}

int block_reader_segment(
        struct block_reader *reader, uint64_t first_id, struct block_piece *summary, struct block_piece *data)
{
	MDB_txn *txn;
	MDB_val head, body;

	int ret = block_file_read(reader->env, &txn);
	if (ret != 0)
		return block_file_error(ret);
	ret = get(reader, txn, BLOCK_KEY_SUMMARY, first_id, &head);
	if (ret == 0)
		ret = get(reader, txn, BLOCK_KEY_DATA, first_id, &body);
	uint8_t *copy = ret == 0 ? malloc(head.mv_size + body.mv_size + 1) : NULL;
	if (copy) {
		*summary = (struct block_piece){ copy, head.mv_size };
		*data = (struct block_piece){ copy + head.mv_size, body.mv_size };
		memcpy(copy, head.mv_data, head.mv_size);
		memcpy(copy + head.mv_size, body.mv_data, body.mv_size);
	}
	mdb_txn_abort(txn);
	if (ret != 0)
		return ret == MDB_NOTFOUND ? -ENOENT : block_file_error(ret);
	return copy ? 0 : -ENOMEM;
}
