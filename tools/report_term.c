/*
 * The report for governors: is it on, does it work, what changed? No names, no devices, and nothing about
 * groups of fewer than five: who knows the school could tell who they are.
 */
#include "report_fill.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event_fold.h"
#include "resolver/ledger.h"
#include "resolver/utc.h"

#define GROUP_LEAST 5
#define DAY_S 86400
#define WEEK_S (7 * DAY_S)

enum by { BY_CATEGORY, BY_PROFILE, BY_WEEK, BY_ALL };

/*
 * Lookups of one category, profile and week are a cell: {"of": [CATEGORY, PROFILE, WEEK], "lookups": N,
 * "devices": {IDENTITY: true}}. A label, such as a profile, is the sum of its cells whose two other labels
 * are shown, too: so that what is left out is no difference between what is shown.
 */
struct term {
	json_t *cells;
	json_t *labels[BY_ALL]; /* LABEL: {"hidden": bool, "quiet": bool (nothing at all), "lookups": N,
	                           "devices": {IDENTITY: true}} */
};

/* The object at key, made where there is none. */
static json_t *member(json_t *object, const char *key)
{
	json_t *found = json_object_get(object, key);

	if (!found) {
		found = json_object();
		json_object_set_new(object, key, found);
	}
	return found;
}

static void lookups_add(json_t *object, json_int_t count)
{
	json_object_set_new(object, "lookups",
	        json_integer(json_integer_value(json_object_get(object, "lookups")) + count));
}

/*
 * One device may have many addresses: its identity speaks for it. Where that is an IPv6 address, it is its
 * /64 here, in which a device takes as many as it likes.
 */
static void device_add(json_t *devices, const json_t *episode)
{
	struct in6_addr address;
	char text[INET6_ADDRSTRLEN + 3];

	snprintf(text, sizeof text, "%s", event_identity(episode));
	if (inet_pton(AF_INET6, text, &address) == 1) {
		memset(&address.s6_addr[8], 0, 8);
		inet_ntop(AF_INET6, &address, text, INET6_ADDRSTRLEN);
		strcat(text, "/64");
	}
	if (*text)
		json_object_set_new(devices, text, json_true());
}

/*
 * How many devices they are at least: one may stand there by its MAC, by an IPv4 address of a time when
 * nobody knew that, and by its IPv6 network.
 */
static size_t devices_least(const json_t *devices)
{
	size_t macs = 0, v4 = 0, networks = 0, most;
	const char *text;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)devices, text, value)
	{
		networks += strchr(text, '/') != NULL;
		v4 += strchr(text, '.') != NULL;
		macs += strchr(text, '/') == NULL && strchr(text, '.') == NULL;
	}
	most = macs > v4 ? macs : v4;
	return most > networks ? most : networks;
}

static void episode_add(struct term *term, const json_t *episode, const char *profile, const char *week)
{
	const char *name = json_string_value(json_object_get(episode, "category"));
	const char *of[BY_ALL] = { name ? name : "", profile, week };
	char key[512];

	snprintf(key, sizeof key, "%s %s %s", of[BY_CATEGORY], of[BY_PROFILE], of[BY_WEEK]);
	json_t *cell = member(term->cells, key);
	if (!json_object_get(cell, "of"))
		json_object_set_new(cell, "of", json_pack("[s, s, s]", of[0], of[1], of[2]));
	for (size_t by = 0; by < BY_ALL; by++)
		member(term->labels[by], of[by]);
	lookups_add(cell, json_integer_value(json_object_get(episode, "count")));
	device_add(member(cell, "devices"), episode);
}

static bool week_add(
        struct term *term, const struct report_request *request, const struct report_period *period)
{
	time_t since = (time_t)period->since;
	char week[REPORT_WHEN_LEN];
	size_t episode_count = 0;
	struct tm tm;

