#include "resolver/why.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char why[CONFIG_WHY_MAX];

static struct config *config_of(const char *text)
{
	struct config *config;

	if (config_parse(&config, text, strlen(text), "usher.yaml", why) < 0)
		fail_msg("%s", why);
	return config;
}

static struct name name_of(const char *text)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

/* The strings of a TXT record, each in brackets. */
static const char *strings_of(const struct why_text *text)
{
	static char all[2 * WHY_TEXT_MAX];
	size_t at = 0;

	all[0] = '\0';
	for (size_t pos = 0; pos < text->len; pos += 1u + text->rdata[pos])
		at += (size_t)snprintf(all + at, sizeof all - at, "[%.*s]", text->rdata[pos],
		        (const char *)text->rdata + pos + 1);
	return all;
}

static void both_forms_and_the_tree_itself_are_read(void **state)
{
	static const struct {
		const char *asked;
		enum why_subject subject;
		const char *name;
	} cases[] = {
		{ "why.casino.com.filter.usher", WHY_NAME, "casino.com" },
		{ "casino.com.why.filter.usher", WHY_NAME, "casino.com" },
		{ "why.com.filter.usher", WHY_NAME, "com" },
		{ "why.why.com.filter.usher", WHY_NAME, "why.com" },
		{ "why.com.why.filter.usher", WHY_NAME, "why.com" },
		{ "why.why.filter.usher", WHY_NAME, "why" },
		{ "why.me.filter.usher", WHY_NAME, "me" },
		{ "why.me.filter.usher.filter.usher", WHY_NAME, "me.filter.usher" },
		{ "me.filter.usher", WHY_ME, NULL },
		{ "filter.usher", WHY_USAGE, NULL },
		{ "why.filter.usher", WHY_EMPTY, NULL },
		{ "usher", WHY_EMPTY, NULL },
		{ "x.filter.usher", WHY_NONE, NULL },
		{ "x.me.filter.usher", WHY_NONE, NULL },
		{ "casino.com.filter.usher", WHY_NONE, NULL },
		{ "whyx.casino.com.filter.usher", WHY_NONE, NULL },
		{ "other.usher", WHY_NONE, NULL },
	};
	const struct name tree = name_of("filter.usher");
	char text[NAME_TEXT_MAX];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct name asked = name_of(cases[i].asked), name;
		if (why_read(&asked, &tree, &name) != cases[i].subject)
			fail_msg("%s", cases[i].asked);
		if (cases[i].name == NULL)
			continue;
		name_to_text(&name, text);
		assert_string_equal(text, cases[i].name);
	}
}

static void zone_of_the_configuration_makes_the_tree(void **state)
{
	static const struct {
		const char *zone, *tree, *root;
	} cases[] = {
		{ "usher.", "filter.usher", "usher" },
		{ "school.example", "filter.school.example", "filter.school.example" },
		{ "filter.school.example", "filter.school.example", "filter.school.example" },
		{ "FILTER", "filter", "filter" },
	};
	char yaml[200], text[NAME_TEXT_MAX];
	struct name name;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(yaml, sizeof yaml, "profiles: [{name: pupils}]\ndns: {why-zone: %s}\n",
		        cases[i].zone);
		struct config *config = config_of(yaml);
		why_tree(&name, config);
		name_to_text(&name, text);
		assert_string_equal(text, cases[i].tree);
		why_root(&name, config);
		name_to_text(&name, text);
		assert_string_equal(text, cases[i].root);
		config_free(config);
	}
}

static void zone_as_long_as_names_may_be_still_makes_a_tree(void **state)
{
	struct config config = { .dns.why_zone.len = 0 };
	char text[NAME_TEXT_MAX];
	struct name tree;

	memset(text, 'a', 253);
	for (size_t i = 49; i < 253; i += 50)
		text[i] = '.';
	text[253] = '\0';
	config.dns.why_zone = name_of(text);
	why_tree(&tree, &config);
	assert_true(name_equal(&tree, &config.dns.why_zone));
}

static void long_text_is_several_strings_and_never_more_than_fits(void **state)
{
	struct why_text text = { .len = 0 };

	why_add(&text, "%0300d", 7);
	assert_int_equal(text.len, 302);
	assert_int_equal(text.rdata[0], 255);
	assert_int_equal(text.rdata[256], 45);
	why_add(&text, "%s", "");
	assert_int_equal(text.len, 303);
	for (unsigned i = 0; i < 20; i++)
		why_add(&text, "%0255d", 7);
	assert_int_equal(text.len, 303 + 6 * 256);
}

