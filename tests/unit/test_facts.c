#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/facts.h"

#define SEED 7
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct name name_of(const char *text)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

static struct facts gather(const struct facts_table *table, const char *text)
{
	struct name name = name_of(text);
	struct facts facts;

	memset(&facts, 0xaa, sizeof facts);
	facts_gather(&facts, table, NULL, &name);
	return facts;
}

/* A school by hand: enough of a configuration for every role. */
struct school {
	struct name protected_names[1], exempt[1], engine_names[2];
	struct config_internal_zone zones[2];
	struct config_record records[3];
	struct config_canary canaries[2];
	struct config_engine engines[1];
	struct config_profile profiles[2];
	struct config config;
	struct facts_table *table;
};

static int school_open(void **state)
{
	struct school *s = calloc(1, sizeof *s);

	s->protected_names[0] = name_of("help.example");
	s->exempt[0] = name_of("dnsbl.example");
	s->engine_names[0] = name_of("www.google.com");
	s->engine_names[1] = name_of("www.google.de");
	s->zones[0].zone = name_of("school.example");
	s->zones[1].zone = name_of("ad.school.example");
	s->records[0].owner = name_of("a.b.lan.example");
	s->records[1].owner = name_of("a.b.lan.example");
	s->records[2].owner = name_of("b.lan.example");
	s->canaries[0] = (struct config_canary){ .name = name_of("use-application-dns.net") };
	s->canaries[1] = (struct config_canary){ .name = name_of("resolver.arpa"), .below = true };
	s->engines[0] = (struct config_engine){ .name = "google", .names = s->engine_names, .name_count = 2 };
	s->config = (struct config){
		.protected_names = s->protected_names,
		.protected_count = 1,
		.dns = { .rebinding_exempt = s->exempt, .rebinding_exempt_count = 1 },
		.internal_zones = s->zones,
		.internal_zone_count = 2,
		.records = s->records,
		.record_count = 3,
		.canaries = s->canaries,
		.canary_count = 2,
		.engines = s->engines,
		.engine_count = 1,
		.profiles = s->profiles,
		.profile_count = 2,
	};
	s->table = facts_table_new(&s->config, NULL, SEED);
	*state = s;
	return s->table == NULL ? -1 : 0;
}

static int school_close(void **state)
{
	struct school *s = *state;

	facts_table_free(s->table);
	free(s);
	return 0;
}

static void a_name_that_nobody_speaks_of(void **state)
{
	struct school *s = *state;
	struct facts facts = gather(s->table, "www.example.com");

	assert_int_equal(facts.flags, FACTS_LISTS_FAILED);
	assert_int_equal(facts.listed.categories, 0);
	assert_int_equal(facts.listed.match_count, 0);
	assert_int_equal(facts.rules, FACTS_NONE);
	assert_int_equal(facts.internal_zone, FACTS_NONE);
	assert_int_equal(facts.canary, FACTS_NONE);
	assert_int_equal(facts.engine, FACTS_NONE);
	assert_int_equal(facts_table_seed(s->table), SEED);
}

static void protected_names_and_exemptions_cover_what_is_below(void **state)
{
	struct school *s = *state;

	assert_true(gather(s->table, "help.example").flags & FACTS_PROTECTED);
	assert_true(gather(s->table, "a.b.HELP.example").flags & FACTS_PROTECTED);
	assert_false(gather(s->table, "nothelp.example").flags & FACTS_PROTECTED);
	assert_true(gather(s->table, "2.0.0.127.dnsbl.example").flags & FACTS_REBINDING_EXEMPT);
	assert_false(gather(s->table, "help.example").flags & FACTS_REBINDING_EXEMPT);
}

static void the_longest_internal_zone_is_named(void **state)
{
	struct school *s = *state;

	assert_int_equal(gather(s->table, "school.example").internal_zone, 0);
	assert_int_equal(gather(s->table, "dc1.ad.school.example").internal_zone, 1);
	assert_true(gather(s->table, "dc1.ad.school.example").flags & FACTS_INTERNAL);
	assert_int_equal(gather(s->table, "example").internal_zone, FACTS_NONE);
	assert_false(gather(s->table, "example").flags & FACTS_INTERNAL);
}

static void local_records_are_exact_and_parents_are_empty(void **state)
{
	struct school *s = *state;
	unsigned both = FACTS_LOCAL | FACTS_LOCAL_BELOW;

	assert_int_equal(gather(s->table, "a.b.lan.example").flags & both, FACTS_LOCAL);
	assert_int_equal(gather(s->table, "b.lan.example").flags & both, FACTS_LOCAL);
	assert_int_equal(gather(s->table, "lan.example").flags & both, FACTS_LOCAL_BELOW);
	assert_int_equal(gather(s->table, "x.a.b.lan.example").flags & both, 0);
	assert_int_equal(gather(s->table, "c.lan.example").flags & both, 0);
	assert_int_equal(gather(s->table, ".").flags & both, 0);
}

static void canaries_are_exact_unless_below(void **state)
{
	struct school *s = *state;

	assert_int_equal(gather(s->table, "use-application-dns.net").canary, 0);
	assert_int_equal(gather(s->table, "x.use-application-dns.net").canary, FACTS_NONE);
	assert_int_equal(gather(s->table, "_dns.resolver.arpa").canary, 1);
}

static void engines_are_exact(void **state)
{
	struct school *s = *state;

	assert_int_equal(gather(s->table, "www.google.de").engine, 0);
	assert_int_equal(gather(s->table, "mail.google.com").engine, FACTS_NONE);
	assert_int_equal(gather(s->table, "x.www.google.com").engine, FACTS_NONE);
}

