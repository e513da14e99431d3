/*
 * Opens a new list generation beside the threads that answer, and makes the snapshot with it. To read and
 * hash a file of some hundred MiB takes as long as thousands of answers, a snapshot as long as hundreds, and
 * on a machine of one processor it would stand in their way: it is done on a thread that gives way to a
 * worker at once (thread_class.h). Where the workers leave it nothing for two seconds it gets a fair share, so
 * that a flood cannot keep an update from being served.
 */
#ifndef USHER_LIST_LOADER_H
#define USHER_LIST_LOADER_H

#include <event2/event.h>
#include <stdbool.h>

#include "config.h"
#include "rules.h"
#include "snapshot.h"

/*
 * On the base's thread, once an open: what lists_open() said, and if ret is 0 a snapshot of the lists and of
 * the config and rules they were opened with (the callee's).
 */
typedef void (*list_loader_done)(void *arg, int ret, struct snapshot *snapshot, const char *why);

struct list_loader;

/* NULL without memory or descriptors. */
struct list_loader *list_loader_new(struct event_base *base, list_loader_done done, void *arg);
void list_loader_free(
        struct list_loader *loader); /* waits for an open under way, and drops it; NULL is fine */

/*
 * Begins to open what `current` in dir names, with the categories of config, and to make a snapshot with
 * these rules (references that the loader takes over). Returns 0, -EBUSY while another open is under way, or
 * another negative errno: then done is not called.
 */
int list_loader_open(struct list_loader *loader, const char *dir, struct config *config, struct rules *rules);
bool list_loader_is_busy(const struct list_loader *loader);

/*
 * Drops a reference to a snapshot; NULL is fine. The last one gives back what it holds and unmaps its lists,
 * which takes its time too: it is dropped on such a thread.
 */
void list_loader_drop(struct snapshot *snapshot);

#endif
