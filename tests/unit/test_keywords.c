#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/keywords.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(category) (UINT64_C(1) << (category))

enum { ADULT, GAMBLING };

static struct keywords *make(const struct config_keyword *rows, size_t count)
{
	static struct config config;

	config.keywords = (struct config_keyword *)rows;
	config.keyword_count = count;
	struct keywords *keywords = keywords_new(&config);
	assert_non_null(keywords);
	return keywords;
}

static bool is_found(const struct keywords *keywords, const char *text)
{
	struct keywords_found found = { 0 };

	keywords_scan(keywords, text, strlen(text), &found);
	return (found.block | found.watch) != 0;
}

/* Is this one word in that name? */
static bool matches(const char *match, const char *text)
{
	const struct config_keyword row = { .match = match };
	struct keywords *keywords = make(&row, 1);
	bool found = is_found(keywords, text);

	keywords_free(keywords);
	return found;
}

static void a_word_stands_by_itself(void **state)
{
	static const char *const yes[] = { "sex", "sex.com", "free-sex-now.com", "www.sex123.com",
		"123sex.com", "a.sex.b", "my_sex.com", "example.sex", "sexsex.sex" };
	static const char *const no[] = { "essex.ac.uk", "sussex.gov.uk", "middlesex.edu", "sexton.com",
		"unisex.com", "se.x.com", "", "s", "se", "sexsex.com" };

	for (size_t i = 0; i < COUNT(yes); i++)
		if (!matches("sex", yes[i]))
			fail_msg("sex is not found in %s", yes[i]);
	for (size_t i = 0; i < COUNT(no); i++)
		if (matches("sex", no[i]))
			fail_msg("sex is found in %s", no[i]);
}

static void a_star_lets_it_go_on(void **state)
{
	assert_true(matches("*porn*", "bestpornsite.com"));
	assert_true(matches("*porn*", "porn"));
	assert_true(matches("casino*", "casinos.com"));
	assert_false(matches("casino*", "bigcasino.com"));
	assert_true(matches("*bet", "mybet.com"));
	assert_false(matches("*bet", "mybets.com"));
}

static void digits_go_on_digits(void **state)
{
	assert_true(matches("4chan", "4chan.org"));
	assert_false(matches("4chan", "14chan.org"));
	assert_true(matches("rule34", "rule34.xxx"));
	assert_false(matches("rule34", "rule345.com"));
}

static void other_scripts_have_letters_too(void **state)
{
	assert_true(matches("казино", "казино.com"));
	assert_true(matches("казино", "best-казино.рф"));
	assert_false(matches("казино", "мегаказино.рф"));
	assert_false(matches("sex", "éssexé.com"));
	assert_false(matches("sex", "ésex.com"));
}

static void words_inside_and_behind_words_are_all_found(void **state)
{
	static const struct config_keyword rows[] = {
		{ .match = "*he*", .category = 0 },
		{ .match = "*she*", .category = 1 },
		{ .match = "*hers*", .category = 2, .watch = true },
		{ .match = "*his*", .category = 3 },
		{ .match = "she", .category = 4 },
		{ .match = "*he*", .category = 5, .watch = true },
	};
	struct keywords *keywords = make(rows, COUNT(rows));
	struct keywords_found found = { 0 };

	keywords_scan(keywords, "ushers.example", 14, &found);
	assert_int_equal(found.block, BIT(0) | BIT(1));
	assert_int_equal(found.watch, BIT(2) | BIT(5));
	keywords_scan(keywords, "this-she", 8, &found);
	assert_int_equal(found.block, BIT(0) | BIT(1) | BIT(3) | BIT(4));
	keywords_free(keywords);
}

static void the_word_behind_a_category_is_told(void **state)
{
	static const struct config_keyword rows[] = {
		{ .match = "*porn*", .category = ADULT },
		{ .match = "bet", .category = GAMBLING, .watch = true },
		{ .match = "*poker*", .category = GAMBLING },
	};
	struct keywords *keywords = make(rows, COUNT(rows));
	const char *name = "bet.pokerporn.com";

	assert_ptr_equal(keywords_explain(keywords, name, strlen(name), ADULT, false), &rows[0]);
	assert_ptr_equal(keywords_explain(keywords, name, strlen(name), GAMBLING, true), &rows[1]);
	assert_ptr_equal(keywords_explain(keywords, name, strlen(name), GAMBLING, false), &rows[2]);
	assert_null(keywords_explain(keywords, name, strlen(name), ADULT, true));
	keywords_free(keywords);
}

