/*
 * usher log: what was blocked, for whom. It asks usherd's reader over log.sock, which records who read what.
 * Where usherd does not run, root may read the store itself, and that is recorded the same.
 */
#include "log_follow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The keys of a record, in their order: columns of the CSV. */
static const char *const keys[] = { "time", "client", "device", "profile", "name", "type", "category",
	"severity", "rule", "source", "matched", "action", "generation", "mac", "confidence", "randomised",
	"identity" };
#define KEY_COUNT (sizeof keys / sizeof *keys)

/* What people see, and how wide it is where it cannot be measured (--follow). */
static const struct {
	const char *title;
	int width;
} columns[] = { { "time", 19 }, { "client", 15 }, { "device", 17 }, { "profile", 10 }, { "name", 36 },
	{ "type", 5 }, { "category", 12 }, { "severity", 8 }, { "action", 6 }, { "rule", 0 } };
#define COLUMN_DEVICE 2
#define COLUMN_COUNT (sizeof columns / sizeof *columns)

/* ---- the answer, line by line ---- */

#define DEVICE_TEXT_LEN (LEASE_NAME_MAX + 48)

struct row {
	char time[UTC_TEXT_LEN], number[32], device[DEVICE_TEXT_LEN];
	char rule[2 * NAME_TEXT_MAX];
	const char *cells[COLUMN_COUNT];
};

/* A device that is not sure to be the one says why; so does one that may be known by other MACs too. */
static const char *device_text(const json_t *record, char text[DEVICE_TEXT_LEN])
{
	char number[32];
	const char *confidence = log_cell_text(record, "confidence", number);
	bool is_sure = strcmp(confidence, "") == 0 || strcmp(confidence, "lease") == 0 ||
	               strcmp(confidence, "neighbour") == 0 || strcmp(confidence, "radius") == 0;
	bool is_random = json_is_true(json_object_get(record, "randomised"));

	snprintf(text, DEVICE_TEXT_LEN, "%s%s%s%s%s", log_cell_text(record, "device", number),
	        is_sure ? "" : " (", is_sure ? "" : confidence, is_sure ? "" : ")",
	        is_random ? " (randomised)" : "");
	return text;
}

static void row_fill(struct row *row, const json_t *record)
{
	const char *rule = log_cell_text(record, "rule", row->number),
	           *source = log_cell_text(record, "source", row->number);

	command_local_time(log_cell_text(record, "time", row->number), row->time);
	snprintf(row->rule, sizeof row->rule, "%s%s%s%s", rule, *source ? " (" : "", source,
	        *source ? ")" : "");
	for (size_t i = 0; i < COLUMN_COUNT; i++)
		row->cells[i] = log_cell_text(record, columns[i].title, row->number);
	row->cells[0] = row->time;
	row->cells[COLUMN_DEVICE] = device_text(record, row->device);
	row->cells[COLUMN_COUNT - 1] = row->rule;
}

static void line_as_json(void *arg, const char *line, const json_t *record)
{
	command_json_line(line);
}

static void line_as_csv(void *arg, const char *line, const json_t *record)
{
	command_csv_object(record, keys, KEY_COUNT);
}

static void line_as_row(void *arg, const char *line, const json_t *record)
{
	struct row row;

	row_fill(&row, record);
	command_table_row(arg, row.cells);
}

/* {"category":"gambling","count":7}: the first key is
 * what was counted by. */
struct count_table {
	const char *key;
	bool csv;
	struct command_table *table;
};

static void line_as_count(void *arg, const char *line, const json_t *record)
{
	struct count_table *counts = arg;
	char number[32], hour[UTC_TEXT_LEN];
	const char *cells[] = { log_cell_text(record, counts->key, number),
		log_cell_text(record, "count", number) };

	if (!counts->csv && strcmp(counts->key, "hour") == 0)
		cells[0] = command_local_time(cells[0], hour);
	if (!counts->csv && cells[0][0] == '\0' && strcmp(counts->key, "category") == 0)
		cells[0] = "no category"; /* the school's own rules, above all */
	command_table_row(counts->table, cells);
}

