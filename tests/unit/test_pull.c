#include "blocklists/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "blocklists/entries.h"
#include "blocklists/layout.h"
#include "blocklists/manifest.h"
#include "list_folder.h"

#define NAMES 3000
#define SETS_AT (7 * 7) /* in a line of entries */

/* The other's folder is the list folder; ours lies beside it and is made anew for each pull. */
struct pair {
	struct list_folder *other;
	char ours[80], store[128], manifest[128];
	uint8_t *good;
	size_t size;
};

static int setup(void **state)
{
	struct pair *pair = calloc(1, sizeof *pair);
	void *folder;
	char *text = malloc(NAMES * 32), *end = text;
	struct stat stat_;

	if (pair == NULL || text == NULL || list_folder_setup(&folder) != 0)
		return -1;
	pair->other = folder;
	list_folder_source(pair->other, "one", PARSE_DOMAINS, A);
	for (unsigned i = 0; i < NAMES; i++)
		end += sprintf(end, "n%u.of-zone-%u.example\n", i, i % 97);
	list_folder_text(pair->other, "one", text);
	free(text);
	list_folder_update(pair->other);
	snprintf(pair->ours, sizeof pair->ours, "%s/ours", pair->other->path);
	snprintf(pair->store, sizeof pair->store, "%s/gen-000001.mdb", pair->other->lists);
	snprintf(pair->manifest, sizeof pair->manifest, "%s/gen-000001.json", pair->other->lists);
	int fd = open(pair->store, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &stat_) != 0)
		return -1;
	pair->size = (size_t)stat_.st_size;
	pair->good = malloc(pair->size);
	if (pair->good == NULL || read(fd, pair->good, pair->size) != stat_.st_size)
		return -1;
	close(fd);
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;
	void *folder = pair->other;

	free(pair->good);
	free(pair);
	return list_folder_teardown(&folder);
}

