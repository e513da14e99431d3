/* `usher report`: what the DSL, the head, governors and the data protection officer need, as a page, a text
 * or rows. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "report_fill.h"

enum scope { SCOPE_PUPILS, SCOPE_STAFF, SCOPE_ALL, SCOPE_PERSON };

static const struct kind {
	const char *name, *title;
	enum scope scope;
	const char *since; /* unless given */
	int (*fill)(struct report *report, const struct report_request *request);
} kinds[] = {
	{ "daily", "Daily report", SCOPE_PUPILS, "yesterday", report_fill_day },
	{ "weekly", "Weekly report", SCOPE_PUPILS, "7d", report_fill_week },
	{ "term", "Report for governors", SCOPE_ALL, "91d", report_fill_term },
	{ "staff", "Staff report", SCOPE_STAFF, "7d", report_fill_day },
	{ "subject-access", "Subject access report", SCOPE_PERSON, "3650d", report_fill_person },
};
#define KINDS (sizeof kinds / sizeof *kinds)

static const struct {
	const char *name;
	const char *extension;
	enum report_format format;
	bool cpoms;
} formats[] = {
	{ "text", "txt", REPORT_TEXT, false },
	{ "html", "html", REPORT_HTML, false },
	{ "csv", "csv", REPORT_CSV, false },
	{ "cpoms", "cpoms.csv", REPORT_CSV, true },
	{ "json", "jsonl", REPORT_JSON, false },
};
#define FORMATS (sizeof formats / sizeof *formats)

struct words {
	const char *format, *output, *since, *until, *day, *client, *device;
};

/* ---- for which profiles ---- */

static const struct config_access *access_find(const struct config *config, const char *group)
{
	for (size_t i = 0; i < config->access_count; i++)
		if (strcmp(config->access[i].group, group) == 0)
			return &config->access[i];
	return NULL;
}

static bool access_has(const struct config_access *access, unsigned profile)
{
	for (size_t i = 0; access && i < access->profile_count; i++)
		if (access->profiles[i] == profile)
			return true;
	return false;
}

/* Staff are those whom `access` gives to the head, or a profile of that name: never in a report on pupils. */
static bool is_staff(const struct config *config, unsigned profile)
{
	const struct config_access *head = access_find(config, "head");

	return head ? access_has(head, profile) && !access_has(access_find(config, "dsl"), profile)
	            : strcmp(config->profiles[profile].name, "staff") == 0;
}

static bool is_in_scope(const struct config *config, enum scope scope, unsigned profile)
{
	const struct config_access *dsl = access_find(config, "dsl");

	if (scope == SCOPE_ALL)
		return true;
	if (scope == SCOPE_STAFF)
		return is_staff(config, profile);
	return (!dsl || access_has(dsl, profile)) && !is_staff(config, profile);
}

static int request_profiles(struct report_request *request, enum scope scope)
{
	const struct config *config = request->config;

	for (unsigned i = 0; scope != SCOPE_PERSON && i < config->profile_count; i++)
		if (is_in_scope(config, scope, i))
			request->profiles[request->profile_count++] = config->profiles[i].name;
	if (request->profile_count > 0 || scope == SCOPE_PERSON)
		return COMMAND_OK;
	fprintf(stderr, "usher: no profile is meant: name them in access.%s.profiles of %s\n",
	        scope == SCOPE_STAFF ? "head" : "dsl", config->file);
	return COMMAND_FAILED;
}

/* ---- for which time ---- */

static int time_word(const char *option, const char *text, int64_t *s)
{
	if (command_time(text, true, s) == 0)
		return COMMAND_OK;
	return command_usage_error("report",
	        "--%s: found '%s', expected a time such as 7d, yesterday or 2026-11-23", option, text);
}

