/* `usher lists diff`, `coverage` and `export`: what whole generations hold. */
#include "lists_impact.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/claims.h"
#include "blocklists/generations.h"
#include "blocklists/member.h"
#include "blocklists/source_folder.h"
#include "blocklists/update.h"

#define NUMBER_MAX 24
#define TEXT_MAX 1024

static const char *number_text(uint64_t number, char text[NUMBER_MAX])
{
	snprintf(text, NUMBER_MAX, "%" PRIu64, number);
	return text;
}

/* ---- diff ---- */

/* One side: a generation, read in key order. */
struct side {
	struct lists *lists;
	struct lists_view *view;
	struct lists_walk *walk;
	struct lists_listed listed;
	uint8_t key[NAME_KEY_MAX];
	size_t key_len;
	int ret; /* 1: listed is the next name, 0: no more, -EIO */
};

struct difference {
	const struct lists_tool *tool;
	bool names; /* print each */
	uint64_t added[CONFIG_CATEGORIES_MAX], removed[CONFIG_CATEGORIES_MAX];
};

static void side_next(struct side *side)
{
	side->ret = lists_walk_next(side->walk, &side->listed);
	if (side->ret > 0)
		side->key_len = name_to_key(&side->listed.name, side->key);
}

static bool side_open(struct side *side, const struct lists_tool *tool, const char *text)
{
	side->lists = lists_tool_open(tool, lists_tool_generation(text));
	side->view = side->lists != NULL ? lists_view_open(side->lists) : NULL;
	side->walk = side->view != NULL ? lists_walk_open(side->view) : NULL;
	if (side->walk != NULL)
		side_next(side);
	return side->walk != NULL;
}

static void side_close(struct side *side)
{
	lists_walk_close(side->walk);
	lists_view_close(side->view);
	lists_free(side->lists);
}

static const char *const name_keys[] = { "name", "category", "change" };
static const char *const count_keys[] = { "category", "added", "removed" };

static void difference_name(
        struct difference *difference, const struct name *name, uint64_t before, uint64_t after)
{
	char text[NAME_TEXT_MAX];

	for (size_t i = 0; i < difference->tool->config->category_count; i++) {
		uint64_t bit = UINT64_C(1) << i;
		if (((before ^ after) & bit) == 0)
			continue;
		bool added = (after & bit) != 0;
		(added ? difference->added : difference->removed)[i]++;
		if (!difference->names)
			continue;
		name_to_text(name, text);
		if (lists_tool_for_programs(difference->tool))
			lists_tool_row(difference->tool,
			        json_pack("{s:s, s:s, s:s}", "name", text, "category",
			                difference->tool->categories[i], "change",
			                added ? "added" : "removed"),
			        name_keys, 3);
		else
			printf("%c %s %s\n", added ? '+' : '-', difference->tool->categories[i], text);
	}
}

/* Both in step; the side whose name comes first goes on. */
static int difference_walk(struct difference *difference, struct side *before, struct side *after)
{
	while (before->ret > 0 || after->ret > 0) {
		int order = after->ret <= 0    ? -1
		            : before->ret <= 0 ? 1
		                               : claims_key_compare(before->key, before->key_len, after->key,
		                                         after->key_len);
		uint64_t was = order <= 0 ? before->listed.at | before->listed.below : 0;
		uint64_t is = order >= 0 ? after->listed.at | after->listed.below : 0;
		difference_name(difference, order <= 0 ? &before->listed.name : &after->listed.name, was, is);
		if (order <= 0)
			side_next(before);
		if (order >= 0)
			side_next(after);
		if (before->ret < 0 || after->ret < 0)
			return -1;
	}
	return 0;
}

static void difference_tell(const struct difference *difference)
{
	const struct lists_tool *tool = difference->tool;
	struct command_table *table = lists_tool_for_programs(tool) ? NULL : command_table_new(count_keys, 3);
	char added[NUMBER_MAX], removed[NUMBER_MAX];

	for (size_t i = 0; i < tool->config->category_count; i++) {
		if (difference->added[i] == 0 && difference->removed[i] == 0)
			continue;
		const char *const cells[] = { tool->categories[i], number_text(difference->added[i], added),
			number_text(difference->removed[i], removed) };
		if (table != NULL)
			command_table_row(table, cells);
		else
			lists_tool_row(tool,
			        json_pack("{s:s, s:I, s:I}", "category", tool->categories[i], "added",
			                (json_int_t)difference->added[i], "removed",
			                (json_int_t)difference->removed[i]),
			        count_keys, 3);
	}
	if (table != NULL)
		command_table_print(table);
}

