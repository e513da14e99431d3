/*
 * A scan looks at the summaries of all segments of a day (of all files at once in order of ids), keeps those
 * that may hold what is asked, and merges them: they overlap where workers, retention classes or a jumping
 * clock mixed the times. Only those segments are unpacked at a time that hold the next event; a day of a
 * million events costs a few of them.
 *
 * A key puts both orders into one: the time newest first, the id (negative) oldest first; the merge goes from
 * the highest key to the lowest.
 */
#include "block_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block_file.h"
#include "block_reader.h"
#include "block_segment.h"
#include "erasure.h"
#include "log.h"

/* Files whose last commit is so much older than both the position and now hold nothing newer. See
 * skip_settled(). */
#define STOP 1 /* enough was found in a file */
#define SETTLED_US (INT64_C(48) * 3600 * 1000000)

struct segment {
	struct block_reader *reader;
	struct block_span span;
	int64_t key; /* no event of it has a higher one */
	/* once unpacked: */
	struct block_piece summary, data; /* one malloc(), the summary's */
	struct block_item *items;
	uint8_t (*clients)[16];
	struct block_item **order; /* the events that pass, highest key first */
	size_t count, next;
};

struct scan {
	const char *dir;
	const struct block_filter *filter;
	bool (*found)(void *arg, const struct block_item *item);
	void *arg;
	bool any_order, sorts;
	const struct erasure *erasure; /* rows that are being erased are gone already; NULL: none */
	uint64_t given_id; /* the event given last: one that is held for a case stands there twice */
	uint64_t last_id;  /* order of ids: what came later is left for the next scan */
	int64_t found_count;
	bool ended;

	bool open_filter;            /* all events pass, but for their ids */
	struct block_reader *reader; /* the one whose segments are being collected */
	uint64_t file_events;        /* of it, so far */
	struct segment *segments;    /* highest key first */
	size_t segment_count, segment_room;
	size_t first, opened; /* [first, opened) are unpacked and not used up */
};

static bool by_id(const struct scan *scan)
{
	return scan->filter->after_id != 0;
}

static int64_t item_key(const struct scan *scan, const struct block_item *item)
{
	return by_id(scan) ? -(int64_t)item->id : item->time_us;
}

/* ---- collecting segments ---- */

static bool span_may_pass(const struct scan *scan, const struct block_span *span)
{
	const struct block_filter *filter = scan->filter;

	if ((filter->since_us && span->last_us < filter->since_us) ||
	        (filter->until_us && span->first_us >= filter->until_us))
		return false;
	return !by_id(scan) || span->first_id <= scan->last_id;
}

/* In order of ids, a file's first events are enough if all of them pass. */
static bool file_has_enough(const struct scan *scan)
{
	return by_id(scan) && scan->filter->limit && scan->open_filter &&
	       scan->file_events > scan->filter->limit;
}

