/*
 * The walk along the option table: a tree of nodes into a struct config. Every value that is missing is read
 * from its default's text, by the same kind.
 */
#include <stdlib.h>
#include <string.h>

#include "config_option.h"

#include "nearest.h"

#define WARNINGS_MAX 100 /* more say no more */

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

/* ---- the walk ---- */

static void read_option(struct config_reader *reader, const struct config_option *option,
        const struct config_node *node, void *base);

/* A key that the table does not have. */
static void unknown_key(
        struct config_reader *reader, const struct config_option *options, const struct config_node *node)
{
	struct nearest nearest = { .word = node->key };
	char found[CONFIG_FOUND_MAX], keys[400];
	size_t len = 0;
	const char *path = reader->path_len > 0 ? reader->path : "top level";

	keys[0] = '\0';
	for (; options->key != NULL; options++) {
		if (options->key[0] == KEY_ITSELF[0] || options->key[0] == VALUE_ITSELF[0])
			continue;
		nearest_try(&nearest, options->key);
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
void config_read_fields(struct config_reader *reader, const struct config_option *options,
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
			config_read_fields(reader, option->fields, item, items + index * option->size);
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
			config_read_fields(reader, value, item, at);
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
			config_read_fields(reader, option->fields, node, base);
		return;
	case SHAPE_INCLUDE:
		return;
	}
}
