/* `usher lists update`, `accept` and `rollback`: what changes the lists, in words of the configuration. */
#include "lists_impact.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/generations.h"
#include "blocklists/member.h"
#include "blocklists/source_folder.h"
#include "blocklists/update.h"
#include "resolver/account.h"
#include "resolver/builtin.h"
#include "resolver/ledger.h"

#define ROLLBACK_MAX 256
#define SENTENCE_MAX 8192

/* The configuration in the words of update.h. Texts and names belong to the configuration. */
struct plan {
	struct update_options options;
	struct source *sources;
	struct source_guard *guards;
};

static void plan_sources(struct plan *plan, const struct config *config)
{
	for (size_t i = 0; i < config->source_count; i++) {
		const struct config_source *from = &config->sources[i];
		struct source *to = &plan->sources[i];
		struct source_mapping *map = calloc(from->map_count + 1, sizeof *map);
		if (map == NULL)
			abort();
		for (size_t k = 0; k < from->map_count; k++)
			map[k] = (struct source_mapping){ from->map[k].folder,
				(unsigned)from->map[k].category };
		*to = (struct source){ .name = from->name,
			.url = from->url,
			.licence = from->licence,
			.sha256 = from->sha256,
			.key = from->key,
			.signature = from->signature,
			.tsig = { from->tsig.name, from->tsig.algorithm, from->tsig.secret },
			.format = (enum parse_format)parse_format_by_name(from->format),
			.category = from->category,
			.map = map,
			.map_count = from->map_count,
			.must_block = from->must_block,
			.must_block_count = from->must_block_count,
			.must_pass = from->must_pass,
			.must_pass_count = from->must_pass_count };
	}
	plan->options.sources = plan->sources;
	plan->options.source_count = config->source_count;
}

static void guard_add(struct plan *plan, const struct name *name, bool below, bool own)
{
	if (name->labels > 0)
		plan->guards[plan->options.guard_count++] = (struct source_guard){ *name, below, own };
}

/*
 * What no list may block: protected names, the school's own zones, and the engines of safe search with their
 * targets. YouTube is not among them: a school may well block it, target and all, as a category.
 */
static void plan_guards(struct plan *plan, const struct config *config)
{
	size_t count = config->protected_count + config->internal_zone_count;

	for (size_t i = 0; i < config->engine_count; i++)
		count += config->engines[i].name_count + 1;
	plan->guards = calloc(count + 1, sizeof *plan->guards);
	if (plan->guards == NULL)
		abort();
	for (size_t i = 0; i < config->protected_count; i++)
		guard_add(plan, &config->protected_names[i], false, false);
	for (size_t i = 0; i < config->internal_zone_count; i++)
		guard_add(plan, &config->internal_zones[i].zone, true, true);
	for (size_t i = 0; i < config->engine_count; i++) {
		const struct config_engine *engine = &config->engines[i];
		if (engine->has_levels)
			continue;
		if (engine->target.len > 0)
			guard_add(plan, &engine->target, false, true);
		for (size_t k = 0; k < engine->name_count; k++)
			guard_add(plan, &engine->names[k], false, false);
	}
	plan->options.guards = plan->guards;
}

struct fetch_options lists_tool_fetch_options(const struct lists_tool *tool)
{
	return (struct fetch_options){ .proxy = tool->config->proxy,
		.ca_file = tool->config->ca_file,
		.size_max = tool->config->fetch_max_size,
		.seconds_max = tool->config->fetch_timeout_s };
}

