/*
 * The block log: what was blocked, for whom, when. Workers write events into their rings; one writer thread commits them every 200 ms
 * at most to LMDB, one environment a day and retention class; readers scan them. Blocked and watched
 * lookups only: any other leaves no trace, but that newcomers.h may tell of a site without a client.
 *
 * The key table stands at the head of block_file.c. Deleting is unlinking: see DESIGN.md 3.
 */
#ifndef USHER_BLOCK_LOG_H
#define USHER_BLOCK_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blocklists/name.h"
#include "config.h"
#include "ring.h"

enum block_action { BLOCK_ACTION_BLOCK, BLOCK_ACTION_WATCH };

/* An event as a worker has it: pointers are the worker's, copied by block_log_write(). */
struct block_event {
	int64_t time_us;                /* since 1970, UTC */
	const uint8_t *client;          /* 16 octets, IPv4 mapped; NULL where the profile says no-client */
	const char *profile, *category; /* names; category NULL: an own rule or a walled garden */
	const char *source;             /* list or "configuration"; NULL none. What no name can be a rule of: source and rule, parted by a space */
	const struct name *name;        /* asked */
	const struct name *matched;     /* the asked name or the hop that was listed */
	uint8_t rule_labels;            /* the rule is the last so many labels of matched; 255: no rule (default: block) */
	uint16_t type;
	enum config_severity severity;
	enum block_action action;
	uint32_t keep_s;                /* retention class */
	uint64_t generation;            /* of the lists, 0 none */
};

/* Worker: one ring write. Returns false if the ring was full (the caller counts it lost). */
bool block_log_write(struct ring *ring, const struct block_event *event);

struct block_log;                       /* the writer */

/* How long a profile's rows are kept: also those in files of a longer class. */
struct block_keep {
	const char *profile;
	uint32_t keep_s;
};

struct block_log_options {
	const char *dir;                /* state-dir/log */
	const char *ring_dir;           /* where damaged rings may lie (ring.h); NULL: nowhere */
	uint64_t max_size;              /* octets, all days together: the oldest days go first; 0: no bound */
	struct ring **rings;
	unsigned ring_count;
	const struct block_keep *keeps; /* see block_log_set_keeps() */
	size_t keep_count;
	/* called on the writer's thread with a sentence when something is wrong, and with "" when it is right again */
	void (*trouble)(void *arg, const char *sentence);
	void *arg;
};

/*
 * Commits what the rings still hold from before (each event once: a sequence number a ring is committed with the events), prunes days
 * that are past their keep, then starts the writer thread. No worker may write before it returns.
 */
int block_log_start(struct block_log **out, const struct block_log_options *options);
void block_log_stop(struct block_log *log); /* commits what is left */
/* From now on rows of these profiles are kept so long, and no longer than when they were logged. Any thread; copied. */
int block_log_set_keeps(struct block_log *log, const struct block_keep *keeps, size_t count);
uint64_t block_log_lost(const struct block_log *log); /* events the writer had to drop: damaged in their ring */
const char *block_log_trouble(const struct block_log *log); /* "" or a sentence; any thread, for reading at once */

/* ---- reading: any process that may open the files ---- */

struct device;

struct block_record {                   /* as read back; pointers valid until the next record */
	uint64_t id;                    /* unique, increasing in the order of commit; at least the microseconds since 1970 then */
	int64_t time_us;
	const uint8_t *client;          /* NULL: not logged */
	const char *profile, *category, *source; /* NULL: none */
	struct name name, matched;
	uint8_t rule_labels;
	uint16_t type;
	enum config_severity severity;
	enum block_action action;
	uint64_t generation;

	/* Who had the address then (devices.h), joined by whoever reads (log_query.h); NULL: was not. */
	const struct device *device;
};

struct block_filter {
	bool has_client;
	struct config_network client;
	const char *profile, *category; /* NULL: any */
	int severity;                   /* at least this, -1 any */
	struct name name;               /* len 0: any; else this name and below, asked or matched */
	int64_t since_us, until_us;     /* [since, until); 0: open */
	uint64_t limit;                 /* 0: none */
	uint64_t after_id;              /* only newer ones than this id, oldest first (follow); 0: newest first */
	const char *const *profiles;    /* scope of the reader: only these profiles; NULL all */
	size_t profile_count;
};

/*
 * Calls found for each record that passes, newest first (after_id: oldest first, in order of ids); a found() that returns false ends it.
 * What was committed before the call is found, also while a writer goes on. Not on two threads of a process at once, nor in the
 * writer's process while it runs (LMDB's locks are a process's). Returns the number found or negative errno.
 */
int64_t block_log_scan(const char *dir, const struct block_filter *filter,
	bool (*found)(void *arg, const struct block_record *record), void *arg);

/* Id of the newest event of all, 0 if there is none: where a follow begins. */
uint64_t block_log_last_id(const char *dir);

/* The test of a filter on a record, for one scan that serves many. */
bool block_log_passes(const struct block_record *record, const struct block_filter *filter);

/* A record as one JSON object, keys as in DESIGN.md 5. malloc()ed. */
char *block_record_json(const struct block_record *record);

#endif
