/* `usher selftest`: is the filter on, for every group? It asks a running usherd, keeps a dated record, and
 * prints a page. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "selftest_record.h"

/* What serves now, for the record. */
static void generation_of(const struct config *config, char hash[80], uint64_t *id)
{
	char *reply = NULL;
	int status = command_http(config, "stats.sock", "/v1/stats", NULL, &reply);
	json_t *stats = status == 200 ? json_loads(reply, 0, NULL) : NULL;
	const json_t *generation = json_object_get(stats, "generation");
	const char *text = json_string_value(json_object_get(generation, "hash"));

	*id = (uint64_t)json_integer_value(json_object_get(generation, "id"));
	snprintf(hash, 80, "%s", text ? text : "");
	json_decref(stats);
	free(reply);
}

/* Tells usherd which engines to block. Returns COMMAND_OK, or COMMAND_FAILED after saying why. */
static int tell_engines(const struct selftest *selftest)
{
	json_t *names = json_array();
	char *reply = NULL;

	for (size_t i = 0; i < selftest->config->engine_count; i++)
		if (selftest->engines_failed >> i & 1)
			json_array_append_new(names, json_string(selftest->config->engines[i].name));
	json_t *body = json_pack("{s:o}", "failed", names);
	char *text = json_dumps(body, JSON_COMPACT);
	int status = command_http(selftest->config, "control.sock", "/v1/engines", text, &reply);
	if (status > 0 && status != 200)
		command_http_failed(status, reply);
	free(reply);
	free(text);
	json_decref(body);
	return status == 200 ? COMMAND_OK : COMMAND_FAILED;
}

static void print_json(const struct selftest *selftest, const char *hash, uint64_t generation)
{
	json_t *record = selftest_json(selftest, hash, generation);

	command_json(record);
	json_decref(record);
}

/* A row a name that was asked. */
static void print_csv(const struct selftest *selftest, const char *hash, uint64_t generation)
{
	static const char *const keys[] = { "profile", "client", "name", "subject", "want", "passed",
		"found" };
	json_t *record = selftest_json(selftest, hash, generation);
	const json_t *row;
	size_t i;

	command_csv(keys, sizeof keys / sizeof *keys);
	json_array_foreach(json_object_get(record, "cases"), i, row)
	        command_csv_object(row, keys, sizeof keys / sizeof *keys);
	json_decref(record);
}

static void print_page(const struct selftest *selftest, enum report_format format)
{
	struct report report;

	report_init(&report, "Selftest of the DNS filter");
	selftest_report(selftest, &report);
	report_print(&report, format);
	report_clear(&report);
}

/* For the system's log, into which a page every quarter of an hour is too much. */
static void print_brief(const struct selftest *selftest)
{
	char sentence[2048];

	for (size_t i = 0; i < selftest->count; i++) {
		const struct selftest_case *test = &selftest->cases[i];
		if (test->passed)
			continue;
		snprintf(sentence, sizeof sentence, "%s: %s (%s): should be: %s, is: %s",
		        test->profile ? test->profile : "all", test->name, test->subject,
		        selftest_want_text(test->want), test->found);
		command_say(sentence);
	}
	printf("%zu of %zu names got what they should\n", selftest->passed, selftest->count);
}

static int run_once(struct command_context *context, enum report_format format, bool brief)
{
	const struct config *config = command_config(context);
	struct selftest selftest = { 0 };
	char hash[80];
	uint64_t generation;

	int ret = selftest_plan(&selftest, config);
	if (ret == 0)
		ret = selftest_ask(&selftest);
	if (ret == 0) {
		generation_of(config, hash, &generation);
		ret = tell_engines(&selftest) == COMMAND_OK ? 0 : -EIO;
	}
	if (ret == 0) {
		ret = selftest_record(&selftest, hash, generation);
		if (ret < 0)
			fprintf(stderr, "usher: the record of the selftest cannot be kept: %s\n",
			        strerror(-ret));
		if (context->json)
			print_json(&selftest, hash, generation);
		else if (context->csv)
			print_csv(&selftest, hash, generation);
		else if (brief)
			print_brief(&selftest);
		else
			print_page(&selftest, format);
	}
	bool passed = ret == 0 && selftest.passed == selftest.count;
	selftest_clear(&selftest);
	return passed ? COMMAND_OK : COMMAND_FAILED;
}

/* For ever; a run that finds something wrong is told by its page, and by the next status of usherd. */
static _Noreturn void run_watch(
        struct command_context *context, enum report_format format, bool brief, int64_t every_s)
{
	for (;;) {
		run_once(context, format, brief);
		fflush(stdout);
		nanosleep(&(struct timespec){ .tv_sec = every_s }, NULL);
	}
}

int selftest_command(struct command_context *context)
{
	const char *format = "text", *watch = NULL, *brief = NULL;
	const struct command_option options[] = { { "format", true, &format }, { "watch", true, &watch },
		{ "brief", false, &brief } };
	int64_t now = time(NULL), then = 0;

	int ret = command_options(context, "selftest", options, sizeof options / sizeof *options);
	if (ret != COMMAND_OK)
		return ret;
	if (context->argc > 0)
		return command_usage_error("selftest", "unexpected '%s'", context->argv[0]);
	if (strcmp(format, "text") != 0 && strcmp(format, "html") != 0)
		return command_usage_error("selftest", "--format: found '%s', expected text or html", format);
	if (watch && (command_time(watch, false, &then) < 0 || then <= now))
		return command_usage_error(
		        "selftest", "--watch: found '%s', expected a duration such as 15m", watch);
	command_become_user(command_config(context));
	command_must_pass(context->config->state_dir);
	enum report_format as = strcmp(format, "html") == 0 ? REPORT_HTML : REPORT_TEXT;
	if (watch)
		run_watch(context, as, brief != NULL, then - now);
	return run_once(context, as, brief != NULL);
}
