/*
 * Each tier is one function: it looks at its own part of the facts, says what it saw, and returns true if it
 * ended the search. policy_decide() is their order, and the only place where it is written in code.
 *
 * What the order of DESIGN.md 2 leaves open is settled so:
 *  - inside tier 2 a local record goes before the internal zone it lies in, and both before a protected name,
 * so that a protected name that is internal is still kept from a profile that may not see internal names;
 *  - where two periods disagree about a category, it is blocked;
 *  - without lists a timed grant can't be told from one that lifts a danger category, so it does not apply;
 * permanent rules do.
 */
#include "policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "address.h"

static const char *const tier_texts[TIER_COUNT] = {
	[TIER_OWN] = "filter's own name",
	[TIER_SEALED] = "sealed category",
	[TIER_PROTECTED] = "protected name",
	[TIER_INTERNAL] = "internal zone",
	[TIER_LOCAL_RECORD] = "local record",
	[TIER_CANARY] = "bypass signal",
	[TIER_RULE] = "own rule",
	[TIER_CATEGORY] = "category",
	[TIER_KEYWORD] = "keyword",
	[TIER_LIST_FAILURE] = "list failure",
	[TIER_DEFAULT] = "default",
	[TIER_SAFE_SEARCH] = "safe search",
};

/* One question to the policy on its way through the tiers. */
struct decision {
	const struct config *config;
	const struct config_profile *profile;
	const struct facts_table *table;
	const struct policy_asker *asker;
	const struct facts *facts;
	const struct moment *now;
	struct policy_steps *steps; /* NULL: nobody reads them */
	uint64_t blocked;           /* categories, for this profile at this moment */
	uint64_t watched;           /* … that resolve and are logged */
	struct verdict verdict;
};

const char *policy_action_text(enum verdict_action action)
{
	static const char *const texts[] = { [VERDICT_RESOLVE] = "resolve",
		[VERDICT_BLOCK] = "block",
		[VERDICT_REWRITE] = "rewrite",
		[VERDICT_LOCAL] = "local",
		[VERDICT_REFUSE] = "refuse",
		[VERDICT_FAIL] = "block" };

	return texts[action];
}

const char *policy_tier_text(enum verdict_tier tier)
{
	return tier_texts[tier];
}

uint64_t policy_blocked_categories(const struct config *config, unsigned profile, const struct moment *now)
{
	const struct config_profile *p = &config->profiles[profile];
	uint64_t block = 0, unblock = 0;

	for (size_t i = 0; i < p->period_count; i++) {
		if (!timetable_is_in(config, &config->periods[p->periods[i].period], now))
			continue;
		block |= p->periods[i].block;
		unblock |= p->periods[i].unblock;
	}
	return (p->block & ~unblock) | block | config->sealed;
}

uint32_t policy_next_change(
        const struct config *config, unsigned profile, const struct moment *now, uint32_t horizon_s)
{
	uint64_t blocked = policy_blocked_categories(config, profile, now);
	struct moment then = *now;

	for (;;) {
		int64_t next = timetable_next(config, &config->profiles[profile], &then);
		if (next > now->utc_s + horizon_s)
			return UINT32_MAX;
		then = moment_at(next);
		if (policy_blocked_categories(config, profile, &then) != blocked)
			return (uint32_t)(next - now->utc_s);
	}
}

static struct decision decision_start(const struct config *config, const struct facts_table *table,
        const struct policy_asker *asker, const struct facts *facts, const struct moment *now,
        struct policy_steps *steps)
{
	if (steps != NULL)
		steps->count = 0;
	uint64_t blocked = policy_blocked_categories(config, asker->profile, now);
	return (struct decision){ .config = config,
		.profile = &config->profiles[asker->profile],
		.table = table,
		.asker = asker,
		.facts = facts,
		.now = now,
		.steps = steps,
		.blocked = blocked,
		.watched = config->profiles[asker->profile].watch & ~blocked,
		.verdict = { .category = -1, .rule = FACTS_NONE, .engine = FACTS_NONE } };
}

