/*
 * How many events there are of each client, category, name, severity or hour (`count-by`). The memory is bounded however many different
 * ones there are: when they are more than one table holds, the log is gone through several times, each time for a part of them.
 */
#ifndef USHER_LOG_COUNT_H
#define USHER_LOG_COUNT_H

#include "log_query.h"

/* Different ones an answer lists where no limit is given; the rest is one line more: {"name":null,"count":N,"others":DIFFERENT}. */
#define LOG_COUNT_LIST_MAX 100000

/*
 * Writes {"category":"gambling","count":7} a line, most first (hours in order of time), at most the query's limit. Returns the lines written or
 * negative errno; -E2BIG where there are more different ones than 512 tables hold.
 */
int64_t log_count_run(const struct log_query *query, const char *dir, FILE *out);

/* The same with tables of so many different ones: for tests. */
int64_t log_count_run_with(const struct log_query *query, const char *dir, size_t table_max, FILE *out);

#endif
