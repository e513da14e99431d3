/* `usher ledger`: who changed what, when and why, and who read personal data; and the proof that nothing of
 * it is missing. */
#include "commands.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/member.h"
#include "resolver/ledger.h"

#define COMMAND "ledger"

static const char *const keys[] = { "seq", "time", "uid", "user", "what", "why", "until", "detail", "hash" };
#define KEY_COUNT (sizeof keys / sizeof keys[0])

struct reading {
	const struct command_context *context;
	struct command_table *table; /* for people */
	char since[32];              /* RFC 3339 in UTC, as entries have it; "": from the beginning */
	bool reads;
};

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);
	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* Reads of personal data, those that were refused too; all else is a change. */
static bool is_read(const char *what)
{
	return strncmp(what, "log.", 4) == 0 || ends_with(what, ".read") || ends_with(what, ".follow");
}

/* Who: as the entry says it, else the account's name of today. */
static json_t *user_of(const json_t *entry)
{
	const json_t *uid = json_object_get(entry, "uid");
	const char *author = member_text(json_object_get(entry, "detail"), "author");

	if (*author)
		return json_string(author);
	const struct passwd *user = json_is_integer(uid) ? getpwuid((uid_t)json_integer_value(uid)) : NULL;
	return user ? json_string(user->pw_name) : json_null();
}

static json_t *copy_of(const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	return value ? json_incref(value) : json_null();
}

/* What is printed of an entry, in the order of keys. */
static json_t *row_of(const json_t *entry)
{
	const json_t *detail = json_object_get(entry, "detail");

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "seq", copy_of(entry, "seq"),
	        "time", copy_of(entry, "time"), "uid", copy_of(entry, "uid"), "user", user_of(entry), "what",
	        copy_of(entry, "what"), "why", copy_of(detail, "reason"), "until", copy_of(detail, "until"),
	        "detail", copy_of(entry, "detail"), "hash", copy_of(entry, "hash"));
}

/* ---- for people ---- */

/* "name casino.com, profile pupils": what the other columns do not say. */
static void detail_text(json_t *detail, char *text, size_t room)
{
	static const char *const elsewhere[] = { "reason", "until", "author", "uid", "added", "revision" };
	const char *key;
	json_t *value;
	size_t len = 0;

	text[0] = '\0';
	json_object_foreach(detail, key, value)
	{
		bool said = json_is_null(value) || json_is_false(value);
		for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
			said |= strcmp(key, elsewhere[i]) == 0;
		if (said || len >= room)
			continue;
		char *compact =
		        json_is_string(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		int wrote = snprintf(text + len, room - len, "%s%s %s", len > 0 ? ", " : "", key,
		        compact                    ? compact
		        : json_string_value(value) ? json_string_value(value)
		                                   : "");
		len += wrote > 0 ? (size_t)wrote : 0;
		free(compact);
	}
}

static void row_for_people(const struct reading *reading, const json_t *row)
{
	char when[UTC_TEXT_LEN], until[UTC_TEXT_LEN], detail[2048];

	detail_text(json_object_get(row, "detail"), detail, sizeof detail);
	const char *const cells[] = { command_local_time(member_text(row, "time"), when),
		member_text(row, "user"), member_text(row, "what"), member_text(row, "why"),
		command_local_time(member_text(row, "until"), until), detail };
	command_table_row(reading->table, cells);
}

static bool line_met(void *arg, const char *line, size_t len)
{
	const struct reading *reading = arg;
	json_t *entry = json_loadb(line, len, 0, NULL);

	if (!entry) {
		command_say("a line of the ledger is no JSON: see `usher ledger --verify`");
		return true;
	}
	if (strcmp(member_text(entry, "time"), reading->since) >= 0 &&
	        (!reading->reads || is_read(member_text(entry, "what")))) {
		json_t *row = row_of(entry);
		if (reading->context->json) {
			command_json(row);
		} else if (reading->context->csv) {
			command_csv_object(row, keys, KEY_COUNT);
		} else {
			row_for_people(reading, row);
		}
		json_decref(row);
	}
	json_decref(entry);
	return true;
}

static int failed(const char *dir, int error)
{
	fprintf(stderr, "usher: %s: %s\n", dir, strerror(error));
	return COMMAND_FAILED;
}

static int show(struct reading *reading, const char *dir)
{
	static const char *const heads[] = { "TIME", "WHO", "WHAT", "WHY", "UNTIL", "" };

	if (reading->context->csv)
		command_csv(keys, KEY_COUNT);
	else if (!reading->context->json)
		reading->table = command_table_new(heads, 6);
	int ret = ledger_walk(dir, line_met, reading);
	if (reading->table)
		command_table_print(reading->table);
	return ret < 0 ? failed(dir, -ret) : COMMAND_OK;
}

static int verify(const struct command_context *context, const char *dir)
{
	char why[LEDGER_WHY_MAX];
	int64_t count = ledger_verify(dir, why);

	if (count < 0 && count != -EBADMSG)
		return failed(dir, (int)-count);
	if (context->json) {
		json_t *result = json_pack("{s:b, s:o, s:o}", "verified", count >= 0, "entries",
		        count >= 0 ? json_integer(count) : json_null(), "why",
		        count >= 0 ? json_null() : json_string(why));
		command_json(result);
		json_decref(result);
	} else if (count >= 0) {
		printf("%" PRId64 " entries, none altered, none missing\n", count);
	} else {
		fprintf(stderr, "usher: %s/%s\n", dir, why);
	}
	return count >= 0 ? COMMAND_OK : COMMAND_FAILED;
}

static int read_since(struct reading *reading, const char *text)
{
	int64_t since;

	if (command_time(text, true, &since) < 0)
		return command_usage_error(COMMAND,
		        "--since '%s' is no time, expected 1h, yesterday, \"2026-11-23 10:15\" or RFC 3339",
		        text);
	utc_text(since, reading->since);
	return 0;
}

int ledger_command(struct command_context *context)
{
	const char *since = NULL, *reads = NULL, *verifies = NULL;
	const struct command_option options[] = { { "since", true, &since }, { "reads", false, &reads },
		{ "verify", false, &verifies } };
	struct reading reading = { .context = context };
	char dir[PATH_MAX];

	int ret = command_options(context, COMMAND, options, sizeof options / sizeof options[0]);
	if (ret == 0 && context->argc > 0)
		ret = command_usage_error(COMMAND, "ledger takes no operand, found %s", context->argv[0]);
	if (ret == 0 && verifies && (since || reads))
		ret = command_usage_error(
		        COMMAND, "--verify looks at all entries: it goes with no other option");
	if (ret == 0 && since)
		ret = read_since(&reading, since);
	if (ret != 0)
		return ret;
	reading.reads = reads != NULL;
	snprintf(dir, sizeof dir, "%s/ledger", command_config(context)->state_dir);
	command_must_read(dir);
	return verifies ? verify(context, dir) : show(&reading, dir);
}
