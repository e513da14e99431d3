/*
 * lists_lookup() on N generated names (default 1,000,000; fixed seed): nanoseconds for a name on no list, for
 * a listed one drawn at random from all, and for listed ones that are asked again and again. One CSV line on
 * stdout.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/update.h"
#include "names.h"

#define LOOKUPS 1000000
#define ASKED 65536 /* different names, prepared ahead: more than the processor's caches hold */
#define WARM 256

/*
 * A name as a query has it, packed so that many lie close together and the processor fetches them ahead: what
 * is measured is the look-up, not the reading of its question.
 */
#define ASKED_WIRE 56
#define ASKED_LABELS 5

struct asked {
	uint8_t len, labels, offset[ASKED_LABELS], wire[ASKED_WIRE];
	uint64_t hash[ASKED_LABELS + 1];
};

/* The process's own time: a busy machine does not count. */
static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int compile(const char *folder, unsigned long count, char why[LISTS_WHY_MAX])
{
	static const char *const categories[] = { "adult" };
	char list[96], url[112], state[96], name[NAMES_TEXT_MAX];
	struct update_result result;

	snprintf(list, sizeof list, "%s/names.txt", folder);
	snprintf(url, sizeof url, "file://%s", list);
	snprintf(state, sizeof state, "%s/lists", folder);
	FILE *file = fopen(list, "w");
	for (unsigned long i = 0; file != NULL && i < count; i++)
		fprintf(file, "%s\n", names_text(i, name));
	if (file == NULL || fclose(file) != 0)
		return -1;
	const struct source source = {
		.name = "names", .url = url, .licence = "", .sha256 = "", .format = PARSE_DOMAINS
	};
	const struct update_options options = { .dir = state,
		.categories = categories,
		.category_count = 1,
		.sources = &source,
		.source_count = 1,
		.keep_generations = 7,
		.max_shrink_percent = 30 };
	return update_run(&options, &result, why);
}

static void pack(struct asked *asked, const struct name *name, uint64_t seed)
{
	uint64_t hash[NAME_LABELS_MAX + 1];

	if (name->len > ASKED_WIRE || name->labels > ASKED_LABELS)
		abort();
	name_hash_suffixes(name, seed, hash);
	asked->len = name->len;
	asked->labels = name->labels;
	memcpy(asked->offset, name->offset, name->labels);
	memcpy(asked->wire, name->wire, name->len);
	memcpy(asked->hash, hash, (name->labels + 1u) * sizeof *hash);
}

/* Names first + step * i, with the host in front that a browser would ask for. */
static void prepare(struct asked *asked, uint64_t seed, uint64_t first, uint64_t step)
{
	char text[NAMES_TEXT_MAX], host[NAMES_TEXT_MAX + 4];
	struct name name;

	for (uint64_t i = 0; i < ASKED; i++) {
		snprintf(host, sizeof host, "www.%s", names_text(first + step * i, text));
		if (name_from_text(&name, host, strlen(host)) < 0)
			abort();
		pack(&asked[i], &name, seed);
	}
}

static double measure(struct lists_view *view, const struct asked *asked, size_t among, unsigned *found)
{
	struct lists_facts facts;
	struct name name;
	double began = now_s();

	*found = 0;
	for (size_t i = 0; i < LOOKUPS; i++) {
		const struct asked *one = &asked[i % among];
		name.len = one->len;
		name.labels = one->labels;
		memcpy(name.offset, one->offset, sizeof one->offset);
		memcpy(name.wire, one->wire, sizeof one->wire);
		*found += lists_lookup(view, &name, one->hash, &facts) > 0;
	}
	return (now_s() - began) * 1e9 / LOOKUPS;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
	static const char *const categories[] = { "adult" };
	char folder[] = "/tmp/usher-bench-XXXXXX", state[96], why[LISTS_WHY_MAX] = "", remove[96];
	struct asked *asked = malloc(ASKED * sizeof *asked);
	unsigned wrong, listed, warm;
	struct lists *lists;

	if (asked == NULL || mkdtemp(folder) == NULL || compile(folder, count, why) < 0) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	snprintf(state, sizeof state, "%s/lists", folder);
	if (lists_open(&lists, state, NULL, categories, 1, why) < 0) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	struct lists_view *view = lists_view_open(lists);
	prepare(asked, lists_seed(lists), count + 1, 1);
	measure(view, asked, ASKED, &wrong); /* the first touch of the map's pages is not what is asked */
	double unlisted_ns = measure(view, asked, ASKED, &wrong);
	prepare(asked, lists_seed(lists), 0, count > ASKED ? count / ASKED : 1);
	measure(view, asked, ASKED, &listed);
	double listed_ns = measure(view, asked, ASKED, &listed);
	double warm_ns = measure(view, asked, WARM, &warm);
	fprintf(stderr, "%lu names: %.0f ns unlisted, %.0f ns listed, %.0f ns listed and warm\n", count,
	        unlisted_ns, listed_ns, warm_ns);
	printf("names,unlisted_ns,listed_ns,listed_warm_ns\n%lu,%.1f,%.1f,%.1f\n", count, unlisted_ns,
	        listed_ns, warm_ns);
	lists_view_close(view);
	lists_free(lists);
	free(asked);
	snprintf(remove, sizeof remove, "rm -r '%s'", folder);
	return system(remove) == 0 && wrong == 0 && warm == LOOKUPS ? 0 : 1;
}
