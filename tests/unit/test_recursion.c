/* The workers' side of recursion, with a recursor played by hand on the other end of a socket pair. */
#include "resolver/recursion.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolver/stats.h"

#define DEADLINE_MS 150
#define IN_FLIGHT 8

struct waiter {
	struct recursion_waiter waiter; /* first, so that one is the other */
	unsigned told;
	struct recursion_result result;
	char why[256];
	uint8_t wire[64];
	struct bench *bench;
	void (*then)(struct waiter *waiter);
};

struct bench {
	struct event_base *base;
	struct recursion *recursion;
	struct stats stats;
	struct slots slots;
	int fd;                                 /* the recursor's end */
	uint8_t packet[RECURSOR_QUESTIONS_MAX]; /* of which it has heard so much */
	size_t heard_at, heard_len;
	unsigned stored;
	enum recursion_status stored_status;
	unsigned told_when_stored;
	struct waiter waiter[4];
};

static void answered(struct recursion_waiter *at, const struct recursion_result *result)
{
	struct waiter *waiter = (struct waiter *)at;
	waiter->told++;
	waiter->result = *result;
	snprintf(waiter->why, sizeof waiter->why, "%s", result->why);
	if (result->wire)
		memcpy(waiter->wire, result->wire, result->wire_len < 64 ? result->wire_len : 64);
	if (waiter->then)
		waiter->then(waiter);
}

static void store(void *arg, const struct recursion_question *question, const struct recursion_result *result)
{
	struct bench *bench = arg;
	bench->stored++;
	bench->stored_status = result->status;
	bench->told_when_stored = bench->waiter[0].told;
}

static void connect_recursor(struct bench *bench)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	if (bench->fd >= 0)
		close(bench->fd);
	bench->fd = pair[1];
	bench->heard_at = bench->heard_len = 0;
	recursion_connect(bench->recursion, pair[0]);
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof *bench);
	bench->base = event_base_new();
	bench->fd = -1;
	bench->slots.most = IN_FLIGHT;
	bench->recursion =
	        recursion_new(bench->base, &bench->slots, DEADLINE_MS, &bench->stats, store, bench);
	for (int i = 0; i < 4; i++) {
		bench->waiter[i].waiter.answered = answered;
		bench->waiter[i].bench = bench;
	}
	connect_recursor(bench);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;
	recursion_free(bench->recursion);
	if (bench->fd >= 0)
		close(bench->fd);
	event_base_free(bench->base);
	free(bench);
	return 0;
}

static struct recursion_question question_of(const char *text, uint16_t type, bool cd)
{
	struct recursion_question question = { .type = type, .checking_disabled = cd };
	assert_int_equal(name_from_text(&question.name, text, strlen(text)), 0);
	return question;
}

static int ask(struct bench *bench, const char *text, int waiter)
{
	struct recursion_question question = question_of(text, TYPE_A, false);
	return recursion_ask(
	        bench->recursion, &question, waiter < 0 ? NULL : &bench->waiter[waiter].waiter, NULL);
}

static void run_ms(struct bench *bench, int ms)
{
	struct timeval in = { ms / 1000, ms % 1000 * 1000 };
	event_base_loopexit(bench->base, &in);
	event_base_dispatch(bench->base);
}

static void run(struct bench *bench)
{
	event_base_loop(bench->base, EVLOOP_NONBLOCK);
}

/* A message about the question that was heard with this id: the last one heard, or said so with wire_about().
 */
static uint8_t wire[MESSAGE_HEADER_LEN + NAME_WIRE_MAX + 4];
static size_t wire_len;
static struct {
	uint64_t id;
	struct recursion_question question;
} heard_questions[64];
static unsigned heard_count;

