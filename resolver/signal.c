#include "signal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <xxhash.h>

#include "episode.h"
#include "identity.h"
#include "newcomers.h"
#include "sites.h"
#include "words.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define WEEK (7 * DAY)

#define RULES_MAX 72 /* 64 and the usual ones */
#define PARTS 30     /* of a threshold's window */
#define STEPS_MAX 32
#define SWARM_MAX 1000 /* clients that are told from each other */
#define BUCKETS 16384

/* What a watch has seen: a name, a day, a site or a client, by the kind of its rule. */
struct step {
	uint64_t key;
	int64_t first_us, last_us;
	uint64_t count;
	char *name;
	const char *category;
	bool bypass, has_client;
	uint8_t client[16];
};

/* One client, or in a swarm one site, under one rule. */
struct watch {
	LIST_ENTRY(watch) bucket;
	TAILQ_ENTRY(watch) age; /* the one that waited longest first */
	unsigned rule;
	uint64_t hash;
	struct step *steps; /* in order of first_us */
	size_t step_count, step_room;
	uint32_t parts[PARTS];
	int64_t part; /* number of the newest */
	struct signal *open;
};

struct signal_rule {
	struct signal_scope scope;
	bool is_sent;
	bool unknown_profiles;
};

struct signals {
	const struct config *config;
	void (*told)(void *arg, const struct signal *signal, enum signal_stage stage);
	void *arg;
	struct signal_rule rules[RULES_MAX];
	size_t rule_count;
	LIST_HEAD(, watch) buckets[BUCKETS];
	TAILQ_HEAD(, watch) ages;
	size_t watch_count;
	struct words words;
	struct sites sites;
	int64_t begin_us;                  /* of the first record */
	const struct block_record *record; /* that is being fed */
};

/* Evaluated where no rule has the kind. */
static const struct config_alert_rule usual_rules[] = {
	{ .name = "danger",
	        .kind = ALERT_THRESHOLD,
	        .severity = SEVERITY_DANGER,
	        .count = 1,
	        .window_s = 600 },
	{ .name = "slow-burn",
	        .kind = ALERT_SLOW_BURN,
	        .severity = SEVERITY_DANGER,
	        .count = 3,
	        .window_s = 35 * 86400 },
	{ .name = "chase", .kind = ALERT_CHASE, .count = 3, .window_s = 1800 },
	{ .name = "swarm", .kind = ALERT_SWARM, .count = 5, .window_s = 3600 },
};

static int64_t window_us(const struct config_alert_rule *rule)
{
	return rule->window_s * SECOND;
}

/* ---- rules ---- */

static void scope_fill(struct signal_scope *scope, const struct config *config,
        const struct config_alert_rule *rule, bool is_sent)
{
	*scope = (struct signal_scope){ .rule = rule };
	for (size_t i = 0; i < rule->profile_count; i++)
		scope->profile[rule->profiles[i]] = true;
	for (size_t i = 0; i < config->profile_count && rule->profile_count == 0; i++)
		scope->profile[i] = !is_sent || !config->alerts.own[i];
}

static void rules_add(struct signals *signals, const struct config_alert_rule *rule, bool is_sent)
{
	struct signal_rule *added = &signals->rules[signals->rule_count++];

	scope_fill(&added->scope, signals->config, rule, is_sent);
	added->is_sent = is_sent;
	added->unknown_profiles = rule->profile_count == 0;
}

static void rules_fill(struct signals *signals)
{
	const struct config_alerts *alerts = &signals->config->alerts;
	unsigned kinds = 0;

	for (size_t i = 0; i < alerts->rule_count; i++) {
		kinds |= 1U << alerts->rules[i].kind;
		if (alerts->rules[i].kind != ALERT_OPERATIONS)
			rules_add(signals, &alerts->rules[i], true);
	}
	for (size_t i = 0; i < sizeof usual_rules / sizeof *usual_rules; i++)
		if ((kinds >> usual_rules[i].kind & 1) == 0)
			rules_add(signals, &usual_rules[i], false);
}