static void plan_make(struct plan *plan, const struct lists_tool *tool)
{
	const struct config *config = tool->config;
	const struct builtin_file *starter = config->starter ? builtin_file("starter.txt") : NULL;

	*plan = (struct plan){ .sources = calloc(config->source_count + 1, sizeof *plan->sources) };
	if (plan->sources == NULL)
		abort();
	plan->options.dir = tool->dir;
	plan->options.categories = tool->categories;
	plan->options.category_count = config->category_count;
	plan->options.sealed = config->sealed;
	plan->options.keep_generations = config->keep_generations;
	plan->options.max_shrink_percent = config->max_shrink_percent;
	plan->options.must_pass = config->must_pass;
	plan->options.must_pass_count = config->must_pass_count;
	plan->options.fetch = lists_tool_fetch_options(tool);
	if (starter != NULL) {
		plan->options.starter = starter->text;
		plan->options.starter_len = starter->len;
	}
	plan_sources(plan, config);
	plan_guards(plan, config);
}

static void plan_clear(struct plan *plan)
{
	for (size_t i = 0; i < plan->options.source_count; i++)
		free((void *)(uintptr_t)plan->sources[i].map);
	free(plan->sources);
	free(plan->guards);
}

int lists_tool_become_writer(const struct lists_tool *tool)
{
	struct account account = { .uid = (uid_t)-1 };
	int ret = 0;

	if (geteuid() == 0)
		ret = account_find(&account, tool->config->user, tool->config->user_given);
	if (ret == 0)
		ret = account_make_folder(&account, tool->config->state_dir, 0750);
	if (ret == 0)
		ret = account_make_folder(&account, tool->dir, 0755);
	if (ret < 0) {
		fprintf(stderr, "usher: %s: %s\n", tool->dir, strerror(-ret));
		return COMMAND_FAILED;
	}
	command_become_user(tool->config);
	return COMMAND_OK;
}

/* Appends an entry to the ledger, taking detail over; a failure is said. */
static void note(const struct lists_tool *tool, const char *what, json_t *detail)
{
	const char *author = command_sudo_user();
	char dir[PATH_MAX];
	int ret = -ENAMETOOLONG;

	if (author != NULL)
		json_object_set_new(detail, "author", json_string(author));
	if (snprintf(dir, sizeof dir, "%s/ledger", tool->config->state_dir) < (int)sizeof dir)
		ret = ledger_append(dir, tool->uid, what, detail);
	if (ret < 0)
		fprintf(stderr, "usher: the ledger cannot be written: %s\n", strerror(-ret));
	json_decref(detail);
}

void lists_tool_note_published(const struct lists_tool *tool, const char *what, uint64_t id, uint64_t names)
{
	struct lists *lists = lists_tool_open(tool, id);

	note(tool, what,
	        json_pack("{s:I, s:I, s:s}", "generation", (json_int_t)id, "names", (json_int_t)names, "hash",
	                lists != NULL ? lists_info(lists)->hash : ""));
	lists_free(lists);
}

/* ---- telling how it goes ---- */

static void tell_folders(const char *source, const json_t *account, const char *key, const char *words)
{
	const json_t *folders = json_object_get(account, key);
	char sentence[SENTENCE_MAX];
	size_t i;
	json_t *folder;

	if (json_array_size(folders) == 0)
		return;
	int len = snprintf(sentence, sizeof sentence, "%s: %s:", source, words);
	json_array_foreach(folders, i, folder) if (len > 0 && (size_t)len < sizeof sentence) len +=
	        snprintf(sentence + len, sizeof sentence - (size_t)len, " %s", json_string_value(folder));
	command_say(sentence);
}

/* Why, the entries of each reason, as far as there is room. */
static void tell_skipped(const char *source, const json_t *account)
{
	char sentence[SENTENCE_MAX];
	const char *key;
	json_t *count;
	int len = snprintf(sentence, sizeof sentence, "%s: skipped:", source);
	bool first = true;

	json_object_foreach(json_object_get(account, "skipped"), key, count)
	{
		int reason = parse_reason_by_key(key);
		if (json_integer_value(count) == 0 || reason < 0 || len < 0 || (size_t)len >= sizeof sentence)
			continue;
		len += snprintf(sentence + len, sizeof sentence - (size_t)len,
		        "%s %" JSON_INTEGER_FORMAT " %s", first ? "" : ";", json_integer_value(count),
		        parse_reason_words((enum parse_reason)reason));
		first = false;
	}
	if (!first)
		command_say(sentence);
}

