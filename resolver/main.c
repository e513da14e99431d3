/* usherd: options, then the daemon. Its children are the same program under another first argument
 * (keeper.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "account.h"
#include "daemon.h"
#include "log.h"
#include "scope.h"

#define CONFIG_FILE "/etc/usher/usher.yaml"

static const char usage[] = "usage: usherd [-c FILE] [-n | -p | -V]\n"
                            "  -c FILE  the configuration (default " CONFIG_FILE ")\n"
                            "  -n       check the configuration, say what is wrong, exit 0 or 1\n"
                            "  -p       print the configuration as it was understood\n"
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

/*
 * An account that the file names and this machine does not have would end a start as root. Only a warning
 * where it is the one that installing makes: the shipped file may be checked before.
 */
static bool has_account(
        const struct config *config, const char *key, const char *name, bool given, const char *installed)
{
	struct account account;
	bool is_installed = strcmp(name, installed) == 0;

	if (account_find(&account, name, given) == 0)
		return true;
	fprintf(stderr, "%s%s: %s: found '%s', expected an account of this machine\n",
	        is_installed ? "warning: " : "", config->file, key, name);
	return is_installed;
}

static int check(struct config *config)
{
	char lacks[SCOPE_TEXT_MAX];
	bool has_user = has_account(config, "user", config->user, config->user_given, "usher");
	bool has_both = has_account(config, "recursor-user", config->recursor_user,
	                        config->recursor_user_given, "usher-recursor") &&
	                has_user;

	for (size_t i = 0; i < config->warning_count; i++)
		fprintf(stderr, "warning: %s\n", config->warnings[i]);
	for (size_t i = 0; i < config->access_count; i++)
		if (scope_lacks_group(&config->access[i], lacks))
			fprintf(stderr, "warning: %s: %s\n", config->file, lacks);
	if (!has_both) {
		config_free(config);
		return 1;
	}
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
	int (*act)(struct config * config) = NULL;
	int option;

	if (argc > 1 && strcmp(argv[1], "--recursor") == 0)
		recursor_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], "--reader") == 0)
		reader_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], "--alerter") == 0)
		alerter_main(argc, argv);
	while ((option = getopt(argc, argv, "c:npVh")) != -1) {
		switch (option) {
		case 'c':
			file = optarg;
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
	log_start("usherd");
	daemon_start(&daemon, file, config);
	return daemon_run(&daemon);
}
