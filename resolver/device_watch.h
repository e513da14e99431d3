/*
 * What usherd's main thread does to know devices: it follows the lease files, writes the history, and deletes
 * what is older than the log is kept.
 */
#ifndef USHER_DEVICE_WATCH_H
#define USHER_DEVICE_WATCH_H

#include "config.h"

struct device_watch;

int device_watch_start(struct device_watch **out, const struct config *config); /* 0 or negative errno */
void device_watch_stop(struct device_watch *watch);

/* After a reload. Returns 0 or negative errno: then nothing has changed. */
int device_watch_configure(struct device_watch *watch, const struct config *config);

/* Once a second. */
void device_watch_look(struct device_watch *watch, const struct config *config);

/* "" or a sentence on what is wrong. */
const char *device_watch_trouble(const struct device_watch *watch);

#endif
