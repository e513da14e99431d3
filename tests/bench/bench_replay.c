/*
 * Queries of one kind through a worker's own functions, without sockets, for callgrind to count what an
 * answer costs: tests/bench/instructions reads the sum of replay_queries().
 *
 *   bench_replay FOLDER          makes the lists in FOLDER
 *   bench_replay FOLDER KIND     asks; prints how many queries it asked
 *   bench_replay FOLDER KIND sealed   the same, where a system call kills it and an allocation fails it
 *
 * All of it is the same in each run: names by number (names.c), one client, the shipped configuration with
 * two categories of lists. Every answer's rcode is compared with what it must be; another ends it with
 * status 1.
 */
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "blocklists/compile.h"
#include "names.h"
#include "resolver/query.h"
#include "resolver/stream.h"

#define LISTED 20000
#define CACHED 2000
#define QUERIES 20000
#define BATCH 64 /* as udp.c: the clock is read once a batch */
#define PACKET_MAX 320
#define RING_SIZE (32 << 20) /* no event is lost, and nobody reads them */
#define ANSWER_TTL 3000

static const char configuration[] =
        "serve: [192.0.2.0/24]\n"
        "default-profile: pupils\n"
        "profiles:\n"
        "  - {name: pupils, networks: [192.0.2.0/24], block: [adult], rate-limit: 0}\n";

static const struct kind {
	const char *name;
	unsigned blocked_in_20; /* of twenty queries so many are for listed names */
	bool edns;
} kinds[] = {
	{ "cached", 0, false },
	{ "cached-edns", 0, true },
	{ "blocked", 20, false },
	{ "blocked-edns", 20, true },
	{ "mix", 3, false },
};

struct packet {
	uint8_t wire[PACKET_MAX];
	size_t len;
	uint8_t rcode; /* expected */
};

static struct packet packets[QUERIES];
static uint8_t out[MESSAGE_UDP_MAX];
static unsigned wrong, answered;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_replay: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

/* ---- lists ---- */

static size_t category_names(const struct config *config, const char *names[CONFIG_CATEGORIES_MAX])
{
	for (size_t i = 0; i < config->category_count; i++)
		names[i] = config->categories[i].name;
	return config->category_count;
}

static void make_lists(const struct config *config, const char *folder)
{
	const char *names[CONFIG_CATEGORIES_MAX];
	char why[LISTS_WHY_MAX], name[NAMES_TEXT_MAX], *text = NULL;
	size_t len = 0;
	FILE *list = open_memstream(&text, &len);

	if (list == NULL)
		die("lists", "out of memory");
	fprintf(list, "[adult]\n");
	for (unsigned i = 0; i < LISTED; i++)
		fprintf(list, "%s\n", names_text(i, name));
	fclose(list);
	if (compile_starter(folder, text, len, names, category_names(config, names), why) < 0)
		die("lists", why);
	free(text);
}

/* ---- the worker ---- */

static struct worker *make_worker(struct config *config, const char *folder)
{
	static struct stream_limits limits = { .seed = 1 };
	static struct slots slots = { .most = 1 };
	static struct cookie_secret cookies;
	const char *names[CONFIG_CATEGORIES_MAX];
	char why[LISTS_WHY_MAX], path[4096];
	struct worker_options options = {
		.cache = cache_new(config->cache_size),
		.cookies = &cookies,
		.limits = &limits,
		.slots = &slots,
		.rate = rate_new(1),
		.strangers = rate_new(1),
	};
	struct names_options counting = { .dir = folder, .workers = 1, .days = 1 };
	struct names *counted;
	struct worker *worker;
	struct lists *lists;

	if (lists_open(&lists, folder, NULL, names, category_names(config, names), why) < 0)
		die("lists", why);
	snprintf(path, sizeof path, "%s/ring", folder);
	if (options.cache == NULL || ring_open(&options.ring, path, RING_SIZE) < 0 ||
	        names_start(&counted, &counting) < 0)
		die(folder, "no cache, ring or names");
	options.names = names_counter(counted, 0);
	options.snapshot = snapshot_new(config_ref(config), lists, NULL);
	if (options.snapshot == NULL || worker_new(&worker, &options) < 0)
		die("worker", "out of memory");
	return worker;
}

/* ---- queries ---- */

static size_t write_question(uint8_t *wire, const struct name *name)
{
	memcpy(wire + MESSAGE_HEADER_LEN, name->wire, name->len);
	size_t at = MESSAGE_HEADER_LEN + name->len;
	wire_write16(wire + at, TYPE_A);
	wire_write16(wire + at + 2, CLASS_IN);
	wire_write16(wire + 4, 1);
	return at + 4;
}

/* The name of that number, every other time with a host in front, as browsers ask. */
static struct name name_number(uint64_t number)
{
	char text[NAMES_TEXT_MAX], host[NAMES_TEXT_MAX + 4];
	struct name name;

	snprintf(host, sizeof host, "%s%s", number % 2 ? "www." : "", names_text(number, text));
	if (name_from_text(&name, host, strlen(host)) < 0)
		die(host, "no name");
	return name;
}

static size_t write_opt(uint8_t *wire, size_t len)
{
	static const uint8_t opt[] = { 0, 0, TYPE_OPT, 1232 >> 8, 1232 & 0xff, 0, 0, 0, 0, 0, 0 };

	memcpy(wire + len, opt, sizeof opt);
	wire_write16(wire + 10, 1);
	return len + sizeof opt;
}

