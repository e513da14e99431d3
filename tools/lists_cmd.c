/* `usher lists`: the words after it, and what they share. */
#include "lists_cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/generations.h"

static const struct verb {
	const char *name;
	int (*run)(struct lists_tool *tool);
} verbs[] = {
	{ "update", lists_update },
	{ "pull", lists_pull },
	{ "status", lists_status },
	{ "find", lists_find_name },
	{ "history", lists_history },
	{ "rollback", lists_rollback },
	{ "accept", lists_accept },
	{ "diff", lists_diff },
	{ "coverage", lists_coverage },
	{ "export", lists_export },
};

struct lists *lists_tool_open(const struct lists_tool *tool, uint64_t id)
{
	char path[PATH_MAX], why[LISTS_WHY_MAX] = "";
	struct lists *lists = NULL;
	int ret;

	if (id == 0) {
		ret = lists_open_newest_good(
		        &lists, tool->dir, tool->categories, tool->config->category_count, why);
	} else {
		ret = generations_path(path, sizeof path, tool->dir, id, "json");
		if (ret == 0 && access(path, F_OK) != 0 && errno == ENOENT) {
			fprintf(stderr,
			        "usher: generation %" PRIu64
			        " is not kept; `usher lists history` names those that are\n",
			        id);
			return NULL;
		}
		if (ret == 0)
			ret = generations_path(path, sizeof path, tool->dir, id, "mdb");
		if (ret == 0)
			ret = lists_open(
			        &lists, NULL, path, tool->categories, tool->config->category_count, why);
	}
	if (why[0] != '\0')
		command_say(why);
	return ret < 0 ? NULL : lists;
}

json_t *lists_tool_unfed(const struct lists_tool *tool, const struct lists *lists, bool aloud)
{
	json_t *unfed = json_array();
	char sentence[256];

	for (size_t i = 0; i < tool->config->category_count; i++) {
		if (!(tool->config->sealed >> i & 1) ||
		        (lists != NULL && lists_info(lists)->category_names[i] > 0))
			continue;
		json_array_append_new(unfed, json_string(tool->categories[i]));
		snprintf(sentence, sizeof sentence,
		        "WARNING: no source feeds the sealed category %.100s: nothing is blocked by it",
		        tool->categories[i]);
		if (aloud)
			command_say(sentence);
	}
	return unfed;
}

uint64_t lists_tool_generation(const char *text)
{
	char *end;

	if (strncmp(text, "gen-", 4) == 0)
		text += 4;
	if (*text < '0' || *text > '9')
		return 0;
	uint64_t id = strtoull(text, &end, 10);
	return *end == '\0' || strcmp(end, ".mdb") == 0 ? id : 0;
}

void lists_tool_next_step(const char *source, const json_t *held, char *sentence, size_t size)
{
	if (json_is_true(json_object_get(held, "acceptable")))
		snprintf(sentence, size,
		        "%.200s: if what it brought is right: usher lists accept %.200s --reason \"why it "
		        "is\"",
		        source, source);
	else
		snprintf(sentence, size,
		        "%.200s: what it brought cannot be accepted; the next update asks for it again",
		        source);
}

void lists_tool_json(json_t *json)
{
	if (json == NULL)
		abort();
	command_json(json);
	json_decref(json);
}

bool lists_tool_for_programs(const struct lists_tool *tool)
{
	return tool->context->json || tool->context->csv;
}

void lists_tool_head(const struct lists_tool *tool, const char *const *keys, size_t count)
{
	if (!tool->context->json && tool->context->csv)
		command_csv(keys, count);
}

json_t *lists_tool_member(const json_t *account, const char *key)
{
	json_t *value = json_object_get(account, key);
	bool unknown = value == NULL || (json_is_string(value) && json_string_length(value) == 0);

	return unknown ? json_null() : json_incref(value);
}

void lists_tool_row(const struct lists_tool *tool, json_t *row, const char *const *keys, size_t count)
{
	if (tool->context->json) {
		lists_tool_json(row);
		return;
	}
	if (row == NULL)
		abort();
	command_csv_object(row, keys, count);
	json_decref(row);
}

const char *lists_tool_age(int64_t since, char text[LISTS_AGE_MAX])
{
	static const struct {
		int64_t seconds;
		const char *unit;
	} units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
	int64_t age = time(NULL) - since;
	size_t i = 0;

	if (since == 0)
		return "";
	if (age < 0)
		age = 0;
	while (i < 3 && age < 2 * units[i].seconds)
		i++;
	snprintf(text, LISTS_AGE_MAX, "%" PRId64 " %s ago", age / units[i].seconds, units[i].unit);
	return text;
}

int lists_command(struct command_context *context)
{
	struct lists_tool tool = { .context = context, .uid = getuid() };

	if (context->argc == 0)
		return command_usage_error(LISTS_COMMAND, "lists needs a word after it");
	const char *word = context->argv[0];
	const struct verb *verb = NULL;
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		if (strcmp(verbs[i].name, word) == 0)
			verb = &verbs[i];
	if (verb == NULL)
		return command_usage_error(LISTS_COMMAND, "there is no command lists %s", word);
	context->argv++;
	context->argc--;
	tool.config = command_config(context);
	for (size_t i = 0; i < tool.config->category_count; i++)
		tool.categories[i] = tool.config->categories[i].name;
	if (snprintf(tool.dir, sizeof tool.dir, "%s/lists", tool.config->state_dir) >= (int)sizeof tool.dir)
		return COMMAND_FAILED;
	command_must_read(tool.dir);
	return verb->run(&tool);
}
