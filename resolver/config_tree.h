/*
 * A configuration file as a tree of nodes, each of which knows its file and line: YAML read by libyaml's
 * events, the files that `include:` names merged into it. Knows no keys but `include`.
 *
 * Two files are merged so: sections (a map under a top-level key) are united, lists are appended, anything
 * else given in both is a mistake. Aliases are refused: a few lines of them can stand for gigabytes; so
 * are more levels than any key has.
 */
#ifndef USHER_CONFIG_TREE_H
#define USHER_CONFIG_TREE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "config_arena.h"

#define CONFIG_TEXT_MAX (4u << 20) /* octets of one file */

enum config_node_type { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct config_node {
	enum config_node_type type;
	const char *file;
	unsigned line;    /* of the key where there is one, else of the value; from 1 */
	const char *key;  /* of a child of a map, else NULL */
	const char *text; /* of a scalar, UTF-8 without NUL */
	size_t len;
	bool plain;                              /* a scalar without quotes */
	struct config_node *first, *last, *next; /* children, and the next one of the same parent */
	size_t count;
};

/* What was found wrong, one line a problem; what has no room is counted. */
struct config_problems {
	char *why;
	size_t size, len;
	unsigned count, untold;
};

struct config_tree {
	struct config_arena arena;
	struct config_problems problems;
	struct config_node *root; /* a map */
	bool no_memory;
};

/* why: size octets, emptied. */
void config_tree_init(struct config_tree *tree, char *why, size_t size);
void config_tree_clear(struct config_tree *tree);

/* Adds "FILE:LINE: " and the sentence. line 0: the file as a whole. */
void config_problem(struct config_problems *problems, const char *file, unsigned line, const char *format,
        ...) __attribute__((format(printf, 4, 5)));

/*
 * Reads YAML into a tree (config_yaml.c); the root is a map, empty for an empty text. Returns NULL after a
 * problem or without memory. file must live as long as the tree.
 */
struct config_node *config_tree_read(
        struct config_tree *tree, const char *text, size_t len, const char *file);

/* Sets tree->root from text, or from the file, and its includes. Returns 0, -EINVAL after problems, -ENOMEM,
 * or why the file could not be read. */
int config_tree_parse(struct config_tree *tree, const char *text, size_t len, const char *file);
int config_tree_load(struct config_tree *tree, const char *file);

/* Child of a map by key, or NULL. map may be NULL. */
struct config_node *config_node_find(const struct config_node *map, const char *key);

/* Moves a child to the end of another map or list of the same tree. */
void config_node_append(struct config_node *parent, struct config_node *child);

/* Gives a node the value of another, and keeps its place among its parent's children. */
void config_node_replace(struct config_node *node, const struct config_node *by);

/* Nothing was written after "key:": an empty list or map stands for it. */
bool config_node_is_null(const struct config_node *node);

/* What was found, fit for a message of one line: cut, without control characters. */
#define CONFIG_FOUND_MAX 100
const char *config_node_found(const struct config_node *node, char found[CONFIG_FOUND_MAX]);

/* The same for any text: no control characters, never longer than size. */
const char *config_text_found(const char *text, size_t len, char *found, size_t size);

#endif
