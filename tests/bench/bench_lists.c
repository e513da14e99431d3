/*
 * lists_lookup() on N generated names, for each N given (default 370,000 and 5,000,000; fixed seed):
 * nanoseconds for a name on no list, for a listed one drawn at random from all, and for listed ones that are
 * asked again and again. Each of them twice: as the worker does it, in batches of 64 whose memory is fetched
 * ahead (query_fetch()), and one by one ("single"), as for a name that comes alone. The stores take turns,
 * and what is printed is the median of all rounds, so that a busy moment of the machine weighs on all alike.
 * One CSV line a store on stdout.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/update.h"
#include "names.h"

#define LOOKUPS 131072 /* a round */
#define ROUNDS 15
#define ASKED 65536 /* different names, prepared ahead: more than the processor's caches hold */
#define WARM 256
#define STORES_MAX 4
#define BATCH 64 /* as udp.c */

enum what { UNLISTED, LISTED, LISTED_WARM, UNLISTED_SINGLE, LISTED_SINGLE, LISTED_WARM_SINGLE, WHAT_COUNT };

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

struct store {
	unsigned long count;
	char folder[32];
	struct lists *lists;
	struct lists_view *view;
	struct asked *unlisted, *listed;
	double ns[WHAT_COUNT][ROUNDS];
};

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

static void unpack(struct name *name, const struct asked *asked)
{
	name->len = asked->len;
	name->labels = asked->labels;
	memcpy(name->offset, asked->offset, sizeof asked->offset);
	memcpy(name->wire, asked->wire, sizeof asked->wire);
}

/* A batch of look-ups as a worker makes them. Returns how many are listed. */
static unsigned look_up_batch(struct lists_view *view, const struct asked *asked)
{
	static struct name names[BATCH];
	struct lists_facts facts;
	unsigned found = 0;

	for (unsigned i = 0; i < BATCH; i++)
		unpack(&names[i], &asked[i]);
	for (unsigned i = 0; i < BATCH; i++)
		lists_prefetch(view, &names[i], asked[i].hash);
	for (unsigned i = 0; i < BATCH; i++)
		lists_prefetch_entry(view, &names[i], asked[i].hash);
	for (unsigned i = 0; i < BATCH; i++)
		found += lists_lookup(view, &names[i], asked[i].hash, &facts) > 0;
	return found;
}

static unsigned look_up_single(struct lists_view *view, const struct asked *asked)
{
	struct lists_facts facts;
	unsigned found = 0;
	struct name name;

	for (unsigned i = 0; i < BATCH; i++) {
		unpack(&name, &asked[i]);
		found += lists_lookup(view, &name, asked[i].hash, &facts) > 0;
	}
	return found;
}

/* Returns nanoseconds a look-up. Every name must be found, or none. */
static double measure(struct lists_view *view, const struct asked *asked, size_t among, bool listed,
        unsigned (*look_up)(struct lists_view *, const struct asked *))
{
	unsigned found = 0;
	double began = now_s();

	for (size_t i = 0; i < LOOKUPS; i += BATCH)
		found += look_up(view, &asked[i % among]);
	double ns = (now_s() - began) * 1e9 / LOOKUPS;
	if (found != (listed ? LOOKUPS : 0))
		abort();
	return ns;
}

static void measure_all(struct store *store, unsigned round)
{
	for (unsigned single = 0; single <= 1; single++) {
		double(*ns)[ROUNDS] = store->ns + (single ? UNLISTED_SINGLE : UNLISTED);
		unsigned (*look_up)(struct lists_view *, const struct asked *) =
		        single ? look_up_single : look_up_batch;
		ns[UNLISTED][round] = measure(store->view, store->unlisted, ASKED, false, look_up);
		ns[LISTED][round] = measure(store->view, store->listed, ASKED, true, look_up);
		ns[LISTED_WARM][round] = measure(store->view, store->listed, WARM, true, look_up);
	}
}

static int store_open(struct store *store, unsigned long count, char why[LISTS_WHY_MAX])
{
	static const char *const categories[] = { "adult" };
	char state[64];

	store->count = count;
	snprintf(store->folder, sizeof store->folder, "/tmp/usher-bench-XXXXXX");
	store->unlisted = malloc(ASKED * sizeof *store->unlisted);
	store->listed = malloc(ASKED * sizeof *store->listed);
	if (store->unlisted == NULL || store->listed == NULL || mkdtemp(store->folder) == NULL)
		return -1;
	snprintf(state, sizeof state, "%s/lists", store->folder);
	if (compile(store->folder, count, why) < 0 ||
	        lists_open(&store->lists, state, NULL, categories, 1, why) < 0)
		return -1;
	store->view = lists_view_open(store->lists);
	prepare(store->unlisted, lists_seed(store->lists), count + 1, 1);
	prepare(store->listed, lists_seed(store->lists), 0, count > ASKED ? count / ASKED : 1);
	measure_all(store, 0); /* the first touch of the map's pages is not what is asked */
	return store->view != NULL ? 0 : -1;
}

static void store_close(struct store *store)
{
	char remove[64];

	lists_view_close(store->view);
	lists_free(store->lists);
	free(store->unlisted);
	free(store->listed);
	snprintf(remove, sizeof remove, "rm -r '%s'", store->folder);
	if (system(remove) != 0)
		fprintf(stderr, "%s is left\n", store->folder);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof *values, ascending);
	return values[ROUNDS / 2];
}

static void store_print(struct store *store)
{
	double ns[WHAT_COUNT];

	for (unsigned i = 0; i < WHAT_COUNT; i++)
		ns[i] = median(store->ns[i]);
	fprintf(stderr,
	        "%lu names: in batches %.0f ns unlisted, %.0f ns listed, %.0f ns listed and warm; one by one "
	        "%.0f, %.0f, %.0f ns\n",
	        store->count, ns[UNLISTED], ns[LISTED], ns[LISTED_WARM], ns[UNLISTED_SINGLE],
	        ns[LISTED_SINGLE], ns[LISTED_WARM_SINGLE]);
	printf("%lu", store->count);
	for (unsigned i = 0; i < WHAT_COUNT; i++)
		printf(",%.1f", ns[i]);
	puts("");
}

int main(int argc, char **argv)
{
	static const unsigned long usual[] = { 370000, 5000000 };
	struct store stores[STORES_MAX];
	char why[LISTS_WHY_MAX] = "";
	unsigned count = argc > 1 ? (unsigned)argc - 1 : 2;

	if (count > STORES_MAX)
		count = STORES_MAX;
	for (unsigned i = 0; i < count; i++) {
		if (store_open(&stores[i], argc > 1 ? strtoul(argv[i + 1], NULL, 10) : usual[i], why) < 0) {
			fprintf(stderr, "%s\n", why);
			return 1;
		}
	}
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < count; i++)
			measure_all(&stores[i], round);
	puts("names,unlisted_ns,listed_ns,listed_warm_ns,unlisted_single_ns,listed_single_ns,listed_warm_"
	     "single_ns");
	for (unsigned i = 0; i < count; i++) {
		store_print(&stores[i]);
		store_close(&stores[i]);
	}
	return 0;
}
