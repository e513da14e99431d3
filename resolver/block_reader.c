#include "block_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAP_MIN ((size_t)1 << 20) /* LMDB takes the file's size if that is more */

struct block_reader {
	MDB_env *env;
	MDB_dbi dbi;
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

void block_reader_close(struct block_reader *reader)
{
	if (!reader)
		return;
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

/* Places the cursor on the segment that after_id lies in, or the one behind it. */
static int cursor_start(MDB_cursor *cursor, uint64_t after_id, MDB_val *key, MDB_val *value)
{
	uint8_t octets[BLOCK_KEY_LEN];

	*key = block_file_key(octets, BLOCK_KEY_SUMMARY, after_id + 1);
	int ret = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
	if (ret == 0)
		ret = mdb_cursor_get(cursor, key, value, MDB_PREV);
	else if (ret == MDB_NOTFOUND)
		ret = mdb_cursor_get(cursor, key, value, MDB_LAST);
	if (ret == MDB_NOTFOUND)
		ret = mdb_cursor_get(cursor, key, value, MDB_FIRST);
	return ret;
}

static int walk(MDB_cursor *cursor, uint64_t after_id,
        int (*found)(void *arg, const struct block_span *span, const struct block_piece *summary), void *arg)
{
	MDB_val key, value;
	int ret = cursor_start(cursor, after_id, &key, &value);

	for (; ret == 0; ret = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		struct block_piece summary = { value.mv_data, value.mv_size };
		struct block_span span;
		if (key.mv_size != BLOCK_KEY_LEN || *(const uint8_t *)key.mv_data != BLOCK_KEY_SUMMARY ||
		        block_segment_span(&span, &summary) < 0 || span.last_id <= after_id)
			continue;
		int stop = found(arg, &span, &summary);
		if (stop != 0)
			return stop;
	}
	return ret == MDB_NOTFOUND ? 0 : block_file_error(ret);
}

int block_reader_summaries(struct block_reader *reader, uint64_t after_id,
        int (*found)(void *arg, const struct block_span *span, const struct block_piece *summary), void *arg)
{
	MDB_txn *txn;
	MDB_cursor *cursor;

	int ret = block_file_read(reader->env, &txn);
	if (ret != 0)
		return block_file_error(ret);
	ret = mdb_cursor_open(txn, reader->dbi, &cursor);
	if (ret == 0) {
		ret = walk(cursor, after_id, found, arg);
		mdb_cursor_close(cursor);
	} else {
		ret = block_file_error(ret);
	}
	mdb_txn_abort(txn);
	return ret;
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
