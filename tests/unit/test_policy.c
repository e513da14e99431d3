/*
 * The truths of tests/policy.eval under tests/policy.conf, and what a text table can't say: rules of clients
 * and for a time, unreadable lists, hops, steps. facts.c is compiled in, so that a test can make a table of
 * any rules.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/clients.h"
#include "resolver/facts.c"
#include "resolver/policy.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- a policy by hand
 * ------------------------------------------------------------------------------------------------ */

enum { ILLEGAL, GAMBLING, HATE, GAMES, NEWS };
#define BIT(category) (UINT64_C(1) << (category))
enum { PUPILS, STAFF, GUEST, OPEN, WALLED, PROFILES };

static const struct config_category categories[] = {
	[ILLEGAL] = { .name = "illegal", .severity = SEVERITY_DANGER, .sealed = true },
	[GAMBLING] = { .name = "gambling", .severity = SEVERITY_CAUTION },
	[HATE] = { .name = "hate", .severity = SEVERITY_DANGER },
	[GAMES] = { .name = "games", .severity = SEVERITY_ADVISORY },
	[NEWS] = { .name = "news", .severity = SEVERITY_ADVISORY },
};
#define BLOCKED (BIT(GAMBLING) | BIT(HATE) | BIT(GAMES))
static const struct config_profile profiles[PROFILES] = {
	[PUPILS] = { .name = "pupils",
	        .block = BLOCKED,
	        .safe_search = true,
	        .youtube = YOUTUBE_STRICT,
	        .internal = true },
	[STAFF] = { .name = "staff", .internal = true, .youtube = YOUTUBE_MODERATE },
	[GUEST] = { .name = "guest", .block = BLOCKED, .safe_search = true, .youtube = YOUTUBE_STRICT },
	[OPEN] = { .name = "open", .block = BLOCKED, .safe_search = true, .open_on_list_failure = true },
	[WALLED] = { .name = "walled", .default_block = true, .internal = true, .safe_search = true },
};
static struct config_canary canaries[1] = { { .answer = CANARY_NXDOMAIN } };
enum { GOOGLE, YOUTUBE };
static struct config_engine engines[] = {
	[GOOGLE] = { .name = "google" },
	[YOUTUBE] = { .name = "youtube", .has_levels = true },
};
static const struct config config = {
	.categories = (struct config_category *)categories,
	.category_count = COUNT(categories),
	.sealed = BIT(ILLEGAL),
	.danger = BIT(ILLEGAL) | BIT(HATE),
	.profiles = (struct config_profile *)profiles,
	.profile_count = PROFILES,
	.canaries = canaries,
	.canary_count = 1,
	.engines = engines,
	.engine_count = COUNT(engines),
};
static const struct moment monday = { .utc_s = 1000, .minute = 600, .weekday = 0 };

static struct name name_of(const char *text)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

static struct facts facts_of(unsigned flags, uint64_t listed)
{
	return (struct facts){ .flags = (uint8_t)flags,
		.listed = { .categories = listed, .match_count = listed != 0 },
		.internal_zone = FACTS_NONE,
		.canary = FACTS_NONE,
		.engine = FACTS_NONE,
		.rules = FACTS_NONE };
}

/* Rules by hand: each row is one, all match the asked name. */
static struct facts_own_rule rules[16];
static struct facts_group groups[16];
static struct facts_table table = { .config = &config, .rules = rules, .groups = groups };

static struct facts_own_rule *rule_add(struct facts *facts, const char *name, bool allow)
{
	struct facts_own_rule *rule = &rules[table.rule_count];

	*rule = (struct facts_own_rule){ .name = name_of(name), .allow = allow, .profile = FACTS_NONE };
	groups[table.rule_count] = (struct facts_group){
		.rule = (uint16_t)table.rule_count, .count = 1, .parent = facts->rules
	};
	facts->rules = (uint16_t)table.rule_count++;
	return rule;
}

static int rules_forget(void **state)
{
	table.rule_count = 0;
	return 0;
}

static struct verdict decide_at(unsigned profile, const struct facts *facts, const struct moment *now)
{
	static const uint8_t client[16] = { [10] = 0xff, [11] = 0xff, 10, 20, 3, 4 };
	struct policy_asker asker = { .profile = profile, .address = client };

	return policy_decide(&config, &table, &asker, facts, now, NULL);
}

static struct verdict decide_for(unsigned profile, const struct facts *facts)
{
	return decide_at(profile, facts, &monday);
}

