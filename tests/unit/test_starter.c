/* The shipped starter list against the shipped configuration: nothing in it may hurt. */
#include <libpsl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/config.h"
#include "resolver/facts.h"

#define SEED 3

static struct starter {
	struct config *config;
	struct facts_table *table;
	struct starter_name {
		struct name name;
		char text[256];
		int category;
	} names[4000];
	size_t count;
} starter;

/* Reads the list by its own words, so that the compiler's reader is not its own judge. */
static int starter_open(void **state)
{
	static char why[CONFIG_WHY_MAX];
	char path[1024], line[512];
	const char *dir = getenv("USHER_TESTS");
	int category = -1;

	snprintf(path, sizeof path, "%s/../conf/starter.txt", dir != NULL ? dir : "tests");
	FILE *file = fopen(path, "r");
	if (file == NULL || config_parse(&starter.config, "{}\n", 3, "test", why) < 0)
		return -1;
	starter.table = facts_table_new(starter.config, NULL, SEED);
	while (fgets(line, sizeof line, file) != NULL && starter.count < 4000) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#' || line[0] == '\0')
			continue;
		if (line[0] == '[' && line[strlen(line) - 1] == ']') {
			line[strlen(line) - 1] = '\0';
			category = config_category(starter.config, line + 1);
			if (category < 0)
				fprintf(stderr, "no such category: %s\n", line + 1);
			if (category < 0)
				return -1;
			continue;
		}
		struct starter_name *name = &starter.names[starter.count++];
		name->category = category;
		snprintf(name->text, sizeof name->text, "%.255s", line);
	}
	fclose(file);
	return starter.table == NULL ? -1 : 0;
}

static int starter_close(void **state)
{
	facts_table_free(starter.table);
	config_free(starter.config);
	return 0;
}

static void every_line_is_a_plain_lower_case_name(void **state)
{
	char text[NAME_TEXT_MAX];

	for (size_t i = 0; i < starter.count; i++) {
		struct starter_name *name = &starter.names[i];
		assert_int_equal(name_from_text(&name->name, name->text, strlen(name->text)), 0);
		name_to_text(&name->name, text);
		assert_string_equal(text, name->text);
		assert_true(name->name.labels >= 2);
		assert_true(name->category >= 0);
	}
}

static void there_are_hundreds_over_what_a_school_blocks(void **state)
{
	static const char *const wanted[] = { "social", "games", "adult", "gambling", "bypass",
		"unsafe-search", "dating", "chat", "piracy", "drugs", "self-harm", "hate", "violence",
		"dynamic-dns", "remote-control", "translation", "shorteners" };
	size_t count[CONFIG_CATEGORIES_MAX] = { 0 };

	assert_true(starter.count >= 500);
	for (size_t i = 0; i < starter.count; i++)
		count[starter.names[i].category]++;
	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
		assert_true(count[config_category(starter.config, wanted[i])] >= 5);
}

static void no_name_is_there_twice_or_below_another(void **state)
{
	struct namemap *map = namemap_new(SEED);
	struct namemap_hit hits[2];
	uint64_t hash[NAME_LABELS_MAX + 1];

	for (size_t i = 0; i < starter.count; i++)
		assert_int_equal(namemap_add(map, &starter.names[i].name, false, 0, (uint16_t)i), 0);
	for (size_t i = 0; i < starter.count; i++) {
		name_hash_suffixes(&starter.names[i].name, SEED, hash);
		if (namemap_find(map, &starter.names[i].name, hash, hits, 2) != 1)
			fail_msg("%s is listed already", starter.names[i].text);
	}
	namemap_free(map);
}

/* A company's suffix, "duckdns.org", has names of many owners: listed only where that is what is bad about
 * it. */
static void no_name_is_a_public_suffix(void **state)
{
	const int shared[] = { config_category(starter.config, "bypass"),
		config_category(starter.config, "dynamic-dns") };
	psl_ctx_t *psl = psl_latest(NULL);

	assert_non_null(psl);
	for (size_t i = 0; i < starter.count; i++) {
		const struct starter_name *name = &starter.names[i];
		bool may = name->category == shared[0] || name->category == shared[1];
		int types = (may ? PSL_TYPE_ICANN : PSL_TYPE_ANY) | PSL_TYPE_NO_STAR_RULE;
		if (psl_is_public_suffix2(psl, name->text, types))
			fail_msg("%s is a public suffix", name->text);
	}
	psl_free(psl);
}

/* Fails if an entry of the list is this name or a parent of it. */
static void assert_not_listed(const struct name *name)
{
	char text[NAME_TEXT_MAX];

	for (size_t i = 0; i < starter.count; i++) {
		if (!name_is_below(name, &starter.names[i].name))
			continue;
		name_to_text(name, text);
		fail_msg("%s would block %s", starter.names[i].text, text);
	}
}

static void no_help_name_is_listed(void **state)
{
	const struct config *config = starter.config;

	assert_true(config->protected_count > 20);
	for (size_t i = 0; i < config->protected_count; i++)
		assert_not_listed(&config->protected_names[i]);
	for (size_t i = 0; i < starter.count; i++) {
		struct facts facts;
		facts_gather(&facts, starter.table, NULL, &starter.names[i].name);
		assert_false(facts.flags & FACTS_PROTECTED);
		assert_int_equal(facts.canary, FACTS_NONE);
	}
}

static void no_engine_and_no_safe_search_target_is_listed(void **state)
{
	const struct config *config = starter.config;

	assert_true(config->engine_count >= 5);
	for (size_t i = 0; i < config->engine_count; i++) {
		const struct config_engine *engine = &config->engines[i];
		for (size_t k = 0; k < engine->name_count; k++)
			assert_not_listed(&engine->names[k]);
		if (engine->target.len > 0)
			assert_not_listed(&engine->target);
		if (engine->target_moderate.len > 0)
			assert_not_listed(&engine->target_moderate);
	}
}

static void what_lessons_need_is_not_listed(void **state)
{
	static const char *const needed[] = { "www.youtube.com", "youtube.com", "www.google.com",
		"classroom.google.com", "login.microsoftonline.com", "teams.microsoft.com", "www.office.com",
		"www.bbc.co.uk", "en.wikipedia.org", "www.gov.uk", "www.nhs.uk", "www.talktofrank.com",
		"www.beateatingdisorders.org.uk", "www.begambleaware.org", "www.stonewall.org.uk",
		"www.brook.org.uk", "scratch.mit.edu", "www.tes.com", "github.com", "www.essex.ac.uk",
		"www.scunthorpe.gov.uk", "archive.org", "www.gamcare.org.uk" };
	struct name name;

	for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
		assert_int_equal(name_from_text(&name, needed[i], strlen(needed[i])), 0);
		assert_not_listed(&name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_line_is_a_plain_lower_case_name),
		cmocka_unit_test(there_are_hundreds_over_what_a_school_blocks),
		cmocka_unit_test(no_name_is_there_twice_or_below_another),
		cmocka_unit_test(no_name_is_a_public_suffix),
		cmocka_unit_test(no_help_name_is_listed),
		cmocka_unit_test(no_engine_and_no_safe_search_target_is_listed),
		cmocka_unit_test(what_lessons_need_is_not_listed),
	};
	return cmocka_run_group_tests(tests, starter_open, starter_close);
}
