/*
 * Reads that were refused, by who tried: the first ten of a minute go into the ledger in full, those that
 * follow within the minute as one count. So nobody can fill the disk by asking for what they may not see, and
 * no try goes unseen.
 */
#ifndef USHER_REFUSALS_H
#define USHER_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define REFUSALS_WINDOW_S 60
#define REFUSALS_FULL 10
#define REFUSALS_PEOPLE 64 /* more in a minute are counted together, as nobody known */

/* All zeros: none. */
struct refusals {
	struct refusals_person {
		uid_t uid;
		int64_t since_s; /* of its minute; 0: not in use */
		unsigned full;
		uint64_t more;
	} people[REFUSALS_PEOPLE + 1];
};

/* Counts one at now_s (monotonic). Returns true if it is to be written down in full. */
bool refusals_add(struct refusals *refusals, uid_t uid, int64_t now_s);

/*
 * Hands each count whose minute is over at now_s (INT64_MAX: all) to tell, uid (uid_t)-1 for those counted
 * together. One that tell could not write down (false) is kept for the next time.
 */
void refusals_tell(struct refusals *refusals, int64_t now_s,
        bool (*tell)(void *arg, uid_t uid, uint64_t more), void *arg);

#endif
