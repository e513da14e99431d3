/* usher retention, case, forget: how long rows stay, which are held longer, and which go before. */
#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/member.h"
#include "log_ask.h"
#include "resolver/leases.h"
#include "resolver/cases.h"
#include "resolver/ledger.h"
#include "resolver/retention.h"

#define PATH_LEN 4096
#define CELL_LEN 1024
#define CELLS_MAX 16

/* ---- rows of answers ---- */

struct columns {
	const char *const *keys;
	size_t count;
	bool csv;
	struct command_table *table;
};

static void line_as_json(void *arg, const char *line, const json_t *record)
{
	command_json_line(line);
}

static bool is_time(const char *key)
{
	static const char *const times[] = { "at", "since", "until", "oldest" };

	for (size_t i = 0; i < sizeof times / sizeof *times; i++)
		if (strcmp(key, times[i]) == 0)
			return true;
	return false;
}

/* "10.20.1.77 laptop-77 40, 10.20.9.77 2": as many as there is room for, and how many more. */
static const char *addresses_text(const json_t *addresses, char text[CELL_LEN])
{
	char number[32], one[LEASE_NAME_MAX + 128];
	size_t i, len = 0;
	json_t *place;

	text[0] = '\0';
	json_array_foreach(addresses, i, place)
	{
		const char *device = member_text(place, "device");
		int added =
		        snprintf(one, sizeof one, "%s%s%s%s %s", i ? ", " : "", member_text(place, "client"),
		                *device ? " " : "", device, log_cell_text(place, "rows", number));
		if (len + (size_t)added + 32 >= CELL_LEN) {
			snprintf(
			        text + len, CELL_LEN - len, ", and %zu more", json_array_size(addresses) - i);
			break;
		}
		strcpy(text + len, one);
		len += (size_t)added;
	}
	return text;
}

static const char *cell_text(const json_t *record, const char *key, char text[CELL_LEN])
{
	const json_t *value = json_object_get(record, key);

	if (json_is_array(value))
		return addresses_text(value, text);
	if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	return log_cell_text(record, key, text);
}

static void line_as_cells(void *arg, const char *line, const json_t *record)
{
	const struct columns *columns = arg;
	char texts[CELLS_MAX][CELL_LEN];
	const char *cells[CELLS_MAX];

	for (size_t i = 0; i < columns->count; i++) {
		cells[i] = cell_text(record, columns->keys[i], texts[i]);
		if (!columns->csv && is_time(columns->keys[i]))
			cells[i] = command_local_time(cells[i], texts[i]);
	}
	command_table_row(columns->table, cells);
}

static void print_lines(
        const struct command_context *context, char *text, const char *const *keys, size_t count)
{
	struct columns columns = { keys, count, context->csv, NULL };

	if (context->json) {
		log_each_line(text, line_as_json, NULL);
		return;
	}
	columns.table = command_rows_new(context->csv, keys, keys, count);
	log_each_line(text, line_as_cells, &columns);
	command_table_print(columns.table);
}

static int ask(const struct config *config, const char *path, json_t *body, char **text)
{
	char *json = body ? json_dumps(body, JSON_COMPACT) : NULL;
	int status = command_http(config, "log.sock", path, json, text);

	free(json);
	json_decref(body);
	if (status < 0)
		return COMMAND_FAILED;
	return status == 200 ? COMMAND_OK : command_http_failed(status, *text);
}

/* What root reads of the store itself where usherd does not run: on record as if it did. */
static int read_offline(const struct config *config, const char *what,
        int64_t (*read)(const struct config *config, const char *dir, FILE *out), char **text)
{
	char dir[PATH_LEN];
	size_t len;
	uid_t uid = getuid();
	json_t *detail = json_pack("{s:b}", "offline", 1);

	command_become_user(config);
	snprintf(dir, sizeof dir, "%s/ledger", config->state_dir);
	int recorded = detail ? ledger_append(dir, uid, what, detail) : -ENOMEM;
	json_decref(detail);
	if (recorded < 0) {
		fprintf(stderr, "usher: the read could not be recorded in the ledger, and is refused: %s\n",
		        strerror(-recorded));
		return COMMAND_FAILED;
	}
	snprintf(dir, sizeof dir, "%s/log", config->state_dir);
	FILE *out = open_memstream(text, &len);
	int64_t ret = out ? read(config, dir, out) : -ENOMEM;
	if (out && fclose(out) != 0)
		ret = -ENOMEM;
	if (ret >= 0)
		return COMMAND_OK;
	fprintf(stderr, "usher: the log in %s cannot be read: %s\n", dir, strerror((int)-ret));
	return COMMAND_FAILED;
}

