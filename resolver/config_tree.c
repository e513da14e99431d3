#include "config_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#define TEXT_MAX (4u << 20) /* octets of one file */
#define DEPTH_MAX 16        /* the deepest key of all, profiles[].periods.lunch.block[], has 6 */
#define KEYS_MAX 1024       /* of one map: keys are compared with each other */
#define INCLUDES_MAX 64
#define UNTOLD_ROOM 48 /* kept for "and N more" */

void config_tree_init(struct config_tree *tree, char *why, size_t size)
{
	memset(tree, 0, sizeof *tree);
	tree->problems.why = why;
	tree->problems.size = size;
	why[0] = '\0';
}

void config_tree_clear(struct config_tree *tree)
{
	config_arena_free(&tree->arena);
	tree->root = NULL;
}

void config_problem(
        struct config_problems *problems, const char *file, unsigned line, const char *format, ...)
{
	char text[1024];
	va_list args;
	int at = line == 0 ? snprintf(text, sizeof text, "%.300s: ", file)
	                   : snprintf(text, sizeof text, "%.300s:%u: ", file, line);

	va_start(args, format);
	vsnprintf(text + at, sizeof text - (size_t)at, format, args);
	va_end(args);
	problems->count++;
	size_t len = strlen(text), gap = problems->len > 0;
	if (problems->untold > 0 || problems->len + gap + len + UNTOLD_ROOM > problems->size) {
		problems->untold++;
		snprintf(problems->why + problems->len, problems->size - problems->len, "\nand %u more",
		        problems->untold);
		return;
	}
	if (gap)
		problems->why[problems->len++] = '\n';
	memcpy(problems->why + problems->len, text, len + 1);
	problems->len += len;
}

const char *config_text_found(const char *text, size_t len, char *found, size_t size)
{
	size_t out = 0, i = 0;

	for (; i < len && out + 4 < size; i++) {
		unsigned char c = (unsigned char)text[i];
		bool c1 = c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0;
		found[out++] = c < 0x20 || c == 0x7f || c1 ? '?' : (char)c;
		i += c1;
	}
	/* Don't end in the middle of a UTF-8 character. */
	if (i < len) {
		while (out > 0 && ((unsigned char)found[out - 1] & 0xc0) == 0x80)
			out--;
		if (out > 0 && (unsigned char)found[out - 1] >= 0xc0)
			out--;
		memcpy(found + out, "...", 3);
		out += 3;
	}
	found[out] = '\0';
	return found;
}

