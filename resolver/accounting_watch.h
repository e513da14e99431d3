/*
 * Follows RADIUS accounting files and writes the sessions they tell of into the history of devices.
 *
 * FreeRADIUS begins a file a day, and by default has a folder for each access point: the pattern may have
 * wildcards (glob(7)) or be a folder, and all of its files that were written in the last two days are
 * followed, each to its end. A session lasts until its stop; without one, until its Session-Timeout, and in
 * no case longer than ACCOUNTING_SILENT_S after the last word of it.
 */
#ifndef USHER_ACCOUNTING_WATCH_H
#define USHER_ACCOUNTING_WATCH_H

#include "devices.h"

#define ACCOUNTING_SILENT_S 7200

struct accounting_watch;

struct accounting_watch *accounting_watch_new(const char *pattern); /* NULL without memory */
void accounting_watch_free(struct accounting_watch *watch);

/*
 * Reads on, a piece at a time. Returns 0 or negative errno; then *path (the watch's, or the pattern) is the
 * file or folder that it is about.
 */
int accounting_watch_look(struct accounting_watch *watch, struct devices *devices, int64_t now_s,
        uint32_t keep_s, const char **path);

#endif