static const char *tell(const char *yaml, const char *name_text, unsigned profile)
{
	static const uint8_t client[16] = { [10] = 0xff, 0xff, 10, 20, 0, 5 };
	const struct policy_asker asker = { .profile = profile, .address = client };
	const struct moment now = { .utc_s = 1795342502 };
	struct why_text text = { .len = 0 };
	struct config *config = config_of(yaml);
	struct facts_table *table = facts_table_new(config, NULL, 1);
	struct facts facts;

	if (name_text == NULL) {
		why_tell_me(&text, config, &asker);
	} else {
		struct name name = name_of(name_text);
		facts_gather(&facts, table, NULL, &name);
		why_tell_name(&text, config, table, &asker, &name, &facts, &now);
	}
	facts_table_free(table);
	config_free(config);
	return strings_of(&text);
}

static void assert_has(const char *text, const char *part)
{
	if (strstr(text, part) != NULL)
		return;
	fputs(text, stderr);
	fail_msg(": found without %s", part);
}

static void name_is_told_with_verdict_reason_profile_and_reference(void **state)
{
	static const char yaml[] =
	        "profiles: [{name: pupils, on-list-failure: open, block-names: [casino.com]}]\n";
	const char *text = tell(yaml, "www.casino.com", 0);

	assert_has(text, "[www.casino.com is blocked for pupils: a rule of the school][verdict=block]");
	assert_has(text, "[reason=own rule: block casino.com for pupils][profile=pupils]");
	assert_has(text, "[reference=2026-11-22T10:15:02Z/10.20.0.5]");
	assert_has(tell(yaml, "plain.com", 0), "[verdict=resolve]");
	assert_has(tell(yaml, "www.google.com", 0), "[verdict=rewrite]");
	assert_has(tell(yaml, "use-application-dns.net", 0), "[verdict=local]");
	assert_has(tell(yaml, "me.filter.usher", 0), "[verdict=local]");
	assert_has(tell("profiles: [{name: pupils}]\n", "plain.com", 0),
	        "[verdict=block]"); /* as `usher check` */
}

static void hidden_name_is_not_called_answered(void **state)
{
	static const char yaml[] =
	        "default-profile: guest\nprofiles: [{name: guest, internal: false, on-list-failure: open}]\n"
	        "local-records: [\"intranet.example. 60 IN A 10.0.0.5\"]\n";

	assert_has(tell(yaml, "intranet.example", 0), "[intranet.example does not exist for guest: ");
}

static void profile_that_logs_no_client_has_none_in_the_reference(void **state)
{
	const char *text = tell(
	        "profiles: [{name: pupils, log: no-client, block-names: [casino.com]}]\n", "casino.com", 0);

	assert_has(text, "[reference=2026-11-22T10:15:02Z]");
	assert_null(strstr(text, "10.20.0.5"));
}

static void everybody_learns_what_is_logged_of_them(void **state)
{
	const char *text = tell("profiles: [{name: pupils}, {name: guest, keep: 30d}]\n", NULL, 1);

	assert_has(text, "[This device has the profile guest]");
	assert_has(text, "logged with its address and kept for 30d]");
	assert_has(text, "[profile=guest][client=10.20.0.5][log=full][keep=30d]");
	assert_has(tell("profiles: [{name: pupils, log: no-client}]\n", NULL, 0),
	        "without saying for which device");
	assert_has(tell("profiles: [{name: pupils, log: off}]\n", NULL, 0), "[log=off]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_forms_and_the_tree_itself_are_read),
		cmocka_unit_test(zone_of_the_configuration_makes_the_tree),
		cmocka_unit_test(zone_as_long_as_names_may_be_still_makes_a_tree),
		cmocka_unit_test(long_text_is_several_strings_and_never_more_than_fits),
		cmocka_unit_test(name_is_told_with_verdict_reason_profile_and_reference),
		cmocka_unit_test(hidden_name_is_not_called_answered),
		cmocka_unit_test(profile_that_logs_no_client_has_none_in_the_reference),
		cmocka_unit_test(everybody_learns_what_is_logged_of_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