/* Drawn by a fixed step that shares no factor with the counts, so that neighbours are not asked in a row. */
static void make_queries(const struct kind *kind)
{
	for (uint64_t i = 0; i < QUERIES; i++) {
		struct packet *packet = &packets[i];
		bool blocked = i % 20 < kind->blocked_in_20;
		struct name name = name_number(blocked ? i * 7919 % LISTED : LISTED + i * 7919 % CACHED);
		wire_write16(packet->wire, (uint16_t)i);
		wire_write16(packet->wire + 2, FLAG_RD);
		packet->len = write_question(packet->wire, &name);
		packet->rcode = blocked ? RCODE_NXDOMAIN : RCODE_NOERROR;
		if (kind->edns)
			packet->len = write_opt(packet->wire, packet->len);
	}
}

/* What the recursor would have brought: one address. */
static void fill_cache(struct worker *worker)
{
	static const uint8_t record[] = { 0xc0, MESSAGE_HEADER_LEN, 0, TYPE_A, 0, CLASS_IN, 0, 0,
		ANSWER_TTL >> 8, ANSWER_TTL & 0xff, 0, 4, 198, 51, 100, 1 };
	uint8_t wire[PACKET_MAX] = { 0, 0, 0x81, 0x80 };

	for (uint64_t i = 0; i < CACHED; i++) {
		struct recursion_question question = { .name = name_number(LISTED + i), .type = TYPE_A };
		size_t len = write_question(wire, &question.name);
		wire_write16(wire + 6, 1);
		memcpy(wire + len, record, sizeof record);
		struct recursion_result result = { .status = RECURSION_ANSWERED,
			.ede = EDE_NONE,
			.why = "",
			.wire = wire,
			.wire_len = len + sizeof record };
		resolve_store(worker, &question, &result);
	}
}

static void replied(struct query *query, const uint8_t *wire, size_t len)
{
	const struct packet *packet = &packets[answered++];

	wrong += wire == NULL || (wire[3] & 0xf) != packet->rcode || (packet->rcode == 0 && wire[7] != 1);
}

static void replay_read(struct query *query, const struct packet *packet)
{
	static const uint8_t client[16] = { [10] = 0xff, 0xff, 192, 0, 2, 7 };

	memcpy(query->address, client, sizeof client);
	query->wire = packet->wire;
	query->wire_len = packet->len;
	query_read(query);
}

/* What is counted: as udp.c takes a batch, but for the two system calls. */
void replay_queries(struct query *batch);
__attribute__((noinline)) void replay_queries(struct query *batch)
{
	for (unsigned i = 0; i < QUERIES; i += BATCH) {
		unsigned count = QUERIES - i < BATCH ? QUERIES - i : BATCH;
		worker_clock(batch->worker);
		for (unsigned k = 0; k < count; k++)
			replay_read(&batch[k], &packets[i + k]);
		query_fetch(batch, count);
		for (unsigned k = 0; k < count; k++)
			query_answer(&batch[k]);
	}
}

static void replay(struct worker *worker)
{
	static struct query batch[BATCH];

	for (unsigned i = 0; i < BATCH; i++)
		batch[i] = (struct query){
			.worker = worker, .out = out, .out_size = sizeof out, .reply = replied
		};
	replay_queries(batch);
}

/* ---- what an answer must do without ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

static _Thread_local uint64_t allocations;

/* In place of the library's, for all that is linked. */
void *malloc(size_t size)
{
	allocations++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	allocations++;
	return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	allocations++;
	return __libc_realloc(block, size);
}

/* From here on this thread tells the time (where the machine needs the kernel for that), writes and ends. */
static void forbid_system_calls(void)
{
	static const int allowed[] = { SCMP_SYS(clock_gettime), SCMP_SYS(write), SCMP_SYS(exit_group),
		SCMP_SYS(newfstatat), SCMP_SYS(fstat) };
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);

	for (size_t i = 0; filter != NULL && i < sizeof allowed / sizeof *allowed; i++)
		if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0) < 0)
			die("seccomp", "no filter");
	if (filter == NULL || seccomp_load(filter) < 0)
		die("seccomp", "no filter");
}

static void replay_sealed(struct worker *worker)
{
	forbid_system_calls();
	uint64_t before = allocations;
	replay(worker);
	if (allocations != before)
		die("replay", "answers allocate memory");
}

static const struct kind *kind_named(const char *name)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct config *config;
	char why[CONFIG_WHY_MAX];

	if (argc < 2 || argc > 4 || (argc > 2 && kind_named(argv[2]) == NULL)) {
		fprintf(stderr, "usage: bench_replay FOLDER [KIND [sealed]]\n");
		return EXIT_FAILURE;
	}
	if (config_parse(&config, configuration, sizeof configuration - 1, "replay", why) < 0)
		die("configuration", why);
	if (argc == 2) {
		make_lists(config, argv[1]);
		return EXIT_SUCCESS;
	}
	struct worker *worker = make_worker(config, argv[1]);
	fill_cache(worker);
	make_queries(kind_named(argv[2]));
	if (argc == 4)
		replay_sealed(worker);
	else
		replay(worker);
	printf("%d\n", QUERIES);
	if (wrong > 0 || answered != QUERIES)
		die(argv[2], "answers are wrong or missing");
	/* _Exit: what the worker holds goes with the process. */
	fflush(stdout);
	_Exit(EXIT_SUCCESS);
}
