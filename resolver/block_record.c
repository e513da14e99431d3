/* A record of the block log for people and programs outside: the JSON of DESIGN.md 5. */
#include "block_log.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "identity.h"
#include "message.h"
#include "value.h"

static json_t *name_json(const struct name *name)
{
	char text[NAME_TEXT_MAX];

	name_to_text(name, text);
	return value_text(text);
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
	            : value_text(record->source);
}

/* The rule as it was listed: so many labels of the matched name; or a text. */
static json_t *rule_json(const struct block_record *record)
{
	const char *text = rule_in_source(record);
	struct name rule;

	if (text)
		return value_text(text);

	if (record->rule_labels > record->matched.labels)
		return json_null();
	name_suffix(&record->matched, record->matched.labels - record->rule_labels, &rule);
	return name_json(&rule);
}

char *block_record_json(const struct block_record *record)
{
	char type[16];
	json_t *json = json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:s, s:o}", "time",
	        value_time_us(record->time_us), "client", value_client(record->client), "device", json_null(),
	        "profile", value_text(record->profile), "name", name_json(&record->name), "type",
	        message_type_text(record->type, type), "category", value_text(record->category), "severity",
	        config_severity_text(record->severity), "rule", rule_json(record), "source",
	        source_json(record), "matched", name_json(&record->matched), "action",
	        record->action == BLOCK_ACTION_WATCH ? "watch" : "block", "generation",
	        record->generation ? json_integer((json_int_t)record->generation) : json_null());
	char *text = json && identity_add_to(json, record->client, record->device) == 0
	                     ? json_dumps(json, JSON_COMPACT)
	                     : NULL;

	json_decref(json);
	return text;
}