static struct config_network network_v4(unsigned a, unsigned b, unsigned c, unsigned d, unsigned length)
{
	return (struct config_network){
		.address = { [10] = 0xff, [11] = 0xff, (uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d },
		.length = (uint8_t)(96 + length)
	};
}

static void check_verdict(struct verdict got, enum verdict_action action, enum verdict_tier tier, int line)
{
	_assert_int_equal(got.action, action, __FILE__, line);
	_assert_int_equal(got.tier, tier, __FILE__, line);
}

#define assert_verdict(got, action, tier) check_verdict(got, action, tier, __LINE__)

/* ---- precedence, pair by pair
 * ---------------------------------------------------------------------------------------- */

/* What a tier needs to speak, and what it says when nothing above it does. Order is DESIGN.md 2. */
static const struct pair {
	enum verdict_tier tier;
	enum verdict_action action;
	unsigned profile; /* where the tier speaks in one profile only, else PROFILES */
	unsigned flags;
	uint64_t listed;
	bool canary, rule, engine;
} tiers[] = {
	{ TIER_SEALED, VERDICT_BLOCK, PROFILES, .listed = BIT(ILLEGAL) },
	{ TIER_LOCAL_RECORD, VERDICT_LOCAL, PUPILS, .flags = FACTS_LOCAL },
	{ TIER_INTERNAL, VERDICT_RESOLVE, PUPILS, .flags = FACTS_INTERNAL },
	{ TIER_PROTECTED, VERDICT_RESOLVE, PUPILS, .flags = FACTS_PROTECTED },
	{ TIER_CANARY, VERDICT_LOCAL, PUPILS, .canary = true },
	{ TIER_RULE, VERDICT_BLOCK, PUPILS, .rule = true },
	{ TIER_LIST_FAILURE, VERDICT_FAIL, PUPILS, .flags = FACTS_LISTS_FAILED },
	{ TIER_CATEGORY, VERDICT_BLOCK, PUPILS, .listed = BIT(GAMBLING) },
	{ TIER_SAFE_SEARCH, VERDICT_REWRITE, PUPILS, .engine = true },
	{ TIER_DEFAULT, VERDICT_RESOLVE, PUPILS },
};

static void every_tier_goes_before_those_below_it(void **state)
{
	for (size_t above = 0; above < COUNT(tiers); above++) {
		for (size_t below = above; below < COUNT(tiers); below++) {
			const struct pair *a = &tiers[above], *b = &tiers[below];
			struct facts facts = facts_of(a->flags | b->flags, a->listed | b->listed);
			table.rule_count = 0;
			if (a->canary || b->canary)
				facts.canary = 0;
			if (a->engine || b->engine)
				facts.engine = GOOGLE;
			if (a->rule || b->rule)
				rule_add(&facts, "example.com", false);
			if (a->tier == TIER_LIST_FAILURE || b->tier == TIER_LIST_FAILURE)
				facts.listed.categories &= a->tier == TIER_SEALED ? ~UINT64_C(0) : 0;
			assert_verdict(decide_for(PUPILS, &facts), a->action, a->tier);
		}
	}
}

static void sealed_blocks_in_every_profile(void **state)
{
	for (unsigned profile = 0; profile < PROFILES; profile++) {
		struct facts facts =
		        facts_of(FACTS_PROTECTED | FACTS_INTERNAL | FACTS_LOCAL, BIT(ILLEGAL) | BIT(HATE));
		facts.canary = 0;
		facts.engine = GOOGLE;
		table.rule_count = 0;
		rule_add(&facts, "example.com", true);
		struct verdict verdict = decide_for(profile, &facts);
		assert_verdict(verdict, VERDICT_BLOCK, TIER_SEALED);
		assert_int_equal(verdict.category, ILLEGAL);
		assert_int_equal(verdict.rule, FACTS_NONE);
		assert_true(policy_blocked_categories(&config, profile, &monday) & BIT(ILLEGAL));
	}
}

static void guests_see_no_internal_name_even_if_protected(void **state)
{
	struct facts internal = facts_of(FACTS_INTERNAL | FACTS_PROTECTED, 0);
	struct facts local = facts_of(FACTS_LOCAL, 0);

	rule_add(&internal, "example.com", true);
	assert_verdict(decide_for(GUEST, &internal), VERDICT_LOCAL, TIER_INTERNAL);
	assert_verdict(decide_for(GUEST, &local), VERDICT_LOCAL, TIER_INTERNAL);
	assert_verdict(decide_for(STAFF, &internal), VERDICT_RESOLVE, TIER_INTERNAL);
	assert_verdict(decide_for(STAFF, &local), VERDICT_LOCAL, TIER_LOCAL_RECORD);
}

static void parents_of_a_local_record_resolve(void **state)
{
	struct facts facts = facts_of(FACTS_LOCAL_BELOW, 0);

	assert_verdict(decide_for(PUPILS, &facts), VERDICT_RESOLVE, TIER_DEFAULT);
	assert_verdict(decide_for(GUEST, &facts), VERDICT_RESOLVE, TIER_DEFAULT);
}

/* ---- own rules
 * ------------------------------------------------------------------------------------------------------- */

static void longest_rule_wins_over_any_scope(void **state)
{
	struct facts facts = facts_of(0, BIT(GAMBLING));

	rule_add(&facts, "a.example.com", true);
	struct facts_own_rule *client = rule_add(&facts, "example.com", false);
	client->client = network_v4(10, 20, 3, 4, 32);
	client->until = 5000;
	struct verdict verdict = decide_for(PUPILS, &facts);
	assert_verdict(verdict, VERDICT_RESOLVE, TIER_RULE);
	assert_int_equal(verdict.rule, 0);
	assert_int_equal(verdict.category, -1);
}

static void client_over_profile_over_all(void **state)
{
	struct facts facts = facts_of(0, 0);

	rule_add(&facts, "example.com", true)->until = 5000;
	assert_verdict(decide_for(PUPILS, &facts), VERDICT_RESOLVE, TIER_RULE);
	rule_add(&facts, "example.com", false)->profile = PUPILS;
	assert_verdict(decide_for(PUPILS, &facts), VERDICT_BLOCK, TIER_RULE);
	assert_verdict(decide_for(STAFF, &facts), VERDICT_RESOLVE, TIER_RULE);
	rule_add(&facts, "example.com", true)->client = network_v4(10, 20, 3, 0, 24);
	struct verdict verdict = decide_for(PUPILS, &facts);
	assert_verdict(verdict, VERDICT_RESOLVE, TIER_RULE);
	assert_int_equal(verdict.rule, 2);
}

static void timed_over_permanent_then_block_over_allow(void **state)
{
	struct facts facts = facts_of(0, 0);

	rule_add(&facts, "example.com", true);
	rule_add(&facts, "example.com", false);
	assert_int_equal(decide_for(PUPILS, &facts).rule, 1);
	rule_add(&facts, "example.com", true)->until = 5000;
	assert_int_equal(decide_for(PUPILS, &facts).rule, 2);
	rule_add(&facts, "example.com", false)->until = 5000;
	assert_int_equal(decide_for(PUPILS, &facts).rule, 3);
}

static void at_one_name_the_rule_for_it_alone_goes_first(void **state)
{
	struct facts facts = facts_of(0, 0);

	rule_add(&facts, "example.com", false);
	rule_add(&facts, "example.com", true)->exact = true;
	assert_int_equal(decide_for(PUPILS, &facts).rule, 1);
}

static void of_two_networks_the_smaller_goes_first(void **state)
{
	struct facts facts = facts_of(0, 0);

	rule_add(&facts, "example.com", false)->client = network_v4(10, 20, 3, 0, 24);
	rules[0].until = 5000;
	rule_add(&facts, "example.com", true)->client = network_v4(10, 20, 3, 4, 32);
	assert_int_equal(decide_for(PUPILS, &facts).rule, 1);
}

static void guests_are_granted_nothing_for_a_time(void **state)
{
	struct facts facts = facts_of(0, BIT(GAMBLING));

	rule_add(&facts, "example.com", true)->until = 5000;
	assert_verdict(decide_for(GUEST, &facts), VERDICT_BLOCK, TIER_CATEGORY);
	assert_verdict(decide_for(PUPILS, &facts), VERDICT_RESOLVE, TIER_RULE);
	rules[0].allow = false;
	assert_verdict(decide_for(GUEST, &facts), VERDICT_BLOCK, TIER_RULE);
}

/* The earliest end of any rule for this asker, also one that does not decide now. */
static void a_verdict_tells_when_a_rule_about_it_ends(void **state)
{
	struct facts facts = facts_of(0, 0);

	assert_int_equal(decide_for(PUPILS, &facts).until, 0);
	rule_add(&facts, "example.com", false);
	assert_int_equal(decide_for(PUPILS, &facts).until, 0);
	rule_add(&facts, "example.com", true)->until = 5000;
	rule_add(&facts, "com", true)->until = 4000;
	rule_add(&facts, "com", true)->until = 1000; /* over */
	rule_add(&facts, "com", true)->until = 3000;
	rules[4].profile = STAFF;
	assert_int_equal(decide_for(PUPILS, &facts).until, 4000);
	assert_int_equal(decide_for(STAFF, &facts).until, 3000);
}

static void a_rule_ends_to_the_second(void **state)
{
	struct facts facts = facts_of(0, BIT(GAMBLING));
	struct moment last = monday, after = monday;

	rule_add(&facts, "example.com", true)->until = 5000;
	last.utc_s = 4999;
	after.utc_s = 5000;
	assert_verdict(decide_at(PUPILS, &facts, &last), VERDICT_RESOLVE, TIER_RULE);
	assert_verdict(decide_at(PUPILS, &facts, &after), VERDICT_BLOCK, TIER_CATEGORY);
}

static void rules_of_other_profiles_and_clients_do_not_apply(void **state)
{
	struct facts facts = facts_of(0, BIT(GAMBLING));
	struct policy_asker nobody = { .profile = PUPILS };

	rule_add(&facts, "example.com", true)->profile = STAFF;
	rule_add(&facts, "example.com", true)->client = network_v4(10, 20, 3, 5, 32);
	rule_add(&facts, "example.com", true)->client = network_v4(10, 20, 2, 0, 24);
	rule_add(&facts, "example.com", true)->client = network_v4(10, 20, 3, 0, 30);
	assert_verdict(decide_for(PUPILS, &facts), VERDICT_BLOCK, TIER_CATEGORY);
	rule_add(&facts, "example.com", true)->client = network_v4(10, 20, 3, 4, 30);
	assert_verdict(decide_for(PUPILS, &facts), VERDICT_RESOLVE, TIER_RULE);
	assert_verdict(
	        policy_decide(&config, &table, &nobody, &facts, &monday, NULL), VERDICT_BLOCK, TIER_CATEGORY);
}

static void a_timed_grant_never_lifts_danger(void **state)
{
	struct facts danger = facts_of(0, BIT(HATE) | BIT(GAMES)), caution = facts_of(0, BIT(GAMBLING));

	rule_add(&danger, "example.com", true)->until = 5000;
	caution.rules = danger.rules;
	assert_verdict(decide_for(PUPILS, &danger), VERDICT_BLOCK, TIER_CATEGORY);
	assert_int_equal(decide_for(PUPILS, &danger).category, HATE);
	assert_verdict(decide_for(PUPILS, &caution), VERDICT_RESOLVE, TIER_RULE);
	/* what is written into the configuration is the school's own word */
	rule_add(&danger, "example.com", true);
	assert_verdict(decide_for(PUPILS, &danger), VERDICT_RESOLVE, TIER_RULE);
}

static void an_own_block_has_no_category(void **state)
{
	struct facts facts = facts_of(0, BIT(GAMBLING));

	rule_add(&facts, "example.com", false);
	struct verdict verdict = decide_for(PUPILS, &facts);
	assert_verdict(verdict, VERDICT_BLOCK, TIER_RULE);
	assert_int_equal(verdict.category, -1);
	assert_int_equal(verdict.rule, 0);
}

/* ---- unreadable lists
 * ------------------------------------------------------------------------------------------------ */

static void without_lists_closed_fails_and_open_resolves(void **state)
{
	struct facts facts = facts_of(FACTS_LISTS_FAILED, 0);

	assert_verdict(decide_for(PUPILS, &facts), VERDICT_FAIL, TIER_LIST_FAILURE);
	assert_verdict(decide_for(WALLED, &facts), VERDICT_FAIL, TIER_LIST_FAILURE);
	assert_verdict(decide_for(OPEN, &facts), VERDICT_RESOLVE, TIER_DEFAULT);
	facts.engine = GOOGLE;
	assert_verdict(decide_for(PUPILS, &facts), VERDICT_FAIL, TIER_LIST_FAILURE);
	assert_verdict(decide_for(OPEN, &facts), VERDICT_REWRITE, TIER_SAFE_SEARCH);
}

static void without_lists_what_needs_none_still_answers(void **state)
{
	struct facts help = facts_of(FACTS_LISTS_FAILED | FACTS_PROTECTED, 0);
	struct facts internal = facts_of(FACTS_LISTS_FAILED | FACTS_INTERNAL, 0);
	struct facts canary = facts_of(FACTS_LISTS_FAILED, 0), own = facts_of(FACTS_LISTS_FAILED, 0);

	canary.canary = 0;
	rule_add(&own, "example.com", true);
	assert_verdict(decide_for(PUPILS, &help), VERDICT_RESOLVE, TIER_PROTECTED);
	assert_verdict(decide_for(PUPILS, &internal), VERDICT_RESOLVE, TIER_INTERNAL);
	assert_verdict(decide_for(PUPILS, &canary), VERDICT_LOCAL, TIER_CANARY);
	assert_verdict(decide_for(PUPILS, &own), VERDICT_RESOLVE, TIER_RULE);
}

static void without_lists_a_timed_grant_lifts_nothing(void **state)
{
	struct facts facts = facts_of(FACTS_LISTS_FAILED, 0);

	rule_add(&facts, "example.com", true)->until = 5000;
	assert_verdict(decide_for(PUPILS, &facts), VERDICT_FAIL, TIER_LIST_FAILURE);
}

/* ---- safe search
 * ----------------------------------------------------------------------------------------------------- */

static void safe_search_follows_the_profile_alone(void **state)
{
	struct facts google = facts_of(0, 0), youtube = facts_of(0, 0);

	google.engine = GOOGLE;
	youtube.engine = YOUTUBE;
	struct verdict verdict = decide_for(PUPILS, &google);
	assert_verdict(verdict, VERDICT_REWRITE, TIER_SAFE_SEARCH);
	assert_int_equal(verdict.engine, GOOGLE);
	assert_false(verdict.moderate);
	assert_false(decide_for(PUPILS, &youtube).moderate);
	assert_true(decide_for(STAFF, &youtube).moderate);
	assert_verdict(decide_for(STAFF, &google), VERDICT_RESOLVE, TIER_DEFAULT);
	assert_verdict(decide_for(OPEN, &youtube), VERDICT_RESOLVE, TIER_DEFAULT);
	assert_int_equal(decide_for(OPEN, &youtube).engine, FACTS_NONE);
	assert_verdict(decide_for(WALLED, &google), VERDICT_BLOCK, TIER_DEFAULT);
}

static void no_rule_turns_safe_search_off(void **state)
{
	struct facts facts = facts_of(0, 0);

	facts.engine = GOOGLE;
	rule_add(&facts, "www.google.com", true);
	struct verdict verdict = decide_for(PUPILS, &facts);
	assert_verdict(verdict, VERDICT_REWRITE, TIER_SAFE_SEARCH);
	assert_int_equal(verdict.rule, 0);
	assert_verdict(decide_for(WALLED, &facts), VERDICT_REWRITE, TIER_SAFE_SEARCH);
	rule_add(&facts, "www.google.com", false);
	assert_verdict(decide_for(PUPILS, &facts), VERDICT_BLOCK, TIER_RULE);
}

/* ---- hops
 * ------------------------------------------------------------------------------------------------------------
 */

static struct verdict decide_hop(
        unsigned profile, enum verdict_action action, enum verdict_tier tier, const struct facts *hop)
{
	struct policy_asker asker = { .profile = profile };
	struct verdict asked = {
		.action = action, .tier = tier, .category = -1, .rule = FACTS_NONE, .engine = FACTS_NONE
	};

	return policy_decide_hop(&config, &table, &asker, &asked, hop, &monday);
}

static void a_listed_hop_blocks_and_an_unlisted_one_passes(void **state)
{
	struct facts listed = facts_of(0, BIT(GAMBLING) | BIT(HATE)), plain = facts_of(0, 0),
	             news = facts_of(0, BIT(NEWS));
	struct verdict verdict = decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &listed);

