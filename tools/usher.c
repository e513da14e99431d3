/* `usher`: one table that is dispatch, usage and help. */
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/nearest.h"

#define CONFIG_FILE "/etc/usher/usher.yaml"

/* What a TIME is, where a command takes one. */
#define HELP_TIME                                                                                            \
	"TIME is a duration (30s 10m 1h 90d), now, today, yesterday, '2026-11-23', '2026-11-23 10:15' "      \
	"(local),\n"                                                                                         \
	"or RFC 3339: 2026-11-23T10:15:00Z.\n"

#define ADD_HELP(word)                                                                                       \
	"usher " word                                                                                        \
	" NAME [--profile P] [--client ADDRESS/NETWORK] [--for DURATION] [--exact] --reason TEXT\n"          \
	"\n"                                                                                                 \
	"In effect when the command ends; no list and no other name is touched. The rule is for NAME and "   \
	"all\n"                                                                                              \
	"names below it, for everybody, and for good, unless these say less:\n"                              \
	"  --profile P       for this profile alone\n"                                                       \
	"  --client NETWORK  for this device, class or room alone: 10.20.3.0/24\n"                           \
	"  --for DURATION    ends after 40m, 2h, 5d, to the second\n"                                        \
	"  --exact           for NAME alone, not for names below it\n"                                       \
	"  --reason TEXT     why; it is kept in the ledger with who did it\n"                                \
	"The longest name decides (--exact first), then client over profile over all, then for a time over " \
	"for good, then\n"                                                                                   \
	"block over allow. Nothing lifts a sealed category, and no allow for a time one of severity "        \
	"danger.\n"

static int help_command(struct command_context *context);

