#include "block_erase.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "block_copy.h"
#include "block_reader.h"
#include "cases.h"
#include "erasure.h"

#define STOP 1
#define STEP_SEGMENTS 32 /* copied in one step */
#define LOOK_AGAIN_S 3600
#define RETRY_S 60

struct block_erase {
	struct block_store *store;
	char *dir;
	struct block_keep *keeps;
	size_t keep_count;
	int64_t looked_s, failed_s; /* uptime; 0: not yet, not */
	/* a pass over all files */
	struct erasure *erasure; /* what it is for; NULL: rows that are too old */
	struct block_file *files;
	size_t file_count, at;
	bool passing, wrote; /* a file anew */
	/* the file at hand */
	struct block_filter filter; /* the rows that go */
	const char *profiles[CONFIG_PROFILES_MAX];
	struct block_copy *copy;
	uint64_t position; /* copied up to this id */
	unsigned step_segments;
	struct block_item items[BLOCK_SEGMENT_EVENTS];
	uint8_t clients[BLOCK_SEGMENT_EVENTS][16];
};

static const struct block_filter all = { .severity = -1 };

static int64_t uptime_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec;
}

/* ---- which rows go ---- */

/* Profiles that are kept shorter than the file, and not any more. */
static bool too_old_rows(struct block_erase *erase, const struct block_file *file, int64_t now_s)
{
	int64_t end_s = block_file_end_s(file, block_file_day(now_s * 1000000));
	size_t count = 0;

	for (size_t i = 0; i < erase->keep_count && count < CONFIG_PROFILES_MAX; i++)
		if (erase->keeps[i].keep_s < file->keep_s && end_s + erase->keeps[i].keep_s <= now_s)
			erase->profiles[count++] = erase->keeps[i].profile;
	erase->filter = all;
	erase->filter.profiles = erase->profiles;
	erase->filter.profile_count = count;
	return count > 0;
}

static bool erased_rows(struct block_erase *erase, const struct block_file *file)
{
	const struct block_filter *filter = &erase->erasure->filter;

	erase->filter = *filter;
	return (!filter->since_us || file->day >= block_file_day(filter->since_us)) &&
	       (!filter->until_us || file->day <= block_file_day(filter->until_us));
}

/* Whether some may go: it is another question whether there are any. */
static bool rows_that_go(struct block_erase *erase, const struct block_file *file, int64_t now_s)
{
	if (file->hold)
		return false;
	if (erase->erasure)
		return erased_rows(erase, file);
	return too_old_rows(erase, file, now_s) && !cases_await(erase->dir, file);
}

/* ---- looking and copying ---- */

struct work {
	struct block_erase *erase;
	struct block_reader *reader;
	int ret;
};

/* Unpacks a segment. Returns the number of its events that pass, or negative errno; the pieces are *summary's
 * to free. */
static int segment_get(struct work *work, const struct block_span *span, const struct block_filter *filter,
        struct block_piece *summary)
{
	struct block_piece data;
	int ret = block_reader_segment(work->reader, span->first_id, summary, &data);

	if (ret < 0) {
		summary->data = NULL;
		return ret;
	}
	return block_segment_unpack(work->erase->items, work->erase->clients, summary, &data, filter);
}

static bool row_goes(const struct block_erase *erase, const struct block_item *item)
{
	return erase->erasure ? erasure_takes(erase->erasure, item) : block_item_passes(item, &erase->filter);
}

static int look_at_segment(void *arg, const struct block_span *span)
{
	struct work *work = arg;
	struct block_piece summary;
	int count = segment_get(work, span, &work->erase->filter, &summary), i = 0;

	while (i < count && !row_goes(work->erase, &work->erase->items[i]))
		i++;
	free(summary.data);
	return i < count ? STOP : count == -ENOMEM ? count : 0;
}

/* One that is damaged cannot be read any more by anybody: it is left behind. */
static int copy_segment(void *arg, const struct block_span *span)
{
	struct work *work = arg;
	struct block_erase *erase = work->erase;
	struct block_piece summary;
	int count = segment_get(work, span, NULL, &summary), ret = 0;

	for (int i = 0; i < count && ret == 0; i++)
		if (erase->items[i].id > erase->position && !row_goes(erase, &erase->items[i]))
			ret = block_copy_add(erase->copy, &erase->items[i]);
	free(summary.data);
	if (count == -ENOMEM)
		return count;
	erase->position = span->last_id;
	return ret < 0 ? ret : ++erase->step_segments == STEP_SEGMENTS ? STOP : 0;
}

static int copy_ring(void *arg, uint64_t ring_id, uint64_t sequence)
{
	return block_copy_ring(arg, ring_id, sequence);
}

/* The copy takes the place of the file; one without rows of a day gone by is not needed. */
static int replace(
        struct block_erase *erase, struct block_file *file, struct block_reader *reader, int64_t now_s)
{
	bool empty = block_copy_count(erase->copy) == 0 && file->day < block_file_day(now_s * 1000000);
	int ret = empty ? 0 : block_reader_rings(reader, copy_ring, erase->copy);

	if (empty || ret < 0)
		block_copy_abandon(erase->copy);
	else
		ret = block_copy_finish(erase->copy, file->written_us);
	erase->copy = NULL;
	if (ret == 0)
		block_store_remove(erase->store, file);
	return ret < 0 ? ret : block_file_sync_folder(erase->dir);
}

