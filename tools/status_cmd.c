/* `usher stats`, `usher status`, `usher reload`, `usher flush`: what a running usherd says of itself, and
 * what it is told to do. */
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/member.h"
#include "blocklists/name.h"

static int no_operands(struct command_context *context, const char *command)
{
	if (context->argc > 0)
		return command_usage_error(
		        command, "%s takes no operand, found %s", command, context->argv[0]);
	return 0;
}

/* Asks and reads the reply; what went wrong is said. NULL if there is nothing to show. */
static json_t *ask(struct command_context *context, const char *socket, const char *path, const char *body)
{
	char *reply;
	int status = command_http(command_config_to_ask(context), socket, path, body, &reply);
	bool is_said = context->is_damaged && strcmp(path, "/v1/reload") == 0;
	json_t *object = NULL;

	if (status < 0)
		return NULL;
	if (status != 200 && !is_said)
		command_http_failed(status, reply);
	else if (status == 200 && !(object = json_loads(reply, 0, NULL)))
		command_say("usherd's reply is no JSON");
	free(reply);
	return object;
}

static void print_json(const json_t *object)
{
	command_json(object);
}

/* "3 d 4 h": the two largest units that matter. */
static const char *age_text(json_int_t s, char text[32])
{
	if (s >= 86400)
		snprintf(text, 32, "%lld d %lld h", (long long)(s / 86400), (long long)(s / 3600 % 24));
	else if (s >= 3600)
		snprintf(text, 32, "%lld h %lld min", (long long)(s / 3600), (long long)(s / 60 % 60));
	else if (s >= 60)
		snprintf(text, 32, "%lld min", (long long)(s / 60));
	else
		snprintf(text, 32, "%lld s", (long long)s);
	return text;
}

static json_int_t number_at(const json_t *root, const char *section, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(root, section), key));
}

/* ---- stats ---- */

/* Numbers that go up and down, so that a rate of them says nothing. */
static bool is_gauge(const char *section, const char *key)
{
	static const char *const gauges[][2] = {
		{ "cache", "entries" },
		{ "cache", "bytes" },
		{ "log", "pending" },
		{ "recursion", "in_flight" },
		{ "tcp", "clients" },
		{ "upstream", "latency_us" },
		{ "sources", NULL },
	};

	for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
		if (strcmp(gauges[i][0], section) == 0 && (!gauges[i][1] || strcmp(gauges[i][1], key) == 0))
			return true;
	return false;
}

/* What is collected while walking the object: one row a number. */
struct rows {
	struct command_table *table; /* NULL: CSV */
	const json_t *before;        /* the object some time ago, NULL none */
	double seconds;              /* since then */
};

/* A table of every category and engine, most of them never asked for, hides what there is. */
static bool is_noise(const char *section, const char *key, json_int_t value)
{
	return value == 0 && (strcmp(section, "blocked") == 0 || strcmp(section, "rewritten") == 0 ||
	                             strstr(key, " rewritten "));
}

static void row_add(
        const struct rows *rows, const char *section, const char *key, json_int_t value, const json_t *before)
{
	char number[32], rate[32] = "";

	if (rows->table && is_noise(section, key, value))
		return;
	snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, value);
	if (json_is_integer(before) && json_integer_value(before) <= value && rows->seconds > 0)
		snprintf(rate, sizeof rate, "%.1f",
		        (double)(value - json_integer_value(before)) / rows->seconds);
	const char *const cells[] = { section, key, number, rate };
	if (rows->table)
		command_table_row(rows->table, cells);
	else
		command_csv(cells, 3);
}

/* An object of numbers, or of objects of them: profiles {pupils: {queries, blocked, rewritten: {google}}}.
 * path: the keys that led to it, each with a space behind. */
static void rows_of_object(
        const struct rows *rows, const char *section, const char *path, json_t *object, const json_t *before)
{
	const char *key;
	json_t *value;
	char text[512];

	json_object_foreach(object, key, value)
	{
		const json_t *old = is_gauge(section, key) ? NULL : json_object_get(before, key);
		bool is_object = json_is_object(value);
		snprintf(text, sizeof text, "%s%s%s", path, key, is_object ? " " : "");
		if (json_is_integer(value))
			row_add(rows, section, text, json_integer_value(value), old);
		else if (is_object)
			rows_of_object(rows, section, text, value, old);
	}
}