/* Of the names that this school used, those that are blocked in the one generation and not in the other. */
static int diff_used(struct lists_tool *tool)
{
	struct impact impact;
	int ret = 0;

	command_become_user(tool->config);
	impact_init(&impact, tool, time(NULL));
	impact_read_names(&impact);
	impact_read_log(&impact, "lists diff --used");
	for (int i = 0; ret == 0 && i < 2; i++) {
		struct lists *lists = lists_tool_open(tool, lists_tool_generation(tool->context->argv[i]));
		if (lists == NULL)
			ret = -ENOENT;
		else
			ret = i == 0 ? impact_judge_before(&impact, lists)
			             : impact_judge_after(&impact, lists);
		lists_free(lists);
	}
	if (ret == 0)
		impact_tell(&impact);
	if (ret == 0 && !lists_tool_for_programs(tool) && impact.newly_blocked + impact.newly_unblocked == 0)
		printf("of %zu names that this school used in %d days, none is newly blocked or unblocked\n",
		        impact.count, IMPACT_DAYS);
	impact_clear(&impact);
	return ret == 0 ? COMMAND_OK : COMMAND_FAILED;
}

int lists_diff(struct lists_tool *tool)
{
	const char *names = NULL, *used = NULL;
	const struct command_option options[] = { { "names", false, &names }, { "used", false, &used } };
	struct side before = { 0 }, after = { 0 };
	struct difference difference = { .tool = tool };

	int ret = command_options(tool->context, LISTS_COMMAND, options, 2);
	if (ret != 0)
		return ret;
	if (tool->context->argc != 2)
		return command_usage_error(LISTS_COMMAND, "lists diff needs two generations");
	for (int i = 0; i < 2; i++)
		if (lists_tool_generation(tool->context->argv[i]) == 0)
			return command_usage_error(
			        LISTS_COMMAND, "'%s' is no generation", tool->context->argv[i]);
	if (used != NULL && names != NULL)
		return command_usage_error(LISTS_COMMAND, "--names and --used exclude each other");
	if (used != NULL)
		return diff_used(tool);
	difference.names = names != NULL;
	ret = COMMAND_FAILED;
	if (side_open(&before, tool, tool->context->argv[0]) &&
	        side_open(&after, tool, tool->context->argv[1])) {
		lists_tool_head(tool, difference.names ? name_keys : count_keys, 3);
		ret = difference_walk(&difference, &before, &after) == 0 ? COMMAND_OK : COMMAND_FAILED;
	}
	if (ret == COMMAND_OK && !difference.names)
		difference_tell(&difference);
	side_close(&before);
	side_close(&after);
	return ret;
}

/* ---- coverage ---- */

/* What feeds one row: its categories, and the sources that have names in them. */
struct cover {
	uint64_t names;
	json_t *categories, *sources, *licences;
	int64_t oldest; /* of the sources: when last confirmed */
};

static void array_add(json_t *array, const char *text)
{
	size_t i;
	json_t *value;

	json_array_foreach(array, i, value) if (strcmp(json_string_value(value), text) == 0) return;
	if (text[0] != '\0')
		json_array_append_new(array, json_string(text));
}

/* When a source was last confirmed: the generation remembers how it was then, the source's own account is of
 * today. */
static int64_t confirmed_at(const struct lists_tool *tool, const json_t *source)
{
	json_t *account = source_folder_account(tool->dir, member_text(source, "name"));
	int64_t at = member_number(account, "fetched_at");

	json_decref(account);
	return at > 0 ? at : member_number(source, "fetched_at");
}

static void cover_category(struct cover *cover, const struct lists_tool *tool, const struct lists *lists,
        const json_t *sources, size_t category)
{
	size_t i;
	json_t *source;

	array_add(cover->categories, tool->categories[category]);
	cover->names += lists_info(lists)->category_names[category];
	json_array_foreach(sources, i, source)
	{
		if (member_number(json_object_get(source, "categories"), tool->categories[category]) == 0)
			continue;
		int64_t at = confirmed_at(tool, source);
		array_add(cover->sources, member_text(source, "name"));
		array_add(cover->licences, member_text(source, "licence"));
		if (cover->oldest == 0 || at < cover->oldest)
			cover->oldest = at;
	}
}