/* ---- words, only where somebody reads them
 * --------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static void say_step(
        const struct decision *d, enum verdict_tier tier, bool decided, const char *format, ...)
{
	va_list args;

	if (d->steps->count == TIER_COUNT)
		return;
	struct policy_step *step = &d->steps->step[d->steps->count++];
	step->tier = tier;
	step->decided = decided;
	va_start(args, format);
	vsnprintf(step->text, sizeof step->text, format, args);
	va_end(args);
}

/* A macro, so that the daemon does not even work out what would be said. */
#define say(d, ...)                                                                                          \
	do {                                                                                                 \
		if ((d)->steps != NULL)                                                                      \
			say_step(d, __VA_ARGS__);                                                            \
	} while (0)

/* "gambling, adult" */
static const char *category_list(const struct config *config, uint64_t bits, char text[static 120])
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < config->category_count && len < 120; i++)
		if (bits >> i & 1)
			len += (size_t)snprintf(text + len, 120 - len, "%s%s", len > 0 ? ", " : "",
			        config->categories[i].name);
	return text;
}

/* " in period lunch" if a period that is active now says something about these categories, else "". */
static const char *period_text(const struct decision *d, uint64_t bits, char text[static 64])
{
	text[0] = '\0';
	for (size_t i = 0; i < d->profile->period_count; i++) {
		const struct config_profile_period *change = &d->profile->periods[i];
		const struct config_period *period = &d->config->periods[change->period];
		if (((change->block | change->unblock) & bits) != 0 &&
		        timetable_is_in(d->config, period, d->now))
			snprintf(text, 64, " in period %s", period->name);
	}
	return text;
}

static const char *rule_scope(const struct decision *d, const struct facts_own_rule *rule)
{
	if (rule->client.length > 0)
		return "this client";
	return rule->profile != FACTS_NONE ? d->config->profiles[rule->profile].name : "all profiles";
}

/* ---- the tiers
 * ------------------------------------------------------------------------------------------------------- */

/* The most severe category of a set, the first written among equals; -1 for none. */
static int16_t worst_category(const struct config *config, uint64_t bits)
{
	int16_t worst = -1;

	for (; bits != 0; bits &= bits - 1) {
		int16_t i = (int16_t)__builtin_ctzll(bits);
		if (worst < 0 || config->categories[i].severity > config->categories[worst].severity)
			worst = i;
	}
	return worst;
}

static bool decide(struct decision *d, enum verdict_action action, enum verdict_tier tier)
{
	d->verdict.action = action;
	d->verdict.tier = tier;
	return true;
}

/* No list, rule or zone can take away the place where they are explained. */
static bool decide_own(struct decision *d)
{
	if ((d->facts->flags & FACTS_OWN) == 0)
		return false;
	say(d, TIER_OWN, true, "answered by the filter about itself");
	return decide(d, VERDICT_LOCAL, TIER_OWN);
}

static bool decide_sealed(struct decision *d)
{
	uint64_t sealed = d->facts->listed.categories & d->config->sealed;

	if (sealed == 0) {
		say(d, TIER_SEALED, false,
		        d->facts->flags & FACTS_LISTS_FAILED ? "unknown: the lists can't be read"
		                                             : "in none");
		return false;
	}
	d->verdict.category = worst_category(d->config, sealed);
	say(d, TIER_SEALED, true, "%s: blocked for everybody, always",
	        d->config->categories[d->verdict.category].name);
	return decide(d, VERDICT_BLOCK, TIER_SEALED);
}

/* Local records and internal zones: answered, or hidden from a profile that may not see them (TIER_INTERNAL
 * both). */
static bool decide_internal(struct decision *d)
{
	bool local = d->facts->flags & FACTS_LOCAL;

	if ((d->facts->flags & (FACTS_LOCAL | FACTS_INTERNAL)) == 0) {
		say(d, TIER_INTERNAL, false, "no local record, in no internal zone");
		return false;
	}
	if (!d->profile->internal) {
		say(d, TIER_INTERNAL, true, "%s, hidden from %s",
		        local ? "a local record" : "in an internal zone", d->profile->name);
		return decide(d, VERDICT_LOCAL, TIER_INTERNAL);
	}
	if (local) {
		say(d, TIER_LOCAL_RECORD, true, "answered from local-records");
		return decide(d, VERDICT_LOCAL, TIER_LOCAL_RECORD);
	}
	say(d, TIER_INTERNAL, true, "asked of the school's own servers");
	return decide(d, VERDICT_RESOLVE, TIER_INTERNAL);
}

