/* `usher lists status`, `find`, `history`, `diff`, `coverage` and `export`: what shows the lists and changes
 * nothing. */
#include "lists_cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/generations.h"
#include "blocklists/member.h"
#include "blocklists/source_folder.h"
#include "blocklists/update.h"

#define GENERATIONS_SHOWN 256
#define NUMBER_MAX 24
#define TEXT_MAX 1024

static const char *number_text(int64_t number, char text[NUMBER_MAX])
{
	snprintf(text, NUMBER_MAX, "%" PRId64, number);
	return text;
}

static const char *time_text(int64_t at, char text[NUMBER_MAX])
{
	time_t seconds = (time_t)at;
	struct tm tm;

	if (localtime_r(&seconds, &tm) == NULL || strftime(text, NUMBER_MAX, "%Y-%m-%d %H:%M", &tm) == 0)
		text[0] = '\0';
	return text;
}

/* No options, and so many operands. */
static int operands(struct lists_tool *tool, const char *verb, int count, const char *what)
{
	int ret = command_options(tool->context, LISTS_COMMAND, NULL, 0);

	if (ret != 0 || tool->context->argc == count)
		return ret;
	return command_usage_error(LISTS_COMMAND, "lists %s %s", verb, what);
}

/* ---- status ---- */

/* The account of a source: of today where the state folder has one, else as the generation was made. */
static json_t *account_of(const struct lists_tool *tool, const struct lists *lists, const char *name)
{
	json_t *account = source_folder_account(tool->dir, name), *manifest = NULL;
	size_t i;
	json_t *source;

	if (account != NULL || lists == NULL ||
	        generations_manifest(tool->dir, lists_info(lists)->id, &manifest) < 0)
		return account;
	json_array_foreach(json_object_get(manifest, "sources"), i,
	        source) if (strcmp(member_text(source, "name"), name) == 0) account = json_incref(source);
	json_decref(manifest);
	return account;
}

static const char *const source_keys[] = { "name", "url", "format", "licence", "sha256", "size", "etag",
	"last_modified", "signed", "fetched_at", "changed_at", "read", "taken", "duplicate", "covered",
	"shared", "shared_first", "skipped", "categories", "ignored", "missing", "left_out", "samples",
	"accepted", "held", "failed" };
#define SOURCE_KEYS (sizeof source_keys / sizeof source_keys[0])

static json_t *source_json(const char *name, const json_t *account)
{
	json_t *json = json_pack("{s:s}", "name", name);

	for (size_t i = 1; i < SOURCE_KEYS; i++)
		json_object_set_new(json, source_keys[i], lists_tool_member(account, source_keys[i]));
	return json;
}

static void source_row(struct command_table *table, const char *name, const json_t *account)
{
	const json_t *held = json_object_get(account, "held"), *failed = json_object_get(account, "failed");
	const char *state = account == NULL ? "never fetched" : "";
	char words[TEXT_MAX], names[NUMBER_MAX], age[LISTS_AGE_MAX], since[NUMBER_MAX];

	if (json_is_object(held) || json_is_object(failed)) {
		const json_t *trouble = json_is_object(held) ? held : failed;
		snprintf(words, sizeof words, "%s since %s: %.600s", trouble == held ? "held back" : "failed",
		        time_text(member_number(trouble, "since"), since), member_text(trouble, "why"));
		state = words;
	}
	const char *const cells[] = { name, number_text(member_number(account, "taken"), names),
		lists_tool_age(member_number(account, "fetched_at"), age), member_text(account, "format"),
		member_text(account, "licence"), state };
	command_table_row(table, cells);
}

/* A whole hosting site in a list is taken as its makers say, and shown: it blocks many at once. */
static void shared_line(const char *name, const json_t *account)
{
	int64_t shared = member_number(account, "shared");
	char sentence[TEXT_MAX];

	if (shared == 0)
		return;
	snprintf(sentence, sizeof sentence,
	        "%s: takes whole sites that many share: %" PRId64 " entries, the first: %.300s", name, shared,
	        member_text(account, "shared_first"));
	char *safe = command_safe_text(sentence);
	puts(safe);
	free(safe);
}