	assert_verdict(verdict, VERDICT_BLOCK, TIER_CATEGORY);
	assert_int_equal(verdict.category, HATE);
	assert_verdict(
	        decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &plain), VERDICT_RESOLVE, TIER_DEFAULT);
	assert_verdict(
	        decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &news), VERDICT_RESOLVE, TIER_DEFAULT);
	assert_verdict(
	        decide_hop(STAFF, VERDICT_RESOLVE, TIER_DEFAULT, &listed), VERDICT_RESOLVE, TIER_DEFAULT);
}

/* Caches between us and the client would keep the unsafe address under the engine's name. */
static void an_alias_of_an_engine_or_a_canary_is_blocked(void **state)
{
	struct facts engine = facts_of(0, 0), youtube = facts_of(0, 0), canary = facts_of(0, 0);

	engine.engine = GOOGLE;
	canary.canary = 0;
	youtube.engine = YOUTUBE;
	assert_verdict(
	        decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &engine), VERDICT_BLOCK, TIER_SAFE_SEARCH);
	assert_verdict(
	        decide_hop(OPEN, VERDICT_RESOLVE, TIER_DEFAULT, &youtube), VERDICT_RESOLVE, TIER_DEFAULT);
	assert_verdict(decide_hop(PUPILS, VERDICT_RESOLVE, TIER_RULE, &engine), VERDICT_RESOLVE, TIER_RULE);
	assert_verdict(decide_hop(PUPILS, VERDICT_REWRITE, TIER_SAFE_SEARCH, &engine), VERDICT_RESOLVE,
	        TIER_SAFE_SEARCH);
	assert_verdict(
	        decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &canary), VERDICT_BLOCK, TIER_CANARY);
	assert_verdict(decide_hop(OPEN, VERDICT_RESOLVE, TIER_DEFAULT, &canary), VERDICT_BLOCK, TIER_CANARY);
}

