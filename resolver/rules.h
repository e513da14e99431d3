/*
 * The school's own rules (`usher allow`, `usher block`): a few thousand entries with author, reason and
 * expiry. A struct rules is one revision of them, immutable and counted; a change makes the next one.
 *
 * They are kept in one small file that is written whole, synced and renamed, not in LMDB: a reader without
 * rights to write (`usher check`) needs no lock file, a hash finds every flipped bit and cut end before an
 * entry is believed, and the file can be read by a person. The revision before stays beside it. usherd is the
 * only writer.
 */
#ifndef USHER_RULES_H
#define USHER_RULES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "blocklists/name.h"
#include "config.h"

#define RULES_MAX 10000
#define RULES_REASON_MAX 500 /* octets */
#define RULES_WHY_MAX 512

struct rules_entry {
	struct name name;
	bool exact;                   /* this name only */
	bool allow;                   /* else block */
	const char *profile;          /* by name, which a configuration may lack; NULL: all */
	struct config_network client; /* length 0: every client */
	int64_t until;                /* 0: permanent; else seconds since 1970 */
	int64_t added;                /* seconds since 1970 */
	uid_t uid;                    /* of the author */
	const char *author, *reason;
};

struct rules;

/* No rules, revision 0. NULL without memory. */
struct rules *rules_new(void);
/* NULL is fine for both; thread safe. */
struct rules *rules_ref(struct rules *rules);
void rules_free(struct rules *rules);

uint64_t rules_revision(const struct rules *rules);
size_t rules_count(const struct rules *rules); /* 0 for NULL */
const struct rules_entry *rules_get(const struct rules *rules, size_t index);
/* What was last written to the ledger, or should have been: {"what": "rule.add", "uid": 0, "detail": {…}};
 * NULL for revision 0. */
const char *rules_change(const struct rules *rules);

/* Whether two entries have the same name, kind, profile and client, and both or none end at a time: the later
 * one takes the place of the earlier. */
bool rules_same_place(const struct rules_entry *a, const struct rules_entry *b);

/*
 * The next revision: without those for which drop() says so and without what ended before now, then with
 * added (NULL: nothing; copied). change: as rules_change(). NULL without memory.
 */
struct rules *rules_next(const struct rules *rules, int64_t now,
        bool (*drop)(const void *arg, const struct rules_entry *entry), const void *arg,
        const struct rules_entry *added, const char *change);

/*
 * Opens the newest whole revision in dir; where there never was one, revision 0. Always gives *out but for
 * -ENOMEM. Returns 0, or -EBADMSG or another negative errno with a sentence in why: then *out is the revision
 * before, or empty.
 */
int rules_open(struct rules **out, const char *dir, char why[RULES_WHY_MAX]);

/* Makes a revision the current one: whole and on disk when this returns 0, else (negative errno) nothing has
 * changed. */
int rules_save(const struct rules *rules, const char *dir);

/* Undoes the last rules_save(). Returns 0 or negative errno. */
int rules_revert(const char *dir);

/* Puts a damaged file aside, as rules.damaged, so that the next save does not lose it. */
void rules_put_aside(const char *dir);
bool rules_were_put_aside(const char *dir);

/*
 * {"name", "exact", "action": "allow" | "block", "profile", "client", "until", "reason", "author", "uid",
 * "added"}: no profile, client or end is null; times in RFC 3339, UTC. NULL without memory.
 */
json_t *rules_entry_json(const struct rules_entry *entry);

#endif
