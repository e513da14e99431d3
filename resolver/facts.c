/*
 * Two looks at one pass of suffix hashes: what the configuration says of a name (a namemap, below) and what
 * the lists say. This runs for every lookup that the packet cache has no facts for: no allocation, no locks.
 *
 * Rules are sorted by name, so that all rules of one name are neighbours and the map needs one value for
 * them: a name that a hundred profiles speak of costs no more than one. They have a map of their own, and
 * each name with rules knows the next shorter one: a look-up finds the longest, and no depth of rules can
 * push a deciding one out.
 */
#include "facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocklists/lookalike.h"
#include "why.h"

/* What a name in the map is; the value is an index into the array named here. */
enum role {
	ROLE_PROTECTED,
	ROLE_INTERNAL, /* config->internal_zones */
	ROLE_LOCAL,
	ROLE_LOCAL_BELOW,
	ROLE_CANARY, /* config->canaries */
	ROLE_ENGINE, /* config->engines */
	ROLE_REBINDING_EXEMPT,
	ROLE_OWN,
	ROLE_KNOWN, /* worth imitating */
	ROLE_TUNNEL_EXEMPT,
};

/* A name may be in every role at each of its parents; ten such levels are beyond any network. */
#define HITS_MAX 80

struct facts_table {
	const struct config *config;
	uint64_t seed;
	struct namemap *map;
	struct facts_own_rule *rules; /* sorted: those of one name and kind side by side */
	size_t rule_count;
	struct namemap *rule_map;   /* a name with rules -> its group */
	struct facts_group *groups; /* sorted as the rules are */
	size_t group_count;
	struct keywords *keywords;
	uint64_t engines_failed;
	int lookalike_category; /* -1: they are not looked for */
};

/* Shorter names come first, so that a group's parent is in the map before it is. */
static int rule_compare(const void *left, const void *right)
{
	const struct facts_own_rule *a = left, *b = right;

	if (a->name.len != b->name.len)
		return a->name.len < b->name.len ? -1 : 1;
	int order = memcmp(a->name.wire, b->name.wire, a->name.len);
	if (order != 0)
		return order;
	return (int)a->exact - (int)b->exact;
}

static void rules_of_profile(struct facts_table *table, const struct config_profile *profile, uint16_t index)
{
	for (size_t i = 0; i < profile->allow_count + profile->block_count; i++) {
		bool allow = i < profile->allow_count;
		table->rules[table->rule_count++] = (struct facts_own_rule){
			.name = allow ? profile->allow_names[i]
			              : profile->block_names[i - profile->allow_count],
			.allow = allow,
			.profile = index,
		};
	}
}

static void rules_of_store(struct facts_table *table, const struct rules *rules)
{
	for (size_t i = 0; i < rules_count(rules); i++) {
		const struct rules_entry *entry = rules_get(rules, i);
		int profile =
		        entry->profile != NULL ? config_profile(table->config, entry->profile) : FACTS_NONE;
		if (profile < 0)
			continue;
		table->rules[table->rule_count++] = (struct facts_own_rule){
			.name = entry->name,
			.exact = entry->exact,
			.allow = entry->allow,
			.profile = (uint16_t)profile,
			.client = entry->client,
			.until = entry->until,
			.entry = entry,
		};
	}
}

static bool table_gather_rules(struct facts_table *table, const struct rules *rules)
{
	const struct config *config = table->config;
	size_t count = rules_count(rules);

	for (size_t i = 0; i < config->profile_count; i++)
		count += config->profiles[i].allow_count + config->profiles[i].block_count;
	if (count >= FACTS_NONE) /* config allows fewer */
		return false;
	table->rules = calloc(count + 1, sizeof *table->rules);
	table->groups = calloc(count + 1, sizeof *table->groups);
	if (table->rules == NULL || table->groups == NULL)
		return false;
	for (size_t i = 0; i < config->profile_count; i++)
		rules_of_profile(table, &config->profiles[i], (uint16_t)i);
	rules_of_store(table, rules);
	qsort(table->rules, table->rule_count, sizeof *table->rules, rule_compare);
	return true;
}

