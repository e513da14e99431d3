/* What the files of `usher lists` share: lists_cmd.c (the words after `lists`), lists_update.c (what changes
 * the lists), lists_pull.c (takes them from another usher), lists_show.c (what shows them), lists_compare.c
 * (diff, coverage, export), lists_impact.c (what a change means for this school). */
#ifndef USHER_LISTS_CMD_H
#define USHER_LISTS_CMD_H

#include <limits.h>
#include <sys/types.h>

#include "blocklists/fetch.h"
#include "blocklists/lists.h"
#include "commands.h"

#define LISTS_COMMAND "lists"

/* The configuration as the lists know it. */
struct lists_tool {
	struct command_context *context;
	const struct config *config;
	char dir[PATH_MAX]; /* STATE-DIR/lists */
	const char *categories[CONFIG_CATEGORIES_MAX];
	uid_t uid;             /* who typed it, also after the change of user */
	struct impact *impact; /* of an update that is running (lists_impact.h) */
	bool accepts;          /* it takes what was held back */
	bool rows_are_sources; /* the CSV of that update */
};

/* Each takes the operands and options after its word out of tool->context. Returns an exit code. */
int lists_update(struct lists_tool *tool); /* with lists.pull, the same as: */
int lists_pull(struct lists_tool *tool);
int lists_accept(struct lists_tool *tool);
int lists_rollback(struct lists_tool *tool);
int lists_status(struct lists_tool *tool);
int lists_find_name(struct lists_tool *tool);
int lists_history(struct lists_tool *tool);
int lists_diff(struct lists_tool *tool);
int lists_coverage(struct lists_tool *tool);
int lists_export(struct lists_tool *tool);

/* Makes the folder, and takes on the rights of the user who may write there. Returns an exit code. */
int lists_tool_become_writer(const struct lists_tool *tool);

/* Appends to the ledger; a failure is said. */
void lists_tool_note_published(const struct lists_tool *tool, const char *what, uint64_t id, uint64_t names);

/* As the configuration has it. */
struct fetch_options lists_tool_fetch_options(const struct lists_tool *tool);

/* Opens a generation, 0 for the current one (or the newest that is whole, with a word on stderr). Returns
 * NULL after saying why not. */
struct lists *lists_tool_open(const struct lists_tool *tool, uint64_t id);

/* A generation's number as typed ("42", "gen-000042"). Returns 0 if it is none. */
uint64_t lists_tool_generation(const char *text);

/* The sealed categories without a name: nothing is blocked by them. A new array; said aloud too, if asked to.
 */
json_t *lists_tool_unfed(const struct lists_tool *tool, const struct lists *lists, bool aloud);

/* What to do about a source that is held back: a sentence for people. */
void lists_tool_next_step(const char *source, const json_t *held, char *sentence, size_t size);

/* Prints one line of JSON and frees it. */
void lists_tool_json(json_t *json);

/* Rows for programs, one line of JSON or CSV each; first the head of the CSV, if there is one. */
bool lists_tool_for_programs(const struct lists_tool *tool); /* --json or --csv */
void lists_tool_head(const struct lists_tool *tool, const char *const *keys, size_t count);
/* An account's value for a row: null for "", which is what a list or its server does not tell. */
json_t *lists_tool_member(const json_t *account, const char *key);
/* Frees the row. */
void lists_tool_row(const struct lists_tool *tool, json_t *row, const char *const *keys, size_t count);

#define LISTS_AGE_MAX 40
/* "3 h ago" */
const char *lists_tool_age(int64_t since, char text[LISTS_AGE_MAX]);

#endif
