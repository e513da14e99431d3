/* Small JSON files of the lists' folder, written whole and synced, or not at all; and the hash that they keep
 * of big ones. */
#ifndef USHER_MANIFEST_H
#define USHER_MANIFEST_H

#include <jansson.h>
#include <stdint.h>

/* Replaces the file at path in one act. Returns 0 or negative errno. */
int manifest_write(const char *path, const json_t *json);

/* Returns 0 and *out (json_decref it), -ENOENT, -EBADMSG (not JSON, not an object), or other negative errno.
 */
int manifest_read(const char *path, json_t **out);

#define MANIFEST_HASH_TEXT 33

/* Size and XXH3-128 (32 hex digits) of a file as it lies on disk. Returns 0 or negative errno. */
int manifest_file_hash(const char *file, uint64_t *size, char hash[MANIFEST_HASH_TEXT]);

/* fsync of a folder, so that renames in it last. Returns 0 or negative errno. */
int manifest_sync_dir(const char *dir);

#endif
