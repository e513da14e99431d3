#include "signal_rules.h"

#include <string.h>
#include <xxhash.h>

#include "episode.h"
#include "identity.h"

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

static void scope_fill(struct signal_scope *scope, const struct config *config,
        const struct config_alert_rule *rule, bool is_sent)
{
	*scope = (struct signal_scope){ .rule = rule };
	for (size_t i = 0; i < rule->profile_count; i++)
		scope->profile[rule->profiles[i]] = true;
	for (size_t i = 0; i < config->profile_count && rule->profile_count == 0; i++)
		scope->profile[i] = !is_sent || !config->alerts.own[i];
}

static void rule_fill(struct signal_rule *filled, const struct config *config,
        const struct config_alert_rule *rule, bool is_sent)
{
	scope_fill(&filled->scope, config, rule, is_sent);
	filled->is_sent = is_sent;
	filled->unknown_profiles = rule->profile_count == 0;
}

size_t signal_rules(const struct config *config, struct signal_rule rules[SIGNAL_RULES_MAX])
{
	const struct config_alerts *alerts = &config->alerts;
	unsigned kinds = 0;
	size_t count = 0;

	for (size_t i = 0; i < alerts->rule_count; i++) {
		kinds |= 1U << alerts->rules[i].kind;
		if (alerts->rules[i].kind != ALERT_OPERATIONS)
			rule_fill(&rules[count++], config, &alerts->rules[i], true);
	}
	for (size_t i = 0; i < sizeof usual_rules / sizeof *usual_rules; i++)
		if ((kinds >> usual_rules[i].kind & 1) == 0)
			rule_fill(&rules[count++], config, &usual_rules[i], false);
	return count;
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

/* ---- what they take ---- */

/* The listed name, or the asked one where no list names it. */
static uint64_t site_of(const struct block_record *record)
{
	struct name site;

	if (record->rule_labels == 0 || record->rule_labels >= record->name.labels)
		return name_hash(&record->name, 0);
	name_suffix(&record->name, record->name.labels - record->rule_labels, &site);
	return name_hash(&site, 0);
}

struct signal_facts signal_facts(const struct config *config, const struct block_record *record)
{
	struct signal_facts facts = {
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

bool signal_rule_takes_profile(const struct signal_rule *rule, const struct signal_facts *facts)
{
	return facts->profile < 0 ? rule->unknown_profiles : rule->scope.profile[facts->profile];
}

bool signal_rule_takes(
        const struct signal_rule *rule, const struct block_record *record, const struct signal_facts *facts)
{
	const struct config_alert_rule *asked = rule->scope.rule;

	if (!signal_rule_takes_profile(rule, facts))
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
