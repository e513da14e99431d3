#include "signal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "chase.h"
#include "newcomers.h"
#include "signal_rules.h"
#include "signal_watch.h"
#include "sites.h"
#include "words.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define WEEK (7 * DAY)

#define STEPS_MAX 32
#define SWARM_MAX 1000 /* clients that are told from each other */

struct signals {
	const struct config *config;
	void (*told)(void *arg, const struct signal *signal, enum signal_stage stage);
	void *arg;
	struct signal_rule rules[SIGNAL_RULES_MAX];
	size_t rule_count;
	struct watches watches;
	struct words words;
	struct sites sites;
	int64_t begin_us;                  /* of the first record */
	const struct block_record *record; /* that is being fed */
};

static int64_t window_us(const struct config_alert_rule *rule)
{
	return rule->window_s * SECOND;
}

/* ---- signals ---- */

static void signal_end(struct signals *signals, struct watch *watch)
{
	struct signal *signal = watch->open;

	if (!signal)
		return;
	signals->told(signals->arg, signal, SIGNAL_OVER);
	for (size_t i = 0; i < signal->evidence_count; i++)
		free(signal->evidence[i].name);
	free(signal);
	watch->open = NULL;
}

static void watch_ended(void *arg, struct watch *watch)
{
	signal_end(arg, watch);
}

/* Adds the record to the watch's step of that key. */
static int steps_add(struct signals *signals, struct watch *watch, uint64_t key, bool bypass, size_t most)
{
	const struct step as = { .key = key,
		.category = words_keep(&signals->words, signals->record->category),
		.bypass = bypass };

	return watch_add(watch, &as, signals->record, most);
}

static void evidence_add(struct signal *signal, const struct step *step, const char *label)
{
	signal->count += step->count;
	char *name = signal->evidence_count < SIGNAL_EVIDENCE_MAX ? strdup(step->name) : NULL;
	if (!name) {
		signal->more += step->count;
		return;
	}
	struct signal_evidence *evidence = &signal->evidence[signal->evidence_count++];
	*evidence = (struct signal_evidence){ .time_us = step->first_us,
		.name = name,
		.category = step->category,
		.step = label,
		.count = step->count,
		.has_client = step->has_client };
	memcpy(evidence->client, step->client, 16);
}

static struct signal *signal_new(struct signals *signals, const struct watch *watch)
{
	const struct block_record *record = signals->record;
	const struct signal_rule *rule = &signals->rules[watch->rule];
	struct signal *signal = calloc(1, sizeof *signal);

	if (!signal)
		return NULL;
	*signal = (struct signal){ .rule = rule->scope.rule,
		.is_sent = rule->is_sent,
		.has_client = record->client && rule->scope.rule->kind != ALERT_SWARM,
		.profile = words_keep(&signals->words, record->profile),
		.category = words_keep(&signals->words, record->category),
		.severity = record->severity,
		.first_us = record->time_us,
		.last_us = record->time_us,
		.fired_us = record->time_us,
		.clients = 1 };
	if (signal->has_client)
		memcpy(signal->client, record->client, 16);
	signal->id = XXH3_64bits_withSeed(rule->scope.rule->name, strlen(rule->scope.rule->name),
	        watch->hash ^ (uint64_t)record->time_us);
	return signal;
}

static void signal_begin(struct signals *signals, struct watch *watch, struct signal *signal)
{
	for (size_t i = 0; i < signal->evidence_count; i++)
		if (signal->evidence[i].time_us < signal->first_us)
			signal->first_us = signal->evidence[i].time_us;
	watch->open = signal;
	signals->told(signals->arg, signal, SIGNAL_NEW);
}

/* A signal of all steps. */
static int signal_of_steps(struct signals *signals, struct watch *watch)
{
	struct signal *signal = signal_new(signals, watch);

	if (!signal)
		return -ENOMEM;
	for (size_t i = 0; i < watch->step_count; i++)
		evidence_add(signal, &watch->steps[i], NULL);
	signal_begin(signals, watch, signal);
	return 0;
}

static void signal_go_on(struct signals *signals, struct signal *signal, const char *label)
{
	const struct block_record *record = signals->record;
	struct step step = { .first_us = record->time_us,
		.count = 1,
		.name = watch_name(&record->name),
		.category = words_keep(&signals->words, record->category),
		.has_client = record->client != NULL };

	if (record->client)
		memcpy(step.client, record->client, 16);
	if (signal->has_client && record->time_us >= signal->last_us)
		memcpy(signal->client, record->client, 16);
	if (record->severity > signal->severity)
		signal->severity = record->severity;
	if (record->time_us > signal->last_us)
		signal->last_us = record->time_us;
	size_t known = 0;
	while (step.name && known < signal->evidence_count &&
	        strcmp(signal->evidence[known].name, step.name) != 0)
		known++;
	if (step.name && known < signal->evidence_count) {
		signal->evidence[known].count++;
		signal->count++;
	} else if (step.name)
		evidence_add(signal, &step, label);
	free(step.name);
	signals->told(signals->arg, signal, SIGNAL_MORE);
}

