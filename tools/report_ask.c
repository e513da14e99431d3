#include "report_ask.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log_ask.h"

#define WORDS_MAX 16

const char report_episodes[] = "/v1/episodes", report_signals[] = "/v1/signals", report_records[] = "/v1/log";

/* The options that a person would type. */
struct words {
	char since[UTC_TEXT_LEN], until[UTC_TEXT_LEN], limit[16];
	char *word[WORDS_MAX];
	int count;
};

static void words_add(struct words *words, const char *option, const char *value)
{
	if (!value)
		return;
	words->word[words->count++] = (char *)(uintptr_t)option;
	words->word[words->count++] = (char *)(uintptr_t)value;
	words->word[words->count] = NULL;
}

static void words_fill(struct words *words, const struct report_whom *whom,
        const struct report_period *period, const char *by)
{
	words->count = 0;
	words_add(words, "--profile", whom->profile);
	words_add(words, "--client", whom->client);
	words_add(words, "--device", whom->device);
	utc_text(period->since, words->since);
	utc_text(period->until, words->until);
	words_add(words, "--since", words->since);
	words_add(words, "--until", words->until);
	snprintf(words->limit, sizeof words->limit, "%d", REPORT_ROWS_MAX);
	words_add(words, "--limit", words->limit);
	words_add(words, "--count-by", by);
}

/* The lines of a route's answer, malloc()ed; NULL after saying why there are none. */
static char *answer(struct command_context *context, struct words *words, const char *route)
{
	struct command_context own = *context;
	struct log_ask ask = { .context = &own, .command = "report", .parameters = log_query_parameters };
	char path[LOG_ASK_PATH_LEN], *text = NULL;

	own.argc = words->count;
	own.argv = words->word;
	if (log_ask_read(&ask, NULL, 0) != COMMAND_OK || log_ask_path(&ask, route, path) != COMMAND_OK)
		return NULL;
	int status = command_http(ask.config, "log.sock", path, NULL, &text);
	if (status == 200)
		return text;
	if (status > 0)
		command_http_failed(status, text);
	free(text);
	return NULL;
}

static void line_kept(void *array, const char *line, const json_t *record)
{
	(void)line;
	json_array_append(array, (json_t *)(uintptr_t)record);
}

static json_t *lines(char *text)
{
	json_t *array = text ? json_array() : NULL;

	if (array)
		log_each_line(text, line_kept, array);
	free(text);
	return array;
}

json_t *report_ask_rows(struct command_context *context, const char *route, const struct report_whom *whom,
        const struct report_period *period)
{
	struct words words;

	words_fill(&words, whom, period, NULL);
	return lines(answer(context, &words, route));
}

json_t *report_ask_counts(struct command_context *context, const struct report_whom *whom,
        const struct report_period *period, const char *by)
{
	struct words words;
	json_t *counts, *line;
	size_t i;

	words_fill(&words, whom, period, by);
	json_t *array = lines(answer(context, &words, report_records));
	if (!array)
		return NULL;
	counts = json_object();
	json_array_foreach(array, i, line)
	{
		const char *key = json_string_value(json_object_get(line, by));
		json_object_set(counts, key ? key : "", json_object_get(line, "count"));
	}
	json_decref(array);
	return counts;
}

json_t *report_ask_state(struct command_context *context, const char *socket, const char *path)
{
	char file[PATH_MAX], *reply;
	json_t *state = NULL;

	snprintf(file, sizeof file, "%s/%s", command_config(context)->run_dir, socket);
	if (access(file, W_OK) < 0)
		return NULL;
	if (command_http(command_config(context), socket, path, NULL, &reply) == 200)
		state = json_loads(reply, 0, NULL);
	free(reply);
	return state;
}
