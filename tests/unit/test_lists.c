/* An open generation: look-ups, reasons, and files that are not what they should be. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "blocklists/generations.h"
#include "blocklists/manifest.h"
#include "list_folder.h"

static struct lists *lists_of(const struct list_folder *folder)
{
	struct lists *lists;
	char why[LISTS_WHY_MAX];

	assert_int_equal(
	        lists_open(&lists, folder->lists, NULL, list_folder_categories, LIST_FOLDER_CATEGORIES, why),
	        0);
	return lists;
}

static int look_up(struct lists *lists, const char *text, struct lists_facts *facts)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct name name = list_folder_name(text);
	struct lists_view *view = lists_view_open(lists);

	name_hash_suffixes(&name, lists_seed(lists), hash);
	int ret = lists_lookup(view, &name, hash, facts);
	lists_view_close(view);
	return ret;
}

static void parent_listed_blocks_child_and_no_neighbour(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a.txt", PARSE_DOMAINS, A);
	list_folder_text(folder, "a.txt", "example.com\nwww.example.org\n");
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "x.y.EXAMPLE.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "www.example.org"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "notexample.com"), 0);
	assert_int_equal(list_folder_look_up(folder, "example.org"), 0);
	assert_int_equal(list_folder_look_up(folder, "example.com.net"), 0);
	assert_int_equal(list_folder_look_up(folder, "com"), 0);
	assert_int_equal(list_folder_look_up(folder, "."), 0);
}

/* KiB of the generation's map that are in this process's page tables. */
static long mapped_kib(void)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	char line[512];
	bool ours = false;
	long kib = -1;

	assert_non_null(maps);
	while (kib < 0 && fgets(line, sizeof line, maps) != NULL) {
		ours = ours || strstr(line, "/gen-000001.mdb") != NULL;
		if (ours && sscanf(line, "Rss: %ld kB", &kib) != 1)
			kib = -1;
	}
	fclose(maps);
	return kib;
}

static void look_ups_on_prepared_lists_wait_for_no_page(void **state)
{
	struct list_folder *folder = *state;
	struct lists_facts facts;
	static char text[1 << 20];
	size_t len = 0;

	for (unsigned i = 0; i < 30000; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "name-%u.example.com\n", i);
	list_folder_source(folder, "a.txt", PARSE_DOMAINS, A);
	list_folder_text(folder, "a.txt", text);
	list_folder_update(folder);
	struct lists *lists = lists_of(folder);
	long before = mapped_kib();
	lists_prepare(lists);
	long prepared = mapped_kib();
	assert_true(prepared > before);
	for (unsigned i = 0; i < 30000; i += 100) {
		snprintf(text, sizeof text, "name-%u.example.com", i);
		assert_int_equal(look_up(lists, text, &facts), 1);
	}
	assert_int_equal(mapped_kib(), prepared);
	lists_free(lists);
}

static void categories_of_all_parents_are_joined(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a.txt", PARSE_DOMAINS, A);
	list_folder_source(folder, "b.txt", PARSE_DOMAINS, B);
	list_folder_text(folder, "a.txt", "example.com\n");
	list_folder_text(folder, "b.txt", "www.example.com\n");
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "x.www.example.com"), BIT(A) | BIT(B));
}

static void exact_and_wildcard_entries_apply_as_they_say(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a.txt", PARSE_RPZ, A);
	list_folder_text(folder, "a.txt", "alone.example.com CNAME .\n*.below.example.com CNAME .\n");
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "alone.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "x.alone.example.com"), 0);
	assert_int_equal(list_folder_look_up(folder, "below.example.com"), 0);
	assert_int_equal(list_folder_look_up(folder, "x.y.below.example.com"), BIT(A));
}

static void exception_lifts_its_own_source_alone(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a.txt", PARSE_ADBLOCK, A);
	list_folder_source(folder, "b.txt", PARSE_DOMAINS, B);
	list_folder_text(folder, "a.txt", "||example.com^\n@@||good.example.com^\n||bad.good.example.com^\n");
	list_folder_text(folder, "b.txt", "good.example.com\n");
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "www.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "good.example.com"), BIT(B));
	assert_int_equal(list_folder_look_up(folder, "x.good.example.com"), BIT(B));
	assert_int_equal(list_folder_look_up(folder, "bad.good.example.com"), BIT(B));
}

