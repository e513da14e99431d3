/*
 * What the log tells beyond rows: episodes and signals of the records that a question selects, for log.sock
 * and for `usher` where no daemon runs. One JSON object a line.
 */
#ifndef USHER_EVENT_QUERY_H
#define USHER_EVENT_QUERY_H

#include <stdio.h>

#include "block_log.h"
#include "config.h"
#include "devices.h"
#include "log_query.h"
#include "signal.h"

#define EVENT_QUERY_LIMIT 10000 /* lines, where no limit is asked for */

/* The names of their parameters, ending with NULL: those of the log but count-by. */
extern const char *const event_query_parameters[];

/*
 * Episodes (episode.h) of the records that pass, danger first, background last, then the newest; at most
 * query->filter.limit of them (0: EVENT_QUERY_LIMIT). Returns the lines written or negative errno.
 */
int64_t episodes_run(const struct config *config, const struct log_query *query, const char *dir, FILE *out);

/*
 * Signals (signal.h) that were made since query->filter.since_us, newest first. Records up to SIGNAL_LEAD_S
 * before are looked at too. Returns the lines written or negative errno.
 */
int64_t signals_run(const struct config *config, const struct log_query *query, const char *dir, FILE *out);

/* signal_json() with the device that had the client's address then. */
char *signal_with_device(struct devices *devices, const struct signal *signal);

#endif
