/*
 * Opens a new list generation beside the threads that answer. To read and hash a file of some hundred MiB
 * takes as long as thousands of answers, and on a machine of one processor it would stand in their way: it is
 * done on a thread of the kernel's lowest class (SCHED_IDLE), which gives way to a worker at once. Where the
 * workers leave it nothing for two seconds it gets a fair share, so that a flood cannot keep an update from
 * being served. That takes RLIMIT_NICE 20 (the unit sets it) or CAP_SYS_NICE; without, the thread has a low
 * priority all the time.
 */
#ifndef USHER_LIST_LOADER_H
#define USHER_LIST_LOADER_H

#include <event2/event.h>
#include <stdbool.h>

#include "blocklists/lists.h"
#include "config.h"

/*
 * On the base's thread, once an open: what lists_open() said, and the lists (the callee's) if ret is 0.
 * config is the one whose categories they were opened with.
 */
typedef void (*list_loader_done)(
        void *arg, const struct config *config, int ret, struct lists *lists, const char *why);

struct list_loader;

/* NULL without memory or descriptors. */
struct list_loader *list_loader_new(struct event_base *base, list_loader_done done, void *arg);
void list_loader_free(
        struct list_loader *loader); /* waits for an open under way, and drops it; NULL is fine */

/*
 * Begins to open what `current` in dir names, with the categories of config (a reference that the loader
 * takes over). Returns 0, -EBUSY while another open is under way, or another negative errno: then done is not
 * called.
 */
int list_loader_open(struct list_loader *loader, const char *dir, struct config *config);
bool list_loader_is_busy(const struct list_loader *loader);

/* Drops a reference to lists. The last one unmaps them, which takes its time too: it is dropped on such a
 * thread. */
void list_loader_drop(struct lists *lists);

#endif
