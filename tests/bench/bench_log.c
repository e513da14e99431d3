/*
 * How many block events a second the log's writer commits: bench_log FOLDER SECONDS [RATE]. A worker's part
 * is played by the last processor it may use; the writer has the first to itself (`taskset -c 0`: they share
 * it). Without RATE the ring is never empty, and the worker waits where it is full, so that nothing is lost.
 * With it, so many events a second come as from a worker: nobody waits, and what finds no room is lost. One
 * CSV line on stdout: events, seconds until the last was on disk, CPU seconds of the writer, octets on disk.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <glob.h>

#include "names.h"
#include "resolver/block_log.h"

#define NAMES 100000
#define CLIENTS 2000
#define RING_SIZE (16 << 20) /* the default of `log: ring` */
#define BATCH 64             /* as udp.c: so many come at once */
#define MAX_SIZE (UINT64_C(8) << 30)

static double seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int first_core(const cpu_set_t *set)
{
	int core = 0;

	while (core < CPU_SETSIZE - 1 && !CPU_ISSET(core, set))
		core++;
	return core;
}

static int last_core(const cpu_set_t *set)
{
	int core = CPU_SETSIZE - 1;

	while (core > 0 && !CPU_ISSET(core, set))
		core--;
	return core;
}

static void use_core(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof set, &set) < 0)
		perror("bench_log: sched_setaffinity");
}

static void trouble(void *arg, const char *sentence)
{
	fprintf(stderr, "bench_log: %s\n", sentence);
}

static struct name *make_names(void)
{
	struct name *names = calloc(NAMES, sizeof *names);
	char text[NAMES_TEXT_MAX];

	for (uint64_t i = 0; names != NULL && i < NAMES; i++) {
		names_text(i, text);
		if (name_from_text(&names[i], text, strlen(text)) < 0)
			abort();
	}
	return names;
}

static struct block_event event_number(uint64_t number, const struct name *names, int64_t now_us)
{
	static uint8_t client[16] = { [10] = 0xff, 0xff, 10 };
	const struct name *name = &names[number * 7919 % NAMES];

	client[14] = (uint8_t)(number % CLIENTS >> 8);
	client[15] = (uint8_t)(number % CLIENTS);
	return (struct block_event){
		.time_us = now_us,
		.client = client,
		.profile = "pupils",
		.category = "adult",
		.severity = SEVERITY_CAUTION,
		.source = "adult",
		.name = name,
		.matched = name,
		.rule_labels = name->labels,
		.type = 1,
		.action = BLOCK_ACTION_BLOCK,
		.keep_s = 90 * 86400,
		.generation = 1,
	};
}

/* Until a batch is due; without a rate it always is. */
static void await_batch(double began, uint64_t count, double rate)
{
	while (rate > 0 && seconds_of(CLOCK_MONOTONIC) < began + (double)count / rate)
		;
}

/* Returns how many events came, and adds those that found no room to *lost. */
static uint64_t write_events(
        struct ring *ring, const struct name *names, double seconds, double rate, uint64_t *lost)
{
	double began = seconds_of(CLOCK_MONOTONIC);
	uint64_t count = 0;

	while (seconds_of(CLOCK_MONOTONIC) < began + seconds) {
		await_batch(began, count, rate);
		int64_t now_us = (int64_t)(seconds_of(CLOCK_REALTIME) * 1e6);
		for (unsigned i = 0; i < BATCH; i++, count++) {
			struct block_event event = event_number(count, names, now_us);
			bool written = block_log_write(ring, &event);
			*lost += !written && rate > 0;
			while (!written && rate == 0) {
				sched_yield();
				written = block_log_write(ring, &event);
			}
		}
	}
	return count;
}

static uint64_t octets_on_disk(const char *folder)
{
	char pattern[512];
	struct stat st;
	uint64_t octets = 0;
	glob_t found;

	snprintf(pattern, sizeof pattern, "%s/*.mdb", folder);
	if (glob(pattern, 0, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; i < found.gl_pathc; i++)
		if (stat(found.gl_pathv[i], &st) == 0)
			octets += (uint64_t)st.st_blocks * 512;
	globfree(&found);
	return octets;
}

int main(int argc, char **argv)
{
	char path[512];
	struct ring *ring;
	struct block_log *log;
	struct name *names = make_names();
	cpu_set_t cores;

	if (argc < 3 || argc > 4 || names == NULL)
		return EXIT_FAILURE;
	snprintf(path, sizeof path, "%s/ring-0", argv[1]);
	if (ring_open(&ring, path, RING_SIZE) < 0)
		return EXIT_FAILURE;
	struct block_log_options options = {
		.dir = argv[1], .max_size = MAX_SIZE, .rings = &ring, .ring_count = 1, .trouble = trouble
	};
	if (sched_getaffinity(0, sizeof cores, &cores) < 0)
		return EXIT_FAILURE;
	use_core(first_core(&cores));
	if (block_log_start(&log, &options) < 0)
		return EXIT_FAILURE;
	use_core(last_core(&cores));
	double process = seconds_of(CLOCK_PROCESS_CPUTIME_ID), own = seconds_of(CLOCK_THREAD_CPUTIME_ID);
	double began = seconds_of(CLOCK_MONOTONIC);
	uint64_t lost = 0;
	uint64_t count = write_events(ring, names, atof(argv[2]), argc > 3 ? atof(argv[3]) : 0, &lost);
	while (ring_pending(ring) > 0)
		sched_yield();
	double took = seconds_of(CLOCK_MONOTONIC) - began;
	own = seconds_of(CLOCK_THREAD_CPUTIME_ID) - own;
	process = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - process;
	lost += block_log_lost(log);
	block_log_stop(log);
	printf("events,lost,seconds,writer_cpu_s,disk_octets\n%llu,%llu,%.3f,%.3f,%llu\n",
	        (unsigned long long)count, (unsigned long long)lost, took, process - own,
	        (unsigned long long)octets_on_disk(argv[1]));
	ring_close(ring);
	free(names);
	return EXIT_SUCCESS;
}
