/*
 * What the log tells beyond rows: episodes and signals of the records that a question selects, for log.sock
 * and for `usher` where no daemon runs. One JSON object a line.
 */
#ifndef USHER_EVENT_QUERY_H
#define USHER_EVENT_QUERY_H

#include <stdio.h>

#include "block_log.h"
#include "config.h"

#define EVENT_QUERY_LIMIT 10000 /* lines, where no limit is asked for */

/* The names of their parameters, ending with NULL: those of the log but count-by. */
extern const char *const event_query_parameters[];

/*
 * Episodes (episode.h) of the records that pass, danger first, background last, then the newest; at most
 * filter->limit of them. Returns the lines written or negative errno.
 */
int64_t episodes_run(
        const struct config *config, const struct block_filter *filter, const char *dir, FILE *out);

/*
 * Signals (signal.h) that were made since filter->since_us, newest first. Records up to SIGNAL_LEAD_S before
 * are looked at too. Returns the lines written or negative errno.
 */
int64_t signals_run(
        const struct config *config, const struct block_filter *filter, const char *dir, FILE *out);

#endif
