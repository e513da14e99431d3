/*
 * usher episodes, usher signals: what happened, and what of it somebody should know. Both ask usherd's reader
 * over log.sock, which records who read what.
 */
#include "log_ask.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event_fold.h"
#include "resolver/event_query.h"
#include "resolver/names_store.h"
#include "resolver/newcomers.h"

#define ROWS 20 /* of lesser episodes and of signals: with the danger they are one screen */
#define NAMES_A_ROW 3
#define CELL_LEN (NAMES_A_ROW * NAME_TEXT_MAX)

static const char *const episode_keys[] = { "client", "device", "profile", "severity", "category", "first",
	"last", "count", "names", "more", "watched", "bypass", "background", "mac", "confidence",
	"randomised", "identity" };
#define EPISODE_KEY_COUNT (sizeof episode_keys / sizeof *episode_keys)

static const char *const signal_keys[] = { "id", "rule", "kind", "sent", "severity", "profile", "client",
	"device", "category", "first", "last", "count", "clients", "text", "evidence", "more", "action",
	"mac", "confidence", "randomised", "identity" };
#define SIGNAL_KEY_COUNT (sizeof signal_keys / sizeof *signal_keys)

/* ---- cells ---- */

/* "11-23 10:15 - 10:20", local. */
static void when_text(const json_t *event, char text[2 * UTC_TEXT_LEN])
{
	char first[UTC_TEXT_LEN], last[UTC_TEXT_LEN], number[32];

	command_local_time(log_cell_text(event, "first", number), first);
	command_local_time(log_cell_text(event, "last", number), last);
	bool same_day = strncmp(first, last, 10) == 0, same = strncmp(first, last, 16) == 0;
	snprintf(text, (size_t)2 * UTC_TEXT_LEN, "%.11s%s%.11s", first + 5, same ? "" : " - ",
	        same ? "" : last + (same_day ? 11 : 5));
	size_t len = strlen(text);
	if (!same && same_day && len > 5)
		text[strlen(text) - 3] = 0; /* seconds of the second time */
}

