/*
 * What an incremental transfer says (RFC 1995): records that go and records that come, as lines of zone text.
 * Gathered while it arrives, then applied to the text that is held, in one pass that keeps only the changes
 * in memory. They must fit: what goes must be there, what comes must not.
 */
#ifndef USHER_ZONE_CHANGES_H
#define USHER_ZONE_CHANGES_H

#include <stdio.h>

#define ZONE_CHANGES_MAX 1000000 /* more than that is fetched whole */

struct zone_changes;

struct zone_changes *zone_changes_new(void);          /* NULL without memory */
void zone_changes_free(struct zone_changes *changes); /* NULL is fine */

/* A line without its end, in the order of the transfer. Returns 0, -ENOMEM, -E2BIG, or -EBADMSG (it goes or
 * comes twice). */
int zone_changes_remove(struct zone_changes *changes, const char *line);
int zone_changes_add(struct zone_changes *changes, const char *line);

/* Writes held as it is after the changes; its first line, which must be old_soa, becomes soa. Uses the
 * changes up. Returns 0, -EBADMSG (they do not fit), or another negative errno. */
int zone_changes_apply(
        struct zone_changes *changes, FILE *held, const char *old_soa, const char *soa, FILE *to);

#endif