static int ask_or_read(struct command_context *context, const char *path, const char *what,
        int64_t (*read)(const struct config *config, const char *dir, FILE *out), char **text)
{
	const struct config *config = command_config_to_ask(context);

	if (geteuid() == 0 && !log_ask_is_served(config))
		return read_offline(command_config(context), what, read, text);
	return ask(config, path, NULL, text);
}

/* ---- usher retention ---- */

static const char *const retention_keys[] = { "class", "profile", "keep_s", "files", "rows", "oldest",
	"verdict" };

static void count_overdue(void *arg, const char *line, const json_t *record)
{
	char number[32];

	*(unsigned *)arg += strcmp(log_cell_text(record, "verdict", number), "overdue") == 0;
}

int retention_command(struct command_context *context)
{
	const char *verify = NULL;
	struct command_option option = { "verify", false, &verify };
	char *text = NULL;
	unsigned overdue = 0;

	int ret = command_options(context, "retention", &option, 1);
	if (ret != COMMAND_OK)
		return ret;
	if (context->argc > 0 || !verify)
		return command_usage_error("retention", "expected --verify");
	ret = ask_or_read(context, "/v1/retention", "retention.read", retention_verify, &text);
	if (ret == COMMAND_OK) {
		char *copy = strdup(text);
		print_lines(context, text, retention_keys, sizeof retention_keys / sizeof *retention_keys);
		log_each_line(copy ? copy : text, count_overdue, &overdue);
		free(copy);
	}
	free(text);
	if (overdue)
		fprintf(stderr, "usher: %u of these should be gone\n", overdue);
	return overdue ? COMMAND_FAILED : ret;
}

/* ---- usher case, usher forget ---- */

static const char *const row_options[] = { "client", "profile", "name", "since", "until", "reason",
	"device" };
#define ROW_OPTIONS (sizeof row_options / sizeof *row_options)

/* The options as the body of a request; NULL after saying what is wrong. */
static json_t *rows_body(struct command_context *context, const char *command)
{
	const char *values[ROW_OPTIONS] = { NULL };
	struct command_option options[ROW_OPTIONS];
	json_t *body = json_object();
	int64_t s;

	for (size_t i = 0; i < ROW_OPTIONS; i++)
		options[i] = (struct command_option){ row_options[i], true, &values[i] };
	if (command_options(context, command, options, ROW_OPTIONS) != COMMAND_OK || context->argc > 0) {
		if (context->argc > 0)
			command_usage_error(command, "unexpected '%s'", context->argv[0]);
		json_decref(body);
		return NULL;
	}
	for (size_t i = 0; i < ROW_OPTIONS; i++) {
		char text[UTC_TEXT_LEN];
		bool time = is_time(row_options[i]);
		if (values[i] && time && command_time(values[i], true, &s) < 0) {
			command_usage_error(command,
			        "--%s: found '%s', expected a time such as 30d or 2026-11-23 10:15",
			        row_options[i], values[i]);
			json_decref(body);
			return NULL;
		}
		if (values[i] && time)
			utc_text(s, text);
		if (values[i])
			json_object_set_new(body, row_options[i], json_string(time ? text : values[i]));
	}
	return body;
}

static const char *const case_keys[] = { "case", "at", "uid", "client", "profile", "name", "since", "until",
	"rows", "reason", "device", "goes_on", "addresses" };
#define CASE_KEYS (sizeof case_keys / sizeof *case_keys)

static int64_t list_offline(const struct config *config, const char *dir, FILE *out)
{
	json_t *list = cases_list(dir), *one;
	size_t i;

	(void)config;
	json_array_foreach(list, i, one)
	{
		json_dumpf(one, out, JSON_COMPACT);
		putc('\n', out);
	}
	json_decref(list);
	return list ? 0 : -ENOMEM;
}

static int case_list(struct command_context *context)
{
	char *text = NULL;

	if (context->argc > 0)
		return command_usage_error("case", "unexpected '%s'", context->argv[0]);
	int ret = ask_or_read(context, "/v1/case", "case.read", list_offline, &text);
	if (ret == COMMAND_OK)
		print_lines(context, text, case_keys, CASE_KEYS);
	free(text);
	return ret;
}

