/*
 * What the daemon does with each of many lookups, for tests/e2e/test_agree.py to hold against what `usher
 * check --batch` says of the same: a worker without a thread or sockets, on the files that usherd reads, with
 * its clock set to the time of the line.
 *
 *   agree CONFIG < LINES       NAME CLIENT TYPE SECONDS-SINCE-1970 a line
 *
 * Prints VERDICT CATEGORY|- WATCHED a line. They are read from the answer alone (ldns parses it) and from the
 * count of log events. Where a lookup would be asked of the world, the world's answer is put into the cache
 * and the lookup asked again, so that the cached path with its stored facts is judged too.
 */
#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/engines.h"
#include "resolver/query.h"
#include "resolver/stream.h"

#define RING_SIZE (64 << 20)
#define CACHE_SIZE (64 << 20)
#define PACKET_MAX 512
#define WORLD_TTL 3000
#define EDE_OPTION 15

/* The world's answer to everything, which no record of the configuration holds. */
static const uint8_t world[16] = { 198, 51, 100, 1 };

/* An answer in the words of `usher check`. */
struct outcome {
	const char *verdict;
	char category[64];
	bool asks_world;
};

static struct config *config;
static uint8_t out[MESSAGE_MAX], reply[MESSAGE_MAX];
static size_t reply_len;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "agree: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

/* ---- the worker ---- */

static struct snapshot *make_snapshot(void)
{
	const char *names[CONFIG_CATEGORIES_MAX];
	char why[LISTS_WHY_MAX] = "", rules_why[RULES_WHY_MAX], path[4096];
	struct lists *lists;
	struct rules *rules;

	for (size_t i = 0; i < config->category_count; i++)
		names[i] = config->categories[i].name;
	snprintf(path, sizeof path, "%s/lists", config->state_dir);
	if (lists_open_newest_good(&lists, path, names, config->category_count, why) < 0)
		die(path, why);
	snprintf(path, sizeof path, "%s/rules", config->state_dir);
	if (rules_open(&rules, path, rules_why) < 0)
		die(path, rules_why);
	return snapshot_new(config_ref(config), lists, rules);
}

static struct worker *make_worker(const char *ring)
{
	static struct stream_limits limits = { .seed = 1 };
	static struct slots slots; /* most: 0, nothing is ever asked of the world */
	static struct cookie_secret cookies;
	struct worker_options options = {
		.cache = cache_new(CACHE_SIZE),
		.cookies = &cookies,
		.limits = &limits,
		.slots = &slots,
		.rate = rate_new(1),
		.strangers = rate_new(1),
	};
	struct worker *worker;

	if (options.cache == NULL || ring_open(&options.ring, ring, RING_SIZE) < 0)
		die(ring, "no cache or ring");
	options.snapshot = make_snapshot();
	if (options.snapshot == NULL || worker_new(&worker, &options) < 0)
		die("worker", "out of memory");
	return worker;
}

static void set_clock(struct worker *worker, int64_t utc_s)
{
	worker_clock(worker);
	worker->utc_us = utc_s * 1000000;
	worker->moment = moment_at(utc_s);
}

/* ---- asking ---- */

static size_t write_question(uint8_t *wire, const struct name *name, uint16_t type)
{
	memcpy(wire + MESSAGE_HEADER_LEN, name->wire, name->len);
	wire_write16(wire + MESSAGE_HEADER_LEN + name->len, type);
	wire_write16(wire + MESSAGE_HEADER_LEN + name->len + 2, CLASS_IN);
	wire_write16(wire + 4, 1);
	return MESSAGE_HEADER_LEN + name->len + 4;
}

static void replied(struct query *query, const uint8_t *wire, size_t len)
{
	memcpy(reply, wire, wire != NULL ? len : 0);
	reply_len = wire != NULL ? len : 0;
}

/* target: what was looked up in the world, the asked name but for safe search. */
static void ask(struct worker *worker, const struct name *name, uint16_t type,
        const struct config_network *client, struct name *target)
{
	static const uint8_t opt[] = { 0, 0, TYPE_OPT, 1232 >> 8, 1232 & 0xff, 0, 0, 0, 0, 0, 0 };
	uint8_t wire[PACKET_MAX] = { 0x12, 0x34, FLAG_RD >> 8, FLAG_RD & 0xff };
	size_t len = write_question(wire, name, type);

	memcpy(wire + len, opt, sizeof opt);
	wire_write16(wire + 10, 1);
	struct query query = {
		.worker = worker,
		.wire = wire,
		.wire_len = len + sizeof opt,
		.tcp = true, /* a stranger's refusals are not counted out */
		.out = out,
		.out_size = sizeof out,
		.reply = replied,
	};
	memcpy(query.address, client->address, sizeof query.address);
	reply_len = 0;
	query_read(&query);
	query_answer(&query);
	*target = query.target != NULL ? *query.target : *name;
}

static void world_answers(struct worker *worker, const struct name *name, uint16_t type)
{
	uint8_t wire[PACKET_MAX] = { 0, 0, 0x81, 0x80 };
	struct recursion_question question = { .name = *name, .type = type };
	size_t len = write_question(wire, name, type), size = type == TYPE_A ? 4 : 16;

	wire_write16(wire + 6, 1);
	wire_write16(wire + len, 0xc000 | MESSAGE_HEADER_LEN);
	wire_write16(wire + len + 2, type);
	wire_write16(wire + len + 4, CLASS_IN);
	wire_write16(wire + len + 6, 0);
	wire_write16(wire + len + 8, WORLD_TTL);
	wire_write16(wire + len + 10, (uint16_t)size);
	memcpy(wire + len + 12, world, size);
	struct recursion_result result = { .status = RECURSION_ANSWERED,
		.ede = EDE_NONE,
		.why = "",
		.wire = wire,
		.wire_len = len + 12 + size };
	resolve_store(worker, &question, &result);
}