static void no_keywords_find_nothing(void **state)
{
	struct keywords *keywords = make(NULL, 0);

	assert_false(is_found(keywords, "sex.com"));
	assert_null(keywords_explain(keywords, "sex.com", 7, ADULT, false));
	keywords_free(keywords);
	keywords_free(NULL);
}

/* Against strstr() with the same boundaries, over texts made of few letters, where overlaps are many. */
static void the_automaton_finds_what_a_plain_search_finds(void **state)
{
	static const char *const words[] = { "*ab*", "*aab*", "*bab*", "*b*", "*abba*", "*aaaa*", "*ba-a*" };
	struct config_keyword rows[COUNT(words)];
	unsigned random = 1;

	for (size_t i = 0; i < COUNT(words); i++)
		rows[i] = (struct config_keyword){ .match = words[i], .category = (int)i };
	struct keywords *keywords = make(rows, COUNT(rows));
	for (unsigned round = 0; round < 20000; round++) {
		char text[17];
		uint64_t expected = 0;
		struct keywords_found found = { 0 };
		for (size_t i = 0; i < 16; i++) {
			random = random * 1103515245 + 12345;
			text[i] = "ab-ab"[(random >> 16) % 5];
		}
		text[16] = '\0';
		for (size_t i = 0; i < COUNT(words); i++) {
			char word[16];
			snprintf(word, sizeof word, "%.*s", (int)strlen(words[i]) - 2, words[i] + 1);
			if (strstr(text, word) != NULL)
				expected |= BIT(i);
		}
		keywords_scan(keywords, text, 16, &found);
		if (found.block != expected)
			fail_msg("'%s': %lx instead of %lx", text, (unsigned long)found.block,
			        (unsigned long)expected);
	}
	keywords_free(keywords);
}

/* Names of schools, places, charities and health pages, under words that a hasty list might have. */
static void ordinary_names_pass_blunt_words(void **state)
{
	static const char *const words[] = { "sex", "cunt", "cock", "arse", "anal", "ass", "tit", "rape",
		"porn", "nude", "fuck", "cum", "dick", "homo", "gay", "drug", "kill", "nazi", "hell", "bet",
		"xxx", "weed", "slut", "hoe", "pen", "shit", "wank", "dyke" };
	static const char *const names[] = { "essex.ac.uk", "scunthorpe.gov.uk", "sussex.ac.uk",
		"middlesexuniversity.example", "cockermouth.cumbria.sch.uk", "arsenal.com",
		"analytics.google.com", "therapist.example", "penistone-gs.uk", "lightwater-school.example",
		"clitheroe.lancs.sch.uk", "assessment.example", "classroom.google.com", "titanic.example",
		"grape.example", "cumbria.gov.uk", "dickens-academy.example", "homework.example",
		"shitterton.example", "hello.example", "better-health.nhs.uk", "wankel.example",
		"alphabet.example", "shell.com", "tweed.example", "essexcc.gov.uk",
		"sexeducationforum.org.uk", "breastcancernow.org", "assets.example", "butterfly.example",
		"passport.gov.uk", "documents.example", "skillsbuilder.org", "peacocks.example",
		"woodcock.example", "hancock.example", "analysis.example", "canal.example", "scraper.example",
		"shoe.example", "pension.example", "mishit.example", "vandyke-school.example",
		"circumstances.example", "constitution.example", "gaynor.example", "drugstore.example" };
	struct config_keyword rows[COUNT(words)];

	for (size_t i = 0; i < COUNT(words); i++)
		rows[i] = (struct config_keyword){ .match = words[i] };
	struct keywords *keywords = make(rows, COUNT(rows));
	for (size_t i = 0; i < COUNT(names); i++)
		if (is_found(keywords, names[i]))
			fail_msg("%s would be blocked", names[i]);
	keywords_free(keywords);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_stands_by_itself),
		cmocka_unit_test(a_star_lets_it_go_on),
		cmocka_unit_test(digits_go_on_digits),
		cmocka_unit_test(other_scripts_have_letters_too),
		cmocka_unit_test(words_inside_and_behind_words_are_all_found),
		cmocka_unit_test(the_word_behind_a_category_is_told),
		cmocka_unit_test(no_keywords_find_nothing),
		cmocka_unit_test(the_automaton_finds_what_a_plain_search_finds),
		cmocka_unit_test(ordinary_names_pass_blunt_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
