#include "selftest_record.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/manifest.h"
#include "blocklists/member.h"
#include "report_fill.h"
#include "resolver/address.h"
#include "resolver/block_log.h"
#include "resolver/ledger.h"
#include "resolver/utc.h"

static json_t *case_json(const struct selftest_case *test)
{
	char client[INET6_ADDRSTRLEN];

	address_text(test->client, client);
	return json_pack("{s:s?, s:s, s:s, s:s, s:s, s:b, s:s}", "profile", test->profile, "client", client,
	        "name", test->name, "subject", test->subject, "want", selftest_want_text(test->want),
	        "passed", (int)test->passed, "found", test->found);
}

static void time_text(int64_t s, const char *format, char text[32])
{
	time_t at = (time_t)s;
	struct tm tm;

	strftime(text, 32, format, gmtime_r(&at, &tm));
}

json_t *selftest_json(const struct selftest *selftest, const char *generation_hash, uint64_t generation)
{
	json_t *cases = json_array(), *notes = json_array(), *engines = json_array();
	char time[UTC_TEXT_LEN];

	for (size_t i = 0; i < selftest->count; i++)
		json_array_append_new(cases, case_json(&selftest->cases[i]));
	for (size_t i = 0; i < selftest->note_count; i++)
		json_array_append_new(notes, json_string(selftest->notes[i]));
	for (size_t i = 0; i < selftest->config->engine_count; i++)
		if (selftest->engines_failed >> i & 1)
			json_array_append_new(engines, json_string(selftest->config->engines[i].name));
	utc_text(selftest->time_s, time);
	return json_pack("{s:s, s:I, s:s, s:I, s:I, s:o, s:o, s:o}", "time", time, "generation",
	        (json_int_t)generation, "hash", generation_hash, "passed", (json_int_t)selftest->passed,
	        "failed", (json_int_t)(selftest->count - selftest->passed), "engines", engines, "notes",
	        notes, "cases", cases);
}

/* ---- the folder ---- */

static int is_record(const struct dirent *entry)
{
	return strlen(entry->d_name) == strlen("2026-11-23T101502Z.json") && entry->d_name[10] == 'T';
}

static bool has_failed(const char *path)
{
	json_t *record = NULL;
	bool failed = manifest_read(path, &record) == 0 && member_number(record, "failed") > 0;

	json_decref(record);
	return failed;
}

/* Of older days the first one stays, which speaks for all that passed, and each that failed. */
static void drop_old(const char *dir, int64_t now_s)
{
	char least[40], whole[40], path[PATH_MAX];
	const char *day = "";
	struct dirent **entries;
	int count = scandir(dir, &entries, is_record, alphasort);

	time_text(now_s - SELFTEST_KEEP_DAYS * INT64_C(86400), "%Y-%m-%dT%H%M%SZ.json", least);
	time_text(now_s - SELFTEST_WHOLE_DAYS * INT64_C(86400), "%Y-%m-%dT%H%M%SZ.json", whole);
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		bool is_first = strncmp(day, name, strlen("2026-11-23")) != 0;
		day = name;
		if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
			continue;
		if (strcmp(name, least) < 0 || (strcmp(name, whole) < 0 && !is_first && !has_failed(path)))
			unlink(path);
	}
	for (int i = 0; i < count; i++)
		free(entries[i]);
	if (count >= 0)
		free(entries);
}

static int link_last(const char *dir, const char *name)
{
	char link[PATH_MAX], temporary[PATH_MAX];

	if (snprintf(link, sizeof link, "%s/last.json", dir) >= (int)sizeof link ||
	        snprintf(temporary, sizeof temporary, "%s/last.json.new", dir) >= (int)sizeof temporary)
		return -ENAMETOOLONG;
	unlink(temporary);
	return symlink(name, temporary) == 0 && rename(temporary, link) == 0 ? 0 : -errno;
}

