/*
 * `usher check NAME`: what would this client get, and why? It asks the functions that the daemon asks
 * (clients_find, facts_gather, policy_decide) about the files that the daemon reads, and adds only words. No
 * daemon, no query.
 */
#include "commands.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "resolver/clients.h"
#include "resolver/engines.h"
#include "resolver/facts.h"
#include "resolver/message.h"
#include "resolver/neighbours.h"
#include "resolver/policy.h"

#define COMMAND "check"
#define TEXT_MAX 4096
#define CSV_CELLS_MAX 16

struct check {
	const struct config *config;
	/* what was asked */
	struct name name;
	char name_text[NAME_TEXT_MAX];
	uint16_t type;
	bool has_client;
	struct config_network client; /* a host */
	const char *client_text;
	const char *profile_text; /* --profile, or NULL */
	int profile;              /* CLIENTS_UNSERVED: refused */
	struct moment now;
	/* what it was asked of */
	struct clients *clients;
	struct macs *macs;
	struct neighbour_table *neighbours; /* NULL: no card has a profile of its own */
	struct command_policy policy;
	/* what came out */
	struct facts facts;
	struct verdict verdict;
	struct policy_steps steps;
	bool has_header; /* --csv */
};

/* A question as it was typed. */
struct question {
	const char *name, *client, *profile, *type, *at; /* NULL: not given */
};

/* ---- reading the question
 * -------------------------------------------------------------------------------------------- */

static int check_read_client(struct check *check, const char *text)
{
	if (strchr(text, '/') != NULL || config_network_parse(&check->client, text) < 0)
		return command_usage_error(COMMAND, "--client '%s' is no IP address", text);
	check->client_text = text;
	check->has_client = true;
	return 0;
}

static int check_read(struct check *check, const struct question *question)
{
	const char *text = question->name, *type = question->type != NULL ? question->type : "A";
	int64_t now = (int64_t)time(NULL);

	if (strstr(text, "://") != NULL)
		return command_usage_error(
		        COMMAND, "'%s' is an address of a page, expected the name in it", text);
	if (name_from_user_text(&check->name, text, strlen(text)) < 0)
		return command_usage_error(COMMAND, "'%s' is no domain name", text);
	if (question->client != NULL && question->profile != NULL)
		return command_usage_error(COMMAND, "--client and --profile exclude each other");
	int number = message_type_parse(type);
	if (number < 0)
		return command_usage_error(COMMAND,
		        "--type '%s' is no record type, expected A, HTTPS, TYPE65 and the like", type);
	if (question->at != NULL && command_time(question->at, false, &now) < 0)
		return command_usage_error(COMMAND,
		        "--at '%s' is no time, expected 1h, \"2026-11-23 10:15\" or RFC 3339", question->at);
	check->type = (uint16_t)number;
	check->now = moment_at(now);
	check->profile_text = question->profile;
	check->has_client = false;
	name_to_text(&check->name, check->name_text);
	return question->client != NULL ? check_read_client(check, question->client) : 0;
}

/* ---- asking
 * ----------------------------------------------------------------------------------------------------------
 */

/* As the daemon does: the card behind the address, in a network this machine is connected to, may have a
 * profile of its own. */
static int check_find_device(const struct check *check, int profile)
{
	const uint8_t *mac = check->neighbours != NULL
	                             ? neighbour_table_find(check->neighbours, check->client.address, 0)
	                             : NULL;

	return mac != NULL ? macs_find(check->macs, mac) : profile;
}

static int check_open_clients(struct check *check)
{
	struct neighbour *list = NULL;
	size_t count;

	check->clients = clients_new(check->config);
	check->macs = macs_new(check->config);
	if (check->clients == NULL || check->macs == NULL)
		return -ENOMEM;
	if (macs_count(check->macs) > 0 && neighbours_read(&list, &count) == 0)
		check->neighbours = neighbour_table_new(list, count, check->macs, 0);
	free(list);
	return 0;
}

static int check_find_profile(struct check *check)
{
	check->profile = (int)check->config->default_profile;
	if (check->profile_text != NULL) {
		check->profile = config_profile(check->config, check->profile_text);
		if (check->profile < 0)
			return command_usage_error(COMMAND, "there is no profile '%s'", check->profile_text);
	}
	if (!check->has_client)
		return 0;
	check->profile = clients_find(check->clients, check->client.address);
	if (check->profile != CLIENTS_UNSERVED)
		check->profile = check_find_device(check, check->profile);
	return 0;
}