static void the_asked_name_covers_its_chain_except_sealed(void **state)
{
	static const enum verdict_tier covers[] = { TIER_PROTECTED, TIER_INTERNAL, TIER_LOCAL_RECORD,
		TIER_RULE, TIER_SAFE_SEARCH };
	struct facts listed = facts_of(0, BIT(HATE)), sealed = facts_of(FACTS_PROTECTED, BIT(ILLEGAL));
	struct facts unknown = facts_of(FACTS_LISTS_FAILED, 0);

	rule_add(&listed, "example.com", false);
	for (size_t i = 0; i < COUNT(covers); i++) {
		assert_int_equal(
		        decide_hop(PUPILS, VERDICT_RESOLVE, covers[i], &listed).action, VERDICT_RESOLVE);
		assert_int_equal(
		        decide_hop(PUPILS, VERDICT_RESOLVE, covers[i], &unknown).action, VERDICT_RESOLVE);
		assert_verdict(
		        decide_hop(PUPILS, VERDICT_RESOLVE, covers[i], &sealed), VERDICT_BLOCK, TIER_SEALED);
	}
	assert_verdict(decide_hop(STAFF, VERDICT_RESOLVE, TIER_DEFAULT, &sealed), VERDICT_BLOCK, TIER_SEALED);
	assert_verdict(decide_hop(WALLED, VERDICT_RESOLVE, TIER_RULE, &listed), VERDICT_RESOLVE, TIER_RULE);
}

