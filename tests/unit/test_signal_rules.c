/* Which rules there are, and which records each looks at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/signal_rules.h"

static struct config *config_of(const char *alerts)
{
	static char why[CONFIG_WHY_MAX];
	struct config *config;
	char text[1000];

	snprintf(text, sizeof text, "profiles: [{name: pupils}, {name: staff}]\ndefault-profile: pupils\n%s",
	        alerts);
	if (config_parse(&config, text, strlen(text), "test", why) < 0)
		fail_msg("%s", why);
	return config;
}

static void of_a_kind_without_rule_the_usual_one_is_evaluated_and_not_sent(void **state)
{
	static const struct {
		const char *alerts, *rules; /* *: not sent */
	} cases[] = {
		{ "alerts: {rules: [{name: x, kind: threshold, count: 2}]}\n", "x slow-burn* chase* swarm*" },
		{ "alerts: {rules: [{name: x, kind: swarm}, {name: y, kind: swarm, count: 9}]}\n",
		        "x y danger* slow-burn* chase*" },
		{ "alerts: {rules: [{name: x, kind: operations}]}\n", "danger* slow-burn* chase* swarm*" },
		{ "alerts: {rules: []}\n", "danger* slow-burn* chase* swarm*" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct config *config = config_of(cases[i].alerts);
		struct signal_rule rules[SIGNAL_RULES_MAX];
		char found[200] = "";
		size_t count = signal_rules(config, rules);
		for (size_t k = 0; k < count; k++)
			snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s%s",
			        k > 0 ? " " : "", rules[k].scope.rule->name, rules[k].is_sent ? "" : "*");
		assert_string_equal(found, cases[i].rules);
		config_free(config);
	}
}

static void a_rule_takes_its_profiles_categories_and_severity_and_above(void **state)
{
	static const struct {
		const char *rule, *profile, *category;
		enum config_severity severity;
		bool has_client, takes;
	} cases[] = {
		{ "kind: threshold, severity: caution", "pupils", "gambling", SEVERITY_CAUTION, true, true },
		{ "kind: threshold, severity: caution", "pupils", "gambling", SEVERITY_ADVISORY, true,
		        false },
		{ "kind: threshold, severity: caution", "pupils", "gambling", SEVERITY_DANGER, false, true },
		{ "kind: threshold, severity: danger", "pupils", "gambling", SEVERITY_CAUTION, true, false },
		{ "kind: threshold, severity: advisory, categories: [gambling]", "pupils", "gambling",
		        SEVERITY_ADVISORY, true, true },
		{ "kind: threshold, severity: advisory, categories: [gambling]", "pupils", "malware",
		        SEVERITY_DANGER, true, false },
		{ "kind: threshold, severity: advisory, categories: [gambling]", "pupils", NULL,
		        SEVERITY_DANGER, true, false },
		{ "kind: threshold, severity: advisory, profiles: [staff]", "pupils", "gambling",
		        SEVERITY_DANGER, true, false },
		{ "kind: threshold, severity: advisory, profiles: [staff]", "staff", "gambling",
		        SEVERITY_DANGER, true, true },
		{ "kind: threshold, severity: advisory, profiles: [staff]", "gone", "gambling",
		        SEVERITY_DANGER, true, false },
		{ "kind: threshold, severity: advisory", "gone", "gambling", SEVERITY_DANGER, true, true },
		{ "kind: slow-burn", "pupils", "gambling", SEVERITY_DANGER, false, false },
		{ "kind: swarm", "pupils", "gambling", SEVERITY_ADVISORY, false, false },
		{ "kind: swarm", "pupils", "gambling", SEVERITY_ADVISORY, true, true },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char alerts[200];
		snprintf(alerts, sizeof alerts, "alerts: {rules: [{name: x, %s}]}\n", cases[i].rule);
		struct config *config = config_of(alerts);
		struct signal_rule rules[SIGNAL_RULES_MAX];
		const uint8_t client[16] = { [10] = 0xff, [11] = 0xff, [12] = 10 };
		struct block_record record = { .client = cases[i].has_client ? client : NULL,
			.profile = cases[i].profile,
			.category = cases[i].category,
			.severity = cases[i].severity };
		assert_int_equal(name_from_text(&record.name, "x.example", 9), 0);
		signal_rules(config, rules);
		const struct signal_facts facts = signal_facts(config, &record);
		if (signal_rule_takes(&rules[0], &record, &facts) != cases[i].takes)
			fail_msg("%s: %s %s", cases[i].rule, cases[i].profile, cases[i].category);
		config_free(config);
	}
}

static void names_below_a_listed_one_are_one_site(void **state)
{
	struct config *config = config_of("");
	struct block_record one = { .rule_labels = 2 }, other = { .rule_labels = 2 }, unlisted = { 0 };

	assert_int_equal(name_from_text(&one.name, "a.casino.com", 12), 0);
	assert_int_equal(name_from_text(&other.name, "b.casino.com", 12), 0);
	unlisted.name = one.name;
	assert_int_equal(signal_facts(config, &one).site, signal_facts(config, &other).site);
	assert_int_not_equal(signal_facts(config, &one).site, signal_facts(config, &unlisted).site);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_a_kind_without_rule_the_usual_one_is_evaluated_and_not_sent),
		cmocka_unit_test(a_rule_takes_its_profiles_categories_and_severity_and_above),
		cmocka_unit_test(names_below_a_listed_one_are_one_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