/* The other's store becomes these octets, and its manifest says so: an attacker can hash, too. */
static void publish(struct pair *pair, const uint8_t *store, size_t size)
{
	char hash[MANIFEST_HASH_TEXT];
	uint64_t hashed;
	json_t *manifest;
	FILE *file = fopen(pair->store, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(store, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(manifest_file_hash(pair->store, &hashed, hash), 0);
	assert_int_equal(manifest_read(pair->manifest, &manifest), 0);
	json_object_set_new(manifest, "size", json_integer((json_int_t)size));
	json_object_set_new(manifest, "hash", json_string(hash));
	assert_int_equal(manifest_write(pair->manifest, manifest), 0);
	json_decref(manifest);
}

static int pull(struct pair *pair, struct pull_result *result, char why[LISTS_WHY_MAX])
{
	const struct pull_options options = { .dir = pair->ours,
		.from = pair->other->lists,
		.categories = list_folder_categories,
		.category_count = LIST_FOLDER_CATEGORIES,
		.keep_generations = 3,
		.fetch = pair->other->options.fetch };
	char command[256];

	snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", pair->ours, pair->ours);
	assert_int_equal(system(command), 0);
	return pull_run(&options, result, why);
}

/* Every name of the source is in the category, as usherd would see it. */
static void assert_all_listed(const struct pair *pair)
{
	struct list_folder ours = *pair->other;
	char text[64];

	snprintf(ours.lists, sizeof ours.lists, "%s", pair->ours);
	for (unsigned i = 0; i < NAMES; i += 37) {
		snprintf(text, sizeof text, "n%u.of-zone-%u.example", i, i % 97);
		assert_int_equal(list_folder_look_up(&ours, text), BIT(A));
	}
}

static void whole_store_is_published(void **state)
{
	struct pair *pair = *state;
	struct pull_result result;
	char why[LISTS_WHY_MAX];

	publish(pair, pair->good, pair->size);
	assert_int_equal(pull(pair, &result, why), 0);
	assert_true(result.published);
	assert_int_equal(result.names, NAMES);
	assert_all_listed(pair);
}

/* Of a store that was altered and hashed again either nothing is taken, or one that still answers. */
static void altered_store_with_a_right_hash_never_harms(void **state)
{
	struct pair *pair = *state;
	uint8_t *altered = malloc(pair->size);
	uint32_t random = 20261122;
	unsigned refused = 0, tried = 0;
	struct pull_result result;
	char why[LISTS_WHY_MAX];

	assert_non_null(altered);
	for (size_t page = 0; page < pair->size; page += 4096) {
		const size_t places[] = { page + 8, page + 10, page + 12, page + 16, page + 18, page + 4090 };
		for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
			random = random * 1664525 + 1013904223;
			if (random >> 24 > 255 * 80 / (pair->size / 4096 * 6) && page >= 8192)
				continue; /* about eighty places, and all of the head */
			memcpy(altered, pair->good, pair->size);
			altered[places[i]] ^= (uint8_t)(1 << (random >> 8 & 7));
			publish(pair, altered, pair->size);
			tried++;
			if (pull(pair, &result, why) < 0) {
				refused++;
				assert_string_not_equal(why, "");
				assert_int_equal(lists_current_id(pair->ours), 0);
			} else {
				assert_true(result.published);
			}
		}
	}
	free(altered);
	assert_in_range(tried, 40, 200);
	assert_true(refused > 10);
}

static void store_whose_filter_hides_names_is_refused(void **state)
{
	struct pair *pair = *state;
	struct pull_result result;
	char why[LISTS_WHY_MAX];
	uint8_t *altered = malloc(pair->size);
	const uint8_t *filter = memmem(pair->good, pair->size, LAYOUT_FILTER_MAGIC, LAYOUT_FILTER_COUNT);

	assert_non_null(altered);
	assert_non_null(filter);
	memcpy(altered, pair->good, pair->size);
	memset(altered + (filter - pair->good) + LAYOUT_FILTER_HEAD, 0, 64);
	publish(pair, altered, pair->size);
	assert_int_equal(pull(pair, &result, why), -EBADMSG);
	assert_non_null(strstr(why, "not found by a look-up"));
	assert_int_equal(lists_current_id(pair->ours), 0);
	free(altered);
}

/* The first set of the table's first line that is not empty. */
static uint8_t *first_set(uint8_t *store, size_t size)
{
	uint8_t *line = memmem(store, size, LAYOUT_ENTRIES_MAGIC, LAYOUT_ENTRIES_COUNT);

	assert_non_null(line);
	for (line += LAYOUT_ENTRIES_HEAD; line[0] == 0 && line[6] == 0;)
		line += ENTRIES_LINE;
	return line + SETS_AT;
}

static void store_whose_table_says_other_than_its_tree_is_refused(void **state)
{
	struct pair *pair = *state;
	struct pull_result result;
	char why[LISTS_WHY_MAX];
	uint8_t *altered = malloc(pair->size);

	assert_non_null(altered);
	memcpy(altered, pair->good, pair->size);
	first_set(altered, pair->size)[0] ^= 1;
	publish(pair, altered, pair->size);
	assert_int_equal(pull(pair, &result, why), -EBADMSG);
	assert_int_equal(lists_current_id(pair->ours), 0);
	free(altered);
}

static void table_that_asks_the_tree_lists_all_the_same(void **state)
{
	struct pair *pair = *state;
	struct pull_result result;
	char why[LISTS_WHY_MAX];
	uint8_t *altered = malloc(pair->size);

	assert_non_null(altered);
	memcpy(altered, pair->good, pair->size);
	uint8_t *line = memmem(altered, pair->size, LAYOUT_ENTRIES_MAGIC, LAYOUT_ENTRIES_COUNT);
	line += LAYOUT_ENTRIES_HEAD;
	for (uint32_t i = 0; i < entries_lines(NAMES); i++, line += ENTRIES_LINE)
		memset(line + SETS_AT, 0xff, 7 * sizeof(uint16_t));
	publish(pair, altered, pair->size);
	assert_int_equal(pull(pair, &result, why), 0);
	assert_all_listed(pair);
	free(altered);
}

static void store_cut_short_with_a_right_hash_is_refused(void **state)
{
	struct pair *pair = *state;
	struct pull_result result;
	char why[LISTS_WHY_MAX];

	for (size_t size = 4096; size < pair->size; size += pair->size / 5) {
		publish(pair, pair->good, size);
		assert_true(pull(pair, &result, why) < 0);
		assert_string_not_equal(why, "");
		assert_int_equal(lists_current_id(pair->ours), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_store_is_published),
		cmocka_unit_test(altered_store_with_a_right_hash_never_harms),
		cmocka_unit_test(store_whose_filter_hides_names_is_refused),
		cmocka_unit_test(store_whose_table_says_other_than_its_tree_is_refused),
		cmocka_unit_test(table_that_asks_the_tree_lists_all_the_same),
		cmocka_unit_test(store_cut_short_with_a_right_hash_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