static int64_t skipped_total(const json_t *account)
{
	const char *reason;
	json_t *count;
	int64_t total = 0;

	json_object_foreach(json_object_get(account, "skipped"), reason, count) total +=
	        json_integer_value(count);
	return total;
}

static void tell_taken(const struct update_report *report)
{
	int64_t left_out = member_number(json_object_get(report->account, "skipped"), "protected");
	char sentence[SENTENCE_MAX];

	snprintf(sentence, sizeof sentence,
	        "%s: %" PRId64 " names (%" PRId64 " named again, %" PRId64 " covered by a parent, %" PRId64
	        " skipped)",
	        report->source, member_number(report->account, "taken"),
	        member_number(report->account, "duplicate"), member_number(report->account, "covered"),
	        skipped_total(report->account));
	command_say(sentence);
	tell_skipped(report->source, report->account);
	tell_folders(report->source, report->account, "ignored", "folders that its map does not name");
	tell_folders(report->source, report->account, "missing", "folders of its map that are not in it");
	if (member_number(report->account, "shared") > 0) {
		snprintf(sentence, sizeof sentence,
		        "%s: takes whole sites that many share: %" PRId64 " entries, the first: %s",
		        report->source, member_number(report->account, "shared"),
		        member_text(report->account, "shared_first"));
		command_say(sentence);
	}
	if (left_out > 0) {
		snprintf(sentence, sizeof sentence,
		        "%s: left out, since no list may block them: %" PRId64 " entries, the first: %s",
		        report->source, left_out, member_text(report->account, "left_out"));
		command_say(sentence);
	}
}

static void tell_next_step(const struct lists_tool *tool, const char *source)
{
	json_t *account = source_folder_account(tool->dir, source);
	char sentence[SENTENCE_MAX];

	lists_tool_next_step(source, json_object_get(account, "held"), sentence, sizeof sentence);
	command_say(sentence);
	json_decref(account);
}

static void tell_people(const struct lists_tool *tool, const struct update_report *report)
{
	const char *rest =
	        report->has_good ? "; its last good content stays in use" : "; it has no earlier content";
	char sentence[SENTENCE_MAX];

	switch (report->state) {
	case UPDATE_TAKEN:
		tell_taken(report);
		return;
	case UPDATE_UNCHANGED:
		snprintf(sentence, sizeof sentence, "%s: %s, %" PRId64 " names", report->source,
		        tool->accepts ? "accepted" : "nothing new", member_number(report->account, "taken"));
		break;
	case UPDATE_HELD:
		snprintf(sentence, sizeof sentence, "%s: held back: %s%s", report->source, report->why, rest);
		break;
	case UPDATE_FAILED:
		snprintf(sentence, sizeof sentence, "%s: failed: %s%s; the next update tries again",
		        report->source, report->why, rest);
		break;
	}
	command_say(sentence);
	if (report->state == UPDATE_HELD)
		tell_next_step(tool, report->source);
}

static const char *const report_keys[] = { "source", "state", "why", "has_good", "read", "taken", "duplicate",
	"covered", "shared", "skipped", "ignored", "missing", "left_out" };
#define REPORT_KEYS (sizeof report_keys / sizeof report_keys[0])
#define REPORT_COUNTS 4 /* from this key on they are the account's */

static void tell_program(const struct lists_tool *tool, const struct update_report *report)
{
	json_t *json = json_object();

	json_object_set_new(json, "source", json_string(report->source));
	json_object_set_new(json, "state", json_string(update_state_name(report->state)));
	json_object_set_new(json, "why", report->why[0] != '\0' ? json_string(report->why) : json_null());
	json_object_set_new(json, "has_good", json_boolean(report->has_good));
	for (size_t i = REPORT_COUNTS; i < REPORT_KEYS; i++)
		json_object_set_new(json, report_keys[i], lists_tool_member(report->account, report_keys[i]));
	lists_tool_row(tool, json, report_keys, REPORT_KEYS);
}