/* Texts of an array, from a place on, parted by spaces. Returns how many there were. */
static size_t list_text(const json_t *list, size_t from, size_t most, char *text, size_t size)
{
	size_t count = 0, len = 0;

	text[0] = 0;
	for (size_t i = from; i < json_array_size(list) && count < most; i++, count++) {
		const char *word = json_string_value(json_array_get(list, i));
		if (word && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s", count ? " " : "", word);
	}
	return count;
}

static void line_as_json(void *arg, const char *line, const json_t *event)
{
	command_json_line(line);
}

static void episode_as_csv(void *arg, const char *line, const json_t *event)
{
	command_csv_object(event, episode_keys, EPISODE_KEY_COUNT);
}

static void signal_as_csv(void *arg, const char *line, const json_t *event)
{
	command_csv_object(event, signal_keys, SIGNAL_KEY_COUNT);
}

/* ---- for people ---- */

static const char *const episode_titles[] = { "severity", "when", "client", "profile", "category", "lookups",
	"names" };
#define EPISODE_COLUMNS (sizeof episode_titles / sizeof *episode_titles)

struct screen {
	struct command_table *table;
	size_t most, rows, left, background;
};

/* Of danger every name stands there, in as many rows as that takes. */
static void episode_rows(struct command_table *table, const json_t *episode, bool all_names)
{
	char when[2 * UTC_TEXT_LEN], numbers[4][32], names[CELL_LEN + 64], clients[32];
	const json_t *list = json_object_get(episode, "names");
	const char *category = log_cell_text(episode, "category", numbers[0]);
	const char *cells[EPISODE_COLUMNS] = { log_cell_text(episode, "severity", numbers[1]), when,
		event_clients_text(episode, clients, sizeof clients)
		        ? clients
		        : log_cell_text(episode, "client", numbers[0]),
		log_cell_text(episode, "profile", numbers[0]), *category ? category : "own rule",
		log_cell_text(episode, "count", numbers[2]), names };
	char marked[128];

	snprintf(marked, sizeof marked, "%s%s%s", cells[4],
	        json_is_true(json_object_get(episode, "bypass")) ? ", bypass" : "",
	        event_let_through(episode));
	cells[4] = marked;
	when_text(episode, when);
	size_t at = list_text(list, 0, NAMES_A_ROW, names, CELL_LEN), left = json_array_size(list) - at;
	if (left > 0 && !all_names)
		snprintf(names + strlen(names), 64, " and %zu more", left);
	command_table_row(table, cells);
	for (size_t i = 0; i + 1 < EPISODE_COLUMNS; i++)
		cells[i] = "";
	while (all_names && at < json_array_size(list)) {
		at += list_text(list, at, NAMES_A_ROW, names, CELL_LEN);
		command_table_row(table, cells);
	}
}

static void episode_on_screen(struct screen *screen, const json_t *episode)
{
	char number[32];
	bool danger = strcmp(log_cell_text(episode, "severity", number), "danger") == 0;

	if (json_is_true(json_object_get(episode, "background"))) {
		screen->background++;
	} else if (danger || screen->rows < screen->most) {
		episode_rows(screen->table, episode, danger);
		screen->rows++;
	} else {
		screen->left++;
	}
}

static void line_kept(void *array, const char *line, const json_t *event)
{
	json_array_append(array, (json_t *)(uintptr_t)event);
}

static void print_episodes(const struct log_ask *ask, char *text)
{
	const char *limit = log_ask_value(ask, "limit");
	struct screen screen = { command_table_new(episode_titles, EPISODE_COLUMNS),
		limit ? ask->query.filter.limit : ROWS };
	json_t *episodes = json_array(), *episode;
	size_t i;

	command_table_wraps(screen.table);
	log_each_line(text, line_kept, episodes);
	json_t *rows = events_folded(episodes);
	json_array_foreach(rows, i, episode) episode_on_screen(&screen, episode);
	json_decref(rows);
	json_decref(episodes);
	command_table_print(screen.table);
	if (screen.left > 0)
		printf("and %zu lesser ones: --limit N shows more\n", screen.left);
	if (screen.background > 0)
		printf("set apart: %zu of trackers and devices by themselves (--json shows them)\n",
		        screen.background);
}

static void signal_on_screen(struct command_table *table, const json_t *signal)
{
	char when[2 * UTC_TEXT_LEN], numbers[3][32], names[CELL_LEN], clients[32];
	json_t *list = event_evidence_names(signal);
	size_t count = json_array_size(list);
	const char *cells[] = { log_cell_text(signal, "rule", numbers[0]), when,
		event_clients_text(signal, clients, sizeof clients)
		        ? clients
		        : log_cell_text(signal, "client", numbers[0]),
		log_cell_text(signal, "profile", numbers[0]), log_cell_text(signal, "category", numbers[2]),
		log_cell_text(signal, "text", numbers[1]), names };

	when_text(signal, when);
	list_text(list, 0, NAMES_A_ROW, names, sizeof names);
	if (count > NAMES_A_ROW)
		snprintf(names + strlen(names), sizeof names - strlen(names), " and %zu more",
		        count - NAMES_A_ROW);
	command_table_row(table, cells);
	json_decref(list);
}

static void print_signals(const json_t *signals, size_t most)
{
	static const char *const titles[] = { "signal", "when", "client", "profile", "category", "what",
		"names" };
	struct command_table *table = command_table_new(titles, sizeof titles / sizeof *titles);
	const json_t *signal;
	size_t i;

	command_table_wraps(table);
	json_array_foreach(signals, i, signal) if (i < most) signal_on_screen(table, signal);
	command_table_print(table);
	if (json_array_size(signals) > most)
		printf("and %zu more: `usher signals` shows them\n", json_array_size(signals) - most);
}

static void trend_kept(void *array, const char *line, const json_t *signal)
{
	if (!event_is_told_by_episodes(signal))
		json_array_append(array, (json_t *)(uintptr_t)signal);
}

/* What single episodes do not show, above them. */
static void print_trends(char *text)
{
	json_t *trends = json_array();

	log_each_line(text, trend_kept, trends);
	if (json_array_size(trends) > 0) {
		print_signals(trends, ROWS);
		putchar('\n');
	}
	json_decref(trends);
}

static void print_all_signals(char *text)
{
	json_t *signals = json_array();

	log_each_line(text, line_kept, signals);
	print_signals(signals, SIZE_MAX);
	json_decref(signals);
}

/* ---- the commands ---- */

/* Without usherd the filter is as the reader would have it: no limit but the one asked for. */
static struct log_query offline_query(const struct log_ask *ask)
{
	struct log_query query = ask->query;

	if (!log_ask_value(ask, "limit"))
		query.filter.limit = 0;
	return query;
}

static int64_t episodes_offline(const struct log_ask *ask, const char *dir, FILE *out)
{
	struct log_query query = offline_query(ask);

	return episodes_run(ask->config, &query, dir, out);
}

static int64_t signals_offline(const struct log_ask *ask, const char *dir, FILE *out)
{
	struct log_query query = offline_query(ask);

	return signals_run(ask->config, &query, dir, out);
}

/* What a table leaves out, it counts: so it asks for all, but for what --limit leaves. */
int episodes_command(struct command_context *context)
{
	struct log_ask ask = {
		.context = context, .command = "episodes", .parameters = event_query_parameters
	};
	char *text = NULL, *signals = NULL;

	int ret = log_ask_read(&ask, NULL, 0);
	if (ret != COMMAND_OK)
		return ret;
	bool for_people = !context->json && !context->csv;
	if (for_people)
		ret = log_ask_answer(&ask, "/v1/signals", "log.signals", signals_offline, &signals);
	if (ret == COMMAND_OK)
		ret = log_ask_answer(&ask, "/v1/episodes", "log.episodes", episodes_offline, &text);
	if (ret == COMMAND_OK && for_people) {
		print_trends(signals);
		print_episodes(&ask, text);
	} else if (ret == COMMAND_OK) {
		if (context->csv)
			command_csv(episode_keys, EPISODE_KEY_COUNT);
		log_each_line(text, context->csv ? episode_as_csv : line_as_json, NULL);
	}
	free(text);
	free(signals);
	return ret;
}

/* Why there may be no swarm at a site that is not blocked. */
static void say_what_is_not_seen(const struct config *config)
{
	char path[PATH_MAX];
	struct names_reader *reader;
	int need = newcomers_learn_days(config);

	if (!config->names.swarms)
		return;
	if (need < 0) {
		fprintf(stderr, "usher: names.%s: swarms are seen only at sites that are blocked\n",
		        config->names.enabled ? "days is 1" : "enabled is false");
		return;
	}
	snprintf(path, sizeof path, "%.4000s/names", config->state_dir);
	if (names_reader_open(&reader, path, 0, (int64_t)time(NULL) / NAMES_DAY_S) < 0)
		return; /* not for this user */
	size_t days = names_reader_days(reader);
	names_reader_close(reader);
	if (days < (size_t)need)
		fprintf(stderr,
		        "usher: this school's names are known of %zu of %d days: until then, swarms are seen "
		        "only at "
		        "sites that are blocked\n",
		        days, need);
}

int signals_command(struct command_context *context)
{
	struct log_ask ask = {
		.context = context, .command = "signals", .parameters = event_query_parameters
	};
	const char *dry_run = NULL;
	struct command_option flag = { "dry-run", false, &dry_run };
	char *text = NULL;

	int ret = log_ask_read(&ask, &flag, 1);
	if (ret == COMMAND_OK)
		ret = log_ask_answer(&ask, "/v1/signals", "log.signals", signals_offline, &text);
	if (ret == COMMAND_OK && !context->json && !context->csv) {
		print_all_signals(text);
		say_what_is_not_seen(ask.config);
	} else if (ret == COMMAND_OK) {
		if (context->csv)
			command_csv(signal_keys, SIGNAL_KEY_COUNT);
		log_each_line(text, context->csv ? signal_as_csv : line_as_json, NULL);
	}
	free(text);
	return ret;
}
