/* A signal for people and programs outside. */
#include "signal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static const char *const kinds[] = { "threshold", "slow-burn", "chase", "swarm", "operations" };

const char *signal_kind_text(enum config_alert_kind kind)
{
	return kinds[kind];
}

void signal_sentence(const struct signal *signal, char *text, size_t size)
{
	unsigned long long count = signal->count;

	switch (signal->rule->kind) {
	case ALERT_SLOW_BURN:
		snprintf(text, size, "one device again and again over weeks: %llu lookups on %zu days", count,
		        signal->evidence_count);
		return;
	case ALERT_CHASE:
		snprintf(text, size, "one device was blocked and tried ways around it: %llu lookups", count);
		return;
	case ALERT_SWARM:
		snprintf(text, size, "%u devices asked for a site that was never blocked here before",
		        signal->clients);
		return;
	default:
		snprintf(text, size, "%llu blocked %s of one device", count,
		        count == 1 ? "lookup" : "lookups");
	}
}

static json_t *text_json(const char *text)
{
	json_t *json = text ? json_string(text) : NULL;
	return json ? json : json_null();
}

static json_t *time_json(int64_t time_us)
{
	char text[BLOCK_TIME_LEN];

	block_time_text(time_us, text);
	return json_string(text);
}

static json_t *client_json(bool has_client, const uint8_t *client)
{
	char text[INET6_ADDRSTRLEN];

	if (!has_client)
		return json_null();
	block_client_text(client, text);
	return json_string(text);
}

static json_t *evidence_json(const struct signal *signal)
{
	json_t *array = json_array();

	for (size_t i = 0; i < signal->evidence_count; i++) {
		const struct signal_evidence *evidence = &signal->evidence[i];
		json_array_append_new(array,
		        json_pack("{s:o, s:o, s:o, s:o, s:o, s:I}", "time", time_json(evidence->time_us),
		                "client", client_json(evidence->has_client, evidence->client), "name",
		                text_json(evidence->name), "category", text_json(evidence->category), "step",
		                text_json(evidence->step), "count", (json_int_t)evidence->count));
	}
	return array;
}

char *signal_json(const struct signal *signal, const char *device)
{
	char id[20], sentence[200];

	snprintf(id, sizeof id, "%016" PRIx64, signal->id);
	signal_sentence(signal, sentence, sizeof sentence);
	json_t *json =
	        json_pack("{s:s, s:s, s:s, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:i, s:s, s:o, s:I}",
	                "id", id, "rule", signal->rule->name, "kind", kinds[signal->rule->kind], "sent",
	                signal->is_sent, "severity", config_severity_text(signal->severity), "profile",
	                text_json(signal->profile), "client", client_json(signal->has_client, signal->client),
	                "device", text_json(device), "category", text_json(signal->category), "first",
	                time_json(signal->first_us), "last", time_json(signal->last_us), "count",
	                (json_int_t)signal->count, "clients", (int)signal->clients, "text", sentence,
	                "evidence", evidence_json(signal), "more", (json_int_t)signal->more);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}
