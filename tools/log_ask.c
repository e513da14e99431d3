#include "log_ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "resolver/ledger.h"

#define OPTIONS_MAX 32

/* ---- the question ---- */

const char *log_ask_value(const struct log_ask *ask, const char *parameter)
{
	for (size_t i = 0; ask->parameters[i]; i++)
		if (strcmp(ask->parameters[i], parameter) == 0)
			return ask->values[i];
	return NULL;
}

/* Of a configuration with mistakes nobody here knows the profiles and categories: usherd does, and checks
 * them. */
static const char *value_to_check(void *arg, const char *parameter)
{
	const struct log_ask *ask = arg;

	if (ask->context->is_damaged &&
	        (strcmp(parameter, "profile") == 0 || strcmp(parameter, "category") == 0))
		return NULL;
	return log_ask_value(ask, parameter);
}

static const char **value_place(struct log_ask *ask, const char *parameter)
{
	for (size_t i = 0; ask->parameters[i]; i++)
		if (strcmp(ask->parameters[i], parameter) == 0)
			return &ask->values[i];
	return NULL;
}

void log_ask_set(struct log_ask *ask, const char *parameter, const char *value)
{
	*value_place(ask, parameter) = value;
}

/* A person's time becomes the socket's. */
static int time_value(struct log_ask *ask, const char *name, char text[UTC_TEXT_LEN])
{
	const char **value = value_place(ask, name);
	int64_t s;

	if (!value || !*value)
		return COMMAND_OK;
	if (command_time(*value, true, &s) < 0)
		return command_usage_error(ask->command,
		        "--%s: found '%s', expected a time such as 1h, yesterday or 2026-11-23 10:15", name,
		        *value);
	utc_text(s, text);
	*value = text;
	return COMMAND_OK;
}

int log_ask_read(struct log_ask *ask, const struct command_option *others, size_t count)
{
	struct command_option options[OPTIONS_MAX];
	char why[LOG_QUERY_WHY_MAX];
	size_t all = 0;

	for (size_t i = 0; i < count; i++)
		options[all++] = others[i];
	for (size_t i = 0; ask->parameters[i]; i++)
		if (strcmp(ask->parameters[i], "format") != 0)
			options[all++] = (struct command_option){ ask->parameters[i], true, &ask->values[i] };
	int ret = command_options(ask->context, ask->command, options, all);
	if (ret != COMMAND_OK)
		return ret;
	if (ask->context->argc > 0)
		return command_usage_error(ask->command, "unexpected '%s'", ask->context->argv[0]);
	ret = time_value(ask, "since", ask->since);
	if (ret == COMMAND_OK)
		ret = time_value(ask, "until", ask->until);
	if (ret != COMMAND_OK)
		return ret;
	ask->config = command_config_to_ask(ask->context);
	if (log_query_read(&ask->query, ask->config, value_to_check, ask, why) < 0)
		return command_usage_error(ask->command, "--%s", why);
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

int log_ask_path(const struct log_ask *ask, const char *route, char path[LOG_ASK_PATH_LEN])
{
	char *at = path + sprintf(path, "%s", route), *end = path + LOG_ASK_PATH_LEN - 64;
	char separator = '?';

	for (size_t i = 0; ask->parameters[i] && at; i++) {
		if (!ask->values[i])
			continue;
		at += sprintf(at, "%c%s=", separator, ask->parameters[i]);
		at = encode(at, end, ask->values[i]);
		separator = '&';
	}
	return at ? COMMAND_OK : command_usage_error(ask->command, "the filters are too long");
}

/* ---- with and without usherd ---- */

bool log_ask_is_served(const struct config *config)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s/log.sock", config->run_dir);
	bool answers = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
	if (fd >= 0)
		close(fd);
	return answers;
}

static int record_read(const struct log_ask *ask, const char *what, uid_t uid)
{
	char dir[LOG_ASK_PATH_LEN];
	json_t *detail = json_pack("{s:b}", "offline", 1);

	for (size_t i = 0; detail && ask->parameters[i]; i++)
		if (ask->values[i])
			json_object_set_new(detail, ask->parameters[i], json_string(ask->values[i]));
	snprintf(dir, sizeof dir, "%s/ledger", ask->config->state_dir);
	int ret = detail ? ledger_append(dir, uid, what, detail) : -ENOMEM;
	json_decref(detail);
	return ret;
}

static int read_store(const struct log_ask *ask, const char *what,
        int64_t (*offline)(const struct log_ask *ask, const char *dir, FILE *out), char **text)
{
	char dir[LOG_ASK_PATH_LEN];
	size_t len;
	uid_t uid = getuid();

	command_become_user(command_config(ask->context));
	int ret = record_read(ask, what, uid);
	if (ret < 0) {
		fprintf(stderr, "usher: the read could not be recorded in the ledger, and is refused: %s\n",
		        strerror(-ret));
		return COMMAND_FAILED;
	}
	snprintf(dir, sizeof dir, "%s/log", ask->config->state_dir);
	FILE *out = open_memstream(text, &len);
	int64_t lines = out ? offline(ask, dir, out) : -ENOMEM;
	if (out && fclose(out) != 0)
		lines = -ENOMEM;
	if (lines >= 0)
		return COMMAND_OK;
	fprintf(stderr, "usher: the log in %s cannot be read: %s\n", dir, strerror((int)-lines));
	return COMMAND_FAILED;
}

int log_ask_answer(const struct log_ask *ask, const char *route, const char *what,
        int64_t (*offline)(const struct log_ask *ask, const char *dir, FILE *out), char **text)
{
	char path[LOG_ASK_PATH_LEN];

	if (log_ask_path(ask, route, path) != COMMAND_OK)
		return COMMAND_USAGE;
	if (geteuid() == 0 && !log_ask_is_served(ask->config))
		return read_store(ask, what, offline, text);
	int status = command_http(ask->config, "log.sock", path, NULL, text);
	if (status < 0)
		return COMMAND_FAILED;
	return status == 200 ? COMMAND_OK : command_http_failed(status, *text);
}

/* ---- its lines ---- */

size_t log_each_line(char *text, void (*each)(void *arg, const char *line, const json_t *record), void *arg)
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

const char *log_cell_text(const json_t *record, const char *key, char text[32])
{
	const json_t *value = json_object_get(record, key);

	if (json_is_integer(value)) {
		snprintf(text, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return text;
	}
	return json_is_string(value) ? json_string_value(value) : "";
}
