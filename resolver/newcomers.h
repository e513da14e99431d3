/*
 * Newcomers: sites (names that somebody registered) that nobody here asked for before, while many devices
 * find them within the same lesson, though no list blocks them. It is fed the names that were answered
 * (names.h), and says which site so many devices asked for: how many, of which profile, not which.
 *
 * To tell one device from another it keeps keyed hashes, in memory, until a site's window is over: at most
 * NEWCOMERS_DEVICES a site, of NEWCOMERS_SITES sites. The key is drawn anew every hour and never written. The
 * sites with the fewest devices give place to others, and one device begins at most NEWCOMERS_BEGUN, so that
 * a flood of names by one pushes out nobody else's.
 *
 * Not told: what background-names and delivery-names cover, and names that say cdn; anything while the
 * school's names are still learned; more than NEWCOMERS_TOLD sites within an hour (a school that comes back
 * from its holidays finds everything new): then nothing more on that day. No I/O, no clock, no lock: one
 * thread's.
 */
#ifndef USHER_NEWCOMERS_H
#define USHER_NEWCOMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block_log.h"
#include "config.h"

#define NEWCOMERS_SITES 4096
#define NEWCOMERS_DEVICES 64 /* more are not told from each other */
#define NEWCOMERS_BEGUN 64
#define NEWCOMERS_TOLD 10

struct newcomers;

/* Who asked: made where addresses are known, under a random key. */
struct newcomers_asker {
	uint32_t device;
	uint16_t profile; /* index in the configuration */
};

struct newcomers_site {
	struct name name;
	const struct config_profile *profile; /* of most of them */
	unsigned devices;
	int64_t time_us;
};

/*
 * told() is called when as many devices as a rule of kind swarm asks for were at a new site, and whenever
 * twice as many as last told were. NULL without memory.
 */
struct newcomers *newcomers_new(
        void (*told)(void *arg, const struct newcomers_site *site), void *arg, uint64_t seed);
void newcomers_free(struct newcomers *newcomers); /* NULL is fine */

/*
 * The rules, their profiles and what is exempt, from now on; nothing is told before. config: borrowed, until
 * the next call. Returns 0 or -ENOMEM: then it is as before. Where profiles have changed places, who asked is
 * forgotten.
 */
int newcomers_configure(struct newcomers *newcomers, const struct config *config);

/* Begins a day: knows no site, and tells of none while it is learning. */
void newcomers_begin(struct newcomers *newcomers, bool learning);

/* The site of this name is no newcomer. */
void newcomers_know(struct newcomers *newcomers, const struct name *name);

/*
 * A name was asked by these. Returns true if it need not be noted again today: its site is known, or it
 * never is a newcomer.
 */
bool newcomers_note(struct newcomers *newcomers, const struct name *name,
        const struct newcomers_asker *askers, size_t count, int64_t now_us);

/* Every few seconds: ends the windows that are over. Their sites are known from then on, but for those that
 * one device alone asked for. */
void newcomers_turn(struct newcomers *newcomers, int64_t now_us);

/* There were too many: nothing is told until the next newcomers_begin(). */
bool newcomers_are_too_many(const struct newcomers *newcomers);

/* The profiles whose devices are looked at: any rule takes them. */
bool newcomers_watch(const struct config *config, size_t profile);

/* How many days must be known before; 0: at once. Negative: nothing is ever told. */
int newcomers_learn_days(const struct config *config);

/* ---- in the block log: an event without client, of action watch ---- */

#define NEWCOMERS_SOURCE_LEN 32
void newcomers_source(unsigned devices, char source[NEWCOMERS_SOURCE_LEN]);

/* How many devices it tells of; 0: it is another event. */
unsigned newcomers_devices(const struct block_record *record);

#endif
