/*
 * What a rule of signal.h remembers of whom it looks at: a watch for each client, or in a swarm each site,
 * under each rule, with the steps that it saw. Bounded: of SIGNAL_WATCHES_MAX watches the one that waited
 * longest makes room, and the caller says how many steps a watch may have. It knows records, but nothing of
 * kinds, categories' meaning or signals.
 */
#ifndef USHER_SIGNAL_WATCH_H
#define USHER_SIGNAL_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "block_log.h"

#define SIGNAL_WATCHES_MAX 65536
#define SIGNAL_WATCH_BUCKETS 16384
#define WATCH_PARTS 30 /* of a threshold's window */

/* What a watch has seen: a name, a day, a site or a client, by the kind of its rule. */
struct step {
	uint64_t key;
	int64_t first_us, last_us;
	uint64_t count;
	char *name;           /* of the first record, presentation form */
	const char *category; /* a kept word (words.h), NULL: none */
	bool bypass, has_client;
	uint8_t client[16];
};

struct signal;

struct watch {
	LIST_ENTRY(watch) bucket;
	TAILQ_ENTRY(watch) age; /* the one that waited longest first */
	unsigned rule;
	uint64_t hash;
	struct step *steps; /* in order of first_us */
	size_t step_count, step_room;
	uint32_t parts[WATCH_PARTS];
	int64_t part;        /* number of the newest */
	struct signal *open; /* the caller's, who frees it when the watch ends */
};

struct watches {
	LIST_HEAD(, watch) buckets[SIGNAL_WATCH_BUCKETS];
	TAILQ_HEAD(, watch) ages;
	size_t count;
	void (*end)(void *arg, struct watch *watch);
	void *arg;
};

/* end() is called for each watch that goes; its steps are gone by then. */
void watches_init(struct watches *watches, void (*end)(void *arg, struct watch *watch), void *arg);
void watches_clear(struct watches *watches); /* all go, the one that waited longest first */

/* The watch of a rule for what has that hash, made where there is none. NULL without memory. */
struct watch *watches_find(struct watches *watches, unsigned rule, uint64_t of);

/*
 * Adds the record to the step of as->key, made with as->category and as->bypass where there is none; where
 * there are `most`, the oldest goes. Returns 0 or -ENOMEM.
 */
int watch_add(struct watch *watch, const struct step *as, const struct block_record *record, size_t most);

/* The steps that saw nothing since go. */
void watch_expire(struct watch *watch, int64_t before_us);

/* Counts a lookup in that part of a window, which has WATCH_PARTS. Returns those in the window, this one
 * included. */
uint64_t watch_count(struct watch *watch, int64_t part);

/* A name's presentation form, malloc()ed; NULL without memory. */
char *watch_name(const struct name *name);

#endif