/* What belongs to one signal: until a pause, and not for ever. */
static bool signal_goes_on(const struct signal *signal, int64_t now_us)
{
	int64_t window = window_us(signal->rule), longest = window > HOUR ? window : HOUR;

	if (signal->rule->kind == ALERT_SLOW_BURN)
		return now_us - signal->fired_us < WEEK;
	return now_us - signal->last_us <= window && now_us - signal->first_us <= longest + window;
}

static bool watch_is_open(struct signals *signals, struct watch *watch)
{
	if (watch->open && !signal_goes_on(watch->open, signals->record->time_us))
		signal_end(signals, watch);
	return watch->open != NULL;
}

/* ---- threshold ---- */

static int threshold_feed(struct signals *signals, unsigned rule, const struct signal_facts *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	int64_t now_us = signals->record->time_us, part_us = window_us(asked) / WATCH_PARTS;
	struct watch *watch = watches_find(&signals->watches, rule, facts->whose);

	if (!watch)
		return -ENOMEM;
	if (watch_is_open(signals, watch)) {
		signal_go_on(signals, watch->open, NULL);
		return 0;
	}
	watch_expire(watch, now_us - window_us(asked));
	int ret = steps_add(signals, watch, name_hash(&signals->record->name, 0), false, STEPS_MAX);
	uint64_t count = watch_count(watch, (now_us < 0 ? 0 : now_us) / part_us);
	if (ret < 0 || count < asked->count)
		return ret;
	ret = signal_of_steps(signals, watch);
	if (ret == 0 && count > watch->open->count) { /* names that found no place */
		watch->open->more += count - watch->open->count;
		watch->open->count = count;
	}
	memset(watch->parts, 0, sizeof watch->parts);
	watch_expire(watch, INT64_MAX);
	return ret;
}

/* ---- slow burn ---- */

/* Different weeks, counted back from now. */
static unsigned weeks_count(const struct watch *watch, int64_t now_us)
{
	uint64_t weeks = 0;

	for (size_t i = 0; i < watch->step_count; i++) {
		int64_t ago = (now_us - watch->steps[i].first_us) / WEEK;
		if (ago >= 0 && ago < 64)
			weeks |= UINT64_C(1) << ago;
	}
	return (unsigned)__builtin_popcountll(weeks);
}

static int slow_burn_feed(struct signals *signals, unsigned rule, const struct signal_facts *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	int64_t now_us = signals->record->time_us;
	struct watch *watch = watches_find(&signals->watches, rule, facts->whose);

	if (!watch)
		return -ENOMEM;
	watch_expire(watch, now_us - window_us(asked));
	int ret = steps_add(signals, watch, (uint64_t)(now_us / DAY), false, 2 * STEPS_MAX);
	if (ret < 0)
		return ret;
	if (watch_is_open(signals, watch)) {
		signal_go_on(signals, watch->open, NULL);
		return 0;
	}
	return weeks_count(watch, now_us) < asked->count ? 0 : signal_of_steps(signals, watch);
}

/* ---- chase ---- */

static int chase_fire(struct signals *signals, struct watch *watch, int64_t since_us, uint32_t least)
{
	const struct step *block = chase_block(watch, since_us);

	if (!block || chase_length(watch, block) < least)
		return 0;
	struct signal *signal = signal_new(signals, watch);
	if (!signal)
		return -ENOMEM;
	for (size_t i = 0; i < watch->step_count; i++) {
		const char *label = chase_label(&watch->steps[i], block);
		if (label)
			evidence_add(signal, &watch->steps[i], label);
	}
	signal->category = block->category;
	signal_begin(signals, watch, signal);
	return 0;
}

static int chase_feed(struct signals *signals, unsigned rule, const struct signal_facts *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	int64_t now_us = signals->record->time_us, since_us = now_us - window_us(asked);
	struct watch *watch = watches_find(&signals->watches, rule, facts->whose);

	if (!watch)
		return -ENOMEM;
	watch_expire(watch, since_us);
	int ret = steps_add(signals, watch, facts->site, facts->bypass, STEPS_MAX);
	if (ret < 0 || !facts->bypass)
		return ret;
	if (watch_is_open(signals, watch)) {
		char *name = watch_name(&signals->record->name);
		signal_go_on(signals, watch->open, name && strstr(name, "vpn") ? "vpn" : "proxy");
		free(name);
		return 0;
	}
	return chase_fire(signals, watch, since_us, asked->count);
}