static void wire_about(uint64_t id)
{
	for (unsigned i = 0; i < heard_count; i++) {
		const struct recursion_question *question = &heard_questions[i].question;
		if (heard_questions[i].id != id)
			continue;
		memset(wire, 0, sizeof wire);
		wire_write16(wire + 2, 0x8180);
		wire_write16(wire + 4, 1);
		memcpy(wire + MESSAGE_HEADER_LEN, question->name.wire, question->name.len);
		wire_len = MESSAGE_HEADER_LEN + question->name.len + 4u;
		wire_write16(wire + wire_len - 4, question->type);
		wire_write16(wire + wire_len - 2, CLASS_IN);
	}
}

/* What the recursor hears next: its id, or 0 for silence. */
static uint64_t heard(struct bench *bench, struct recursor_question *question, struct name *name)
{
	run(bench); /* questions go out at the end of a turn */
	if (bench->heard_at == bench->heard_len) {
		ssize_t got = recv(bench->fd, bench->packet, sizeof bench->packet, 0);
		bench->heard_at = 0;
		bench->heard_len = got > 0 ? (size_t)got : 0;
	}
	if (bench->heard_len == 0)
		return 0;
	const uint8_t *at = bench->packet + bench->heard_at;
	size_t left = bench->heard_len - bench->heard_at;
	assert_true(left > sizeof *question);
	memcpy(question, at, sizeof *question);
	assert_true(left >= sizeof *question + question->name_len);
	assert_int_equal(name_from_wire(name, at + sizeof *question, question->name_len), question->name_len);
	bench->heard_at += sizeof *question + question->name_len;
	unsigned slot = heard_count < 64 ? heard_count++ : 63;
	heard_questions[slot].id = question->id;
	heard_questions[slot].question = (struct recursion_question){ .name = *name, .type = question->type };
	wire_about(question->id);
	return question->id;
}

static uint64_t heard_id(struct bench *bench)
{
	struct recursor_question question;
	struct name name;
	return heard(bench, &question, &name);
}

static void say(
        struct bench *bench, const struct recursor_answer *answer, const char *why, const uint8_t *data)
{
	uint8_t message[1024];
	memcpy(message, answer, sizeof *answer);
	memcpy(message + sizeof *answer, why, answer->why_len);
	memcpy(message + sizeof *answer + answer->why_len, data, answer->wire_len);
	size_t len = sizeof *answer + answer->why_len + answer->wire_len;
	assert_int_equal(send(bench->fd, message, len, MSG_NOSIGNAL), len);
}

static void say_answer(struct bench *bench, uint64_t id)
{
	wire_about(id);
	struct recursor_answer answer = {
		.id = id, .status = RECURSION_ANSWERED, .secure = 1, .ede = EDE_NONE, .wire_len = wire_len
	};
	say(bench, &answer, "", wire);
	run(bench);
}

static void answer_about_another_question_fails(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "first.example", 0), 0);
	assert_int_equal(ask(bench, "second.example", 1), 0);
	uint64_t first = heard_id(bench), second = heard_id(bench);
	struct recursor_answer answer = {
		.id = first, .status = RECURSION_ANSWERED, .secure = 1, .ede = EDE_NONE, .wire_len = wire_len
	};
	say(bench, &answer, "", wire); /* still about the second */
	run(bench);
	assert_int_equal(bench->waiter[0].result.status, RECURSION_FAILED);
	assert_null(bench->waiter[0].result.wire);
	assert_false(bench->waiter[0].result.secure);
	assert_int_equal(bench->stats.counter[STATS_UPSTREAM_MALFORMED], 1);
	say_answer(bench, second);
	assert_int_equal(bench->waiter[1].result.status, RECURSION_ANSWERED);
}

