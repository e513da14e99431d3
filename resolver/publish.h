/*
 * What is in force: lists, rules, configuration and the engines whose safe search works, put together into a
 * snapshot that all workers are handed, as one act of the main thread. What is said to be in effect then is.
 * A generation that cannot be used is refused, told, and not tried again; the one before goes on.
 */
#ifndef USHER_PUBLISH_H
#define USHER_PUBLISH_H

#include <stdint.h>

#include "config.h"
#include "snapshot.h"

struct daemon;

/* At start: the newest whole generation, or the starter list where there never was one. */
void daemon_open_lists(struct daemon *daemon);
void daemon_read_engines(struct daemon *daemon); /* and after a reload */

/* When the main loop is to run: generations are opened beside it. Returns 0 or -ENOMEM. */
int daemon_follow_lists(struct daemon *daemon);

/* Several times a second: looks whether `current` names another generation than the one in use, and begins to
 * open it; it serves if it is whole. */
void daemon_watch_lists(struct daemon *daemon);

/*
 * The lists for a new configuration: the same, or where categories have changed places the same generation
 * opened anew; where none serves, another try (*lists may stay NULL). Returns 0, or negative errno with why.
 */
int daemon_lists_for(
        struct daemon *daemon, const struct config *config, struct lists **lists, char why[CONFIG_WHY_MAX]);

/*
 * What the workers would be given with these rules instead of those in use: for a look ahead, or for
 * daemon_take_rules(). NULL without memory.
 */
struct snapshot *daemon_snapshot(const struct daemon *daemon, struct rules *rules);

/* Hands all workers what the daemon holds now. Returns 0 or -ENOMEM. */
int daemon_publish(struct daemon *daemon);

/* Puts rules into effect, with the snapshot made of them; both references are taken over. In effect when it
 * returns. */
void daemon_take_rules(struct daemon *daemon, struct rules *rules, struct snapshot *snapshot);

/* Puts into effect which engines' safe search does not work (bits). Returns 0 or -ENOMEM. */
int daemon_fail_engines(struct daemon *daemon, uint64_t failed);

#endif