static const struct command {
	const char *name;
	int (*run)(struct command_context *context);
	const char *summary;
	const char *help; /* usage lines, an empty line, the rest */
} commands[] = {
	{ "lists", lists_command,
	        "the blocklists: update, pull, status, find, history, rollback, accept, diff, coverage, "
	        "export",
	        "usher lists update [--source S] [--force] [--resume | --preview]\n"
	        "usher lists pull [URL | PATH] [--force] [--resume]\n"
	        "usher lists status\n"
	        "usher lists find NAME\n"
	        "usher lists history\n"
	        "usher lists rollback [GENERATION]\n"
	        "usher lists accept SOURCE --reason TEXT\n"
	        "usher lists diff GENERATION GENERATION [--names | --used]\n"
	        "usher lists coverage\n"
	        "usher lists export [--format domains|rpz]\n"
	        "\n"
	        "update    fetches what changed, compiles it, checks it and makes it current; usherd notices "
	        "by itself.\n"
	        "            --source S   fetch this source alone\n"
	        "            --force      ignore ETags and compile again; no check is skipped\n"
	        "            --resume     end the pin that a rollback left, then update\n"
	        "            --preview    publish nothing; name what this school used in the last 14 days "
	        "and would\n"
	        "                         newly be blocked or unblocked\n"
	        "          It ends with 0: published, nothing new, or pinned; 3: a source is held back; 1: a "
	        "fetch or\n"
	        "          the compile failed. In the last two, that source's last good content stays, the "
	        "others go on.\n"
	        "pull      on a second resolver: takes the generation that another usher published, checked; "
	        "ends as\n"
	        "          update does, with 3 where it is not newer than ours and --force is not given.\n"
	        "status    says what is live and how old each source is.\n"
	        "find      says where a name, or a parent of it, is listed.\n"
	        "history   names the generations that are kept.\n"
	        "rollback  goes back to one (the one before, if none is named) and stays there until update "
	        "--resume.\n"
	        "accept    lets a source through that was held back.\n"
	        "diff      counts what one generation has and another has not, or names it; with --used, "
	        "what "
	        "this\n"
	        "          school used and is newly blocked or unblocked.\n"
	        "coverage  sets every row of the UKSIC table against the lists that serve it, or NO DATA.\n"
	        "export    prints the lists for other resolvers.\n" },
	{ "check", check_command, "what a name gets, for whom, and why",
	        "usher check NAME [--client ADDRESS | --profile P] [--type TYPE] [--at TIME]\n"
	        "usher check --batch\n"
	        "\n"
	        "Prints the verdict and the steps that led to it. Sends no query and needs no usherd.\n"
	        "  --client ADDRESS   as asked from this address\n"
	        "  --profile P        as asked by this profile (else the default profile)\n"
	        "  --type TYPE        A if not given\n"
	        "  --at TIME          as asked then, for the timetable\n"
	        "  --batch            lines of the standard input: NAME [ADDRESS|P|- [TYPE|- "
	        "[TIME]]]\n" HELP_TIME },
	{ "allow", allow_command, "let a name through, at once, for good or for a time", ADD_HELP("allow") },
	{ "block", block_command, "block a name, at once, for good or for a time", ADD_HELP("block") },
	{ "rules", rules_command, "the school's own rules: list, remove",
	        "usher rules list\n"
	        "usher rules remove NAME [--profile P] [--client ADDRESS/NETWORK] [--exact] --reason TEXT\n"
	        "\n"
	        "list    those in force, with their authors and reasons.\n"
	        "remove  the rules of this name; with --profile, --client or --exact those of them alone "
	        "that have "
	        "that.\n"
	        "Who changed what is in the ledger.\n" },
	{ "log", log_command, "blocked lookups",
	        "usher log [--client ADDRESS/NETWORK] [--device NAME|MAC] [--profile P] [--category C]\n"
	        "          [--severity S] [--name SUFFIX] [--since TIME] [--until TIME] [--limit N] "
	        "[--follow]\n"
	        "usher log [filters] --count-by client|device|category|name|severity|hour\n"
	        "usher log [filters] --after ID [--limit N] [--ids yes]\n"
	        "\n"
	        "Newest first. Allowed lookups are not stored. --severity is advisory, caution or danger, "
	        "and means that\n"
	        "or worse. --follow prints new ones as they come, also over a restart of usherd. --after ID "
	        "goes on\n"
	        "behind a record, oldest first; --ids yes prints the ids with --json. --csv and --json print "
	        "for programs.\n"
	        "Who reads the log is recorded.\n" HELP_TIME },
	{ "check-network", network_command, "whether devices in this network can get around usher",
	        "usher check-network [--targets FILE] [--resolv-conf FILE] [--zone ZONE] [--timeout 3s]\n"
	        "\n"
	        "Run it where pupils are: on a device, or in their VLAN. It tries other resolvers and "
	        "encrypted "
	        "DNS as\n"
	        "devices do, asks the resolvers that this network names, and ends with 1 if anything gets "
	        "around. It\n"
	        "needs no usherd here and no configuration.\n"
	        "  --targets FILE      lines of ADDRESS NAME, instead of the shipped ones\n"
	        "  --resolv-conf FILE  where the network's resolvers stand, instead of the system's files\n"
	        "  --zone ZONE         `dns.why-zone` of usher, if it is another than usher\n"
	        "  --timeout 3s        how long an answer is waited for\n" },
	{ "ledger", ledger_command,
	        "who changed what and why, who read the log, and whether any of it is missing",
	        "usher ledger [--since TIME] [--reads]\n"
	        "usher ledger --verify\n"
	        "\n"
	        "Oldest first: rules, reloads, lists, rollbacks, flushes, starts, and reads of personal "
	        "data. For root.\n"
	        "  --reads    reads of personal data alone\n"
	        "  --verify   checks that no entry was altered, removed or added; ends with 1 if one "
	        "was\n" HELP_TIME },
	{ "episodes", episodes_command, "blocked lookups as events: one line for a burst and its retries",
	        "usher episodes [--client ADDRESS/NETWORK] [--device NAME|MAC] [--profile P] [--category C] "
	        "[--severity S] "
	        "[--name "
	        "SUFFIX]\n"
	        "               [--since TIME] [--until TIME] [--limit N]\n"
	        "\n"
	        "Signals first, then danger, all its names; then the newest of the rest. Trackers and what "
	        "devices "
	        "ask by\n"
	        "themselves are counted; --json and --csv print them too. Who reads it is "
	        "recorded.\n" HELP_TIME },
	{ "signals", signals_command, "what in the log somebody should know of: trends, ways around, swarms",
	        "usher signals [--since TIME] [--until TIME] [--client …] [--profile P] [--dry-run]\n"
	        "\n"
	        "Evaluates the rules of `alerts` over the stored log and names the evidence. It never sends "
	        "anything, with\n"
	        "--dry-run or without: change the rules and see what they would have told. Who reads it is "
	        "recorded.\n" HELP_TIME },
	{ "alert", alert_command, "what was told to whom, and a test of the ways there",
	        "usher alert list\n"
	        "usher alert test\n"
	        "\n"
	        "list  messages sent, waiting and failing, without what they tell.\n"
	        "test  sends one to every recipient of `alerts` and says what became of each; ends with 1 if "
	        "one "
	        "failed.\n" },
	{ "report", report_command, "for the DSL, the head, governors and data protection",
	        "usher report daily|weekly|term|staff|subject-access [--format html|text|csv|cpoms|json] "
	        "[--output "
	        "FILE]\n"
	        "             [--since TIME] [--until TIME] [--day DAY]\n"
	        "usher report subject-access --client ADDRESS | --device NAME\n"
	        "\n"
	        "daily           since yesterday: what needs attention, what is worth a look, what was "
	        "blocked\n"
	        "weekly          seven days, beside the seven before\n"
	        "term            for governors: thirteen weeks, without names, groups under five not shown\n"
	        "staff           of the profiles that `access` gives to the head: seven days\n"
	        "subject-access  all that is stored of one device, and nothing of any other\n"
	        "\n"
	        "  --format html   one page that prints well; text if not given\n"
	        "  --format cpoms  the daily's incidents as rows for a safeguarding system\n"
	        "  --format json   or --json: its events or rows, one JSON object a line\n"
	        "  --output FILE   written whole or not at all; FOLDER/ gets a file named by report and day\n"
	        "  --day DAY       today, yesterday or 2026-11-23, from midnight to midnight\n" HELP_TIME },
	{ "selftest", selftest_command, "proof that filtering is on, for every group",
	        "usher selftest [--format text|html] [--brief] [--watch 15m]\n"
	        "\n"
	        "Asks a running usherd, as a device of each profile, for names that must be blocked, "
	        "resolve, be "
	        "made safe\n"
	        "or hidden; keeps a dated record, prints a page. Ends with 1 if a name got what it should "
	        "not.\n"
	        "An engine whose safe name does not work is blocked until it does. No trace of it is in the "
	        "log.\n"
	        "  --brief   no page: one line, and one for each name that got what it should not\n"
	        "  --watch   again and again, so often\n" },
	{ "ship", ship_command, "send the block log to a system outside, and go on",
	        "usher ship clickhouse|syslog [--once]\n"
	        "usher ship clickhouse --schema\n"
	        "\n"
	        "Sends what was blocked to where `ship` of the configuration says, in batches, each event at "
	        "least once,\n"
	        "and goes on from there the next time.\n"
	        "  --once     send what there is, then end\n"
	        "  --schema   print the table's definition, and ten questions to it\n" },
	{ "retention", retention_command, "proof that the log forgets in time",
	        "usher retention --verify\n"
	        "\n"
	        "Reads every row of the log and prints, for each class of files and each profile, the oldest "
	        "row and\n"
	        "whether it should be gone. Ends with 1 if one should.\n" },
	{ "case", case_command, "rows of the log that are held for a case",
	        "usher case hold [--client ADDRESS/NETWORK] [--device NAME|MAC] --since TIME [--until TIME]\n"
	        "                [--profile P] [--name SUFFIX] --reason TEXT\n"
	        "usher case list\n"
	        "usher case release NUMBER --reason TEXT\n"
	        "\n"
	        "What is held stays until it is released, however long the log is kept. A device is held at "
	        "all\n"
	        "addresses, also what it does later; so is the one that had the address, if no other had it. "
	        "For\n"
	        "root and members of usher-dsl.\n" HELP_TIME },
	{ "forget", forget_command, "erase rows of the log",
	        "usher forget [--client ADDRESS/NETWORK] [--device NAME|MAC] [--profile P] [--name SUFFIX]\n"
	        "             [--since TIME] [--until TIME] --reason TEXT\n"
	        "\n"
	        "Takes these rows out of every file, for good. What is held for a case is refused. That it "
	        "was "
	        "done, by whom\n"
	        "and why, is recorded, not what it was. For root and members of usher-dsl.\n" HELP_TIME },
	{ "stats", stats_command, "counters of a running usherd",
	        "usher stats [--watch]\n"
	        "\n"
	        "  --watch   every second, with rates, until Ctrl-C\n" },
	{ "status", status_command, "health of each part of a running usherd",
	        "usher status\n"
	        "\n"
	        "Ends with 1 if a part has failed or usherd does not run.\n" },
	{ "reload", reload_command, "make usherd read its configuration again",
	        "usher reload\n"
	        "\n"
	        "A mistake in the file is told, with its line, and changes nothing.\n" },
	{ "flush", flush_command, "make usherd forget cached answers",
	        "usher flush NAME\n"
	        "\n"
	        "Drops the cached answers for NAME and all names below it; . drops all.\n" },
	{ "help", help_command, "this, or help on one command", "usher help [COMMAND]\n" },
	{ NULL, NULL, NULL, NULL },
};

