/*
 * Proof that the block log forgets: every event of every file is read, and the oldest of each class and profile set against how long it may
 * be kept. Reads the store only, so it can be done where usherd runs and where it does not.
 */
#ifndef USHER_RETENTION_H
#define USHER_RETENTION_H

#include <stdio.h>

#include "config.h"

/*
 * Writes a line of JSON for each class and profile, and for each case: {"class","profile","keep_s","files","rows","oldest","verdict"}; the
 * verdict is "ok", "overdue", "held", or "damaged" (class "damaged": it could not be read, and goes with its day). The class "devices" is the history of
 * devices beside the log. Returns how many are
 * overdue or negative errno.
 */
int64_t retention_verify(const struct config *config, const char *dir, FILE *out);

#endif