static void check_close(struct check *check)
{
	neighbour_table_free(check->neighbours);
	macs_free(check->macs);
	clients_free(check->clients);
	command_policy_close(&check->policy);
}

static void check_decide(struct check *check)
{
	struct policy_asker asker = { .profile = (unsigned)check->profile,
		.address = check->has_client ? check->client.address : NULL };

	check->steps.count = 0;
	if (check->profile == CLIENTS_UNSERVED) {
		check->verdict = (struct verdict){
			.action = VERDICT_REFUSE, .category = -1, .rule = FACTS_NONE, .engine = FACTS_NONE
		};
		return;
	}
	facts_gather(&check->facts, check->policy.table, check->policy.view, &check->name);
	check->verdict = policy_decide(
	        check->config, check->policy.table, &asker, &check->facts, &check->now, &check->steps);
}

/* ---- words
 * -----------------------------------------------------------------------------------------------------------
 */

/* What decided, in the words of who wrote it: an entry's name and the list (or configuration) it stands in.
 * "": none. */
struct origin {
	char rule[NAME_TEXT_MAX];
	const char *source;            /* NULL: none */
	char signal[FACTS_SIGNAL_MAX]; /* room for a source: keyword, look-alike */
};

/* The last labels of the asked name, which is how a list's entry looks. */
static void suffix_text(const struct name *name, unsigned labels, char text[NAME_TEXT_MAX])
{
	struct name suffix;

	name_suffix(name, name->labels - labels, &suffix);
	name_to_text(&suffix, text);
}

static void origin_of_category(const struct check *check, unsigned category, struct origin *origin)
{
	const struct lists_source *source = NULL;
	uint8_t labels = 0;

	if (check->policy.lists == NULL ||
	        !lists_explain(check->policy.lists, &check->facts.listed, category, &source, &labels))
		return;
	suffix_text(&check->name, labels, origin->rule);
	origin->source = source->name;
}

/* The protected name that the asked name is, or lies below. */
static void origin_of_protected(const struct check *check, struct origin *origin)
{
	for (size_t i = 0; i < check->config->protected_count; i++)
		if (name_is_below(&check->name, &check->config->protected_names[i]))
			name_to_text(&check->config->protected_names[i], origin->rule);
}

/* "keyword *porn*": the source, and the rule behind the space. */
static void origin_of_signal(const struct check *check, unsigned category, bool watch, struct origin *origin)
{
	facts_explain_signal(
	        check->policy.table, check->policy.view, &check->name, category, watch, origin->signal);
	char *space = strchr(origin->signal, ' ');
	if (space == NULL)
		return;
	*space = '\0';
	origin->source = origin->signal;
	snprintf(origin->rule, sizeof origin->rule, "%s", space + 1);
}

static void check_origin(const struct check *check, struct origin *origin)
{
	const struct verdict *verdict = &check->verdict;
	const struct facts *facts = &check->facts;

	if (verdict->action == VERDICT_REFUSE)
		return;
	switch (verdict->tier) {
	case TIER_SEALED:
	case TIER_CATEGORY:
		if (verdict->category >= 0)
			origin_of_category(check, (unsigned)verdict->category, origin);
		return;
	case TIER_KEYWORD:
		origin_of_signal(check, (unsigned)verdict->category, false, origin);
		return;
	case TIER_DEFAULT:
		if (verdict->action == VERDICT_RESOLVE)
			return;
		break;
	case TIER_LIST_FAILURE:
		return;
	case TIER_RULE:
		name_to_text(&facts_rule_get(check->policy.table, verdict->rule)->name, origin->rule);
		if (facts_rule_get(check->policy.table, verdict->rule)->entry == NULL)
			break;
		origin->source = "rules";
		return;
	case TIER_PROTECTED:
		origin_of_protected(check, origin);
		break;
	case TIER_INTERNAL:
		if (facts->internal_zone != FACTS_NONE) {
			name_to_text(&check->config->internal_zones[facts->internal_zone].zone, origin->rule);
			break;
		}
		memcpy(origin->rule, check->name_text, sizeof origin->rule);
		break;
	case TIER_CANARY:
		name_to_text(&check->config->canaries[facts->canary].name, origin->rule);
		break;
	default: /* a local record, an engine: the name itself */
		memcpy(origin->rule, check->name_text, sizeof origin->rule);
		break;
	}
	origin->source = "configuration";
	return;
}