/* ---- swarm ---- */

static int swarm_feed(struct signals *signals, unsigned rule, const struct signal_facts *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	int64_t now_us = signals->record->time_us;
	int64_t first_us = sites_first(&signals->sites, facts->site ^ rule, now_us);

	if (first_us < signals->begin_us + DAY || now_us - first_us > window_us(asked))
		return 0;
	struct watch *watch = watches_find(&signals->watches, rule, facts->site);
	if (!watch)
		return -ENOMEM;
	int ret = steps_add(signals, watch, facts->whose, false, SWARM_MAX);
	if (ret < 0)
		return ret;
	if (watch->open && watch->step_count > watch->open->clients) {
		watch->open->clients = (unsigned)watch->step_count;
		watch->open->last_us = now_us;
		evidence_add(watch->open, &watch->steps[watch->step_count - 1], NULL);
		signals->told(signals->arg, watch->open, SIGNAL_MORE);
		return 0;
	}
	if (watch->open) {
		signal_go_on(signals, watch->open, NULL);
		return 0;
	}
	if (watch->step_count < asked->count)
		return 0;
	struct signal *signal = signal_new(signals, watch);
	if (!signal)
		return -ENOMEM;
	signal->clients = (unsigned)watch->step_count;
	for (size_t i = 0; i < watch->step_count; i++)
		evidence_add(signal, &watch->steps[i], NULL);
	signal_begin(signals, watch, signal);
	return 0;
}

/* Usherd has counted: the event is the swarm. One that tells of more devices belongs to the first. */
static int newcomer_feed(struct signals *signals, unsigned rule, const struct signal_facts *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	unsigned devices = newcomers_devices(signals->record);

	if (asked->kind != ALERT_SWARM || asked->categories != 0 || devices < asked->count)
		return 0;
	struct watch *watch = watches_find(&signals->watches, rule, facts->site);
	if (!watch)
		return -ENOMEM;
	if (watch_is_open(signals, watch)) {
		if (devices > watch->open->clients)
			watch->open->clients = devices;
		watch->open->last_us = signals->record->time_us;
		signals->told(signals->arg, watch->open, SIGNAL_MORE);
		return 0;
	}
	struct signal *signal = signal_new(signals, watch);
	struct step step = {
		.first_us = signals->record->time_us, .count = 1, .name = watch_name(&signals->record->name)
	};
	if (!signal || !step.name) {
		free(signal);
		free(step.name);
		return -ENOMEM;
	}
	signal->let_through = true;
	signal->clients = devices;
	evidence_add(signal, &step, NULL);
	free(step.name);
	signal_begin(signals, watch, signal);
	return 0;
}

/* ---- from outside ---- */

static int (*const feeds[])(struct signals *signals, unsigned rule, const struct signal_facts *facts) = {
	[ALERT_THRESHOLD] = threshold_feed,
	[ALERT_SLOW_BURN] = slow_burn_feed,
	[ALERT_CHASE] = chase_feed,
	[ALERT_SWARM] = swarm_feed,
};

struct signals *signals_new(const struct config *config,
        void (*told)(void *arg, const struct signal *signal, enum signal_stage stage), void *arg)
{
	struct signals *signals = calloc(1, sizeof *signals);

	if (!signals)
		return NULL;
	signals->config = config;
	signals->told = told;
	signals->arg = arg;
	signals->begin_us = INT64_MIN;
	watches_init(&signals->watches, watch_ended, signals);
	signals->rule_count = signal_rules(config, signals->rules);
	return signals;
}

int signals_feed(struct signals *signals, const struct block_record *record)
{
	struct signal_facts facts = signal_facts(signals->config, record);
	bool is_newcomer = newcomers_devices(record) > 0;
	int ret = 0;

	if (signals->begin_us == INT64_MIN)
		signals->begin_us = record->time_us;
	signals->record = record;
	for (unsigned i = 0; i < signals->rule_count && ret == 0; i++)
		if (is_newcomer && signal_rule_takes_profile(&signals->rules[i], &facts))
			ret = newcomer_feed(signals, i, &facts);
		else if (!is_newcomer && signal_rule_takes(&signals->rules[i], record, &facts))
			ret = feeds[signals->rules[i].scope.rule->kind](signals, i, &facts);
	return ret;
}

void signals_finish(struct signals *signals)
{
	watches_clear(&signals->watches);
}

static void ignore(void *arg, const struct signal *signal, enum signal_stage stage)
{
}

void signals_free(struct signals *signals)
{
	if (!signals)
		return;
	signals->told = ignore;
	signals_finish(signals);
	words_clear(&signals->words);
	sites_clear(&signals->sites);
	free(signals);
}
