/*
 * How often each name is asked, school-wide, for previews of list updates: names that were answered, not who
 * asked. A name comes into the store only once three clients or more asked for it on that day.
 *
 * Each worker counts into a table of its own, of fixed size: no lock, no allocation, no system call. A thread
 * takes the full tables every half minute, gives back empty ones, and writes the day every few minutes. To
 * tell one client from another it keeps keyed hashes of three addresses a name, in memory, with a random key
 * of the day and the process; they are never written. A name over 128 octets is not counted; a table that is
 * asked for more names than it holds forgets some of those asked least, so counts may be low, never high.
 */
#ifndef USHER_NAMES_H
#define USHER_NAMES_H

#include <stdint.h>

#include "blocklists/name.h"

#define NAMES_CLIENTS 3 /* so many must have asked */

struct names;         /* the thread and what it holds */
struct names_counter; /* one worker's */

struct names_options {
	const char *dir; /* STATE-DIR/names */
	unsigned workers;
	uint32_t days;       /* how long a day is kept, the present one included */
	unsigned collect_ms; /* 0: half a minute */
};

/* Goes on where today's file ends. Returns 0 or negative errno. */
int names_start(struct names **out, const struct names_options *options);

/* When the workers have ended: writes what is left. NULL is fine. */
void names_stop(struct names *names);

/* Removes what is in dir: for a school that does not want it counted. Returns 0 or negative errno. */
int names_forget(const char *dir);

/* The counter of a worker; NULL if names is. */
struct names_counter *names_counter(struct names *names, unsigned worker);

/* ---- the worker's own; NULL: nothing is counted ---- */

/* The name's hash for names_count(); what that will touch is then on its way from memory. */
uint64_t names_fetch(const struct names_counter *counter, const struct name *name);

/* A name was answered to the client (16 octets). hash: what names_fetch() said, or 0. */
void names_count(
	struct names_counter *counter, const struct name *name, uint64_t hash, const uint8_t *client);

/* Hands the table over if the thread asks for it: once a second or so. */
void names_hand_over(struct names_counter *counter);

#endif