static void reported(void *arg, const struct update_report *report)
{
	const struct lists_tool *tool = arg;

	if (isatty(STDERR_FILENO))
		fputs("\r\x1b[K", stderr);
	if (tool->context->json || tool->rows_are_sources)
		tell_program(tool, report);
	else
		tell_people(tool, report);
}

#define BAR_WIDTH 30
#define MIB (1 << 20)

/* A bar on a terminal, for all that is fetched; a journal gets a line a source, when each is done. */
static void progressed(void *arg, const struct fetch_progress *progress)
{
	unsigned full = progress->permille * BAR_WIDTH / 1000;

	(void)arg;
	fprintf(stderr, "\r\x1b[K[%.*s%*s] %zu of %zu fetched, %.1f MiB%s%s", (int)full,
	        "##############################", (int)(BAR_WIDTH - full), "", progress->done,
	        progress->count, (double)progress->got / MIB, progress->name != NULL ? ": " : "",
	        progress->name != NULL ? progress->name : "");
}

/* What the new generation changes for the school, judged while it is made. */
static void generation_made(void *arg, const char *file)
{
	struct lists_tool *tool = arg;
	const size_t count = tool->config->category_count;
	struct lists *before, *after;
	char why[LISTS_WHY_MAX];

	if (lists_open(&before, tool->dir, NULL, tool->categories, count, why) < 0)
		return;
	int ret = impact_judge_before(tool->impact, before);
	lists_free(before);
	if (ret < 0 || lists_open(&after, tool->dir, file, tool->categories, count, why) < 0)
		return;
	impact_judge_after(tool->impact, after);
	lists_free(after);
}

static json_t *count_or_null(bool known, size_t count)
{
	return known ? json_integer((json_int_t)count) : json_null();
}

static void tell_result_json(
        const struct lists_tool *tool, const struct update_result *result, bool preview, json_t *unfed)
{
	const struct impact *impact = tool->impact;
	bool judged = impact->compared && (impact->days > 0 || impact->has_log);

	lists_tool_json(json_pack("{s:b, s:b, s:b, s:I, s:o, s:i, s:i, s:o, s:o, s:o}", "published",
	        result->published, "preview", preview, "pinned", result->pinned, "generation",
	        (json_int_t)result->id, "names", count_or_null(result->names > 0, result->names), "held",
	        (int)result->held, "failed", (int)result->failed, "newly_blocked",
	        count_or_null(judged, impact->newly_blocked), "newly_unblocked",
	        count_or_null(judged && impact->has_log, impact->newly_unblocked), "sealed_unfed", unfed));
}

static int exit_of(const struct update_result *result)
{
	if (result->failed > 0)
		return COMMAND_FAILED;
	return result->held > 0 ? COMMAND_HELD : COMMAND_OK;
}

static void tell_preview(const struct lists_tool *tool, const struct update_result *result)
{
	const struct impact *impact = tool->impact;
	char log[64] = "";

	impact_tell(impact);
	if (impact->days == 0)
		fprintf(stderr,
		        "usher: names/ holds nothing of the last %d days: what this school asks for "
		        "is not known\n",
		        IMPACT_DAYS);
	if (tool->context->json) {
		tell_result_json(tool, result, true, json_null());
		return;
	}
	if (tool->context->csv)
		return;
	if (result->names == 0) {
		printf("nothing new: generation %" PRIu64 " would stay\n", result->id);
		return;
	}
	printf("the next generation would have %" PRIu64 " names; nothing was published\n", result->names);
	if (impact->has_log)
		snprintf(log, sizeof log, " and %zu of its block log", impact->log_count);
	if (!impact->compared)
		puts("there is no generation to compare it with");
	else if (impact->count > 0)
		printf("newly blocked: %zu, newly unblocked: %zu, of %zu names that this school asked for in "
		       "%d days%s\n",
		        impact->newly_blocked, impact->newly_unblocked, impact->used_count, IMPACT_DAYS, log);
}