static void answer_reaches_the_waiter_after_the_store(void **state)
{
	struct bench *bench = *state;
	struct recursor_question question;
	struct name name;
	char text[NAME_TEXT_MAX];
	assert_int_equal(ask(bench, "Www.Example.com", 0), 0);
	assert_int_equal(bench->waiter[0].told, 0);
	uint64_t id = heard(bench, &question, &name);
	assert_int_not_equal(id, 0);
	name_to_text(&name, text);
	assert_string_equal(text, "www.example.com");
	assert_int_equal(question.type, TYPE_A);
	assert_int_equal(question.checking_disabled, 0);
	assert_int_equal(recursion_in_flight(bench->recursion), 1);

	say_answer(bench, id);
	assert_int_equal(bench->waiter[0].told, 1);
	assert_int_equal(bench->waiter[0].result.status, RECURSION_ANSWERED);
	assert_true(bench->waiter[0].result.secure);
	assert_int_equal(bench->waiter[0].result.wire_len, wire_len);
	assert_memory_equal(bench->waiter[0].wire, wire, wire_len);
	assert_int_equal(bench->stored, 1);
	assert_int_equal(bench->told_when_stored, 0);
	assert_int_equal(recursion_in_flight(bench->recursion), 0);
	assert_int_equal(bench->stats.counter[STATS_UPSTREAM_QUERIES], 1);
	assert_int_equal(bench->stats.counter[STATS_UPSTREAM_TIMEOUTS], 0);
	assert_true(bench->stats.counter[STATS_UPSTREAM_LATENCY_SUM_US] > 0);
}

static void equal_questions_are_asked_once(void **state)
{
	struct bench *bench = *state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(bench, "example.com", i), 0);
	assert_int_equal(ask(bench, "example.com", -1), 0);
	uint64_t id = heard_id(bench);
	assert_int_equal(heard_id(bench), 0);
	say_answer(bench, id);
	for (int i = 0; i < 3; i++)
		assert_int_equal(bench->waiter[i].told, 1);
	assert_int_equal(bench->stored, 1);
	assert_int_equal(bench->stats.counter[STATS_UPSTREAM_QUERIES], 1);
}

static void other_type_or_cd_is_another_question(void **state)
{
	struct bench *bench = *state;
	struct recursion_question questions[] = { question_of("example.com", TYPE_A, false),
		question_of("example.com", TYPE_AAAA, false), question_of("example.com", TYPE_A, true),
		question_of("www.example.com", TYPE_A, false) };
	for (int i = 0; i < 4; i++)
		assert_int_equal(
		        recursion_ask(bench->recursion, &questions[i], &bench->waiter[i].waiter, NULL), 0);
	uint64_t ids[4];
	for (int i = 0; i < 4; i++) {
		ids[i] = heard_id(bench);
		for (int j = 0; j < i; j++)
			assert_int_not_equal(ids[i], ids[j]);
	}
	for (int i = 3; i >= 0; i--) {
		say_answer(bench, ids[i]);
		assert_int_equal(bench->waiter[i].told, 1);
	}
}

static void prefetch_is_heard_by_the_store_alone(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "example.com", -1), 0);
	say_answer(bench, heard_id(bench));
	assert_int_equal(bench->stored, 1);
}

static void silence_ends_at_the_deadline(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "example.com", 0), 0);
	uint64_t id = heard_id(bench);
	run_ms(bench, DEADLINE_MS / 2);
	assert_int_equal(ask(bench, "later.example", 1), 0);
	assert_int_equal(bench->waiter[0].told, 0);
	run_ms(bench, DEADLINE_MS / 2 + 30);
	assert_int_equal(bench->waiter[0].told, 1);
	assert_int_equal(bench->waiter[0].result.status, RECURSION_TIMEOUT);
	assert_int_equal(bench->waiter[0].result.ede, EDE_NO_REACHABLE_AUTHORITY);
	assert_null(bench->waiter[0].result.wire);
	assert_int_equal(bench->stored_status, RECURSION_TIMEOUT);
	assert_int_equal(bench->waiter[1].told, 0);
	assert_int_equal(bench->stats.counter[STATS_UPSTREAM_TIMEOUTS], 1);
	run_ms(bench, DEADLINE_MS / 2);
	assert_int_equal(bench->waiter[1].result.status, RECURSION_TIMEOUT);

	say_answer(bench, id); /* too late */
	assert_int_equal(bench->waiter[0].told, 1);
	assert_int_equal(bench->stored, 2);
}

