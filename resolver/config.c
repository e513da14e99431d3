/*
 * Reading: the tree of the files, completed by the built-in ones, is walked along the option table into a
 * struct config. All problems of one walk are told together; what one key says of another is checked
 * (config_check.c) once each is right by itself.
 */
#include "config.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "builtin.h"
#include "config_option.h"
#include "config_tree.h"

/* What config_read() allocates: the configuration is its first member. */
struct config_whole {
	struct config config;
	_Atomic unsigned references;
	struct config_arena arena;
};

/* A top-level key that no file gives is taken from here. */
static const char *const builtin_names[] = { "categories.yaml", "safe-search.yaml", "canaries.yaml",
	"protected-names.yaml", "background.yaml", "well-known.yaml" };
#define PROTECTED_NAMES "protected-names"

/* Profiles, where no file has any. Unknown categories in it are passed over: the school may have its own. */
static const char builtin_profiles[] = "profiles:\n"
                                       "  - name: pupils\n"
                                       "    block: [adult, gambling, drugs, hate, self-harm, violence, "
                                       "piracy, malware, phishing, bypass, social, games, unsafe-search]\n";

/* ---- the built-in files ---- */

static bool has_scalar(const struct config_node *list, const char *text)
{
	for (const struct config_node *item = list->first; item != NULL; item = item->next)
		if (item->type == NODE_SCALAR && strcmp(item->text, text) == 0)
			return true;
	return false;
}

/* Moves the items that keep() wants; the others are dropped. */
static void move_items(struct config_node *into, struct config_node *from,
        bool (*keep)(const struct config_tree *tree, const struct config_node *into,
                const struct config_node *item),
        const struct config_tree *tree)
{
	struct config_node *next;
	struct config_node *item = from->first;

	from->first = from->last = NULL;
	from->count = 0;
	for (; item != NULL; item = next) {
		next = item->next;
		if (keep(tree, into, item))
			config_node_append(into, item);
	}
}

static bool is_new_name(
        const struct config_tree *tree, const struct config_node *into, const struct config_node *item)
{
	return !has_scalar(into, item->text);
}

static bool is_known_category(
        const struct config_tree *tree, const struct config_node *into, const struct config_node *item)
{
	const struct config_node *categories = config_node_find(tree->root, "categories");

	if (categories == NULL)
		return false;
	for (const struct config_node *row = categories->first; row != NULL; row = row->next) {
		const struct config_node *name = config_node_find(row, "name");
		if (name != NULL && name->type == NODE_SCALAR && strcmp(name->text, item->text) == 0)
			return true;
	}
	return false;
}

/* Takes the children of a built-in root whose keys no file gives. */
static void complete_from(struct config_tree *tree, struct config_node *builtin)
{
	struct config_node *next;

	for (struct config_node *child = builtin->first; child != NULL; child = next) {
		next = child->next;
		struct config_node *given = config_node_find(tree->root, child->key);
		if (given == NULL)
			config_node_append(tree->root, child);
		else if (config_node_is_null(given))
			config_node_replace(given, child);
		else if (strcmp(child->key, PROTECTED_NAMES) == 0 && given->type == NODE_LIST)
			move_items(given, child, is_new_name, tree);
	}
}

/* The built-in profile without what the file's own categories lack: that is not blocked now. */
static void warn_of_dropped(struct config_reader *reader, const struct config_node *block)
{
	char missing[CONFIG_MISSING_MAX] = "";

	for (const struct config_node *item = block->first; item != NULL; item = item->next)
		if (!is_known_category(reader->tree, block, item))
			config_missing_add(missing, item->text);
	if (missing[0] == '\0')
		return;
	size_t mark = config_path_push(reader, "categories");
	config_warn(reader, config_node_find(reader->tree->root, "categories"),
	        "the built-in profile does not block %s: there is no such category", missing);
	config_path_pop(reader, mark);
}

static void complete_profiles(struct config_reader *reader)
{
	struct config_tree *tree = reader->tree;
	struct config_node *given = config_node_find(tree->root, "profiles");
	struct config_node *root = NULL;

	if (given == NULL || given->count == 0)
		root = config_tree_read(
		        tree, builtin_profiles, sizeof builtin_profiles - 1, "built-in profile");
	if (root == NULL)
		return;
	struct config_node *block = config_node_find(root->first->first, "block"), all = *block;
	warn_of_dropped(reader, block);
	block->first = block->last = NULL;
	block->count = 0;
	move_items(block, &all, is_known_category, tree);
	if (given == NULL)
		config_node_append(tree->root, root->first);
	else if (given->type == NODE_LIST || config_node_is_null(given))
		config_node_replace(given, root->first);
}

