/*
 * What the files of kinds share (config_kind.c: words and numbers, config_kind_dns.c: addresses, names and
 * records, config_kind_ref.c: what another key defines). A kind reads a node into its place in struct config,
 * tells what it expected if it cannot, and prints the value so that it reads back to the same.
 */
#ifndef USHER_CONFIG_KIND_H
#define USHER_CONFIG_KIND_H

#include <string.h>

#include "config_option.h"

#define READ(kind)                                                                                           \
	static void read_##kind(struct config_reader *reader, const struct config_option *option,            \
	        const struct config_node *node, void *at)
#define PRINT(kind)                                                                                          \
	static void print_##kind(                                                                            \
	        struct config_printer *printer, const struct config_option *option, const void *at)
#define KIND(kind, ...) const struct config_kind kind_##kind = { read_##kind, print_##kind, __VA_ARGS__ }

/* An empty text stands for "none" where the default is one. */
static inline bool config_may_be_empty(const struct config_option *option)
{
	return option->fallback != NULL && option->fallback[0] == '\0';
}

/* Copies text into the configuration's memory and sets the pointer at `at`. */
void config_keep_text(struct config_reader *reader, const char *text, const char **at);

/* The place of node among option->words, or -1 after saying so. */
int config_word_place(
        struct config_reader *reader, const struct config_option *option, const struct config_node *node);

#endif
