/*
 * Flights: questions under way to the recursor. A flight is found by its question (so that equal ones are
 * joined) and by its random id (so that an answer finds it). All have the same deadline, so the list in order
 * of asking is the list in order of expiry, and one timer, for the oldest, serves them all.
 *
 * A flight whose question could not be sent yet (socket full, no recursor) stands in `unsent`; a lost
 * recursor moves all of them there. So the queue is bounded by the slots and a question is never sent twice
 * to the same recursor.
 */
#include "recursion.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "stats.h"

#define PACKETS_A_TURN 4 /* then other sockets of the loop have theirs */
#define WHY_MAX (RECURSOR_ANSWER_WHY_MAX + 1)
#define EDE_MAX 30 /* IANA has given out less; the cache keeps it in an octet */
#define ID_POOL 64

struct recursion_flight {
	LIST_ENTRY(recursion_flight) by_question, by_id;
	TAILQ_ENTRY(recursion_flight) by_age, to_send;
	struct recursion_waiter *waiters;
	struct recursion_question question;
	uint64_t id;
	uint64_t asked_us, deadline_us;
	struct slots_client charged; /* who began it, or nobody */
	bool is_unsent;
};

LIST_HEAD(flight_bucket, recursion_flight);
TAILQ_HEAD(flight_list, recursion_flight);

struct recursion {
	struct event_base *base;
	struct stats *stats;
	recursion_store store;
	void *store_arg;
	struct slots *slots;
	unsigned count;
	bool ends; /* who is told so may not ask again */
	uint64_t deadline_us;

	int fd; /* -1: no recursor */
	struct event *readable, *writable, *expired;
	struct event *due; /* at the end of the loop's turn: what it asked goes out together */

	struct flight_list by_age; /* oldest first */
	struct flight_list unsent;
	struct flight_bucket *by_question, *by_id;
	size_t bucket_mask;
	uint64_t seed;

	uint64_t ids[ID_POOL];
	unsigned ids_left;

	uint8_t room[RECURSOR_ANSWERS_MAX]; /* for a packet; of most the first pages alone are ever touched */
};

static uint64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Unpredictable, so that a recursor that was taken over cannot answer what it was not asked. */
static uint64_t id_draw(struct recursion *recursion)
{
	if (recursion->ids_left == 0) {
		while (getrandom(recursion->ids, sizeof recursion->ids, 0) != sizeof recursion->ids)
			;
		recursion->ids_left = ID_POOL;
	}
	return recursion->ids[--recursion->ids_left];
}

/* ---- flights ---- */

static struct flight_bucket *question_bucket(
        const struct recursion *recursion, const struct recursion_question *question)
{
	uint64_t hash = name_hash(&question->name, recursion->seed);
	hash += (uint64_t)(question->type << 2 | question->dnssec_ok << 1 | question->checking_disabled) *
	        0x9e3779b97f4a7c15;
	return &recursion->by_question[(hash ^ hash >> 32) & recursion->bucket_mask];
}

static struct recursion_flight *flight_find(
        const struct recursion *recursion, const struct recursion_question *question)
{
	struct recursion_flight *flight;
	LIST_FOREACH(flight, question_bucket(recursion, question), by_question)
	if (flight->question.type == question->type &&
	        flight->question.checking_disabled == question->checking_disabled &&
	        flight->question.dnssec_ok == question->dnssec_ok && flight->question.own == question->own &&
	        name_equal(&flight->question.name, &question->name))
		return flight;
	return NULL;
}

static struct recursion_flight *flight_of_id(const struct recursion *recursion, uint64_t id)
{
	struct recursion_flight *flight;
	LIST_FOREACH(flight, &recursion->by_id[id & recursion->bucket_mask], by_id)
	if (flight->id == id)
		return flight;
	return NULL;
}

static void timer_set(struct recursion *recursion)
{
	struct recursion_flight *oldest = TAILQ_FIRST(&recursion->by_age);
	if (!oldest) {
		evtimer_del(recursion->expired);
		return;
	}
	uint64_t now = now_us();
	uint64_t wait = oldest->deadline_us > now ? oldest->deadline_us - now : 0;
	struct timeval in = { (time_t)(wait / 1000000), (suseconds_t)(wait % 1000000) };
	evtimer_add(recursion->expired, &in);
}