size_t signal_scopes(
        const struct config *config, enum config_alert_kind kind, struct signal_scope *scopes, size_t most)
{
	const struct config_alerts *alerts = &config->alerts;
	size_t count = 0;

	for (size_t i = 0; i < alerts->rule_count && count < most; i++)
		if (alerts->rules[i].kind == kind)
			scope_fill(&scopes[count++], config, &alerts->rules[i], true);
	for (size_t i = 0; i < sizeof usual_rules / sizeof *usual_rules && count == 0; i++)
		if (usual_rules[i].kind == kind)
			scope_fill(&scopes[count++], config, &usual_rules[i], false);
	return count;
}

/* What rules ask of a record, found once. */
struct facts_of {
	int profile, category; /* -1: not in the configuration */
	bool background, bypass;
	uint64_t site;
	uint64_t whose; /* a hash of its identity; without an address, of the profile */
};

static bool rule_takes_profile(const struct signal_rule *rule, const struct facts_of *facts)
{
	return facts->profile < 0 ? rule->unknown_profiles : rule->scope.profile[facts->profile];
}

static bool rule_takes(
        const struct signal_rule *rule, const struct block_record *record, const struct facts_of *facts)
{
	const struct config_alert_rule *asked = rule->scope.rule;

	if (!rule_takes_profile(rule, facts))
		return false;
	if (asked->categories != 0 &&
	        (facts->category < 0 || (asked->categories >> facts->category & 1) == 0))
		return false;
	if (facts->background && asked->categories == 0)
		return false;
	switch (asked->kind) {
	case ALERT_THRESHOLD:
		return record->severity >= asked->severity;
	case ALERT_SLOW_BURN:
		return record->severity >= asked->severity && record->client;
	default:
		return record->client != NULL;
	}
}

/* The listed name, or the asked one where no list names it. */
static uint64_t site_of(const struct block_record *record)
{
	struct name site;

	if (record->rule_labels == 0 || record->rule_labels >= record->name.labels)
		return name_hash(&record->name, 0);
	name_suffix(&record->name, record->name.labels - record->rule_labels, &site);
	return name_hash(&site, 0);
}

static struct facts_of facts_find(const struct config *config, const struct block_record *record)
{
	struct facts_of facts = {
		.profile = record->profile ? config_profile(config, record->profile) : -1,
		.category = record->category ? config_category(config, record->category) : -1,
		.background = episode_is_background(config, record),
		.bypass = episode_is_bypass(config, record),
		.site = site_of(record),
	};

	struct identity identity = identity_of(record->client, record->device);

	if (identity.kind != IDENTITY_NONE)
		facts.whose = identity_hash(&identity, 0);
	else
		facts.whose = record->profile ? XXH3_64bits(record->profile, strlen(record->profile)) : 0;
	return facts;
}

/* ---- watches ---- */

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

static void watch_free(struct signals *signals, struct watch *watch)
{
	TAILQ_REMOVE(&signals->ages, watch, age);
	LIST_REMOVE(watch, bucket);
	signals->watch_count--;
	for (size_t i = 0; i < watch->step_count; i++)
		free(watch->steps[i].name);
	free(watch->steps);
	signal_end(signals, watch);
	free(watch);
}

/* The watch of a rule, made where there is none. NULL without memory. */
static struct watch *watch_of(struct signals *signals, unsigned rule, uint64_t of)
{
	uint64_t hash = XXH3_64bits_withSeed(&of, sizeof of, rule);
	struct watch *watch;

	LIST_FOREACH(watch, &signals->buckets[hash % BUCKETS], bucket)
	if (watch->hash == hash && watch->rule == rule) {
		TAILQ_REMOVE(&signals->ages, watch, age);
		TAILQ_INSERT_TAIL(&signals->ages, watch, age);
		return watch;
	}
	if (signals->watch_count >= SIGNAL_WATCHES_MAX)
		watch_free(signals, TAILQ_FIRST(&signals->ages));
	watch = calloc(1, sizeof *watch);
	if (!watch)
		return NULL;
	watch->rule = rule;
	watch->hash = hash;
	LIST_INSERT_HEAD(&signals->buckets[hash % BUCKETS], watch, bucket);
	TAILQ_INSERT_TAIL(&signals->ages, watch, age);
	signals->watch_count++;
	return watch;
}

static void steps_drop(struct watch *watch, size_t at)
{
	free(watch->steps[at].name);
	memmove(watch->steps + at, watch->steps + at + 1, (--watch->step_count - at) * sizeof *watch->steps);
}

