/*
 * What is kept of a source between updates, in DIR/sources/NAME: good (the file as fetched, last good),
 * good.json (its account), candidate and candidate.json (fetched, and held back), state.json ("held" and
 * "failed"), incoming.part and incoming.from (a transfer that broke off and can be gone on with).
 */
#ifndef USHER_SOURCE_FOLDER_H
#define USHER_SOURCE_FOLDER_H

#include <jansson.h>
#include <limits.h>

#include "lists.h"

/* dir is STATE-DIR/lists in these. Path of the folder, and making it. Returns 0, -EINVAL (a name that could
 * be a path), or other negative errno. */
int source_folder(char path[PATH_MAX], const char *dir, const char *source);
int source_folder_make(const char *dir, const char *source);

/*
 * Takes a held source's candidate as good, for a reason a person gives; the next run compiles it. Returns 0,
 * -ENOENT (nothing is held), -EBADMSG (held because it is no list: cannot be taken), or other negative errno,
 * with `why`.
 */
int source_folder_accept(
        const char *dir, const char *source, const char *reason, const char *by, char why[LISTS_WHY_MAX]);

/*
 * What is known of a source now: its account as in the manifest, but of today, with "held" and "failed" (null
 * or {"since","why"}). Returns a new reference, NULL if the source was never tried.
 */
json_t *source_folder_account(const char *dir, const char *source);

/* Its files by name; folder is the path from source_folder(). 0 or negative errno. */
int source_folder_path(char path[PATH_MAX], const char *folder, const char *name);
json_t *source_folder_read(
        const char *folder, const char *name); /* NULL: there is none, or it is no object */
int source_folder_write(const char *folder, const char *name, const json_t *json);
int source_folder_move(const char *folder, const char *from, const char *to);
void source_folder_remove(const char *folder, const char *name);

#endif
