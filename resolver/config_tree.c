#include "config_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Moves the items of a list behind those of another. */
static void move_items(struct config_node *into, struct config_node *from)
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
	} while ((got > 0 && used <= CONFIG_TEXT_MAX) || (got < 0 && errno == EINTR));
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
			move_items(first, child);
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