/* The headlines say these already. */
static bool is_headline(const char *section)
{
	return strcmp(section, "uptime_s") == 0 || strcmp(section, "generation") == 0 ||
	       strcmp(section, "latency_us") == 0;
}

static void rows_of(const struct rows *rows, json_t *stats)
{
	const char *section;
	json_t *value;

	json_object_foreach(stats, section, value)
	{
		if (rows->table && is_headline(section))
			continue;
		if (json_is_integer(value))
			row_add(rows, "usherd", section, json_integer_value(value), NULL);
		else
			rows_of_object(rows, section, "", value, json_object_get(rows->before, section));
	}
}

/* The bound in microseconds under which that share of the answers were given; 0 if there were none, -1 if
 * over all bounds. */
static json_int_t latency_quantile(const json_t *stats, double share)
{
	const json_t *latency = json_object_get(stats, "latency_us");
	const json_t *le = json_object_get(latency, "le"), *count = json_object_get(latency, "count");
	json_int_t all = 0, below = 0;

	for (size_t i = 0; i < json_array_size(count); i++)
		all += json_integer_value(json_array_get(count, i));
	if (all == 0)
		return 0;
	for (size_t i = 0; i < json_array_size(count); i++) {
		below += json_integer_value(json_array_get(count, i));
		const json_t *bound = json_array_get(le, i);
		if ((double)below >= share * (double)all)
			return json_is_integer(bound) ? json_integer_value(bound) : -1;
	}
	return -1;
}

static void print_quantile(const json_t *stats, const char *who, double share)
{
	json_int_t us = latency_quantile(stats, share);

	if (us < 0)
		printf("%s in more than 2 s", who);
	else
		printf("%s within %" JSON_INTEGER_FORMAT " us", who, us);
}

static void print_headlines(const json_t *stats)
{
	char up[32], age[32];
	char *version = command_safe_text(member_text(stats, "version"));
	const json_t *id = json_object_get(json_object_get(stats, "generation"), "id");

	printf("usherd %s, up %s; ", version,
	        age_text(json_integer_value(json_object_get(stats, "uptime_s")), up));
	free(version);
	if (json_is_integer(id))
		printf("lists: generation %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT
		       " names, published %s ago\n",
		        json_integer_value(id), number_at(stats, "generation", "names"),
		        age_text(number_at(stats, "generation", "age_s"), age));
	else
		printf("lists: none\n");
	if (latency_quantile(stats, 1) != 0) {
		print_quantile(stats, "half of the answers", 0.5);
		print_quantile(stats, ", 99 of 100", 0.99);
		putchar('\n');
	}
	putchar('\n');
}

static void print_stats(
        const struct command_context *context, json_t *stats, const json_t *before, double seconds)
{
	struct rows rows = { .before = before, .seconds = seconds };

	if (context->json) {
		print_json(stats);
	} else if (context->csv) {
		command_csv((const char *const[]){ "section", "key", "value" }, 3);
		rows_of(&rows, stats);
	} else {
		print_headlines(stats);
		rows.table = command_table_new(
		        (const char *const[]){ "", "", "TOTAL", before ? "A SECOND" : "" }, 4);
		rows_of(&rows, stats);
		command_table_print(rows.table);
	}
	fflush(stdout);
}

static double clock_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Ends with usherd, with the reader of a pipe, or by Ctrl-C. */
static int stats_watch(struct command_context *context)
{
	json_t *stats, *before = NULL;
	double then = 0;

	while ((stats = ask(context, "stats.sock", "/v1/stats", NULL))) {
		double now = clock_s();
		if (isatty(STDOUT_FILENO) && !context->json && !context->csv)
			fputs("\033[H\033[2J", stdout);
		print_stats(context, stats, before, now - then);
		json_decref(before);
		before = stats;
		then = now;
		if (ferror(stdout))
			break;
		sleep(1);
	}
	json_decref(before);
	return COMMAND_FAILED;
}

int stats_command(struct command_context *context)
{
	const char *watch = NULL;
	const struct command_option options[] = { { "watch", false, &watch } };
	int ret = command_options(context, "stats", options, 1);

	if (ret == 0)
		ret = no_operands(context, "stats");
	if (ret != 0)
		return ret;
	if (watch)
		return stats_watch(context);
	json_t *stats = ask(context, "stats.sock", "/v1/stats", NULL);
	if (!stats)
		return COMMAND_FAILED;
	print_stats(context, stats, NULL, 0);
	json_decref(stats);
	return COMMAND_OK;
}

