/*
 * What a route of log.sock is made of. A route is one line of the table in reader.c: its path, the parameters
 * it takes, what the ledger calls it, and a function that answers. That runs in a process of its own (job.h),
 * after the read was recorded and the profile that was asked for, if one was, found to be one that the reader
 * may see.
 */
#ifndef USHER_READER_H
#define USHER_READER_H

#include <stdio.h>

#include "job.h"
#include "scope.h"

struct reader_ask {
	const struct config *config;
	const struct scope *scope;
	uid_t uid;
	const char *log_dir, *ledger_dir;
	/* parameter(arg, name): its value, of a POST the one of that name in the body's object; NULL if
	 * absent */
	const char *(*parameter)(void *arg, const char *name);
	void *arg;
};

/*
 * Writes the answer to out. Returns 0, or a status of HTTP from 400 with a sentence in why. The rows must be
 * narrowed by scope_apply(ask->scope, filter, …).
 */
typedef int reader_answer(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX]);

struct reader_route {
	const char *method, *path;
	const char *what; /* in the ledger; NULL: the answer records it itself */
	/* Ends with NULL. Of a GET without others: log_query_parameters. */
	const char *const *parameters;
	reader_answer *answer;
	const char *content_type; /* NULL: application/x-ndjson */
	bool counts;  /* those who may read numbers only may ask it too; it looks after that itself */
	bool manages; /* only for those who may hold and erase */
};

#endif
