/*
 * What one source says, sorted: for each name the categories it claims for the name itself and for what lies
 * below, and those it takes away again. Kept in an unlinked file while an update runs, so that a killed run
 * leaves nothing behind. Written once in key order, then read from the start as often as needed. One thread.
 */
#ifndef USHER_CLAIMS_H
#define USHER_CLAIMS_H

#include <stddef.h>
#include <stdint.h>

#include "name.h"

/* One source's word on one name; masks of category bits. An ordinary entry has at == below. */
struct claim {
	uint64_t at, below;
	uint64_t except_at, except_below;
};

struct claims;

/* A new, empty one in the folder dir. Returns 0 or negative errno. */
int claims_new(struct claims **out, const char *dir);
void claims_free(struct claims *claims); /* NULL is fine */

/* Appends; keys must come in order, each once. Returns 0 or negative errno. */
int claims_append(struct claims *claims, const uint8_t *key, size_t len, const struct claim *claim);

/* Octets appended so far: a bound for what a store of them takes. */
uint64_t claims_size(const struct claims *claims);

/* Back to the first; ends writing. Returns 0 or negative errno. */
int claims_rewind(struct claims *claims);

/* Returns 1 with the next (key: NAME_KEY_MAX octets of room), 0 at the end, negative errno. */
int claims_next(struct claims *claims, uint8_t key[NAME_KEY_MAX], size_t *len, struct claim *claim);

/* Order of keys, that of LMDB: octets first, then length. */
int claims_key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

#endif