static void steps_expire(struct watch *watch, int64_t before_us)
{
	for (size_t i = watch->step_count; i-- > 0;)
		if (watch->steps[i].last_us < before_us)
			steps_drop(watch, i);
}

static char *name_text(const struct name *name)
{
	char text[NAME_TEXT_MAX];

	name_to_text(name, text);
	return strdup(text);
}

/* Adds the record to the step of that key. The oldest goes where there are `most`. */
static int steps_add(struct signals *signals, struct watch *watch, uint64_t key, bool bypass, size_t most)
{
	const struct block_record *record = signals->record;

	for (size_t i = 0; i < watch->step_count; i++)
		if (watch->steps[i].key == key) {
			watch->steps[i].count++;
			watch->steps[i].last_us = record->time_us;
			return 0;
		}
	if (watch->step_count >= most)
		steps_drop(watch, 0);
	if (watch->step_count == watch->step_room) {
		size_t room = watch->step_room ? 2 * watch->step_room : 2;
		struct step *steps = realloc(watch->steps, room * sizeof *steps);
		if (!steps)
			return -ENOMEM;
		watch->steps = steps;
		watch->step_room = room;
	}
	char *name = name_text(&record->name);
	if (!name)
		return -ENOMEM;
	struct step *step = &watch->steps[watch->step_count++];
	*step = (struct step){ .key = key,
		.first_us = record->time_us,
		.last_us = record->time_us,
		.count = 1,
		.name = name,
		.category = words_keep(&signals->words, record->category),
		.bypass = bypass,
		.has_client = record->client != NULL };
	if (record->client)
		memcpy(step->client, record->client, 16);
	return 0;
}

/* ---- signals ---- */

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
		.name = name_text(&record->name),
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

/* Lookups in the window, this one included. */
static uint64_t parts_count(struct watch *watch, int64_t part)
{
	uint64_t sum = 0;

	if (part - watch->part >= PARTS || watch->part == 0)
		memset(watch->parts, 0, sizeof watch->parts);
	else
		for (int64_t i = watch->part + 1; i <= part; i++)
			watch->parts[i % PARTS] = 0;
	if (part > watch->part)
		watch->part = part;
	watch->parts[watch->part % PARTS]++;
	for (size_t i = 0; i < PARTS; i++)
		sum += watch->parts[i];
	return sum;
}

