/*
 * A place outside that keeps the block log too. Events are sent at least once, in batches, in the order of
 * their ids; one that was sent twice has the same id twice.
 */
#ifndef USHER_SHIP_H
#define USHER_SHIP_H

#include <jansson.h>

#include "resolver/config.h"

#define SHIP_BATCH_MAX 10000 /* events */
#define SHIP_WHY_MAX 512

struct ship_target {
	const char *name; /* a word of the command, and of the file with its position */
	/* What the configuration lacks for it ("ship.clickhouse.url"), NULL if nothing. */
	const char *(*lacks)(const struct config *config);
	/*
	 * Sends an array of records, each with its id. Returns 0 when the other has them all, or negative
	 * errno with a sentence in why. After -EBADMSG the other will never take them; after anything else it
	 * may.
	 */
	int (*send)(const struct config *config, const json_t *records, char why[SHIP_WHY_MAX]);
};

extern const struct ship_target ship_clickhouse, ship_syslog;

#endif
