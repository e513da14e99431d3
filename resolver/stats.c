/*
 * Counters: adding is the workers' business (stats.h), this file names slots and writes sums as JSON and
 * OpenMetrics 1.0. Both walk the same tables, so a counter that is added once is shown everywhere.
 */
#include "stats.h"

#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOUND_FIRST 3 /* the first bucket ends at 2^3 us */

static const struct counter {
	const char *section, *key, *help;
} counters[] = {
#define X(counter, section, key, help) { section, key, help },
	STATS_COUNTERS(X)
#undef X
};

static const struct label {
	const char *section; /* of the JSON object; "profiles" has one object a name */
	const char *key;     /* inside the object of a name, NULL: the name's value itself */
	const char *family;  /* of OpenMetrics */
	const char *label;
	const char *second; /* a pair's other label; its names are keys of an object at `key` */
	const char *help;
} labels[STATS_LABEL_COUNT] = {
	[STATS_BLOCKED_CATEGORY] = { "blocked", NULL, "blocked", "category", NULL,
	        "Lookups blocked, by category" },
	[STATS_REWRITTEN_ENGINE] = { "rewritten", NULL, "rewritten", "engine", NULL,
	        "Lookups sent to a safe-search target, by engine" },
	[STATS_PROFILE_QUERIES] = { "profiles", "queries", "profile_queries", "profile", NULL,
	        "Queries, by profile" },
	[STATS_PROFILE_BLOCKED] = { "profiles", "blocked", "profile_blocked", "profile", NULL,
	        "Lookups blocked, by profile" },
	[STATS_PROFILE_REWRITTEN] = { "profiles", "rewritten", "profile_rewritten", "profile", "engine",
	        "Lookups sent to a safe-search target, by profile and engine" },
};

/* Slots are never given back. Slot 0 has no name. */
static struct slot {
	enum stats_label label;
	char *name, *second; /* NULL: no pair */
} slots[STATS_SLOTS];
static _Atomic unsigned slot_count = 1;                        /* those below it never change */
static pthread_mutex_t slot_mutex = PTHREAD_MUTEX_INITIALIZER; /* of who adds one */

static bool slot_is(const struct slot *slot, enum stats_label label, const char *name, const char *second)
{
	return slot->label == label && strcmp(slot->name, name) == 0 &&
	       (!second || strcmp(slot->second, second) == 0);
}

static unsigned slot_find_or_add(enum stats_label label, const char *name, const char *second)
{
	unsigned count = slot_count, most = second ? STATS_SLOTS - STATS_SLOTS_NAMES : STATS_SLOTS;

	for (unsigned i = 1; i < count; i++)
		if (slot_is(&slots[i], label, name, second))
			return i;
	if (count >= most)
		return 0;
	struct slot slot = { label, strdup(name), second ? strdup(second) : NULL };
	if (!slot.name || (second && !slot.second)) {
		free(slot.name);
		free(slot.second);
		return 0;
	}
	slots[count] = slot;
	return slot_count++;
}

unsigned stats_slot(enum stats_label label, const char *name)
{
	return stats_slot_pair(label, name, NULL);
}

unsigned stats_slot_pair(enum stats_label label, const char *name, const char *second)
{
	pthread_mutex_lock(&slot_mutex);
	unsigned slot = slot_find_or_add(label, name, second);
	pthread_mutex_unlock(&slot_mutex);
	return slot;
}

void stats_latency(struct stats *stats, uint64_t us)
{
	unsigned bits = us > 1 ? 64 - (unsigned)__builtin_clzll(us - 1) : 0; /* us <= 2^bits */
	unsigned bucket = bits > BOUND_FIRST ? bits - BOUND_FIRST : 0;

	if (bucket > STATS_LATENCY_BUCKETS - 1)
		bucket = STATS_LATENCY_BUCKETS - 1;
	stats_add(&stats->latency[bucket], 1);
	stats_add(&stats->latency_sum_us, us);
}

