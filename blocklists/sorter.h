/*
 * Sorts any number of database keys, each with a tag, within a bound of memory: what does not fit is spilled
 * in sorted runs to files without names and merged when read. Equal keys come out next to each other, tags in
 * no order.
 */
#ifndef USHER_SORTER_H
#define USHER_SORTER_H

#include <stddef.h>
#include <stdint.h>

#include "name.h"

struct sorter;

/* memory: octets of records and their index held at once; dir: where runs are spilled. NULL without memory.
 */
struct sorter *sorter_new(const char *dir, size_t memory);
void sorter_free(struct sorter *sorter); /* NULL is fine */

/* Returns 0 or negative errno. */
int sorter_add(struct sorter *sorter, const uint8_t *key, size_t len, uint32_t tag);

/* Ends adding. Returns 0 or negative errno. */
int sorter_finish(struct sorter *sorter);

/* Returns 1 with the next record (key valid until the next call), 0 at the end, negative errno. */
int sorter_next(struct sorter *sorter, const uint8_t **key, size_t *len, uint32_t *tag);

#endif