static void a_timed_grant_lifts_no_danger_behind_the_name(void **state)
{
	struct policy_asker asker = { .profile = PUPILS };
	struct facts name = facts_of(0, BIT(GAMBLING)), danger = facts_of(0, BIT(HATE)),
	             caution = facts_of(0, BIT(GAMBLING)), unknown = facts_of(FACTS_LISTS_FAILED, 0);

	struct facts_own_rule *rule = rule_add(&name, "example.com", true);
	rule->until = monday.utc_s + 3600;
	struct verdict asked = policy_decide(&config, &table, &asker, &name, &monday, NULL);
	assert_verdict(asked, VERDICT_RESOLVE, TIER_RULE);
	struct verdict hop = policy_decide_hop(&config, &table, &asker, &asked, &danger, &monday);
	assert_verdict(hop, VERDICT_BLOCK, TIER_CATEGORY);
	assert_int_equal(hop.category, HATE);
	assert_verdict(policy_decide_hop(&config, &table, &asker, &asked, &unknown, &monday), VERDICT_BLOCK,
	        TIER_LIST_FAILURE);
	assert_verdict(policy_decide_hop(&config, &table, &asker, &asked, &caution, &monday), VERDICT_RESOLVE,
	        TIER_RULE);
	rule->until = 0;
	assert_verdict(policy_decide_hop(&config, &table, &asker, &asked, &danger, &monday), VERDICT_RESOLVE,
	        TIER_RULE);
}