/* Where a rewrite leads: a name, or the first address of an engine that has only addresses. */
static const char *check_target(const struct check *check, char text[NAME_TEXT_MAX])
{
	if (check->verdict.action != VERDICT_REWRITE)
		return NULL;
	const struct config_engine *engine = &check->config->engines[check->verdict.engine];
	const struct name *target = check->verdict.moderate ? &engine->target_moderate : &engine->target;
	if (target->len > 0) {
		name_to_text(target, text);
		return text;
	}
	if (engine->v4_count > 0)
		return inet_ntop(AF_INET, &engine->v4[0], text, NAME_TEXT_MAX);
	return engine->v6_count > 0 ? inet_ntop(AF_INET6, &engine->v6[0], text, NAME_TEXT_MAX) : NULL;
}

/* Which keywords they are, one a category. */
static void signal_text(const struct check *check, char text[TEXT_MAX], size_t len)
{
	for (unsigned i = 0; i < 2 * check->config->category_count && len < TEXT_MAX; i++) {
		bool watch = i & 1;
		struct origin origin = { .source = NULL };
		uint64_t shown = watch ? check->facts.signal_watch : check->facts.signal_block;
		if (!(shown >> i / 2 & 1))
			continue;
		origin_of_signal(check, i / 2, watch, &origin);
		len += (size_t)snprintf(text + len, TEXT_MAX - len, "; %s %s (%s, %s)", origin.source,
		        origin.rule, check->config->categories[i / 2].name, watch ? "watch" : "block");
	}
}

/* The step of a category tells what is listed; by which entry of which list is known only here. */
static void step_text(const struct check *check, const struct policy_step *step, char text[TEXT_MAX])
{
	size_t len = (size_t)snprintf(text, TEXT_MAX, "%s", step->text);
	uint64_t told = check->facts.listed.categories;

	if (step->tier == TIER_KEYWORD)
		signal_text(check, text, len);
	if (step->tier != TIER_SEALED && step->tier != TIER_CATEGORY)
		return;
	if (step->tier == TIER_SEALED)
		told &= check->config->sealed;
	for (unsigned i = 0; i < check->config->category_count && len < TEXT_MAX; i++) {
		struct origin origin = { .source = NULL };
		if (!(told >> i & 1))
			continue;
		origin_of_category(check, i, &origin);
		if (origin.source != NULL)
			len += (size_t)snprintf(text + len, TEXT_MAX - len, "; listed as %s by %s (%s)",
			        origin.rule, origin.source, check->config->categories[i].name);
	}
}

/* How the profile was found. */
static void client_step_text(const struct check *check, char text[TEXT_MAX])
{
	const char *profile = check->profile >= 0 ? check->config->profiles[check->profile].name : "";

	if (check->profile == CLIENTS_UNSERVED)
		snprintf(text, TEXT_MAX, "%s is in no network of serve", check->client_text);
	else if (check->has_client)
		snprintf(text, TEXT_MAX, "%s has profile %s", check->client_text, profile);
	else
		snprintf(text, TEXT_MAX, "%s%s", profile,
		        check->profile_text == NULL ? ", the default-profile" : "");
}

/* "own rule: scratch.mit.edu, until 2026-11-23 10:40:00, by jsmith: maths lesson" */
static void rule_reason(const struct rules_entry *entry, const char *name, char text[TEXT_MAX])
{
	time_t until = (time_t)entry->until;
	char until_text[40] = "";
	struct tm tm;

	if (until != 0)
		strftime(
		        until_text, sizeof until_text, ", until %Y-%m-%d %H:%M:%S", localtime_r(&until, &tm));
	snprintf(text, TEXT_MAX, "%s: %s%s, by %s: %s", policy_tier_text(TIER_RULE), name, until_text,
	        entry->author, entry->reason);
}

