/* A record of the block log for people and programs outside: the JSON of DESIGN.md 5. */
#include "block_log.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "message.h"

static json_t *text_json(const char *text)
{
	json_t *json = text ? json_string(text) : NULL;
	return json ? json : json_null();
}

static json_t *name_json(const struct name *name)
{
	char text[NAME_TEXT_MAX];

	name_to_text(name, text);
	return text_json(text);
}

void block_client_text(const uint8_t *client, char text[INET6_ADDRSTRLEN])
{
	static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (memcmp(client, v4_mapped, sizeof v4_mapped) == 0)
		inet_ntop(AF_INET, client + 12, text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, client, text, INET6_ADDRSTRLEN);
}

static json_t *client_json(const uint8_t *client)
{
	char text[INET6_ADDRSTRLEN];

	if (!client)
		return json_null();
	block_client_text(client, text);
	return json_string(text);
}

void block_time_text(int64_t time_us, char text[BLOCK_TIME_LEN])
{
	int64_t us = time_us % 1000000;
	time_t s = (time_t)(time_us / 1000000 - (us < 0));
	char date[32] = "";
	struct tm tm;

	if (gmtime_r(&s, &tm))
		strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, BLOCK_TIME_LEN, "%s.%06" PRId64 "Z", date, us < 0 ? us + 1000000 : us);
}

static json_t *time_json(int64_t time_us)
{
	char text[BLOCK_TIME_LEN];

	block_time_text(time_us, text);
	return json_string(text);
}

/* Where the rule begins that stands behind the source's name, NULL if none does. */
static const char *rule_in_source(const struct block_record *record)
{
	const char *space = record->source ? strchr(record->source, ' ') : NULL;
	return space ? space + 1 : NULL;
}

static json_t *source_json(const struct block_record *record)
{
	const char *rule = rule_in_source(record);
	return rule ? json_stringn(record->source, (size_t)(rule - 1 - record->source))
	            : text_json(record->source);
}

/* The rule as it was listed: so many labels of the matched name; or a text. */
static json_t *rule_json(const struct block_record *record)
{
	const char *text = rule_in_source(record);
	struct name rule;

	if (text)
		return text_json(text);

	if (record->rule_labels > record->matched.labels)
		return json_null();
	name_suffix(&record->matched, record->matched.labels - record->rule_labels, &rule);
	return name_json(&rule);
}

char *block_record_json(const struct block_record *record)
{
	char type[16];
	json_t *json = json_pack(
	        "{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "time",
	        time_json(record->time_us), "client", client_json(record->client), "device",
	        text_json(record->device), "profile", text_json(record->profile), "name",
	        name_json(&record->name), "type", message_type_text(record->type, type), "category",
	        text_json(record->category), "severity", config_severity_text(record->severity), "rule",
	        rule_json(record), "source", source_json(record), "matched", name_json(&record->matched),
	        "action", record->action == BLOCK_ACTION_WATCH ? "watch" : "block", "generation",
	        record->generation ? json_integer((json_int_t)record->generation) : json_null(), "mac",
	        text_json(record->mac), "confidence", text_json(record->confidence));
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}