static void own_rules_and_help_names_count_on_hops(void **state)
{
	struct facts blocked = facts_of(0, 0), allowed = facts_of(0, BIT(GAMBLING)),
	             help = facts_of(FACTS_PROTECTED, BIT(GAMBLING));

	rule_add(&blocked, "blocked.example", false);
	rule_add(&allowed, "allowed.example", true);
	assert_verdict(decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &blocked), VERDICT_BLOCK, TIER_RULE);
	assert_verdict(
	        decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &allowed), VERDICT_RESOLVE, TIER_RULE);
	assert_verdict(
	        decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &help), VERDICT_RESOLVE, TIER_PROTECTED);
}

static void a_public_name_does_not_lead_guests_inside(void **state)
{
	struct facts internal = facts_of(FACTS_INTERNAL, 0);

	assert_verdict(
	        decide_hop(GUEST, VERDICT_RESOLVE, TIER_DEFAULT, &internal), VERDICT_BLOCK, TIER_INTERNAL);
	assert_verdict(
	        decide_hop(GUEST, VERDICT_RESOLVE, TIER_RULE, &internal), VERDICT_BLOCK, TIER_INTERNAL);
	assert_verdict(decide_hop(GUEST, VERDICT_REWRITE, TIER_SAFE_SEARCH, &internal), VERDICT_BLOCK,
	        TIER_INTERNAL);
	assert_verdict(
	        decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &internal), VERDICT_RESOLVE, TIER_INTERNAL);
}

static void an_unknown_hop_is_blocked_where_the_profile_is_closed(void **state)
{
	struct facts unknown = facts_of(FACTS_LISTS_FAILED, 0);

	assert_verdict(decide_hop(PUPILS, VERDICT_RESOLVE, TIER_DEFAULT, &unknown), VERDICT_BLOCK,
	        TIER_LIST_FAILURE);
	assert_verdict(
	        decide_hop(OPEN, VERDICT_RESOLVE, TIER_DEFAULT, &unknown), VERDICT_RESOLVE, TIER_DEFAULT);
}

/* ---- steps and time
 * -------------------------------------------------------------------------------------------------- */

/* The steps may cost words, never another verdict; one step decides, and it is the verdict's. */
static void steps_tell_the_tier_that_decided(void **state)
{
	struct policy_asker asker = { .profile = PUPILS };

	for (size_t i = 0; i < COUNT(tiers); i++) {
		struct policy_steps steps;
		struct facts facts = facts_of(tiers[i].flags, tiers[i].listed);
		unsigned decided = 0;
		table.rule_count = 0;
		if (tiers[i].canary)
			facts.canary = 0;
		if (tiers[i].engine)
			facts.engine = GOOGLE;
		if (tiers[i].rule)
			rule_add(&facts, "example.com", false);
		memset(&steps, 0xaa, sizeof steps);
		struct verdict verdict = policy_decide(&config, &table, &asker, &facts, &monday, &steps);
		assert_verdict(verdict, tiers[i].action, tiers[i].tier);
		assert_true(steps.count >= 1 && steps.count <= TIER_COUNT);
		for (unsigned k = 0; k < steps.count; k++) {
			assert_true(strlen(steps.step[k].text) > 0);
			decided += steps.step[k].decided;
		}
		assert_int_equal(decided, 1);
		assert_true(steps.step[steps.count - 1].decided);
		assert_int_equal(steps.step[steps.count - 1].tier, tiers[i].tier);
	}
}