static int begin_copy(struct block_erase *erase, const struct block_file *file)
{
	struct block_file next = *file;

	next.revision++;
	block_file_set_name(&next);
	erase->position = 0;
	erase->wrote = true;
	return block_copy_begin(&erase->copy, erase->dir, next.name);
}

/* Returns STOP while the file is not done. */
static int file_step(
        struct block_erase *erase, struct block_file *file, struct block_reader *reader, int64_t now_s)
{
	struct work work = { erase, reader, 0 };

	if (!erase->copy) {
		int ret = block_reader_segments(reader, 0, &erase->filter, look_at_segment, &work);
		if (ret != STOP)
			return ret;
		ret = begin_copy(erase, file);
		return ret < 0 ? ret : STOP;
	}
	erase->step_segments = 0;
	int ret = block_reader_segments(reader, erase->position, &all, copy_segment, &work);
	if (ret == 0)
		return replace(erase, file, reader, now_s);
	int synced = ret == STOP ? block_copy_sync(erase->copy) : 0;
	return synced < 0 ? synced : ret;
}

/* ---- passes ---- */

static void pass_end(struct block_erase *erase)
{
	block_copy_abandon(erase->copy);
	erase->copy = NULL;
	erasure_free(erase->erasure);
	erase->erasure = NULL;
	free(erase->files);
	erase->files = NULL;
	erase->file_count = erase->at = 0;
	erase->passing = false;
}

/* Returns 0 if there is nothing to do. */
static int pass_begin(struct block_erase *erase)
{
	int ret = erasure_read(erase->dir, &erase->erasure);

	if (ret < 0)
		return ret;
	if (!erase->erasure && erase->looked_s && uptime_s() < erase->looked_s + LOOK_AGAIN_S)
		return 0;
	erase->passing = true;
	erase->wrote = false;
	ret = block_file_list_current(erase->dir, &erase->files, &erase->file_count);
	return ret < 0 ? ret : 1;
}

/* What cannot be read may hold rows too. */
static void remove_damaged(struct block_erase *erase)
{
	struct block_file *files;
	size_t count;

	if (block_file_list(erase->dir, &files, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		if (files[i].kind == BLOCK_FILE_DAMAGED && erased_rows(erase, &files[i]))
			block_store_remove(erase->store, &files[i]);
	free(files);
	block_file_forget_rings(erase->dir, INT64_MAX);
}

/* An erasure has ended when a pass finds nothing more: what came in during the one before is gone then too.
 */
static int pass_finish(struct block_erase *erase)
{
	int ret = 0;

	if (erase->erasure && !erase->wrote) {
		remove_damaged(erase);
		ret = erasure_pass_on(erase->dir, "devices");
	} else if (!erase->erasure) {
		erase->looked_s = uptime_s();
	}
	pass_end(erase);
	return ret < 0 ? ret : 1;
}

static int pass_step(struct block_erase *erase, int64_t now_s)
{
	struct block_file *file = &erase->files[erase->at];
	struct block_reader *reader;

	if (erase->at == erase->file_count)
		return pass_finish(erase);
	if (!rows_that_go(erase, file, now_s)) {
		erase->at++;
		return 1;
	}
	int ret = block_store_reader(erase->store, file, &reader);
	if (ret == 0) {
		ret = file_step(erase, file, reader, now_s);
		block_reader_close(reader);
	}
	/* pruned meanwhile, or damaged: moved aside */
	if (ret == -ENOENT || ret == -EBADMSG) {
		block_copy_abandon(erase->copy);
		erase->copy = NULL;
		ret = 0;
	}
	erase->at += ret == 0;
	return ret < 0 ? ret : 1;
}

int block_erase_step(struct block_erase *erase, int64_t now_s)
{
	if (erase->failed_s && uptime_s() < erase->failed_s + RETRY_S)
		return 0;
	erase->failed_s = 0;
	int ret = erase->passing ? pass_step(erase, now_s) : pass_begin(erase);
	if (ret < 0) {
		pass_end(erase);
		erase->failed_s = uptime_s();
	}
	return ret;
}

/* ---- */

static void keeps_free(struct block_keep *keeps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((char *)keeps[i].profile);
	free(keeps);
}

int block_erase_set_keeps(struct block_erase *erase, const struct block_keep *keeps, size_t count)
{
	struct block_keep *copy = calloc(count + 1, sizeof *copy);

	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		copy[i] = (struct block_keep){ strdup(keeps[i].profile), keeps[i].keep_s };
		if (!copy[i].profile) {
			keeps_free(copy, i);
			return -ENOMEM;
		}
	}
	if (erase->passing && !erase->erasure)
		pass_end(erase);
	keeps_free(erase->keeps, erase->keep_count);
	erase->keeps = copy;
	erase->keep_count = count;
	erase->looked_s = 0;
	return 0;
}

struct block_erase *block_erase_new(struct block_store *store, const char *dir)
{
	struct block_erase *erase = calloc(1, sizeof *erase);

	if (!erase)
		return NULL;
	erase->store = store;
	erase->dir = strdup(dir);
	if (!erase->dir) {
		free(erase);
		return NULL;
	}
	block_copy_sweep(dir);
	return erase;
}

void block_erase_free(struct block_erase *erase)
{
	if (!erase)
		return;
	pass_end(erase);
	keeps_free(erase->keeps, erase->keep_count);
	free(erase->dir);
	free(erase);
}
