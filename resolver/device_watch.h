/*
 * What usherd's main thread does to know devices: it follows the lease files and the kernel's neighbour table, writes the history of
 * both, hands the workers the devices that profiles name, and deletes what is older than the log is kept.
 */
#ifndef USHER_DEVICE_WATCH_H
#define USHER_DEVICE_WATCH_H

#include <event2/event.h>

#include "config.h"
#include "neighbours.h"

struct device_watch;

/* publish is called with a table for the workers, as often as it has changed; the table is the watch's. Returns 0 or negative errno. */
int device_watch_start(struct device_watch **out, struct event_base *base, const struct config *config,
        void (*publish)(void *arg, struct neighbour_table *table), void *arg);
void device_watch_stop(struct device_watch *watch);

/* After a reload. Returns 0 or negative errno: then nothing has changed. */
int device_watch_configure(struct device_watch *watch, const struct config *config);

/* Once a second. */
void device_watch_look(struct device_watch *watch);

/* "" or a sentence on what is wrong. */
const char *device_watch_trouble(const struct device_watch *watch);

#endif