static const char *joined(const json_t *array, char text[TEXT_MAX])
{
	size_t i, len = 0;
	json_t *value;

	text[0] = '\0';
	json_array_foreach(array, i, value) if (len < TEXT_MAX - 1) len += (size_t)snprintf(
	        text + len, TEXT_MAX - len, "%s%s", i > 0 ? ", " : "", json_string_value(value));
	return text;
}

static const char *const cover_keys[] = { "row", "title", "categories", "names", "data", "sources",
	"licences", "fetched_at" };
#define COVER_KEYS (sizeof cover_keys / sizeof cover_keys[0])

static void cover_tell(const struct lists_tool *tool, struct command_table *table,
        const struct config_uksic_row *row, struct cover *cover)
{
	char names[NUMBER_MAX], age[LISTS_AGE_MAX];
	char categories[TEXT_MAX], sources[TEXT_MAX], licences[TEXT_MAX];

	if (lists_tool_for_programs(tool)) {
		json_t *json = json_pack("{s:s, s:s, s:O, s:I, s:b, s:O, s:O, s:o}", "row", row->row, "title",
		        row->title, "categories", cover->categories, "names", (json_int_t)cover->names,
		        "data", cover->names > 0, "sources", cover->sources, "licences", cover->licences,
		        "fetched_at",
		        cover->oldest > 0 ? json_integer((json_int_t)cover->oldest) : json_null());
		lists_tool_row(tool, json, cover_keys, COVER_KEYS);
		return;
	}
	const char *const cells[] = { row->title, joined(cover->categories, categories),
		cover->names > 0 ? number_text(cover->names, names) : "NO DATA",
		joined(cover->sources, sources), joined(cover->licences, licences),
		lists_tool_age(cover->oldest, age) };
	command_table_row(table, cells);
}

int lists_coverage(struct lists_tool *tool)
{
	static const char *const columns[] = { "UKSIC row", "categories", "names", "sources", "licences",
		"oldest" };
	const struct config *config = tool->config;
	json_t *manifest;

	int ret = command_options(tool->context, LISTS_COMMAND, NULL, 0);
	if (ret != 0)
		return ret;
	struct lists *lists = lists_tool_open(tool, 0);
	if (lists == NULL || generations_manifest(tool->dir, lists_info(lists)->id, &manifest) < 0) {
		lists_free(lists);
		return COMMAND_FAILED;
	}
	struct command_table *table =
	        lists_tool_for_programs(tool)
	                ? NULL
	                : command_table_new(columns, sizeof columns / sizeof columns[0]);
	lists_tool_head(tool, cover_keys, COVER_KEYS);
	for (size_t i = 0; i < config->uksic_count; i++) {
		struct cover cover = { 0, json_array(), json_array(), json_array(), 0 };
		for (size_t k = 0; k < config->category_count; k++)
			if (strcmp(config->categories[k].uksic, config->uksic[i].row) == 0)
				cover_category(&cover, tool, lists, json_object_get(manifest, "sources"), k);
		cover_tell(tool, table, &config->uksic[i], &cover);
		json_decref(cover.categories);
		json_decref(cover.sources);
		json_decref(cover.licences);
	}
	if (table != NULL)
		command_table_print(table);
	json_decref(manifest);
	lists_free(lists);
	return COMMAND_OK;
}

/* ---- export ---- */

struct export
{
	const struct lists_tool *tool;
	const struct lists *lists;
	struct lists_view *view;
	uint64_t unsaid; /* exceptions that the format has no words for */
};

/* True if exceptions leave the name in no category at all. */
static bool is_excepted(const struct export *export, const struct name *name)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct lists_facts facts;

	name_hash_suffixes(name, lists_seed(export->lists), hash);
	return lists_lookup(export->view, name, hash, &facts) >= 0 && facts.categories == 0;
}

static void export_domains(struct export *export, const struct lists_listed *listed)
{
	char text[NAME_TEXT_MAX];

	if (listed->excepts && is_excepted(export, &listed->name)) {
		export->unsaid++;
		return;
	}
	name_to_text(&listed->name, text);
	puts(text);
}