static int threshold_feed(struct signals *signals, unsigned rule, const struct facts_of *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	int64_t now_us = signals->record->time_us, part_us = window_us(asked) / PARTS;
	struct watch *watch = watch_of(signals, rule, facts->whose);

	if (!watch)
		return -ENOMEM;
	if (watch_is_open(signals, watch)) {
		signal_go_on(signals, watch->open, NULL);
		return 0;
	}
	steps_expire(watch, now_us - window_us(asked));
	int ret = steps_add(signals, watch, name_hash(&signals->record->name, 0), false, STEPS_MAX);
	uint64_t count = parts_count(watch, (now_us < 0 ? 0 : now_us) / part_us);
	if (ret < 0 || count < asked->count)
		return ret;
	ret = signal_of_steps(signals, watch);
	if (ret == 0 && count > watch->open->count) { /* names that found no place */
		watch->open->more += count - watch->open->count;
		watch->open->count = count;
	}
	memset(watch->parts, 0, sizeof watch->parts);
	steps_expire(watch, INT64_MAX);
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

static int slow_burn_feed(struct signals *signals, unsigned rule, const struct facts_of *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	int64_t now_us = signals->record->time_us;
	struct watch *watch = watch_of(signals, rule, facts->whose);

	if (!watch)
		return -ENOMEM;
	steps_expire(watch, now_us - window_us(asked));
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

static bool same_category(const struct step *a, const struct step *b)
{
	return a->category == b->category; /* kept words */
}

/* A step that begins a chase, or goes on with it, is no habit: the client was not there before the window. */
static bool is_fresh(const struct step *step, int64_t since_us)
{
	return step->first_us >= since_us;
}

/* Another site of the block's category after it, and before what ends at `end`. */
static bool has_mirror(const struct step *block, const struct step *end)
{
	for (const struct step *step = block + 1; step < end; step++)
		if (!step->bypass && same_category(step, block))
			return true;
	return false;
}

/*
 * The block that the first way around followed: the latest that had a mirror, else the latest. NULL if there
 * is none.
 */
static const struct step *chase_block(const struct watch *watch, int64_t since_us)
{
	const struct step *end = watch->steps + watch->step_count, *around = watch->steps, *block = NULL;

	while (around < end && !(around->bypass && is_fresh(around, since_us)))
		around++;
	if (around == end)
		return NULL;
	for (const struct step *step = watch->steps; step < around; step++) {
		if (step->bypass || !is_fresh(step, since_us))
			continue;
		if (!block || !has_mirror(block, around) ||
		        (has_mirror(step, around) && !same_category(step, block)))
			block = step;
	}
	return block;
}

/* What a step is to a chase that began with that block; NULL: nothing. */
static const char *chase_label(const struct step *step, const struct step *block)
{
	if (step < block)
		return NULL;
	if (step == block)
		return "block";
	if (!step->bypass)
		return same_category(step, block) ? "mirror" : NULL;
	return strstr(step->name, "vpn") ? "vpn" : "proxy";
}

/* One mirror counts: apps ask for many names of their kind. */
static uint32_t chase_length(const struct watch *watch, const struct step *block)
{
	uint32_t count = 1, mirrors = 0;

	for (const struct step *step = block + 1; step < watch->steps + watch->step_count; step++)
		if (step->bypass)
			count++;
		else
			mirrors |= same_category(step, block);
	return count + mirrors;
}

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

static int chase_feed(struct signals *signals, unsigned rule, const struct facts_of *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	int64_t now_us = signals->record->time_us, since_us = now_us - window_us(asked);
	struct watch *watch = watch_of(signals, rule, facts->whose);

	if (!watch)
		return -ENOMEM;
	steps_expire(watch, since_us);
	int ret = steps_add(signals, watch, facts->site, facts->bypass, STEPS_MAX);
	if (ret < 0 || !facts->bypass)
		return ret;
	if (watch_is_open(signals, watch)) {
		char *name = name_text(&signals->record->name);
		signal_go_on(signals, watch->open, name && strstr(name, "vpn") ? "vpn" : "proxy");
		free(name);
		return 0;
	}
	return chase_fire(signals, watch, since_us, asked->count);
}

/* ---- swarm ---- */

static int swarm_feed(struct signals *signals, unsigned rule, const struct facts_of *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	int64_t now_us = signals->record->time_us;
	int64_t first_us = sites_first(&signals->sites, facts->site ^ rule, now_us);

	if (first_us < signals->begin_us + DAY || now_us - first_us > window_us(asked))
		return 0;
	struct watch *watch = watch_of(signals, rule, facts->site);
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
static int newcomer_feed(struct signals *signals, unsigned rule, const struct facts_of *facts)
{
	const struct config_alert_rule *asked = signals->rules[rule].scope.rule;
	unsigned devices = newcomers_devices(signals->record);

	if (asked->kind != ALERT_SWARM || asked->categories != 0 || devices < asked->count)
		return 0;
	struct watch *watch = watch_of(signals, rule, facts->site);
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
		.first_us = signals->record->time_us, .count = 1, .name = name_text(&signals->record->name)
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

static int (*const feeds[])(struct signals *signals, unsigned rule, const struct facts_of *facts) = {
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
	TAILQ_INIT(&signals->ages);
	rules_fill(signals);
	return signals;
}

int signals_feed(struct signals *signals, const struct block_record *record)
{
	struct facts_of facts = facts_find(signals->config, record);
	bool is_newcomer = newcomers_devices(record) > 0;
	int ret = 0;

	if (signals->begin_us == INT64_MIN)
		signals->begin_us = record->time_us;
	signals->record = record;
	for (unsigned i = 0; i < signals->rule_count && ret == 0; i++)
		if (is_newcomer && rule_takes_profile(&signals->rules[i], &facts))
			ret = newcomer_feed(signals, i, &facts);
		else if (!is_newcomer && rule_takes(&signals->rules[i], record, &facts))
			ret = feeds[signals->rules[i].scope.rule->kind](signals, i, &facts);
	return ret;
}

void signals_finish(struct signals *signals)
{
	while (!TAILQ_EMPTY(&signals->ages))
		watch_free(signals, TAILQ_FIRST(&signals->ages));
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
