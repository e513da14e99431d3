/*
 * The block log: how fast it takes events to disk, how large they are there, and how long searches take. A
 * school of 1,500 clients; names as schools block them: a few thousand, some very often. Words on stderr, one
 * CSV line on stdout.
 *
 *   bench_log_query [EVENTS [DAYS [FOLDER]]]    10 million in 30 days and a folder of its own, if not given
 */
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "resolver/block_log.h"
#include "resolver/log_count.h"

#define CLIENTS 1500
#define NAMES 6000
#define DAY_US (INT64_C(86400) * 1000000)
#define RING_LEN (64u << 20)
#define RUNS 5

static char dir[300], ring_path[320];
static uint64_t octets_on_disk;
static uint64_t state = 88172645463325252u;

static uint32_t draw(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)((state >> 16) % below);
}

static double now_ms(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)type;
	(void)ftw;
	if (S_ISREG(st->st_mode) && !strstr(path, "/ring"))
		octets_on_disk += (uint64_t)st->st_blocks * 512;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static struct name names[NAMES];

static void make_names(void)
{
	for (unsigned i = 0; i < NAMES; i++) {
		char text[128];
		int len = snprintf(text, sizeof text, "%s.site-%u.%s", i % 3 ? "www" : "ads.cdn", i / 2,
		        i % 5 ? "com" : "co.uk");
		if (name_from_text(&names[i], text, (size_t)len) < 0)
			abort();
	}
}

static struct block_event event_at(int64_t time_us, uint8_t client[16], char category[16])
{
	static const char *const profiles[] = { "pupils", "staff", "guest" };
	static const uint32_t keep_s[] = { 90 * 86400, 90 * 86400, 30 * 86400 };
	unsigned who = draw(CLIENTS), profile = who < 1200 ? 0 : who < 1350 ? 1 : 2;
	double u = (draw(1000000) + 1) / 1e6;
	/* Zipf: the first names very often */
	const struct name *name = &names[(unsigned)(pow(NAMES, u) - 1) % NAMES];

	memcpy(client,
	        (const uint8_t[16]){ [10] = 0xff,
	                [11] = 0xff,
	                [12] = 10,
	                (uint8_t)(20 + profile),
	                (uint8_t)(who >> 8),
	                (uint8_t)who },
	        16);
	snprintf(category, 16, "category-%u", (unsigned)(name - names) % 12);
	return (struct block_event){ .time_us = time_us,
		.client = client,
		.profile = profiles[profile],
		.category = category,
		.source = "ut1",
		.name = name,
		.matched = name,
		.rule_labels = 2,
		.type = draw(3) ? 1 : 28,
		.severity = draw(2000) ? SEVERITY_CAUTION : SEVERITY_DANGER,
		.keep_s = keep_s[profile],
		.generation = 42 };
}

static double fill(uint64_t events, unsigned days)
{
	struct ring *ring;
	struct block_log *log;
	int64_t end_us = (int64_t)time(NULL) * 1000000, from_us = end_us - (int64_t)days * DAY_US;
	double began = now_ms(CLOCK_MONOTONIC);

	if (ring_open(&ring, ring_path, RING_LEN) < 0)
		abort();
	struct block_log_options options = { .dir = dir, .rings = &ring, .ring_count = 1 };
	if (block_log_start(&log, &options) < 0)
		abort();
	for (uint64_t i = 0; i < events; i++) {
		uint8_t client[16];
		char category[16];
		struct block_event event =
		        event_at(from_us + (int64_t)((double)i / (double)events * (double)(end_us - from_us)),
		                client, category);
		while (!block_log_write(ring, &event))
			usleep(1000);
	}
	block_log_stop(log);
	double took = now_ms(CLOCK_MONOTONIC) - began;
	ring_close(ring);
	return took / 1e3;
}

static bool count_one(void *arg, const struct block_record *record)
{
	(void)record;
	(*(uint64_t *)arg)++;
	return true;
}

static struct block_filter page(void)
{
	return (struct block_filter){ .severity = -1, .limit = 100 };
}

static struct block_filter of_name(const char *text)
{
	struct block_filter filter = page();
	if (name_from_text(&filter.name, text, strlen(text)) < 0)
		abort();
	return filter;
}

static struct block_filter of_client(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint8_t length)
{
	struct block_filter filter = page();
	filter.has_client = true;
	memcpy(filter.client.address, (const uint8_t[16]){ [10] = 0xff, [11] = 0xff, [12] = a, b, c, d }, 16);
	filter.client.length = length;
	return filter;
}

