/*
 * usher log: what was blocked, for whom. It asks usherd's reader over log.sock, which records who read what.
 * Where usherd does not run, root may read the store itself, and that is recorded the same.
 */
#include "commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "resolver/ledger.h"
#include "resolver/log_query.h"

#define PATH_LEN 4096
#define TIME_LEN 40

/* The keys of a record, in their order: columns of the CSV. */
static const char *const keys[] = { "time", "client", "device", "profile", "name", "type", "category",
	"severity", "rule", "source", "matched", "action", "generation" };
#define KEY_COUNT (sizeof keys / sizeof *keys)

/* What people see, and how wide it is where it cannot be measured (--follow). */
static const struct {
	const char *title;
	int width;
} columns[] = { { "time", 19 }, { "client", 15 }, { "profile", 10 }, { "name", 36 }, { "type", 5 },
	{ "category", 12 }, { "severity", 8 }, { "rule", 0 } };
#define COLUMN_COUNT (sizeof columns / sizeof *columns)

struct log_request {
	struct command_context *context;
	const struct config *config;
	struct log_query query;
	/* Places as in log_query_parameters; NULL absent. */
	const char *values[16];
	char since[TIME_LEN], until[TIME_LEN];
	bool follow;
};

/* ---- the question ---- */

static const char *request_parameter(void *arg, const char *name)
{
	struct log_request *request = arg;

	for (size_t i = 0; log_query_parameters[i]; i++)
		if (strcmp(log_query_parameters[i], name) == 0)
			return request->values[i];
	return NULL;
}

static const char **request_value(struct log_request *request, const char *name)
{
	for (size_t i = 0; log_query_parameters[i]; i++)
		if (strcmp(log_query_parameters[i], name) == 0)
			return &request->values[i];
	return NULL;
}

/* A person's time becomes the socket's. */
static int time_value(const char **value, const char *name, char text[TIME_LEN])
{
	int64_t s;
	time_t at;
	struct tm tm;

	if (!*value)
		return COMMAND_OK;
	if (command_time(*value, true, &s) < 0)
		return command_usage_error("log",
		        "--%s: found '%s', expected a time such as 1h, yesterday or 2026-11-23 10:15", name,
		        *value);
	at = (time_t)s;
	strftime(text, TIME_LEN, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm));
	*value = text;
	return COMMAND_OK;
}

static int request_read(struct log_request *request)
{
	const char *follow = NULL;
	struct command_option options[16] = { { "follow", false, &follow } };
	size_t count = 1;
	char why[LOG_QUERY_WHY_MAX];

	for (size_t i = 0; log_query_parameters[i]; i++)
		if (strcmp(log_query_parameters[i], "format") != 0)
			options[count++] =
			        (struct command_option){ log_query_parameters[i], true, &request->values[i] };
	int ret = command_options(request->context, "log", options, count);
	if (ret != COMMAND_OK)
		return ret;
	if (request->context->argc > 0)
		return command_usage_error("log", "unexpected '%s'", request->context->argv[0]);
	request->follow = follow != NULL;
	ret = time_value(request_value(request, "since"), "since", request->since);
	if (ret == COMMAND_OK)
		ret = time_value(request_value(request, "until"), "until", request->until);
	if (ret != COMMAND_OK)
		return ret;
	request->config = command_config(request->context);
	if (log_query_read(&request->query, request->config, request_parameter, request, why) < 0)
		return command_usage_error("log", "--%s", why);
	if (request->follow && request->query.count_by != LOG_COUNT_NONE)
		return command_usage_error("log", "--count-by cannot be followed");
	return COMMAND_OK;
}

/* RFC 3986 2.3: all but the unreserved characters. Returns the place behind, or NULL if it does not fit. */
static char *encode(char *at, const char *end, const char *text)
{
	static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *text && end - at > 4; text++)
		at += sprintf(at, strchr(unreserved, *text) ? "%c" : "%%%02X", (unsigned char)*text);
	return *text ? NULL : at;
}

static int request_path(const struct log_request *request, char path[PATH_LEN])
{
	char *at = path + sprintf(path, "/v1/log%s", request->follow ? "/follow" : ""),
	     *end = path + PATH_LEN - 64;
	char separator = '?';

	for (size_t i = 0; log_query_parameters[i] && at; i++) {
		if (!request->values[i])
			continue;
		at += sprintf(at, "%c%s=", separator, log_query_parameters[i]);
		at = encode(at, end, request->values[i]);
		separator = '&';
	}
	return at ? COMMAND_OK : command_usage_error("log", "the filters are too long");
}

/* ---- the answer, line by line ---- */

