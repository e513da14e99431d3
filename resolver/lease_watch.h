/*
 * Follows the DHCP servers' lease files and the RADIUS server's accounting files and writes what it finds
 * into the history of devices. Looked at by the main thread once a second: a file that has not changed costs
 * a stat().
 */
#ifndef USHER_LEASE_WATCH_H
#define USHER_LEASE_WATCH_H

#include "config.h"
#include "devices.h"

struct lease_watch;

struct lease_watch *lease_watch_new(void); /* NULL without memory */
void lease_watch_free(struct lease_watch *watch);

/* The files of a configuration; those that were followed before go on where they are. */
int lease_watch_configure(struct lease_watch *watch, const struct config *config);

/* trouble is told once a sentence of what cannot be read, with what to do. */
void lease_watch_look(struct lease_watch *watch, struct devices *devices, int64_t now_s, uint32_t keep_s,
        void (*trouble)(const char *sentence));

/* What is wrong now, "" nothing; for `usher status`. */
const char *lease_watch_trouble(const struct lease_watch *watch);

#endif