static const char *source_name(const struct config *config, size_t i)
{
	if (config->starter)
		return i == 0 ? "starter" : config->sources[i - 1].name;
	return config->sources[i].name;
}

/* Where to look in a list that is not what it should be. */
static void samples_lines(const char *name, const json_t *account)
{
	size_t i;
	json_t *sample;

	json_array_foreach(json_object_get(account, "samples"), i, sample)
	{
		const char *entry = member_text(sample, "entry");
		int reason = parse_reason_by_key(member_text(sample, "reason"));
		char sentence[TEXT_MAX];
		snprintf(sentence, sizeof sentence, "%s: %.200s%sline %" PRId64 ": %s", name, entry,
		        entry[0] != '\0' ? " " : "", member_number(sample, "line"),
		        reason >= 0 ? parse_reason_words((enum parse_reason)reason) : "skipped");
		char *safe = command_safe_text(sentence);
		puts(safe);
		free(safe);
	}
}

static void held_line(const char *name, const json_t *account)
{
	const json_t *held = json_object_get(account, "held");
	char sentence[TEXT_MAX];

	if (!json_is_object(held))
		return;
	lists_tool_next_step(name, held, sentence, sizeof sentence);
	char *safe = command_safe_text(sentence);
	puts(safe);
	free(safe);
}

static void status_people(const struct lists_tool *tool, const struct lists *lists)
{
	static const char *const columns[] = { "source", "names", "confirmed", "format", "licence", "" };
	const struct lists_info *info = lists != NULL ? lists_info(lists) : NULL;
	char age[LISTS_AGE_MAX];

	if (info != NULL)
		printf("generation %" PRIu64 ": %" PRIu64 " names, %" PRIu64
		       " octets, published %s%s%s\nhash %s\n\n",
		        info->id, info->names, info->size, lists_tool_age(info->published_at, age),
		        info->starter ? ", the starter list alone" : "",
		        generations_pinned(tool->dir) != 0 ? ", pinned by a rollback" : "", info->hash);
	struct command_table *table = command_table_new(columns, sizeof columns / sizeof columns[0]);
	for (size_t i = 0; i < tool->config->source_count + tool->config->starter; i++) {
		const char *name = source_name(tool->config, i);
		json_t *account = account_of(tool, lists, name);
		source_row(table, name, account);
		json_decref(account);
	}
	command_table_print(table);
	json_decref(lists_tool_unfed(tool, lists, true));
	for (size_t i = 0; i < tool->config->source_count + tool->config->starter; i++) {
		const char *name = source_name(tool->config, i);
		json_t *account = account_of(tool, lists, name);
		shared_line(name, account);
		samples_lines(name, account);
		held_line(name, account);
		json_decref(account);
	}
}

static void status_json(const struct lists_tool *tool, const struct lists *lists)
{
	const struct lists_info *info = lists != NULL ? lists_info(lists) : NULL;
	json_t *sources = json_array(), *categories = json_object(), *generation = json_null();

	for (size_t i = 0; i < tool->config->source_count + tool->config->starter; i++) {
		const char *name = source_name(tool->config, i);
		json_t *account = account_of(tool, lists, name);
		json_array_append_new(sources, source_json(name, account));
		json_decref(account);
	}
	for (size_t i = 0; i < tool->config->category_count; i++)
		json_object_set_new(categories, tool->categories[i],
		        json_integer(info != NULL ? (json_int_t)info->category_names[i] : 0));
	if (info != NULL)
		generation = json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b}", "id", (json_int_t)info->id,
		        "names", (json_int_t)info->names, "published_at", (json_int_t)info->published_at,
		        "age_s", (json_int_t)(time(NULL) - info->published_at), "size",
		        (json_int_t)info->size, "hash", info->hash, "starter", info->starter, "pinned",
		        generations_pinned(tool->dir) != 0);
	lists_tool_json(json_pack("{s:o, s:o, s:o, s:o}", "generation", generation, "sources", sources,
	        "categories", categories, "sealed_unfed", lists_tool_unfed(tool, lists, false)));
}