static uint64_t bucket_bound_us(unsigned bucket)
{
	return UINT64_C(1) << (BOUND_FIRST + bucket);
}

static void sum_cells(uint64_t *sum, const _Atomic uint64_t *cell, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		sum[i] += atomic_load_explicit(&cell[i], memory_order_relaxed);
}

void stats_sum_add(struct stats_sum *sum, const struct stats *stats)
{
	sum_cells(sum->counter, stats->counter, STATS_COUNTER_COUNT);
	sum_cells(sum->labelled, stats->labelled, STATS_SLOTS);
	sum_cells(sum->latency, stats->latency, STATS_LATENCY_BUCKETS);
	sum_cells(&sum->latency_sum_us, &stats->latency_sum_us, 1);
}

static bool key_is_duration(const char *key)
{
	size_t len = strlen(key);
	return len > 3 && strcmp(key + len - 3, "_us") == 0;
}

/* ---- JSON ---- */

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* NULL where there are no lists: null, not a zero that looks like a fact. */
static json_t *generation_json(const struct stats_gauges *gauges)
{
	bool known = gauges->generation_id != 0;

	return json_pack("{s:o, s:o, s:o, s:o}", "id", known ? number(gauges->generation_id) : json_null(),
	        "names", number(gauges->generation_names), "age_s",
	        known ? json_integer(gauges->generation_age_s) : json_null(), "hash",
	        known ? json_string(gauges->generation_hash) : json_null());
}

static json_t *latency_json(const struct stats_sum *sum)
{
	json_t *le = json_array(), *count = json_array();

	for (unsigned i = 0; i < STATS_LATENCY_BUCKETS; i++) {
		json_array_append_new(
		        le, i < STATS_LATENCY_BUCKETS - 1 ? number(bucket_bound_us(i)) : json_null());
		json_array_append_new(count, number(sum->latency[i]));
	}
	return json_pack("{s:o, s:o, s:o}", "le", le, "count", count, "sum", number(sum->latency_sum_us));
}

static json_t *sources_json(const struct stats_gauges *gauges)
{
	json_t *age = json_object();

	for (size_t i = 0; i < gauges->source_count; i++)
		json_object_set_new(age, gauges->sources[i].source, json_integer(gauges->sources[i].age_s));
	return json_pack("{s:o, s:o, s:o}", "held", number(gauges->sources_held), "sealed_unfed",
	        number(gauges->sealed_unfed), "age_s", age);
}

static json_t *faults_json(const struct stats_gauges *gauges)
{
	json_t *faults = json_object();

	for (size_t i = 0; i < gauges->fault_count; i++)
		json_object_set_new(faults, gauges->faults[i].fault, number(gauges->faults[i].is_on));
	return faults;
}

/* The object of that key, made if it is not there yet. */
static json_t *object_in(json_t *parent, const char *key)
{
	json_t *object = json_object_get(parent, key);

	if (!object) {
		object = json_object();
		json_object_set_new(parent, key, object);
	}
	return object;
}

/* Microseconds are a mean: over the questions that came back. */
static uint64_t counter_shown(const struct stats_sum *sum, unsigned i)
{
	if (i != STATS_UPSTREAM_LATENCY_SUM_US)
		return sum->counter[i];
	uint64_t asked = sum->counter[STATS_UPSTREAM_QUERIES],
	         timeouts = sum->counter[STATS_UPSTREAM_TIMEOUTS];
	return asked > timeouts ? sum->counter[i] / (asked - timeouts) : 0;
}

static void labelled_json(json_t *root, const struct stats_sum *sum)
{
	for (unsigned i = 1; i < slot_count; i++) {
		const struct label *label = &labels[slots[i].label];
		json_t *section = object_in(root, label->section);
		const char *key = slots[i].name;
		if (label->key) {
			section = object_in(section, slots[i].name);
			key = label->key;
		}
		if (label->second) {
			section = object_in(section, label->key);
			key = slots[i].second;
		}
		json_object_set_new(section, key, number(sum->labelled[i]));
	}
}

