/* usher's commands: one table line each in usher.c, which is both dispatch and usage. */
#ifndef USHER_COMMANDS_H
#define USHER_COMMANDS_H

#include <jansson.h>
#include <stdbool.h>

#include "resolver/config.h"
#include "resolver/rules.h"
#include "resolver/utc.h"

/* What every command is given. */
struct command_context {
	const char *config_file;
	struct config *config; /* read on first use by command_config() */
	bool is_damaged;       /* config is of a file with mistakes: see command_config_to_ask() */
	bool json, csv;        /* --json, --csv, wherever they stood */
	int argc;              /* what is left: the command's words after its name */
	char **argv;
};

/* The configuration, read once; a mistake is printed and the program ends with 1. */
const struct config *command_config(struct command_context *context);

/*
 * The same for commands that do no more than ask usherd, which goes on with the configuration of before: a
 * mistake is printed, and they find it by config_read_damaged().
 */
const struct config *command_config_to_ask(struct command_context *context);

/* Ends the program with a sentence if this folder is there and may not be read; or passed, for paths in it
 * that are known. */
void command_must_read(const char *dir);
void command_must_pass(const char *dir);

/* Who acts where the uid says root: the user who typed sudo, or NULL. */
const char *command_sudo_user(void);

/* Exit codes of every command: 0 done, 1 failed, 2 wrong usage, 3 (lists update) a source is held. */
enum command_exit { COMMAND_OK, COMMAND_FAILED, COMMAND_USAGE, COMMAND_HELD };

/* Prints "usher: …" on stderr, names the command's help, returns COMMAND_USAGE. */
int command_usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* argv-style options of a command: {"client", true} is --client VALUE or --client=VALUE. Values point into
 * argv. */
struct command_option {
	const char *name;
	bool takes_value;
	const char **value; /* set to the value, or to "" for a flag */
};
/* Takes the options out of context->argv; what is left are the operands. Returns 0 or COMMAND_USAGE after
 * saying why. */
int command_options(struct command_context *context, const char *command,
        const struct command_option *options, size_t count);

/*
 * When started as root, becomes the configuration's `user` before anything is written, so that usherd can
 * read it. Fatal if that user was configured and does not exist. Does nothing otherwise.
 */
void command_become_user(const struct config *config);

/*
 * The school's own rules as usherd published them (rules_free() them). What is wrong with them is said; then
 * they are the revision before, as for usherd. Returns 0, -EBADMSG, or another negative errno, with *rules
 * NULL for -EACCES and -ENOMEM alone.
 */
int command_rules(const struct config *config, struct rules **rules);

/*
 * What usherd's policy reads, opened by a command: the lists that it would serve, the school's rules, the
 * engines that failed. lists and view are NULL where no generation can be read: the policy knows what a
 * profile gets then.
 */
struct command_policy {
	struct lists *lists;
	struct lists_view *view;
	struct rules *rules;
	struct facts_table *table;
};
/* What is wrong with lists or rules is said. Returns 0, -EACCES (that we may not look says nothing of what
 * usherd does), or -ENOMEM. */
int command_policy_open(struct command_policy *policy, const struct config *config);
void command_policy_close(struct command_policy *policy); /* of a zeroed one too */

/*
 * One request to usherd over a Unix socket in run-dir ("stats.sock"). body NULL: GET. Returns the HTTP status
 * and *reply (malloc()ed, NUL-terminated), or -errno after saying that usherd does not run or may not be
 * asked; then *reply is NULL.
 */
int command_http(
        const struct config *config, const char *socket, const char *path, const char *body, char **reply);
/* The same with another method, such as DELETE. */
int command_http_method(const struct config *config, const char *socket, const char *method, const char *path,
        const char *body, char **reply);
/*
 * The same for a reply that does not end: got is called with each piece of a 200; it returns false to stop.
 * The text of another status is printed as command_http_failed() does. -EPIPE: the stream broke off, which is
 * not said.
 */
int command_http_stream(const struct config *config, const char *socket, const char *path,
        bool (*got)(void *arg, const char *data, size_t len), void *arg);

/* Prints "usher: …" with the sentence of usherd's {"error": …} reply. Returns COMMAND_FAILED. */
int command_http_failed(int status, const char *reply);

/* A malloc()ed copy in which control characters, terminal escapes, direction marks and what is not UTF-8 are
 * "?". */
char *command_safe_text(const char *text);

/* Prints a sentence on stderr as safe text, each of its lines after "usher: ". */
void command_say(const char *text);

/* Prints an object, or one that is compact text already, as a line of JSON. What safe text would have as "?"
 * is escaped (\uXXXX): a program reads the same value, a terminal obeys nothing.
 * Without an object (its text was no UTF-8) the line is empty. */
void command_json(const json_t *json);
void command_json_line(const char *json);

/* A table for people: columns as wide as their content, cut to the terminal's width only where stdout is one;
 * control characters shown as ?. */
struct command_table;
struct command_table *command_table_new(const char *const *columns, size_t count);
void command_table_row(struct command_table *table, const char *const *cells);
void command_table_wraps(
        struct command_table *table); /* its last column is not cut, but goes on in lines of its own */
void command_table_print(struct command_table *table); /* and frees it */

/* For --csv and for people: with csv its rows are CSV lines, printed as they come, keys first. */
struct command_table *command_rows_new(
        bool csv, const char *const *keys, const char *const *heads, size_t count);

/* One CSV line (RFC 4180), cells that a spreadsheet would take for a formula are given a leading apostrophe.
 */
void command_csv(const char *const *cells, size_t count);
/* One CSV line of an object's values: a null is empty, a list is its texts (or its objects' names) parted by
 * spaces, an object compact JSON. */
void command_csv_object(const json_t *object, const char *const *keys, size_t count);

/* `1h`, `yesterday`, `2026-11-23 10:15` (local), RFC 3339. Seconds since 1970 in *s. Returns 0 or -EINVAL.
 * past: a duration counts back from now, else forward. */
int command_time(const char *text, bool past, int64_t *s);

/* UTC as it comes, local as people want it; what is no time, as it is. Returns text. */
const char *command_local_time(const char *utc, char text[UTC_TEXT_LEN]);

/* As reallocarray(), but without memory the program ends. */
void *command_grown(void *old, size_t count, size_t size);

int lists_command(struct command_context *context);
int check_command(struct command_context *context);
int log_command(struct command_context *context);
int retention_command(struct command_context *context);
int case_command(struct command_context *context);
int forget_command(struct command_context *context);
int episodes_command(struct command_context *context);
int signals_command(struct command_context *context);
int selftest_command(struct command_context *context);
int report_command(struct command_context *context);
int ship_command(struct command_context *context);
int alert_command(struct command_context *context);
int stats_command(struct command_context *context);
int allow_command(struct command_context *context);
int block_command(struct command_context *context);
int rules_command(struct command_context *context);
int ledger_command(struct command_context *context);
int network_command(struct command_context *context);
int status_command(struct command_context *context);
int reload_command(struct command_context *context);
int flush_command(struct command_context *context);

#endif