/* "" where there is none. Numbers into text. */
static const char *cell_text(const json_t *record, const char *key, char text[32])
{
	const json_t *value = json_object_get(record, key);

	if (json_is_integer(value)) {
		snprintf(text, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return text;
	}
	return json_is_string(value) ? json_string_value(value) : "";
}

/* UTC as it comes, local as people want it. */
static void local_time(const char *utc, char text[TIME_LEN])
{
	struct tm tm = { 0 };
	const char *rest = strptime(utc, "%Y-%m-%dT%H:%M:%S", &tm);
	time_t s = timegm(&tm);

	if (!rest || !localtime_r(&s, &tm))
		snprintf(text, TIME_LEN, "%s", utc);
	else
		strftime(text, TIME_LEN, "%Y-%m-%d %H:%M:%S", &tm);
}

struct row {
	char time[TIME_LEN], number[32];
	char rule[2 * NAME_TEXT_MAX];
	const char *cells[COLUMN_COUNT];
};

static void row_fill(struct row *row, const json_t *record)
{
	const char *rule = cell_text(record, "rule", row->number),
	           *source = cell_text(record, "source", row->number);

	local_time(cell_text(record, "time", row->number), row->time);
	snprintf(row->rule, sizeof row->rule, "%s%s%s%s", rule, *source ? " (" : "", source,
	        *source ? ")" : "");
	for (size_t i = 0; i < COLUMN_COUNT; i++)
		row->cells[i] = cell_text(record, columns[i].title, row->number);
	row->cells[0] = row->time;
	row->cells[COLUMN_COUNT - 1] = row->rule;
}

static void csv_row(const json_t *record)
{
	char numbers[KEY_COUNT][32];
	const char *cells[KEY_COUNT];

	for (size_t i = 0; i < KEY_COUNT; i++)
		cells[i] = cell_text(record, keys[i], numbers[i]);
	command_csv(cells, KEY_COUNT);
}

/* Calls each for every line of text; returns how many there were. */
static size_t each_line(
        char *text, void (*each)(void *arg, const char *line, const json_t *record), void *arg)
{
	size_t count = 0;
	char *next, *line;

	for (line = text; (next = strchr(line, '\n')) != NULL; line = next + 1) {
		*next = 0;
		json_t *record = json_loads(line, 0, NULL);
		if (record) {
			each(arg, line, record);
			count++;
		}
		json_decref(record);
	}
	return count;
}

static void line_as_json(void *arg, const char *line, const json_t *record)
{
	puts(line);
}

static void line_as_csv(void *arg, const char *line, const json_t *record)
{
	csv_row(record);
}

static void line_as_row(void *arg, const char *line, const json_t *record)
{
	struct row row;

	row_fill(&row, record);
	command_table_row(arg, row.cells);
}

/* {"category":"gambling","count":7}: the first key is what was counted by. */
struct count_table {
	const char *key;
	struct command_table *table; /* NULL: CSV */
};

static void line_as_count(void *arg, const char *line, const json_t *record)
{
	struct count_table *counts = arg;
	char number[32], hour[TIME_LEN];
	const char *cells[] = { cell_text(record, counts->key, number), cell_text(record, "count", number) };

	if (!counts->table) {
		command_csv(cells, 2);
		return;
	}
	if (strcmp(counts->key, "hour") == 0) {
		local_time(cells[0], hour);
		cells[0] = hour;
	}
	command_table_row(counts->table, cells);
}

static void print_counts(const struct log_request *request, char *text)
{
	const char *titles[] = { request_parameter((void *)request, "count-by"), "count" };
	struct count_table counts = { titles[0], NULL };

	if (request->context->csv)
		command_csv(titles, 2);
	else
		counts.table = command_table_new(titles, 2);
	each_line(text, line_as_count, &counts);
	if (counts.table)
		command_table_print(counts.table);
}

static size_t print_table(char *text)
{
	const char *titles[COLUMN_COUNT];

	for (size_t i = 0; i < COLUMN_COUNT; i++)
		titles[i] = columns[i].title;
	struct command_table *table = command_table_new(titles, COLUMN_COUNT);
	size_t count = each_line(text, line_as_row, table);
	command_table_print(table);
	return count;
}

static size_t print_rows(const struct log_request *request, char *text)
{
	if (request->context->json)
		return each_line(text, line_as_json, NULL);
	if (!request->context->csv)
		return print_table(text);
	command_csv(keys, KEY_COUNT);
	return each_line(text, line_as_csv, NULL);
}

static void print_answer(const struct log_request *request, char *text)
{
	uint64_t limit = request->query.filter.limit;

	if (request->query.count_by != LOG_COUNT_NONE) {
		if (request->context->json)
			each_line(text, line_as_json, NULL);
		else
			print_counts(request, text);
		return;
	}
	if (print_rows(request, text) == limit)
		fprintf(stderr,
		        "usher: these are the newest %" PRIu64
		        "; --limit shows more, --until goes further back\n",
		        limit);
}

/* ---- following ---- */

struct following {
	const struct log_request *request;
	char *rest; /* a line that has not come whole */
	size_t len;
};

static void line_followed(void *arg, const char *line, const json_t *record)
{
	const struct log_request *request = arg;
	struct row row;

	if (request->context->json) {
		puts(line);
		return;
	}
	if (request->context->csv) {
		csv_row(record);
		return;
	}
	row_fill(&row, record);
	for (size_t i = 0; i < COLUMN_COUNT; i++) {
		char *safe = command_safe_text(row.cells[i]);
		printf("%-*s%s", columns[i].width, safe ? safe : "?", i + 1 < COLUMN_COUNT ? "  " : "\n");
		free(safe);
	}
}

static bool piece_followed(void *arg, const char *data, size_t len)
{
	struct following *following = arg;
	char *text = realloc(following->rest, following->len + len + 1);

	if (!text)
		return false;
	memcpy(text + following->len, data, len);
	following->rest = text;
	following->len += len;
	text[following->len] = 0;
	const char *last = memrchr(text, '\n', following->len);
	if (!last)
		return following->len < (1 << 20);
	size_t whole = (size_t)(last + 1 - text);
	each_line(text, line_followed, (void *)following->request);
	memmove(text, text + whole, following->len - whole + 1);
	following->len -= whole;
	return fflush(stdout) == 0;
}

static int request_follow(const struct log_request *request, const char *path)
{
	struct following following = { .request = request };

	if (request->context->csv)
		command_csv(keys, KEY_COUNT);
	fflush(stdout);
	int status = command_http_stream(request->config, "log.sock", path, piece_followed, &following);
	free(following.rest);
	return status == 200 ? COMMAND_OK : COMMAND_FAILED;
}

/* ---- with and without usherd ---- */

static bool daemon_answers(const struct config *config)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s/log.sock", config->run_dir);
	bool answers = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
	if (fd >= 0)
		close(fd);
	return answers;
}