static struct recursion_flight *flight_new(struct recursion *recursion,
        const struct recursion_question *question, const struct slots_client *client)
{
	struct recursion_flight *flight = calloc(1, sizeof *flight);
	if (!flight)
		return NULL;
	flight->question = *question;
	flight->id = id_draw(recursion);
	flight->asked_us = now_us();
	flight->deadline_us = flight->asked_us + recursion->deadline_us;
	flight->is_unsent = true;
	flight->charged = *client;
	slots_charge(client);
	atomic_fetch_add_explicit(&recursion->slots->taken, 1, memory_order_relaxed);
	LIST_INSERT_HEAD(question_bucket(recursion, question), flight, by_question);
	LIST_INSERT_HEAD(&recursion->by_id[flight->id & recursion->bucket_mask], flight, by_id);
	TAILQ_INSERT_TAIL(&recursion->by_age, flight, by_age);
	TAILQ_INSERT_TAIL(&recursion->unsent, flight, to_send);
	if (recursion->count++ == 0)
		timer_set(recursion);
	return flight;
}

static void waiter_leave(struct recursion_waiter *waiter)
{
	waiter->flight = NULL;
	slots_release(&waiter->charged);
}

/*
 * The end of a flight: out of all tables first, since those who hear of it may ask again, or cancel others
 * that wait for the same.
 */
static void flight_land(struct recursion *recursion, struct recursion_flight *flight,
        const struct recursion_result *result, bool is_stored)
{
	LIST_REMOVE(flight, by_question);
	LIST_REMOVE(flight, by_id);
	TAILQ_REMOVE(&recursion->by_age, flight, by_age);
	if (flight->is_unsent)
		TAILQ_REMOVE(&recursion->unsent, flight, to_send);
	recursion->count--;
	slots_release(&flight->charged);
	atomic_fetch_sub_explicit(&recursion->slots->taken, 1, memory_order_relaxed);

	if (is_stored && recursion->store && !flight->question.own)
		recursion->store(recursion->store_arg, &flight->question, result);
	for (struct recursion_waiter *waiter; (waiter = flight->waiters);) {
		flight->waiters = waiter->next;
		waiter_leave(waiter);
		waiter->answered(waiter, result);
	}
	free(flight);
}

/* ---- to the recursor ---- */

static void connection_close(struct recursion *recursion)
{
	if (recursion->readable)
		event_free(recursion->readable);
	if (recursion->writable)
		event_free(recursion->writable);
	recursion->readable = recursion->writable = NULL;
	if (recursion->fd >= 0)
		close(recursion->fd);
	recursion->fd = -1;
}

/* What was sent will not be answered there: all of it waits for the next recursor, oldest first. */
static void connection_lost(struct recursion *recursion)
{
	struct recursion_flight *flight;
	connection_close(recursion);
	TAILQ_INIT(&recursion->unsent);
	TAILQ_FOREACH(flight, &recursion->by_age, by_age)
	{
		flight->is_unsent = true;
		TAILQ_INSERT_TAIL(&recursion->unsent, flight, to_send);
	}
}

/* Returns the octets it took of `left`, or 0: no room. */
static size_t question_write(uint8_t *at, size_t left, const struct recursion_flight *flight)
{
	const struct name *name = &flight->question.name;
	struct recursor_question question = { .id = flight->id,
		.type = flight->question.type,
		.checking_disabled = flight->question.checking_disabled,
		.name_len = name->len };

	if (sizeof question + name->len > left)
		return 0;
	memcpy(at, &question, sizeof question);
	memcpy(at + sizeof question, name->wire, name->len);
	return sizeof question + name->len;
}

