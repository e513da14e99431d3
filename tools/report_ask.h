/* What reports ask of usherd: the block log through its reader, which records each read, and its state. */
#ifndef USHER_REPORT_ASK_H
#define USHER_REPORT_ASK_H

#include "commands.h"

#define REPORT_ROWS_MAX 100000 /* of one question */

/* [since, until) in seconds since 1970. */
struct report_period {
	int64_t since, until;
};

/* Of whom: NULL is everybody. */
struct report_whom {
	const char *profile, *client, *device;
};

/* What may be asked of log.sock. */
extern const char report_episodes[], report_signals[], report_records[];

/*
 * Each returns new JSON (an array of such rows, the newest REPORT_ROWS_MAX; an object of counts by key), or
 * NULL after saying why there is none.
 */
json_t *report_ask_rows(struct command_context *context, const char *route, const struct report_whom *whom,
        const struct report_period *period);
json_t *report_ask_counts(struct command_context *context, const struct report_whom *whom,
        const struct report_period *period, const char *by);

/* A reply of another socket, NULL without words where there is none: not everybody may ask there. */
json_t *report_ask_state(struct command_context *context, const char *socket, const char *path);

#endif