static bool decide_protected(struct decision *d)
{
	if ((d->facts->flags & FACTS_PROTECTED) == 0) {
		say(d, TIER_PROTECTED, false, "not one");
		return false;
	}
	say(d, TIER_PROTECTED, true, "in protected-names: always resolves");
	return decide(d, VERDICT_RESOLVE, TIER_PROTECTED);
}

static bool decide_canary(struct decision *d)
{
	if (d->facts->canary == FACTS_NONE) {
		say(d, TIER_CANARY, false, "not one");
		return false;
	}
	say(d, TIER_CANARY, true, "fixed answer: %s",
	        d->config->canaries[d->facts->canary].answer == CANARY_NXDOMAIN ? "no such name" : "no data");
	return decide(d, VERDICT_LOCAL, TIER_CANARY);
}

/* Whether a rule is for this asker, and has not ended. */
static bool rule_concerns(const struct decision *d, const struct facts_own_rule *rule)
{
	if (rule->profile != FACTS_NONE && rule->profile != d->asker->profile)
		return false;
	if (rule->client.length > 0 &&
	        (d->asker->address == NULL || !address_is_in(d->asker->address, &rule->client)))
		return false;
	return rule->until == 0 || rule->until > d->now->utc_s;
}

/* An allow for a time lifts no danger, and is not for guests. */
static bool rule_applies(const struct decision *d, const struct facts_own_rule *rule)
{
	if (rule->until == 0 || !rule->allow)
		return true;
	uint64_t shown = d->facts->listed.categories | d->facts->signal_block;
	return d->profile->internal && (d->facts->flags & FACTS_LISTS_FAILED) == 0 &&
	       (shown & d->blocked & d->config->danger) == 0;
}

/*
 * What wins, in one number: longest name, at one name that for it alone; client (the smallest network),
 * profile, all; timed over permanent; block over allow. 0 is never a rank.
 */
static unsigned rule_rank(const struct facts_own_rule *rule)
{
	unsigned name = (rule->name.labels + 1u) << 1 | (unsigned)rule->exact;
	unsigned scope = rule->client.length > 0       ? 1u + rule->client.length
	                 : rule->profile != FACTS_NONE ? 1
	                                               : 0;

	return name << 10 | scope << 2 | (unsigned)(rule->until != 0) << 1 | (unsigned)!rule->allow;
}

static bool decide_rule(struct decision *d)
{
	char text[NAME_TEXT_MAX];
	unsigned best = 0;

	for (unsigned at = d->facts->rules; at != FACTS_NONE;) {
		const struct facts_group *group = facts_group_get(d->table, at);
		at = group->parent;
		for (unsigned k = group->rule; k < group->rule + group->count; k++) {
			const struct facts_own_rule *rule = facts_rule_get(d->table, k);
			if (!rule_concerns(d, rule))
				continue;
			if (rule->until != 0 && (d->verdict.until == 0 || rule->until < d->verdict.until))
				d->verdict.until = rule->until;
			if (!rule_applies(d, rule) || rule_rank(rule) <= best)
				continue;
			best = rule_rank(rule);
			d->verdict.rule = (uint16_t)k;
		}
	}
	if (best == 0) {
		say(d, TIER_RULE, false, "none applies");
		return false;
	}
	const struct facts_own_rule *rule = facts_rule_get(d->table, d->verdict.rule);
	if (d->steps != NULL) {
		name_to_text(&rule->name, text);
		say(d, TIER_RULE, true, "%s %s for %s%s", rule->allow ? "allow" : "block", text,
		        rule_scope(d, rule), rule->until != 0 ? ", for a time" : "");
	}
	return decide(d, rule->allow ? VERDICT_RESOLVE : VERDICT_BLOCK, TIER_RULE);
}

static bool decide_list_failure(struct decision *d)
{
	if ((d->facts->flags & FACTS_LISTS_FAILED) == 0)
		return false;
	if (d->profile->open_on_list_failure) {
		say(d, TIER_LIST_FAILURE, false,
		        "categories unknown, %s goes on without (on-list-failure: open)", d->profile->name);
		return false;
	}
	say(d, TIER_LIST_FAILURE, true, "categories unknown, %s gets no answer (on-list-failure: closed)",
	        d->profile->name);
	return decide(d, VERDICT_FAIL, TIER_LIST_FAILURE);
}

