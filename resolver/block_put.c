#include "block_put.h"

#include <errno.h>
#include <stdlib.h>

#include "block_group.h"

int block_put(struct block_put *put, enum block_key kind, uint64_t number, const void *data, size_t len)
{
	uint8_t octets[BLOCK_KEY_LEN];
	MDB_val key = block_file_key(octets, kind, number), value = { len, (void *)data };

	put->octets += len;
	return mdb_put(put->txn, put->dbi, &key, &value, 0);
}

/* ---- groups ---- */

/* Where the newest group goes on, if it is not full, or the next begins; *grouped: how many of those from
 * there on have one. */
static int ungrouped_from(MDB_cursor *cursor, uint64_t *id, size_t *grouped)
{
	static const struct block_filter all = { .severity = -1 };
	struct block_group group;
	MDB_val key, value;
	int ret = block_file_seek(cursor, BLOCK_KEY_GROUP, UINT64_MAX, &key, &value);

	*id = *grouped = 0;
	if (ret != 0)
		return ret == MDB_NOTFOUND ? 0 : ret;
	*id = block_file_key_number(&key);
	if (block_group_read(&group, &(struct block_piece){ value.mv_data, value.mv_size }, &all) < 0)
		return 0; /* damaged: made anew */
	*grouped = group.count;
	if (group.count == BLOCK_GROUP_SEGMENTS) {
		*id = group.span[group.count - 1].last_id + 1;
		*grouped = 0;
	}
	return 0;
}

struct summaries {
	struct block_piece piece[BLOCK_GROUP_SEGMENTS];
	size_t count, grouped;
	uint64_t first_id;
};

/* Those of the newest group that is not full, and of the segments behind it. Returns an LMDB result. */
static int ungrouped_summaries(MDB_cursor *cursor, struct summaries *summaries)
{
	MDB_val key, value;
	uint8_t octets[BLOCK_KEY_LEN];
	uint64_t from;

	summaries->count = 0;
	int ret = ungrouped_from(cursor, &from, &summaries->grouped);
	if (ret != 0)
		return ret;
	key = block_file_key(octets, BLOCK_KEY_SUMMARY, from);
	for (ret = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	        ret == 0 && summaries->count < BLOCK_GROUP_SEGMENTS &&
	        block_file_key_is(&key, BLOCK_KEY_SUMMARY);
	        ret = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		if (summaries->count == 0)
			summaries->first_id = block_file_key_number(&key);
		summaries->piece[summaries->count++] = (struct block_piece){ value.mv_data, value.mv_size };
	}
	return ret == MDB_NOTFOUND ? 0 : ret;
}

/* After a full segment: where enough are in no group yet, they become one, or more of one. */
static int group_put_if_due(struct block_put *put)
{
	struct summaries summaries;
	struct block_piece group;
	MDB_cursor *cursor;

	int ret = mdb_cursor_open(put->txn, put->dbi, &cursor);
	if (ret != 0)
		return ret;
	ret = ungrouped_summaries(cursor, &summaries);
	mdb_cursor_close(cursor);
	if (ret != 0 || summaries.count < summaries.grouped + BLOCK_GROUP_STEP)
		return ret;
	int packed = block_group_pack(&group, summaries.piece, summaries.count);
	if (packed < 0)
		return packed == -ENOMEM ? ENOMEM : 0;
	ret = block_put(put, BLOCK_KEY_GROUP, summaries.first_id, group.data, group.len);
	free(group.data);
	return ret;
}

/* ---- segments ---- */

/* Packs before it puts: what it packs may lie in the pages that the put changes. */
int block_put_segment(struct block_put *put, const struct block_item *items, size_t count)
{
	struct block_piece summary, data;
	int ret = block_segment_pack(&summary, &data, items, count);

	if (ret < 0)
		return -ret;
	ret = block_put(put, BLOCK_KEY_DATA, items[0].id, data.data, data.len);
	if (ret == 0)
		ret = block_put(put, BLOCK_KEY_SUMMARY, items[0].id, summary.data, summary.len);
	free(summary.data);
	free(data.data);
	return ret == 0 && count == BLOCK_SEGMENT_EVENTS ? group_put_if_due(put) : ret;
}