static int note_in_ledger(const struct selftest *selftest, const char *name)
{
	char dir[PATH_MAX];
	json_t *detail = json_pack("{s:s, s:I, s:I}", "record", name, "passed", (json_int_t)selftest->passed,
	        "failed", (json_int_t)(selftest->count - selftest->passed));

	snprintf(dir, sizeof dir, "%s/ledger", selftest->config->state_dir);
	int ret = ledger_append(dir, getuid(), "selftest", detail);
	json_decref(detail);
	return ret;
}

int selftest_record(const struct selftest *selftest, const char *generation_hash, uint64_t generation)
{
	char dir[PATH_MAX], path[PATH_MAX], name[32];

	time_text(selftest->time_s, "%Y-%m-%dT%H%M%SZ.json", name);
	if (snprintf(dir, sizeof dir, "%s/selftest", selftest->config->state_dir) >= (int)sizeof dir ||
	        snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
		return -ENAMETOOLONG;
	if (mkdir(dir, 0750) < 0 && errno != EEXIST)
		return -errno;
	json_t *record = selftest_json(selftest, generation_hash, generation);
	int ret = record ? manifest_write(path, record) : -ENOMEM;
	json_decref(record);
	if (ret == 0)
		ret = link_last(dir, name);
	if (ret == 0)
		ret = note_in_ledger(selftest, name);
	drop_old(dir, selftest->time_s);
	return ret;
}

/* ---- the page ---- */

static void report_failures(const struct selftest *selftest, struct report *report)
{
	static const char *const titles[] = { "For", "Name", "What it is", "Should be", "Is" };

	report_section(report, "What is wrong");
	if (selftest->passed == selftest->count) {
		report_sentence(report, TONE_PLAIN, "Nothing: every name got what it should.");
		return;
	}
	report_table(report, titles, sizeof titles / sizeof *titles);
	for (size_t i = 0; i < selftest->count; i++) {
		const struct selftest_case *test = &selftest->cases[i];
		const char *cells[] = { test->profile ? test->profile : "all", test->name, test->subject,
			selftest_want_text(test->want), test->found };
		if (!test->passed)
			report_row(report, TONE_DANGER, cells);
	}
}

/* One row for a profile and what is wanted. */
static void report_profile(const struct selftest *selftest, struct report *report, const char *profile)
{
	for (enum selftest_want want = WANT_BLOCK; want <= WANT_SAFE; want++) {
		size_t asked = 0, passed = 0;
		char numbers[64];
		for (size_t i = 0; i < selftest->count; i++) {
			const struct selftest_case *test = &selftest->cases[i];
			if (test->want != want || (test->profile == NULL) != (profile == NULL) ||
			        (profile && strcmp(test->profile, profile) != 0))
				continue;
			asked++;
			passed += test->passed;
		}
		const char *cells[] = { profile ? profile : "all", selftest_want_text(want), numbers };
		snprintf(numbers, sizeof numbers, "%zu of %zu", passed, asked);
		if (asked > 0)
			report_row(report, passed == asked ? TONE_PLAIN : TONE_DANGER, cells);
	}
}

void selftest_report(const struct selftest *selftest, struct report *report)
{
	static const char *const titles[] = { "For", "Should be", "Is" };
	char date[REPORT_WHEN_LEN];

	report_date(selftest->time_s, date);
	report_subtitle(
	        report, "%s: %zu of %zu names got what they should", date, selftest->passed, selftest->count);
	report_failures(selftest, report);
	report_section(report, "What was asked");
	report_sentence(report, TONE_QUIET,
	        "The running filter was asked, as a device of each group, for names that must be blocked, "
	        "names that must resolve, "
	        "search engines that must be made safe, and signals by which devices would go around it.");
	report_table(report, titles, sizeof titles / sizeof *titles);
	for (size_t i = 0; i < selftest->config->profile_count; i++)
		report_profile(selftest, report, selftest->config->profiles[i].name);
	report_profile(selftest, report, NULL);
	if (selftest->note_count > 0)
		report_section(report, "What could not be tested");
	for (size_t i = 0; i < selftest->note_count; i++)
		report_sentence(report, TONE_CAUTION, "%s", selftest->notes[i]);
}
