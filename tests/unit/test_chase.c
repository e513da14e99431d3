/* From a block to ways around it: which steps of a client are a chase. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/chase.h"

#define STEPS_MAX 16
#define SINCE 100

/*
 * Steps in order of time, a letter each: g and s are blocks of two categories, p is a proxy and v a VPN;
 * behind
 * "|" is what was first seen within the window.
 */
static void steps_read(const char *text, struct watch *watch, struct step steps[STEPS_MAX])
{
	static const char games[] = "games", social[] = "social", bypass[] = "bypass";
	static char vpn[] = "bestvpn.test", other[] = "x.test";
	int64_t time_us = SINCE - STEPS_MAX;

	*watch = (struct watch){ .steps = steps };
	for (; *text != '\0'; text++) {
		if (*text == '|') {
			time_us = SINCE;
			continue;
		}
		assert_true(watch->step_count < STEPS_MAX);
		steps[watch->step_count++] = (struct step){ .first_us = time_us++,
			.name = *text == 'v' ? vpn : other,
			.category = *text == 'g'   ? games
			            : *text == 's' ? social
			                           : bypass,
			.bypass = *text == 'p' || *text == 'v' };
	}
}

static void a_chase_is_a_block_and_ways_around_it(void **state)
{
	static const struct {
		const char *steps, *labels; /* a letter a step, as the label begins; "": no chase */
		unsigned length;
	} cases[] = {
		{ "|gp", "bp", 2 },
		{ "|ggpv", "bmpv", 4 },
		{ "|gggp", "bmmp", 3 }, /* one mirror counts */
		{ "|gsp", "-bp", 2 },   /* the latest block … */
		{ "|gsgp", "b-mp", 3 }, /* … or the latest that had a mirror */
		{ "|ggsp", "bm-p", 3 },
		{ "|ggsspv", "--bmpv", 4 },
		{ "|gpg", "bpm", 3 },
		{ "|g", "", 0 },
		{ "|pg", "", 0 },
		{ "|gg", "", 0 },
		{ "", "", 0 },
		{ "g|p", "", 0 }, /* a block before the window began nothing */
		{ "p|g", "", 0 }, /* nor is a proxy of before a way around */
		{ "p|gv", "-bv", 2 },
		{ "g|gp", "-bp", 2 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct step steps[STEPS_MAX];
		struct watch watch;
		char labels[STEPS_MAX + 1] = "";
		steps_read(cases[i].steps, &watch, steps);
		const struct step *block = chase_block(&watch, SINCE);
		for (size_t k = 0; block != NULL && k < watch.step_count; k++) {
			const char *label = chase_label(&steps[k], block);
			labels[k] = label != NULL ? *label : '-';
		}
		if (strcmp(labels, cases[i].labels) != 0)
			fail_msg("%s: found %s, expected %s", cases[i].steps, labels, cases[i].labels);
		if (block != NULL)
			assert_int_equal(chase_length(&watch, block), cases[i].length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_chase_is_a_block_and_ways_around_it) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