/*
 * The longest group with rules for this name, or FACTS_NONE. Two hits are enough: the longest name in the map
 * is the first, and only the name itself has a second kind, which is then the exact one.
 */
static uint16_t table_find_group(
        const struct facts_table *table, const struct name *name, const uint64_t *hash)
{
	struct namemap_hit hits[2];
	size_t count = namemap_find(table->rule_map, name, hash, hits, 2);

	if (count == 0)
		return FACTS_NONE;
	return hits[count == 2 && hits[1].labels == hits[0].labels ? 1 : 0].value;
}

static int table_add_rules(struct facts_table *table)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	int ret = 0;

	for (size_t i = 0; i < table->rule_count && ret == 0; i++) {
		const struct facts_own_rule *rule = &table->rules[i];
		if (i > 0 && rule_compare(rule, rule - 1) == 0) {
			table->groups[table->group_count - 1].count++;
			continue;
		}
		name_hash_suffixes(&rule->name, table->seed, hash);
		table->groups[table->group_count] = (struct facts_group){
			.rule = (uint16_t)i, .count = 1, .parent = table_find_group(table, &rule->name, hash)
		};
		ret = namemap_add(
		        table->rule_map, &rule->name, rule->exact, 0, (uint16_t)table->group_count++);
	}
	return ret;
}

/* The owner, and the names between it and the root: those exist, though nothing is there (RFC 8020). */
static int table_add_record(struct facts_table *table, const struct name *owner)
{
	struct name parent;
	int ret = namemap_add(table->map, owner, true, ROLE_LOCAL, 0);

	for (unsigned i = 1; i < owner->labels && ret == 0; i++) {
		name_suffix(owner, i, &parent);
		ret = namemap_add(table->map, &parent, true, ROLE_LOCAL_BELOW, 0);
	}
	return ret;
}

/* A name worth imitating, without the www that an imitation may leave out. */
static int table_add_known(struct facts_table *table, const struct name *name)
{
	struct name known = *name;

	if (name->labels > 2 && memcmp(name->wire, "\3www", 4) == 0)
		name_suffix(name, 1, &known);
	return namemap_add(table->map, &known, false, ROLE_KNOWN, 0);
}

static int table_add_engine(struct facts_table *table, const struct config_engine *engine, uint16_t index)
{
	int ret = 0;

	for (size_t i = 0; i < engine->name_count && ret == 0; i++)
		ret = namemap_add(table->map, &engine->names[i], true, ROLE_ENGINE, index);
	for (size_t i = 0; i < engine->name_count && ret == 0; i++)
		ret = table_add_known(table, &engine->names[i]);
	return ret;
}

static int table_fill(struct facts_table *table)
{
	const struct config *config = table->config;
	struct namemap *map = table->map;
	struct name own;
	int ret = 0;

	for (size_t i = 0; i < config->protected_count && ret == 0; i++)
		ret = namemap_add(map, &config->protected_names[i], false, ROLE_PROTECTED, 0);
	for (size_t i = 0; i < config->internal_zone_count && ret == 0; i++)
		ret = namemap_add(map, &config->internal_zones[i].zone, false, ROLE_INTERNAL, (uint16_t)i);
	for (size_t i = 0; i < config->record_count && ret == 0; i++)
		ret = table_add_record(table, &config->records[i].owner);
	for (size_t i = 0; i < config->canary_count && ret == 0; i++)
		ret = namemap_add(
		        map, &config->canaries[i].name, !config->canaries[i].below, ROLE_CANARY, (uint16_t)i);
	for (size_t i = 0; i < config->engine_count && ret == 0; i++)
		ret = table_add_engine(table, &config->engines[i], (uint16_t)i);
	for (size_t i = 0; i < config->dns.rebinding_exempt_count && ret == 0; i++)
		ret = namemap_add(map, &config->dns.rebinding_exempt[i], false, ROLE_REBINDING_EXEMPT, 0);
	if (ret == 0 && config->dns.why_zone.len > 0) {
		why_root(&own, config);
		ret = namemap_add(map, &own, false, ROLE_OWN, 0);
	}
	for (size_t i = 0; i < config->tunnel_exempt_count && ret == 0; i++)
		ret = namemap_add(map, &config->tunnel_exempt[i], false, ROLE_TUNNEL_EXEMPT, 0);
	for (size_t i = 0; i < config->known_name_count && ret == 0; i++)
		ret = table_add_known(table, &config->known_names[i]);
	return ret == 0 ? table_add_rules(table) : ret;
}

