/* `usher allow`, `usher block`, `usher rules`: the school's own rules, made and removed by usherd, which
 * judges them. */
#include "commands.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/member.h"
#include "resolver/rules.h"

#define QUERY_MAX 8192

/* What a rule's author types, the same for all of these commands. */
struct rule_words {
	const char *name, *profile, *client, *duration, *exact, *reason;
};

static int words_read(
        struct command_context *context, const char *command, struct rule_words *words, bool adding)
{
	const struct command_option options[] = {
		{ "profile", true, &words->profile },
		{ "client", true, &words->client },
		{ "exact", false, &words->exact },
		{ "reason", true, &words->reason },
		{ "for", true, &words->duration },
	};
	size_t count = sizeof options / sizeof options[0] - !adding;

	if (command_options(context, command, options, count) != 0)
		return COMMAND_USAGE;
	if (context->argc != 1)
		return command_usage_error(command, "expected one NAME");
	words->name = context->argv[0];
	if (!words->reason || *words->reason == '\0')
		return command_usage_error(
		        command, "a reason is needed: --reason TEXT says to those who read it in a year why");
	return 0;
}

/* Sends a request and reads the reply; what went wrong is said. NULL: it failed. */
static json_t *ask(const struct config *config, const char *method, const char *path, const char *body)
{
	char *reply;
	int status = command_http_method(config, "control.sock", method, path, body, &reply);
	json_t *object = NULL;

	if (status < 0)
		return NULL;
	if (status != 200)
		command_http_failed(status, reply);
	else if (!(object = json_loads(reply, 0, NULL)))
		command_say("usherd's reply is no JSON");
	free(reply);
	return object;
}

/* ---- what a rule looks like ---- */

/* "allowed: scratch.mit.edu and names below it, for pupils at 10.20.3.0/24, until 2026-11-23 10:15:00" */
static void say_rule(const char *what, const json_t *rule)
{
	char sentence[2048], until[UTC_TEXT_LEN];
	const char *client = member_text(rule, "client"), *profile = member_text(rule, "profile");

	command_local_time(member_text(rule, "until"), until);
	snprintf(sentence, sizeof sentence, "%s: %s%s, for %s%s%s%s%s", what, member_text(rule, "name"),
	        json_is_true(json_object_get(rule, "exact")) ? " alone" : " and names below it",
	        *profile ? profile : "all profiles", *client ? " at " : "", client, *until ? ", until " : "",
	        until);
	char *safe = command_safe_text(sentence);
	puts(safe);
	free(safe);
}

static void print_line(const json_t *object)
{
	command_json(object);
}

/* ---- allow and block ---- */

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static char *rule_body(const struct rule_words *words, const char *action, uint64_t for_ms)
{
	json_t *rule = json_pack("{s:s, s:s, s:b, s:o, s:o, s:s, s:o, s:o}", "action", action, "name",
	        words->name, "exact", words->exact != NULL, "profile", text_or_null(words->profile), "client",
	        text_or_null(words->client), "reason", words->reason, "for_s",
	        words->duration ? json_integer((json_int_t)(for_ms / 1000)) : json_null(), "by",
	        text_or_null(command_sudo_user()));
	char *body = rule ? json_dumps(rule, JSON_COMPACT) : NULL;

	json_decref(rule);
	return body;
}

static void print_added(const struct command_context *context, const char *action, json_t *reply)
{
	const json_t *replaced = json_object_get(reply, "replaced");
	const char *note = member_text(reply, "note");

	if (context->json) {
		print_line(reply);
		return;
	}
	say_rule(strcmp(action, "allow") == 0 ? "allowed" : "blocked", json_object_get(reply, "rule"));
	if (json_is_object(replaced))
		printf("this takes the place of an earlier %s\n", member_text(replaced, "action"));
	if (*note)
		command_say(note);
}

static int add_rule(struct command_context *context, const char *action)
{
	struct rule_words words = { 0 };
	uint64_t for_ms = 0;
	int ret = words_read(context, action, &words, true);

	if (ret != 0)
		return ret;
	if (words.duration && (config_duration_parse(words.duration, &for_ms) < 0 || for_ms < 1000))
		return command_usage_error(action,
		        "--for '%s' is no duration, expected one such as 40m, 1h or 2d", words.duration);
	char *body = rule_body(&words, action, for_ms);
	if (!body)
		return command_usage_error(action, "the name or the reason is not UTF-8");
	json_t *reply = ask(command_config_to_ask(context), "POST", "/v1/rules", body);
	free(body);
	if (!reply)
		return COMMAND_FAILED;
	print_added(context, action, reply);
	json_decref(reply);
	return COMMAND_OK;
}

int allow_command(struct command_context *context)
{
	return add_rule(context, "allow");
}

