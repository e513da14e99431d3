/* usherd: options, then the daemon. Its children are the same program under another first argument
 * (keeper.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"

#define CONFIG_FILE "/etc/usher/usher.yaml"

static const char usage[] = "usage: usherd [-c FILE] [-d] [-n | -p | -V]\n"
                            "  -c FILE  the configuration (default " CONFIG_FILE ")\n"
                            "  -n       check the configuration, say what is wrong, exit 0 or 1\n"
                            "  -p       print the configuration as it was understood\n"
                            "  -d       say more; questions may appear in the messages\n"
                            "  -V       print the version\n";

/* Reads the configuration or ends: one problem a line, exit 1. */
static struct config *read_config(const char *file)
{
	char why[CONFIG_WHY_MAX];
	struct config *config;

	if (config_read(&config, file, why) == 0) {
		if (recursor_check(config, why) == 0)
			return config;
		config_free(config);
	}
	fprintf(stderr, "%s%s", why, why[0] != '\0' && why[strlen(why) - 1] == '\n' ? "" : "\n");
	exit(1);
}

static int check(struct config *config)
{
	for (size_t i = 0; i < config->warning_count; i++)
		fprintf(stderr, "warning: %s\n", config->warnings[i]);
	printf("%s: %zu profiles, %zu categories, %zu sources: correct\n", config->file,
	        config->profile_count, config->category_count, config->source_count);
	config_free(config);
	return 0;
}

static int print(struct config *config)
{
	config_print(config, stdout);
	config_free(config);
	return 0;
}

int main(int argc, char **argv)
{
	static struct daemon daemon;
	const char *file = CONFIG_FILE;
	bool debug = false;
	int (*act)(struct config * config) = NULL;
	int option;

	if (argc > 1 && strcmp(argv[1], "--recursor") == 0)
		recursor_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], "--reader") == 0)
		reader_main(argc, argv);
	while ((option = getopt(argc, argv, "c:dnpVh")) != -1) {
		switch (option) {
		case 'c':
			file = optarg;
			break;
		case 'd':
			debug = true;
			break;
		case 'n':
			act = check;
			break;
		case 'p':
			act = print;
			break;
		case 'V':
			printf("usherd %s\n", USHER_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	struct config *config = read_config(file);
	if (act != NULL)
		return act(config);
	log_start("usherd", debug);
	if (debug)
		log_warn("debug is on: messages may hold names that people asked for");
	daemon_start(&daemon, file, config);
	return daemon_run(&daemon);
}
