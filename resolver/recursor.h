/*
 * The recursor process: questions from the workers' sockets to libunbound and back. Its entry point is
 * recursor_main() in keeper.h; this is what the rest of the program may ask of it.
 */
#ifndef USHER_RECURSOR_H
#define USHER_RECURSOR_H

#include "config.h"
#include "upstream.h"

#define RECURSOR_WHY_MAX UPSTREAM_WHY_MAX

/*
 * Would a recursor start with this configuration? For usherd -n, start and reload: reads trust anchor and
 * root hints, asks nobody. Returns 0, or negative errno with one sentence in `why`. Takes some milliseconds.
 */
int recursor_check(const struct config *config, char why[RECURSOR_WHY_MAX]);

#endif
