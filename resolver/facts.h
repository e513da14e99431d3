/*
 * Facts about a name: all that the configuration and the lists know of it, before anybody decides. Facts hold
 * indices into the snapshot they were gathered from and are worth nothing with another one: compare stamps.
 *
 * facts_table is the configuration's half (a namemap of protected names, zones, records, canaries, engines
 * and rules).
 */
#ifndef USHER_FACTS_H
#define USHER_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "blocklists/lists.h"
#include "blocklists/namemap.h"
#include "config.h"
#include "keywords.h"
#include "rules.h"

#define FACTS_NONE UINT16_MAX

enum facts_flag {
	FACTS_PROTECTED = 1 << 0,    /* a protected help name, or below one */
	FACTS_INTERNAL = 1 << 1,     /* in an internal zone */
	FACTS_LOCAL = 1 << 2,        /* the owner of a local record */
	FACTS_LISTS_FAILED = 1 << 3, /* the list store could not be read: categories are unknown */
	FACTS_REBINDING_EXEMPT = 1 << 4,
	FACTS_LOCAL_BELOW = 1 << 5,   /* an empty non-terminal: only names below it have local records */
	FACTS_TUNNEL_EXEMPT = 1 << 7, /* coded names are its business */
	FACTS_OWN = 1 << 6,           /* where usherd tells about itself (why.h) */
};

/*
 * The school's own rules of one name and kind (exact or not), those of all profiles and clients one behind
 * the other, and the next shorter name with rules that covers it: whoever follows parents from the longest
 * group that matches meets every rule that speaks of a name.
 */
struct facts_group {
	uint16_t rule; /* index of the first for facts_rule_get() */
	uint16_t count;
	uint16_t parent; /* group of the next shorter name, or FACTS_NONE */
};

struct facts {
	struct lists_facts listed;
	uint8_t flags;          /* enum facts_flag */
	uint16_t internal_zone; /* index of the longest zone, or FACTS_NONE */
	uint16_t canary;
	uint16_t engine; /* safe-search engine whose exact name this is */
	uint16_t rules;  /* the longest group of rules, for facts_group_get(), or FACTS_NONE */
	uint64_t signal_block,
	        signal_watch; /* categories that the letters of the name show: keywords, look-alikes */
};

/* A rule of tier 4 (DESIGN.md 2): from a profile's allow-names and block-names, or from the rules/ store. */
struct facts_own_rule {
	struct name name;
	bool exact;                      /* this name only */
	bool allow;                      /* else block */
	uint16_t profile;                /* index, or FACTS_NONE for all profiles */
	struct config_network client;    /* length 0: every client */
	int64_t until;                   /* 0: permanent; else seconds since 1970 */
	const struct rules_entry *entry; /* with its author and reason; NULL: of the configuration */
};

struct facts_table;

/*
 * rules: the school's store, or NULL; those of a profile that the configuration does not have are left out.
 * seed: of name_hash_suffixes(). The table keeps pointers into config and rules, which must outlive it. NULL
 * without memory.
 */
struct facts_table *facts_table_new(const struct config *config, const struct rules *rules, uint64_t seed);
void facts_table_free(struct facts_table *table);
/* Before the table is used: engines (bits) whose safe search does not work, engines.h. */
void facts_table_fail_engines(struct facts_table *table, uint64_t failed);
bool facts_engine_has_failed(const struct facts_table *table, unsigned engine);
uint64_t facts_table_seed(const struct facts_table *table);
const struct facts_own_rule *facts_rule_get(const struct facts_table *table, unsigned rule);
const struct facts_group *facts_group_get(const struct facts_table *table, unsigned group);

/*
 * What in the letters of the name shows this category (signal_block, signal_watch), as source and rule for
 * the log, parted by a space: "keyword *porn*", "look-alike paypal.com". view may be NULL. Returns text; ""
 * if nothing does.
 */
#define FACTS_SIGNAL_MAX 300
const char *facts_explain_signal(const struct facts_table *table, struct lists_view *view,
        const struct name *name, unsigned category, bool watch, char text[FACTS_SIGNAL_MAX]);

/* Facts of what has no name but is in these categories. */
struct facts facts_of_categories(uint64_t categories);

/* view may be NULL: then FACTS_LISTS_FAILED is set. */
void facts_gather(struct facts *facts, const struct facts_table *table, struct lists_view *view,
        const struct name *name);

/* The same, where name_hash_suffixes() with the table's seed is known already. */
void facts_gather_hashed(struct facts *facts, const struct facts_table *table, struct lists_view *view,
        const struct name *name, const uint64_t *hash);

#endif