int block_command(struct command_context *context)
{
	return add_rule(context, "block");
}

/* ---- rules remove ---- */

static void query_add(char query[QUERY_MAX], const char *key, const char *value)
{
	size_t len = strlen(query);
	char *escaped = value ? curl_easy_escape(NULL, value, 0) : NULL;

	if (escaped)
		snprintf(query + len, QUERY_MAX - len, "%c%s=%s", strchr(query, '?') ? '&' : '?', key,
		        escaped);
	curl_free(escaped);
}

static int rules_remove(struct command_context *context)
{
	struct rule_words words = { 0 };
	char query[QUERY_MAX] = "/v1/rules";
	int ret = words_read(context, "rules", &words, false);
	size_t i;
	json_t *rule;

	if (ret != 0)
		return ret;
	query_add(query, "name", words.name);
	query_add(query, "reason", words.reason);
	query_add(query, "profile", words.profile);
	query_add(query, "client", words.client);
	query_add(query, "exact", words.exact ? "1" : NULL);
	query_add(query, "by", command_sudo_user());
	json_t *reply = ask(command_config_to_ask(context), "DELETE", query, NULL);
	if (!reply)
		return COMMAND_FAILED;
	if (context->json)
		print_line(reply);
	else
		json_array_foreach(json_object_get(reply, "removed"), i, rule)
		{
			say_rule(strcmp(member_text(rule, "action"), "allow") == 0 ? "no longer allowed"
			                                                           : "no longer blocked",
			        rule);
		}
	json_decref(reply);
	return COMMAND_OK;
}

/* ---- rules list ---- */

static json_t *rules_json(const struct rules *rules)
{
	int64_t now = (int64_t)time(NULL);
	json_t *list = json_array();

	for (size_t i = 0; i < rules_count(rules); i++) {
		const struct rules_entry *entry = rules_get(rules, i);
		if (entry->until == 0 || entry->until > now)
			json_array_append_new(list, rules_entry_json(entry));
	}
	return list;
}

/* From the published file where we may read it, else from usherd. NULL: neither, and that was said. */
static json_t *rules_fetch(struct command_context *context)
{
	const struct config *config = command_config_to_ask(context);
	struct rules *rules;
	int ret = command_rules(config, &rules);

	if (ret == -EACCES) {
		json_t *reply = ask(config, "GET", "/v1/rules", NULL);
		json_t *list = json_incref(json_object_get(reply, "rules"));
		json_decref(reply);
		return list;
	}
	json_t *list = rules_json(rules);
	rules_free(rules);
	return list;
}

static void print_rules(const struct command_context *context, json_t *list)
{
	static const char *const columns[] = { "action", "name", "exact", "profile", "client", "until",
		"author", "reason", "added" };
	static const char *const heads[] = { "ACTION", "NAME", "", "PROFILE", "CLIENT", "UNTIL", "BY",
		"REASON", "" };
	struct command_table *table = command_rows_new(context->csv, columns, heads, 9);
	char until[UTC_TEXT_LEN];
	size_t i;
	json_t *rule;

	json_array_foreach(list, i, rule)
	{
		bool exact = json_is_true(json_object_get(rule, "exact"));
		const char *const cells[] = { member_text(rule, "action"), member_text(rule, "name"),
			context->csv ? exact ? "true" : "false"
			: exact      ? "alone"
			             : "",
			member_text(rule, "profile"), member_text(rule, "client"),
			context->csv ? member_text(rule, "until")
			             : command_local_time(member_text(rule, "until"), until),
			member_text(rule, "author"), member_text(rule, "reason"),
			context->csv ? member_text(rule, "added") : "" };
		command_table_row(table, cells);
	}
	command_table_print(table);
}

static int rules_list(struct command_context *context)
{
	size_t i;
	json_t *rule;
	int ret = command_options(context, "rules", NULL, 0);

	if (ret != 0)
		return ret;
	if (context->argc > 0)
		return command_usage_error(
		        "rules", "rules list takes no operand, found %s", context->argv[0]);
	json_t *list = rules_fetch(context);
	if (!list)
		return COMMAND_FAILED;
	if (context->json)
		json_array_foreach(list, i, rule) print_line(rule);
	else
		print_rules(context, list);
	json_decref(list);
	return COMMAND_OK;
}

int rules_command(struct command_context *context)
{
	const char *word = context->argc > 0 ? context->argv[0] : "";

	if (*word) {
		context->argv++;
		context->argc--;
	}
	if (strcmp(word, "list") == 0)
		return rules_list(context);
	if (strcmp(word, "remove") == 0)
		return rules_remove(context);
	return command_usage_error("rules", "expected `rules list` or `rules remove NAME --reason TEXT`");
}