static int ask(const struct log_request *request, const char *path, char **text)
{
	int status = command_http(request->config, "log.sock", path, NULL, text);

	if (status < 0)
		return COMMAND_FAILED;
	return status == 200 ? COMMAND_OK : command_http_failed(status, *text);
}

static int record_read(const struct log_request *request, uid_t uid)
{
	char dir[PATH_LEN];
	json_t *detail = json_pack("{s:b}", "offline", 1);

	for (size_t i = 0; detail && log_query_parameters[i]; i++)
		if (request->values[i])
			json_object_set_new(detail, log_query_parameters[i], json_string(request->values[i]));
	snprintf(dir, sizeof dir, "%s/ledger", request->config->state_dir);
	int ret = detail ? ledger_append(dir, uid, "log.read", detail) : -ENOMEM;
	json_decref(detail);
	return ret;
}

static int read_store(const struct log_request *request, char **text)
{
	char dir[PATH_LEN];
	size_t len;
	uid_t uid = getuid();

	command_become_user(request->config);
	int ret = record_read(request, uid);
	if (ret < 0) {
		fprintf(stderr, "usher: the read could not be recorded in the ledger, and is refused: %s\n",
		        strerror(-ret));
		return COMMAND_FAILED;
	}
	snprintf(dir, sizeof dir, "%s/log", request->config->state_dir);
	FILE *out = open_memstream(text, &len);
	int64_t lines = out ? log_query_run(&request->query, dir, out) : -ENOMEM;
	if (out && fclose(out) != 0)
		lines = -ENOMEM;
	if (lines >= 0)
		return COMMAND_OK;
	fprintf(stderr, "usher: the log in %s cannot be read: %s\n", dir, strerror((int)-lines));
	return COMMAND_FAILED;
}

int log_command(struct command_context *context)
{
	struct log_request request = { .context = context };
	char path[PATH_LEN], *text = NULL;

	int ret = request_read(&request);
	if (ret == COMMAND_OK)
		ret = request_path(&request, path);
	if (ret != COMMAND_OK)
		return ret;
	if (request.follow)
		return request_follow(&request, path);
	if (geteuid() == 0 && !daemon_answers(request.config))
		ret = read_store(&request, &text);
	else
		ret = ask(&request, path, &text);
	if (ret == COMMAND_OK)
		print_answer(&request, text);
	free(text);
	return ret;
}