static void bits_are_in_the_callers_order_and_unknown_categories_ignored(void **state)
{
	static const char *const mine[] = { "new", "b" };
	struct list_folder *folder = *state;
	struct lists_facts facts;
	struct lists *lists;
	char why[LISTS_WHY_MAX];

	list_folder_source(folder, "a.txt", PARSE_DOMAINS, A);
	list_folder_source(folder, "b.txt", PARSE_DOMAINS, B);
	list_folder_text(folder, "a.txt", "one.example.com\nboth.example.com\n");
	list_folder_text(folder, "b.txt", "both.example.com\n");
	list_folder_update(folder);
	assert_int_equal(lists_open(&lists, folder->lists, NULL, mine, 2, why), 0);
	assert_int_equal(look_up(lists, "both.example.com", &facts), 1);
	assert_int_equal(facts.categories, BIT(1));
	assert_int_equal(look_up(lists, "one.example.com", &facts), 0);
	assert_int_equal(facts.categories, 0);
	assert_int_equal(lists_info(lists)->category_names[0], 0);
	assert_int_equal(lists_info(lists)->category_names[1], 1);
	lists_free(lists);
}

static void longest_entry_of_the_category_is_the_reason(void **state)
{
	struct list_folder *folder = *state;
	const struct lists_source *source;
	struct lists_facts facts;
	uint8_t labels;

	list_folder_source(folder, "a.txt", PARSE_ADBLOCK, A);
	list_folder_source(folder, "b.txt", PARSE_DOMAINS, A);
	list_folder_source(folder, "c.txt", PARSE_DOMAINS, C);
	list_folder_text(folder, "a.txt", "||example.com^\n||x.example.org^\n@@||www.x.example.org^\n");
	list_folder_text(folder, "b.txt", "www.example.com\nexample.org\n");
	list_folder_text(folder, "c.txt", "example.com\n");
	list_folder_update(folder);
	struct lists *lists = lists_of(folder);
	assert_int_equal(look_up(lists, "a.www.example.com", &facts), 1);
	assert_true(lists_explain(lists, &facts, A, &source, &labels));
	assert_string_equal(source->name, "b.txt");
	assert_int_equal(labels, 3);
	assert_true(lists_explain(lists, &facts, C, &source, &labels));
	assert_string_equal(source->name, "c.txt");
	assert_int_equal(labels, 2);
	assert_false(lists_explain(lists, &facts, B, &source, &labels));
	assert_false(lists_explain(lists, &facts, 64, &source, &labels));
	/* The source that takes it back is no reason, though its entry is longer. */
	assert_int_equal(look_up(lists, "www.x.example.org", &facts), 1);
	assert_true(lists_explain(lists, &facts, A, &source, &labels));
	assert_string_equal(source->name, "b.txt");
	lists_free(lists);
}

static void more_parents_than_are_kept_still_count(void **state)
{
	struct list_folder *folder = *state;
	const struct lists_source *source;
	struct lists_facts facts;
	uint8_t labels;

	list_folder_source(folder, "a.txt", PARSE_RPZ, A);
	list_folder_source(folder, "b.txt", PARSE_DOMAINS, B);
	list_folder_text(folder, "a.txt", "*.e.com CNAME .\n");
	list_folder_source(folder, "c.txt", PARSE_ADBLOCK, C);
	list_folder_text(folder, "c.txt",
	        "||1.e.com^\n@@||2.1.e.com^\n@@||3.2.1.e.com^\n@@||4.3.2.1.e.com^\n||5.4.3.2.1.e.com^\n");
	list_folder_text(folder, "b.txt", "9.8.7.6.5.4.3.2.1.e.com\n6.5.4.3.2.1.e.com\n");
	list_folder_update(folder);
	struct lists *lists = lists_of(folder);
	assert_int_equal(look_up(lists, "9.8.7.6.5.4.3.2.1.e.com", &facts), 1);
	assert_int_equal(facts.categories, BIT(A) | BIT(B));
	assert_true(facts.match_count <= LISTS_MATCHES_MAX);
	assert_true(lists_explain(lists, &facts, B, &source, &labels));
	lists_free(lists);
}