static void status_csv(const struct lists_tool *tool, const struct lists *lists)
{
	lists_tool_head(tool, source_keys, SOURCE_KEYS);
	for (size_t i = 0; i < tool->config->source_count + tool->config->starter; i++) {
		const char *name = source_name(tool->config, i);
		json_t *account = account_of(tool, lists, name);
		lists_tool_row(tool, source_json(name, account), source_keys, SOURCE_KEYS);
		json_decref(account);
	}
}

int lists_status(struct lists_tool *tool)
{
	int ret = operands(tool, "status", 0, "takes nothing after it");

	if (ret != 0)
		return ret;
	struct lists *lists = lists_tool_open(tool, 0);
	(tool->context->json ? status_json : tool->context->csv ? status_csv : status_people)(tool, lists);
	lists_free(lists);
	return lists != NULL ? COMMAND_OK : COMMAND_FAILED;
}

/* ---- find ---- */

struct finding {
	const struct lists_tool *tool;
	const char *asked;
	struct command_table *table; /* made for the first entry */
};

static const char *const finding_keys[] = { "name", "listed", "category", "kind", "source", "url", "licence",
	"fetched_at" };
#define FINDING_KEYS (sizeof finding_keys / sizeof finding_keys[0])

static void finding_tell(struct finding *finding, const struct lists_entry *entry, const char *category)
{
	static const char *const columns[] = { "listed", "category", "applies to", "source", "confirmed" };
	const char *kind = entry->exception ? "exception" : entry->exact ? "name alone" : "name and below";
	char listed[NAME_TEXT_MAX], age[LISTS_AGE_MAX];

	name_to_text(&entry->name, listed);
	if (lists_tool_for_programs(finding->tool)) {
		const char *licence = entry->source->licence;
		json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:I}", "name", finding->asked,
		        "listed", listed, "category", category, "kind",
		        entry->exception ? "exception"
		        : entry->exact   ? "exact"
		                         : "suffix",
		        "source", entry->source->name, "url", entry->source->url, "licence",
		        licence[0] != '\0' ? licence : NULL, "fetched_at",
		        (json_int_t)entry->source->fetched_at);
		lists_tool_row(finding->tool, row, finding_keys, FINDING_KEYS);
		return;
	}
	if (finding->table == NULL)
		finding->table = command_table_new(columns, sizeof columns / sizeof columns[0]);
	const char *const cells[] = { listed, category, kind, entry->source->name,
		lists_tool_age(entry->source->fetched_at, age) };
	command_table_row(finding->table, cells);
}

static void found(void *arg, const struct lists_entry *entry)
{
	struct finding *finding = arg;

	for (size_t i = 0; i < finding->tool->config->category_count; i++)
		if (entry->categories >> i & 1)
			finding_tell(finding, entry, finding->tool->categories[i]);
}

/* What all entries together make of the name. */
static void facts_tell(const struct lists_tool *tool, struct lists_view *view, const struct lists *lists,
        const struct name *name, const char *asked)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct lists_facts facts;

	name_hash_suffixes(name, lists_seed(lists), hash);
	lists_lookup(view, name, hash, &facts);
	if (facts.categories == 0) {
		printf("%s is in no category: exceptions take it out\n", asked);
		return;
	}
	printf("%s is in:", asked);
	for (size_t i = 0; i < tool->config->category_count; i++)
		if (facts.categories >> i & 1)
			printf(" %s", tool->categories[i]);
	putchar('\n');
}

