/*
 * YAML text to nodes. libyaml's document API would read the whole first, and takes minutes for a few
 * megabytes of brackets or anchors; its events let us stop at the first alias and at the depth that no key
 * has.
 */
#include "config_tree.h"

#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 16  /* the deepest value of all, in profiles[].periods.lunch.block[], has 6 */
#define KEYS_MAX 1024 /* of one map: keys are compared with each other */

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

/* One text being read, event by event: what is too deep or an alias ends it there, before it grows. */
struct reading {
	struct config_tree *tree;
	yaml_parser_t parser;
	const char *text, *file;
	size_t len;
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

/* The caller deletes the event. */
static bool next_event(struct reading *reading, yaml_event_t *event)
{
	if (yaml_parser_parse(&reading->parser, event))
		return true;
	memset(event, 0, sizeof *event);
	tell_yaml_error(reading->tree, &reading->parser, reading->text, reading->len, reading->file);
	return false;
}

static struct config_node *read_node(struct reading *reading, const yaml_event_t *event, unsigned depth);

static bool read_scalar(struct reading *reading, struct config_node *node, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;

	node->len = event->data.scalar.length;
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (memchr(text, 0, node->len) != NULL) {
		config_problem(&reading->tree->problems, node->file, node->line,
		        "YAML: found a character of value 0, expected text");
		return false;
	}
	node->text = config_arena_text(&reading->tree->arena, text, node->len);
	if (node->text == NULL)
		reading->tree->no_memory = true;
	return node->text != NULL;
}

static bool read_list(struct reading *reading, struct config_node *node, unsigned depth)
{
	yaml_event_t event;

	while (next_event(reading, &event)) {
		bool is_end = event.type == YAML_SEQUENCE_END_EVENT;
		struct config_node *child = is_end ? NULL : read_node(reading, &event, depth + 1);
		yaml_event_delete(&event);
		if (child == NULL)
			return is_end;
		config_node_append(node, child);
	}
	return false;
}

/* Adds a key and its value to a map. */
static bool add_pair(struct reading *reading, struct config_node *node, const struct config_node *key,
        struct config_node *value)
{
	struct config_problems *problems = &reading->tree->problems;
	char found[CONFIG_FOUND_MAX];

	const struct config_node *first = config_node_find(node, key->text);
	if (first != NULL) {
		config_problem(problems, key->file, key->line,
		        "%s: found a second time, expected once: line %u has it already",
		        config_text_found(key->text, key->len, found, sizeof found), first->line);
		return true;
	}
	if (node->count == KEYS_MAX) {
		config_problem(
		        problems, key->file, key->line, "YAML: found more than %d keys in one map", KEYS_MAX);
		return false;
	}
	value->key = key->text;
	value->line = key->line;
	config_node_append(node, value);
	return true;
}

static bool read_map(struct reading *reading, struct config_node *node, unsigned depth)
{
	struct config_node *key = NULL;
	char found[CONFIG_FOUND_MAX];
	yaml_event_t event;

	while (next_event(reading, &event)) {
		bool is_end = event.type == YAML_MAPPING_END_EVENT;
		struct config_node *child = is_end ? NULL : read_node(reading, &event, depth + 1);
		yaml_event_delete(&event);
		if (child == NULL)
			return is_end;
		if (key != NULL) {
			if (!add_pair(reading, node, key, child))
				return false;
			key = NULL;
		} else if (child->type == NODE_SCALAR && child->len > 0) {
			key = child;
		} else {
			config_problem(&reading->tree->problems, child->file, child->line,
			        "YAML: found %s as a key, expected a word", config_node_found(child, found));
			return false;
		}
	}
	return false;
}

static struct config_node *read_node(struct reading *reading, const yaml_event_t *event, unsigned depth)
{
	struct config_problems *problems = &reading->tree->problems;
	unsigned line = (unsigned)event->start_mark.line + 1;

	if (event->type == YAML_ALIAS_EVENT) {
		config_problem(problems, reading->file, line,
		        "YAML: found the alias '*%.60s', expected what it stands for: aliases are not read",
		        event->data.alias.anchor);
		return NULL;
	}
	if (depth > DEPTH_MAX) {
		config_problem(problems, reading->file, line,
		        "YAML: found more than %d levels, expected fewer", DEPTH_MAX);
		return NULL;
	}
	enum config_node_type type = event->type == YAML_SEQUENCE_START_EVENT  ? NODE_LIST
	                             : event->type == YAML_MAPPING_START_EVENT ? NODE_MAP
	                                                                       : NODE_SCALAR;
	struct config_node *node = node_new(reading->tree, type, reading->file, line);
	if (node == NULL)
		return NULL;
	bool ok = type == NODE_SCALAR ? read_scalar(reading, node, event)
	          : type == NODE_LIST ? read_list(reading, node, depth)
	                              : read_map(reading, node, depth);
	return ok ? node : NULL;
}

/* The root of the one document that the text may have. */
static struct config_node *read_document(struct reading *reading)
{
	struct config_node *root = NULL;
	yaml_event_t event;
	unsigned documents = 0;

	while (next_event(reading, &event)) {
		yaml_event_type_t type = event.type;
		unsigned line = (unsigned)event.start_mark.line + 1;
		bool is_mark = type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT ||
		               type == YAML_DOCUMENT_END_EVENT || type == YAML_STREAM_END_EVENT;
		struct config_node *node = is_mark ? NULL : read_node(reading, &event, 0);
		yaml_event_delete(&event);
		if (type == YAML_STREAM_END_EVENT)
			return root != NULL ? root : node_new(reading->tree, NODE_MAP, reading->file, 1);
		if (type == YAML_DOCUMENT_START_EVENT && ++documents > 1) {
			config_problem(&reading->tree->problems, reading->file, line,
			        "YAML: found a second document (---), expected one");
			return NULL;
		}
		if (!is_mark && node == NULL)
			return NULL;
		if (node != NULL)
			root = node;
	}
	return NULL;
}

struct config_node *config_tree_read(struct config_tree *tree, const char *text, size_t len, const char *file)
{
	struct reading reading = { .tree = tree, .text = text, .file = file, .len = len };
	char found[CONFIG_FOUND_MAX];

	if (len > CONFIG_TEXT_MAX) {
		config_problem(&tree->problems, file, 0, "found %zu octets, expected at most %u", len,
		        CONFIG_TEXT_MAX);
		return NULL;
	}
	if (!yaml_parser_initialize(&reading.parser)) {
		tree->no_memory = true;
		return NULL;
	}
	yaml_parser_set_encoding(&reading.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reading.parser, (const unsigned char *)text, len);
	struct config_node *root = read_document(&reading);
	yaml_parser_delete(&reading.parser);
	if (root == NULL || root->type == NODE_MAP)
		return root;
	if (config_node_is_null(root))
		return node_new(tree, NODE_MAP, file, 1);
	config_problem(&tree->problems, file, root->line, "YAML: found %s, expected keys such as 'listen:'",
	        config_node_found(root, found));
	return NULL;
}