/* As many of the unsent as a packet holds. Returns how many went, at least one, or negative errno. */
static int packet_send(const struct recursion *recursion)
{
	const struct recursion_flight *flight;
	uint8_t packet[RECURSOR_QUESTIONS_MAX];
	size_t len = 0;
	int count = 0;

	TAILQ_FOREACH(flight, &recursion->unsent, to_send)
	{
		size_t took = question_write(packet + len, sizeof packet - len, flight);
		if (took == 0)
			break;
		len += took;
		count++;
	}
	return send(recursion->fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : count;
}

static void questions_send(struct recursion *recursion)
{
	while (recursion->fd >= 0 && !TAILQ_EMPTY(&recursion->unsent)) {
		int sent = packet_send(recursion);
		if (sent == -EAGAIN || sent == -ENOBUFS || sent == -EINTR) {
			event_add(recursion->writable, NULL);
			return;
		}
		if (sent < 0) {
			connection_lost(recursion);
			return;
		}
		for (; sent > 0; sent--) {
			struct recursion_flight *flight = TAILQ_FIRST(&recursion->unsent);
			TAILQ_REMOVE(&recursion->unsent, flight, to_send);
			flight->is_unsent = false;
		}
	}
}

/* ---- from the recursor ---- */

/* The text goes out to clients as UTF-8: nothing but printable ASCII of it. */
static void why_copy(char why[WHY_MAX], const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		why[i] = text[i] >= ' ' && text[i] <= '~' ? (char)text[i] : '?';
	why[len] = '\0';
}

/* The octets of the answer that stands first in a packet, or 0: there is no whole one. */
static size_t answer_len(const uint8_t *packet, size_t left)
{
	struct recursor_answer answer;

	if (left < sizeof answer)
		return 0;
	memcpy(&answer, packet, sizeof answer);
	size_t len = sizeof answer + answer.why_len + answer.wire_len;
	return len <= left && answer.why_len <= RECURSOR_ANSWER_WHY_MAX ? len : 0;
}

/* Takes a whole answer apart. Returns its flight, or NULL: nobody asked (any more), or *malformed. */
static struct recursion_flight *answer_read(const struct recursion *recursion, const uint8_t *message,
        struct recursion_result *result, char why[WHY_MAX], bool *malformed)
{
	struct recursor_answer answer;
	*malformed = true;
	memcpy(&answer, message, sizeof answer);
	if (answer.status > RECURSION_BUSY || answer.secure > 1 || answer.ede < EDE_NONE ||
	        answer.ede > EDE_MAX)
		return NULL;
	if (answer.wire_len > 0 && answer.wire_len < MESSAGE_HEADER_LEN)
		return NULL;
	if (answer.status == RECURSION_ANSWERED && answer.wire_len == 0)
		return NULL;
	*malformed = false;

	const uint8_t *text = message + sizeof answer;
	why_copy(why, text, answer.why_len);
	struct recursion_flight *flight = flight_of_id(recursion, answer.id);
	bool has_wire = answer.status == RECURSION_ANSWERED ||
	                (answer.status == RECURSION_BOGUS && flight && flight->question.checking_disabled);
	*result = (struct recursion_result){ .status = answer.status,
		.secure = answer.secure && answer.status == RECURSION_ANSWERED,
		.ede = answer.ede,
		.why = why,
		.wire = has_wire && answer.wire_len > 0 ? text + answer.why_len : NULL,
		.wire_len = has_wire ? answer.wire_len : 0 };
	return flight;
}

/* Is this message about the question that was asked? The cache will hand it to everybody who asks that. */
static bool answer_fits(const struct recursion_question *asked, const struct recursion_result *result)
{
	const uint8_t *question = result->wire + MESSAGE_HEADER_LEN;
	size_t left = result->wire_len - MESSAGE_HEADER_LEN;
	struct name name;

	if (wire_read16(result->wire + 4) != 1)
		return false;
	int len = name_from_wire(&name, question, left);
	return len > 0 && (size_t)len + 4 <= left && name_equal(&name, &asked->name) &&
	       wire_read16(question + len) == asked->type && wire_read16(question + len + 2) == CLASS_IN;
}

static void answer_count(struct recursion *recursion, enum recursion_status status)
{
	if (status == RECURSION_ANSWERED)
		STATS_ADD(recursion->stats, UPSTREAM_ANSWERED);
	else if (status == RECURSION_BOGUS)
		STATS_ADD(recursion->stats, UPSTREAM_BOGUS);
	else if (status == RECURSION_FAILED)
		STATS_ADD(recursion->stats, UPSTREAM_FAILED);
}

static void answer_take(struct recursion *recursion, const uint8_t *message)
{
	struct recursion_result result;
	char why[WHY_MAX];
	bool malformed;
	struct recursion_flight *flight = answer_read(recursion, message, &result, why, &malformed);
	if (malformed)
		STATS_ADD(recursion->stats, UPSTREAM_MALFORMED);
	if (!flight)
		return;
	if (result.wire && !answer_fits(&flight->question, &result)) {
		STATS_ADD(recursion->stats, UPSTREAM_MALFORMED);
		result = (struct recursion_result){ .status = RECURSION_FAILED,
			.ede = EDE_NETWORK_ERROR,
			.why = "the answer is not about the question" };
	}
	if (!flight->question.own) {
		answer_count(recursion, result.status);
		stats_add(&recursion->stats->counter[STATS_UPSTREAM_LATENCY_SUM_US],
		        now_us() - flight->asked_us);
	}
	flight_land(recursion, flight, &result, result.status != RECURSION_BUSY);
}

/* What follows an answer of a wrong length cannot be told apart. */
static void answers_take(struct recursion *recursion, size_t len)
{
	const uint8_t *at = recursion->room;

	for (size_t took; len > 0; at += took, len -= took) {
		took = answer_len(at, len);
		if (took == 0) {
			STATS_ADD(recursion->stats, UPSTREAM_MALFORMED);
			return;
		}
		answer_take(recursion, at);
	}
}

/* Returns whether there may be more. */
static bool packet_take(struct recursion *recursion)
{
	ssize_t len = recv(recursion->fd, recursion->room, sizeof recursion->room, MSG_DONTWAIT | MSG_TRUNC);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (len <= 0) { /* the end of the socket */
		connection_lost(recursion);
		return false;
	}
	if ((size_t)len > sizeof recursion->room)
		STATS_ADD(recursion->stats, UPSTREAM_MALFORMED);
	else
		answers_take(recursion, (size_t)len);
	return recursion->fd >= 0;
}

static void recursion_readable(int fd, short what, void *arg)
{
	for (int packets = 1; packet_take(arg) && packets < PACKETS_A_TURN; packets++)
		;
}

static void recursion_writable(int fd, short what, void *arg)
{
	questions_send(arg);
}

static void questions_due(int fd, short what, void *arg)
{
	questions_send(arg);
}

static void flights_expire(struct recursion *recursion)
{
	const struct recursion_result late = {
		.status = RECURSION_TIMEOUT, .ede = EDE_NO_REACHABLE_AUTHORITY, .why = "no answer in time"
	};
	uint64_t now = now_us();
	struct recursion_flight *flight;
	while ((flight = TAILQ_FIRST(&recursion->by_age)) && flight->deadline_us <= now) {
		if (!flight->question.own)
			STATS_ADD(recursion->stats, UPSTREAM_TIMEOUTS);
		flight_land(recursion, flight, &late, true);
	}
	timer_set(recursion);
}

static void recursion_expired(int fd, short what, void *arg)
{
	flights_expire(arg);
}

/* ---- the interface ---- */

static bool tables_make(struct recursion *recursion)
{
	size_t buckets = 64;
	while (buckets < recursion->slots->most)
		buckets *= 2;
	recursion->bucket_mask = buckets - 1;
	recursion->by_question = calloc(buckets, sizeof *recursion->by_question);
	recursion->by_id = calloc(buckets, sizeof *recursion->by_id);
	recursion->expired = evtimer_new(recursion->base, recursion_expired, recursion);
	recursion->due = event_new(recursion->base, -1, 0, questions_due, recursion);
	return recursion->by_question && recursion->by_id && recursion->expired && recursion->due;
}

struct recursion *recursion_new(struct event_base *base, struct slots *slots, unsigned deadline_ms,
        struct stats *stats, recursion_store store, void *store_arg)
{
	struct recursion *recursion = calloc(1, sizeof *recursion);
	if (!recursion)
		return NULL;
	recursion->base = base;
	recursion->slots = slots;
	recursion->deadline_us = (uint64_t)deadline_ms * 1000;
	recursion->stats = stats;
	recursion->store = store;
	recursion->store_arg = store_arg;
	recursion->fd = -1;
	TAILQ_INIT(&recursion->by_age);
	TAILQ_INIT(&recursion->unsent);
	recursion->seed = id_draw(recursion);
	if (!tables_make(recursion)) {
		recursion_free(recursion);
		return NULL;
	}
	return recursion;
}

void recursion_free(struct recursion *recursion)
{
	if (!recursion)
		return;
	const struct recursion_result ended = {
		.status = RECURSION_FAILED, .ede = EDE_NETWORK_ERROR, .why = "shutting down"
	};
	struct recursion_flight *flight;
	recursion->ends = true;
	while ((flight = TAILQ_FIRST(&recursion->by_age)))
		flight_land(recursion, flight, &ended, false);
	connection_close(recursion);
	if (recursion->expired)
		event_free(recursion->expired);
	if (recursion->due)
		event_free(recursion->due);
	free(recursion->by_question);
	free(recursion->by_id);
	free(recursion);
}

void recursion_connect(struct recursion *recursion, int fd)
{
	connection_lost(recursion);
	if (fd < 0)
		return;
	recursion->fd = fd;
	evutil_make_socket_nonblocking(fd);
	recursion->readable =
	        event_new(recursion->base, fd, EV_READ | EV_PERSIST, recursion_readable, recursion);
	recursion->writable = event_new(recursion->base, fd, EV_WRITE, recursion_writable, recursion);
	if (!recursion->readable || !recursion->writable || event_add(recursion->readable, NULL) < 0) {
		connection_lost(recursion);
		return;
	}
	questions_send(recursion);
}

/* usherd's own pulse has a place beside the slots: a flood must not look like a hung recursor. */
static int flight_may_begin(const struct recursion *recursion, const struct recursion_question *question)
{
	if (recursion->ends)
		return -EBUSY;
	return question->own || slots_have_room(recursion->slots) ? 0 : -EBUSY;
}

static void waiter_join(
        struct recursion_waiter *waiter, struct recursion_flight *flight, const struct slots_client *charged)
{
	waiter->flight = flight;
	waiter->next = flight->waiters;
	flight->waiters = waiter;
	waiter->charged = *charged;
	slots_charge(charged);
}

int recursion_ask(struct recursion *recursion, const struct recursion_question *question,
        struct recursion_waiter *waiter, const struct slots_client *client)
{
	static const struct slots_client nobody;
	struct recursion_flight *flight = flight_find(recursion, question);

	if (client == NULL)
		client = &nobody;
	if (!slots_client_may(recursion->slots, client)) {
		STATS_ADD(recursion->stats, RECURSION_REFUSED_CLIENT);
		return -EDQUOT;
	}
	if (flight) {
		if (waiter)
			waiter_join(waiter, flight, client);
		return 0;
	}
	int ret = flight_may_begin(recursion, question);
	if (ret < 0) {
		STATS_ADD(recursion->stats, RECURSION_REFUSED_ALL);
		return ret;
	}
	flight = flight_new(recursion, question, client);
	if (!flight)
		return -ENOMEM;
	if (!question->own)
		STATS_ADD(recursion->stats, UPSTREAM_QUERIES);
	event_active(recursion->due, EV_TIMEOUT, 0);
	if (waiter)
		waiter_join(waiter, flight, &nobody);
	return 0;
}

void recursion_cancel(struct recursion_waiter *waiter)
{
	struct recursion_flight *flight = waiter->flight;
	if (!flight)
		return;
	struct recursion_waiter **place = &flight->waiters;
	while (*place != waiter)
		place = &(*place)->next;
	*place = waiter->next;
	waiter_leave(waiter);
}

unsigned recursion_in_flight(const struct recursion *recursion)
{
	return recursion->count;
}
