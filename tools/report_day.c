/* The reports that the DSL (and for staff, the head) reads: a day, or a week beside the week before. */
#include "report_fill.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/member.h"
#include "event_fold.h"

#define NAMES_SHOWN 6
#define NAMES_LEN 2048
#define MORE_LEN 64   /* room for how many more there are */
#define ROWS_SHOWN 25 /* of what can wait: one screen, the rest is a question away */
#define DEVICES_SHOWN 15
#define HOURS_SHOWN_S (3 * 86400) /* a longer time is shown by its days */

/* What the log says of a time, over all profiles of the report. */
struct gathered {
	json_t *episodes, *signals; /* arrays */
	json_t *categories;         /* lookups by category */
	json_t *hours;              /* lookups by hour */
};

static void gathered_clear(struct gathered *gathered)
{
	json_decref(gathered->episodes);
	json_decref(gathered->signals);
	json_decref(gathered->categories);
	json_decref(gathered->hours);
}

static bool counts_gather(const struct report_request *request, const struct report_whom *whom,
        const struct report_period *period, const char *by, json_t *sum)
{
	json_t *counts = report_ask_counts(request->context, whom, period, by);

	if (!counts)
		return false;
	report_counts_add(sum, counts);
	json_decref(counts);
	return true;
}

static bool rows_gather(const struct report_request *request, const char *route,
        const struct report_whom *whom, const struct report_period *period, json_t *all)
{
	json_t *rows = report_ask_rows(request->context, route, whom, period);

	if (!rows)
		return false;
	json_array_extend(all, rows);
	json_decref(rows);
	return true;
}

static bool gather(
        struct gathered *gathered, const struct report_request *request, const struct report_period *period)
{
	bool whole = true;

	*gathered = (struct gathered){ json_array(), json_array(), json_object(), json_object() };
	for (size_t i = 0; i < request->profile_count && whole; i++) {
		const struct report_whom whom = { .profile = request->profiles[i] };
		whole = rows_gather(request, report_episodes, &whom, period, gathered->episodes) &&
		        rows_gather(request, report_signals, &whom, period, gathered->signals) &&
		        counts_gather(request, &whom, period, "category", gathered->categories) &&
		        counts_gather(request, &whom, period, "hour", gathered->hours);
	}
	return whole;
}

/* ---- an episode as cells ---- */

static bool is_severity(const json_t *episode, const char *severity)
{
	return strcmp(member_text(episode, "severity"), severity) == 0;
}

static bool is_background(const json_t *episode)
{
	return json_is_true(json_object_get(episode, "background"));
}

/* The device's name, or the address; with both, both; of several, how many. */
static void who_text(const json_t *episode, char *text, size_t size)
{
	const char *device = member_text(episode, "device"), *client = member_text(episode, "client");

	if (event_clients_text(episode, text, size))
		return;
	if (device[0] != '\0' && client[0] != '\0')
		snprintf(text, size, "%s (%s)", device, client);
	else
		snprintf(text, size, "%s",
		        device[0] != '\0'   ? device
		        : client[0] != '\0' ? client
		                            : "not logged");
}

static void names_text(const json_t *episode, size_t shown, char text[NAMES_LEN])
{
	const json_t *names = json_object_get(episode, "names");
	size_t count = json_array_size(names), at = 0, i = 0;
	uint64_t more = (uint64_t)json_integer_value(json_object_get(episode, "more"));

	text[0] = '\0';
	for (; i < count && i < shown; i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (!name || at + strlen(name) + MORE_LEN > NAMES_LEN)
			break;
		at += (size_t)sprintf(text + at, "%s%s", i > 0 ? ", " : "", name);
	}
	if (i < count)
		snprintf(text + at, NAMES_LEN - at, " and %zu more names", count - i);
	else if (more > 0)
		snprintf(text + at, NAMES_LEN - at, " and %" PRIu64 " more lookups", more);
}

#define SPAN_LEN (2 * REPORT_WHEN_LEN + 8)

