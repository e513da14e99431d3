/*
 * One generation is open at a time, since both together may be half a gigabyte of mapped pages: all names are
 * judged by the one, then by the other.
 */
#include "lists_impact.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "resolver/block_log.h"
#include "resolver/ledger.h"
#include "resolver/names_store.h"

#define NUMBER_MAX 24
#define LOG_NAMES_MAX 200000 /* different names taken from the block log */
#define SUMMARY_NAMES 3
#define SENTENCE_MAX 4096

void impact_init(struct impact *impact, const struct lists_tool *tool, int64_t at)
{
	*impact = (struct impact){ .tool = tool, .now = moment_at(at) };
}

void impact_clear(struct impact *impact)
{
	for (size_t i = 0; i < impact->count; i++) {
		free(impact->names[i].name);
		free(impact->names[i].before.source);
		free(impact->names[i].after.source);
	}
	free(impact->names);
}

/* ---- the names ---- */

static void impact_add(struct impact *impact, const char *name, uint64_t asked, uint64_t logged)
{
	if (impact->count == impact->room) {
		impact->room = impact->room > 0 ? 2 * impact->room : 256;
		impact->names = realloc(impact->names, impact->room * sizeof *impact->names);
	}
	char *copy = strdup(name);
	if (impact->names == NULL || copy == NULL)
		abort();
	impact->names[impact->count++] =
	        (struct impact_name){ .name = copy, .asked = asked, .logged = logged };
}

static int64_t day_now(void)
{
	return (int64_t)time(NULL) / NAMES_DAY_S;
}

static void names_unreadable(const char *dir, int ret)
{
	fprintf(stderr, "usher: %s cannot be read: %s\n", dir, strerror(-ret));
}

void impact_read_names(struct impact *impact)
{
	struct names_reader *reader;
	struct name name;
	char dir[PATH_MAX], text[NAME_TEXT_MAX];
	uint64_t count;

	snprintf(dir, sizeof dir, "%s/names", impact->tool->config->state_dir);
	int ret = names_reader_open(&reader, dir, day_now() - IMPACT_DAYS + 1, INT64_MAX);
	if (ret < 0) {
		names_unreadable(dir, ret);
		return;
	}
	impact->days = names_reader_days(reader);
	while (names_reader_next(reader, &name, &count) > 0) {
		name_to_text(&name, text);
		impact_add(impact, text, count, 0);
	}
	names_reader_close(reader);
	impact->used_count = impact->count;
}

static bool record_found(void *arg, const struct block_record *record)
{
	json_t *counts = arg;
	char text[NAME_TEXT_MAX];

	if (record->action != BLOCK_ACTION_BLOCK)
		return true;
	name_to_text(&record->name, text);
	json_t *count = json_object_get(counts, text);
	if (count != NULL)
		json_integer_set(count, json_integer_value(count) + 1);
	else
		json_object_set_new(counts, text, json_integer(1));
	return json_object_size(counts) < LOG_NAMES_MAX;
}

/* No read without its entry in the ledger. */
static int log_read_recorded(const struct impact *impact, const char *command)
{
	json_t *detail = json_pack("{s:b, s:s, s:i}", "offline", 1, "command", command, "days", IMPACT_DAYS);
	char dir[PATH_MAX];

	snprintf(dir, sizeof dir, "%s/ledger", impact->tool->config->state_dir);
	int ret = detail != NULL ? ledger_append(dir, impact->tool->uid, "log.read", detail) : -ENOMEM;
	json_decref(detail);
	if (ret < 0)
		fprintf(stderr,
		        "usher: the block log is left out: the read cannot be recorded in the ledger: %s\n",
		        strerror(-ret));
	return ret;
}

void impact_read_log(struct impact *impact, const char *command)
{
	const struct block_filter filter = {
		.severity = -1,
		.since_us = (day_now() - IMPACT_DAYS + 1) * NAMES_DAY_S * 1000000,
	};
	const char *text;
	char dir[PATH_MAX];
	json_t *counts = json_object(), *count;

	snprintf(dir, sizeof dir, "%s/log", impact->tool->config->state_dir);
	if (counts == NULL)
		abort();
	if (access(dir, F_OK) != 0 || log_read_recorded(impact, command) < 0) {
		json_decref(counts);
		return;
	}
	int64_t ret = block_log_scan(dir, &filter, record_found, counts);
	if (ret < 0)
		names_unreadable(dir, (int)ret);
	impact->has_log = ret >= 0;
	impact->log_count = json_object_size(counts);
	for (size_t i = 0; i < impact->used_count; i++) {
		count = json_object_get(counts, impact->names[i].name);
		if (count == NULL)
			continue;
		impact->names[i].logged = (uint64_t)json_integer_value(count);
		json_object_del(counts, impact->names[i].name);
	}
	json_object_foreach(counts, text, count)
	        impact_add(impact, text, 0, (uint64_t)json_integer_value(count));
	json_decref(counts);
}

