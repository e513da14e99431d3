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

#define WARNINGS_MAX 100 /* more say no more */

/* What config_read() allocates: the configuration is its first member. */
struct config_whole {
	struct config config;
	_Atomic unsigned references;
	struct config_arena arena;
};

/* A top-level key that no file gives is taken from here. */
static const char *const builtin_names[] = { "categories.yaml", "safe-search.yaml", "canaries.yaml",
	"protected-names.yaml" };
#define PROTECTED_NAMES "protected-names"

/* Profiles, where no file has any. Unknown categories in it are passed over: the school may have its own. */
static const char builtin_profiles[] = "profiles:\n"
                                       "  - name: pupils\n"
                                       "    block: [adult, gambling, drugs, hate, self-harm, violence, "
                                       "piracy, malware, phishing, bypass, social, games, unsafe-search]\n";

void *config_reader_alloc(struct config_reader *reader, size_t size)
{
	void *piece = config_arena_alloc(reader->arena, size);

	if (piece == NULL)
		reader->tree->no_memory = true;
	return piece;
}

/* ---- where we are, and what is wrong there ---- */

size_t config_path_push(struct config_reader *reader, const char *key)
{
	size_t mark = reader->path_len, room = sizeof reader->path - mark;
	char found[64];

	config_text_found(key, strlen(key), found, sizeof found);
	int len = snprintf(reader->path + mark, room, "%s%s", mark > 0 ? "." : "", found);
	reader->path_len += (size_t)len < room ? (size_t)len : room - 1;
	return mark;
}

size_t config_path_index(struct config_reader *reader, size_t index)
{
	size_t mark = reader->path_len, room = sizeof reader->path - mark;
	int len = snprintf(reader->path + mark, room, "[%zu]", index);

	reader->path_len += (size_t)len < room ? (size_t)len : room - 1;
	return mark;
}

void config_path_pop(struct config_reader *reader, size_t mark)
{
	reader->path_len = mark;
	reader->path[mark] = '\0';
}