static void complete(struct config_reader *reader)
{
	struct config_tree *tree = reader->tree;

	for (size_t i = 0; i < sizeof builtin_names / sizeof *builtin_names; i++) {
		const struct builtin_file *file = builtin_file(builtin_names[i]);
		struct config_node *root =
		        file == NULL ? NULL : config_tree_read(tree, file->text, file->len, file->name);
		if (root == NULL)
			continue;
		config_check_sealed(reader, config_node_find(root, "categories"));
		complete_from(tree, root);
	}
	complete_profiles(reader);
}

/* ---- the whole ---- */

static int config_build(
        struct config_tree *tree, struct config_whole *whole, const char *file, bool from_file)
{
	struct config_reader reader = {
		.config = &whole->config, .arena = &whole->arena, .tree = tree, .from_file = from_file
	};
	struct config *config = &whole->config;

	config->file = config_arena_text(&whole->arena, file, strlen(file));
	if (config->file == NULL)
		return -ENOMEM;
	config->user_given = config_node_find(tree->root, "user") != NULL;
	config->recursor_user_given = config_node_find(tree->root, "recursor-user") != NULL;
	complete(&reader);
	config_read_fields(&reader, config_options, tree->root, config);
	if (tree->problems.count == 0 && !tree->no_memory)
		config_check(&reader);
	if (tree->problems.count == 0 && !tree->no_memory)
		config_read_holidays(&reader);
	if (tree->no_memory)
		return -ENOMEM;
	return tree->problems.count > 0 ? -EINVAL : 0;
}

/* What a file with mistakes still tells. False if that is not enough. */
static bool keep_damaged(struct config *config)
{
	config->profile_count = 0;
	config->category_count = 0;
	return config->run_dir != NULL && config->state_dir != NULL && config->user != NULL;
}

/* text NULL: from the file. damaged: *out is also given with -EINVAL, if it can be. */
static int config_make(struct config **out, const char *text, size_t len, const char *file, bool damaged,
        char why[CONFIG_WHY_MAX])
{
	struct config_whole *whole = calloc(1, sizeof *whole);
	struct config_tree tree;

	*out = NULL;
	config_tree_init(&tree, why, CONFIG_WHY_MAX);
	if (whole == NULL)
		return -ENOMEM;
	whole->references = 1;
	int ret = text == NULL ? config_tree_load(&tree, file) : config_tree_parse(&tree, text, len, file);
	if (tree.root != NULL && ret != -ENOMEM) {
		int built = config_build(&tree, whole, file, text == NULL);
		ret = ret < 0 ? ret : built;
	}
	config_tree_clear(&tree);
	if (ret == -ENOMEM)
		snprintf(why, CONFIG_WHY_MAX, "%s: out of memory", file);
	if (ret < 0 && !(damaged && ret == -EINVAL && keep_damaged(&whole->config))) {
		config_free(&whole->config);
		return ret;
	}
	*out = &whole->config;
	return ret;
}

int config_read(struct config **out, const char *file, char why[CONFIG_WHY_MAX])
{
	return config_make(out, NULL, 0, file, false, why);
}

int config_read_damaged(struct config **out, const char *file, char why[CONFIG_WHY_MAX])
{
	char ignored[CONFIG_WHY_MAX];
	int ret = config_make(out, NULL, 0, file, true, why);

	if (ret == -EINVAL && *out == NULL && config_make(out, "", 0, file, false, ignored) == 0)
		keep_damaged(*out);
	return ret;
}

int config_parse(
        struct config **out, const char *text, size_t len, const char *name, char why[CONFIG_WHY_MAX])
{
	return config_make(out, text, len, name, false, why);
}

struct config *config_ref(struct config *config)
{
	atomic_fetch_add_explicit(&((struct config_whole *)config)->references, 1, memory_order_relaxed);
	return config;
}

void config_free(struct config *config)
{
	struct config_whole *whole = (struct config_whole *)config;

	if (whole == NULL || atomic_fetch_sub_explicit(&whole->references, 1, memory_order_acq_rel) > 1)
		return;
	config_arena_free(&whole->arena);
	free(whole);
}

int config_category(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->category_count; i++)
		if (config->categories[i].name != NULL && strcmp(config->categories[i].name, name) == 0)
			return (int)i;
	return -1;
}

int config_profile(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->profile_count; i++)
		if (config->profiles[i].name != NULL && strcmp(config->profiles[i].name, name) == 0)
			return (int)i;
	return -1;
}

bool config_knows_devices(const struct config *config)
{
	bool knows = config->lease_count > 0;

	for (size_t i = 0; i < config->profile_count; i++)
		knows |= config->profiles[i].device_count > 0;
	return knows;
}

const char *config_severity_text(enum config_severity severity)
{
	static const char *const texts[] = { "advisory", "caution", "danger" };
	return texts[severity];
}