/* ---- judging ---- */

struct judge {
	struct lists *lists;
	struct lists_view *view;
	struct facts_table *table;
};

static bool has_profile(const uint64_t profiles[IMPACT_PROFILE_WORDS], size_t profile)
{
	return (profiles[profile / 64] >> profile % 64 & 1) != 0;
}

/* The category and source of a block, told once a name. */
static void ruling_explain(struct impact_ruling *ruling, const struct judge *judge, const struct facts *facts,
        const struct verdict *verdict)
{
	const struct lists_source *source;
	uint8_t labels;

	ruling->category = verdict->category;
	if (verdict->category >= 0 &&
	        lists_explain(judge->lists, &facts->listed, (unsigned)verdict->category, &source, &labels))
		ruling->source = strdup(source->name);
}

/* For whom a name is blocked; explained for the first who is not in `except` (NULL: the first). */
static void name_judge(const struct impact *impact, const struct judge *judge, struct impact_name *used,
        struct impact_ruling *ruling, const struct impact_ruling *except)
{
	const struct config *config = impact->tool->config;
	struct facts facts;
	struct name name;

	ruling->category = -1;
	if (name_from_text(&name, used->name, strlen(used->name)) < 0)
		return;
	facts_gather(&facts, judge->table, judge->view, &name);
	used->is_protected = (facts.flags & FACTS_PROTECTED) != 0;
	bool explained = false;
	for (size_t i = 0; i < config->profile_count; i++) {
		const struct policy_asker asker = { .profile = (unsigned)i };
		struct verdict verdict =
		        policy_decide(config, judge->table, &asker, &facts, &impact->now, NULL);
		if (verdict.action != VERDICT_BLOCK)
			continue;
		ruling->profiles[i / 64] |= UINT64_C(1) << i % 64;
		if (explained || (except != NULL && has_profile(except->profiles, i)))
			continue;
		ruling_explain(ruling, judge, &facts, &verdict);
		explained = true;
	}
}

static int judge_all(struct impact *impact, struct lists *lists, bool after)
{
	struct rules *rules = NULL;

	command_rules(impact->tool->config, &rules);
	struct judge judge = { .lists = lists,
		.view = lists_view_open(lists),
		.table = facts_table_new(impact->tool->config, rules, lists_seed(lists)) };
	int ret = judge.view != NULL && judge.table != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; ret == 0 && i < impact->count; i++) {
		struct impact_name *name = &impact->names[i];
		name_judge(impact, &judge, name, after ? &name->after : &name->before,
		        after ? &name->before : NULL);
	}
	facts_table_free(judge.table);
	lists_view_close(judge.view);
	rules_free(rules);
	return ret;
}

/* The profiles of one ruling that are not in another. Returns false if there is none. */
static bool profiles_less(const struct impact_ruling *ruling, const struct impact_ruling *less,
        uint64_t rest[IMPACT_PROFILE_WORDS])
{
	uint64_t any = 0;

	for (size_t i = 0; i < IMPACT_PROFILE_WORDS; i++)
		any |= rest[i] = ruling->profiles[i] & ~less->profiles[i];
	return any != 0;
}

static bool is_newly_blocked(const struct impact_name *name)
{
	uint64_t profiles[IMPACT_PROFILE_WORDS];

	return profiles_less(&name->after, &name->before, profiles);
}

static int name_order(const void *a, const void *b)
{
	const struct impact_name *x = a, *y = b;

	if (is_newly_blocked(x) != is_newly_blocked(y))
		return is_newly_blocked(x) ? -1 : 1;
	if (x->is_protected != y->is_protected)
		return x->is_protected ? -1 : 1;
	if (x->asked + x->logged != y->asked + y->logged)
		return x->asked + x->logged > y->asked + y->logged ? -1 : 1;
	return strcmp(x->name, y->name);
}

int impact_judge_before(struct impact *impact, struct lists *lists)
{
	return judge_all(impact, lists, false);
}

int impact_judge_after(struct impact *impact, struct lists *lists)
{
	uint64_t profiles[IMPACT_PROFILE_WORDS];
	int ret = judge_all(impact, lists, true);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < impact->count; i++) {
		const struct impact_name *name = &impact->names[i];
		impact->newly_blocked += is_newly_blocked(name);
		impact->newly_unblocked += profiles_less(&name->before, &name->after, profiles);
	}
	if (impact->count > 0)
		qsort(impact->names, impact->count, sizeof *impact->names, name_order);
	impact->compared = true;
	return 0;
}