static void steps_have_room_for_the_longest_words(void **state)
{
	struct policy_asker asker = { .profile = PUPILS };
	struct policy_steps steps;
	struct facts facts = facts_of(0, BLOCKED);
	char label[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", name[256];

	snprintf(name, sizeof name, "%s.%s.%s.%.61s", label, label, label, label);
	rule_add(&facts, name, false);
	assert_verdict(
	        policy_decide(&config, &table, &asker, &facts, &monday, &steps), VERDICT_BLOCK, TIER_RULE);
	assert_int_equal(strlen(steps.step[steps.count - 1].text), sizeof steps.step[0].text - 1);
}

static void every_tier_has_a_name(void **state)
{
	for (int tier = 0; tier < TIER_COUNT; tier++)
		assert_non_null(policy_tier_text((enum verdict_tier)tier));
}

static void a_moment_is_local_and_weeks_begin_on_monday(void **state)
{
	setenv("TZ", "Europe/London", 1);
	struct moment winter = moment_at(1795429800); /* 2026-11-23 10:30 UTC, a Monday */
	struct moment summer = moment_at(1782080100); /* 2026-06-21 22:15 UTC, a Sunday; 23:15 in London */
	struct moment late = moment_at(1782084600);   /* 23:30 UTC: 00:30 on Monday in London */

	assert_int_equal(winter.weekday, 0);
	assert_int_equal(winter.minute, 10 * 60 + 30);
	assert_int_equal(winter.utc_s, 1795429800);
	assert_int_equal(summer.weekday, 6);
	assert_int_equal(summer.minute, 23 * 60 + 15);
	assert_int_equal(late.weekday, 0);
	assert_int_equal(late.minute, 30);
}

/* ---- policy.eval
 * ----------------------------------------------------------------------------------------------------- */

static FILE *tests_file(const char *name)
{
	char path[1024];
	const char *dir = getenv("USHER_TESTS");

	snprintf(path, sizeof path, "%s/%s", dir != NULL ? dir : "tests", name);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		fail_msg("%s: not found", path);
	return file;
}

static struct config *read_config(void)
{
	static char text[65536], why[CONFIG_WHY_MAX];
	struct config *read = NULL;
	FILE *file = tests_file("policy.conf");
	size_t len = fread(text, 1, sizeof text - 1, file);

	fclose(file);
	if (config_parse(&read, text, len, "policy.conf", why) < 0)
		fail_msg("%s", why);
	return read;
}

/* The lists of the file: small enough to be asked one by one. */
static struct listing {
	struct name name;
	unsigned category;
} listing[100];

static bool keep_all(const void *arg, const struct rules_entry *entry)
{
	return false;
}

static size_t listed_count;

static void facts_listed(struct facts *facts, const struct name *name)
{
	facts->flags &= (uint8_t)~FACTS_LISTS_FAILED;
	for (size_t i = 0; i < listed_count; i++)
		if (name_is_below(name, &listing[i].name))
			facts->listed.categories |= BIT(listing[i].category);
}

/* "mon 10:00", "2026-10-25 00:30Z", "fri 10:00:30": see policy.eval. */
static int64_t time_of(const char *day, const char *time)
{
	static const char *const days[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };
	struct tm tm = { .tm_isdst = -1 };
	char text[600];
	int weekday = 0;

	while (weekday < (int)COUNT(days) && strcmp(days[weekday], day) != 0)
		weekday++;
	if (weekday < (int)COUNT(days))
		snprintf(text, sizeof text, "2026-11-%d %s", 23 + weekday, time);
	else
		snprintf(text, sizeof text, "%s %s", day, time);
	assert_true(sscanf(text, "%d-%d-%d %d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
	                    &tm.tm_min, &tm.tm_sec) >= 5);
	tm.tm_year -= 1900;
	tm.tm_mon--;
	return (int64_t)(text[strlen(text) - 1] == 'Z' ? timegm(&tm) : mktime(&tm));
}

/* "rule allow pupils mon 11:00 =name" into the next revision. */
static struct rules *rule_read(struct rules *before, const struct config *school, char word[6][256])
{
	struct rules_entry entry = { .author = "jsmith", .reason = "policy.eval", .added = 1 };

	entry.exact = word[5][0] == '=';
	entry.name = name_of(word[5] + entry.exact);
	entry.allow = strcmp(word[1], "allow") == 0;
	assert_true(entry.allow || strcmp(word[1], "block") == 0);
	if (config_profile(school, word[2]) >= 0)
		entry.profile = word[2];
	else if (strcmp(word[2], "all") != 0)
		assert_int_equal(config_network_parse(&entry.client, word[2]), 0);
	if (word[3][0] != '-')
		entry.until = time_of(word[3], word[4]);
	struct rules *next = rules_next(before, 0, keep_all, NULL, &entry, "{}");
	assert_non_null(next);
	rules_free(before);
	return next;
}

/* Who asks: a profile, or a client, whose profile is that of its network. */
static struct policy_asker asker_of(
        const struct config *school, const char *who, struct config_network *client)
{
	struct policy_asker asker = { .profile = (unsigned)config_profile(school, who) };

	if (config_profile(school, who) >= 0)
		return asker;
	struct clients *clients = clients_new(school);
	assert_int_equal(config_network_parse(client, who), 0);
	asker.address = client->address;
	asker.profile = (unsigned)clients_find(clients, client->address);
	clients_free(clients);
	return asker;
}

/* One truth. Returns 0, or 1 after saying how the policy differs from it. */
static unsigned truth_fails(
        const struct config *school, const struct facts_table *facts_table, unsigned line, char word[6][256])
{
	static const char *const actions[] = { "resolve", "block", "rewrite", "local", "refuse", "fail" };
	struct moment now = moment_at(time_of(word[3], word[4]));
	struct config_network client;
	struct policy_asker asker = asker_of(school, word[2], &client);
	struct policy_steps steps;
	struct facts facts;

	struct name name = name_of(word[5]);
	facts_gather(&facts, facts_table, NULL, &name);
	facts_listed(&facts, &name);
	struct verdict verdict = policy_decide(school, facts_table, &asker, &facts, &now, &steps);
	const char *category = verdict.category >= 0 ? school->categories[verdict.category].name : "-";
	if (strcmp(actions[verdict.action], word[0]) == 0 && strcmp(category, word[1]) == 0)
		return 0;
	print_error("policy.eval:%u: %s for %s at %s %s: expected %s %s, got %s %s\n", line, word[5], word[2],
	        word[3], word[4], word[0], word[1], actions[verdict.action], category);
	for (unsigned i = 0; i < steps.count; i++)
		print_error("  %s: %s\n", policy_tier_text(steps.step[i].tier), steps.step[i].text);
	return 1;
}

/* Reads the file: without a table for its lists and rules, with their table for its truths. Returns how many
 * of those there are. */
static unsigned eval_read(const struct config *school, struct rules **store,
        const struct facts_table *facts_table, unsigned *failures)
{
	FILE *file = tests_file("policy.eval");
	char text[1024], word[6][256];
	unsigned line = 0, truths = 0;

	while (fgets(text, sizeof text, file) != NULL) {
		line++;
		int words = sscanf(text, "%255s %255s %255s %255s %255s %255s", word[0], word[1], word[2],
		        word[3], word[4], word[5]);
		if (words < 1 || word[0][0] == '#')
			continue;
		bool list = words == 3 && strcmp(word[0], "list") == 0;
		bool rule = words == 6 && strcmp(word[0], "rule") == 0;
		if (!list && words != 6)
			fail_msg("policy.eval:%u: not a truth", line);
		if (list && facts_table == NULL) {
			assert_true(listed_count < COUNT(listing) && config_category(school, word[1]) >= 0);
			listing[listed_count++] = (struct listing){ .name = name_of(word[2]),
				.category = (unsigned)config_category(school, word[1]) };
		} else if (rule && facts_table == NULL) {
			*store = rule_read(*store, school, word);
		} else if (!list && !rule && facts_table != NULL) {
			*failures += truth_fails(school, facts_table, line, word);
			truths++;
		}
	}
	fclose(file);
	return truths;
}

static void policy_eval_holds(void **state)
{
	struct config *school = read_config();
	struct rules *store = rules_new();
	unsigned failures = 0;

	setenv("TZ", "Europe/London", 1);
	tzset();
	listed_count = 0;
	eval_read(school, &store, NULL, &failures);
	struct facts_table *facts_table = facts_table_new(school, store, 1);
	assert_non_null(facts_table);
	assert_true(eval_read(school, &store, facts_table, &failures) >= 250);
	facts_table_free(facts_table);
	rules_free(store);
	config_free(school);
	assert_int_equal(failures, 0);
}

#define rules_test(test) cmocka_unit_test_setup(test, rules_forget)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rules_test(every_tier_goes_before_those_below_it),
		rules_test(sealed_blocks_in_every_profile),
		rules_test(guests_see_no_internal_name_even_if_protected),
		rules_test(parents_of_a_local_record_resolve),
		rules_test(longest_rule_wins_over_any_scope),
		rules_test(client_over_profile_over_all),
		rules_test(timed_over_permanent_then_block_over_allow),
		rules_test(at_one_name_the_rule_for_it_alone_goes_first),
		rules_test(of_two_networks_the_smaller_goes_first),
		rules_test(guests_are_granted_nothing_for_a_time),
		rules_test(a_verdict_tells_when_a_rule_about_it_ends),
		rules_test(a_rule_ends_to_the_second),
		rules_test(rules_of_other_profiles_and_clients_do_not_apply),
		rules_test(a_timed_grant_never_lifts_danger),
		rules_test(an_own_block_has_no_category),
		rules_test(without_lists_closed_fails_and_open_resolves),
		rules_test(without_lists_what_needs_none_still_answers),
		rules_test(without_lists_a_timed_grant_lifts_nothing),
		rules_test(safe_search_follows_the_profile_alone),
		rules_test(no_rule_turns_safe_search_off),
		rules_test(a_listed_hop_blocks_and_an_unlisted_one_passes),
		rules_test(an_alias_of_an_engine_or_a_canary_is_blocked),
		rules_test(the_asked_name_covers_its_chain_except_sealed),
		rules_test(a_timed_grant_lifts_no_danger_behind_the_name),
		rules_test(own_rules_and_help_names_count_on_hops),
		rules_test(a_public_name_does_not_lead_guests_inside),
		rules_test(an_unknown_hop_is_blocked_where_the_profile_is_closed),
		rules_test(steps_tell_the_tier_that_decided),
		rules_test(steps_have_room_for_the_longest_words),
		rules_test(every_tier_has_a_name),
		rules_test(a_moment_is_local_and_weeks_begin_on_monday),
		rules_test(policy_eval_holds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