static void when_text(const json_t *episode, char text[SPAN_LEN])
{
	char first[REPORT_WHEN_LEN], last[REPORT_WHEN_LEN];

	report_when(member_text(episode, "first"), first);
	report_when(member_text(episode, "last"), last);
	if (strcmp(first, last) == 0)
		snprintf(text, SPAN_LEN, "%s", first);
	else if (strncmp(first, last, strlen("Sun 22 Nov")) == 0)
		snprintf(text, SPAN_LEN, "%s to %s", first, last + strlen("Sun 22 Nov "));
	else
		snprintf(text, SPAN_LEN, "%s to %s", first, last);
}

static enum report_tone tone_of(const json_t *episode)
{
	return is_background(episode)            ? TONE_QUIET
	       : is_severity(episode, "danger")  ? TONE_DANGER
	       : is_severity(episode, "caution") ? TONE_CAUTION
	                                         : TONE_PLAIN;
}

/* ---- sections ---- */

static void episode_table(struct report *report)
{
	static const char *const titles[] = { "When", "Who", "Profile", "What", "Lookups", "Names" };

	report_table(report, titles, sizeof titles / sizeof *titles);
}

static void episode_row(struct report *report, const struct config *config, const json_t *episode)
{
	char when[SPAN_LEN], who[128], what[256], names[NAMES_LEN], count[32];
	const char *cells[] = { when, who, member_text(episode, "profile"), what, count, names };

	when_text(episode, when);
	who_text(episode, who, sizeof who);
	snprintf(what, sizeof what, "%s%s%s", report_category(config, member_text(episode, "category")),
	        json_is_true(json_object_get(episode, "bypass")) ? ", and ways around the filter" : "",
	        event_let_through(episode));
	names_text(episode, NAMES_SHOWN, names);
	snprintf(count, sizeof count, "%" JSON_INTEGER_FORMAT,
	        json_integer_value(json_object_get(episode, "count")));
	report_row(report, tone_of(episode), cells);
}

static bool is_urgent(const json_t *episode)
{
	return is_severity(episode, "danger");
}

/* Caution, and whoever tried ways around. */
static bool is_worth_a_look(const json_t *episode)
{
	return !is_urgent(episode) && !is_background(episode) &&
	       (is_severity(episode, "caution") || json_is_true(json_object_get(episode, "bypass")));
}

/* The episodes that are meant, those alike as one (event_fold.h), as a table of at most `most` rows. Returns
 * how many rows there were for it. */
static size_t episodes_shown(struct report *report, const struct report_request *request,
        const json_t *episodes, bool (*is_meant)(const json_t *episode), size_t most)
{
	json_t *rows = events_folded(episodes);
	const json_t *episode;
	size_t i, count = 0;

	json_array_foreach(rows, i, episode)
	{
		if (!is_meant(episode))
			continue;
		if (count == 0)
			episode_table(report);
		if (count++ < most)
			episode_row(report, request->config, episode);
	}
	json_decref(rows);
	if (count > most)
		report_sentence(report, TONE_QUIET, "%zu more of these: usher episodes shows them all.",
		        count - most);
	return count;
}

static size_t count_meant(const json_t *episodes, bool (*is_meant)(const json_t *episode))
{
	const json_t *episode;
	size_t i, count = 0;

	json_array_foreach(episodes, i, episode) count += is_meant(episode);
	return count;
}