static void second_answer_is_ignored(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "example.com", 0), 0);
	uint64_t id = heard_id(bench);
	say_answer(bench, id);
	say_answer(bench, id);
	assert_int_equal(bench->waiter[0].told, 1);
	assert_int_equal(bench->stored, 1);
}

static void answer_nobody_asked_for_is_ignored(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "example.com", 0), 0);
	uint64_t id = heard_id(bench);
	say_answer(bench, id + 1);
	say_answer(bench, 0);
	assert_int_equal(bench->waiter[0].told, 0);
	assert_int_equal(bench->stats.counter[STATS_UPSTREAM_MALFORMED], 0);
	say_answer(bench, id);
	assert_int_equal(bench->waiter[0].told, 1);
}

static void garbage_is_counted_and_hurts_nobody(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "example.com", 0), 0);
	uint64_t id = heard_id(bench);
	const struct recursor_answer bad[] = {
		{ .id = id, .status = RECURSION_BUSY + 1, .ede = EDE_NONE },
		{ .id = id,
		        .status = RECURSION_ANSWERED,
		        .secure = 2,
		        .ede = EDE_NONE,
		        .wire_len = wire_len },
		{ .id = id, .status = RECURSION_ANSWERED, .ede = -2, .wire_len = wire_len },
		{ .id = id, .status = RECURSION_ANSWERED, .ede = EDE_NONE, .wire_len = 0 },
		{ .id = id,
		        .status = RECURSION_ANSWERED,
		        .ede = EDE_NONE,
		        .wire_len = MESSAGE_HEADER_LEN - 1 },
		{ .id = id, .status = RECURSION_FAILED, .ede = EDE_NONE, .why_len = 256 },
	};
	uint8_t room[512] = { 0 };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		say(bench, &bad[i], (const char *)room, room);
	/* lengths that are not there, a cut header, a message beyond every size */
	struct recursor_answer answer = {
		.id = id, .status = RECURSION_ANSWERED, .ede = EDE_NONE, .wire_len = 100
	};
	assert_true(send(bench->fd, &answer, sizeof answer, 0) > 0);
	assert_true(send(bench->fd, &answer, 7, 0) > 0);
	uint8_t *huge = calloc(1, 100000);
	memcpy(huge, &answer, sizeof answer);
	assert_true(send(bench->fd, huge, 100000, 0) > 0);
	free(huge);
	run(bench);
	assert_int_equal(bench->waiter[0].told, 0);
	assert_int_equal(bench->stats.counter[STATS_UPSTREAM_MALFORMED], 9);
	say_answer(bench, id);
	assert_int_equal(bench->waiter[0].told, 1);
}

static int questions_in(const uint8_t *packet, size_t len)
{
	int count = 0;
	struct recursor_question question;
	for (size_t at = 0; at < len; at += sizeof question + question.name_len, count++)
		memcpy(&question, packet + at, sizeof question);
	return count;
}

static void answers_of_one_packet_are_told_up_to_the_first_malformed(void **state)
{
	struct bench *bench = *state;
	uint8_t packet[4 * sizeof(struct recursor_answer)];
	for (int i = 0; i < 3; i++) {
		char text[16];
		snprintf(text, sizeof text, "n%d.example", i);
		assert_int_equal(ask(bench, text, i), 0);
	}
	for (int i = 0; i < 3; i++) {
		struct recursor_answer answer = { .id = heard_id(bench),
			.status = RECURSION_FAILED,
			.ede = EDE_NONE,
			.wire_len = i == 2 ? MESSAGE_HEADER_LEN : 0 }; /* more than the packet has */
		memcpy(packet + (size_t)i * sizeof answer, &answer, sizeof answer);
	}
	assert_true(send(bench->fd, packet, 3 * sizeof(struct recursor_answer), 0) > 0);
	run(bench);
	assert_int_equal(bench->waiter[0].told, 1);
	assert_int_equal(bench->waiter[1].told, 1);
	assert_int_equal(bench->waiter[2].told, 0);
	assert_int_equal(bench->stats.counter[STATS_UPSTREAM_MALFORMED], 1);
}

