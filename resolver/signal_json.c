/* A signal for people and programs outside. */
#include "signal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "identity.h"
#include "value.h"

static const char *const kinds[] = { "threshold", "slow-burn", "chase", "swarm", "operations" };

/* What it is, without names, clients and categories. */
static void signal_sentence(const struct signal *signal, char *text, size_t size)
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
		if (signal->let_through) {
			snprintf(text, size,
			        "%u devices asked for a site that nobody here wanted before; it was not "
			        "blocked",
			        signal->clients);
			return;
		}
		snprintf(text, size, "%u devices asked for a site that was never blocked here before",
		        signal->clients);
		return;
	default:
		snprintf(text, size, "%llu blocked %s of one device", count,
		        count == 1 ? "lookup" : "lookups");
	}
}

static json_t *evidence_json(const struct signal *signal)
{
	json_t *array = json_array();

	for (size_t i = 0; i < signal->evidence_count; i++) {
		const struct signal_evidence *evidence = &signal->evidence[i];
		json_array_append_new(array,
		        json_pack("{s:o, s:o, s:o, s:o, s:o, s:I}", "time", value_time_us(evidence->time_us),
		                "client", value_client(evidence->has_client ? evidence->client : NULL),
		                "name", value_text(evidence->name), "category",
		                value_text(evidence->category), "step", value_text(evidence->step), "count",
		                (json_int_t)evidence->count));
	}
	return array;
}

char *signal_json(const struct signal *signal, const struct device *device)
{
	char id[20], sentence[200];

	snprintf(id, sizeof id, "%016" PRIx64, signal->id);
	signal_sentence(signal, sentence, sizeof sentence);
	json_t *json = json_pack(
	        "{s:s, s:s, s:s, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:i, s:s, s:o, s:I, s:s}", "id",
	        id, "rule", signal->rule->name, "kind", kinds[signal->rule->kind], "sent", signal->is_sent,
	        "severity", config_severity_text(signal->severity), "profile", value_text(signal->profile),
	        "client", value_client(signal->has_client ? signal->client : NULL), "device", json_null(),
	        "category", value_text(signal->category), "first", value_time_us(signal->first_us), "last",
	        value_time_us(signal->last_us), "count", (json_int_t)signal->count, "clients",
	        (int)signal->clients, "text", sentence, "evidence", evidence_json(signal), "more",
	        (json_int_t)signal->more, "action", signal->let_through ? "watch" : "block");
	const uint8_t *client = signal->has_client ? signal->client : NULL;
	char *text =
	        json && identity_add_to(json, client, device) == 0 ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}
