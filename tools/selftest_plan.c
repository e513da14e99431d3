#include "selftest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "resolver/clients.h"
#include "resolver/facts.h"
#include "resolver/policy.h"

#define SAMPLES 2         /* names a category */
#define PROTECTED_ASKED 5 /* of the help lines */
#define HOSTS_TRIED 64

/* What is needed to know beforehand what a profile should get. */
struct plan {
	struct selftest *selftest;
	const struct config *config;
	struct command_policy policy;
	struct clients *clients;
	struct moment now;
	struct name samples[CONFIG_CATEGORIES_MAX][SAMPLES];
	unsigned sample_count[CONFIG_CATEGORIES_MAX];
	unsigned profile;
	uint8_t client[16];
};

static void note(struct selftest *selftest, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(struct selftest *selftest, const char *format, ...)
{
	va_list args;

	selftest->notes = command_grown(selftest->notes, selftest->note_count + 1, sizeof *selftest->notes);
	va_start(args, format);
	vsnprintf(selftest->notes[selftest->note_count++], sizeof *selftest->notes, format, args);
	va_end(args);
}

static void case_add(
        struct plan *plan, enum selftest_want want, const struct name *name, const char *subject, int engine)
{
	struct selftest *selftest = plan->selftest;

	selftest->cases = command_grown(selftest->cases, selftest->count + 1, sizeof *selftest->cases);
	struct selftest_case *test = &selftest->cases[selftest->count++];
	*test = (struct selftest_case){ .want = want,
		.profile = want == WANT_SAFE ? NULL : plan->config->profiles[plan->profile].name,
		.subject = subject,
		.engine = engine };
	memcpy(test->client, plan->client, sizeof test->client);
	name_to_text(name, test->name);
}

/* ---- what a name should get ---- */

static struct verdict verdict_of(struct plan *plan, const struct name *name)
{
	const struct policy_asker asker = { plan->profile, plan->client };
	struct facts facts;

	facts_gather(&facts, plan->policy.table, plan->policy.view, name);
	return policy_decide(plan->config, plan->policy.table, &asker, &facts, &plan->now, NULL);
}

/* ---- names of the lists ---- */

/* A few of each category. Names in several are as good as any. */
static void samples_take(struct plan *plan)
{
	struct lists_walk *walk = plan->policy.view ? lists_walk_open(plan->policy.view) : NULL;
	struct lists_listed listed;
	size_t full = 0;

	while (walk && full < plan->config->category_count && lists_walk_next(walk, &listed) == 1) {
		uint64_t categories = listed.excepts ? 0 : listed.at;
		for (; categories != 0; categories &= categories - 1) {
			unsigned category = (unsigned)__builtin_ctzll(categories);
			if (plan->sample_count[category] == SAMPLES)
				continue;
			plan->samples[category][plan->sample_count[category]++] = listed.name;
			full += plan->sample_count[category] == SAMPLES;
		}
	}
	lists_walk_close(walk);
}

/* An empty category is no green tick. */
static void note_empty(struct plan *plan, uint64_t blocked)
{
	char empty[1024] = "";
	size_t len = 0;

	for (; blocked != 0; blocked &= blocked - 1) {
		unsigned category = (unsigned)__builtin_ctzll(blocked);
		if (plan->sample_count[category] == 0 && len < sizeof empty)
			len += (size_t)snprintf(empty + len, sizeof empty - len, "%s%s", len > 0 ? ", " : "",
			        plan->config->categories[category].name);
	}
	if (len > 0)
		note(plan->selftest, "%s: nothing is blocked as %s: no list has a name of it",
		        plan->config->profiles[plan->profile].name, empty);
}

/* A name that one of the school's own rules, or a help line, lets through is no case. */
static void plan_category(struct plan *plan, unsigned category)
{
	const struct config_category *what = &plan->config->categories[category];

	for (unsigned i = 0; i < plan->sample_count[category]; i++)
		if (verdict_of(plan, &plan->samples[category][i]).action == VERDICT_BLOCK)
			case_add(plan, WANT_BLOCK, &plan->samples[category][i], what->name, -1);
}

/* ---- the other names ---- */

static void plan_given(struct plan *plan, const struct name *names, size_t count, enum selftest_want want,
        const char *subject)
{
	for (size_t i = 0; i < count; i++)
		case_add(plan, want, &names[i], subject, -1);
}

static void plan_engines(struct plan *plan)
{
	const struct config *config = plan->config;

	for (size_t i = 0; i < config->engine_count; i++) {
		if (config->engines[i].name_count == 0)
			continue;
		struct verdict verdict = verdict_of(plan, &config->engines[i].names[0]);
		if (verdict.tier != TIER_SAFE_SEARCH)
			continue;
		case_add(plan, verdict.action == VERDICT_REWRITE ? WANT_REWRITE : WANT_BLOCK,
		        &config->engines[i].names[0], config->engines[i].name, (int)i);
	}
}

static void plan_internal(struct plan *plan)
{
	const struct config *config = plan->config;

	for (size_t i = 0; i < config->internal_zone_count; i++) {
		struct verdict verdict = verdict_of(plan, &config->internal_zones[i].zone);
		if (verdict.tier == TIER_INTERNAL && verdict.action == VERDICT_LOCAL)
			case_add(plan, WANT_HIDDEN, &config->internal_zones[i].zone, "internal zone", -1);
	}
}

static void plan_profile(struct plan *plan)
{
	const struct config *config = plan->config;
	uint64_t blocked = policy_blocked_categories(config, plan->profile, &plan->now);

	note_empty(plan, blocked);
	for (; blocked != 0; blocked &= blocked - 1)
		plan_category(plan, (unsigned)__builtin_ctzll(blocked));
	for (size_t i = 0; i < config->canary_count; i++)
		if (verdict_of(plan, &config->canaries[i].name).tier == TIER_CANARY)
			case_add(plan, WANT_NOTHING, &config->canaries[i].name, "bypass signal", -1);
	plan_engines(plan);
	plan_internal(plan);
	plan_given(plan, config->protected_names,
	        config->protected_count < PROTECTED_ASKED ? config->protected_count : PROTECTED_ASKED,
	        WANT_OPEN, "help line");
	plan_given(plan, config->selftest.must_block, config->selftest.must_block_count, WANT_BLOCK,
	        "must-block");
	plan_given(
	        plan, config->selftest.must_pass, config->selftest.must_pass_count, WANT_PASS, "must-pass");
}

/* An engine's safe name concerns everybody: asked once, by whoever can be asked as. */
static void plan_safe_names(struct plan *plan)
{
	for (size_t i = 0; i < plan->config->engine_count; i++) {
		const struct config_engine *engine = &plan->config->engines[i];
		if (engine->name_count > 0 && engine->target.len > 0)
			case_add(plan, WANT_SAFE, &engine->target, engine->name, (int)i);
	}
}

/* ---- who asks ---- */

static bool client_try(struct plan *plan, const struct config_network *network)
{
	uint8_t address[16];

	memcpy(address, network->address, sizeof address);
	for (unsigned i = 0; i < HOSTS_TRIED; i++) {
		if (clients_find(plan->clients, address) == (int)plan->profile) {
			memcpy(plan->client, address, sizeof address);
			return true;
		}
		for (int at = 15; at >= 0 && ++address[at] == 0; at--)
			;
	}
	return false;
}

/* An address that has the profile. */
static bool client_find(struct plan *plan)
{
	const struct config_profile *profile = &plan->config->profiles[plan->profile];

	for (size_t i = 0; i < profile->network_count; i++)
		if (client_try(plan, &profile->networks[i]))
			return true;
	for (size_t i = 0; plan->profile == plan->config->default_profile && i < plan->config->serve_count;
	        i++)
		if (client_try(plan, &plan->config->serve[i]))
			return true;
	return false;
}

/* ---- the plan ---- */

static int plan_open(struct plan *plan)
{
	int ret = command_policy_open(&plan->policy, plan->config);

	if (ret < 0)
		return ret;
	plan->clients = clients_new(plan->config);
	return plan->clients != NULL ? 0 : -ENOMEM;
}

static void plan_close(struct plan *plan)
{
	clients_free(plan->clients);
	command_policy_close(&plan->policy);
}

int selftest_plan(struct selftest *selftest, const struct config *config)
{
	struct plan plan = { .selftest = selftest, .config = config };
	bool anybody = false;

	*selftest = (struct selftest){ .config = config, .time_s = time(NULL) };
	plan.now = moment_at(selftest->time_s);
	int ret = plan_open(&plan);
	if (ret < 0)
		command_say(strerror(-ret));
	if (ret == 0)
		samples_take(&plan);
	for (plan.profile = 0; ret == 0 && plan.profile < config->profile_count; plan.profile++) {
		if (!client_find(&plan)) {
			note(selftest,
			        "%s: no address has this profile by its network alone, so it was not tested",
			        config->profiles[plan.profile].name);
			continue;
		}
		plan_profile(&plan);
		anybody = true;
	}
	if (anybody)
		plan_safe_names(&plan);
	plan_close(&plan);
	return ret;
}

void selftest_clear(struct selftest *selftest)
{
	free(selftest->cases);
	free(selftest->notes);
}
