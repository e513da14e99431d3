/* `usher lists pull`: the lists of another usher, as they are. */
#include "lists_cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "blocklists/pull.h"

static void tell(const struct lists_tool *tool, const struct pull_result *result, const char *why)
{
	if (tool->context->json)
		lists_tool_json(json_pack("{s:b, s:b, s:b, s:I, s:o, s:s?}", "published", result->published,
		        "pinned", result->pinned, "held", result->held, "generation", (json_int_t)result->id,
		        "names", result->published ? json_integer((json_int_t)result->names) : json_null(),
		        "why", why[0] != '\0' ? why : NULL));
	else if (result->pinned)
		printf("generation %" PRIu64
		       " is pinned by a rollback: nothing was done (--resume ends that)\n",
		        result->id);
	else if (result->published)
		printf("generation %" PRIu64 " published: %" PRIu64 " names\n", result->id, result->names);
	else if (!result->held)
		printf("nothing new: generation %" PRIu64 " stays\n", result->id);
}

int lists_pull(struct lists_tool *tool)
{
	const char *force = NULL, *resume = NULL, *from = tool->config->pull;
	const struct command_option options[] = { { "force", false, &force }, { "resume", false, &resume } };
	char why[LISTS_WHY_MAX];
	struct pull_result result;

	int ret = command_options(tool->context, LISTS_COMMAND, options, 2);
	if (ret != 0)
		return ret;
	if (tool->context->argc > 1)
		return command_usage_error(LISTS_COMMAND, "lists pull takes one URL or path");
	if (tool->context->argc == 1)
		from = tool->context->argv[0];
	if (from[0] == '\0')
		return command_usage_error(LISTS_COMMAND,
		        "lists pull needs a URL or path, as the configuration has no lists.pull");
	if (lists_tool_become_writer(tool) != COMMAND_OK)
		return COMMAND_FAILED;
	const struct pull_options pull = { .dir = tool->dir,
		.from = from,
		.categories = tool->categories,
		.category_count = tool->config->category_count,
		.keep_generations = tool->config->keep_generations,
		.fetch = lists_tool_fetch_options(tool),
		.force = force != NULL,
		.resume = resume != NULL };
	ret = pull_run(&pull, &result, why);
	if (why[0] != '\0')
		fprintf(stderr, "usher: %s: %s\n", from, why);
	if (ret == 0)
		tell(tool, &result, why);
	if (ret == 0 && result.published)
		lists_tool_note_published(tool, "lists.pull", result.id, result.names);
	if (ret < 0)
		return COMMAND_FAILED;
	return result.held ? COMMAND_HELD : COMMAND_OK;
}