/* Midnight to midnight, local: 23 or 25 hours where the clocks change. */
static int request_day(struct report_request *request, const char *day)
{
	struct tm tm;

	int ret = time_word("day", day, &request->period.since);
	if (ret != COMMAND_OK)
		return ret;
	time_t at = (time_t)request->period.since;
	localtime_r(&at, &tm);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	request->period.since = mktime(&tm);
	tm.tm_mday++;
	tm.tm_isdst = -1;
	request->period.until = mktime(&tm);
	return COMMAND_OK;
}

static int request_period(struct report_request *request, const struct kind *kind, const struct words *words)
{
	if (words->day && (words->since || words->until))
		return command_usage_error("report", "--day excludes --since and --until");
	if (words->day)
		return request_day(request, words->day);
	request->period.until = time(NULL) + 1;
	int ret = time_word("since", words->since ? words->since : kind->since, &request->period.since);
	if (ret == COMMAND_OK && words->until)
		ret = time_word("until", words->until, &request->period.until);
	if (ret == COMMAND_OK && request->period.since >= request->period.until)
		return command_usage_error("report", "--since is not before --until");
	return ret;
}

/* ---- of whom ---- */

/* One device: a network would be others' rows, too. */
static int request_person(struct report_request *request, const struct kind *kind, const struct words *words)
{
	bool named = words->client || words->device;

	if (kind->scope != SCOPE_PERSON && named)
		return command_usage_error("report", "--client and --device are for subject-access");
	if (kind->scope != SCOPE_PERSON)
		return COMMAND_OK;
	if (!named)
		return command_usage_error(
		        "report", "subject-access needs --client ADDRESS or --device NAME: whose rows?");
	if (words->client && strchr(words->client, '/'))
		return command_usage_error("report",
		        "--client: found '%s', expected one address: a network is more than one person",
		        words->client);
	request->client = words->client;
	request->device = words->device;
	return COMMAND_OK;
}

/* ---- where to ---- */

