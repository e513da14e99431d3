/*
 * The block log as it grows. A stream that ends (a reload that changes what the reader needs, a restart) is
 * taken up where it ended: nothing is told twice, nothing is left out.
 */
#ifndef USHER_LOG_FOLLOW_H
#define USHER_LOG_FOLLOW_H

#include "log_ask.h"

/*
 * Asks for what ask says, and calls each with every record (its first key is its "id") and, when a piece of
 * them has come, told with the id up to which all is told; one that returns false ends it. Returns COMMAND_OK
 * if told ended it, else COMMAND_FAILED after saying why: usherd has been away for long.
 */
int log_follow(struct log_ask *ask, void (*each)(void *arg, const char *line, const json_t *record),
        bool (*told)(void *arg, json_int_t last_id), void *arg);

#endif
