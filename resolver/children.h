/*
 * The daemon's children, which the keeper starts (keeper.h): the recursor, which all workers ask, and those
 * who tell people, the reader of the log and the alerter. Each gets the configuration that concerns it as
 * text, and is started anew where that has changed. All of it is the main thread's.
 */
#ifndef USHER_CHILDREN_H
#define USHER_CHILDREN_H

#include <stdbool.h>

#include "blocklists/name.h"

struct daemon;

/* When the main loop is to run: starts all of them, and hears how they fare. Returns 0 or negative errno. */
int daemon_attach_children(struct daemon *daemon);

/*
 * Starts the recursor, or replaces it: where what concerns it has changed, or by force, which forgets what
 * libunbound holds. What the old one brought goes from our cache once the new one serves. Returns 0 or
 * negative errno: then the old one goes on.
 */
int daemon_start_recursor(struct daemon *daemon, bool force);

/* The same for the reader and the alerter, which get the whole configuration. */
int daemon_start_tellers(struct daemon *daemon);

/* Every two seconds: a recursor that hangs is replaced; the keeper kills it some seconds later. */
void daemon_check_recursor(struct daemon *daemon);

/*
 * Forgets a name and all below it, for good: from the packet cache, and by a new recursor from libunbound's.
 * Returns 0 or negative errno.
 */
int daemon_flush(struct daemon *daemon, const struct name *name, unsigned *flushed);

/* Several times a second, until the workers have left the old recursor. */
void daemon_flush_again(struct daemon *daemon);

#endif