static void tell_result(const struct lists_tool *tool, const struct update_result *result)
{
	FILE *out = tool->context->csv ? stderr : stdout;
	struct lists *lists = lists_tool_open(tool, 0);
	json_t *unfed = lists_tool_unfed(tool, lists, !tool->context->json);

	lists_free(lists);
	if (tool->context->json)
		tell_result_json(tool, result, false, json_incref(unfed));
	else if (result->pinned)
		fprintf(out,
		        "generation %" PRIu64
		        " is pinned by a rollback: nothing was done (--resume ends that)\n",
		        result->id);
	else if (result->published)
		fprintf(out, "generation %" PRIu64 " published: %" PRIu64 " names\n", result->id,
		        result->names);
	else
		fprintf(out, "nothing new: generation %" PRIu64 " stays\n", result->id);
	json_decref(unfed);
	if (result->published && !tool->context->json)
		impact_summary(tool->impact);
}

static int run_plan(struct lists_tool *tool, struct plan *plan)
{
	struct update_result result;
	char why[LISTS_WHY_MAX];

	struct impact impact;

	impact_init(&impact, tool, time(NULL));
	impact_read_names(&impact);
	if (plan->options.preview)
		impact_read_log(&impact, "lists update --preview");
	tool->impact = &impact;
	tool->rows_are_sources = tool->context->csv && !plan->options.preview;
	if (tool->rows_are_sources)
		lists_tool_head(tool, report_keys, REPORT_KEYS);
	plan->options.report = reported;
	plan->options.made = impact.count > 0 || plan->options.preview ? generation_made : NULL;
	plan->options.arg = tool;
	if (isatty(STDERR_FILENO) && !tool->context->json)
		plan->options.fetch.progress = progressed;
	int ret = update_run(&plan->options, &result, why);
	if (ret < 0)
		command_say(why);
	else if (plan->options.preview)
		tell_preview(tool, &result);
	else
		tell_result(tool, &result);
	if (ret == 0 && result.published)
		lists_tool_note_published(tool, "lists.publish", result.id, result.names);
	impact_clear(&impact);
	return ret < 0 ? COMMAND_FAILED : exit_of(&result);
}

int lists_update(struct lists_tool *tool)
{
	const char *source = NULL, *force = NULL, *resume = NULL, *preview = NULL;
	const struct command_option options[] = { { "source", true, &source }, { "force", false, &force },
		{ "resume", false, &resume }, { "preview", false, &preview } };
	struct plan plan;

	if (tool->config->pull[0] != '\0')
		return lists_pull(tool);
	int ret = command_options(tool->context, LISTS_COMMAND, options, sizeof options / sizeof options[0]);
	if (ret != 0)
		return ret;
	if (tool->context->argc > 0)
		return command_usage_error(
		        LISTS_COMMAND, "lists update takes no '%s'", tool->context->argv[0]);
	if (preview != NULL && resume != NULL)
		return command_usage_error(LISTS_COMMAND, "--preview changes nothing, --resume would");
	if (lists_tool_become_writer(tool) != COMMAND_OK)
		return COMMAND_FAILED;
	if (resume != NULL && generations_pinned(tool->dir) != 0)
		note(tool, "lists.resume", json_object());
	plan_make(&plan, tool);
	plan.options.only = source;
	plan.options.force = force != NULL;
	plan.options.resume = resume != NULL;
	plan.options.preview = preview != NULL;
	ret = run_plan(tool, &plan);
	plan_clear(&plan);
	return ret;
}

/* ---- accept ---- */