static void name_of_127_labels_is_looked_up(void **state)
{
	struct list_folder *folder = *state;
	char text[256] = "";

	list_folder_source(folder, "a.txt", PARSE_DOMAINS, A);
	list_folder_text(folder, "a.txt", "example.com\nb.c.d.e.f.g.example.com\n");
	list_folder_update(folder);
	for (unsigned i = 0; i < 120; i++)
		strcat(text, "a.");
	strcat(text, "example.com");
	assert_int_equal(list_folder_look_up(folder, text), BIT(A));
}

struct found {
	char text[512];
};

static void found(void *arg, const struct lists_entry *entry)
{
	struct found *all = arg;
	char name[NAME_TEXT_MAX];
	size_t len = strlen(all->text);

	name_to_text(&entry->name, name);
	snprintf(all->text + len, sizeof all->text - len, "%s%s%s:%s:%u ", entry->exception ? "!" : "",
	        entry->exact ? "=" : "", name, entry->source->name, (unsigned)entry->categories);
}

static void find_tells_every_entry_and_its_kind(void **state)
{
	struct list_folder *folder = *state;
	struct found all = { "" };

	list_folder_source(folder, "a.txt", PARSE_ADBLOCK, A);
	list_folder_source(folder, "b.txt", PARSE_RPZ, B);
	list_folder_text(folder, "a.txt", "||example.com^\n@@||www.example.com^\n");
	list_folder_text(folder, "b.txt", "www.example.com CNAME .\nexample.com CNAME .\n");
	list_folder_update(folder);
	struct lists *lists = lists_of(folder);
	struct lists_view *view = lists_view_open(lists);
	struct name name = list_folder_name("www.example.com");
	assert_int_equal(lists_find(view, &name, found, &all), 0);
	assert_string_equal(
	        all.text, "example.com:a.txt:1 !www.example.com:a.txt:1 =www.example.com:b.txt:2 ");
	lists_view_close(view);
	lists_free(lists);
}

static void walk_gives_all_names_in_order(void **state)
{
	struct list_folder *folder = *state;
	struct lists_listed listed;
	char text[NAME_TEXT_MAX], all[256] = "";

	list_folder_source(folder, "a.txt", PARSE_DOMAINS, A);
	list_folder_text(folder, "a.txt", "b.example.com\na.example.com\nexample.org\n");
	list_folder_update(folder);
	struct lists *lists = lists_of(folder);
	struct lists_view *view = lists_view_open(lists);
	struct lists_walk *walk = lists_walk_open(view);
	while (lists_walk_next(walk, &listed) > 0) {
		name_to_text(&listed.name, text);
		strcat(strcat(all, text), " ");
		assert_int_equal(listed.at, BIT(A));
	}
	assert_string_equal(all, "a.example.com b.example.com example.org ");
	lists_walk_close(walk);
	lists_view_close(view);
	lists_free(lists);
}

static void info_says_what_the_manifest_says(void **state)
{
	struct list_folder *folder = *state;

	struct source *source = list_folder_source(folder, "a.txt", PARSE_DOMAINS, A);
	source->licence = "CC0";
	list_folder_text(folder, "a.txt", "example.com\nexample.org\n");
	list_folder_update(folder);
	struct lists *lists = lists_of(folder);
	const struct lists_info *info = lists_info(lists);
	assert_int_equal(info->id, 1);
	assert_int_equal(info->names, 2);
	assert_int_equal(info->category_names[A], 2);
	assert_int_equal(strlen(info->hash), 32);
	assert_false(info->starter);
	assert_int_equal(info->source_count, 1);
	assert_string_equal(info->sources[0].name, "a.txt");
	assert_string_equal(info->sources[0].licence, "CC0");
	assert_int_equal(info->sources[0].names, 2);
	assert_true(info->published_at > 0 && info->sources[0].fetched_at > 0);
	assert_int_equal(lists_current_id(folder->lists), 1);
	lists_free(lists);
}

