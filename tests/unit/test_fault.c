#include "resolver/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char *memory(const char *meminfo)
{
	static char text[FAULT_TEXT_MAX];

	text[0] = '\0';
	fault_of_memory(meminfo, text);
	return text;
}

static void little_memory_is_told(void **state)
{
	assert_string_equal(memory("MemTotal:  1024000 kB\nMemFree: 9 kB\nMemAvailable:  40960 kB\n"),
	        "40 MiB of 1000 MiB of memory are left on this machine");
	assert_string_equal(memory("MemTotal:  1024000 kB\nMemAvailable:  51200 kB\n"), "");
}

static void memory_that_is_not_told_is_no_fault(void **state)
{
	assert_string_equal(memory(""), "");
	assert_string_equal(memory("MemTotal:  1024000 kB\nMemFree: 9 kB\n"), "");
	assert_string_equal(memory("MemAvailable: nonsense"), "");
}

static char upstream[FAULT_TEXT_MAX], anchor[FAULT_TEXT_MAX];

static void counted(
        struct fault_streak *streak, uint64_t answered, uint64_t failed, uint64_t bogus, int64_t at_s)
{
	struct fault_streak now = { answered, failed, bogus, at_s };

	upstream[0] = anchor[0] = '\0';
	fault_of_streak(streak, &now, upstream, anchor);
}

static void upstream_is_dead_when_all_fails_for_a_while(void **state)
{
	struct fault_streak streak = { 0 };

	counted(&streak, 100, 3, 0, 50);
	counted(&streak, 100, 23, 0, 59);
	assert_string_equal(upstream, "");
	counted(&streak, 100, 23, 0, 60);
	assert_non_null(strstr(upstream, "the last 20 questions got no answer"));
	assert_string_equal(anchor, "");
	counted(&streak, 101, 90, 0, 62);
	assert_string_equal(upstream, "");
	counted(&streak, 101, 90, 0, 90);
	assert_string_equal(upstream, "");
}

static void few_dead_names_are_no_dead_upstream(void **state)
{
	struct fault_streak streak = { 0 };

	counted(&streak, 0, 19, 0, 1000);
	assert_string_equal(upstream, "");
}

static void night_without_questions_makes_no_fault_of_the_first_failures(void **state)
{
	struct fault_streak streak = { 0 };

	counted(&streak, 10, 0, 0, 10);
	counted(&streak, 10, 0, 0, 36000);
	counted(&streak, 10, 50, 0, 36002);
	assert_string_equal(upstream, "");
}

static void answers_that_all_fail_validation_point_to_the_anchor(void **state)
{
	struct fault_streak streak = { 0 };

	counted(&streak, 1, 0, 0, 10);
	counted(&streak, 1, 1, 20, 20);
	assert_non_null(strstr(anchor, "the last 20 answers all failed DNSSEC validation"));
	assert_string_equal(upstream, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_memory_is_told),
		cmocka_unit_test(memory_that_is_not_told_is_no_fault),
		cmocka_unit_test(upstream_is_dead_when_all_fails_for_a_while),
		cmocka_unit_test(few_dead_names_are_no_dead_upstream),
		cmocka_unit_test(night_without_questions_makes_no_fault_of_the_first_failures),
		cmocka_unit_test(answers_that_all_fail_validation_point_to_the_anchor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