/* It resolves, if nothing else decides, and is logged. What speaks first speaks for the log. */
static void watch(struct decision *d, enum verdict_tier tier, uint64_t categories)
{
	if (categories == 0 || d->verdict.watched)
		return;
	d->verdict.watched = true;
	d->verdict.watch_tier = tier;
	d->verdict.watch_category = worst_category(d->config, categories);
}

static bool decide_category(struct decision *d)
{
	uint64_t listed = d->facts->listed.categories;
	char names[120], period[64];

	if (listed == 0) {
		say(d, TIER_CATEGORY, false, d->facts->flags & FACTS_LISTS_FAILED ? "unknown" : "on no list");
		return false;
	}
	if ((listed & d->blocked) == 0) {
		watch(d, TIER_CATEGORY, listed & d->watched);
		if (d->steps != NULL)
			say(d, TIER_CATEGORY, false, "%s: not blocked for %s%s%s",
			        category_list(d->config, listed, names), d->profile->name,
			        period_text(d, listed, period), d->verdict.watched ? ", but watched" : "");
		return false;
	}
	d->verdict.category = worst_category(d->config, listed & d->blocked);
	if (d->steps != NULL)
		say(d, TIER_CATEGORY, true, "%s: blocked for %s%s",
		        category_list(d->config, listed & d->blocked, names), d->profile->name,
		        period_text(d, listed & d->blocked, period));
	return decide(d, VERDICT_BLOCK, TIER_CATEGORY);
}

/* Keywords and look-alikes count for the profiles that block their category, or watch it. */
static bool decide_signal(struct decision *d)
{
	uint64_t block = d->facts->signal_block, all = block | d->facts->signal_watch;
	char names[120];

	if (all == 0) {
		say(d, TIER_KEYWORD, false, "none in the name");
		return false;
	}
	if ((block & d->blocked) != 0) {
		d->verdict.category = worst_category(d->config, block & d->blocked);
		if (d->steps != NULL)
			say(d, TIER_KEYWORD, true, "%s: blocked for %s",
			        category_list(d->config, block & d->blocked, names), d->profile->name);
		return decide(d, VERDICT_BLOCK, TIER_KEYWORD);
	}
	uint64_t seen = (d->facts->signal_watch & d->blocked) | (all & d->watched);
	watch(d, TIER_KEYWORD, seen);
	if (d->steps != NULL)
		say(d, TIER_KEYWORD, false, "%s: %s for %s",
		        category_list(d->config, seen != 0 ? seen : all, names),
		        seen != 0 ? "watched" : "neither blocked nor watched", d->profile->name);
	return false;
}

static bool decide_default(struct decision *d)
{
	if (d->profile->default_block) {
		say(d, TIER_DEFAULT, true, "%s blocks what no rule allows (default: block)",
		        d->profile->name);
		return decide(d, VERDICT_BLOCK, TIER_DEFAULT);
	}
	say(d, TIER_DEFAULT, true, "nothing speaks against it");
	return decide(d, VERDICT_RESOLVE, TIER_DEFAULT);
}

/* Safe search for every engine but those with levels (YouTube), which follow the profile's youtube alone, so
 * that either may be off without the other. */
static bool engine_is_rewritten(const struct decision *d, const struct config_engine *engine)
{
	return engine->has_levels ? d->profile->youtube != YOUTUBE_OFF : d->profile->safe_search;
}

/* What passed is sent to the engine's safe target. Only the profile can turn that off. */
static void apply_safe_search(struct decision *d)
{
	char text[NAME_TEXT_MAX];

	if (d->facts->engine == FACTS_NONE)
		return;
	const struct config_engine *engine = &d->config->engines[d->facts->engine];
	if (!engine_is_rewritten(d, engine)) {
		say(d, TIER_SAFE_SEARCH, false, "%s, but off for %s", engine->name, d->profile->name);
		return;
	}
	if (facts_engine_has_failed(d->table, d->facts->engine)) {
		say(d, TIER_SAFE_SEARCH, true, "%s: its safe name failed the last selftest", engine->name);
		decide(d, VERDICT_BLOCK, TIER_SAFE_SEARCH);
		return;
	}
	d->verdict.engine = d->facts->engine;
	d->verdict.moderate = engine->has_levels && d->profile->youtube == YOUTUBE_MODERATE;
	const struct name *target = d->verdict.moderate ? &engine->target_moderate : &engine->target;
	if (d->steps != NULL) {
		d->steps->step[d->steps->count - 1].decided =
		        false; /* what let it pass was not the last word */
		if (target->len > 0)
			name_to_text(target, text);
		say(d, TIER_SAFE_SEARCH, true, "%s: answered as %s", engine->name,
		        target->len > 0 ? text : "its safe addresses");
	}
	decide(d, VERDICT_REWRITE, TIER_SAFE_SEARCH);
}