static void questions_of_one_turn_cross_in_one_packet(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "one.example", 0), 0);
	assert_int_equal(ask(bench, "two.example", 1), 0);
	run(bench);
	ssize_t len = recv(bench->fd, bench->packet, sizeof bench->packet, 0);
	assert_true(len > 0);
	assert_int_equal(recv(bench->fd, bench->packet, sizeof bench->packet, 0), -1);
	assert_int_equal(questions_in(bench->packet, (size_t)len), 2);
}

static void bogus_data_is_for_cd_alone(void **state)
{
	struct bench *bench = *state;
	for (int cd = 0; cd < 2; cd++) {
		struct recursion_question question = question_of("bogus.example", TYPE_A, cd);
		assert_int_equal(
		        recursion_ask(bench->recursion, &question, &bench->waiter[cd].waiter, NULL), 0);
		struct recursor_answer answer = { .id = heard_id(bench),
			.status = RECURSION_BOGUS,
			.secure = 1,
			.ede = EDE_SIGNATURE_EXPIRED,
			.why_len = 4,
			.wire_len = wire_len };
		say(bench, &answer,
		        "a\n\xff"
		        "b",
		        wire);
		run(bench);
		assert_int_equal(bench->waiter[cd].result.status, RECURSION_BOGUS);
		assert_int_equal(bench->waiter[cd].result.ede, EDE_SIGNATURE_EXPIRED);
		assert_false(bench->waiter[cd].result.secure);
		assert_string_equal(bench->waiter[cd].why, "a??b");
		assert_int_equal(bench->waiter[cd].result.wire != NULL, cd);
		assert_int_equal(bench->waiter[cd].result.wire_len, cd ? wire_len : 0);
	}
}

static void busy_is_told_but_not_stored(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "example.com", 0), 0);
	struct recursor_answer answer = { .id = heard_id(bench), .status = RECURSION_BUSY, .ede = EDE_NONE };
	say(bench, &answer, "", wire);
	run(bench);
	assert_int_equal(bench->waiter[0].result.status, RECURSION_BUSY);
	assert_int_equal(bench->stored, 0);
}

static void too_many_questions_are_refused_but_equal_ones_join(void **state)
{
	struct bench *bench = *state;
	for (int i = 0; i < IN_FLIGHT; i++) {
		char text[32];
		snprintf(text, sizeof text, "n%d.example", i);
		assert_int_equal(ask(bench, text, -1), 0);
	}
	assert_int_equal(ask(bench, "more.example", 0), -EBUSY);
	assert_int_equal(ask(bench, "n3.example", 0), 0);
	say_answer(bench, heard_id(bench));
	assert_int_equal(ask(bench, "more.example", 1), 0);
}

static int ask_as(struct bench *bench, const char *text, int waiter, const struct slots_client *client)
{
	struct recursion_question question = question_of(text, TYPE_A, false);
	return recursion_ask(bench->recursion, &question, &bench->waiter[waiter].waiter, client);
}

static struct slots_client client_of(struct bench *bench, uint8_t last, uint32_t most)
{
	uint8_t address[16] = { [10] = 0xff, 0xff, 10, 20, 0, last };
	return slots_client(&bench->slots, address, most);
}

