/*
 * All that workers need to judge a lookup, read only: configuration, lists, the tables made from both. A
 * change makes a new snapshot with a new stamp; each worker picks it up at the top of its loop and drops the
 * one before.
 */
#ifndef USHER_SNAPSHOT_H
#define USHER_SNAPSHOT_H

#include <stdint.h>

#include "blocklists/lists.h"
#include "clients.h"
#include "config.h"
#include "facts.h"
#include "neighbours.h"
#include "networks.h"

struct snapshot {
	_Atomic unsigned references;
	uint32_t stamp; /* never 0, different for every snapshot of a process */
	struct config *config;
	struct lists *lists; /* NULL: none could be read, profiles fail closed or open as they say */
	struct rules *rules;
	struct facts_table *table;
	struct clients *clients;
	struct macs *macs;
	struct snapshot_record { /* local records, sorted by owner and type */
		const struct config_record *record;
		struct name *cname; /* the target of a CNAME, else NULL */
	} * records;
	unsigned category_slot[CONFIG_CATEGORIES_MAX]; /* of struct stats */
	unsigned *engine_slot, *profile_slot, *profile_blocked_slot;
	unsigned *profile_engine_slot; /* of profile p and engine e at p * engine_count + e */
	struct networks *networks;     /* dns.blocked-networks */
	int bypass_category;           /* -1: there is none */
};

/* Takes over one reference to each; lists and rules may be NULL. Thread safe. NULL without memory. */
struct snapshot *snapshot_new(struct config *config, struct lists *lists, struct rules *rules);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_free(struct snapshot *snapshot); /* drops a reference; NULL is fine; thread safe */

/* The local records of an owner: a run of *count, or NULL. */
const struct snapshot_record *snapshot_records(
        const struct snapshot *snapshot, const struct name *owner, size_t *count);

#endif