void config_wrong(struct config_reader *reader, const struct config_node *node, const char *format, ...)
{
	char expected[600], found[CONFIG_FOUND_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(expected, sizeof expected, format, args);
	va_end(args);
	/* Line 0: a default that does not fit what the file says, which the file does not show. */
	config_problem(&reader->tree->problems, node->file, node->line, "%s: found %s, expected %s",
	        reader->path, node->line == 0 ? "nothing" : config_node_found(node, found), expected);
}

void config_warn(struct config_reader *reader, const struct config_node *node, const char *format, ...)
{
	struct config *config = reader->config;
	char text[800];
	va_list args;
	int at = node == NULL || node->line == 0 ? snprintf(text, sizeof text, "%.300s: %s%s", config->file,
	                                                   reader->path, reader->path_len > 0 ? ": " : "")
	                                         : snprintf(text, sizeof text, "%.300s:%u: %s: ", node->file,
	                                                   node->line, reader->path);

	va_start(args, format);
	vsnprintf(text + at, sizeof text - (size_t)at, format, args);
	va_end(args);
	if (config->warnings == NULL)
		config->warnings = config_reader_alloc(reader, WARNINGS_MAX * sizeof *config->warnings);
	const char *copy = config_arena_text(reader->arena, text, strlen(text));
	if (config->warnings != NULL && copy != NULL && config->warning_count < WARNINGS_MAX)
		config->warnings[config->warning_count++] = copy;
}

/* Levenshtein's distance, for words that people type. */
static unsigned word_distance(const char *a, const char *b)
{
	unsigned row[65];
	size_t b_len = strlen(b);

	if (strlen(a) > 64 || b_len > 64)
		return 64;
	for (unsigned k = 0; k <= b_len; k++)
		row[k] = k;
	for (unsigned i = 0; a[i] != '\0'; i++) {
		unsigned diagonal = row[0];
		row[0] = i + 1;
		for (unsigned k = 1; k <= b_len; k++) {
			unsigned change = diagonal + (a[i] != b[k - 1]);
			diagonal = row[k];
			unsigned one = (row[k] < row[k - 1] ? row[k] : row[k - 1]) + 1;
			row[k] = change < one ? change : one;
		}
	}
	return row[b_len];
}

void config_nearest_try(struct config_nearest *nearest, const char *candidate)
{
	unsigned distance = word_distance(nearest->word, candidate);
	size_t len = strlen(candidate);

	if (distance > (len < 4          ? 1
	                       : len < 8 ? 2
	                                 : 3) ||
	        (nearest->best != NULL && distance >= nearest->distance))
		return;
	nearest->best = candidate;
	nearest->distance = distance;
}

/* ---- the walk ---- */

static void read_option(struct config_reader *reader, const struct config_option *option,
        const struct config_node *node, void *base);

/* A key that the table does not have. */
static void unknown_key(
        struct config_reader *reader, const struct config_option *options, const struct config_node *node)
{
	struct config_nearest nearest = { .word = node->key };
	char found[CONFIG_FOUND_MAX], keys[400];
	size_t len = 0;
	const char *path = reader->path_len > 0 ? reader->path : "top level";

	keys[0] = '\0';
	for (; options->key != NULL; options++) {
		if (options->key[0] == KEY_ITSELF[0] || options->key[0] == VALUE_ITSELF[0])
			continue;
		config_nearest_try(&nearest, options->key);
		if (len < sizeof keys)
			len += (size_t)snprintf(
			        keys + len, sizeof keys - len, "%s%s", len > 0 ? ", " : "", options->key);
	}
	config_text_found(node->key, strlen(node->key), found, sizeof found);
	if (nearest.best != NULL)
		config_problem(&reader->tree->problems, node->file, node->line,
		        "%s: found the unknown key '%s', expected '%s'?", path, found, nearest.best);
	else
		config_problem(&reader->tree->problems, node->file, node->line,
		        "%s: found the unknown key '%s', expected one of %s", path, found, keys);
}

static const struct config_option *find_option(const struct config_option *options, const char *key)
{
	for (; options->key != NULL; options++)
		if (strcmp(options->key, key) == 0 && options->key[0] != KEY_ITSELF[0] &&
		        options->key[0] != VALUE_ITSELF[0])
			return options;
	return NULL;
}

static void read_fallback(struct config_reader *reader, const struct config_option *option, void *base)
{
	const char *text = option->fallback;
	struct config_node scalar = { .type = NODE_SCALAR, .file = reader->config->file, .text = text };

	if (option->shape == SHAPE_SECTION || text == NULL) {
		if (option->shape == SHAPE_SECTION)
			read_option(reader, option, NULL, base);
		return;
	}
	if (option->shape == SHAPE_ONE) {
		scalar.len = strlen(text);
		read_option(reader, option, &scalar, base);
		return;
	}
	char key[64];
	int len = snprintf(key, sizeof key, "%s: ", option->key);
	char *yaml = config_reader_alloc(reader, (size_t)len + strlen(text) + 1);
	if (yaml == NULL)
		return;
	memcpy(yaml, key, (size_t)len);
	memcpy(yaml + len, text, strlen(text));
	const struct config_node *root =
	        config_tree_read(reader->tree, yaml, strlen(yaml), reader->config->file);
	if (root != NULL)
		read_option(reader, option, root->first, base);
}

/* Set to something else than nothing or the default. */
static bool says_something(const struct config_option *option, const struct config_node *node)
{
	if (node->type != NODE_SCALAR)
		return node->count > 0;
	return node->len > 0 && (option->fallback == NULL || strcmp(node->text, option->fallback) != 0);
}

/* The fields of one struct. node NULL: all by default. */
static void read_fields(struct config_reader *reader, const struct config_option *options,
        const struct config_node *node, void *base)
{
	if (node != NULL)
		for (const struct config_node *child = node->first; child != NULL; child = child->next)
			if (find_option(options, child->key) == NULL)
				unknown_key(reader, options, child);
	for (const struct config_option *option = options; option->key != NULL; option++) {
		if (option->key[0] == KEY_ITSELF[0] || option->key[0] == VALUE_ITSELF[0] ||
		        option->shape == SHAPE_INCLUDE)
			continue;
		size_t mark = config_path_push(reader, option->key);
		const struct config_node *child = config_node_find(node, option->key);
		if (child != NULL && option->later && says_something(option, child))
			config_warn(reader, child, "checked, but not in effect in this version");
		if (child != NULL)
			read_option(reader, option, child, base);
		else if (option->required && node != NULL)
			config_problem(&reader->tree->problems, node->file, node->line,
			        "%s: found nothing, expected %s", reader->path, option->doc);
		else
			read_fallback(reader, option, base);
		config_path_pop(reader, mark);
	}
}

/* Room for the items of a list or map. Returns NULL if there are none, too few or too many: then that is
 * said. */
static void *make_room(struct config_reader *reader, const struct config_option *option,
        const struct config_node *node, enum config_node_type type, void *base, size_t *count)
{
	size_t most = option->max > 0 ? option->max : CONFIG_LIST_MAX;

	*count = config_node_is_null(node) ? 0 : node->count;
	if (node->type != type && !config_node_is_null(node)) {
		const char *example = option->kind != NULL ? option->kind->example : "...";
		if (type == NODE_LIST && option->shape == SHAPE_LIST)
			config_wrong(reader, node, "a list such as [%s]", example);
		else
			config_wrong(reader, node, "%s",
			        type == NODE_LIST ? "a list of maps: lines that begin with '- '"
			                          : "a map: lines such as 'name: ...'");
		return NULL;
	}
	if (*count > most || *count < option->min) {
		config_problem(&reader->tree->problems, node->file, node->line,
		        "%s: found %zu, expected %s %zu", reader->path, *count,
		        *count > most ? "at most" : "at least", *count > most ? most : (size_t)option->min);
		*count = *count > most ? most : 0;
	}
	void *items = *count == 0 ? NULL : config_reader_alloc(reader, *count * option->size);
	*(void **)((char *)base + option->at) = items;
	*(size_t *)((char *)base + option->count_at) = items == NULL ? 0 : *count;
	return items;
}

static void read_list(struct config_reader *reader, const struct config_option *option,
        const struct config_node *node, void *base)
{
	size_t count, index = 0;
	char *items = make_room(reader, option, node, NODE_LIST, base, &count);

	for (const struct config_node *item = node->first; items != NULL && index < count;
	        item = item->next, index++) {
		size_t mark = config_path_index(reader, index);
		if (item->type != NODE_SCALAR)
			config_wrong(reader, item, "%s", option->kind->example);
		else
			option->kind->read(reader, option, item, items + index * option->size);
		config_path_pop(reader, mark);
	}
}

/* The first field of an item is its name: two of one name are a mistake, wherever they stand. */
static void check_unique(struct config_reader *reader, const struct config_option *option,
        const struct config_node *node, const char *items, size_t count)
{
	const struct config_node *item = node->first;

	for (size_t i = 0; i < count; i++, item = item->next) {
		const struct config_node *other = node->first;
		const char *name = *(const char *const *)(items + i * option->size + option->fields->at);
		for (size_t k = 0; k < i && name != NULL; k++, other = other->next) {
			const char *before =
			        *(const char *const *)(items + k * option->size + option->fields->at);
			if (before == NULL || strcmp(name, before) != 0)
				continue;
			config_problem(&reader->tree->problems, item->file, item->line,
			        "%s[%zu].%s: found '%s', expected another: %s:%u has it already",
			        reader->path, i, option->fields->key, name, other->file, other->line);
			break;
		}
	}
}

static void read_items(struct config_reader *reader, const struct config_option *option,
        const struct config_node *node, void *base)
{
	size_t count, index = 0;
	char *items = make_room(reader, option, node, NODE_LIST, base, &count);

	for (const struct config_node *item = node->first; items != NULL && index < count;
	        item = item->next, index++) {
		size_t mark = config_path_index(reader, index);
		if (item->type != NODE_MAP)
			config_wrong(reader, item, "a map such as {%s: ...}", option->fields->key);
		else
			read_fields(reader, option->fields, item, items + index * option->size);
		config_path_pop(reader, mark);
	}
	if (items != NULL && option->unique)
		check_unique(reader, option, node, items, count);
}

/* A map whose keys are names: KEY_ITSELF comes first in the table. */
static void read_named(struct config_reader *reader, const struct config_option *option,
        const struct config_node *node, void *base)
{
	size_t count, index = 0;
	char *items = make_room(reader, option, node, NODE_MAP, base, &count);
	const struct config_option *key = option->fields, *value = option->fields + 1;

	for (const struct config_node *item = node->first; items != NULL && index < count;
	        item = item->next, index++) {
		struct config_node name = { .type = NODE_SCALAR,
			.file = item->file,
			.line = item->line,
			.text = item->key,
			.len = strlen(item->key) };
		void *at = items + index * option->size;
		size_t mark = config_path_push(reader, item->key);
		key->kind->read(reader, key, &name, (char *)at + key->at);
		if (value->key[0] == VALUE_ITSELF[0])
			read_option(reader, value, item, at);
		else if (item->type == NODE_MAP || config_node_is_null(item))
			read_fields(reader, value, item, at);
		else
			config_wrong(reader, item, "a map such as {%s: ...}", value->key);
		config_path_pop(reader, mark);
	}
}

/* node NULL: a section by default. */
static void read_option(struct config_reader *reader, const struct config_option *option,
        const struct config_node *node, void *base)
{
	switch (option->shape) {
	case SHAPE_ONE:
		if (node->type != NODE_SCALAR && !option->kind->takes_lists)
			config_wrong(reader, node, "one value such as %s", option->kind->example);
		else
			option->kind->read(reader, option, node, (char *)base + option->at);
		return;
	case SHAPE_LIST:
		read_list(reader, option, node, base);
		return;
	case SHAPE_ITEMS:
		read_items(reader, option, node, base);
		return;
	case SHAPE_NAMED:
		read_named(reader, option, node, base);
		return;
	case SHAPE_SECTION:
		if (node != NULL && node->type != NODE_MAP && !config_node_is_null(node))
			config_wrong(reader, node, "a map: keys such as '%s: ...'", option->fields->key);
		else
			read_fields(reader, option->fields, node, base);
		return;
	case SHAPE_INCLUDE:
		return;
	}
}

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

static void complete_profiles(struct config_tree *tree)
{
	struct config_node *given = config_node_find(tree->root, "profiles");
	struct config_node *root = NULL;

	if (given == NULL || given->count == 0)
		root = config_tree_read(
		        tree, builtin_profiles, sizeof builtin_profiles - 1, "built-in profile");
	if (root == NULL)
		return;
	struct config_node *block = config_node_find(root->first->first, "block"), all = *block;
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
	complete_profiles(tree);
}

/* ---- the whole ---- */

static int config_build(struct config_tree *tree, struct config_whole *whole, const char *file)
{
	struct config_reader reader = { .config = &whole->config, .arena = &whole->arena, .tree = tree };
	struct config *config = &whole->config;

	config->file = config_arena_text(&whole->arena, file, strlen(file));
	if (config->file == NULL)
		return -ENOMEM;
	config->user_given = config_node_find(tree->root, "user") != NULL;
	config->recursor_user_given = config_node_find(tree->root, "recursor-user") != NULL;
	complete(&reader);
	read_fields(&reader, config_options, tree->root, config);
	if (tree->problems.count == 0 && !tree->no_memory)
		config_check(&reader);
	if (tree->no_memory)
		return -ENOMEM;
	return tree->problems.count > 0 ? -EINVAL : 0;
}

/* text NULL: from the file. */
static int config_make(
        struct config **out, const char *text, size_t len, const char *file, char why[CONFIG_WHY_MAX])
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
		int built = config_build(&tree, whole, file);
		ret = ret < 0 ? ret : built;
	}
	config_tree_clear(&tree);
	if (ret == -ENOMEM)
		snprintf(why, CONFIG_WHY_MAX, "%s: out of memory", file);
	if (ret < 0) {
		config_free(&whole->config);
		return ret;
	}
	*out = &whole->config;
	return 0;
}

int config_read(struct config **out, const char *file, char why[CONFIG_WHY_MAX])
{
	return config_make(out, NULL, 0, file, why);
}

int config_parse(
        struct config **out, const char *text, size_t len, const char *name, char why[CONFIG_WHY_MAX])
{
	return config_make(out, text, len, name, why);
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

const char *config_severity_text(enum config_severity severity)
{
	static const char *const texts[] = { "advisory", "caution", "danger" };
	return texts[severity];
}
