/*
 * The folder of generations: gen-000042.mdb with its manifest gen-000042.json, and the link `current`, with
 * `current.json` to its manifest for other machines. One
 * process at a time changes it, under the lock; readers need none, since everything appears by one rename.
 *
 * A generation exists once its manifest does. A rollback leaves the file `pinned`, and while it is there no
 * update publishes.
 */
#ifndef USHER_GENERATIONS_H
#define USHER_GENERATIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lists.h"

#define GENERATIONS_LOCK_WAIT_S 30

/* Waits up to wait_s for the lock. Returns a descriptor (close() releases it), -EBUSY, or other negative
 * errno, with `why`. Makes dir. */
int generations_lock(const char *dir, unsigned wait_s, char why[LISTS_WHY_MAX]);

/* How an update begins, locked: an empty folder DIR/work, and with `resume` the end of a pin. Returns 1 where
 * the current generation stays pinned, 0, or negative errno. */
int generations_begin(const char *dir, bool resume, char *work, size_t size);

/* Identities, newest first, at most max. Returns how many, or negative errno. */
int generations_list(const char *dir, uint64_t *ids, size_t max);

/* The next free identity. */
uint64_t generations_next(const char *dir);

/* The manifest of a generation. Returns 0 and *out (json_decref it), -ENOENT, or -EBADMSG. */
int generations_manifest(const char *dir, uint64_t id, json_t **out);

/* Path of a generation's store: DIR/gen-000042.mdb, or its manifest with suffix "json". Returns 0 or
 * -ENAMETOOLONG. */
int generations_path(char *path, size_t size, const char *dir, uint64_t id, const char *suffix);

/* Moves store and manifest from the folder work to dir and makes the generation current. Everything is synced
 * first. 0 or negative errno. */
int generations_publish(const char *dir, const char *work, uint64_t id);

/* Makes an earlier generation current, and pins it. 0 or negative errno. */
int generations_rollback(const char *dir, uint64_t id);

/* The generation that a rollback pinned, 0 if none. */
uint64_t generations_pinned(const char *dir);

/* Removes what is beyond the newest `keep`, but never the current one; and stores without a manifest. 0 or
 * negative errno. */
int generations_prune(const char *dir, size_t keep);

/* An empty folder DIR/work: what a killed run left there is removed. 0 or negative errno. */
int generations_work(const char *dir, char *path, size_t size);

#endif
