/*
 * The way to the rest of the DNS: libunbound, which recurses, forwards, caches and validates. This is the
 * only noun that knows it. It runs on the caller's event loop, without threads, in the recursor process;
 * usherd itself opens it only to try a configuration.
 */
#ifndef USHER_UPSTREAM_H
#define USHER_UPSTREAM_H

#include <event2/event.h>
#include <stdbool.h>

#include "config.h"
#include "recursion.h"

#define UPSTREAM_WHY_MAX 512

struct upstream;

/*
 * Reads the root hints and trust anchors and makes everything ready, so that no file is opened after this
 * returns. Returns 0 and *out, or -EINVAL, -ENOMEM, …; then `why` is one sentence.
 */
int upstream_open(struct upstream **out, struct event_base *base, const struct config *config,
        char why[UPSTREAM_WHY_MAX]);

/* Never from inside answered(). Questions under way are dropped: their answered() is not called. NULL is
 * fine. */
void upstream_close(struct upstream *upstream);

/*
 * Asks. answered() is called once, perhaps before this returns; what the result points to is valid inside it.
 * Data that failed validation comes with RECURSION_BOGUS, whoever asked. There is no deadline: a dead
 * upstream takes libunbound up to half a minute.
 */
void upstream_resolve(struct upstream *upstream, const struct name *name, uint16_t type,
        void (*answered)(void *arg, const struct recursion_result *result), void *arg);

bool upstream_has_tls(void);        /* can it forward over TLS? Debian 12's cannot */

#endif
