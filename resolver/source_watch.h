/*
 * How the sources of the lists fare now, for gauges and status: when each was last confirmed, and whether it
 * is held back or failed. The generation in use remembers how they were when it was made; the updater's
 * accounts say how they are. They are small files, read by the main thread when somebody asks, at most every
 * few seconds.
 */
#ifndef USHER_SOURCE_WATCH_H
#define USHER_SOURCE_WATCH_H

#include <jansson.h>
#include <stdint.h>

#include "blocklists/lists.h"
#include "config.h"

#define SOURCE_OLD_S (8 * 86400) /* a weekly list that missed a week */

struct source_watch {
	json_t *accounts; /* array of {name, fetched_at?, held?, failed?}, the configuration's order */
	const struct config *of;
	int64_t read_s; /* monotonic */
};

/* The accounts, read anew if they are old. They are the watch's. lists: for sources without an account; NULL:
 * none. */
const json_t *source_watch_read(
        struct source_watch *watch, const struct config *config, const struct lists *lists);

void source_watch_clear(struct source_watch *watch);

#endif