/* ---- status ---- */

static void print_parts(const struct command_context *context, const json_t *parts)
{
	static const char *const keys[] = { "part", "state", "text" }, *const heads[] = { "PART", "STATE",
		"" };
	struct command_table *table = command_rows_new(context->csv, keys, heads, 3);
	size_t i;
	json_t *part;

	json_array_foreach(parts, i, part)
	{
		const char *const cells[] = { member_text(part, "part"), member_text(part, "state"),
			member_text(part, "text") };
		command_table_row(table, cells);
	}
	command_table_print(table);
}

static bool parts_are_well(const json_t *parts)
{
	size_t i;
	json_t *part;

	json_array_foreach(parts, i, part)
	{
		if (strcmp(member_text(part, "state"), "failed") == 0)
			return false;
	}
	return true;
}

static void print_about(const json_t *status)
{
	char up[32];
	char *version = command_safe_text(member_text(status, "version"));
	char *config = command_safe_text(member_text(status, "config"));

	printf("usherd %s, process %" JSON_INTEGER_FORMAT ", up %s, configuration %s\n\n", version,
	        json_integer_value(json_object_get(status, "pid")),
	        age_text(json_integer_value(json_object_get(status, "uptime_s")), up), config);
	free(version);
	free(config);
}

static void print_libraries(json_t *libraries)
{
	const char *name, *between = "\nlibraries: ";
	json_t *version;

	json_object_foreach(libraries, name, version)
	{
		char *safe = command_safe_text(json_string_value(version) ? json_string_value(version) : "?");
		printf("%s%s %s", between, name, safe);
		free(safe);
		between = ", ";
	}
	putchar('\n');
}

int status_command(struct command_context *context)
{
	int ret = command_options(context, "status", NULL, 0);

	if (ret == 0)
		ret = no_operands(context, "status");
	if (ret != 0)
		return ret;
	json_t *status = ask(context, "control.sock", "/v1/status", NULL);
	if (!status)
		return COMMAND_FAILED;
	const json_t *parts = json_object_get(status, "parts");
	bool people = !context->json && !context->csv;
	if (people)
		print_about(status);
	if (context->json)
		print_json(status);
	else
		print_parts(context, parts);
	if (people)
		print_libraries(json_object_get(status, "libraries"));
	ret = parts_are_well(parts) ? COMMAND_OK : COMMAND_FAILED;
	json_decref(status);
	return ret;
}

/* ---- reload and flush ---- */

int reload_command(struct command_context *context)
{
	int ret = command_options(context, "reload", NULL, 0);

	if (ret == 0)
		ret = no_operands(context, "reload");
	if (ret != 0)
		return ret;
	json_t *reply = ask(context, "control.sock", "/v1/reload", "");
	if (!reply)
		return COMMAND_FAILED;
	if (context->json) {
		print_json(reply);
	} else {
		char *note = command_safe_text(member_text(reply, "note"));
		printf("reloaded%s%s\n", *note != '\0' ? "; " : "", note);
		free(note);
	}
	json_decref(reply);
	return COMMAND_OK;
}

int flush_command(struct command_context *context)
{
	struct name name;
	char text[NAME_TEXT_MAX];
	int ret = command_options(context, "flush", NULL, 0);

	if (ret != 0)
		return ret;
	if (context->argc != 1)
		return command_usage_error("flush", "flush takes one name");
	if (name_from_user_text(&name, context->argv[0], strlen(context->argv[0])) < 0)
		return command_usage_error("flush", "%s is no domain name", context->argv[0]);
	name_to_text(&name, text);
	json_t *request = json_pack("{s:s}", "name", text);
	char *body = json_dumps(request, JSON_COMPACT);
	json_t *reply = ask(context, "control.sock", "/v1/flush", body);
	free(body);
	json_decref(request);
	if (!reply)
		return COMMAND_FAILED;
	if (context->json)
		print_json(reply);
	else
		printf("%" JSON_INTEGER_FORMAT " answers for %s and names below it were forgotten\n",
		        json_integer_value(json_object_get(reply, "flushed")), text);
	json_decref(reply);
	return COMMAND_OK;
}
