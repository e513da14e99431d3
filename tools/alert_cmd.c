/* usher alert: what was told, what waits, and a test of the ways there. It asks usherd's alerter over
 * alerts.sock. */
#include "log_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const list_keys[] = { "id", "time", "channel", "to", "rules", "alerts", "state",
	"attempts", "next", "why" };
static const char *const test_keys[] = { "channel", "to", "sent", "why" };
#define LIST_KEY_COUNT (sizeof list_keys / sizeof *list_keys)
#define TEST_KEY_COUNT (sizeof test_keys / sizeof *test_keys)

struct printing {
	const struct command_context *context;
	const char *const *keys;
	size_t count;
	struct command_table *table;
	bool has_failed;
};

/* Rules in one cell; times as people want them; what was sent is yes or no. */
static const char *cell(
        const struct printing *printing, const json_t *line, const char *key, char *text, size_t size)
{
	const json_t *value = json_object_get(line, key);
	size_t len = 0;

	text[0] = 0;
	for (size_t i = 0; json_is_array(value) && i < json_array_size(value) && len < size; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s", i ? " " : "",
		        json_string_value(json_array_get(value, i)));
	if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	if (json_is_array(value))
		return text;
	bool is_time = strcmp(key, "time") == 0 || strcmp(key, "next") == 0;
	if (is_time && json_is_string(value) && !printing->context->csv) {
		command_local_time(json_string_value(value), text);
		return text;
	}
	return log_cell_text(line, key, text);
}

static void print_line(void *arg, const char *text, const json_t *line)
{
	struct printing *printing = arg;
	char texts[LIST_KEY_COUNT][300];
	const char *cells[LIST_KEY_COUNT];

	printing->has_failed |= json_is_false(json_object_get(line, "sent"));
	if (printing->context->json) {
		command_json_line(text);
		return;
	}
	for (size_t i = 0; i < printing->count; i++)
		cells[i] = cell(printing, line, printing->keys[i], texts[i], sizeof texts[i]);
	command_table_row(printing->table, cells);
}

static int ask(struct command_context *context, const char *path, const char *body, const char *const *keys,
        size_t count)
{
	struct printing printing = { context, keys, count, NULL, false };
	char *text = NULL;
	int status = command_http(command_config_to_ask(context), "alerts.sock", path, body, &text);

	if (status != 200) {
		int ret = status < 0 ? COMMAND_FAILED : command_http_failed(status, text);
		free(text);
		return ret;
	}
	if (!context->json)
		printing.table = command_rows_new(context->csv, keys, keys, count);
	log_each_line(text, print_line, &printing);
	if (printing.table)
		command_table_print(printing.table);
	free(text);
	return printing.has_failed ? COMMAND_FAILED : COMMAND_OK;
}

int alert_command(struct command_context *context)
{
	int ret = command_options(context, "alert", NULL, 0);

	if (ret != COMMAND_OK)
		return ret;
	if (context->argc != 1)
		return command_usage_error("alert", "expected test or list");
	if (strcmp(context->argv[0], "list") == 0)
		return ask(context, "/v1/alerts", NULL, list_keys, LIST_KEY_COUNT);
	if (strcmp(context->argv[0], "test") == 0)
		return ask(context, "/v1/alerts/test", "{}", test_keys, TEST_KEY_COUNT);
	return command_usage_error("alert", "found '%s', expected test or list", context->argv[0]);
}
