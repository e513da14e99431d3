/*
 * A row lives for `keep` and what was left of its day; then it is unlinked at the next turn of the hour, or
 * written out of its file. So it is overdue a day and two hours after its keep.
 */
#include "retention.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block_reader.h"
#include "devices.h"
#include "utc.h"

#define GRACE_S (BLOCK_DAY_S + 2 * 3600)
#define LINES_MAX 16384 /* classes times profiles */
#define NAME_MAX_LEN 256

struct line {
	uint32_t class_s, hold; /* 0: no case */
	bool damaged;
	char profile[NAME_MAX_LEN]; /* "": none */
	uint64_t files, rows, file_seen;
	int64_t oldest_us;
};

struct verifying {
	const struct config *config;
	struct line *lines;
	size_t count;
	uint64_t file; /* counts up, so that a line counts each once */
	/* the file at hand */
	const struct block_file *at;
	struct block_reader *reader;
	struct block_item items[BLOCK_SEGMENT_EVENTS];
	uint8_t clients[BLOCK_SEGMENT_EVENTS][16];
};

static struct line *line_of(struct verifying *verifying, const char *profile, bool damaged)
{
	const struct block_file *file = verifying->at;
	size_t i = 0;

	while (i < verifying->count &&
	        (verifying->lines[i].class_s != file->keep_s || verifying->lines[i].hold != file->hold ||
	                verifying->lines[i].damaged != damaged ||
	                strcmp(verifying->lines[i].profile, profile) != 0))
		i++;
	if (i == LINES_MAX)
		return NULL;
	struct line *line = &verifying->lines[i];
	if (i == verifying->count) {
		verifying->count++;
		*line = (struct line){ .class_s = file->keep_s,
			.hold = file->hold,
			.damaged = damaged,
			.oldest_us = INT64_MAX };
		snprintf(line->profile, sizeof line->profile, "%s", profile);
	}
	line->files += line->file_seen != verifying->file;
	line->file_seen = verifying->file;
	return line;
}

static int verify_segment(void *arg, const struct block_span *span)
{
	struct verifying *verifying = arg;
	struct block_piece summary, data;
	int count = block_reader_segment(verifying->reader, span->first_id, &summary, &data);

	if (count < 0)
		return count;
	count = block_segment_unpack(verifying->items, verifying->clients, &summary, &data, NULL);
	for (int i = 0; i < count; i++) {
		const struct block_item *item = &verifying->items[i];
		struct line *line = line_of(verifying, item->profile ? item->profile : "", false);
		if (!line)
			break;
		line->rows++;
		line->oldest_us = item->time_us < line->oldest_us ? item->time_us : line->oldest_us;
	}
	free(summary.data);
	return count < 0 ? count : 0;
}

/* What cannot be read is as old as its day. */
static void verify_damaged(struct verifying *verifying)
{
	struct line *line = line_of(verifying, "", true);
	int64_t day_us = verifying->at->day * BLOCK_DAY_S * INT64_C(1000000);

	if (line && day_us < line->oldest_us)
		line->oldest_us = day_us;
}

static int verify_file(struct verifying *verifying, const char *dir, const struct block_file *file)
{
	static const struct block_filter all = { .severity = -1 };

	verifying->at = file;
	verifying->file++;
	int ret = file->kind == BLOCK_FILE_DAMAGED ? -EBADMSG
	                                           : block_reader_open(&verifying->reader, dir, file->name);
	if (ret == 0) {
		ret = block_reader_segments(verifying->reader, 0, &all, verify_segment, verifying);
		block_reader_close(verifying->reader);
	}
	if (ret == -EBADMSG)
		verify_damaged(verifying);
	return ret == -EBADMSG || ret == -ENOENT ? 0 : ret;
}

/* ---- the lines ---- */

/* Shorter than its class where the profile is kept shorter now. */
static uint32_t line_keep_s(const struct config *config, const struct line *line)
{
	int profile = *line->profile ? config_profile(config, line->profile) : -1;

	if (profile < 0 || config->profiles[profile].keep_s > line->class_s)
		return line->class_s;
	return config->profiles[profile].keep_s;
}

static const char *line_verdict(const struct line *line, uint32_t keep_s, int64_t now_s)
{
	if (line->hold)
		return "held";
	if (line->oldest_us != INT64_MAX && line->oldest_us / 1000000 + keep_s + GRACE_S < now_s)
		return "overdue";
	return line->damaged ? "damaged" : "ok";
}