/* One sentence without a full stop. */
static void check_reason(
        const struct check *check, const struct origin *origin, const char *target, char text[TEXT_MAX])
{
	const struct verdict *verdict = &check->verdict;

	if (verdict->action == VERDICT_REFUSE) {
		client_step_text(check, text);
		return;
	}
	const char *profile = check->config->profiles[check->profile].name;
	if (verdict->action == VERDICT_FAIL)
		snprintf(text, TEXT_MAX, "lists unreadable, and %s fails closed: SERVFAIL", profile);
	else if (verdict->action == VERDICT_REWRITE)
		snprintf(text, TEXT_MAX, "safe search: %s is answered as %s", check->name_text,
		        target != NULL ? target : "nothing");
	else if (verdict->tier == TIER_KEYWORD)
		snprintf(text, TEXT_MAX, "%s, for the %s %s",
		        check->config->categories[verdict->category].title, origin->source, origin->rule);
	else if (verdict->category >= 0)
		snprintf(text, TEXT_MAX, "%s, listed as %s by %s",
		        check->config->categories[verdict->category].title, origin->rule,
		        origin->source != NULL ? origin->source : "a list");
	else if (verdict->tier == TIER_DEFAULT)
		snprintf(text, TEXT_MAX,
		        verdict->action == VERDICT_BLOCK ? "%s blocks what no rule allows"
		                                         : "nothing blocks it for %s",
		        profile);
	else if (verdict->tier == TIER_INTERNAL && verdict->action == VERDICT_LOCAL)
		snprintf(text, TEXT_MAX, "an internal name, hidden from %s", profile);
	else if (verdict->tier == TIER_RULE &&
	         facts_rule_get(check->policy.table, verdict->rule)->entry != NULL)
		rule_reason(facts_rule_get(check->policy.table, verdict->rule)->entry, origin->rule, text);
	else
		snprintf(text, TEXT_MAX, "%s: %s", policy_tier_text(verdict->tier), origin->rule);
}

/* ---- printing
 * -------------------------------------------------------------------------------------------------------- */

static json_t *text_or_null(const char *text)
{
	return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *steps_json(const struct check *check)
{
	char text[TEXT_MAX];
	json_t *steps = json_array();

	client_step_text(check, text);
	json_array_append_new(steps, json_pack("{s:s, s:b, s:s}", "step", "client", "decided",
	                                     check->profile == CLIENTS_UNSERVED, "text", text));
	for (unsigned i = 0; i < check->steps.count; i++) {
		const struct policy_step *step = &check->steps.step[i];
		step_text(check, step, text);
		json_array_append_new(
		        steps, json_pack("{s:s, s:b, s:s}", "step", policy_tier_text(step->tier), "decided",
		                       step->decided, "text", text));
	}
	return steps;
}

/* Without its steps: NULL without memory. */
static json_t *result_json(
        const struct check *check, const struct origin *origin, const char *target, const char *reason)
{
	const struct verdict *verdict = &check->verdict;
	char type[16];

	return json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "name", check->name_text,
	        "type", message_type_text(check->type, type), "profile",
	        text_or_null(check->profile >= 0 ? check->config->profiles[check->profile].name : NULL),
	        "verdict", policy_action_text(verdict->action), "category",
	        text_or_null(
	                verdict->category >= 0 ? check->config->categories[verdict->category].name : NULL),
	        "rule", text_or_null(origin->rule), "source", text_or_null(origin->source), "target",
	        text_or_null(target), "watch",
	        text_or_null(
	                verdict->watched ? check->config->categories[verdict->watch_category].name : NULL),
	        "reason", reason);
}

static int print_json(const struct check *check, json_t *result)
{
	if (json_object_set_new(result, "steps", steps_json(check)) < 0)
		return COMMAND_FAILED;
	command_json(result);
	return COMMAND_OK;
}

/* The keys of the JSON but for the steps, after a header row. */
static int print_csv(struct check *check, json_t *result)
{
	const char *keys[CSV_CELLS_MAX], *cells[CSV_CELLS_MAX], *key;
	size_t count = 0;
	json_t *value;

	json_object_foreach(result, key, value)
	{
		if (count == CSV_CELLS_MAX)
			break;
		keys[count] = key;
		cells[count++] = json_string_value(value);
	}
	if (!check->has_header)
		command_csv(keys, count);
	check->has_header = true;
	command_csv(cells, count);
	return COMMAND_OK;
}

static int print_people(const struct check *check, const char *reason)
{
	static const char *const words[] = { "resolves", "blocked", "safe search", "answered here", "refused",
		"fails" };
	char text[TEXT_MAX], type[16];
	unsigned number = 1;

	printf("%s %s for %s: %s (%s)\n", check->name_text, message_type_text(check->type, type),
	        check->profile >= 0 ? check->config->profiles[check->profile].name : check->client_text,
	        words[check->verdict.action], reason);
	client_step_text(check, text);
	printf("  %u. client: %s\n", number, text);
	for (unsigned i = 0; i < check->steps.count; i++) {
		const struct policy_step *step = &check->steps.step[i];
		step_text(check, step, text);
		printf("  %u. %s: %s%s\n", ++number, policy_tier_text(step->tier), text,
		        step->decided ? "  <- decides" : "");
	}
	return COMMAND_OK;
}