static void nothing_published_is_not_an_error_of_a_file(void **state)
{
	struct list_folder *folder = *state;
	struct lists *lists;
	char why[LISTS_WHY_MAX];

	assert_int_equal(lists_current_id(folder->lists), 0);
	assert_int_equal(lists_open(&lists, folder->lists, NULL, list_folder_categories, 1, why), -ENOENT);
	assert_int_equal(
	        lists_open_newest_good(&lists, folder->lists, list_folder_categories, 1, why), -ENOENT);
	assert_true(strlen(why) > 0);
}

/* A generation of some names; its file's content is *content. */
static long generation_content(struct list_folder *folder, char path[PATH_MAX], uint8_t **content)
{
	char text[40 * 200] = "";

	list_folder_source(folder, "a.txt", PARSE_DOMAINS, A);
	for (unsigned i = 0; i < 200; i++)
		snprintf(text + strlen(text), 40, "name%u.example.com\n", i);
	list_folder_text(folder, "a.txt", text);
	list_folder_update(folder);
	generations_path(path, PATH_MAX, folder->lists, 1, "mdb");
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	long size = ftell(file);
	rewind(file);
	*content = malloc((size_t)size);
	assert_int_equal(fread(*content, 1, (size_t)size, file), size);
	fclose(file);
	return size;
}

static void put(const char *path, const uint8_t *content, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, len, file), len);
	fclose(file);
}

static void assert_refused(const struct list_folder *folder, const char *path)
{
	struct lists *lists;
	char why[LISTS_WHY_MAX];

	assert_int_equal(
	        lists_open(&lists, folder->lists, NULL, list_folder_categories, LIST_FOLDER_CATEGORIES, why),
	        -EBADMSG);
	assert_non_null(strstr(why, path));
}

static void flipped_bit_is_refused_wherever_it_is(void **state)
{
	struct list_folder *folder = *state;
	char path[PATH_MAX];
	uint8_t *content;

	long size = generation_content(folder, path, &content);
	for (long at = 0; at < size; at += 61) {
		content[at] ^= (uint8_t)(1 << at % 8);
		put(path, content, (size_t)size);
		assert_refused(folder, path);
		content[at] ^= (uint8_t)(1 << at % 8);
	}
	put(path, content, (size_t)size);
	assert_int_equal(list_folder_look_up(folder, "name7.example.com"), BIT(A));
	free(content);
}

static void truncated_file_is_refused(void **state)
{
	struct list_folder *folder = *state;
	char path[PATH_MAX];
	uint8_t *content;

	long size = generation_content(folder, path, &content);
	for (long len = 0; len < size; len += 511) {
		put(path, content, (size_t)len);
		assert_refused(folder, path);
	}
	unlink(path);
	assert_refused(folder, path);
	free(content);
}

static void lost_or_damaged_manifest_is_refused(void **state)
{
	struct list_folder *folder = *state;
	char path[PATH_MAX], manifest[PATH_MAX];
	uint8_t *content;

	generation_content(folder, path, &content);
	generations_path(manifest, sizeof manifest, folder->lists, 1, "json");
	put(manifest, (const uint8_t *)"{\"size\": 1}", 11);
	assert_refused(folder, path);
	put(manifest, (const uint8_t *)"[]", 2);
	assert_refused(folder, manifest);
	unlink(manifest);
	assert_refused(folder, manifest);
	free(content);
}