static void class_text(const struct line *line, char text[32])
{
	if (line->damaged)
		snprintf(text, 32, "damaged");
	else if (line->hold)
		snprintf(text, 32, "case %" PRIu32, line->hold);
	else if (line->class_s % BLOCK_DAY_S == 0)
		snprintf(text, 32, "%" PRIu32 "d", line->class_s / BLOCK_DAY_S);
	else
		snprintf(text, 32, "%" PRIu32 "s", line->class_s);
}

static int print_line(
        const struct config *config, const struct line *line, int64_t now_s, FILE *out, bool *overdue)
{
	char class[32], oldest[UTC_TEXT_LEN] = "";
	uint32_t keep_s = line_keep_s(config, line);
	const char *verdict = line_verdict(line, keep_s, now_s);

	class_text(line, class);
	if (line->oldest_us != INT64_MAX)
		utc_text(line->oldest_us / 1000000, oldest);
	*overdue = strcmp(verdict, "overdue") == 0;
	json_t *json = json_pack("{s:s, s:s?, s:o, s:I, s:I, s:s?, s:s}", "class", class, "profile",
	        *line->profile ? line->profile : NULL, "keep_s",
	        line->hold ? json_null() : json_integer(keep_s), "files", (json_int_t)line->files, "rows",
	        (json_int_t)line->rows, "oldest", *oldest ? oldest : NULL, "verdict", verdict);
	int ret = json && json_dumpf(json, out, JSON_COMPACT) == 0 && putc('\n', out) != EOF ? 0 : -ENOMEM;
	json_decref(json);
	return ret;
}

static int line_order(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->hold != y->hold)
		return x->hold < y->hold ? -1 : 1;
	if (x->class_s != y->class_s)
		return x->class_s < y->class_s ? -1 : 1;
	return strcmp(x->profile, y->profile);
}

static int64_t print_lines(struct verifying *verifying, FILE *out)
{
	int64_t overdue = 0, now_s = time(NULL);
	bool one;

	qsort(verifying->lines, verifying->count, sizeof *verifying->lines, line_order);
	for (size_t i = 0; i < verifying->count; i++) {
		int ret = print_line(verifying->config, &verifying->lines[i], now_s, out, &one);
		if (ret < 0)
			return ret;
		overdue += one;
	}
	return overdue;
}

/* The history of devices is kept as long as the longest `keep` of a profile. Returns 1 if it is overdue, 0 or
 * negative errno. */
static int verify_devices(const struct config *config, const char *dir, FILE *out)
{
	struct devices *devices = devices_beside(dir);
	uint64_t days, records;
	int64_t oldest_s, keep_s = 0, now_s = time(NULL);
	char oldest[UTC_TEXT_LEN];

	int ret = devices ? devices_count(devices, &days, &records, &oldest_s) : -ENOMEM;
	devices_free(devices);
	if (ret < 0 || days == 0)
		return ret;
	for (size_t i = 0; i < config->profile_count; i++)
		keep_s = config->profiles[i].keep_s > keep_s ? config->profiles[i].keep_s : keep_s;
	utc_text(oldest_s, oldest);
	bool overdue = oldest_s + keep_s + GRACE_S < now_s;
	json_t *json = json_pack("{s:s, s:n, s:I, s:I, s:I, s:s, s:s}", "class", "devices", "profile",
	        "keep_s", (json_int_t)keep_s, "files", (json_int_t)days, "rows", (json_int_t)records,
	        "oldest", oldest, "verdict", overdue ? "overdue" : "ok");
	ret = json && json_dumpf(json, out, JSON_COMPACT) == 0 && putc('\n', out) != EOF ? overdue : -ENOMEM;
	json_decref(json);
	return ret;
}

int64_t retention_verify(const struct config *config, const char *dir, FILE *out)
{
	struct block_file *files = NULL;
	size_t count = 0;
	struct verifying *verifying = calloc(1, sizeof *verifying);

	if (!verifying)
		return -ENOMEM;
	verifying->config = config;
	verifying->lines = calloc(LINES_MAX, sizeof *verifying->lines);
	int64_t ret = verifying->lines ? block_file_list(dir, &files, &count) : -ENOMEM;
	if (ret == -ENOENT)
		ret = 0;
	for (size_t i = 0; ret == 0 && i < count; i++)
		if (files[i].kind != BLOCK_FILE_LOCK)
			ret = verify_file(verifying, dir, &files[i]);
	if (ret == 0)
		ret = print_lines(verifying, out);
	int more = ret >= 0 ? verify_devices(config, dir, out) : 0;
	ret = more < 0 ? more : ret + more;
	free(files);
	free(verifying->lines);
	free(verifying);
	return ret;
}