/* draft-vixie-dnsop-dns-rpz: CNAME . is NXDOMAIN, rpz-passthru. an exception; the wildcard stands for all
 * below. */
static void export_rpz(struct export *export, const struct lists_listed *listed)
{
	bool excepted = listed->excepts && is_excepted(export, &listed->name);
	const char *target = excepted ? "rpz-passthru." : ".";
	char text[NAME_TEXT_MAX];

	name_to_text(&listed->name, text);
	if (excepted || listed->at != 0)
		printf("%s CNAME %s\n", text, target);
	if (excepted || listed->below != 0)
		printf("*.%s CNAME %s\n", text, target);
}

static const char *const row_keys[] = { "name", "at", "below", "exception" };

static json_t *categories_json(const struct lists_tool *tool, uint64_t categories)
{
	json_t *array = json_array();

	for (size_t i = 0; i < tool->config->category_count; i++)
		if (categories >> i & 1)
			json_array_append_new(array, json_string(tool->categories[i]));
	return array;
}

/* For programs: in which categories the name is, and in which the names below it. */
static void export_row(struct export *export, const struct lists_listed *listed)
{
	char text[NAME_TEXT_MAX];

	name_to_text(&listed->name, text);
	json_t *row = json_pack("{s:s, s:o, s:o, s:b}", "name", text, "at",
	        categories_json(export->tool, listed->at), "below",
	        categories_json(export->tool, listed->below), "exception",
	        listed->excepts && is_excepted(export, &listed->name));
	lists_tool_row(export->tool, row, row_keys, sizeof row_keys / sizeof row_keys[0]);
}

static void export_no_head(uint64_t generation)
{
	(void)generation;
}

static void export_domains_head(uint64_t generation)
{
	printf("# usher's lists, generation %" PRIu64 "\n", generation);
}

/* The generation is the zone's serial: it only grows. */
static void export_rpz_head(uint64_t generation)
{
	printf("$TTL 300\n@ SOA localhost. nobody.invalid. %" PRIu64 " 3600 600 86400 300\n@ NS localhost.\n",
	        generation);
}

static const struct export_format {
	const char *name;
	void (*head)(uint64_t generation);
	void (*print)(struct export *export, const struct lists_listed *listed);
} export_formats[] = {
	{ "domains", export_domains_head, export_domains },
	{ "rpz", export_rpz_head, export_rpz },
};
static const struct export_format rows_format = { "rows", export_no_head, export_row }; /* --json, --csv */

static int export_walk(const struct lists_tool *tool, struct lists *lists, const struct export_format *format)
{
	struct export export = { .tool = tool, .lists = lists, .view = lists_view_open(lists) };
	struct lists_walk *walk = export.view != NULL ? lists_walk_open(export.view) : NULL;
	struct lists_listed listed;
	int ret = -1;

	format->head(lists_info(lists)->id);
	while (walk != NULL && (ret = lists_walk_next(walk, &listed)) > 0)
		format->print(&export, &listed);
	if (export.unsaid > 0)
		fprintf(stderr, "usher: %" PRIu64 " exceptions are left out: this format cannot say them\n",
		        export.unsaid);
	lists_walk_close(walk);
	lists_view_close(export.view);
	return ret == 0 ? COMMAND_OK : COMMAND_FAILED;
}

int lists_export(struct lists_tool *tool)
{
	const char *name = NULL;
	const struct command_option options[] = { { "format", true, &name } };
	const struct export_format *format = NULL;

	int ret = command_options(tool->context, LISTS_COMMAND, options, 1);
	if (ret != 0)
		return ret;
	for (size_t i = 0; i < sizeof export_formats / sizeof export_formats[0]; i++)
		if (strcmp(export_formats[i].name, name != NULL ? name : "domains") == 0)
			format = &export_formats[i];
	if (format == NULL || tool->context->argc > 0)
		return command_usage_error(
		        LISTS_COMMAND, "lists export: --format is rpz or domains, not '%s'", name);
	struct lists *lists = lists_tool_open(tool, 0);
	if (lists == NULL)
		return COMMAND_FAILED;
	if (lists_tool_for_programs(tool))
		format = &rows_format;
	lists_tool_head(tool, row_keys, sizeof row_keys / sizeof row_keys[0]);
	ret = export_walk(tool, lists, format);
	lists_free(lists);
	return ret;
}