static void print_usage(FILE *to)
{
	fputs("usage: usher [-c FILE] [--json | --csv] COMMAND …\n\n", to);
	for (const struct command *command = commands; command->name; command++)
		fprintf(to, "  %-13s %s\n", command->name, command->summary);
	fputs("\n  -c FILE     the configuration, " CONFIG_FILE " if not given\n"
	      "  --json      one JSON object a line\n"
	      "  --csv       for spreadsheets, with a header row\n"
	      "  --version\n"
	      "\n`usher help COMMAND` says more.\n",
	        to);
}

static const struct command *command_find(const char *name)
{
	for (const struct command *command = commands; command->name; command++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}

/* ---- a mistyped command ---- */

static int unknown_command(const char *name)
{
	struct nearest nearest = { .word = name };

	for (const struct command *command = commands; command->name; command++)
		nearest_try(&nearest, command->name);
	if (nearest.best)
		return command_usage_error(
		        "", "there is no command %s; did you mean %s?", name, nearest.best);
	return command_usage_error("", "there is no command %s", name);
}

static int help_command(struct command_context *context)
{
	if (context->argc == 0) {
		print_usage(stdout);
		return COMMAND_OK;
	}
	const struct command *command = command_find(context->argv[0]);
	if (!command)
		return unknown_command(context->argv[0]);
	fputs(command->help, stdout);
	return COMMAND_OK;
}

/* ---- the words that stand anywhere ---- */

struct global {
	bool help, version;
};

/* Takes -c FILE, --json, --csv, --help out of argv, up to a "--". Returns 0 or COMMAND_USAGE. */
static int take_global(struct command_context *context, struct global *global)
{
	int left = 0, at = 0;

	for (; at < context->argc && strcmp(context->argv[at], "--") != 0; at++) {
		const char *word = context->argv[at];
		if (strcmp(word, "--json") == 0)
			context->json = true;
		else if (strcmp(word, "--csv") == 0)
			context->csv = true;
		else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
			global->help = true;
		else if (strcmp(word, "--version") == 0)
			global->version = true;
		else if (strcmp(word, "-c") != 0)
			context->argv[left++] = context->argv[at];
		else if (++at < context->argc)
			context->config_file = context->argv[at];
		else
			return command_usage_error("", "-c needs a file");
	}
	for (; at < context->argc; at++)
		context->argv[left++] = context->argv[at];
	context->argc = left;
	context->argv[left] = NULL;
	if (context->json && context->csv)
		return command_usage_error("", "--json and --csv exclude each other");
	return 0;
}

static int dispatch(struct command_context *context, const struct global *global)
{
	if (global->version) {
		printf("usher %s\n", USHER_VERSION);
		return COMMAND_OK;
	}
	if (global->help)
		return help_command(context);
	if (context->argc == 0) {
		print_usage(stderr);
		return COMMAND_USAGE;
	}
	const char *name = context->argv[0];
	const struct command *command = command_find(name);
	if (!command)
		return name[0] == '-' ? command_usage_error("", "there is no option %s", name)
		                      : unknown_command(name);
	context->argv++;
	context->argc--;
	return command->run(context);
}

int main(int argc, char **argv)
{
	struct command_context context = { .config_file = CONFIG_FILE, .argc = argc - 1, .argv = argv + 1 };
	struct global global = { false };
	int ret;

	if (argc == 0)
		return COMMAND_USAGE;
	ret = take_global(&context, &global);
	if (ret == 0)
		ret = dispatch(&context, &global);
	config_free(context.config);
	/* A report that did not fit on the disk has failed. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("usher: output");
		return COMMAND_FAILED;
	}
	return ret;
}