int lists_find_name(struct lists_tool *tool)
{
	char asked[NAME_TEXT_MAX];
	struct name name;

	int ret = operands(tool, "find", 1, "needs one name");
	if (ret != 0)
		return ret;
	if (name_from_user_text(&name, tool->context->argv[0], strlen(tool->context->argv[0])) < 0)
		return command_usage_error(LISTS_COMMAND, "'%s' is no domain name", tool->context->argv[0]);
	name_to_text(&name, asked);
	struct lists *lists = lists_tool_open(tool, 0);
	struct lists_view *view = lists != NULL ? lists_view_open(lists) : NULL;
	if (view == NULL)
		return COMMAND_FAILED;
	struct finding finding = { .tool = tool, .asked = asked };
	lists_tool_head(tool, finding_keys, FINDING_KEYS);
	ret = lists_find(view, &name, found, &finding);
	if (finding.table != NULL) {
		command_table_print(finding.table);
		facts_tell(tool, view, lists, &name, asked);
	} else if (!lists_tool_for_programs(tool)) {
		printf("%s is on no list\n", asked);
	}
	lists_view_close(view);
	lists_free(lists);
	return ret == 0 ? COMMAND_OK : COMMAND_FAILED;
}

/* ---- history ---- */

static void history_row(struct command_table *table, const json_t *manifest, bool current, bool pinned)
{
	char id[NUMBER_MAX], names[NUMBER_MAX], size[NUMBER_MAX], sources[NUMBER_MAX], at[NUMBER_MAX];
	const char *const cells[] = { number_text(member_number(manifest, "id"), id),
		time_text(member_number(manifest, "published_at"), at),
		number_text(member_number(manifest, "names"), names),
		number_text(member_number(manifest, "size"), size),
		number_text((int64_t)json_array_size(json_object_get(manifest, "sources")), sources),
		current ? (pinned ? "current, pinned" : "current") : "" };

	command_table_row(table, cells);
}

static json_t *history_json(const json_t *manifest, uint64_t id, uint64_t current, bool pinned)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:s, s:b, s:b, s:b, s:i}", "id", (json_int_t)id,
	        "published_at", (json_int_t)member_number(manifest, "published_at"), "names",
	        (json_int_t)member_number(manifest, "names"), "size",
	        (json_int_t)member_number(manifest, "size"), "hash", member_text(manifest, "hash"), "starter",
	        json_is_true(json_object_get(manifest, "starter")), "current", id == current, "pinned",
	        pinned && id == current, "sources",
	        (int)json_array_size(json_object_get(manifest, "sources")));
}

static const char *const history_keys[] = { "id", "published_at", "names", "size", "hash", "starter",
	"current", "pinned", "sources" };
#define HISTORY_KEYS (sizeof history_keys / sizeof history_keys[0])

int lists_history(struct lists_tool *tool)
{
	static const char *const columns[] = { "generation", "published", "names", "octets", "sources", "" };
	uint64_t ids[GENERATIONS_SHOWN], current = lists_current_id(tool->dir);
	bool pinned = generations_pinned(tool->dir) != 0;
	json_t *manifest;

	int ret = operands(tool, "history", 0, "takes nothing after it");
	if (ret != 0)
		return ret;
	int count = generations_list(tool->dir, ids, GENERATIONS_SHOWN);
	struct command_table *table =
	        lists_tool_for_programs(tool)
	                ? NULL
	                : command_table_new(columns, sizeof columns / sizeof columns[0]);
	lists_tool_head(tool, history_keys, HISTORY_KEYS);
	for (int i = 0; i < count; i++) {
		if (generations_manifest(tool->dir, ids[i], &manifest) < 0)
			continue;
		if (table != NULL)
			history_row(table, manifest, ids[i] == current, pinned);
		else
			lists_tool_row(tool, history_json(manifest, ids[i], current, pinned), history_keys,
			        HISTORY_KEYS);
		json_decref(manifest);
	}
	if (table != NULL)
		command_table_print(table);
	return COMMAND_OK;
}