static int segment_found(void *arg, const struct block_span *span)
{
	struct scan *scan = arg;

	if (!span_may_pass(scan, span))
		return 0;
	if (file_has_enough(scan))
		return STOP;
	/* of the first, any number may be older than what is asked for */
	scan->file_events += span->first_id > scan->filter->after_id ? span->count : 0;
	if (scan->segment_count == scan->segment_room) {
		size_t room = 2 * scan->segment_room + 64;
		struct segment *more = realloc(scan->segments, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		scan->segments = more;
		scan->segment_room = room;
	}
	struct segment *segment = &scan->segments[scan->segment_count++];
	*segment = (struct segment){ .reader = scan->reader, .span = *span };
	segment->key = by_id(scan) ? -(int64_t)span->first_id : span->last_us;
	return 0;
}

static int segment_order(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? 1 : -1;
	return x->span.first_id < y->span.first_id ? 1 : x->span.first_id > y->span.first_id ? -1 : 0;
}

static void segment_clear(struct segment *segment)
{
	free(segment->summary.data);
	free(segment->items);
	free(segment->clients);
	free(segment->order);
	*segment = (struct segment){ .key = segment->key };
}

/* ---- merging ---- */

static int item_order(const struct scan *scan, const struct block_item *x, const struct block_item *y)
{
	int64_t x_key = item_key(scan, x), y_key = item_key(scan, y);

	if (x_key != y_key)
		return x_key < y_key ? 1 : -1;
	return x->id < y->id ? 1 : x->id > y->id ? -1 : 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct block_item *x = *(struct block_item *const *)a, *y = *(struct block_item *const *)b;

	if (x->time_us != y->time_us)
		return x->time_us < y->time_us ? 1 : -1;
	return x->id < y->id ? 1 : x->id > y->id ? -1 : 0;
}

/* What a segment had when its summary was read is what counts: a writer may have lengthened it since. */
static bool item_counts(const struct scan *scan, const struct segment *segment, const struct block_item *item)
{
	if (item->id > segment->span.last_id)
		return false;
	if (by_id(scan) && (item->id <= scan->filter->after_id || item->id > scan->last_id))
		return false;
	return !scan->erasure || !erasure_takes(scan->erasure, item);
}

/* Unpacks a segment and orders those of its events that pass. A damaged one is passed over, and said (a
 * follow, which comes back five times a second, does not say it). */
static int segment_open(const struct scan *scan, struct segment *segment)
{
	int ret = block_reader_segment(
	        segment->reader, segment->span.first_id, &segment->summary, &segment->data);
	if ((ret == -EBADMSG || ret == -ENOENT) && !by_id(scan))
		log_warn("log: a segment of %u events in %s cannot be found, passed over",
		        segment->span.count, scan->dir);
	if (ret < 0)
		return ret == -EBADMSG || ret == -ENOENT ? 0 : ret;
	segment->items = malloc(BLOCK_SEGMENT_EVENTS * sizeof *segment->items);
	segment->clients = malloc(BLOCK_SEGMENT_EVENTS * sizeof *segment->clients);
	segment->order = malloc(BLOCK_SEGMENT_EVENTS * sizeof *segment->order);
	if (!segment->items || !segment->clients || !segment->order)
		return -ENOMEM;
	int count = block_segment_unpack(
	        segment->items, segment->clients, &segment->summary, &segment->data, scan->filter);
	if (count == -EBADMSG && !by_id(scan))
		log_warn("log: a segment of %u events in %s is damaged, passed over", segment->span.count,
		        scan->dir);
	if (count < 0)
		return count == -EBADMSG ? 0 : count;
	for (int i = 0; i < count; i++)
		if (item_counts(scan, segment, &segment->items[i]))
			segment->order[segment->count++] = &segment->items[i];
	if (!by_id(scan) && scan->sorts)
		qsort(segment->order, segment->count, sizeof *segment->order, newest_first);
	return 0;
}

/* The unpacked segment that has the next event, or NULL. Those that are used up at the front are dropped. */
static struct segment *segment_next(struct scan *scan)
{
	struct segment *best = NULL;

	while (scan->first < scan->opened &&
	        scan->segments[scan->first].next == scan->segments[scan->first].count)
		segment_clear(&scan->segments[scan->first++]);
	for (size_t i = scan->first; i < scan->opened; i++) {
		struct segment *segment = &scan->segments[i];
		if (segment->next < segment->count &&
		        (!best ||
		                item_order(scan, segment->order[segment->next], best->order[best->next]) < 0))
			best = segment;
	}
	return best;
}

static void give(struct scan *scan, const struct block_item *item)
{
	if (item->id == scan->given_id)
		return;
	scan->given_id = item->id;
	scan->found_count++;
	scan->ended = !scan->found(scan->arg, item) ||
	              (scan->filter->limit && (uint64_t)scan->found_count >= scan->filter->limit);
}

static int merge(struct scan *scan)
{
	if (scan->segment_count == 0)
		return 0;
	qsort(scan->segments, scan->segment_count, sizeof *scan->segments, segment_order);
	scan->first = scan->opened = 0;
	while (!scan->ended) {
		struct segment *best = segment_next(scan);
		if (scan->opened < scan->segment_count &&
		        (!best || scan->segments[scan->opened].key >=
		                          item_key(scan, best->order[best->next]))) {
			int ret = segment_open(scan, &scan->segments[scan->opened++]);
			if (ret < 0)
				return ret;
			continue;
		}
		if (!best)
			return 0;
		give(scan, best->order[best->next++]);
	}
	return 0;
}

/* Segment by segment, as they come. */
static int give_all(struct scan *scan)
{
	for (size_t i = 0; i < scan->segment_count && !scan->ended; i++) {
		struct segment *segment = &scan->segments[i];
		int ret = segment_open(scan, segment);
		if (ret < 0)
			return ret;
		while (segment->next < segment->count && !scan->ended)
			give(scan, segment->order[segment->next++]);
		segment_clear(segment);
	}
	return 0;
}

/* ---- files ---- */

/* One that was just written anew has another name since the folder was read. */
static int open_file(const struct scan *scan, struct block_reader **reader, const struct block_file *file)
{
	struct block_file next = *file;
	int ret = block_reader_open(reader, scan->dir, file->name);

	if (ret != -ENOENT || file->hold)
		return ret;
	next.revision = block_file_revision(scan->dir, file->day, file->keep_s);
	block_file_set_name(&next);
	return next.revision > file->revision ? block_reader_open(reader, scan->dir, next.name) : ret;
}

/* Opens the files, which stay open while their segments are merged, and collects. One that cannot be read is
 * said and passed over. */
static int collect(
        struct scan *scan, const struct block_file *files, size_t count, struct block_reader **readers)
{
	int ret = 0;

	for (size_t i = 0; i < count && ret == 0; i++) {
		ret = open_file(scan, &readers[i], &files[i]);
		scan->reader = readers[i];
		scan->file_events = 0;
		if (ret == 0)
			ret = block_reader_segments(
			        readers[i], scan->filter->after_id, scan->filter, segment_found, scan);
		if (ret == STOP)
			ret = 0;
		if (ret == -EBADMSG && !by_id(scan))
			log_warn("log: %s/%s is damaged, passed over", scan->dir, files[i].name);
		if (ret == -EBADMSG || ret == -ENOENT)
			ret = 0;
	}
	return ret;
}

static int scan_files(struct scan *scan, const struct block_file *files, size_t count)
{
	struct block_reader **readers = calloc(count + 1, sizeof *readers);
	bool any_order = scan->any_order;
	if (!readers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		any_order =
		        any_order && !files[i].hold; /* sorted, an event and its copy stand side by side */
	scan->sorts = !any_order;
	scan->segment_count = 0;
	int ret = collect(scan, files, count, readers);
	if (ret == 0)
		ret = any_order ? give_all(scan) : merge(scan);
	for (size_t i = 0; i < scan->segment_count; i++)
		segment_clear(&scan->segments[i]);
	for (size_t i = 0; i < count; i++)
		block_reader_close(readers[i]);
	free(readers);
	return ret;
}

static int scan_days(struct scan *scan)
{
	const struct block_filter *filter = scan->filter;
	struct block_file *files;
	size_t count;

	int ret = block_file_list_current(scan->dir, &files, &count);
	for (size_t from = 0, to; ret == 0 && !scan->ended && from < count; from = to) {
		for (to = from + 1; to < count && files[to].day == files[from].day;)
			to++;
		if ((filter->since_us && files[from].day < block_file_day(filter->since_us)) ||
		        (filter->until_us && files[from].day > block_file_day(filter->until_us)))
			continue;
		ret = scan_files(scan, files + from, to - from);
	}
	free(files);
	return ret;
}

/*
 * Follow asks five times a second, and most files are of days gone by. A file's ids are the times of its
 * commits at least, its change time is that of the last: one far behind both the position and the present has
 * nothing newer. (Both, because a clock set back lets ids run ahead of the time.)
 */
static size_t skip_settled(struct block_file *files, size_t count, uint64_t after_id)
{
	struct timespec now;
	size_t left = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	for (size_t i = 0; i < count; i++) {
		int64_t written = files[i].written_us + SETTLED_US;
		if (written >= (int64_t)after_id || written >= now.tv_sec * INT64_C(1000000))
			files[left++] = files[i];
	}
	return left;
}

static uint64_t last_id(const char *dir, const struct block_file *files, size_t count)
{
	struct block_reader *reader;
	uint64_t last = 0;

	for (size_t i = 0; i < count; i++) {
		if (block_reader_open(&reader, dir, files[i].name) < 0)
			continue;
		uint64_t id = block_reader_last_id(reader);
		last = id > last ? id : last;
		block_reader_close(reader);
	}
	return last;
}

/*
 * Files are committed one after the other. First the newest id of all is found, then all files are read up to
 * that one: so no event is missed that was committed to a file already passed, while a newer one was seen in
 * the next.
 */
static int scan_ids(struct scan *scan)
{
	struct block_file *files;
	size_t count;

	int ret = block_file_list_current(scan->dir, &files, &count);
	if (ret < 0)
		return ret;
	count = skip_settled(files, count, scan->filter->after_id);
	scan->last_id = last_id(scan->dir, files, count);
	free(files);
	if (scan->last_id <= scan->filter->after_id)
		return 0;
	ret = block_file_list_current(scan->dir, &files, &count);
	if (ret < 0)
		return ret;
	count = skip_settled(files, count, scan->filter->after_id);
	ret = scan_files(scan, files, count);
	free(files);
	return ret;
}

int64_t block_scan_items(const char *dir, const struct block_filter *filter, bool any_order,
        bool (*found)(void *arg, const struct block_item *item), void *arg)
{
	struct scan scan = {
		.dir = dir, .filter = filter, .found = found, .arg = arg, .any_order = any_order
	};

	scan.open_filter = block_filter_is_open(filter) && !filter->since_us && !filter->until_us;
	struct erasure *erasure = NULL;
	int ret = erasure_read(dir, &erasure);
	scan.erasure = erasure;
	if (ret == 0)
		ret = filter->after_id ? scan_ids(&scan) : scan_days(&scan);
	erasure_free(erasure);
	free(scan.segments);
	return ret < 0 && ret != -ENOENT ? ret : scan.found_count;
}

struct record_scan {
	bool (*found)(void *arg, const struct block_record *record);
	void *arg;
	struct block_record record;
};

static bool item_found(void *arg, const struct block_item *item)
{
	struct record_scan *scan = arg;

	block_item_record(item, &scan->record);
	return scan->found(scan->arg, &scan->record);
}

int64_t block_log_scan(const char *dir, const struct block_filter *filter,
        bool (*found)(void *arg, const struct block_record *record), void *arg)
{
	struct record_scan scan = { .found = found, .arg = arg };

	return block_scan_items(dir, filter, false, item_found, &scan);
}

uint64_t block_log_last_id(const char *dir)
{
	struct block_file *files;
	size_t count;

	if (block_file_list_current(dir, &files, &count) < 0)
		return 0;
	uint64_t last = last_id(dir, files, count);
	free(files);
	return last;
}
