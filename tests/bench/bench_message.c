/*
 * Nanoseconds per message, read and written, one thread, everything in the processor's caches: what the query
 * path pays at least. CSV on stdout: operation,rounds,ns. Fixed messages below; build without sanitizers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "resolver/answer.h"
#include "resolver/inspect.h"

#define ROUNDS 2000000u
#define QUESTION "\3www\7example\3com\0\0\1\0\1"
#define OPT "\0\0\51\4\320\0\0\0\0\0\0"
#define OPT_COOKIE "\0\0\51\4\320\0\0\200\0\0\34\0\12\0\30abcdefghijklmnopqrstuvwx"
#define CHAIN                                                                                                \
	"\300\14\0\5\0\1\0\0\1\54\0\21\3cdn\7example\3net\0"                                                 \
	"\300\55\0\1\0\1\0\0\0\74\0\4\300\0\2\1"                                                             \
	"\300\55\0\1\0\1\0\0\0\74\0\4\300\0\2\2"

static const uint8_t plain[] = "\22\64\1\0\0\1\0\0\0\0\0\0" QUESTION;
static const uint8_t edns[] = "\22\64\1\0\0\1\0\0\0\0\0\1" QUESTION OPT;
static const uint8_t cookie[] = "\22\64\1\0\0\1\0\0\0\0\0\1" QUESTION OPT_COOKIE;
static const uint8_t chain[] = "\0\0\201\200\0\1\0\3\0\0\0\1" QUESTION CHAIN OPT;

static uint8_t out[MESSAGE_UDP_MAX];
static struct message query;
static struct answer_room room;
static struct answer_stored stored;

static size_t read_plain(void)
{
	return (size_t)message_read(&query, plain, sizeof plain - 1);
}

static size_t read_edns(void)
{
	return (size_t)message_read(&query, edns, sizeof edns - 1);
}

static size_t read_cookie(void)
{
	return (size_t)message_read(&query, cookie, sizeof cookie - 1);
}

static size_t write_stored(void)
{
	return answer_from_stored(out, sizeof out, &query, &stored, 7, 3600, false, NULL);
}

static size_t write_blocked(void)
{
	const struct answer_edns ede = { .ede = EDE_BLOCKED, .ede_text = "gambling" };
	struct answer_writer writer;

	answer_begin(&writer, out, sizeof out, &query, RCODE_NXDOMAIN);
	answer_soa(&writer, NULL, 30);
	return answer_finish(&writer, &ede);
}

static size_t normalise(void)
{
	return (size_t)answer_normalise(&stored, &room, chain, sizeof chain - 1, false);
}

static bool judge(void *arg, const struct name *hop)
{
	return hop->len == 0;
}

static size_t inspect(void)
{
	return (size_t)inspect_hops(&stored, judge, NULL);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(void)
{
	static const struct {
		const char *operation;
		size_t (*run)(void);
	} table[] = {
		{ "read_plain", read_plain },
		{ "read_cookie", read_cookie },
		{ "read_edns", read_edns },
		{ "normalise", normalise },
		{ "answer_from_stored", write_stored },
		{ "answer_blocked", write_blocked },
		{ "inspect_hops", inspect },
	};
	volatile size_t sink = 0;

	if (read_edns() != 0 || normalise() != 0 || stored.ttl_count != 3)
		return EXIT_FAILURE;
	fprintf(stderr,
	        "one question, a CNAME and two addresses in the answer; the query of the replies has EDNS\n");
	printf("operation,rounds,ns\n");
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		uint64_t begin = now_ns();
		for (unsigned round = 0; round < ROUNDS; round++)
			sink += table[i].run();
		printf("%s,%u,%.1f\n", table[i].operation, ROUNDS, (double)(now_ns() - begin) / ROUNDS);
	}
	return sink == SIZE_MAX ? EXIT_FAILURE : EXIT_SUCCESS;
}
