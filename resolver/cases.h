/*
 * Rows of the block log that are held for a case: copies, in files of their own (DIR/2026-11-22-case7.mdb, and -case7-r1.mdb for
 * what came later), that neither `keep` nor
 * log.max-size nor an erasure takes away, until the case is released. DIR/case-7.json says who holds what and why; a case is one from the
 * moment that is there. All here is for the reader's children and tools; one change at a time (DIR/case.lock).
 */
#ifndef USHER_CASES_H
#define USHER_CASES_H

#include <jansson.h>
#include <sys/types.h>

#include "block_file.h"
#include "block_log.h"

/* Returns 0, -EBUSY where somebody else holds it, or negative errno. */
int cases_lock(const char *dir, int *fd);
void cases_unlock(int fd);

/*
 * Holds the rows that pass the filter (client, name, profile, profiles, since, until). device: a name or MAC, whose rows alone they shall
 * be, at whatever address; "": whoever's, and where the filter's one address was one device's, that device's at its other addresses too. A
 * case of a device goes on: rows that come later are held by cases_grow(), until goes_until_us (0: until it is released).
 *
 * detail: what the case says of itself; borrowed, "case", "at", "rows", "device", "macs", "addresses", "goes_on" and "growth" are set in it.
 * Returns the case's number, 0 if no row passes, or negative errno. The lock must be held.
 */
struct cases_asked {
	const struct block_filter *filter;
	const char *device;
	int64_t goes_until_us; /* not after the filter's end: it does not go on */
};
int64_t cases_hold(const char *dir, const struct cases_asked *asked, json_t *detail);

/*
 * Holds what has come into the log since, for the cases that go on. all: of today too; else only where a day is over since the last time.
 * Returns 0 or negative errno. The lock must be held.
 */
int cases_grow(const char *dir, bool all);

/*
 * How the last cases_grow() of the reader itself ended, kept in DIR/case.trouble for usherd (fault.h), who cannot know otherwise: why it
 * failed, "" if it did not. cases_trouble() returns whether it failed.
 */
#define CASES_TROUBLE_MAX 256
void cases_tell_trouble(const char *dir, const char *why);
bool cases_trouble(const char *dir, char why[CASES_TROUBLE_MAX]);

/* Whether this file (not a case's) may have rows that a case is still to take. */
bool cases_await(const char *dir, const struct block_file *file);

/* Ends a case: its rows go, unless they are kept anyway. Returns 0, -ENOENT or negative errno. The lock must be held. */
int cases_release(const char *dir, uint32_t number);
bool cases_has(const char *dir, uint32_t number); /* true too where that cannot be known */

/* All cases, {"case","at",…} each, in order of their numbers; the caller's. NULL without memory. */
json_t *cases_list(const char *dir);

/* How many rows are held that pass the filter, and a number of a case that holds some. Returns it or negative errno. */
int64_t cases_held(const char *dir, const struct block_filter *filter, uint32_t *number);

#endif
