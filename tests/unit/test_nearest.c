/* The word that was meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resolver/nearest.h"

static const char *nearest_of(const char *word)
{
	static const char *const known[] = { "log", "lists", "check", "report", "rules", "safe-search" };
	struct nearest nearest = { .word = word };

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		nearest_try(&nearest, known[i]);
	return nearest.best;
}

static void typing_mistake_finds_its_word(void **state)
{
	(void)state;
	assert_string_equal(nearest_of("lsits"), "lists");
	assert_string_equal(nearest_of("lgo"), "log");
	assert_string_equal(nearest_of("chek"), "check");
	assert_string_equal(nearest_of("safesearch"), "safe-search");
	assert_string_equal(nearest_of("rule"), "rules");
}

static void what_is_far_off_finds_none(void **state)
{
	static const char letters[] =
	        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

	(void)state;
	assert_null(nearest_of("xyzzy"));
	assert_null(nearest_of("ox")); /* two of log's three letters */
	assert_null(nearest_of(""));
	assert_null(nearest_of(letters));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(typing_mistake_finds_its_word),
		cmocka_unit_test(what_is_far_off_finds_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