/* Two hundred profiles that all allow one name: none may push another's rule out. */
static void rules_of_all_profiles_are_found(void **state)
{
	static struct config_profile profiles[200];
	struct name allow[1] = { name_of("games.example") }, block[1] = { name_of("a.games.example") };
	struct config config = { .profiles = profiles, .profile_count = COUNT(profiles) };
	bool seen[COUNT(profiles)] = { false };

	for (size_t i = 0; i < COUNT(profiles); i++)
		profiles[i] = (struct config_profile){
			.allow_names = allow, .allow_count = 1, .block_names = block, .block_count = 1
		};
	struct facts_table *table = facts_table_new(&config, NULL, SEED);
	assert_non_null(table);
	struct facts facts = gather(table, "www.a.games.example");

	const struct facts_group *deep = facts_group_get(table, facts.rules);
	const struct facts_group *above = facts_group_get(table, deep->parent);
	assert_int_equal(deep->count, COUNT(profiles));
	assert_int_equal(above->count, COUNT(profiles));
	assert_int_equal(above->parent, FACTS_NONE);
	for (unsigned k = 0; k < above->count; k++) {
		const struct facts_own_rule *rule = facts_rule_get(table, above->rule + k);
		assert_true(rule->allow);
		assert_true(name_equal(&rule->name, &allow[0]));
		assert_false(seen[rule->profile]);
		seen[rule->profile] = true;
	}
	assert_ptr_equal(facts_group_get(table, gather(table, "games.example").rules), above);
	assert_int_equal(gather(table, "notgames.example").rules, FACTS_NONE);
	facts_table_free(table);
}

/* The shortest of 120 nested rules may be the only one for this client. */
static void no_depth_of_rules_hides_one(void **state)
{
	struct name allow[120];
	struct config_profile profile = { .allow_names = allow, .allow_count = COUNT(allow) };
	struct config config = { .profiles = &profile, .profile_count = 1 };
	char text[256] = "example";
	unsigned met = 0;

	for (size_t i = 0; i < COUNT(allow); i++) {
		char longer[256];
		allow[i] = name_of(text);
		snprintf(longer, sizeof longer, "a.%.250s", text);
		memcpy(text, longer, sizeof text);
	}
	struct facts_table *table = facts_table_new(&config, NULL, SEED);
	struct facts facts = gather(table, text);

	for (unsigned at = facts.rules; at != FACTS_NONE; at = facts_group_get(table, at)->parent, met++)
		assert_int_equal(facts_rule_get(table, facts_group_get(table, at)->rule)->name.labels,
		        COUNT(allow) - met);
	assert_int_equal(met, COUNT(allow));
	facts_table_free(table);
}

static bool keep_all(const void *arg, const struct rules_entry *entry)
{
	return false;
}

static struct rules *with_rule(struct rules *rules, const char *name, bool exact, const char *profile)
{
	struct rules_entry entry = { .name = name_of(name),
		.exact = exact,
		.profile = profile,
		.author = "jsmith",
		.reason = "test" };
	struct rules *next = rules_next(rules, 0, keep_all, NULL, &entry, "{}");

	assert_non_null(next);
	rules_free(rules);
	return next;
}

static void rules_of_the_store_are_exact_or_cover_what_is_below(void **state)
{
	struct config_profile profile = { .name = "pupils" };
	struct config config = { .profiles = &profile, .profile_count = 1 };
	struct rules *rules = rules_new();

	rules = with_rule(rules, "a.example", true, NULL);
	rules = with_rule(rules, "a.example", false, "pupils");
	rules = with_rule(rules, "b.a.example", true, NULL);
	rules = with_rule(rules, "a.example", false, "gone"); /* a profile that is no more */
	struct facts_table *table = facts_table_new(&config, rules, SEED);
	const struct facts_group *exact = facts_group_get(table, gather(table, "a.example").rules);
	const struct facts_group *below = facts_group_get(table, gather(table, "x.a.example").rules);
	const struct facts_group *deep = facts_group_get(table, gather(table, "b.a.example").rules);

	assert_true(facts_rule_get(table, exact->rule)->exact);
	assert_string_equal(facts_rule_get(table, exact->rule)->entry->author, "jsmith");
	assert_false(facts_rule_get(table, below->rule)->exact);
	assert_int_equal(facts_rule_get(table, below->rule)->profile, 0);
	assert_int_equal(below->count, 1);
	assert_ptr_equal(facts_group_get(table, exact->parent), below);
	assert_ptr_equal(facts_group_get(table, deep->parent), below);
	assert_ptr_equal(facts_group_get(table, gather(table, "c.b.a.example").rules), below);
	facts_table_free(table);
	rules_free(rules);
}

static void more_rules_than_can_be_numbered_are_refused(void **state)
{
	struct config_profile profile = { .allow_count = FACTS_NONE };
	struct config config = { .profiles = &profile, .profile_count = 1 };

	assert_null(facts_table_new(&config, NULL, SEED));
	facts_table_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_that_nobody_speaks_of, school_open, school_close),
		cmocka_unit_test_setup_teardown(
		        protected_names_and_exemptions_cover_what_is_below, school_open, school_close),
		cmocka_unit_test_setup_teardown(
		        the_longest_internal_zone_is_named, school_open, school_close),
		cmocka_unit_test_setup_teardown(
		        local_records_are_exact_and_parents_are_empty, school_open, school_close),
		cmocka_unit_test_setup_teardown(canaries_are_exact_unless_below, school_open, school_close),
		cmocka_unit_test_setup_teardown(engines_are_exact, school_open, school_close),
		cmocka_unit_test(rules_of_all_profiles_are_found),
		cmocka_unit_test(no_depth_of_rules_hides_one),
		cmocka_unit_test(rules_of_the_store_are_exact_or_cover_what_is_below),
		cmocka_unit_test(more_rules_than_can_be_numbered_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
