/*
 * Rows that were shipped (usher ship) lie where usher erases nothing. What their keepers must delete when
 * rows are erased here, told so that it can be run as it stands.
 */
#ifndef USHER_SHIPPED_H
#define USHER_SHIPPED_H

#include <jansson.h>

#include "erasure.h"

/*
 * An array of {"target", "where", "delete"} for each place outside that is configured or was shipped to: a
 * statement for ClickHouse (from 18.16 on), a sentence for syslog. Empty where there is none; NULL without
 * memory.
 */
json_t *shipped_rows(const struct config *config, const struct erasure *erasure);

/* Of these only where: for a ledger, which must not keep whom the log forgets. */
json_t *shipped_places(const json_t *rows);

#endif