/* Another's rows may be held with them. */
static void warn_of_several(void *arg, const char *line, const json_t *held)
{
	size_t devices = json_array_size(json_object_get(held, "macs"));

	if (!json_is_string(json_object_get(held, "device")) && devices > 1)
		fprintf(stderr,
		        "usher: %zu devices had this address in that time, and all its rows are held: `usher "
		        "case "
		        "hold --device NAME` holds one device's, wherever it was\n",
		        devices);
}

static int case_hold(struct command_context *context)
{
	char *text = NULL;
	json_t *body = rows_body(context, "case");

	if (!body)
		return COMMAND_USAGE;
	int ret = ask(command_config_to_ask(context), "/v1/case/hold", body, &text);
	if (ret == COMMAND_OK) {
		char *copy = strdup(text);
		print_lines(context, text, case_keys, CASE_KEYS);
		log_each_line(copy ? copy : text, warn_of_several, NULL);
		free(copy);
	}
	free(text);
	return ret;
}

static int case_release(struct command_context *context)
{
	const char *reason = NULL;
	struct command_option option = { "reason", true, &reason };
	char *text = NULL;

	int ret = command_options(context, "case", &option, 1);
	if (ret != COMMAND_OK)
		return ret;
	if (context->argc != 1 || !reason)
		return command_usage_error("case", "expected the number of a case, and --reason TEXT");
	ret = ask(command_config_to_ask(context), "/v1/case/release",
	        json_pack("{s:s, s:s}", "case", context->argv[0], "reason", reason), &text);
	if (ret == COMMAND_OK && context->json)
		log_each_line(text, line_as_json, NULL);
	else if (ret == COMMAND_OK)
		printf("case %s is released\n", context->argv[0]);
	free(text);
	return ret;
}

static const struct {
	const char *name;
	int (*run)(struct command_context *context);
} case_commands[] = { { "list", case_list }, { "hold", case_hold }, { "release", case_release } };

int case_command(struct command_context *context)
{
	const char *word = context->argc > 0 ? context->argv[0] : "";

	for (size_t i = 0; i < sizeof case_commands / sizeof *case_commands; i++)
		if (strcmp(case_commands[i].name, word) == 0) {
			context->argv++;
			context->argc--;
			return case_commands[i].run(context);
		}
	return command_usage_error("case", "expected hold, list or release");
}

static void forget_print_list(const json_t *names)
{
	const json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
	{
		char *safe = command_safe_text(json_string_value(name));
		printf("  %s\n", safe);
		free(safe);
	}
}

static void forget_print_shipped(const json_t *shipped)
{
	const json_t *place;
	size_t i;

	json_array_foreach(shipped, i, place)
	{
		char *where = command_safe_text(member_text(place, "where"));
		char *what = command_safe_text(member_text(place, "delete"));
		printf("%s %s was sent these rows, and usher erases nothing there. What has to go:\n  %s\n",
		        member_text(place, "target"), where, what);
		if (strstr(what, " OR mac = "))
			puts("  A table without the column mac (shipping said so) does not know that "
			     "statement: leave "
			     "\"OR mac = ...\" out; the device's name and addresses stay.");
		free(where);
		free(what);
	}
}

static void forget_print(const json_t *answer)
{
	const json_t *reports = json_object_get(answer, "reports");

	printf("%" JSON_INTEGER_FORMAT " rows are erased\n",
	        json_integer_value(json_object_get(answer, "rows")));
	if (json_array_size(reports) > 0)
		puts("Reports that named the device are removed; `usher report` makes them anew:");
	forget_print_list(reports);
	forget_print_shipped(json_object_get(answer, "shipped"));
}

int forget_command(struct command_context *context)
{
	char *text = NULL;
	json_t *body = rows_body(context, "forget");

	if (!body)
		return COMMAND_USAGE;
	int ret = ask(command_config_to_ask(context), "/v1/forget", body, &text);
	json_t *answer = ret == COMMAND_OK ? json_loads(text, 0, NULL) : NULL;
	if (answer && context->json)
		command_json(answer);
	else if (ret == COMMAND_OK)
		forget_print(answer);
	if (json_array_size(json_object_get(answer, "reports_left")) > 0) {
		fputs("usher: some reports that name the device could not be removed: do it by hand\n",
		        stderr);
		ret = COMMAND_FAILED;
	}
	if (answer && !json_is_true(json_object_get(answer, "finished"))) {
		fprintf(stderr, "usher: nobody sees these rows any more; usherd is still taking them out of "
		                "its files\n");
		ret = COMMAND_FAILED;
	}
	json_decref(answer);
	free(text);
	return ret;
}
