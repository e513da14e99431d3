/*
 * A file without a name: for what a run keeps beside memory and nobody may find afterwards. It is gone when
 * it is closed or the process ends, however it ends.
 */
#ifndef USHER_TEMPFILE_H
#define USHER_TEMPFILE_H

#include <stdio.h>

/* Opens one in the folder dir for writing and reading (fclose it). Returns 0 or negative errno. */
int tempfile_open(FILE **out, const char *dir);

#endif
