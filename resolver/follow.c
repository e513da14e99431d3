/*
 * Those who are up to date share a position and a look; one that comes with an older one (`after`: its stream
 * was cut, or it was switched off) reads on alone, a batch a look, until it has caught up.
 */
#include "follow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "log.h"

#define LOOK_MS 200
#define BATCH 1000              /* events a look passes on: less than a client may leave untaken (http.h) */
#define NEXT_MS 10              /* from a full look to the next */
#define BACKLOG_MAX (256 << 10) /* octets untaken at which one that catches up waits */

struct follower {
	LIST_ENTRY(follower) link;
	struct http_stream *stream;
	struct log_query query;
	struct scope scope; /* the filter points into it */
	uint64_t last_id;   /* it has been told up to here; 0: it shares the position */
};

struct follow {
	struct event_base *base;
	const char *log_dir;
	struct devices *devices;
	struct event *look;
	LIST_HEAD(, follower) followers;
	bool is_blind;    /* the log cannot be read: said once */
	uint64_t last_id; /* all who share it have been told up to here; 0: nobody does */
	/* what a look is for, while it is made */
	struct follower *only; /* NULL: all that share the position */
	uint64_t seen_id;
};

/* ---- sending ---- */

static void send_position(struct follower *follower, uint64_t id)
{
	char line[64];
	int len = snprintf(line, sizeof line, "{\"id\":%" PRIu64 "}\n", id);

	if (follower->query.ids)
		http_stream_send(follower->stream, line, (size_t)len);
}

/* The stream cuts off a client that does not take what it is sent (http.h). */
static void send_record(struct follower *follower, const struct block_record *record,
        const struct device *device, char **line)
{
	char **text = &line[follower->query.ids];

	if (!block_log_passes(record, &follower->query.filter) || !device_is(device, follower->query.device))
		return;
	if (!*text)
		*text = log_query_line(record, follower->query.ids);
	if (*text)
		http_stream_send(follower->stream, *text, strlen(*text));
}

static bool tell_followers(void *arg, const struct block_record *found)
{
	struct follow *follow = arg;
	struct block_record joined = *found, *record = &joined;
	struct device room;
	struct follower *follower;
	char *line[2] = { NULL, NULL }; /* without and with id */

	follow->seen_id = record->id;
	log_query_join(follow->devices, record, &room);
	if (follow->only)
		send_record(follow->only, record, &room, line);
	else
		LIST_FOREACH(follower, &follow->followers, link)
	if (follower->last_id == 0)
		send_record(follower, record, &room, line);
	free(line[0]);
	free(line[1]);
	return true;
}

/* ---- looking ---- */

/* Tells of what is newer than *last_id and moves it on. Returns whether there may be more. */
static bool look_from(struct follow *follow, struct follower *only, uint64_t *last_id)
{
	struct block_filter filter = { .severity = -1, .limit = BATCH, .after_id = *last_id };

	follow->only = only;
	follow->seen_id = *last_id;
	devices_refresh(follow->devices);
	int64_t ret = block_log_scan(follow->log_dir, &filter, tell_followers, follow);
	*last_id = follow->seen_id;
	if (ret < 0 && !follow->is_blind)
		log_error("log: cannot be followed: %s", strerror((int)-ret));
	follow->is_blind = ret < 0;
	return ret == BATCH;
}

/* One that is not up to date reads a batch, unless it has not taken the last one yet. */
static bool catch_up(struct follow *follow, struct follower *follower)
{
	if (http_stream_backlog(follower->stream) > BACKLOG_MAX)
		return false;
	if (look_from(follow, follower, &follower->last_id))
		return true;
	if (follow->last_id && follower->last_id >= follow->last_id)
		follower->last_id = 0;
	return false;
}

static void look_now(struct follow *follow)
{
	struct follower *follower;
	bool more = follow->last_id && look_from(follow, NULL, &follow->last_id);

	LIST_FOREACH(follower, &follow->followers, link)
	if (follower->last_id)
		more |= catch_up(follow, follower);
	evtimer_add(follow->look, &(struct timeval){ .tv_usec = (more ? NEXT_MS : LOOK_MS) * 1000 });
}

static void look_due(evutil_socket_t fd, short what, void *arg)
{
	struct follow *follow = arg;

	if (!LIST_EMPTY(&follow->followers))
		look_now(follow);
}

/* ---- coming and going ---- */

static void follower_closed(void *arg)
{
	struct follower *follower = arg;

	LIST_REMOVE(follower, link);
	free(follower);
}

static struct follower *follower_new(const struct log_query *query, const struct scope *scope)
{
	struct follower *follower = calloc(1, sizeof *follower);

	if (!follower)
		return NULL;
	follower->query = *query;
	follower->scope = *scope;
	follower->last_id = query->filter.after_id;
	follower->query.filter.after_id = 0;
	scope_apply(&follower->scope, &follower->query.filter, false);
	return follower;
}

/* Where a follow without `after` begins: with what is committed from now on. */
static uint64_t newest_id(const struct follow *follow)
{
	uint64_t last = block_log_last_id(follow->log_dir);
	return last ? last : 1;
}

void follow_add(struct follow *follow, struct http_request *request, const struct log_query *query,
        const struct scope *scope)
{
	struct follower *follower = follower_new(query, scope);
	bool first = LIST_EMPTY(&follow->followers);

	if (!follower) {
		http_reply_error(request, 503, "out of memory");
		return;
	}
	follower->stream = http_stream_start(request, "application/x-ndjson", follower_closed, follower);
	if (!follower->stream) {
		free(follower);
		return;
	}
	if (first || !follow->last_id)
		follow->last_id = newest_id(follow);
	LIST_INSERT_HEAD(&follow->followers, follower, link);
	send_position(follower, follower->last_id ? follower->last_id : follow->last_id);
	if (first)
		evtimer_add(follow->look, &(struct timeval){ .tv_usec = LOOK_MS * 1000 });
}

void follow_end(struct follow *follow)
{
	struct follower *follower;

	while ((follower = LIST_FIRST(&follow->followers)) != NULL) {
		send_position(follower, follower->last_id ? follower->last_id : follow->last_id);
		http_stream_end(follower->stream);
		follower_closed(follower);
	}
}

struct follow *follow_new(struct event_base *base, const char *log_dir)
{
	struct follow *follow = calloc(1, sizeof *follow);

	if (!follow)
		return NULL;
	*follow = (struct follow){ .base = base, .log_dir = log_dir, .devices = devices_beside(log_dir) };
	LIST_INIT(&follow->followers);
	follow->look = evtimer_new(base, look_due, follow);
	if (!follow->look || !follow->devices) {
		follow_free(follow);
		return NULL;
	}
	return follow;
}

void follow_free(struct follow *follow)
{
	if (!follow)
		return;
	if (follow->look)
		event_free(follow->look);
	devices_free(follow->devices);
	free(follow);
}