	strftime(week, sizeof week, "week of %d %b", localtime_r(&since, &tm));
	member(term->labels[BY_WEEK], week);
	for (size_t i = 0; i < request->profile_count; i++) {
		const struct report_whom whom = { .profile = request->profiles[i] };
		json_t *episodes = report_ask_rows(request->context, report_episodes, &whom, period);
		const json_t *episode;
		size_t k;
		if (!episodes)
			return false;
		json_array_foreach(episodes, k, episode)
		        episode_add(term, episode, request->profiles[i], week);
		episode_count += k;
		json_decref(episodes);
	}
	if (episode_count == 0)
		json_object_set_new(member(term->labels[BY_WEEK], week), "quiet", json_true());
	return true;
}

/* ---- what is shown ---- */

static json_t *label_of(const struct term *term, const json_t *cell, size_t by)
{
	return json_object_get(
	        term->labels[by], json_string_value(json_array_get(json_object_get(cell, "of"), by)));
}

static bool is_shown(const json_t *label)
{
	return label && !json_is_true(json_object_get(label, "hidden"));
}

/* Each label anew from the cells of which all three labels are shown. */
static void labels_sum(const struct term *term)
{
	const char *key;
	json_t *label, *cell;

	for (size_t by = 0; by < BY_ALL; by++)
		json_object_foreach(term->labels[by], key, label)
		{
			json_object_set_new(label, "lookups", json_integer(0));
			json_object_set_new(label, "devices", json_object());
		}
	json_object_foreach(term->cells, key, cell)
	{
		bool counts = true;
		for (size_t by = 0; by < BY_ALL; by++)
			counts &= is_shown(label_of(term, cell, by));
		for (size_t by = 0; by < BY_ALL && counts; by++) {
			label = label_of(term, cell, by);
			lookups_add(label, json_integer_value(json_object_get(cell, "lookups")));
			json_object_update(member(label, "devices"), json_object_get(cell, "devices"));
		}
	}
}

/* Returns whether a label had to go: others may be too small without it. */
static bool labels_hide(const struct term *term)
{
	const char *key;
	json_t *label;
	bool some = false;

	for (size_t by = 0; by < BY_ALL; by++)
		json_object_foreach(term->labels[by], key, label)
		{
			if (!is_shown(label) ||
			        devices_least(json_object_get(label, "devices")) >= GROUP_LEAST)
				continue;
			json_object_set_new(label, "hidden", json_true());
			some = true;
		}
	return some;
}

/* Week by week: a whole term's events need not be in memory at once. What is left of less than a day is no
 * week. */
static bool term_gather(struct term *term, const struct report_request *request)
{
	*term = (struct term){ json_object(), { json_object(), json_object(), json_object() } };
	for (int64_t at = request->period.since; at < request->period.until; at += WEEK_S) {
		bool last = at + WEEK_S + DAY_S > request->period.until;
		const struct report_period week = { at, last ? request->period.until : at + WEEK_S };
		if (!week_add(term, request, &week))
			return false;
		if (last)
			break;
	}
	do
		labels_sum(term);
	while (labels_hide(term));
	return true;
}

static void term_clear(struct term *term)
{
	json_decref(term->cells);
	for (size_t by = 0; by < BY_ALL; by++)
		json_decref(term->labels[by]);
}

/* ---- sections ---- */

struct group {
	char lookups[32], devices[32];
};

/* One that is too small, or not there, loses its numbers. */
static void group_fill(struct group *group, const json_t *label)
{
	*group = (struct group){ "not shown", "fewer than 5" };
	if (!is_shown(label))
		return;
	snprintf(group->lookups, sizeof group->lookups, "%" JSON_INTEGER_FORMAT,
	        json_integer_value(json_object_get(label, "lookups")));
	snprintf(group->devices, sizeof group->devices, "%zu",
	        json_object_size(json_object_get(label, "devices")));
}

/* Null for what is not shown, and where the school's own rules have no category. */
static json_t *category_json(const struct config_category *category, const json_t *label)
{
	bool shown = is_shown(label);

	return json_pack("{s:s?, s:s?, s:s?, s:o, s:o}", "category", category ? category->name : NULL, "risk",
	        category ? category->risk : NULL, "severity",
	        category ? config_severity_text(category->severity) : NULL, "lookups",
	        shown ? json_integer(json_integer_value(json_object_get(label, "lookups"))) : json_null(),
	        "devices",
	        shown ? json_integer((json_int_t)json_object_size(json_object_get(label, "devices")))
	              : json_null());
}