/* They are phishing; where there is no such category, a way around the filter. */
static int lookalike_category(const struct config *config)
{
	if (config->dns.lookalikes == SIGNAL_OFF)
		return -1;
	int category = config_category(config, "phishing");
	return category >= 0 ? category : config_category(config, "bypass");
}

struct facts_table *facts_table_new(const struct config *config, const struct rules *rules, uint64_t seed)
{
	struct facts_table *table = calloc(1, sizeof *table);

	if (table == NULL)
		return NULL;
	table->config = config;
	table->seed = seed;
	table->map = namemap_new(seed);
	table->rule_map = namemap_new(seed);
	table->keywords = keywords_new(config);
	table->lookalike_category = lookalike_category(config);
	if (!table->map || !table->rule_map || !table->keywords || !table_gather_rules(table, rules) ||
	        table_fill(table) < 0) {
		facts_table_free(table);
		return NULL;
	}
	return table;
}

void facts_table_free(struct facts_table *table)
{
	if (table == NULL)
		return;
	namemap_free(table->map);
	namemap_free(table->rule_map);
	keywords_free(table->keywords);
	free(table->rules);
	free(table->groups);
	free(table);
}

void facts_table_fail_engines(struct facts_table *table, uint64_t failed)
{
	table->engines_failed = failed;
}

bool facts_engine_has_failed(const struct facts_table *table, unsigned engine)
{
	return table->engines_failed >> engine & 1;
}

uint64_t facts_table_seed(const struct facts_table *table)
{
	return table->seed;
}

const struct facts_own_rule *facts_rule_get(const struct facts_table *table, unsigned rule)
{
	return &table->rules[rule];
}

const struct facts_group *facts_group_get(const struct facts_table *table, unsigned group)
{
	return &table->groups[group];
}

/* Hits come longest first, so the first zone, canary and engine is the one that counts. */
static void facts_note(struct facts *facts, const struct namemap_hit *hit)
{
	switch ((enum role)hit->role) {
	case ROLE_PROTECTED:
		facts->flags |= FACTS_PROTECTED;
		break;
	case ROLE_INTERNAL:
		facts->flags |= FACTS_INTERNAL;
		if (facts->internal_zone == FACTS_NONE)
			facts->internal_zone = hit->value;
		break;
	case ROLE_LOCAL:
		facts->flags |= FACTS_LOCAL;
		break;
	case ROLE_LOCAL_BELOW:
		facts->flags |= FACTS_LOCAL_BELOW;
		break;
	case ROLE_CANARY:
		if (facts->canary == FACTS_NONE)
			facts->canary = hit->value;
		break;
	case ROLE_ENGINE:
		if (facts->engine == FACTS_NONE)
			facts->engine = hit->value;
		break;
	case ROLE_REBINDING_EXEMPT:
		facts->flags |= FACTS_REBINDING_EXEMPT;
		break;
	case ROLE_OWN:
		facts->flags |= FACTS_OWN;
		break;
	case ROLE_TUNNEL_EXEMPT:
		facts->flags |= FACTS_TUNNEL_EXEMPT;
		break;
	case ROLE_KNOWN: /* of twins alone */
		break;
	}
}

/* ---- what the letters show ---- */

/* A listed name counts where another alphabet imitates it: with accents alone it is often a word of another
 * language. */
static bool is_worth_imitating(
        const struct facts_table *table, struct lists_view *view, const struct name *name)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct namemap_hit hits[HITS_MAX];
	struct lists_facts listed;

	name_hash_suffixes(name, table->seed, hash);
	size_t count = namemap_find(table->map, name, hash, hits, HITS_MAX);
	for (size_t i = 0; i < count; i++)
		if (hits[i].role == ROLE_KNOWN || hits[i].role == ROLE_PROTECTED)
			return true;
	return view != NULL && lists_lookup(view, name, hash, &listed) > 0 && listed.categories != 0;
}

