/* When addresses were a device's, as the rows of the block log show it: what of the log is meant by a device's name. */
#ifndef USHER_DEVICE_SPANS_H
#define USHER_DEVICE_SPANS_H

#include "erasure.h"

/*
 * Fills erasure->spans for erasure->device, of the rows that pass erasure->filter, which has an end. Rows that are on their way into the log
 * count too. Returns the number of rows, -E2BIG where there are more than ERASURE_SPANS_MAX spans, or negative errno.
 */
int64_t device_spans_find(struct erasure *erasure, const char *log_dir);

#endif