bool config_node_is_null(const struct config_node *node)
{
	return node->type == NODE_SCALAR && node->plain &&
	       (node->len == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

const char *config_node_found(const struct config_node *node, char found[CONFIG_FOUND_MAX])
{
	char text[CONFIG_FOUND_MAX - 2];

	if (node->type == NODE_LIST)
		return "a list";
	if (node->type == NODE_MAP)
		return "a map";
	if (node->len == 0)
		return "nothing";
	snprintf(
	        found, CONFIG_FOUND_MAX, "'%s'", config_text_found(node->text, node->len, text, sizeof text));
	return found;
}

struct config_node *config_node_find(const struct config_node *map, const char *key)
{
	if (map == NULL || map->type != NODE_MAP)
		return NULL;
	for (struct config_node *child = map->first; child != NULL; child = child->next)
		if (strcmp(child->key, key) == 0)
			return child;
	return NULL;
}

void config_node_append(struct config_node *parent, struct config_node *child)
{
	child->next = NULL;
	if (parent->first == NULL)
		parent->first = child;
	else
		parent->last->next = child;
	parent->last = child;
	parent->count++;
}

void config_node_move_items(struct config_node *into, struct config_node *from)
{
	struct config_node *next;

	for (struct config_node *item = from->first; item != NULL; item = next) {
		next = item->next;
		config_node_append(into, item);
	}
	from->first = from->last = NULL;
	from->count = 0;
}

void config_node_replace(struct config_node *node, const struct config_node *by)
{
	struct config_node *next = node->next;

	*node = *by;
	node->next = next;
}

/* ---- YAML to nodes ---- */

static unsigned line_at(const char *text, size_t offset)
{
	unsigned line = 1;

	for (size_t i = 0; i < offset; i++)
		line += text[i] == '\n';
	return line;
}

/* The line that holds offset: begin and length. */
static const char *line_of(const char *text, size_t len, size_t offset, size_t *line_len)
{
	size_t begin = offset < len ? offset : len, end = begin;

	while (begin > 0 && text[begin - 1] != '\n')
		begin--;
	while (end < len && text[end] != '\n')
		end++;
	*line_len = end - begin;
	return text + begin;
}

/* libyaml's words for a mistake, turned into ours. */
static void tell_yaml_error(
        struct config_tree *tree, const yaml_parser_t *parser, const char *text, size_t len, const char *file)
{
	const char *problem = parser->problem != NULL ? parser->problem : "not readable";
	char found[CONFIG_FOUND_MAX];
	size_t line_len;

	if (parser->error == YAML_MEMORY_ERROR) {
		tree->no_memory = true;
		return;
	}
	if (parser->error == YAML_READER_ERROR) {
		size_t offset = parser->problem_offset < len ? parser->problem_offset : len;
		config_problem(&tree->problems, file, line_at(text, offset),
		        "YAML: found an octet that is no text (%s), expected UTF-8", problem);
		return;
	}
	/* Marks count characters, not octets: find the line by its number, which may be one behind the last.
	 */
	unsigned line = 1;
	size_t offset = 0;
	for (; offset + 1 < len && line <= parser->problem_mark.line; offset++)
		line += text[offset] == '\n';
	const char *begin = line_of(text, len, offset, &line_len);
	size_t blank = 0;
	while (blank < line_len && begin[blank] == ' ')
		blank++;
	if (memchr(begin, '\t', line_len) != NULL &&
	        (begin[blank] == '\t' || strstr(problem, "cannot start any token") != NULL)) {
		config_problem(&tree->problems, file, line,
		        "YAML: found a tab, expected spaces: YAML takes no tabs for indentation");
		return;
	}
	config_text_found(begin + blank, line_len - blank, found, sizeof found);
	config_problem(&tree->problems, file, line, "YAML: found '%s', expected valid YAML: %s%s%s", found,
	        problem, parser->context != NULL ? " " : "", parser->context != NULL ? parser->context : "");
}

struct tree_copy {
	struct config_tree *tree;
	yaml_document_t *document;
	const char *file;
	uint8_t *seen; /* nodes that were copied: one that comes twice is an alias */
};

static struct config_node *node_new(
        struct config_tree *tree, enum config_node_type type, const char *file, unsigned line)
{
	struct config_node *node = config_arena_alloc(&tree->arena, sizeof *node);

	if (node == NULL) {
		tree->no_memory = true;
		return NULL;
	}
	node->type = type;
	node->file = file;
	node->line = line;
	return node;
}

static struct config_node *copy_node(struct tree_copy *copy, int index, unsigned depth);

static bool copy_scalar(struct tree_copy *copy, struct config_node *node, const yaml_node_t *from)
{
	const char *text = (const char *)from->data.scalar.value;

	node->len = from->data.scalar.length;
	node->plain = from->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (memchr(text, 0, node->len) != NULL) {
		config_problem(&copy->tree->problems, node->file, node->line,
		        "YAML: found a character of value 0, expected text");
		return false;
	}
	node->text = config_arena_text(&copy->tree->arena, text, node->len);
	if (node->text == NULL)
		copy->tree->no_memory = true;
	return node->text != NULL;
}

static bool copy_list(
        struct tree_copy *copy, struct config_node *node, const yaml_node_t *from, unsigned depth)
{
	for (yaml_node_item_t *item = from->data.sequence.items.start; item < from->data.sequence.items.top;
	        item++) {
		struct config_node *child = copy_node(copy, *item, depth + 1);
		if (child == NULL)
			return false;
		config_node_append(node, child);
	}
	return true;
}

static bool copy_map(
        struct tree_copy *copy, struct config_node *node, const yaml_node_t *from, unsigned depth)
{
	struct config_problems *problems = &copy->tree->problems;
	char found[CONFIG_FOUND_MAX];
	const yaml_node_pair_t *pair = from->data.mapping.pairs.start;

	for (; pair < from->data.mapping.pairs.top; pair++) {
		struct config_node *key = copy_node(copy, pair->key, depth + 1);
		struct config_node *value = key == NULL ? NULL : copy_node(copy, pair->value, depth + 1);
		if (value == NULL)
			return false;
		if (key->type != NODE_SCALAR || key->len == 0) {
			config_problem(problems, key->file, key->line,
			        "YAML: found %s as a key, expected a word", config_node_found(key, found));
			return false;
		}
		const struct config_node *first = config_node_find(node, key->text);
		if (first != NULL) {
			config_problem(problems, key->file, key->line,
			        "%s: found a second time, expected once: line %u has it already",
			        config_text_found(key->text, key->len, found, sizeof found), first->line);
			continue;
		}
		if (node->count == KEYS_MAX) {
			config_problem(problems, key->file, key->line,
			        "YAML: found more than %d keys in one map", KEYS_MAX);
			return false;
		}
		value->key = key->text;
		value->line = key->line;
		config_node_append(node, value);
	}
	return true;
}

static struct config_node *copy_node(struct tree_copy *copy, int index, unsigned depth)
{
	const yaml_node_t *from = yaml_document_get_node(copy->document, index);
	unsigned line = (unsigned)from->start_mark.line + 1;
	struct config_problems *problems = &copy->tree->problems;

	if (copy->seen[index - 1]++ > 0) {
		config_problem(problems, copy->file, line,
		        "YAML: found an alias (*) of what stands here, expected it written out: aliases are "
		        "not read");
		return NULL;
	}
	if (depth > DEPTH_MAX) {
		config_problem(problems, copy->file, line, "YAML: found more than %d levels, expected fewer",
		        DEPTH_MAX);
		return NULL;
	}
	enum config_node_type type = from->type == YAML_SEQUENCE_NODE  ? NODE_LIST
	                             : from->type == YAML_MAPPING_NODE ? NODE_MAP
	                                                               : NODE_SCALAR;
	struct config_node *node = node_new(copy->tree, type, copy->file, line);
	if (node == NULL)
		return NULL;
	bool ok = type == NODE_SCALAR ? copy_scalar(copy, node, from)
	          : type == NODE_LIST ? copy_list(copy, node, from, depth)
	                              : copy_map(copy, node, from, depth);
	return ok ? node : NULL;
}

static struct config_node *copy_document(
        struct config_tree *tree, yaml_document_t *document, const char *file)
{
	struct tree_copy copy = { .tree = tree, .document = document, .file = file };
	size_t nodes = (size_t)(document->nodes.top - document->nodes.start);

	if (nodes == 0)
		return node_new(tree, NODE_MAP, file, 1);
	copy.seen = calloc(nodes, 1);
	if (copy.seen == NULL) {
		tree->no_memory = true;
		return NULL;
	}
	struct config_node *root = copy_node(&copy, 1, 0);
	free(copy.seen);
	if (root == NULL)
		return NULL;
	if (config_node_is_null(root))
		return node_new(tree, NODE_MAP, file, 1);
	if (root->type != NODE_MAP) {
		char found[CONFIG_FOUND_MAX];
		config_problem(&tree->problems, file, root->line,
		        "YAML: found %s, expected keys such as 'listen:'", config_node_found(root, found));
		return NULL;
	}
	return root;
}

struct config_node *config_tree_read(struct config_tree *tree, const char *text, size_t len, const char *file)
{
	yaml_parser_t parser;
	yaml_document_t document;
	struct config_node *root = NULL;

	if (len > TEXT_MAX) {
		config_problem(
		        &tree->problems, file, 0, "found %zu octets, expected at most %u", len, TEXT_MAX);
		return NULL;
	}
	if (!yaml_parser_initialize(&parser)) {
		tree->no_memory = true;
		return NULL;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (!yaml_parser_load(&parser, &document)) {
		tell_yaml_error(tree, &parser, text, len, file);
		goto out;
	}
	root = copy_document(tree, &document, file);
	yaml_document_delete(&document);
	if (root == NULL)
		goto out;
	if (!yaml_parser_load(&parser, &document)) {
		tell_yaml_error(tree, &parser, text, len, file);
		root = NULL;
		goto out;
	}
	if (yaml_document_get_root_node(&document) != NULL) {
		config_problem(&tree->problems, file, (unsigned)document.start_mark.line + 1,
		        "YAML: found a second document (---), expected one");
		root = NULL;
	}
	yaml_document_delete(&document);
out:
	yaml_parser_delete(&parser);
	return root;
}

/* ---- files and includes ---- */

/* The whole file, malloc()ed. Returns 0 or negative errno. */
static int file_read(const char *file, char **text, size_t *len)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t size = 0, used = 0;
	char *buffer = NULL;
	ssize_t got;

	if (fd < 0)
		return -errno;
	do {
		if (used == size) {
			char *more = realloc(buffer, size = size == 0 ? 16384 : size * 2);
			if (more == NULL) {
				got = -1;
				errno = ENOMEM;
				break;
			}
			buffer = more;
		}
		got = read(fd, buffer + used, size - used);
		used += got > 0 ? (size_t)got : 0;
	} while ((got > 0 && used <= TEXT_MAX) || (got < 0 && errno == EINTR));
	int ret = got < 0 ? -errno : 0;
	close(fd);
	if (ret < 0) {
		free(buffer);
		return ret;
	}
	*text = buffer;
	*len = used;
	return 0;
}

/* The include's path: as it is, or relative to the file that names it. */
static const char *include_path(struct config_tree *tree, const struct config_node *node)
{
	const char *slash = strrchr(node->file, '/');
	size_t folder = node->text[0] == '/' || slash == NULL ? 0 : (size_t)(slash - node->file) + 1;
	char *path = config_arena_alloc(&tree->arena, folder + node->len + 1);

	if (path == NULL) {
		tree->no_memory = true;
		return NULL;
	}
	memcpy(path, node->file, folder);
	memcpy(path + folder, node->text, node->len);
	return path;
}

static void given_twice(struct config_tree *tree, const char *section, const struct config_node *again,
        const struct config_node *first)
{
	char key[CONFIG_FOUND_MAX];

	config_problem(&tree->problems, again->file, again->line,
	        "%s%s%s: found a second time, expected once: %s:%u has it already", section,
	        section[0] ? "." : "", config_text_found(again->key, strlen(again->key), key, sizeof key),
	        first->file, first->line);
}

/* Moves the children of map `from` into map `into`. section is "" for the top level, the only one whose maps
 * are united. */
static void merge_maps(
        struct config_tree *tree, struct config_node *into, struct config_node *from, const char *section)
{
	struct config_node *next;

	for (struct config_node *child = from->first; child != NULL; child = next) {
		next = child->next;
		struct config_node *first = config_node_find(into, child->key);
		if (first == NULL) {
			config_node_append(into, child);
		} else if (config_node_is_null(child)) {
			continue;
		} else if (config_node_is_null(first)) {
			config_node_replace(first, child);
		} else if (first->type == NODE_LIST && child->type == NODE_LIST) {
			config_node_move_items(first, child);
		} else if (first->type == NODE_MAP && child->type == NODE_MAP && section[0] == '\0') {
			merge_maps(tree, first, child, child->key);
		} else {
			given_twice(tree, section, child, first);
		}
	}
}

static void include_one(struct config_tree *tree, const struct config_node *node, unsigned index)
{
	char found[CONFIG_FOUND_MAX];
	char *text;
	size_t len;

	if (node->type != NODE_SCALAR || node->len == 0) {
		config_problem(&tree->problems, node->file, node->line,
		        "include[%u]: found %s, expected a file name", index, config_node_found(node, found));
		return;
	}
	const char *path = include_path(tree, node);
	if (path == NULL)
		return;
	int ret = file_read(path, &text, &len);
	if (ret < 0) {
		config_problem(&tree->problems, node->file, node->line,
		        "include[%u]: found %s, expected a file that can be read: %.200s: %s", index,
		        config_node_found(node, found), path, strerror(-ret));
		return;
	}
	struct config_node *root = config_tree_read(tree, text, len, path);
	free(text);
	if (root == NULL)
		return;
	/* One level is enough for a school, and then there are no loops. */
	const struct config_node *nested = config_node_find(root, "include");
	if (nested != NULL) {
		config_problem(&tree->problems, nested->file, nested->line,
		        "include: found in an included file, expected in the main file only (%s:%u includes "
		        "this one)",
		        node->file, node->line);
		return;
	}
	merge_maps(tree, tree->root, root, "");
}

static void include_all(struct config_tree *tree)
{
	const struct config_node *include = config_node_find(tree->root, "include");
	unsigned index = 0;
	char found[CONFIG_FOUND_MAX];

	if (include == NULL || config_node_is_null(include))
		return;
	if (include->type != NODE_LIST || include->count > INCLUDES_MAX) {
		config_problem(&tree->problems, include->file, include->line,
		        "include: found %s, expected a list of at most %d files such as [categories.yaml]",
		        config_node_found(include, found), INCLUDES_MAX);
		return;
	}
	for (const struct config_node *node = include->first; node != NULL; node = node->next)
		include_one(tree, node, index++);
}

int config_tree_parse(struct config_tree *tree, const char *text, size_t len, const char *file)
{
	const char *name = config_arena_text(&tree->arena, file, strlen(file));

	if (name == NULL)
		return -ENOMEM;
	tree->root = config_tree_read(tree, text, len, name);
	if (tree->root != NULL)
		include_all(tree);
	if (tree->no_memory)
		return -ENOMEM;
	return tree->problems.count > 0 ? -EINVAL : 0;
}

int config_tree_load(struct config_tree *tree, const char *file)
{
	char *text;
	size_t len;
	int ret = file_read(file, &text, &len);

	if (ret < 0) {
		config_problem(&tree->problems, file, 0, "%s", strerror(-ret));
		return ret;
	}
	ret = config_tree_parse(tree, text, len, file);
	free(text);
	return ret;
}
