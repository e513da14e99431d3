/*
 * How many block events a second the log's writer commits, its ring never empty and nothing lost: bench_log
 * FOLDER SECONDS. A worker's part is played by the second processor, which waits where the ring is full; the
 * writer has the first to itself. One CSV line on stdout: events, seconds until the last was on disk, CPU
 * seconds of the writer, octets on disk.
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
#define RING_SIZE (4 << 20) /* the default of `log: ring` */
#define MAX_SIZE (UINT64_C(8) << 30)
#define WRITER_CORE 0
#define WORKER_CORE 1

static double seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
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

/* Returns how many events went in. */
static uint64_t write_events(struct ring *ring, const struct name *names, double seconds)
{
	uint8_t client[16] = { [10] = 0xff, 0xff, 10 };
	double end = seconds_of(CLOCK_MONOTONIC) + seconds;
	struct timespec now;
	uint64_t count = 0;

	for (;;) {
		if (count % 256 == 0) {
			clock_gettime(CLOCK_REALTIME, &now);
			if (seconds_of(CLOCK_MONOTONIC) > end)
				return count;
		}
		const struct name *name = &names[count * 7919 % NAMES];
		client[14] = (uint8_t)(count % CLIENTS >> 8);
		client[15] = (uint8_t)(count % CLIENTS);
		struct block_event event = {
			.time_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000,
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
		while (!block_log_write(ring, &event))
			sched_yield();
		count++;
	}
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

	if (argc != 3 || names == NULL)
		return EXIT_FAILURE;
	snprintf(path, sizeof path, "%s/ring-0", argv[1]);
	if (ring_open(&ring, path, RING_SIZE) < 0)
		return EXIT_FAILURE;
	struct block_log_options options = {
		.dir = argv[1], .max_size = MAX_SIZE, .rings = &ring, .ring_count = 1, .trouble = trouble
	};
	use_core(WRITER_CORE);
	if (block_log_start(&log, &options) < 0)
		return EXIT_FAILURE;
	use_core(WORKER_CORE);
	double process = seconds_of(CLOCK_PROCESS_CPUTIME_ID), own = seconds_of(CLOCK_THREAD_CPUTIME_ID);
	double began = seconds_of(CLOCK_MONOTONIC);
	uint64_t count = write_events(ring, names, atof(argv[2]));
	while (ring_pending(ring) > 0)
		sched_yield();
	double took = seconds_of(CLOCK_MONOTONIC) - began;
	own = seconds_of(CLOCK_THREAD_CPUTIME_ID) - own;
	process = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - process;
	uint64_t lost = block_log_lost(log);
	block_log_stop(log);
	printf("events,lost,seconds,writer_cpu_s,disk_octets\n%llu,%llu,%.3f,%.3f,%llu\n",
	        (unsigned long long)count, (unsigned long long)lost, took, process - own,
	        (unsigned long long)octets_on_disk(argv[1]));
	ring_close(ring);
	free(names);
	return EXIT_SUCCESS;
}