static int check_print(struct check *check, const struct command_context *context)
{
	char reason[TEXT_MAX], target_text[NAME_TEXT_MAX];
	struct origin origin = { .source = NULL };

	check_origin(check, &origin);
	const char *target = check_target(check, target_text);

	check_reason(check, &origin, target, reason);
	if (!context->json && !context->csv)
		return print_people(check, reason);
	json_t *result = result_json(check, &origin, target, reason);
	if (result == NULL)
		return COMMAND_FAILED;
	int ret = context->json ? print_json(check, result) : print_csv(check, result);
	json_decref(result);
	return ret;
}

/* ---- the command
 * -------------------------------------------------------------------------------------------------------- */

static int check_answer(
        struct check *check, const struct question *question, const struct command_context *context)
{
	int ret = check_read(check, question);

	if (ret == 0)
		ret = check_find_profile(check);
	if (ret != 0)
		return ret;
	check_decide(check);
	return check_print(check, context);
}

/* NAME [CLIENT|PROFILE|- [TYPE|- [TIME]]]: the time is the rest of the line. False for an empty line. */
static bool question_of_line(struct question *question, char *line)
{
	static const char blank[] = " \t\r\n";
	struct config_network network;
	char *rest = NULL, *name = strtok_r(line, blank, &rest), *who = strtok_r(NULL, blank, &rest),
	     *type = strtok_r(NULL, blank, &rest);

	*question = (struct question){ .name = name };
	if (who != NULL && strcmp(who, "-") != 0)
		*(config_network_parse(&network, who) == 0 ? &question->client : &question->profile) = who;
	if (type != NULL && strcmp(type, "-") != 0)
		question->type = type;
	if (type != NULL && rest != NULL) {
		rest += strspn(rest, blank);
		rest[strcspn(rest, "\r\n")] = '\0';
		question->at = rest[0] != '\0' ? rest : NULL;
	}
	return name != NULL;
}

/* Stops at the first line that is no question, so that every line of output belongs to one of input. */
static int check_lines(struct check *check, const struct command_context *context)
{
	struct question question;
	char *line = NULL;
	size_t size = 0;
	int ret = COMMAND_OK;

	for (unsigned long number = 1; ret == COMMAND_OK && getline(&line, &size, stdin) >= 0; number++) {
		if (question_of_line(&question, line))
			ret = check_answer(check, &question, context);
		if (ret != COMMAND_OK)
			fprintf(stderr, "usher: that was line %lu of the standard input\n", number);
	}
	free(line);
	return ret;
}

static int check_arguments(struct command_context *context, struct question *question, bool *batch)
{
	const char *flag = NULL;
	const struct command_option options[] = {
		{ "client", true, &question->client },
		{ "profile", true, &question->profile },
		{ "type", true, &question->type },
		{ "at", true, &question->at },
		{ "batch", false, &flag },
	};

	if (command_options(context, COMMAND, options, sizeof options / sizeof options[0]) != 0)
		return COMMAND_USAGE;
	*batch = flag != NULL;
	if (*batch && (context->argc != 0 || question->client || question->profile || question->type ||
	                      question->at))
		return command_usage_error(COMMAND, "--batch reads names, clients, types and times from "
		                                    "the standard input, expected nothing else");
	if (!*batch && context->argc != 1)
		return command_usage_error(COMMAND, "expected one NAME");
	question->name = *batch ? NULL : context->argv[0];
	return 0;
}

int check_command(struct command_context *context)
{
	struct check check = { 0 };
	struct question question = { 0 };
	bool batch;
	int ret = check_arguments(context, &question, &batch);

	/* Mistakes of the question come before those of the configuration. */
	if (ret == 0 && !batch)
		ret = check_read(&check, &question);
	if (ret != 0)
		return ret;
	check.config = command_config(context);
	command_must_pass(check.config->state_dir);
	ret = check_open_clients(&check);
	if (ret == 0 && !batch && check_find_profile(&check) != 0) {
		check_close(&check);
		return COMMAND_USAGE;
	}
	if (ret == 0)
		ret = command_policy_open(&check.policy, check.config);
	if (ret != 0) {
		fprintf(stderr, "usher: %s\n", strerror(-ret));
		ret = COMMAND_FAILED;
	} else {
		ret = batch ? check_lines(&check, context) : check_answer(&check, &question, context);
	}
	check_close(&check);
	return ret;
}