/* text: of name_to_unicode(). twin is set to the name that it looks like, its len to 0 where it only mixes
 * alphabets. */
static bool is_lookalike(const struct facts_table *table, struct lists_view *view, const char *text,
        size_t len, struct name *twin)
{
	if (lookalike_twin(text, len, twin) &&
	        is_worth_imitating(table, lookalike_is_latin(text, len) ? NULL : view, twin))
		return true;
	twin->len = 0;
	return lookalike_mixes_scripts(text, len);
}

static void gather_signals(struct facts *facts, const struct facts_table *table, struct lists_view *view,
        const struct name *name)
{
	char text[NAME_TEXT_MAX];
	struct keywords_found found = { 0 };
	struct name twin;

	if ((facts->flags & (FACTS_PROTECTED | FACTS_INTERNAL | FACTS_LOCAL)) != 0)
		return;
	bool foreign = table->lookalike_category >= 0 && name_has_alabel(name);
	if (!foreign && !keywords_any(table->keywords))
		return;
	size_t len = name_to_unicode(name, text);
	keywords_scan(table->keywords, text, len, &found);
	if (foreign && is_lookalike(table, view, text, len, &twin)) {
		uint64_t bit = UINT64_C(1) << table->lookalike_category;
		*(table->config->dns.lookalikes == SIGNAL_BLOCK ? &found.block : &found.watch) |= bit;
	}
	facts->signal_block = found.block;
	facts->signal_watch = found.watch;
}

const char *facts_explain_signal(const struct facts_table *table, struct lists_view *view,
        const struct name *name, unsigned category, bool watch, char out[FACTS_SIGNAL_MAX])
{
	char text[NAME_TEXT_MAX], twin_text[NAME_TEXT_MAX];
	struct name twin;

	size_t len = name_to_unicode(name, text);
	const struct config_keyword *keyword = keywords_explain(table->keywords, text, len, category, watch);
	if (keyword == NULL && watch) /* one that blocks, for a profile that watches */
		keyword = keywords_explain(table->keywords, text, len, category, false);
	out[0] = '\0';
	if (keyword != NULL) {
		snprintf(out, FACTS_SIGNAL_MAX, "keyword %s", keyword->match);
	} else if (name_has_alabel(name) && is_lookalike(table, view, text, len, &twin)) {
		if (twin.len > 0)
			name_to_text(&twin, twin_text);
		snprintf(out, FACTS_SIGNAL_MAX, "look-alike %.256s",
		        twin.len > 0 ? twin_text : "mixed alphabets");
	}
	return out;
}

struct facts facts_of_categories(uint64_t categories)
{
	return (struct facts){
		.listed.categories = categories,
		.internal_zone = FACTS_NONE,
		.canary = FACTS_NONE,
		.engine = FACTS_NONE,
		.rules = FACTS_NONE,
	};
}

void facts_gather(struct facts *facts, const struct facts_table *table, struct lists_view *view,
        const struct name *name)
{
	uint64_t hash[NAME_LABELS_MAX + 1];

	name_hash_suffixes(name, table->seed, hash);
	facts_gather_hashed(facts, table, view, name, hash);
}

void facts_gather_hashed(struct facts *facts, const struct facts_table *table, struct lists_view *view,
        const struct name *name, const uint64_t *hash)
{
	struct namemap_hit hits[HITS_MAX];

	memset(facts, 0, sizeof *facts);
	facts->internal_zone = facts->canary = facts->engine = FACTS_NONE;
	size_t count = namemap_find(table->map, name, hash, hits, HITS_MAX);
	for (size_t i = 0; i < count; i++)
		facts_note(facts, &hits[i]);
	if (facts->flags & FACTS_LOCAL)
		facts->flags &= (uint8_t)~FACTS_LOCAL_BELOW;
	facts->rules = table_find_group(table, name, hash);

	if (view == NULL || lists_lookup(view, name, hash, &facts->listed) < 0) {
		memset(&facts->listed, 0, sizeof facts->listed);
		facts->flags |= FACTS_LISTS_FAILED;
	}
	gather_signals(facts, table, view, name);
}
