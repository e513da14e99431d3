/*
 * What is to be told, to whom, and what became of it: alerts gather what belongs to them, then messages carry
 * them, one a channel and recipient, until they have arrived. All of it is one JSON file, DIR/queue.json,
 * replaced as a whole by a rename, so that a kill at any time leaves the state before or after. Messages are
 * sent at least once, under an id that stays the same. What was sent is remembered by its id, without names
 * and clients.
 *
 *   {"position":ID,"told":[{"id","rule","at"}],"open":[{"id","rule","at","changed","signal":{…}}],"troubles":{ID:SECONDS},
 *    "left_out":N,"messages":[{"id","at","channel","to","detail","state","attempts","next","why","count","rules":[…],"alerts":[{…}]}]}
 */
#ifndef USHER_ALERT_QUEUE_H
#define USHER_ALERT_QUEUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "courier.h"
#include "timetable.h"

#define ALERT_OPEN_MAX 2000
#define ALERT_GIVE_UP_S (3 * 86400)

struct alert_queue;

/*
 * Reads what is there; a file that makes no sense is kept beside as queue.json.damaged. Returns 0 and *out, 1
 * where that happened, or negative errno.
 */
int alert_queue_open(struct alert_queue **out, const char *dir);
void alert_queue_free(struct alert_queue *queue); /* NULL is fine */

/* On disk when it returns; does nothing if nothing has changed. Returns 0 or negative errno. */
int alert_queue_save(struct alert_queue *queue);

/* Id of the last record of the block log that was looked at; 0: never. */
uint64_t alert_queue_position(const struct alert_queue *queue);
void alert_queue_set_position(struct alert_queue *queue, uint64_t id);

/* A new alert. signal is taken over. Returns false if this id is known, or there are too many (then it is
 * counted). */
bool alert_queue_add(
        struct alert_queue *queue, const char *id, const char *rule, json_t *signal, int64_t now_s);

/* More was added to an alert that is still open. signal is taken over; NULL: only the time is noted. */
void alert_queue_update(struct alert_queue *queue, const char *id, json_t *signal, int64_t now_s);
bool alert_queue_is_open(const struct alert_queue *queue, const char *id);

/*
 * usherd's own troubles as they are now: an object, id -> sentence. A new one becomes an alert of each rule
 * of kind operations; one that comes and goes is told once in six hours.
 */
void alert_queue_troubles(
        struct alert_queue *queue, const struct config_alerts *alerts, const json_t *troubles, int64_t now_s);

/*
 * Makes messages of the alerts that are due: nothing came for a quarter of `wait`, or it is over, and no
 * quiet hours of the rule. refresh() is asked for the last state of each before (NULL: as it was).
 */
void alert_queue_make_messages(struct alert_queue *queue, const struct config *config,
        const struct moment *now, json_t *(*refresh)(void *arg, const char *id), void *arg);

/* Takes away what waits and is about this address or network (NULL: none) or device (name or MAC, "": none). */
void alert_queue_forget(struct alert_queue *queue, const struct config_network *client, const char *device);

/* A message that is to be sent now and is not on its way, or NULL; borrowed. It is on its way then. */
json_t *alert_queue_next(struct alert_queue *queue, int64_t now_s);
/* What became of it: sent, or to be tried again: after half a minute, a minute, … up to an hour. Given up
 * after ALERT_GIVE_UP_S. */
void alert_queue_result(
        struct alert_queue *queue, const char *id, bool is_done, const char *why, int64_t now_s);

/* Lines for `usher alert list`, newest last: messages without what they tell. malloc()ed. */
char *alert_queue_list(const struct alert_queue *queue);
/* {"waiting":n,"sent":n,"failing":n,"why":"…"}: new reference. */
json_t *alert_queue_health(const struct alert_queue *queue);

/* Whether anybody is told anything. */
bool alerts_have_recipients(const struct config_alerts *alerts);

/* Calls each with every channel and recipient there is, once. */
void alerts_each_recipient(const struct config_alerts *alerts,
        void (*each)(void *arg, enum courier_channel channel, const char *to), void *arg);

#endif
