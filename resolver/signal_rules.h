/*
 * The rules by which signals are made (signal.h): those of `alerts.rules` and, of a kind that none of them
 * has, the usual one, whose signals go to nobody. And which record of the block log a rule looks at: those of
 * its profiles and categories, of its severity and above; background (episode.h) only where the rule names
 * its category. Pure.
 */
#ifndef USHER_SIGNAL_RULES_H
#define USHER_SIGNAL_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block_log.h"
#include "config.h"

#define SIGNAL_RULES_MAX 72 /* 64 and the usual ones */

/* A rule and the profiles it takes. */
struct signal_scope {
	const struct config_alert_rule *rule; /* the configuration's, or a usual one */
	bool profile[CONFIG_PROFILES_MAX];
};

struct signal_rule {
	struct signal_scope scope;
	bool is_sent;          /* it is configured, not the usual one */
	bool unknown_profiles; /* takes profiles that are not in the configuration any more */
};

/* All that are evaluated, but for those of kind operations. Returns their number. config must outlive them.
 */
size_t signal_rules(const struct config *config, struct signal_rule rules[SIGNAL_RULES_MAX]);

/* The rules of that kind that are evaluated, at most so many. Returns their number. */
size_t signal_scopes(
        const struct config *config, enum config_alert_kind kind, struct signal_scope *scopes, size_t most);

/* What rules ask of a record, found once. */
struct signal_facts {
	int profile, category; /* -1: not in the configuration */
	bool background, bypass;
	uint64_t site;  /* a hash of the listed name, or the asked one where no list names it */
	uint64_t whose; /* a hash of its identity; without an address, of the profile */
};

struct signal_facts signal_facts(const struct config *config, const struct block_record *record);

bool signal_rule_takes_profile(const struct signal_rule *rule, const struct signal_facts *facts);
bool signal_rule_takes(
        const struct signal_rule *rule, const struct block_record *record, const struct signal_facts *facts);

#endif
