/* Changes of a zone, and the text they are applied to. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "blocklists/zone_changes.h"

/* Applies to held; returns what zone_changes_apply() did, with the text in *out (free it). */
static int apply(struct zone_changes *changes, const char *held, char **out)
{
	char copy[256];
	size_t len;

	snprintf(copy, sizeof copy, "%s", held);
	FILE *from = held[0] != '\0' ? fmemopen(copy, strlen(copy), "r") : fopen("/dev/null", "r"),
	     *to = open_memstream(out, &len);
	assert_non_null(from);
	assert_non_null(to);
	int ret = zone_changes_apply(changes, from, "soa 1", "soa 2", to);
	fclose(from);
	fclose(to);
	zone_changes_free(changes);
	return ret;
}

static void lines_go_and_come(void **state)
{
	struct zone_changes *changes = zone_changes_new();
	char *text;

	assert_int_equal(zone_changes_remove(changes, "b"), 0);
	assert_int_equal(zone_changes_add(changes, "e"), 0);
	assert_int_equal(zone_changes_add(changes, "d"), 0);
	assert_int_equal(apply(changes, "soa 1\na\nb\nc\n", &text), 0);
	assert_string_equal(text, "soa 2\na\nc\nd\ne\n");
	free(text);
}

static void what_comes_and_goes_again_leaves_no_trace(void **state)
{
	struct zone_changes *changes = zone_changes_new();
	char *text;

	assert_int_equal(zone_changes_add(changes, "x"), 0);
	assert_int_equal(zone_changes_remove(changes, "x"), 0);
	assert_int_equal(zone_changes_remove(changes, "a"), 0);
	assert_int_equal(zone_changes_add(changes, "a"), 0);
	assert_int_equal(apply(changes, "soa 1\na\n", &text), 0);
	assert_string_equal(text, "soa 2\na\n");
	free(text);
}

static void changes_that_do_not_fit_are_refused(void **state)
{
	struct zone_changes *gone = zone_changes_new(), *there = zone_changes_new(),
	                    *twice = zone_changes_new(), *empty = zone_changes_new(),
	                    *other = zone_changes_new();
	char *text;

	assert_int_equal(zone_changes_remove(gone, "z"), 0);
	assert_int_equal(apply(gone, "soa 1\na\n", &text), -EBADMSG);
	free(text);
	assert_int_equal(zone_changes_add(there, "a"), 0);
	assert_int_equal(apply(there, "soa 1\na\n", &text), -EBADMSG);
	free(text);
	assert_int_equal(zone_changes_add(twice, "a"), 0);
	assert_int_equal(zone_changes_add(twice, "a"), -EBADMSG);
	zone_changes_free(twice);
	assert_int_equal(apply(empty, "", &text), -EBADMSG);
	free(text);
	assert_int_equal(apply(other, "soa 7\na\n", &text), -EBADMSG);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_go_and_come),
		cmocka_unit_test(what_comes_and_goes_again_leaves_no_trace),
		cmocka_unit_test(changes_that_do_not_fit_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