static void client_over_its_share_is_refused_and_another_is_not(void **state)
{
	struct bench *bench = *state;
	struct slots_client greedy = client_of(bench, 5, 2), other = client_of(bench, 6, 2);
	assert_int_equal(ask_as(bench, "a.example", 0, &greedy), 0);
	assert_int_equal(ask_as(bench, "b.example", 1, &greedy), 0);
	assert_int_equal(ask_as(bench, "c.example", 2, &greedy), -EDQUOT);
	assert_int_equal(ask_as(bench, "c.example", 2, &other), 0);
	assert_int_equal(bench->stats.counter[STATS_RECURSION_REFUSED_CLIENT], 1);
	say_answer(bench, heard_id(bench));
	assert_int_equal(ask_as(bench, "d.example", 0, &greedy), 0);
}

static void client_that_goes_away_keeps_its_places_until_the_questions_end(void **state)
{
	struct bench *bench = *state;
	struct slots_client client = client_of(bench, 5, 3);
	for (int i = 0; i < 3; i++) {
		char text[32];
		snprintf(text, sizeof text, "n%d.example", i);
		assert_int_equal(ask_as(bench, text, 0, &client), 0);
		recursion_cancel(&bench->waiter[0].waiter);
	}
	assert_int_equal(ask_as(bench, "more.example", 0, &client), -EDQUOT);
	run_ms(bench, DEADLINE_MS + 50);
	assert_int_equal(*client.count, 0);
	assert_int_equal(ask_as(bench, "more.example", 0, &client), 0);
}

static void every_way_out_gives_the_places_back(void **state)
{
	struct bench *bench = *state;
	struct slots_client one = client_of(bench, 5, 4), two = client_of(bench, 6, 4);
	assert_int_equal(ask_as(bench, "joined.example", 0, &one), 0);
	assert_int_equal(ask_as(bench, "joined.example", 1, &two), 0);
	assert_int_equal(ask_as(bench, "joined.example", 2, &two), 0);
	assert_int_equal(*one.count, 1);
	assert_int_equal(*two.count, 2);
	recursion_cancel(&bench->waiter[1].waiter);
	assert_int_equal(*two.count, 1);
	say_answer(bench, heard_id(bench)); /* answered */
	assert_int_equal(*one.count + *two.count + bench->slots.taken, 0);

	assert_int_equal(ask_as(bench, "late.example", 0, &one), 0);
	assert_int_equal(ask_as(bench, "late.example", 1, &two), 0);
	run_ms(bench, DEADLINE_MS + 50); /* the deadline */
	assert_int_equal(*one.count + *two.count + bench->slots.taken, 0);

	assert_int_equal(ask_as(bench, "end.example", 0, &one), 0);
	assert_int_equal(ask_as(bench, "end.example", 1, &two), 0);
	connect_recursor(bench); /* asked anew, not twice as much */
	assert_int_equal(*one.count + *two.count, 2);
	assert_int_equal(bench->slots.taken, 1);
	recursion_free(bench->recursion); /* the end */
	bench->recursion = NULL;
	assert_int_equal(*one.count + *two.count + bench->slots.taken, 0);
}

static void clients_never_get_more_than_they_leave(void **state)
{
	struct bench *bench = *state;
	unsigned got[3] = { 0 };
	for (int c = 0; c < 3; c++) {
		struct slots_client client = client_of(bench, (uint8_t)(5 + c), 1000);
		for (int i = 0; i < IN_FLIGHT; i++) {
			char text[32];
			snprintf(text, sizeof text, "c%d-%d.example", c, i);
			struct recursion_question question = question_of(text, TYPE_A, false);
			got[c] += recursion_ask(bench->recursion, &question, NULL, &client) == 0;
		}
	}
	assert_int_equal(got[0], IN_FLIGHT / 2);
	assert_true(got[1] >= 2 && got[2] >= 1);
	assert_true(bench->slots.taken < IN_FLIGHT);
}