char *stats_json(const struct stats_sum *sum, const struct stats_gauges *gauges)
{
	/* The order of DESIGN.md 6; what has a place here is filled below. */
	json_t *root = json_pack("{s:s, s:o, s:o, s:{}, s:{}, s:{}, s:{}, s:{}, s:{s:o, s:o}, s:{s:i, s:o}, "
	                         "s:o, s:{}, s:{s:o}, s:{}, s:{s:o}, s:o, s:{s:o, s:o}, s:o, s:o, s:o}",
	        "version", gauges->version, "uptime_s", number(gauges->uptime_s), "generation",
	        generation_json(gauges), "queries", "answers", "blocked", "rewritten", "profiles", "cache",
	        "entries", number(gauges->cache_entries), "bytes", number(gauges->cache_bytes), "log",
	        "events", 0, "pending", number(gauges->log_pending), "latency_us", latency_json(sum),
	        "upstream", "recursion", "in_flight", number(gauges->recursion_in_flight), "overload", "tcp",
	        "clients", number(gauges->tcp_clients), "sources", sources_json(gauges), "alerts", "waiting",
	        number(gauges->alerts_waiting), "failing", number(gauges->alerts_failing),
	        "recursor_restarts", number(gauges->recursor_restarts), "other", number(sum->labelled[0]),
	        "faults", faults_json(gauges));
	if (!root)
		return NULL;
	for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
		json_object_set_new(
		        object_in(root, counters[i].section), counters[i].key, number(counter_shown(sum, i)));
	labelled_json(root, sum);
	char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

/* ---- OpenMetrics ---- */

/* A label's value: backslash, quote and line feed are escaped, and nothing else. */
static void print_value(FILE *out, const char *value)
{
	for (; *value != '\0'; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '\\' || *value == '"')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
}

static void print_family(FILE *out, const char *family, const char *type, const char *help)
{
	fprintf(out, "# TYPE usher_%s %s\n# HELP usher_%s %s\n", family, type, family, help);
}

/* One sample with one label; family as written, with its suffix. */
static void print_sample(FILE *out, const char *family, const char *label, const char *value, uint64_t number)
{
	fprintf(out, "usher_%s{%s=\"", family, label);
	print_value(out, value);
	fprintf(out, "\"} %" PRIu64 "\n", number);
}

/* One of a slot, whose label may be a pair. */
static void print_slot(FILE *out, const struct slot *slot, uint64_t number)
{
	const struct label *label = &labels[slot->label];

	fprintf(out, "usher_%s_total{%s=\"", label->family, label->label);
	print_value(out, slot->name);
	if (label->second) {
		fprintf(out, "\",%s=\"", label->second);
		print_value(out, slot->second);
	}
	fprintf(out, "\"} %" PRIu64 "\n", number);
}

static void print_seconds(FILE *out, uint64_t us)
{
	fprintf(out, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
}

static void print_counters(FILE *out, const struct stats_sum *sum)
{
	for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++) {
		const struct counter *counter = &counters[i];
		bool duration = key_is_duration(counter->key);
		int key_len = (int)strlen(counter->key) - (duration ? 3 : 0);
		char family[128];
		snprintf(family, sizeof family, "%s_%.*s%s", counter->section, key_len, counter->key,
		        duration ? "_seconds" : "");
		print_family(out, family, "counter", counter->help);
		fprintf(out, "usher_%s_total ", family);
		if (duration)
			print_seconds(out, sum->counter[i]);
		else
			fprintf(out, "%" PRIu64, sum->counter[i]);
		fputc('\n', out);
	}
}

static void print_labelled(FILE *out, const struct stats_sum *sum)
{
	for (unsigned l = 0; l < STATS_LABEL_COUNT; l++) {
		print_family(out, labels[l].family, "counter", labels[l].help);
		for (unsigned i = 1; i < slot_count; i++)
			if (slots[i].label == l)
				print_slot(out, &slots[i], sum->labelled[i]);
	}
	print_family(out, "other", "counter",
	        "Counts of categories, engines and profiles that found no free slot");
	fprintf(out, "usher_other_total %" PRIu64 "\n", sum->labelled[0]);
}

static void print_histogram(FILE *out, const struct stats_sum *sum)
{
	uint64_t count = 0;

	print_family(out, "answer_seconds", "histogram", "Time from a query's receipt to its answer");
	for (unsigned i = 0; i < STATS_LATENCY_BUCKETS - 1; i++) {
		count += sum->latency[i];
		fputs("usher_answer_seconds_bucket{le=\"", out);
		print_seconds(out, bucket_bound_us(i));
		fprintf(out, "\"} %" PRIu64 "\n", count);
	}
	count += sum->latency[STATS_LATENCY_BUCKETS - 1];
	fprintf(out, "usher_answer_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\nusher_answer_seconds_sum ",
	        count);
	print_seconds(out, sum->latency_sum_us);
	fprintf(out, "\nusher_answer_seconds_count %" PRIu64 "\n", count);
}

static void print_gauges(FILE *out, const struct stats_gauges *gauges)
{
	const struct {
		const char *family, *help;
		bool known;
		uint64_t value;
	} table[] = {
		{ "uptime_seconds", "Time since usherd started", true, gauges->uptime_s },
		{ "lists_generation", "Number of the list generation in use", gauges->generation_id != 0,
		        gauges->generation_id },
		{ "lists_names", "Names in the list generation in use", true, gauges->generation_names },
		{ "lists_age_seconds", "Time since the list generation was published",
		        gauges->generation_age_s >= 0, (uint64_t)gauges->generation_age_s },
		{ "sources_held", "List sources whose last update is held back", true, gauges->sources_held },
		{ "sealed_unfed", "Sealed categories that no list fills", true, gauges->sealed_unfed },
		{ "alerts_waiting", "Alert messages that have not been sent yet", true,
		        gauges->alerts_waiting },
		{ "alerts_failing", "Alert messages that were tried in vain", true, gauges->alerts_failing },
		{ "cache_entries", "Answers in the packet cache", true, gauges->cache_entries },
		{ "cache_bytes", "Octets of the packet cache in use", true, gauges->cache_bytes },
		{ "recursion_in_flight", "Questions under way to the recursor", true,
		        gauges->recursion_in_flight },
		{ "tcp_clients", "TCP connections open", true, gauges->tcp_clients },
		{ "log_pending", "Events in the block log's rings, not yet committed", true,
		        gauges->log_pending },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		print_family(out, table[i].family, "gauge", table[i].help);
		if (table[i].known)
			fprintf(out, "usher_%s %" PRIu64 "\n", table[i].family, table[i].value);
	}
	print_family(
	        out, "source_age_seconds", "gauge", "Time since a list source last changed or was confirmed");
	for (size_t i = 0; i < gauges->source_count; i++)
		print_sample(out, "source_age_seconds", "source", gauges->sources[i].source,
		        gauges->sources[i].age_s > 0 ? (uint64_t)gauges->sources[i].age_s : 0);
	print_family(out, "fault", "gauge", "1 while usherd has this fault: see README.md");
	for (size_t i = 0; i < gauges->fault_count; i++)
		print_sample(out, "fault", "fault", gauges->faults[i].fault, gauges->faults[i].is_on);
	print_family(out, "recursor_restarts", "counter", "Times the recursor process was started anew");
	fprintf(out, "usher_recursor_restarts_total %" PRIu64 "\n", gauges->recursor_restarts);
}

char *stats_metrics(const struct stats_sum *sum, const struct stats_gauges *gauges)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	print_family(out, "build", "info", "Version of usherd");
	print_sample(out, "build_info", "version", gauges->version, 1);
	print_counters(out, sum);
	print_labelled(out, sum);
	print_histogram(out, sum);
	print_gauges(out, gauges);
	fputs("# EOF\n", out);
	bool failed = ferror(out);
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}