/* ---- words ---- */

static const char *number_text(uint64_t number, char text[NUMBER_MAX])
{
	snprintf(text, NUMBER_MAX, "%" PRIu64, number);
	return text;
}

static const char *profiles_text(
        const struct config *config, const uint64_t *profiles, char text[SENTENCE_MAX])
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < config->profile_count && len < SENTENCE_MAX; i++)
		if (has_profile(profiles, i))
			len += (size_t)snprintf(text + len, SENTENCE_MAX - len, "%s%s", len > 0 ? ", " : "",
			        config->profiles[i].name);
	return text;
}

static json_t *profiles_json(const struct config *config, const uint64_t *profiles)
{
	json_t *array = json_array();

	for (size_t i = 0; i < config->profile_count; i++)
		if (has_profile(profiles, i))
			json_array_append_new(array, json_string(config->profiles[i].name));
	return array;
}

static json_t *text_or_null(const char *text)
{
	return text != NULL ? json_string(text) : json_null();
}

static const char *const change_keys[] = { "change", "name", "profiles", "category", "source", "asked",
	"logged", "protected" };
#define CHANGE_KEYS (sizeof change_keys / sizeof change_keys[0])

/* table NULL: a row for programs. */
static void change_tell(const struct impact *impact, struct command_table *table,
        const struct impact_name *name, const char *change, const struct impact_ruling *ruling,
        const uint64_t *profiles)
{
	const struct config *config = impact->tool->config;
	const char *category = ruling->category >= 0 ? config->categories[ruling->category].name : NULL;
	char who[SENTENCE_MAX], asked[NUMBER_MAX], logged[NUMBER_MAX];

	if (table == NULL) {
		json_t *row = json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:b}", "change", change, "name",
		        name->name, "profiles", profiles_json(config, profiles), "category",
		        text_or_null(category), "source", text_or_null(ruling->source), "asked",
		        (json_int_t)name->asked, "logged",
		        impact->has_log ? json_integer((json_int_t)name->logged) : json_null(), "protected",
		        name->is_protected);
		lists_tool_row(impact->tool, row, change_keys, CHANGE_KEYS);
		return;
	}
	const char *const cells[] = { change, name->name, profiles_text(config, profiles, who),
		category != NULL ? category : "", ruling->source != NULL ? ruling->source : "",
		number_text(name->asked, asked), impact->has_log ? number_text(name->logged, logged) : "",
		name->is_protected ? "protected" : "" };
	command_table_row(table, cells);
}

void impact_tell(const struct impact *impact)
{
	static const char *const columns[] = { "newly", "name", "for", "category", "source", "asked",
		"logged", "" };
	bool rows = impact->newly_blocked + impact->newly_unblocked > 0;
	struct command_table *table = NULL;
	uint64_t profiles[IMPACT_PROFILE_WORDS];

	lists_tool_head(impact->tool, change_keys, CHANGE_KEYS);
	if (!impact->compared || !rows)
		return;
	if (!lists_tool_for_programs(impact->tool))
		table = command_table_new(columns, sizeof columns / sizeof columns[0]);
	for (size_t i = 0; i < impact->count; i++) {
		const struct impact_name *name = &impact->names[i];
		if (profiles_less(&name->after, &name->before, profiles))
			change_tell(impact, table, name, "blocked", &name->after, profiles);
		if (profiles_less(&name->before, &name->after, profiles))
			change_tell(impact, table, name, "unblocked", &name->before, profiles);
	}
	if (table != NULL)
		command_table_print(table);
}

void impact_summary(const struct impact *impact)
{
	size_t len;
	char sentence[SENTENCE_MAX];

	if (!impact->compared || impact->days == 0)
		return;
	len = (size_t)snprintf(sentence, sizeof sentence,
	        "of %zu names that this school used in the last %d days, %zu are newly blocked",
	        impact->used_count, IMPACT_DAYS, impact->newly_blocked);
	for (size_t i = 0; i < impact->newly_blocked && i < SUMMARY_NAMES && len < sizeof sentence; i++)
		len += (size_t)snprintf(sentence + len, sizeof sentence - len, "%s %s", i > 0 ? "," : ":",
		        impact->names[i].name);
	if (impact->newly_blocked > SUMMARY_NAMES && len < sizeof sentence)
		snprintf(sentence + len, sizeof sentence - len, " and %zu more",
		        impact->newly_blocked - SUMMARY_NAMES);
	command_say(sentence);
}