/* Of some runs the worst, in ms. */
static double search(const char *what, const struct block_filter *filter)
{
	double worst = 0;
	uint64_t found = 0;

	for (int i = 0; i < RUNS; i++) {
		double began = now_ms(CLOCK_PROCESS_CPUTIME_ID);
		found = 0;
		if (block_log_scan(dir, filter, count_one, &found) < 0)
			abort();
		double took = now_ms(CLOCK_PROCESS_CPUTIME_ID) - began;
		worst = took > worst ? took : worst;
	}
	fprintf(stderr, "%-34s %8.1f ms, %llu rows\n", what, worst, (unsigned long long)found);
	return worst;
}

static double search_all(void)
{
	struct block_filter open = page(), danger = page(), guest = page(), category = page(),
	                    both = of_client(10, 20, 1, 7, 128);
	struct block_filter filters[] = { of_name("nobody.asked.for.it"), of_name("www.site-2999.com"),
		of_name("com"), of_client(10, 20, 1, 7, 128), of_client(10, 21, 0, 0, 112),
		of_client(10, 77, 0, 1, 128) };
	static const char *const what[] = { "a name that is not there", "a rare name", "all below com",
		"a client", "a network", "a client that is not there" };
	double worst = search("no filter", &open), took;

	danger.severity = SEVERITY_DANGER;
	guest.profile = "guest";
	category.category = "none";
	both.name = of_name("www.site-2999.com").name;
	const struct block_filter *more[] = { &danger, &guest, &category, &both };
	static const char *const more_what[] = { "severity danger", "profile guest",
		"a category that is not there", "a client and a rare name" };
	for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
		worst = (took = search(what[i], &filters[i])) > worst ? took : worst;
	for (size_t i = 0; i < sizeof more / sizeof *more; i++)
		worst = (took = search(more_what[i], more[i])) > worst ? took : worst;
	return worst;
}

static double count_day(enum log_count_by by, const char *what, uint64_t events_a_day, unsigned days)
{
	struct log_query query = { .filter.severity = -1, .count_by = by };
	int64_t now_us = (int64_t)time(NULL) * 1000000;
	FILE *none = fopen("/dev/null", "w");

	/* so much of the time as holds a million events */
	query.filter.since_us = now_us - (int64_t)(1e6 / (double)events_a_day * (double)DAY_US);
	double began = now_ms(CLOCK_PROCESS_CPUTIME_ID);
	int64_t lines = log_count_run(&query, dir, none);
	double took = now_ms(CLOCK_PROCESS_CPUTIME_ID) - began;
	fclose(none);
	fprintf(stderr, "count by %-25s %8.1f ms, %lld lines (of a million events)\n", what, took,
	        (long long)lines);
	(void)days;
	return took;
}

int main(int argc, char **argv)
{
	uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
	unsigned days = argc > 2 ? (unsigned)atoi(argv[2]) : 30;
	char folder[] = "/tmp/bench_log_query.XXXXXX";
	const char *root = argc > 3 ? argv[3] : mkdtemp(folder);
	double worst_count = 0, took;

	snprintf(dir, sizeof dir, "%s/log", root);
	snprintf(ring_path, sizeof ring_path, "%s/ring", root);
	make_names();
	double fill_s = fill(events, days);
	nftw(dir, add_size, 8, FTW_PHYS);
	fprintf(stderr, "%llu events of %u days: %.0f a second to disk, %.1f octets each\n",
	        (unsigned long long)events, days, (double)events / fill_s,
	        (double)octets_on_disk / (double)events);
	double worst_search = search_all();
	for (int by = LOG_COUNT_CLIENT; by <= LOG_COUNT_HOUR; by++) {
		static const char *const what[] = { [LOG_COUNT_CLIENT] = "client",
			[LOG_COUNT_CATEGORY] = "category",
			[LOG_COUNT_NAME] = "name",
			[LOG_COUNT_SEVERITY] = "severity",
			[LOG_COUNT_HOUR] = "hour" };
		if (!what[by])
			continue;
		took = count_day((enum log_count_by)by, what[by], events / days, days);
		worst_count = took > worst_count ? took : worst_count;
	}
	printf("events,days,events_per_s,octets_per_event,worst_first_page_ms,worst_count_ms\n%llu,%u,%.0f,%."
	       "1f,%.1f,%.1f\n",
	        (unsigned long long)events, days, (double)events / fill_s,
	        (double)octets_on_disk / (double)events, worst_search, worst_count);
	if (argc <= 3)
		nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}
