/* A school's folder of lists for tests: sources are files in it, categories are a, b, c and sealed. */
#ifndef USHER_TEST_LIST_FOLDER_H
#define USHER_TEST_LIST_FOLDER_H

#include <limits.h>

#include "blocklists/update.h"

#define LIST_FOLDER_SOURCES 4

enum { A, B, C, SEALED, LIST_FOLDER_CATEGORIES };
#define BIT(category) (UINT64_C(1) << (category))

struct list_folder {
	char path[64], lists[80];
	struct source sources[LIST_FOLDER_SOURCES];
	char names[LIST_FOLDER_SOURCES][16], urls[LIST_FOLDER_SOURCES][128];
	struct update_options options;
	struct update_result result;
	char why[LISTS_WHY_MAX];
	/* what was reported of each source last */
	enum update_state state[LIST_FOLDER_SOURCES];
	char source_why[LIST_FOLDER_SOURCES][LISTS_WHY_MAX];
};

extern const char *const list_folder_categories[LIST_FOLDER_CATEGORIES];

/* cmocka's setup and teardown: *state is the folder. */
int list_folder_setup(void **state);
int list_folder_teardown(void **state);

/* A source that is the file NAME in the folder. */
struct source *list_folder_source(
        struct list_folder *folder, const char *name, enum parse_format format, int category);

void list_folder_write(struct list_folder *folder, const char *name, const void *content, size_t len);
void list_folder_text(struct list_folder *folder, const char *name, const char *text);

/* Runs an update, which must not fail as a whole. */
void list_folder_update(struct list_folder *folder);

/* Categories of a name in the current generation. */
uint64_t list_folder_look_up(const struct list_folder *folder, const char *name);

/* The account of a source: a member of good.json or, with sub, of an object in it. */
int64_t list_folder_count(
        const struct list_folder *folder, const char *source, const char *key, const char *sub);

struct name list_folder_name(const char *text);

#endif