struct verdict policy_decide(const struct config *config, const struct facts_table *table,
        const struct policy_asker *asker, const struct facts *facts, const struct moment *now,
        struct policy_steps *steps)
{
	struct decision d = decision_start(config, table, asker, facts, now, steps);

	if (decide_own(&d) || decide_sealed(&d) || decide_internal(&d) || decide_protected(&d) ||
	        decide_canary(&d))
		return d.verdict;
	(void)(decide_rule(&d) || decide_list_failure(&d) || decide_category(&d) || decide_signal(&d) ||
	        decide_default(&d));
	if (d.verdict.action == VERDICT_BLOCK)
		d.verdict.watched = false;
	if (d.verdict.action == VERDICT_RESOLVE)
		apply_safe_search(&d);
	return d.verdict;
}

/* Whether the asked name has its verdict by an allow for a time. */
static bool is_granted(const struct decision *d, const struct verdict *asked)
{
	return asked->rule != FACTS_NONE && facts_rule_get(d->table, asked->rule)->until != 0;
}

/* Whether the verdict on the asked name speaks for the rest of its chain. What an allow for a time does not
 * lift at the name, it does not lift behind it. */
static bool covers_chain(const struct decision *d, const struct verdict *asked)
{
	switch (asked->tier) {
	case TIER_RULE:
		return !is_granted(d, asked) ||
		       ((d->facts->flags & FACTS_LISTS_FAILED) == 0 &&
		               (d->facts->listed.categories & d->blocked & d->config->danger) == 0);
	case TIER_PROTECTED:
	case TIER_INTERNAL:
	case TIER_LOCAL_RECORD:
	case TIER_SAFE_SEARCH:
		return true;
	default:
		return false;
	}
}

/*
 * An alias of a canary or of a search engine brings the records that the name itself does not get, and every
 * cache between here and the client would keep them under that name.
 */
static bool decide_hop_around(struct decision *d)
{
	const struct facts *hop = d->facts;
	bool engine = hop->engine != FACTS_NONE && engine_is_rewritten(d, &d->config->engines[hop->engine]);

	if (hop->canary == FACTS_NONE && !engine)
		return false;
	d->verdict.category = (int16_t)config_category(d->config, "bypass");
	d->verdict.because = engine ? "safe-search" : "canaries";
	return decide(d, VERDICT_BLOCK, engine ? TIER_SAFE_SEARCH : TIER_CANARY);
}

struct verdict policy_decide_hop(const struct config *config, const struct facts_table *table,
        const struct policy_asker *asker, const struct verdict *asked, const struct facts *hop,
        const struct moment *now)
{
	struct decision d = decision_start(config, table, asker, hop, now, NULL);

	if (decide_sealed(&d))
		return d.verdict;
	if ((hop->flags & FACTS_INTERNAL) && !d.profile->internal) {
		decide(&d, VERDICT_BLOCK, TIER_INTERNAL);
		return d.verdict;
	}
	if (covers_chain(&d, asked)) {
		decide(&d, VERDICT_RESOLVE, asked->tier);
		return d.verdict;
	}
	if (hop->flags & (FACTS_PROTECTED | FACTS_INTERNAL | FACTS_LOCAL)) {
		decide(&d, VERDICT_RESOLVE, hop->flags & FACTS_PROTECTED ? TIER_PROTECTED : TIER_INTERNAL);
		return d.verdict;
	}
	if (decide_hop_around(&d) || decide_rule(&d) || decide_category(&d))
		return d.verdict;
	/* An unknown hop is blocked where an unknown name would fail: the answer must not carry it. */
	if (decide_list_failure(&d))
		d.verdict.action = VERDICT_BLOCK;
	else
		decide(&d, VERDICT_RESOLVE, TIER_DEFAULT);
	return d.verdict;
}
