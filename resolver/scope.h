/*
 * What one person may read of the block log, by the key `access`: a group usher-SUFFIX gives its members the
 * log of some profiles, in full, or (fields: counts) as numbers only.
 */
#ifndef USHER_SCOPE_H
#define USHER_SCOPE_H

#include <sys/types.h>

#include "block_log.h"

struct scope {
	bool all;     /* every profile, also those that are configured no more */
	bool manages; /* may hold, release and erase rows of what it may read in full */
	size_t count, counted_count;
	const char *profiles[CONFIG_PROFILES_MAX]; /* in full; the configuration's strings */
	const char *counted[CONFIG_PROFILES_MAX];  /* as numbers: those in full and those as counts */
};

/*
 * The scope of uid. Root, usherd's own user, and where `access` says nothing the members of usher-dsl, read
 * and manage all; the others what their groups may. Members of usher-dsl manage what they read.
 */
void scope_of(struct scope *scope, const struct config *config, uid_t uid);

/* Narrows a filter to the scope's profiles, which it then points to: in full, or for an answer of numbers
 * only. */
void scope_apply(const struct scope *scope, struct block_filter *filter, bool counts_only);

/* Whether any row of this profile (NULL: of any) may be read. counts_only: or counted. */
bool scope_allows(const struct scope *scope, const char *profile, bool counts_only);

/* Whether this machine has no group for that entry of `access`: then text says so, and nobody reads by it. */
#define SCOPE_TEXT_MAX 500
bool scope_lacks_group(const struct config_access *access, char text[SCOPE_TEXT_MAX]);

#endif
