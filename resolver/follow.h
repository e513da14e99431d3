/*
 * Followers of the block log: each is sent the records that pass its filter as they are committed. All share
 * one look at the store, five times a second.
 */
#ifndef USHER_FOLLOW_H
#define USHER_FOLLOW_H

#include <event2/event.h>

#include "http.h"
#include "log_query.h"
#include "scope.h"

struct follow;

/* log_dir is borrowed. NULL without memory. */
struct follow *follow_new(struct event_base *base, const char *log_dir);

/* Takes the request over: it becomes a stream, from the query's after_id on, or from now. scope is copied. */
void follow_add(struct follow *follow, struct http_request *request, const struct log_query *query,
        const struct scope *scope);

/* Ends every stream, with the mark by which the client knows that nothing is missing up to there. */
void follow_end(struct follow *follow);

void follow_free(struct follow *follow);

#endif
