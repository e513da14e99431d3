/*
 * A question to the block log as it comes in parameters (of log.sock, or of `usher log` where no daemon runs), and its answer as
 * JSON lines. One reading of the parameters for both, so that they cannot disagree.
 *
 *   client=IP|NET  profile=  category=  severity=danger|caution|advisory (at least)  name= (and below)
 *   since=  until=  RFC 3339, seconds since 1970, or a duration back from now (1h)
 *   device= NAME|MAC, as it was at the time of the lookup
 *   limit=  1 to 100000; rows 100 where absent     count-by=client|device|category|name|severity|hour     format=json
 *   after=ID  only what was logged after that one, oldest first (0: from the beginning)     ids=yes: each record begins with its "id"
 */
#ifndef USHER_LOG_QUERY_H
#define USHER_LOG_QUERY_H

#include <stdio.h>

#include "block_log.h"
#include "devices.h"


#define LOG_QUERY_LIMIT_MAX 100000
#define LOG_QUERY_LIMIT 100
#define LOG_QUERY_WHY_MAX 4096

enum log_count_by { LOG_COUNT_NONE, LOG_COUNT_CLIENT, LOG_COUNT_DEVICE, LOG_COUNT_CATEGORY, LOG_COUNT_NAME, LOG_COUNT_SEVERITY, LOG_COUNT_HOUR };

struct log_query {
	struct block_filter filter;     /* its strings belong to the configuration */
	enum log_count_by count_by;
	bool ids;
	char device[LEASE_NAME_MAX + 1]; /* name or MAC, "" any */
};

/* The names of all parameters, ending with NULL. */
extern const char *const log_query_parameters[];

/*
 * Reads the parameters: parameter() returns the value of one, NULL if it is absent. Returns 0, or -EINVAL with a sentence in why
 * (an unknown profile or category is answered with the known ones).
 */
int log_query_read(struct log_query *query, const struct config *config,
	const char *(*parameter)(void *arg, const char *name), void *arg, char why[LOG_QUERY_WHY_MAX]);

/*
 * Whether these names are known (a list that ends with NULL), each there once: one that is passed over would answer with more rows than were asked for.
 * Returns 0, or -EINVAL with a sentence in why.
 */
int log_query_check_names(const char *const *known, const char *const *names, size_t count,
	char why[LOG_QUERY_WHY_MAX]);

/* Whether its answer is numbers that name neither client nor name, nor could be narrowed down to one. */
bool log_query_is_numbers(const struct log_query *query);

/* A record as a line of JSON with its newline, malloc()ed; NULL without memory. */
char *log_query_line(const struct block_record *record, bool with_id);

/*
 * Sets the record's device, which is in room. A record without a client stays without them. Devices' names
 * come from here alone, at the time of reading, by the time of the record: no later lease changes what was.
 */
void log_query_join(struct devices *devices, struct block_record *record, struct device *room);

/* Writes the answer, one JSON object a line: records, or {"category":"gambling","count":7}, most first (hours: in order of time). Returns the lines written or negative errno. */
int64_t log_query_run(const struct log_query *query, const char *dir, FILE *out);

#endif