static void print_counts(const struct log_ask *ask, char *text)
{
	const char *titles[] = { log_ask_value(ask, "count-by"), "count" };
	bool csv = ask->context->csv;
	struct count_table counts = { titles[0], csv, command_rows_new(csv, titles, titles, 2) };

	log_each_line(text, line_as_count, &counts);
	command_table_print(counts.table);
}

static size_t print_table(char *text)
{
	const char *titles[COLUMN_COUNT];

	for (size_t i = 0; i < COLUMN_COUNT; i++)
		titles[i] = columns[i].title;
	struct command_table *table = command_table_new(titles, COLUMN_COUNT);
	size_t count = log_each_line(text, line_as_row, table);
	command_table_print(table);
	return count;
}

static size_t print_rows(const struct log_ask *ask, char *text)
{
	if (ask->context->json)
		return log_each_line(text, line_as_json, NULL);
	if (!ask->context->csv)
		return print_table(text);
	command_csv(keys, KEY_COUNT);
	return log_each_line(text, line_as_csv, NULL);
}

static void print_answer(const struct log_ask *ask, char *text)
{
	uint64_t limit = ask->query.filter.limit;

	if (ask->query.count_by != LOG_COUNT_NONE) {
		if (ask->context->json)
			log_each_line(text, line_as_json, NULL);
		else
			print_counts(ask, text);
		return;
	}
	if (print_rows(ask, text) == limit)
		fprintf(stderr,
		        "usher: these are the newest %" PRIu64
		        "; --limit shows more, --until goes further back\n",
		        limit);
}

/* ---- following ---- */

struct following {
	const struct log_ask *ask;
	bool show_ids;
};

/* The id that was asked for to go on from, `{"id":7,…`, is not shown to one who did not ask for it. */
static void print_followed_json(const struct following *following, const char *line)
{
	const char *rest = strchr(line, ',');

	if (following->show_ids || !rest) {
		command_json_line(line);
		return;
	}
	putchar('{');
	command_json_line(rest + 1);
}

static void line_followed(void *arg, const char *line, const json_t *record)
{
	const struct following *following = arg;
	struct row row;

	if (following->ask->context->json) {
		print_followed_json(following, line);
		return;
	}
	if (following->ask->context->csv) {
		command_csv_object(record, keys, KEY_COUNT);
		return;
	}
	row_fill(&row, record);
	for (size_t i = 0; i < COLUMN_COUNT; i++) {
		char *safe = command_safe_text(row.cells[i]);
		printf("%-*s%s", columns[i].width, safe ? safe : "?", i + 1 < COLUMN_COUNT ? "  " : "\n");
		free(safe);
	}
}

static bool piece_followed(void *arg, json_int_t last_id)
{
	(void)arg;
	(void)last_id;
	return fflush(stdout) == 0;
}

static int request_follow(struct log_ask *ask)
{
	struct following following = { .ask = ask, .show_ids = ask->query.ids };

	if (ask->context->csv)
		command_csv(keys, KEY_COUNT);
	fflush(stdout);
	return log_follow(ask, line_followed, piece_followed, &following);
}

/* ---- the command ---- */

static int64_t run_offline(const struct log_ask *ask, const char *dir, FILE *out)
{
	return log_query_run(&ask->query, dir, out);
}

int log_command(struct command_context *context)
{
	struct log_ask ask = { .context = context, .command = "log", .parameters = log_query_parameters };
	const char *follow = NULL;
	struct command_option flag = { "follow", false, &follow };
	char *text = NULL;

	int ret = log_ask_read(&ask, &flag, 1);
	if (ret == COMMAND_OK && follow && ask.query.count_by != LOG_COUNT_NONE)
		ret = command_usage_error("log", "--count-by cannot be followed");
	if (ret != COMMAND_OK)
		return ret;
	if (follow)
		return request_follow(&ask);
	ret = log_ask_answer(&ask, "/v1/log", "log.read", run_offline, &text);
	if (ret == COMMAND_OK)
		print_answer(&ask, text);
	free(text);
	return ret;
}
