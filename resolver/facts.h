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

#define FACTS_RULES_MAX 6
#define FACTS_NONE UINT16_MAX

enum facts_flag {
	FACTS_PROTECTED = 1 << 0,    /* a protected help name, or below one */
	FACTS_INTERNAL = 1 << 1,     /* in an internal zone */
	FACTS_LOCAL = 1 << 2,        /* the owner of a local record */
	FACTS_LISTS_FAILED = 1 << 3, /* the list store could not be read: categories are unknown */
	FACTS_REBINDING_EXEMPT = 1 << 4,
	FACTS_LOCAL_BELOW = 1 << 5, /* an empty non-terminal: only names below it have local records */
	FACTS_OWN = 1 << 6,         /* where usherd tells about itself (why.h) */
};

/* The school's own rules of one name that matches: those of all profiles and clients, one behind the other.
 */
struct facts_rule {
	uint16_t rule; /* index of the first for facts_rule_get() */
	uint16_t count;
	uint8_t labels; /* of the rules' name: longer wins */
};

struct facts {
	struct lists_facts listed;
	uint8_t flags; /* enum facts_flag */
	uint8_t rule_count;
	uint16_t internal_zone; /* index of the longest zone, or FACTS_NONE */
	uint16_t canary;
	uint16_t engine;                          /* safe-search engine whose exact name this is */
	struct facts_rule rules[FACTS_RULES_MAX]; /* longest name first; further names are dropped */
};

/* A rule of tier 4 (DESIGN.md 2): from allow-names and block-names now, from rules/ when that is built. */
struct facts_own_rule {
	struct name name;
	bool exact;                   /* this name only */
	bool allow;                   /* else block */
	uint16_t profile;             /* index, or FACTS_NONE for all profiles */
	struct config_network client; /* length 0: every client */
	int64_t until;                /* 0: permanent; else seconds since 1970 */
	const char *reason, *author;  /* "" for rules of the configuration */
};

struct facts_table;

/* seed: of name_hash_suffixes(). The table keeps pointers into config, which must outlive it. NULL without
 * memory. */
struct facts_table *facts_table_new(const struct config *config, uint64_t seed);
void facts_table_free(struct facts_table *table);
uint64_t facts_table_seed(const struct facts_table *table);
const struct facts_own_rule *facts_rule_get(const struct facts_table *table, unsigned rule);

/* view may be NULL: then FACTS_LISTS_FAILED is set. */
void facts_gather(struct facts *facts, const struct facts_table *table, struct lists_view *view,
        const struct name *name);

/* Before facts_gather() of many names: brings the memory of each nearer. Changes nothing else. */
void facts_prefetch(const struct facts_table *table, const struct lists_view *view, const struct name *name);

#endif
