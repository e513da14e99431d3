/*
 * Episodes and signals as people read them. What several devices did alike is one row, so that thirty who
 * try the same new site hide nothing else; what is of severity danger, goes around the filter, or is
 * background is never folded.
 */
#ifndef USHER_EVENT_FOLD_H
#define USHER_EVENT_FOLD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * A new array of copies, in the order of the first of each fold. Alike are lesser episodes of one profile and
 * category whose first name is the same; theirs is the time from the first to the last, all lookups, all
 * names, and `clients`, the number of devices. NULL without memory.
 */
json_t *events_folded(const json_t *episodes);

/* What tells its device from others (resolver/identity.h); "" nobody was logged. */
const char *event_identity(const json_t *event);

/* "24 devices" where an event is of several, else false. */
bool event_clients_text(const json_t *event, char *text, size_t size);

/* Of an episode, to stand behind what it is about: ", let through" where its lookups were watched and not
 * blocked, ", let through in part", or "". */
const char *event_let_through(const json_t *episode);

/* The names of a signal's evidence, each once: a new array. NULL without memory. */
json_t *event_evidence_names(const json_t *signal);

/* A signal that says no more than the episodes of severity danger, all of which are shown anyway. */
bool event_is_told_by_episodes(const json_t *signal);

#endif
