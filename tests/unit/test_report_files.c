#include "resolver/report_files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct folder {
	char path[64];
	struct erasure erasure; /* of 10.20.0.5 */
};

static int setup(void **state)
{
	struct folder *folder = calloc(1, sizeof *folder);

	strcpy(folder->path, "/tmp/usher-reports-XXXXXX");
	assert_non_null(mkdtemp(folder->path));
	folder->erasure.filter.has_client = true;
	folder->erasure.filter.client.length = 128;
	memset(folder->erasure.filter.client.address + 10, 0xff, 2);
	inet_pton(AF_INET, "10.20.0.5", folder->erasure.filter.client.address + 12);
	*state = folder;
	return 0;
}

static int teardown(void **state)
{
	struct folder *folder = *state;

	rmdir(folder->path);
	free(folder);
	return 0;
}

/* Whether a report with this text is one that names the client. */
static bool is_found(struct folder *folder, const char *text)
{
	char path[128];
	char unread[NAME_MAX + 1];
	json_t *names;

	snprintf(path, sizeof path, "%s/daily.csv", folder->path);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(report_files_find(&names, folder->path, &folder->erasure, folder->path, unread), 0);
	assert_string_equal(unread, "");
	bool found = json_array_size(names) > 0;
	json_decref(names);
	unlink(path);
	return found;
}

static void address_is_found_whatever_stands_around_it(void **state)
{
	assert_true(is_found(*state, "10.20.0.5"));
	assert_true(is_found(*state, "<td>10.20.0.5</td>"));
	assert_true(is_found(*state, "It was 10.20.0.5."));
	assert_true(is_found(*state, "of 10.20.0.5: three names"));
	assert_true(is_found(*state, "::ffff:10.20.0.5"));
}

static void other_address_that_begins_alike_is_left_alone(void **state)
{
	assert_false(is_found(*state, "10.20.0.55, 110.20.0.5 and 10.20.0.5.6"));
	assert_false(is_found(*state, ""));
}

static void report_that_begins_with_a_colon_is_read_from_its_beginning(void **state)
{
	assert_false(is_found(*state, ":."));
	assert_false(is_found(*state, "::"));
	assert_true(is_found(*state, ":. 10.20.0.5"));
}

/* Larger than any report is. */
static void report_that_cannot_be_read_is_named(void **state)
{
	struct folder *folder = *state;
	char path[128], unread[NAME_MAX + 1];
	json_t *names;

	snprintf(path, sizeof path, "%s/huge.html", folder->path);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(ftruncate(fileno(file), (off_t)1 << 30), 0);
	fclose(file);
	assert_int_equal(
	        report_files_find(&names, folder->path, &folder->erasure, folder->path, unread), -EFBIG);
	assert_string_equal(unread, "huge.html");
	assert_null(names);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(address_is_found_whatever_stands_around_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
		        other_address_that_begins_alike_is_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(
		        report_that_begins_with_a_colon_is_read_from_its_beginning, setup, teardown),
		cmocka_unit_test_setup_teardown(report_that_cannot_be_read_is_named, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