int lists_accept(struct lists_tool *tool)
{
	const char *reason = NULL;
	const struct command_option options[] = { { "reason", true, &reason } };
	char why[LISTS_WHY_MAX], by[32];
	struct plan plan;

	int ret = command_options(tool->context, LISTS_COMMAND, options, 1);
	if (ret != 0)
		return ret;
	if (tool->context->argc != 1)
		return command_usage_error(LISTS_COMMAND, "lists accept needs one source");
	if (reason == NULL || reason[0] == '\0')
		return command_usage_error(LISTS_COMMAND, "lists accept needs a --reason");
	const char *source = tool->context->argv[0];
	if (lists_tool_become_writer(tool) != COMMAND_OK)
		return COMMAND_FAILED;
	snprintf(by, sizeof by, "uid %u", (unsigned)tool->uid);
	ret = source_folder_accept(tool->dir, source, reason, by, why);
	if (ret < 0) {
		fprintf(stderr, "usher: %s: %s\n", source, why);
		return COMMAND_FAILED;
	}
	note(tool, "lists.accept", json_pack("{s:s, s:s}", "source", source, "reason", reason));
	plan_make(&plan, tool);
	plan.options.only = source;
	plan.options.offline = true;
	tool->accepts = true;
	ret = run_plan(tool, &plan);
	plan_clear(&plan);
	return ret;
}

/* ---- rollback ---- */

static bool is_whole(const struct lists_tool *tool, uint64_t id)
{
	struct lists *lists = lists_tool_open(tool, id);

	lists_free(lists);
	return lists != NULL;
}

/* The newest generation before the current one that is whole, 0 if there is none. */
static uint64_t generation_before(const struct lists_tool *tool)
{
	uint64_t ids[ROLLBACK_MAX], current = lists_current_id(tool->dir);
	int count = generations_list(tool->dir, ids, ROLLBACK_MAX);

	for (int i = 0; i < count; i++)
		if (ids[i] < current && is_whole(tool, ids[i]))
			return ids[i];
	return 0;
}

int lists_rollback(struct lists_tool *tool)
{
	uint64_t id, from = lists_current_id(tool->dir);
	char why[LISTS_WHY_MAX];

	int ret = command_options(tool->context, LISTS_COMMAND, NULL, 0);
	if (ret != 0)
		return ret;
	if (tool->context->argc > 1)
		return command_usage_error(LISTS_COMMAND, "lists rollback takes one generation");
	id = tool->context->argc == 1 ? lists_tool_generation(tool->context->argv[0])
	                              : generation_before(tool);
	if (id == 0 && tool->context->argc == 1)
		return command_usage_error(LISTS_COMMAND, "'%s' is no generation", tool->context->argv[0]);
	if (id == 0) {
		fputs("usher: there is no generation before the current one\n", stderr);
		return COMMAND_FAILED;
	}
	if (lists_tool_become_writer(tool) != COMMAND_OK || !is_whole(tool, id))
		return COMMAND_FAILED;
	int lock = generations_lock(tool->dir, GENERATIONS_LOCK_WAIT_S, why);
	if (lock < 0) {
		fprintf(stderr, "usher: %s\n", why);
		return COMMAND_FAILED;
	}
	ret = generations_rollback(tool->dir, id);
	close(lock);
	if (ret < 0) {
		fprintf(stderr, "usher: %s: %s\n", tool->dir, strerror(-ret));
		return COMMAND_FAILED;
	}
	note(tool, "lists.rollback", json_pack("{s:I, s:I}", "from", (json_int_t)from, "to", (json_int_t)id));
	if (tool->context->json)
		lists_tool_json(json_pack("{s:I, s:I, s:b}", "generation", (json_int_t)id, "before",
		        (json_int_t)from, "pinned", 1));
	else
		printf("generation %" PRIu64 " is current%s, and stays until `usher lists update --resume`\n",
		        id, id != from ? " again" : "");
	return COMMAND_OK;
}
