/* What every command needs to begin: its options, the configuration, the right user. */
#include "commands.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "resolver/account.h"

const struct config *command_config(struct command_context *context)
{
	char why[CONFIG_WHY_MAX];

	if (context->is_damaged)
		exit(COMMAND_FAILED);
	if (context->config)
		return context->config;
	if (config_read(&context->config, context->config_file, why) < 0) {
		command_say(why);
		exit(COMMAND_FAILED);
	}
	return context->config;
}

const struct config *command_config_to_ask(struct command_context *context)
{
	char why[CONFIG_WHY_MAX];

	if (context->config)
		return context->config;
	context->is_damaged = config_read_damaged(&context->config, context->config_file, why) < 0;
	if (context->is_damaged)
		command_say(why);
	if (!context->config)
		exit(COMMAND_FAILED);
	return context->config;
}

static void must(const char *dir, int rights)
{
	if (access(dir, rights) == 0 || errno != EACCES)
		return;
	fprintf(stderr, "usher: %s: permission denied: this is for root (sudo)\n", dir);
	exit(COMMAND_FAILED);
}

void command_must_read(const char *dir)
{
	must(dir, R_OK | X_OK);
}

void command_must_pass(const char *dir)
{
	must(dir, X_OK);
}

int command_usage_error(const char *command, const char *format, ...)
{
	char sentence[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	command_say(sentence);
	fprintf(stderr, "usher: `usher help%s%s` explains it\n", *command ? " " : "", command);
	return COMMAND_USAGE;
}

/* ---- options ---- */

static const struct command_option *option_find(
        const struct command_option *options, size_t count, const char *word, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(options[i].name) == len && memcmp(options[i].name, word, len) == 0)
			return &options[i];
	return NULL;
}

/* Takes the option at argv[*at] and, where it is a word of its own, its value; *at is then the last word
 * taken. */
static int option_take(struct command_context *context, const char *command,
        const struct command_option *options, size_t count, int *at)
{
	const char *word = context->argv[*at] + 2;
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct command_option *option = option_find(options, count, word, len);

	if (!option)
		return command_usage_error(command, "%s has no option --%.*s", command, (int)len, word);
	if (!option->takes_value && equals)
		return command_usage_error(command, "--%s takes no value", option->name);
	if (!option->takes_value) {
		*option->value = "";
		return 0;
	}
	if (equals) {
		*option->value = equals + 1;
		return 0;
	}
	if (*at + 1 >= context->argc || strncmp(context->argv[*at + 1], "--", 2) == 0)
		return command_usage_error(command, "--%s needs a value", option->name);
	*option->value = context->argv[++*at];
	return 0;
}

int command_options(struct command_context *context, const char *command,
        const struct command_option *options, size_t count)
{
	int operands = 0, at = 0;

	for (; at < context->argc; at++) {
		char *word = context->argv[at];
		if (strcmp(word, "--") == 0) {
			at++;
			break;
		}
		if (word[0] != '-' || word[1] == '\0') {
			context->argv[operands++] = word;
			continue;
		}
		if (word[1] != '-')
			return command_usage_error(command, "%s has no option %s", command, word);
		int ret = option_take(context, command, options, count, &at);
		if (ret != 0)
			return ret;
	}
	for (; at < context->argc; at++)
		context->argv[operands++] = context->argv[at];
	context->argc = operands;
	context->argv[operands] = NULL;
	return 0;
}

/* ---- the school's rules ---- */

int command_rules(const struct config *config, struct rules **rules)
{
	char dir[PATH_MAX], why[RULES_WHY_MAX];

	snprintf(dir, sizeof dir, "%s/rules", config->state_dir);
	int ret = rules_open(rules, dir, why);
	if (ret == -EACCES || ret == -ENOMEM) {
		rules_free(*rules);
		*rules = NULL;
	} else if (ret < 0) {
		command_say(why);
	}
	return ret;
}

/* ---- the user ---- */

const char *command_sudo_user(void)
{
	const char *user = getuid() == 0 ? getenv("SUDO_USER") : NULL;
	return user && *user ? user : NULL;
}

void command_become_user(const struct config *config)
{
	struct account account;
	int ret;

	if (geteuid() != 0)
		return;
	ret = account_find(&account, config->user, config->user_given);
	if (ret == 0 && account.uid == (uid_t)-1) {
		fprintf(stderr, "usher: there is no user %s: what is written now belongs to root\n",
		        config->user);
		return;
	}
	if (ret == 0)
		ret = account_become(&account, -1);
	if (ret < 0) {
		fprintf(stderr, "usher: cannot become user %s: %s\n", config->user,
		        getpwnam(config->user) ? strerror(-ret) : "there is no such user");
		exit(COMMAND_FAILED);
	}
}
