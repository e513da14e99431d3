/*
 * The verdict: pure arithmetic from profile, facts and time, in the precedence of DESIGN.md 2. No I/O, no
 * clock, no globals: the daemon and `usher check` call the same function with the same facts.
 */
#ifndef USHER_POLICY_H
#define USHER_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "config.h"
#include "facts.h"
#include "timetable.h"

enum verdict_action {
	VERDICT_RESOLVE,
	VERDICT_BLOCK,
	VERDICT_REWRITE, /* to a safe-search target */
	VERDICT_LOCAL,   /* TIER_OWN, TIER_LOCAL_RECORD, TIER_CANARY, or TIER_INTERNAL: hidden, NXDOMAIN with
	                    EDE 18 */
	VERDICT_REFUSE,  /* an unlisted network; decided by clients, never here */
	VERDICT_FAIL,    /* lists unreadable and the profile fails closed: SERVFAIL + EDE 14 */
};

/* Which of the published tiers decided. */
enum verdict_tier {
	TIER_OWN,       /* before all: the tree in which usherd tells about itself (why.h) */
	TIER_SEALED,    /* 1 */
	TIER_PROTECTED, /* 2 */
	TIER_INTERNAL,
	TIER_LOCAL_RECORD,
	TIER_CANARY,   /* 3 */
	TIER_RULE,     /* 4 */
	TIER_CATEGORY, /* 5 */
	TIER_KEYWORD,
	TIER_LIST_FAILURE, /* the categories of tier 5 are unknown */
	TIER_DEFAULT,      /* 6: resolve, or block in a walled garden */
	TIER_SAFE_SEARCH,  /* what passed is rewritten */
	TIER_COUNT
};

struct verdict {
	enum verdict_action action;
	enum verdict_tier tier;
	int16_t category; /* the most severe one that blocks, or -1 */
	uint16_t rule;    /* facts_rule_get(), or FACTS_NONE */
	uint16_t engine;  /* VERDICT_REWRITE, or FACTS_NONE */
	bool watched; /* resolves, and is logged: for watch_category, by watch_tier (category or keyword) */
	int16_t watch_category;
	enum verdict_tier watch_tier;
	const char *because; /* source and rule for the log, parted by a space, where neither list nor rule is
	                        behind it; NULL */
	int64_t until;       /* a rule for a time about this name ends then, in seconds since 1970; 0: none */
	bool moderate;       /* VERDICT_REWRITE: the moderate target of an engine with levels */
};

/* Who asks: a profile, and the client's address for rules that name one (NULL: none). */
struct policy_asker {
	unsigned profile;
	const uint8_t *address; /* 16 octets, IPv4 mapped */
};

/* The categories that profile blocks at that moment, sealed ones included. */
uint64_t policy_blocked_categories(const struct config *config, unsigned profile, const struct moment *now);

/*
 * Seconds until that profile's timetable next blocks other categories than now, or UINT32_MAX if it does not
 * within horizon_s. Rules end by verdict.until.
 */
uint32_t policy_next_change(
        const struct config *config, unsigned profile, const struct moment *now, uint32_t horizon_s);

/* What to call it in `usher check` and to who asks over DNS: "resolve". Without lists it is "block": to the
 * client it is no answer either, and the tier tells the two apart. */
const char *policy_action_text(enum verdict_action action);

/* What to call a tier there: "sealed category". */
const char *policy_tier_text(enum verdict_tier tier);

/* One step on the way to a verdict, for `usher check`. decided: this one ended it. */
struct policy_step {
	enum verdict_tier tier;
	bool decided;
	char text[160];
};
struct policy_steps {
	unsigned count;
	struct policy_step step[TIER_COUNT];
};

/* steps may be NULL: the daemon does not pay for words. */
struct verdict policy_decide(const struct config *config, const struct facts_table *table,
        const struct policy_asker *asker, const struct facts *facts, const struct moment *now,
        struct policy_steps *steps);

/*
 * The verdict on a hop of an answer (CNAME, DNAME, HTTPS/SVCB target), given that on the asked name: sealed
 * always blocks; an asked name that is protected, internal, local or allowed by a rule, and a safe-search
 * target, covers the rest of its chain (an allow for a time: less danger); an internal hop under a public
 * name is blocked for a profile without `internal`; so is a canary, and an engine that the profile gets
 * rewritten. Returns VERDICT_RESOLVE or VERDICT_BLOCK (TIER_LIST_FAILURE where the lists can't be read and
 * the profile fails closed).
 */
struct verdict policy_decide_hop(const struct config *config, const struct facts_table *table,
        const struct policy_asker *asker, const struct verdict *asked, const struct facts *hop,
        const struct moment *now);

#endif
