#include "refusals.h"

#include <stddef.h>

static struct refusals_person *find(struct refusals *refusals, uid_t uid)
{
	struct refusals_person *unused = NULL;

	for (size_t i = 0; i < REFUSALS_PEOPLE; i++) {
		struct refusals_person *person = &refusals->people[i];
		if (person->since_s != 0 && person->uid == uid)
			return person;
		if (person->since_s == 0)
			unused = person;
	}
	if (unused == NULL) {
		unused = &refusals->people[REFUSALS_PEOPLE];
		uid = (uid_t)-1;
	}
	unused->uid = uid;
	return unused;
}

/* A minute that is over, but of which there is more to tell, goes on until that is written. */
bool refusals_add(struct refusals *refusals, uid_t uid, int64_t now_s)
{
	struct refusals_person *person = find(refusals, uid);

	if (person->since_s == 0 || (person->more == 0 && now_s - person->since_s >= REFUSALS_WINDOW_S)) {
		person->since_s = now_s > 0 ? now_s : 1;
		person->full = 0;
	}
	if (person->full < REFUSALS_FULL) {
		person->full++;
		return true;
	}
	person->more++;
	return false;
}

void refusals_tell(struct refusals *refusals, int64_t now_s,
        bool (*tell)(void *arg, uid_t uid, uint64_t more), void *arg)
{
	for (size_t i = 0; i <= REFUSALS_PEOPLE; i++) {
		struct refusals_person *person = &refusals->people[i];
		if (person->since_s == 0 || now_s - person->since_s < REFUSALS_WINDOW_S)
			continue;
		if (person->more == 0 || tell(arg, person->uid, person->more))
			*person = (struct refusals_person){ 0 };
	}
}
