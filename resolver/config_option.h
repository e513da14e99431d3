/*
 * The option table: one line a key of usher.yaml, with its kind, its place in struct config, its default and
 * what it is for. Reading (config.c), printing (config_print.c), the sample configuration's and the manual
 * page's test walk it.
 */
#ifndef USHER_CONFIG_OPTION_H
#define USHER_CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"
#include "config_tree.h"

enum config_shape {
	SHAPE_ONE,     /* a value of its kind */
	SHAPE_LIST,    /* [value, ...] of its kind */
	SHAPE_SECTION, /* a map of `fields`, in the same struct */
	SHAPE_ITEMS,   /* a list of maps of `fields`, a struct each; the first field names it */
	SHAPE_NAMED, /* a map: the key is the field KEY_ITSELF, the value the other fields or VALUE_ITSELF */
	SHAPE_INCLUDE, /* `include`, which is gone when the tree is read */
};

#define KEY_ITSELF "*"
#define VALUE_ITSELF "."
#define CONFIG_LIST_MAX 65000 /* items: indices of 16 bits and the value of none are enough */

struct config_kind;

struct config_option {
	const char *key;
	enum config_shape shape;
	const struct config_kind *kind;
	size_t at;                          /* offset in the struct that holds it */
	size_t count_at, size;              /* LIST, ITEMS, NAMED: offset of the count, octets of an item */
	const char *fallback;               /* the default as YAML; NULL: all zero */
	const struct config_option *fields; /* SECTION, ITEMS, NAMED: up to a NULL key */
	const char *const *words;           /* the values a word may have, by place */
	uint64_t min, max; /* bounds: numbers, durations (ms), sizes, items; max 0: the kind's own */
	uint16_t port;     /* of an address without one; 0: 53 */
	bool required;
	bool unique;       /* ITEMS: the first field is a text and no two have the same */
	bool below_suffix; /* a name, but no top-level domain or registry such as co.uk */
	bool later;        /* checked, but not in effect in this version */
	bool recursor;     /* the recursor process needs it */
	const char *doc;
};

extern const struct config_option config_options[]; /* ends with a NULL key */

/* One reading. */
struct config_reader {
	struct config *config;
	struct config_arena *arena; /* the configuration's */
	struct config_tree *tree;   /* what is read, and its problems */
	char path[256];             /* where we are: profiles[2].networks[0] */
	size_t path_len;
	bool from_file; /* else from text, which opens no further files */
};

struct config_printer {
	const struct config *config;
	FILE *to;
};

/* How a value is read from a node and printed. read tells its problems itself, and leaves *at as it was then.
 */
struct config_kind {
	void (*read)(struct config_reader *reader, const struct config_option *option,
	        const struct config_node *node, void *at);
	void (*print)(struct config_printer *printer, const struct config_option *option, const void *at);
	bool takes_lists;    /* else read is given scalars only */
	const char *example; /* for "expected a list such as [...]" and the like */
};

extern const struct config_kind kind_text, kind_word_free, kind_path, kind_bool, kind_number, kind_percent,
        kind_seconds, kind_milliseconds, kind_size, kind_word, kind_word_bool, kind_word_text, kind_address,
        kind_forward, kind_network, kind_name, kind_record, kind_category, kind_categories, kind_profile,
        kind_period, kind_days, kind_time, kind_url, kind_source_url, kind_folder_url, kind_secret,
        kind_proxy, kind_sha256, kind_cookie_secret, kind_mac, kind_minisign_key, kind_workers,
        kind_addresses, kind_block_answer, kind_holiday, kind_target, kind_keyword, kind_decimal,
        kind_network_file, kind_mail, kind_hook, kind_smtp;

/* "FILE:LINE: PATH: found 'X', expected …" */
void config_wrong(struct config_reader *reader, const struct config_node *node, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* A sentence for config->warnings, with file, line and path. */
void config_warn(struct config_reader *reader, const struct config_node *node, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Goes down the path, and back to the mark. */
size_t config_path_push(struct config_reader *reader, const char *key);
size_t config_path_index(struct config_reader *reader, size_t index);
void config_path_pop(struct config_reader *reader, size_t mark);

/* As config_arena_alloc(), and remembers when there is no memory. */
void *config_reader_alloc(struct config_reader *reader, size_t size);

/* Reads the fields of one struct at base; a path in problems begins with the reader's. node NULL: all by
 * default. config_read.c */
void config_read_fields(struct config_reader *reader, const struct config_option *options,
        const struct config_node *node, void *base);

/* Fills config->holiday_ranges. config_terms.c */
void config_read_holidays(struct config_reader *reader);

/* What one key says of another, once each is right by itself. config_check.c */
void config_check(struct config_reader *reader);

/*
 * Before reading: the sealed rows of the built-in categories, which no file can take away. A file's row of
 * that name must be sealed too; one that is missing is added.
 */
void config_check_sealed(struct config_reader *reader, const struct config_node *builtin);

/* Adds to a list of names, as far as there is room: "games, chat". */
#define CONFIG_MISSING_MAX 500
void config_missing_add(char missing[CONFIG_MISSING_MAX], const char *name);

/* Text as a YAML scalar, quoted where it must be. */
void config_print_scalar(FILE *to, const char *text);

#endif