/* category NULL: the school's own rules. */
static void category_row(struct report *report, const struct config *config, const struct term *term,
        const struct config_category *category)
{
	const json_t *label = json_object_get(term->labels[BY_CATEGORY], category ? category->name : "");
	const char *title = category ? report_category(config, category->name) : "the school's own rules";
	const char *severity = category ? config_severity_text(category->severity) : "";
	const char *risk = category ? category->risk : "";
	struct group group;

	if (!label)
		return;
	group_fill(&group, label);
	report_row(
	        report, TONE_PLAIN, (const char *[]){ title, risk, severity, group.lookups, group.devices });
	report_data_row(report, (const char *[]){ title, severity, group.lookups, group.devices, risk });
	json_array_append_new(report->rows, category_json(category, label));
}

static void by_category(struct report *report, const struct config *config, const struct term *term)
{
	static const char *const titles[] = { "Category", "Risk", "Severity", "Blocked lookups", "Devices" };
	static const char *const columns[] = { "category", "severity", "lookups", "devices", "risk" };

	report_section(report, "What was blocked");
	report_table(report, titles, sizeof titles / sizeof *titles);
	report_data(report, columns, sizeof columns / sizeof *columns);
	report->rows = json_array();
	for (size_t i = 0; i < config->category_count; i++)
		category_row(report, config, term, &config->categories[i]);
	category_row(report, config, term, NULL);
}

static void by_profile(struct report *report, const struct report_request *request, const struct term *term)
{
	static const char *const titles[] = { "Group", "Blocked lookups", "Devices" };

	report_section(report, "For whom");
	report_table(report, titles, sizeof titles / sizeof *titles);
	for (size_t i = 0; i < request->profile_count; i++) {
		struct group group;
		const char *cells[] = { request->profiles[i], group.lookups, group.devices };
		group_fill(&group, json_object_get(term->labels[BY_PROFILE], request->profiles[i]));
		report_row(report, TONE_PLAIN, cells);
	}
}

static void by_week(struct report *report, const struct term *term)
{
	const char *week;
	json_t *label;

	report_section(report, "Week by week");
	report_bars(report);
	json_object_foreach(term->labels[BY_WEEK], week, label)
	{
		char text[REPORT_WHEN_LEN + 32];
		bool few = !is_shown(label) && !json_is_true(json_object_get(label, "quiet"));
		snprintf(text, sizeof text, "%s%s", week, few ? ", too few to show" : "");
		report_bar(report, TONE_PLAIN, text,
		        is_shown(label) ? (uint64_t)json_integer_value(json_object_get(label, "lookups"))
		                        : 0);
	}
}

/* What is filtered for whom, from the configuration itself. */
static void filtering(struct report *report, const struct config *config)
{
	static const char *const titles[] = { "Group", "Categories blocked", "Safe search", "YouTube",
		"If lists fail", "Log kept" };
	static const char *const youtube[] = {
		[YOUTUBE_STRICT] = "strict", [YOUTUBE_MODERATE] = "moderate", [YOUTUBE_OFF] = "off"
	};

	report_section(report, "What is filtered");
	report_table(report, titles, sizeof titles / sizeof *titles);
	for (size_t i = 0; i < config->profile_count; i++) {
		const struct config_profile *profile = &config->profiles[i];
		char blocked[64], keep[32];
		const char *cells[] = { profile->name, blocked, profile->safe_search ? "on, locked" : "off",
			youtube[profile->youtube], profile->open_on_list_failure ? "open" : "closed", keep };
		if (profile->default_block)
			snprintf(blocked, sizeof blocked, "all but what is allowed");
		else
			snprintf(blocked, sizeof blocked, "%d of %zu",
			        __builtin_popcountll(profile->block | config->sealed),
			        config->category_count);
		snprintf(keep, sizeof keep, "%u days", profile->keep_s / 86400);
		report_row(report,
		        profile->open_on_list_failure || !profile->safe_search ? TONE_CAUTION : TONE_PLAIN,
		        cells);
	}
}

