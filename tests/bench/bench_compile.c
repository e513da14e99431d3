/*
 * Compile of N generated names (default 1,000,000; fixed seed) by one update from a file: CPU seconds, peak
 * memory, octets a name on disk. One CSV line on stdout.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "blocklists/update.h"
#include "names.h"

static double cpu_seconds(const struct rusage *usage)
{
	return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
	       (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static int write_names(const char *path, unsigned long count)
{
	FILE *file = fopen(path, "w");
	char name[NAMES_TEXT_MAX];

	if (file == NULL)
		return -1;
	for (unsigned long i = 0; i < count; i++)
		fprintf(file, "%s\n", names_text(i, name));
	return fclose(file);
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
	static const char *const categories[] = { "adult" };
	char folder[] = "/tmp/usher-bench-XXXXXX", list[64], url[80], state[64], why[LISTS_WHY_MAX];
	struct update_result result;
	struct rusage before, after;
	struct lists *lists;

	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(list, sizeof list, "%s/names.txt", folder);
	snprintf(url, sizeof url, "file://%s", list);
	snprintf(state, sizeof state, "%s/lists", folder);
	if (write_names(list, count) != 0)
		return 1;
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

	getrusage(RUSAGE_SELF, &before);
	int ret = update_run(&options, &result, why);
	getrusage(RUSAGE_SELF, &after);
	if (ret == 0)
		ret = lists_open(&lists, state, NULL, categories, 1, why);
	if (ret < 0) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	double bytes = (double)lists_info(lists)->size / (double)result.names;
	fprintf(stderr, "%lu names: %.2f s CPU, peak %ld KiB, %.1f octets a name\n",
	        (unsigned long)result.names, cpu_seconds(&after) - cpu_seconds(&before), after.ru_maxrss,
	        bytes);
	printf("names,cpu_s,peak_kib,octets_per_name\n%lu,%.3f,%ld,%.2f\n", (unsigned long)result.names,
	        cpu_seconds(&after) - cpu_seconds(&before), after.ru_maxrss, bytes);
	lists_free(lists);
	char remove[80];
	snprintf(remove, sizeof remove, "rm -r '%s'", folder);
	return system(remove) == 0 ? 0 : 1;
}
