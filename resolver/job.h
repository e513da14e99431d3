/*
 * Work on a request in a process of its own, for the reader: a long scan holds up nobody, is ended when its
 * time is over or its client is gone, and what kills it kills no more than itself. Some run side by side, of
 * one person fewer; the rest waits its turn. The answer is collected in memory outside any process (memfd),
 * so that a client that takes it slowly holds no process; how much of that there may be is bounded.
 */
#ifndef USHER_JOB_H
#define USHER_JOB_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdio.h>

#include "http.h"

#define JOB_WHY_MAX 4096

struct jobs;

struct job_work {
	/*
	 * In the child, which was forked from this process and has none of its descriptors but stderr: writes
	 * the answer to out. Returns 0, or a status of HTTP from 400 with a sentence in why.
	 */
	int (*run)(void *arg, FILE *out, char why[JOB_WHY_MAX]);
	void (*free)(void *arg); /* in the parent, when all is over */
	void *arg;
	const char *content_type;
	bool changes; /* it is no reading in the background: runs at the normal priority, may write files of
	                 any size */
};

/* NULL without memory. */
struct jobs *jobs_new(struct event_base *base);

/* Ends what runs; all that was asked is answered 503. To be called before the server is freed, jobs_free()
 * after it. */
void jobs_stop(struct jobs *jobs);
void jobs_free(struct jobs *jobs);

/* Takes request and work over, also when there are too many: then the answer is 503. request NULL: work that nobody waits for; a failure is
 * logged. */
void jobs_add(struct jobs *jobs, struct http_request *request, const struct job_work *work);

/* Whether everything is answered, and the answers taken. */
bool jobs_are_done(const struct jobs *jobs);

#endif
