#include "list_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "blocklists/source_folder.h"

const char *const list_folder_categories[] = { "a", "b", "c", "sealed" };

static void reported(void *arg, const struct update_report *report)
{
	struct list_folder *folder = arg;

	for (size_t i = 0; i < folder->options.source_count; i++) {
		if (strcmp(folder->sources[i].name, report->source) != 0)
			continue;
		folder->state[i] = report->state;
		snprintf(folder->source_why[i], LISTS_WHY_MAX, "%s", report->why);
	}
}

int list_folder_setup(void **state)
{
	struct list_folder *folder = calloc(1, sizeof *folder);

	if (folder == NULL)
		return -1;
	snprintf(folder->path, sizeof folder->path, "/tmp/usher-test-XXXXXX");
	if (mkdtemp(folder->path) == NULL)
		return -1;
	snprintf(folder->lists, sizeof folder->lists, "%s/lists", folder->path);
	folder->options = (struct update_options){ .dir = folder->lists,
		.categories = list_folder_categories,
		.category_count = LIST_FOLDER_CATEGORIES,
		.sources = folder->sources,
		.sealed = BIT(SEALED),
		.keep_generations = 3,
		.max_shrink_percent = 30,
		.memory = 1 << 20,
		.report = reported,
		.arg = folder };
	*state = folder;
	return 0;
}

int list_folder_teardown(void **state)
{
	struct list_folder *folder = *state;
	char command[100];

	snprintf(command, sizeof command, "rm -rf '%s'", folder->path);
	int ret = system(command);
	free(folder);
	return ret;
}

struct source *list_folder_source(
        struct list_folder *folder, const char *name, enum parse_format format, int category)
{
	size_t i = folder->options.source_count++;
	char url[sizeof folder->urls[i]];

	assert_true(i < LIST_FOLDER_SOURCES);
	snprintf(folder->names[i], sizeof folder->names[i], "%s", name);
	snprintf(url, sizeof url, "file://%s/%s", folder->path, name);
	memcpy(folder->urls[i], url, sizeof url);
	folder->sources[i] = (struct source){ .name = folder->names[i],
		.url = folder->urls[i],
		.licence = "",
		.sha256 = "",
		.format = format,
		.category = category };
	return &folder->sources[i];
}

void list_folder_write(struct list_folder *folder, const char *name, const void *content, size_t len)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", folder->path, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

void list_folder_text(struct list_folder *folder, const char *name, const char *text)
{
	list_folder_write(folder, name, text, strlen(text));
}

void list_folder_update(struct list_folder *folder)
{
	int ret = update_run(&folder->options, &folder->result, folder->why);

	assert_string_equal(folder->why, "");
	assert_int_equal(ret, 0);
}

struct name list_folder_name(const char *text)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

uint64_t list_folder_look_up(const struct list_folder *folder, const char *text)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct name name = list_folder_name(text);
	struct lists_facts facts;
	struct lists *lists;
	char why[LISTS_WHY_MAX];

	int ret =
	        lists_open(&lists, folder->lists, NULL, list_folder_categories, LIST_FOLDER_CATEGORIES, why);
	assert_string_equal(why, "");
	assert_int_equal(ret, 0);
	struct lists_view *view = lists_view_open(lists);
	assert_non_null(view);
	name_hash_suffixes(&name, lists_seed(lists), hash);
	assert_true(lists_lookup(view, &name, hash, &facts) >= 0);
	lists_view_close(view);
	lists_free(lists);
	return facts.categories;
}

int64_t list_folder_count(
        const struct list_folder *folder, const char *source, const char *key, const char *sub)
{
	json_t *account = source_folder_account(folder->lists, source);

	assert_non_null(account);
	const json_t *value = json_object_get(account, key);
	int64_t count = json_integer_value(sub != NULL ? json_object_get(value, sub) : value);
	json_decref(account);
	return count;
}
