/* Members of JSON objects that others wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "blocklists/member.h"

static void what_is_there_is_read(void **state)
{
	(void)state;
	json_t *object = json_pack("{s:s, s:I}", "name", "ut1", "size", (json_int_t)5000000000);

	assert_string_equal(member_text(object, "name"), "ut1");
	assert_int_equal(member_number(object, "size"), 5000000000);
	json_decref(object);
}

static void missing_and_other_types_are_none(void **state)
{
	(void)state;
	json_t *object = json_pack("{s:n, s:s, s:i}", "null", "text", "7", "number", 7);
	json_t *array = json_pack("[s]", "text");

	assert_string_equal(member_text(object, "other"), "");
	assert_string_equal(member_text(object, "null"), "");
	assert_string_equal(member_text(object, "number"), "");
	assert_string_equal(member_text(array, "text"), "");
	assert_string_equal(member_text(NULL, "text"), "");
	assert_int_equal(member_number(object, "text"), 0);
	assert_int_equal(member_number(NULL, "number"), 0);
	json_decref(array);
	json_decref(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_there_is_read),
		cmocka_unit_test(missing_and_other_types_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
