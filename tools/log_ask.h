/*
 * What every command that reads the log has in common: filters as options, the question to usherd's reader
 * over log.sock, which records who read what, and where usherd does not run, root's own reading of the store,
 * recorded the same.
 */
#ifndef USHER_LOG_ASK_H
#define USHER_LOG_ASK_H

#include <stdio.h>

#include "commands.h"
#include "resolver/log_query.h"

#define LOG_ASK_PATH_LEN 4096

struct log_ask {
	/* set by the command */
	struct command_context *context;
	const char *command;
	const char *const *parameters; /* of the route, ends with NULL; each but `format` is an option */

	/* read */
	const struct config *config;
	struct log_query query;
	const char *values[24]; /* places as in parameters; NULL absent */
	char since[UTC_TEXT_LEN], until[UTC_TEXT_LEN];
};

/* Reads the options, and these others. Returns COMMAND_OK, or COMMAND_USAGE after saying why. */
int log_ask_read(struct log_ask *ask, const struct command_option *others, size_t count);

/* NULL: absent. */
const char *log_ask_value(const struct log_ask *ask, const char *parameter);

/* Sets one that the command itself gives; value must outlive ask. */
void log_ask_set(struct log_ask *ask, const char *parameter, const char *value);

/* Whether somebody accepts connections to log.sock. */
bool log_ask_is_served(const struct config *config);

/* The route with the parameters that are there. Returns COMMAND_OK or COMMAND_USAGE. */
int log_ask_path(const struct log_ask *ask, const char *route, char path[LOG_ASK_PATH_LEN]);

/*
 * The answer, malloc()ed, from usherd or as root from the store by offline() (dir: STATE-DIR/log), which is
 * recorded as `what`. Returns COMMAND_OK, or COMMAND_FAILED after saying why.
 */
int log_ask_answer(const struct log_ask *ask, const char *route, const char *what,
        int64_t (*offline)(const struct log_ask *ask, const char *dir, FILE *out), char **text);

/* ---- its lines ---- */

/* Calls each for every line of text that is an object; returns how many there were. */
size_t log_each_line(char *text, void (*each)(void *arg, const char *line, const json_t *record), void *arg);

/* A value as text, "" where there is none; numbers are written into the space given. */
const char *log_cell_text(const json_t *record, const char *key, char text[32]);

#endif
