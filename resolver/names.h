/*
 * How often each name is asked, school-wide, for previews of list updates: names that were answered, not who
 * asked. A name comes into the store only once three clients or more asked for it on that day. What is
 * counted also shows sites that nobody here asked for before and many devices do now (newcomers.h).
 *
 * Each worker counts into a table of its own, of fixed size: no lock, no allocation, no system call. A thread
 * takes the full tables every ten seconds, gives back empty ones, and writes the day every few minutes. To
 * tell one client from another it keeps keyed hashes of addresses, in memory, with a random key of the day
 * and the process; they are never written: sixteen a name until a table is taken, then three. A name over 128
 * octets is not counted; a table that is asked for more names than it holds forgets some of those asked
 * least, so counts may be low, never high.
 */
#ifndef USHER_NAMES_H
#define USHER_NAMES_H

#include <stdint.h>

#include "blocklists/name.h"
#include "newcomers.h"

#define NAMES_CLIENTS 3 /* so many must have asked */

struct names;         /* the thread and what it holds */
struct names_counter; /* one worker's */

struct names_options {
	const char *dir; /* STATE-DIR/names */
	unsigned workers;
	uint32_t days;       /* how long a day is kept, the present one included */
	unsigned collect_ms; /* 0: ten seconds */
	/* Called on the thread for a site that is new here and that many devices ask for; NULL: nobody looks.
	 */
	void (*told)(void *arg, const struct newcomers_site *site);
	void *arg;
	struct config *config; /* for that; as names_configure() */
};

/* Goes on where today's file ends. Returns 0 or negative errno. */
int names_start(struct names **out, const struct names_options *options);

/* When the workers have ended: writes what is left. NULL is fine. */
void names_stop(struct names *names);

/*
 * Another configuration, which says what new sites are told (newcomers.h). What was counted before is told no
 * more, for its profiles may be others now. names NULL is fine.
 */
void names_configure(struct names *names, struct config *config);

/* Removes what is in dir: for a school that does not want it counted. Returns 0 or negative errno. */
int names_forget(const char *dir);

/* The counter of a worker; NULL if names is. */
struct names_counter *names_counter(struct names *names, unsigned worker);

/* ---- the worker's own; NULL: nothing is counted ---- */

/* The name's hash for names_count(); what that will touch is then on its way from memory. */
uint64_t names_fetch(const struct names_counter *counter, const struct name *name);

#define NAMES_NO_PROFILE UINT16_MAX /* this lookup makes no site a new one */

/* A name was answered to the client (16 octets) of that profile. hash: what names_fetch() said, or 0. */
void names_count(struct names_counter *counter, const struct name *name, uint64_t hash, const uint8_t *client,
        uint16_t profile);

/* Hands the table over if the thread asks for it: once a second or so. */
void names_hand_over(struct names_counter *counter);

#endif