static void pulse_goes_out_though_all_places_are_taken(void **state)
{
	struct bench *bench = *state;
	struct recursion_question pulse = question_of("localhost", TYPE_A, false);
	pulse.own = true;
	for (int i = 0; i < IN_FLIGHT; i++) {
		char text[32];
		snprintf(text, sizeof text, "n%d.example", i);
		assert_int_equal(ask(bench, text, -1), 0);
	}
	assert_int_equal(ask(bench, "more.example", -1), -EBUSY);
	assert_int_equal(bench->stats.counter[STATS_RECURSION_REFUSED_ALL], 1);
	assert_int_equal(recursion_ask(bench->recursion, &pulse, &bench->waiter[0].waiter, NULL), 0);
}

static void new_recursor_is_asked_again(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "one.example", 0), 0);
	assert_int_equal(ask(bench, "two.example", 1), 0);
	assert_int_not_equal(heard_id(bench), 0);
	close(bench->fd); /* kill -9 */
	bench->fd = -1;
	run(bench);
	assert_int_equal(ask(bench, "three.example", 2), 0); /* nobody there: it waits */
	assert_int_equal(recursion_in_flight(bench->recursion), 3);
	connect_recursor(bench);
	for (int i = 0; i < 3; i++)
		say_answer(bench, heard_id(bench));
	assert_int_equal(heard_id(bench), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(bench->waiter[i].result.status, RECURSION_ANSWERED);
	assert_int_equal(bench->stats.counter[STATS_UPSTREAM_QUERIES], 3);
}

static void recursor_that_dies_unseen_is_noticed_by_the_next_question(void **state)
{
	struct bench *bench = *state;
	close(bench->fd);
	bench->fd = -1;
	assert_int_equal(ask(bench, "one.example", 0), 0);
	run(bench); /* EPIPE */
	connect_recursor(bench);
	say_answer(bench, heard_id(bench));
	assert_int_equal(bench->waiter[0].told, 1);
}

static void without_a_recursor_questions_wait_until_the_deadline(void **state)
{
	struct bench *bench = *state;
	recursion_connect(bench->recursion, -1);
	assert_int_equal(heard_id(bench), 0);
	assert_int_equal(ask(bench, "one.example", 0), 0);
	run_ms(bench, DEADLINE_MS + 30);
	assert_int_equal(bench->waiter[0].result.status, RECURSION_TIMEOUT);
	connect_recursor(bench);
	assert_int_equal(heard_id(bench), 0); /* nobody waits for it any more */
}

static void replaced_recursor_is_not_listened_to(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "one.example", 0), 0);
	uint64_t id = heard_id(bench);
	int old = dup(bench->fd);
	connect_recursor(bench);
	struct recursor_answer answer = { .id = id, .status = RECURSION_FAILED, .ede = EDE_NONE };
	assert_int_equal(send(old, &answer, sizeof answer, MSG_NOSIGNAL), -1);
	close(old);
	run(bench);
	assert_int_equal(bench->waiter[0].told, 0);
	say_answer(bench, heard_id(bench));
	assert_int_equal(bench->waiter[0].told, 1);
}

static void full_socket_delays_and_loses_nothing(void **state)
{
	struct bench *bench = *state;
	enum { MANY = 30000 };
	bench->slots.most = MANY;
	struct recursion *wide = recursion_new(bench->base, &bench->slots, 5000, &bench->stats, NULL, NULL);
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	recursion_connect(wide, pair[0]);
	for (int i = 0; i < MANY; i++) {
		char text[32];
		snprintf(text, sizeof text, "n%d.example", i);
		struct recursion_question question = question_of(text, TYPE_A, false);
		assert_int_equal(recursion_ask(wide, &question, NULL, NULL), 0);
	}
	uint8_t packet[RECURSOR_QUESTIONS_MAX];
	int count = 0, turns = 0;
	for (; count < MANY && turns < 1000; turns++) {
		run(bench);
		for (ssize_t len; (len = recv(pair[1], packet, sizeof packet, 0)) > 0;)
			count += questions_in(packet, (size_t)len);
	}
	assert_int_equal(count, MANY);
	assert_true(turns > 1); /* it was full indeed */
	close(pair[1]);
	recursion_free(wide);
}

