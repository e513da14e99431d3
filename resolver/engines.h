/*
 * Engines whose safe search was found not to work: their safe name does not exist, or leads where the engine
 * itself leads. Found by `usher selftest`, kept in STATE-DIR/engines.json so that usherd and `usher check`
 * agree and a restart forgets nothing. What would be rewritten to such a name is blocked instead.
 */
#ifndef USHER_ENGINES_H
#define USHER_ENGINES_H

#include <stdint.h>

#include "config.h"

/*
 * The failed ones as bits of config->engines; those that the configuration does not have are left out. No
 * file is none. Returns 0 or negative errno (-EBADMSG: damaged), then *failed is 0: a rewrite to a name that
 * fails is no answer, never the engine's own.
 */
int engines_read(const struct config *config, uint64_t *failed);

/* Keeps them, in one act. Returns 0 or negative errno. */
int engines_write(const struct config *config, uint64_t failed);

#endif
