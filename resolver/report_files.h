/*
 * Reports that were written into files: those that name a person whose rows are erased go too. A report is
 * made anew from the log by `usher report`, so a whole file goes rather than a line of it.
 */
#ifndef USHER_REPORT_FILES_H
#define USHER_REPORT_FILES_H

#include <jansson.h>
#include <limits.h>

#include "erasure.h"

/*
 * The files of dir that name whom the erasure is about: by an address of its own, by its device's name or
 * MAC, or by those that its rows in the log show; in the text or in the name of the file. Files that are
 * older than the erasure's beginning tell of an earlier time and are left alone. Returns 0 and an array of
 * names (empty where there is no such folder), or negative errno; unread: the file that could not be looked
 * into, "" if it was not that.
 */
int report_files_find(json_t **names, const char *dir, const struct erasure *erasure, const char *log_dir,
        char unread[NAME_MAX + 1]);

/* Removes them. Returns an array of those that are still there, NULL without memory. */
json_t *report_files_remove(const char *dir, const json_t *names);

/* The names as a ledger may keep them: one that itself names the person is "…". NULL without memory. */
json_t *report_files_unnamed(const json_t *names, const struct erasure *erasure, const char *log_dir);

#endif
