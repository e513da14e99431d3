/*
 * DNS as a way to ask usher about itself, from any device with dig or nslookup. In the tree `filter` below
 * dns.why-zone (or dns.why-zone itself, if its first label is `filter`):
 *
 *   why.NAME.filter.usher.  NAME.why.filter.usher.   TXT: what this client gets for NAME, and why
 *   me.filter.usher.                                 TXT: the client's profile, and what is logged of it
 *   filter.usher.                                    TXT: what can be asked
 *
 * Answers have TTL 0, are never logged, and nothing of the tree ever goes upstream. Where dns.why-zone is one
 * label, all of it is ours: no such top-level domain exists.
 */
#ifndef USHER_WHY_H
#define USHER_WHY_H

#include "facts.h"
#include "policy.h"

#define WHY_TEXT_MAX 2048

enum why_subject {
	WHY_NONE,  /* no such name */
	WHY_EMPTY, /* a name with others below it and nothing at it */
	WHY_USAGE,
	WHY_ME,
	WHY_NAME,
};

/* The tree's head, and what of the name space is ours. */
void why_tree(struct name *tree, const struct config *config);
void why_root(struct name *root, const struct config *config);

/* What a name at or below the tree asks for; for WHY_NAME, *name is the name it asks about. */
enum why_subject why_read(const struct name *asked, const struct name *tree, struct name *name);

/* The rdata of a TXT record: strings of at most 255 octets (RFC 1035 3.3.14). */
struct why_text {
	uint8_t rdata[WHY_TEXT_MAX];
	size_t len;
};

/* Adds one text, as several strings if it is long; what has no room is left out. */
void why_add(struct why_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What the client gets for a name with these facts. The same policy_decide() as for a lookup. */
void why_tell_name(struct why_text *text, const struct config *config, const struct facts_table *table,
        const struct policy_asker *asker, const struct name *name, const struct facts *facts,
        const struct moment *now);

/* The client's profile, and what is kept of it. */
void why_tell_me(struct why_text *text, const struct config *config, const struct policy_asker *asker);

void why_tell_usage(struct why_text *text, const struct name *tree);

#endif
