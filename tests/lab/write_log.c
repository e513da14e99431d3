/*
 * Writes events of times past into a block log that no usherd has open, through the ring and the writer that
 * usherd has: write_log FOLDER. Reads a line an event, oldest first, its words parted by spaces:
 *
 *   TIME CLIENT PROFILE CATEGORY SEVERITY KEEP NAME LABELS TYPE
 *
 * TIME in microseconds since 1970, SEVERITY 0 to 2, KEEP in seconds; the category's list, whose rule is the
 * last LABELS of NAME, is its source. Prints how many were written; a line that is none ends it with
 * status 1.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "resolver/block_log.h"

#define RING_SIZE (16 << 20)

struct line {
	struct block_event event;
	struct name name;
	uint8_t client[16];
	char profile[64], category[64];
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "write_log: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

static bool line_read(struct line *line, const char *text)
{
	char client[INET_ADDRSTRLEN], name[NAME_TEXT_MAX];
	unsigned severity, labels, type;
	struct block_event *event = &line->event;

	*line = (struct line){ .client = { [10] = 0xff, [11] = 0xff } };
	if (sscanf(text, "%" SCNd64 " %15s %63s %63s %u %" SCNu32 " %255s %u %u", &event->time_us, client,
	            line->profile, line->category, &severity, &event->keep_s, name, &labels, &type) != 9)
		return false;
	if (inet_pton(AF_INET, client, line->client + 12) != 1 ||
	        name_from_text(&line->name, name, strlen(name)) < 0 || severity > SEVERITY_DANGER)
		return false;
	event->client = line->client;
	event->profile = line->profile;
	event->category = event->source = line->category;
	event->name = event->matched = &line->name;
	event->rule_labels = (uint8_t)labels;
	event->type = (uint16_t)type;
	event->severity = (enum config_severity)severity;
	event->generation = 1;
	return true;
}

/* A full ring is the writer's to empty. */
static uint64_t write_all(struct ring *ring, FILE *in)
{
	struct line line;
	char text[1024];
	uint64_t count = 0;

	for (; fgets(text, sizeof text, in); count++) {
		if (!line_read(&line, text))
			die("no event", text);
		while (!block_log_write(ring, &line.event))
			usleep(1000);
	}
	return count;
}

static void trouble(void *arg, const char *sentence)
{
	(void)arg;
	if (sentence[0])
		die("the log", sentence);
}

int main(int argc, char **argv)
{
	char path[4096];
	struct ring *ring;
	struct block_log *log;

	if (argc != 2)
		die("usage", "write_log FOLDER");
	mkdir(argv[1], 0700);
	snprintf(path, sizeof path, "%s/past", argv[1]);
	if (ring_open(&ring, path, RING_SIZE) != 0)
		die(path, "no ring");
	struct block_log_options options = {
		.dir = argv[1], .rings = &ring, .ring_count = 1, .trouble = trouble
	};
	if (block_log_start(&log, &options) < 0)
		die(argv[1], "no log");
	uint64_t count = write_all(ring, stdin);
	block_log_stop(log);
	ring_close(ring);
	unlink(path);
	printf("%" PRIu64 "\n", count);
	return EXIT_SUCCESS;
}