/* ---- reading the answer ---- */

/* The INFO-CODE of the packet's EDE option and its text, or -1. */
static int packet_ede(const ldns_pkt *packet, char text[64])
{
	const ldns_rdf *options = ldns_pkt_edns_data(packet);

	text[0] = '\0';
	if (options == NULL)
		return -1;
	const uint8_t *at = ldns_rdf_data(options), *end = at + ldns_rdf_size(options);
	for (; end - at >= 4; at += 4 + ldns_read_uint16(at + 2)) {
		size_t len = ldns_read_uint16(at + 2);
		if (ldns_read_uint16(at) != EDE_OPTION || len < 2)
			continue;
		snprintf(text, 64, "%.*s", (int)(len - 2), (const char *)at + 6);
		return ldns_read_uint16(at + 4);
	}
	return -1;
}

/* Is the last record of the answer the world's? */
static bool packet_has_world(const ldns_pkt *packet)
{
	const ldns_rr_list *answer = ldns_pkt_answer(packet);
	size_t count = ldns_rr_list_rr_count(answer);

	if (count == 0)
		return false;
	const ldns_rdf *rdata = ldns_rr_rdf(ldns_rr_list_rr(answer, count - 1), 0);
	size_t size = ldns_rdf_size(rdata);
	return (size == 4 || size == 16) && memcmp(ldns_rdf_data(rdata), world, size) == 0;
}

static struct outcome outcome_of(const ldns_pkt *packet)
{
	struct outcome outcome = { .category = "-" };
	const ldns_rr_list *answer = ldns_pkt_answer(packet);
	ldns_pkt_rcode rcode = ldns_pkt_get_rcode(packet);
	char text[64];
	int ede = packet_ede(packet, text);

	switch (ede) {
	case EDE_BLOCKED:
	case EDE_CENSORED:
		outcome.verdict = "block";
		if (config_category(config, text) >= 0)
			memcpy(outcome.category, text, sizeof outcome.category);
		return outcome;
	case EDE_NOT_READY:
		outcome.verdict = "block";
		return outcome;
	case EDE_FORGED:
		outcome.verdict = "rewrite";
		return outcome;
	case EDE_PROHIBITED:
		outcome.verdict = rcode == LDNS_RCODE_REFUSED ? "refuse" : "local";
		return outcome;
	case EDE_OTHER: /* too many lookups are waiting */
		outcome.asks_world = rcode == LDNS_RCODE_SERVFAIL;
		break;
	}
	bool resolved = packet_has_world(packet) && ldns_rr_list_rr_count(answer) == 1;
	outcome.verdict = rcode != LDNS_RCODE_NOERROR && rcode != LDNS_RCODE_NXDOMAIN ? "fail"
	                  : resolved                                                  ? "resolve"
	                                                                              : "local";
	return outcome;
}

static struct outcome outcome_read(void)
{
	ldns_pkt *packet = NULL;

	if (reply_len == 0 || ldns_wire2pkt(&packet, reply, reply_len) != LDNS_STATUS_OK)
		return (struct outcome){ .verdict = "none", .category = "-" };
	struct outcome outcome = outcome_of(packet);
	ldns_pkt_free(packet);
	return outcome;
}

/* ---- a line ---- */

static uint64_t counted(const struct worker *worker, enum stats_counter counter)
{
	return atomic_load(&worker->stats.counter[counter]);
}

static void answer_line(struct worker *worker, const char *text, const char *client_text,
        const char *type_text, int64_t utc_s)
{
	struct config_network client;
	struct name name, target;
	int type = message_type_parse(type_text);

	if (name_from_text(&name, text, strlen(text)) < 0 || (type != TYPE_A && type != TYPE_AAAA) ||
	        config_network_parse(&client, client_text) < 0)
		die(text, "no question");
	set_clock(worker, utc_s);
	uint64_t watched = counted(worker, STATS_LOG_WATCHED);
	ask(worker, &name, (uint16_t)type, &client, &target);
	struct outcome outcome = outcome_read();
	if (outcome.asks_world) {
		world_answers(worker, &target, (uint16_t)type);
		set_clock(worker, utc_s);
		watched = counted(worker, STATS_LOG_WATCHED);
		ask(worker, &name, (uint16_t)type, &client, &target);
		outcome = outcome_read();
	}
	printf("%s %s %d\n", outcome.verdict, outcome.category,
	        counted(worker, STATS_LOG_WATCHED) != watched);
}

int main(int argc, char **argv)
{
	char why[CONFIG_WHY_MAX], ring[4096], *line = NULL, name[NAME_TEXT_MAX + 1], client[64], type[16];
	size_t size = 0;
	long long utc_s;

	if (argc != 2) {
		fprintf(stderr, "usage: agree CONFIG < LINES\n");
		return EXIT_FAILURE;
	}
	if (config_read(&config, argv[1], why) < 0)
		die(argv[1], why);
	for (size_t i = 0; i < config->profile_count; i++)
		config->profiles[i].rate_limit = 0;
	config->dns.tunnelling.action = SIGNAL_OFF; /* made of what was asked before: no fact about a name */
	snprintf(ring, sizeof ring, "%s/agree.ring", config->state_dir);
	struct worker *worker = make_worker(ring);
	while (getline(&line, &size, stdin) >= 0) {
		if (sscanf(line, "%1000s %63s %15s %lld", name, client, type, &utc_s) != 4)
			die(line, "no line");
		answer_line(worker, name, client, type, utc_s);
	}
	/* _Exit: what the worker holds goes with the process. */
	fflush(stdout);
	_Exit(EXIT_SUCCESS);
}