static void generation_of_another_version_is_named_and_made_anew(void **state)
{
	struct list_folder *folder = *state;
	char path[PATH_MAX], manifest[PATH_MAX], why[LISTS_WHY_MAX];
	struct lists *lists;
	uint8_t *content;
	json_t *json;

	generation_content(folder, path, &content);
	free(content);
	generations_path(manifest, sizeof manifest, folder->lists, 1, "json");
	assert_int_equal(manifest_read(manifest, &json), 0);
	json_object_set_new(json, "layout", json_integer(2));
	assert_int_equal(manifest_write(manifest, json), 0);
	json_decref(json);
	assert_int_equal(
	        lists_open(&lists, folder->lists, NULL, list_folder_categories, LIST_FOLDER_CATEGORIES, why),
	        -EBADMSG);
	assert_non_null(strstr(why, "older version of usher"));
	assert_non_null(strstr(why, "usher lists update"));
	list_folder_update(folder); /* nothing else is new */
	assert_int_equal(lists_current_id(folder->lists), 2);
	assert_int_equal(list_folder_look_up(folder, "name7.example.com"), BIT(A));
}

static void older_generation_serves_where_the_current_one_is_damaged(void **state)
{
	struct list_folder *folder = *state;
	struct lists *lists;
	char path[PATH_MAX], why[LISTS_WHY_MAX];
	uint8_t *content;

	generation_content(folder, path, &content);
	free(content);
	folder->options.force = true;
	list_folder_update(folder);
	generations_path(path, sizeof path, folder->lists, 2, "mdb");
	put(path, (const uint8_t *)"damaged", 7);
	assert_int_equal(lists_open_newest_good(
	                         &lists, folder->lists, list_folder_categories, LIST_FOLDER_CATEGORIES, why),
	        0);
	assert_int_equal(lists_info(lists)->id, 1);
	assert_non_null(strstr(why, path));
	lists_free(lists);
	/* without the link as well */
	snprintf(path, sizeof path, "%s/current", folder->lists);
	unlink(path);
	assert_int_equal(lists_open_newest_good(
	                         &lists, folder->lists, list_folder_categories, LIST_FOLDER_CATEGORIES, why),
	        0);
	assert_int_equal(lists_info(lists)->id, 1);
	lists_free(lists);
}

static void *look_up_many(void *arg)
{
	struct lists *lists = arg;
	struct lists_facts facts;
	char text[64];
	intptr_t wrong = 0;

	for (unsigned i = 0; i < 400; i++) {
		snprintf(text, sizeof text, "x.name%u.example.com", i);
		wrong += look_up(lists, text, &facts) != (i < 200);
	}
	return (void *)wrong;
}

static void threads_look_up_at_once_and_the_last_reference_closes(void **state)
{
	struct list_folder *folder = *state;
	char path[PATH_MAX];
	uint8_t *content;
	pthread_t threads[4];
	void *wrong;

	generation_content(folder, path, &content);
	free(content);
	struct lists *lists = lists_of(folder);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_up_many, lists), 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	struct lists_view *view = lists_view_open(lists);
	lists_free(lists);
	assert_int_equal(lists_info(lists)->id, 1); /* the view holds it */
	lists_view_close(view);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, list_folder_setup, list_folder_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(parent_listed_blocks_child_and_no_neighbour),
		TEST(look_ups_on_prepared_lists_wait_for_no_page),
		TEST(categories_of_all_parents_are_joined),
		TEST(exact_and_wildcard_entries_apply_as_they_say),
		TEST(exception_lifts_its_own_source_alone),
		TEST(bits_are_in_the_callers_order_and_unknown_categories_ignored),
		TEST(longest_entry_of_the_category_is_the_reason),
		TEST(more_parents_than_are_kept_still_count),
		TEST(name_of_127_labels_is_looked_up),
		TEST(find_tells_every_entry_and_its_kind),
		TEST(walk_gives_all_names_in_order),
		TEST(info_says_what_the_manifest_says),
		TEST(nothing_published_is_not_an_error_of_a_file),
		TEST(flipped_bit_is_refused_wherever_it_is),
		TEST(truncated_file_is_refused),
		TEST(lost_or_damaged_manifest_is_refused),
		TEST(generation_of_another_version_is_named_and_made_anew),
		TEST(older_generation_serves_where_the_current_one_is_damaged),
		TEST(threads_look_up_at_once_and_the_last_reference_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
