/*
 * The folder names/: how often each name was asked on a day, by the whole school. A file a UTC day,
 * DIR/2026-11-22, of lines `COUNT NAME`, sorted as names_store_compare() says. No client stands in it, nor
 * anything made of one. A file is written aside and renamed, so that a reader never sees half a day.
 */
#ifndef USHER_NAMES_STORE_H
#define USHER_NAMES_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "blocklists/name.h"

#define NAMES_DAY_S 86400

struct names_row {
	const uint8_t *wire; /* a name's, in lower case */
	uint64_t count;
};

/* Order of the rows: octets of the wire form. */
int names_store_compare(const uint8_t *a, const uint8_t *b);

/* Writes a day (days since 1970) in place of what was there. Returns 0 or negative errno. */
int names_store_write(const char *dir, int64_t day, const struct names_row *rows, size_t count);

/* Unlinks the days before that one, and what a killed write left. Returns 0 or negative errno. */
int names_store_prune(const char *dir, int64_t before);

/* Names of the days since that one, in order, counts summed. Lines that are none of ours are passed over. */
struct names_reader;

/* Returns 0 and *out (release with names_reader_close), or negative errno (-EACCES: not for this user). A
 * folder that is not there has no days. */
int names_reader_open(struct names_reader **out, const char *dir, int64_t since, int64_t until);
void names_reader_close(struct names_reader *reader);        /* NULL is fine */
size_t names_reader_days(const struct names_reader *reader); /* how many there are in the store */

/* Returns 1 with the next name, 0 at the end. */
int names_reader_next(struct names_reader *reader, struct name *name, uint64_t *count);

#endif