/* ---- what was changed ---- */

struct change {
	json_t *counts; /* by what, in words */
	struct report_period period;
};

/* What the ledger's entries are to a governor; of the keys that begin alike the longest stands first. */
static const struct {
	const char *what, *words;
} change_words[] = {
	{ "lists.publish", "lists updated" },
	{ "lists.pull", "lists updated" },
	{ "lists.accept", "list accepted that had been held back" },
	{ "lists.", "lists put back, or forward again" },
	{ "rules.allow", "site let through by the school" },
	{ "rules.block", "site blocked by the school" },
	{ "rules.remove", "school's own rule taken back" },
	{ "start", "filter started" },
	{ "stop", "filter stopped" },
	{ "reload", "settings read again" },
	{ "flush", "remembered answers dropped" },
	{ "selftest", "test that filtering is on" },
	{ "case.hold", "records held for a case" },
	{ "case.release", "records of a case released" },
	{ "log.forget", "records erased on request" },
	{ "log.", "look at what was blocked for whom" },
	{ "retention.read", "check that old records are gone" },
	{ "case.read", "look at the list of cases" },
};

static const char *words_of(const char *what)
{
	for (size_t i = 0; i < sizeof change_words / sizeof *change_words; i++)
		if (strncmp(what, change_words[i].what, strlen(change_words[i].what)) == 0)
			return change_words[i].words;
	return what;
}

static bool entry_counted(void *arg, const char *line, size_t len)
{
	struct change *change = arg;
	json_t *entry = json_loadb(line, len, 0, NULL);
	const char *what = json_string_value(json_object_get(entry, "what"));
	const char *time = json_string_value(json_object_get(entry, "time"));
	int64_t at;

	if (what && time && utc_read(time, &at) && at >= change->period.since && at < change->period.until)
		json_object_set_new(change->counts, words_of(what),
		        json_integer(
		                json_integer_value(json_object_get(change->counts, words_of(what))) + 1));
	json_decref(entry);
	return true;
}

/* Who may not read the ledger gets the report without this. */
static void changes(struct report *report, const struct report_request *request)
{
	static const char *const titles[] = { "What", "How often" };
	struct change change = { json_object(), request->period };
	char dir[PATH_MAX], why[LEDGER_WHY_MAX];
	const char *key;
	json_t *value;

	snprintf(dir, sizeof dir, "%s/ledger", request->config->state_dir);
	int64_t entries = ledger_verify(dir, why);
	if (entries > 0 || entries == -EBADMSG) {
		ledger_walk(dir, entry_counted, &change);
		report_section(report, "What was changed, and who looked");
		report_sentence(report, entries < 0 ? TONE_DANGER : TONE_PLAIN,
		        entries < 0 ? "The ledger is not whole: %s"
		                    : "The ledger is whole: no entry was altered or removed.%s",
		        entries < 0 ? why : "");
		report_table(report, titles, sizeof titles / sizeof *titles);
		json_object_foreach(change.counts, key, value)
		{
			char count[32];
			const char *cells[] = { key, count };
			snprintf(count, sizeof count, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
			report_row(report, TONE_PLAIN, cells);
		}
	}
	json_decref(change.counts);
}

static void intro(struct report *report)
{
	report_section(report, "What this is");
	report_sentence(report, TONE_PLAIN,
	        "The numbers of the school's DNS filter, for those who must see that it is on and works. "
	        "There is no pupil, no member "
	        "of staff and no device in it; groups of fewer than five devices are not shown, nor counted "
	        "in any sum.");
}

int report_fill_term(struct report *report, const struct report_request *request)
{
	struct term term;
	bool whole = term_gather(&term, request);

	if (whole) {
		intro(report);
		filtering(report, request->config);
		by_category(report, request->config, &term);
		by_profile(report, request, &term);
		by_week(report, &term);
		report_health(report, request->context);
		changes(report, request);
		report_limits(report);
	}
	term_clear(&term);
	return whole ? COMMAND_OK : COMMAND_FAILED;
}