static size_t device_count(const json_t *episodes)
{
	json_t *devices = json_object();
	const json_t *episode;
	size_t i;

	json_array_foreach(episodes, i, episode) if (event_identity(episode)[0] != '\0')
	        json_object_set_new(devices, event_identity(episode), json_true());
	size_t count = json_object_size(devices);
	json_decref(devices);
	return count;
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static void glance(struct report *report, const struct gathered *gathered)
{
	uint64_t lookups = report_counts_sum(gathered->categories);
	size_t events =
	        count_meant(gathered->episodes, is_urgent) + count_meant(gathered->episodes, is_worth_a_look);
	size_t quiet = count_meant(gathered->episodes, is_background),
	       devices = device_count(gathered->episodes);
	size_t urgent = count_meant(gathered->episodes, is_urgent);

	report_section(report, "At a glance");
	report_sentence(report, urgent > 0 ? TONE_DANGER : TONE_PLAIN,
	        "%zu event%s of severity danger, %zu more worth a look.", urgent, plural(urgent),
	        events - urgent);
	report_sentence(report, TONE_QUIET,
	        "They were found in %" PRIu64
	        " blocked lookup%s by %zu device%s: %zu event%s, of which %zu are background "
	        "(advertising, trackers, what devices ask by themselves) and not shown.",
	        lookups, plural(lookups), devices, plural(devices), json_array_size(gathered->episodes),
	        plural(json_array_size(gathered->episodes)), quiet);
	if (json_array_size(gathered->episodes) >= REPORT_ROWS_MAX)
		report_sentence(report, TONE_DANGER,
		        "There are more events than a report holds: the oldest are missing. Choose a shorter "
		        "time with --since.");
}

/* The names that a signal was made of, as an episode's. */
static void evidence_text(const json_t *signal, char text[NAMES_LEN])
{
	json_t *like = json_pack(
	        "{s:o, s:O}", "names", event_evidence_names(signal), "more", json_object_get(signal, "more"));

	names_text(like, NAMES_SHOWN, text);
	json_decref(like);
}

static void signal_row(struct report *report, const json_t *signal)
{
	char when[SPAN_LEN], who[128], names[NAMES_LEN], count[32];
	const char *cells[] = { when, who, member_text(signal, "profile"), member_text(signal, "text"), count,
		names };

	when_text(signal, when);
	who_text(signal, who, sizeof who);
	evidence_text(signal, names);
	snprintf(count, sizeof count, "%" JSON_INTEGER_FORMAT,
	        json_integer_value(json_object_get(signal, "count")));
	report_row(report, tone_of(signal), cells);
}

static size_t signals_shown(struct report *report, const struct gathered *gathered)
{
	const json_t *signal;
	size_t i, count = 0;

	json_array_foreach(gathered->signals, i, signal)
	{
		if (event_is_told_by_episodes(signal))
			continue;
		if (count++ == 0)
			episode_table(report);
		signal_row(report, signal);
	}
	return count;
}

static void attention(
        struct report *report, const struct report_request *request, const struct gathered *gathered)
{
	report_section(report, "Needs your attention");
	size_t signals = signals_shown(report, gathered);
	size_t count = episodes_shown(report, request, gathered->episodes, is_urgent, SIZE_MAX);
	if (signals + count == 0)
		report_sentence(report, TONE_PLAIN, "Nothing of severity danger was blocked.");
}

static void worth_a_look(
        struct report *report, const struct report_request *request, const struct gathered *gathered)
{
	report_section(report, "Worth a look");
	if (episodes_shown(report, request, gathered->episodes, is_worth_a_look, ROWS_SHOWN) == 0)
		report_sentence(report, TONE_PLAIN, "Nothing else stands out.");
}

static void by_category(
        struct report *report, const struct report_request *request, const struct gathered *gathered)
{
	if (json_object_size(gathered->categories) == 0)
		return;
	report_section(report, "Blocked lookups by category");
	report_bars_by_category(report, request->config, gathered->categories);
}

/* From the first that is not empty to the last: the empty ones between tell something too. */
static void bars_in_order(struct report *report, json_t *slots)
{
	size_t at = 0, first = SIZE_MAX, last = 0;
	const char *key;
	json_t *value;

	json_object_foreach(slots, key, value)
	{
		if (json_integer_value(value) > 0) {
			first = first == SIZE_MAX ? at : first;
			last = at;
		}
		at++;
	}
	at = 0;
	report_bars(report);
	json_object_foreach(slots, key, value)
	{
		if (at >= first && at <= last)
			report_bar(report, TONE_PLAIN, key, (uint64_t)json_integer_value(value));
		at++;
	}
}

/* Local time: a column a person reads. */
static void by_time(
        struct report *report, const struct report_request *request, const struct gathered *gathered)
{
	const struct report_period *period = &request->period;
	bool days = period->until - period->since > HOURS_SHOWN_S;
	json_t *slots = json_object();
	const char *key, *pattern = days ? "%a %d %b" : "%a %H:00";
	json_t *value;
	char label[REPORT_WHEN_LEN];
	struct tm tm;

	for (time_t at = (time_t)period->since; at < (time_t)period->until && json_object_size(slots) < 100;
	        at += 3600) {
		strftime(label, sizeof label, pattern, localtime_r(&at, &tm));
		if (!json_object_get(slots, label))
			json_object_set_new(slots, label, json_integer(0));
	}
	json_object_foreach(gathered->hours, key, value)
	{
		memset(&tm, 0, sizeof tm);
		if (!strptime(key, "%Y-%m-%dT%H", &tm))
			continue;
		time_t at = timegm(&tm);
		strftime(label, sizeof label, pattern, localtime_r(&at, &tm));
		json_object_set_new(slots, label,
		        json_integer(json_integer_value(json_object_get(slots, label)) +
		                     json_integer_value(value)));
	}
	report_section(report, days ? "Blocked lookups by day" : "Blocked lookups by hour");
	bars_in_order(report, slots);
	json_decref(slots);
}

/* ---- the rows of the CSV ---- */

static void data_episodes(struct report *report, const json_t *episodes)
{
	static const char *const titles[] = { "first", "last", "client", "device", "profile", "severity",
		"category", "count", "background", "bypass", "names" };
	const json_t *episode;
	size_t i;

	report_data(report, titles, sizeof titles / sizeof *titles);
	json_array_foreach(episodes, i, episode)
	{
		char names[NAMES_LEN], count[32];
		names_text(episode, SIZE_MAX, names);
		snprintf(count, sizeof count, "%" JSON_INTEGER_FORMAT,
		        json_integer_value(json_object_get(episode, "count")));
		const char *cells[] = { member_text(episode, "first"), member_text(episode, "last"),
			member_text(episode, "client"), member_text(episode, "device"),
			member_text(episode, "profile"), member_text(episode, "severity"),
			member_text(episode, "category"), count, is_background(episode) ? "yes" : "no",
			json_is_true(json_object_get(episode, "bypass")) ? "yes" : "no", names };
		report_data_row(report, cells);
	}
}

/* An incident a row, as safeguarding systems import them; the person is filled in by whoever knows. */
static void data_cpoms(struct report *report, const struct config *config, const json_t *episodes)
{
	static const char *const titles[] = { "Date", "Time", "Student", "Category", "Level", "Incident",
		"Source" };
	const json_t *episode;
	size_t i;

	report_data(report, titles, sizeof titles / sizeof *titles);
	json_array_foreach(episodes, i, episode)
	{
		char date[16] = "", clock[16] = "", who[128], names[NAMES_LEN], incident[NAMES_LEN + 256];
		struct tm tm = { 0 };
		if (!is_urgent(episode) && !is_worth_a_look(episode))
			continue;
		if (strptime(member_text(episode, "first"), "%Y-%m-%dT%H:%M:%S", &tm)) {
			time_t at = timegm(&tm);
			strftime(date, sizeof date, "%d/%m/%Y", localtime_r(&at, &tm));
			strftime(clock, sizeof clock, "%H:%M", &tm);
		}
		who_text(episode, who, sizeof who);
		names_text(episode, NAMES_SHOWN, names);
		snprintf(incident, sizeof incident, "%s by the DNS filter for device %s: %s",
		        event_let_through(episode)[0] != '\0' ? "Seen and let through" : "Blocked", who,
		        names);
		const char *cells[] = { date, clock, "",
			report_category(config, member_text(episode, "category")),
			member_text(episode, "severity"), incident, "usher" };
		report_data_row(report, cells);
	}
}

static void data(struct report *report, const struct report_request *request, const struct gathered *gathered)
{
	report_rows(report, gathered->episodes);
	if (request->cpoms)
		data_cpoms(report, request->config, gathered->episodes);
	else
		data_episodes(report, gathered->episodes);
}

/* ---- a week beside the one before ---- */

static void compared(struct report *report, const struct report_request *request, const struct gathered *now,
        const struct gathered *before)
{
	static const char *const titles[] = { "Category", "This week", "Week before", "Change" };
	json_t *all = json_object();
	const char *key;
	json_t *value;

	report_section(report, "Beside the week before");
	report_table(report, titles, sizeof titles / sizeof *titles);
	report_counts_add(all, before->categories);
	report_counts_add(all, now->categories);
	json_object_foreach(all, key, value)
	{
		json_int_t this = json_integer_value(json_object_get(now->categories, key));
		json_int_t last = json_integer_value(json_object_get(before->categories, key));
		char count[2][32], change[32] = "new";
		const char *cells[] = { report_category(request->config, key), count[0], count[1], change };
		snprintf(count[0], sizeof count[0], "%" JSON_INTEGER_FORMAT, this);
		snprintf(count[1], sizeof count[1], "%" JSON_INTEGER_FORMAT, last);
		if (last > 0)
			snprintf(change, sizeof change, "%+" JSON_INTEGER_FORMAT " %%",
			        (this - last) * 100 / last);
		report_row(report, report_category_tone(request->config, key), cells);
	}
	json_decref(all);
}

struct device {
	char who[128];
	uint64_t danger, caution;
};

static int device_compare(const void *a, const void *b)
{
	const struct device *x = a, *y = b;

	if (x->danger != y->danger)
		return x->danger < y->danger ? 1 : -1;
	if (x->caution != y->caution)
		return x->caution < y->caution ? 1 : -1;
	return strcmp(x->who, y->who);
}

/* Which devices the events of the week are about, each under the newest of its worst events' address: no
 * threshold hides the one that comes back a little each day. */
static void by_device(struct report *report, const struct gathered *gathered)
{
	static const char *const titles[] = { "Who", "Events of danger", "Events of caution" };
	json_t *places = json_object();
	struct device *devices = calloc(json_array_size(gathered->episodes) + 1, sizeof *devices);
	const json_t *episode;
	size_t i, count = 0;

	if (!devices)
		abort();
	json_array_foreach(gathered->episodes, i, episode)
	{
		const char *identity = event_identity(episode);
		if (!is_urgent(episode) && !is_worth_a_look(episode))
			continue;
		if (!json_object_get(places, identity)) {
			json_object_set_new(places, identity, json_integer((json_int_t)count));
			who_text(episode, devices[count].who, sizeof devices[count].who);
			count++;
		}
		struct device *device = &devices[json_integer_value(json_object_get(places, identity))];
		device->danger += is_urgent(episode);
		device->caution += !is_urgent(episode);
	}
	qsort(devices, count, sizeof *devices, device_compare);
	if (count > 0) {
		report_section(report, "Devices");
		report_table(report, titles, sizeof titles / sizeof *titles);
	}
	for (i = 0; i < count && i < DEVICES_SHOWN; i++) {
		char danger[32], caution[32];
		const char *cells[] = { devices[i].who, danger, caution };
		snprintf(danger, sizeof danger, "%" PRIu64, devices[i].danger);
		snprintf(caution, sizeof caution, "%" PRIu64, devices[i].caution);
		report_row(report, devices[i].danger > 0 ? TONE_DANGER : TONE_CAUTION, cells);
	}
	free(devices);
	json_decref(places);
}

/* ---- the reports ---- */

int report_fill_day(struct report *report, const struct report_request *request)
{
	struct gathered gathered;
	bool whole = gather(&gathered, request, &request->period);

	if (whole) {
		glance(report, &gathered);
		attention(report, request, &gathered);
		worth_a_look(report, request, &gathered);
		by_category(report, request, &gathered);
		by_time(report, request, &gathered);
		report_health(report, request->context);
		report_limits(report);
		data(report, request, &gathered);
	}
	gathered_clear(&gathered);
	return whole ? COMMAND_OK : COMMAND_FAILED;
}

int report_fill_week(struct report *report, const struct report_request *request)
{
	const struct report_period *period = &request->period;
	const struct report_period before_period = { 2 * period->since - period->until, period->since };
	struct gathered gathered, before = { 0 };
	bool whole = gather(&gathered, request, period) && gather(&before, request, &before_period);

	if (whole) {
		glance(report, &gathered);
		attention(report, request, &gathered);
		by_device(report, &gathered);
		worth_a_look(report, request, &gathered);
		compared(report, request, &gathered, &before);
		by_category(report, request, &gathered);
		by_time(report, request, &gathered);
		report_health(report, request->context);
		report_limits(report);
		data(report, request, &gathered);
	}
	gathered_clear(&gathered);
	gathered_clear(&before);
	return whole ? COMMAND_OK : COMMAND_FAILED;
}