/* A folder is given a file in it, named by what it is of which day: daily-2026-11-23.html. */
static int output_path(char path[PATH_MAX], const char *output, const struct kind *kind, size_t format)
{
	time_t now = time(NULL);
	struct tm tm;
	char day[16];
	size_t len = strlen(output);

	strftime(day, sizeof day, "%Y-%m-%d", localtime_r(&now, &tm));
	int ret = len > 0 && output[len - 1] == '/' ? snprintf(path, PATH_MAX, "%s%s-%s.%s", output,
	                                                      kind->name, day, formats[format].extension)
	                                            : snprintf(path, PATH_MAX, "%s", output);
	return ret < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* A terminal, a pipe, /dev/null: written to, and never replaced by a file. */
static bool is_special(const char *file)
{
	struct stat st;

	return stat(file, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static int print_into(const struct report *report, enum report_format format, const char *file)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	if (ret == 0) {
		report_print(report, format);
		ret = fflush(stdout) == 0 ? 0 : -errno;
	}
	if (ret < 0)
		fprintf(stderr, "usher: %s: %s\n", file, strerror(-ret));
	return ret == 0 ? COMMAND_OK : COMMAND_FAILED;
}

/* Root's report in the reports' folder is the folder's owner's: `usher forget` must be able to read it. */
static int output_give(int fd, const char *file, const char *reports)
{
	struct stat folder, ours;
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s", file);
	if (geteuid() != 0 || stat(dirname(path), &folder) < 0 || stat(reports, &ours) < 0 ||
	        folder.st_dev != ours.st_dev || folder.st_ino != ours.st_ino)
		return 0;
	return fchown(fd, folder.st_uid, folder.st_gid);
}

/* A report is whole or not there; and it is for the eyes of its owner and the folder's group. */
static int output_begin(const char *file, const char *reports, char *temporary, size_t size)
{
	if (snprintf(temporary, size, "%s.XXXXXX", file) >= (int)size)
		return -ENAMETOOLONG;
	int fd = mkstemp(temporary);
	if (fd < 0)
		return -errno;
	int ret = output_give(fd, file, reports) == 0 && fchmod(fd, 0640) == 0 && fflush(stdout) == 0 &&
	                          dup2(fd, STDOUT_FILENO) >= 0
	                  ? 0
	                  : -errno;
	close(fd);
	return ret;
}

static int output_end(const char *file, const char *temporary)
{
	if (fflush(stdout) != 0 || ferror(stdout) || fsync(STDOUT_FILENO) != 0 ||
	        rename(temporary, file) != 0)
		return errno ? -errno : -EIO;
	return 0;
}

static int output_failed(const char *file, const char *temporary, int ret)
{
	fprintf(stderr, "usher: %s: %s\n", file, strerror(-ret));
	unlink(temporary);
	return COMMAND_FAILED;
}

static int print_to(
        const struct report *report, enum report_format format, const char *file, const char *reports)
{
	char temporary[4096];

	if (!file || strcmp(file, "-") == 0) {
		report_print(report, format);
		return COMMAND_OK;
	}
	if (is_special(file))
		return print_into(report, format, file);
	int ret = output_begin(file, reports, temporary, sizeof temporary);
	if (ret == 0) {
		report_print(report, format);
		ret = output_end(file, temporary);
	}
	return ret == 0 ? COMMAND_OK : output_failed(file, temporary, ret);
}

/* ---- the command ---- */

static int make_report(
        struct report_request *request, const struct kind *kind, size_t format, const char *file)
{
	struct report report;
	char since[REPORT_WHEN_LEN], until[REPORT_WHEN_LEN], path[PATH_MAX];

	if (file && output_path(path, file, kind, format) < 0)
		return command_usage_error("report", "--output: the path is too long");
	report_init(&report, kind->title);
	report_date(request->period.since, since);
	report_date(request->period.until - 1, until);
	if (kind->scope == SCOPE_PERSON)
		report_subtitle(
		        &report, "%s, up to %s", request->client ? request->client : request->device, until);
	else if (strcmp(since, until) == 0)
		report_subtitle(&report, "%s", since);
	else
		report_subtitle(&report, "%s to %s", since, until);
	int ret = kind->fill(&report, request);
	if (ret == COMMAND_OK)
		ret = print_to(
		        &report, formats[format].format, file ? path : NULL, request->config->report_dir);
	report_clear(&report);
	return ret;
}

static int words_read(struct command_context *context, struct words *words)
{
	const struct command_option options[] = { { "format", true, &words->format },
		{ "output", true, &words->output }, { "since", true, &words->since },
		{ "until", true, &words->until }, { "day", true, &words->day },
		{ "client", true, &words->client }, { "device", true, &words->device } };

	return command_options(context, "report", options, sizeof options / sizeof *options);
}

int report_command(struct command_context *context)
{
	struct report_request request = { .context = context };
	struct words words = { .format = context->json ? "json" : context->csv ? "csv" : "text" };
	size_t kind = 0, format = 0;

	int ret = words_read(context, &words);
	if (ret != COMMAND_OK)
		return ret;
	if (context->argc != 1)
		return command_usage_error(
		        "report", "expected one of daily, weekly, term, staff, subject-access");
	while (kind < KINDS && strcmp(kinds[kind].name, context->argv[0]) != 0)
		kind++;
	if (kind == KINDS)
		return command_usage_error("report",
		        "there is no report %s: expected daily, weekly, term, staff or subject-access",
		        context->argv[0]);
	while (format < FORMATS && strcmp(formats[format].name, words.format) != 0)
		format++;
	if (format == FORMATS)
		return command_usage_error("report",
		        "--format: found '%s', expected html, text, csv, cpoms or json", words.format);
	request.config = command_config(context);
	request.cpoms = formats[format].cpoms;
	ret = request_person(&request, &kinds[kind], &words);
	if (ret == COMMAND_OK)
		ret = request_period(&request, &kinds[kind], &words);
	if (ret == COMMAND_OK)
		ret = request_profiles(&request, kinds[kind].scope);
	return ret == COMMAND_OK ? make_report(&request, &kinds[kind], format, words.output) : ret;
}