static void cancelled_waiter_hears_nothing_and_the_others_do(void **state)
{
	struct bench *bench = *state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(bench, "example.com", i), 0);
	recursion_cancel(&bench->waiter[1].waiter);
	recursion_cancel(&bench->waiter[1].waiter); /* twice is fine */
	say_answer(bench, heard_id(bench));
	assert_int_equal(bench->waiter[0].told, 1);
	assert_int_equal(bench->waiter[1].told, 0);
	assert_int_equal(bench->waiter[2].told, 1);
	assert_int_equal(bench->stored, 1);
	recursion_cancel(&bench->waiter[0].waiter); /* after the answer too */
}

static void cancel_the_others(struct waiter *waiter)
{
	for (int i = 0; i < 3; i++)
		recursion_cancel(&waiter->bench->waiter[i].waiter);
}

static void waiter_may_cancel_others_while_it_is_told(void **state)
{
	struct bench *bench = *state;
	for (int i = 0; i < 3; i++) {
		bench->waiter[i].then = cancel_the_others;
		assert_int_equal(ask(bench, "example.com", i), 0);
	}
	say_answer(bench, heard_id(bench));
	assert_int_equal(bench->waiter[0].told + bench->waiter[1].told + bench->waiter[2].told, 1);
}

static void ask_again(struct waiter *waiter)
{
	waiter->then = NULL;
	assert_int_equal(ask(waiter->bench, "example.com", 0), 0);
}

static void waiter_may_ask_again_while_it_is_told(void **state)
{
	struct bench *bench = *state;
	bench->waiter[0].then = ask_again;
	assert_int_equal(ask(bench, "example.com", 0), 0);
	say_answer(bench, heard_id(bench));
	assert_int_equal(bench->waiter[0].told, 1);
	say_answer(bench, heard_id(bench));
	assert_int_equal(bench->waiter[0].told, 2);
}

static void end_tells_those_who_wait(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(ask(bench, "example.com", 0), 0);
	recursion_free(bench->recursion);
	bench->recursion = NULL;
	assert_int_equal(bench->waiter[0].told, 1);
	assert_int_equal(bench->waiter[0].result.status, RECURSION_FAILED);
	assert_int_equal(bench->stored, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(answer_reaches_the_waiter_after_the_store),
		TEST(answer_about_another_question_fails),
		TEST(equal_questions_are_asked_once),
		TEST(other_type_or_cd_is_another_question),
		TEST(prefetch_is_heard_by_the_store_alone),
		TEST(silence_ends_at_the_deadline),
		TEST(second_answer_is_ignored),
		TEST(answer_nobody_asked_for_is_ignored),
		TEST(garbage_is_counted_and_hurts_nobody),
		TEST(answers_of_one_packet_are_told_up_to_the_first_malformed),
		TEST(questions_of_one_turn_cross_in_one_packet),
		TEST(bogus_data_is_for_cd_alone),
		TEST(busy_is_told_but_not_stored),
		TEST(too_many_questions_are_refused_but_equal_ones_join),
		TEST(client_over_its_share_is_refused_and_another_is_not),
		TEST(client_that_goes_away_keeps_its_places_until_the_questions_end),
		TEST(every_way_out_gives_the_places_back),
		TEST(clients_never_get_more_than_they_leave),
		TEST(pulse_goes_out_though_all_places_are_taken),
		TEST(new_recursor_is_asked_again),
		TEST(recursor_that_dies_unseen_is_noticed_by_the_next_question),
		TEST(without_a_recursor_questions_wait_until_the_deadline),
		TEST(replaced_recursor_is_not_listened_to),
		TEST(full_socket_delays_and_loses_nothing),
		TEST(cancelled_waiter_hears_nothing_and_the_others_do),
		TEST(waiter_may_cancel_others_while_it_is_told),
		TEST(waiter_may_ask_again_while_it_is_told),
		TEST(end_tells_those_who_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
