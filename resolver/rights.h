/* The routes of log.sock by which rows are held for a case, erased, and retention is proved. */
#ifndef USHER_RIGHTS_H
#define USHER_RIGHTS_H

#include "reader.h"

extern const char *const rights_hold_parameters[], *const rights_release_parameters[], *const rights_forget_parameters[],
	*const rights_no_parameters[];

reader_answer rights_hold, rights_release, rights_cases, rights_forget, rights_retention;

/* Of the reader itself, now and then: cases of devices take what has come; cases_trouble() tells whether
 * they did. Returns 0 or, once for each trouble, a status. */
int rights_grow(const char *log_dir, char why[JOB_WHY_MAX]);

#endif
