/*
 * The live blocklists, read only: one generation, an LMDB file that `usher lists update` built, checked and
 * published. lists turns a name into facts: which categories it is in, by which entry of which source. It
 * knows no profiles.
 *
 * The file's layout (key table) stands at the head of lists.c; compile.c writes it, lists.c reads it, nobody
 * else. An opened generation never changes; any number of threads may look names up at once, each through its
 * own view.
 */
#ifndef USHER_LISTS_H
#define USHER_LISTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "name.h"

#define LISTS_MATCHES_MAX 6
#define LISTS_CATEGORIES_MAX 64
#define LISTS_WHY_MAX 512

struct lists;      /* an open generation, reference counted */
struct lists_view; /* one thread's way to read it */

/* What the lists know of one name. Categories are bits in the order of the names given to lists_open(). */
struct lists_facts {
	uint64_t categories; /* of the name and every parent that is listed, less exceptions */
	uint8_t match_count;
	struct {
		uint32_t set;   /* which combination of sources and categories; inside this generation only */
		uint8_t labels; /* how many labels the entry has that matched */
	} match[LISTS_MATCHES_MAX]; /* shortest entry first */
};

struct lists_source {
	const char *name;
	const char *url;
	const char *licence; /* "" if the list states none */
	uint64_t names;      /* taken from it */
	int64_t fetched_at;  /* seconds since 1970: when its content last changed or was confirmed */
};

/* What a generation says of itself (its manifest). All pointers belong to the struct lists. */
struct lists_info {
	uint64_t id; /* 42 for gen-000042.mdb */
	uint64_t names;
	int64_t published_at; /* seconds since 1970 */
	uint64_t size;        /* bytes on disk */
	const char *hash;     /* XXH3-128 of the file, 32 hex digits */
	bool starter;         /* compiled from the shipped starter list alone */
	size_t source_count;
	const struct lists_source *sources;
	uint64_t category_names[LISTS_CATEGORIES_MAX]; /* names per category, in the order given to
	                                                  lists_open() */
};

/*
 * Opens the generation that the link `current` in dir names; file != NULL opens that file instead. Its size
 * and hash are checked against its manifest first. categories are the configuration's names, in the order
 * whose bits the caller wants; a category of the generation that is not among them is ignored. Returns 0 and
 * *out (release with lists_free), or -ENOENT (nothing published yet), -EBADMSG (damaged, wrong hash), other
 * negative errno; then `why` says what is wrong with which file.
 */
int lists_open(struct lists **out, const char *dir, const char *file, const char *const *categories,
        size_t category_count, char why[LISTS_WHY_MAX]);

/*
 * For a start that must not fail for one bad file: the generation that `current` names or, if that is damaged
 * or the link is gone, the newest other one that is whole. Returns as lists_open(); a 0 with why not empty is
 * a fallback, and why names what was refused and what serves instead.
 */
int lists_open_newest_good(struct lists **out, const char *dir, const char *const *categories,
        size_t category_count, char why[LISTS_WHY_MAX]);

/*
 * Maps what look-ups read, which is in memory since it was hashed: else the first look-ups on each page would
 * wait for it. Whoever opens lists beside threads that answer does this before they get them.
 */
void lists_prepare(const struct lists *lists);

struct lists *lists_ref(struct lists *lists); /* thread safe */
void lists_free(struct lists *lists);         /* drops a reference; NULL is fine */

/* The id that `current` in dir points to now, 0 if there is none: cheap, for noticing a newer generation. */
uint64_t lists_current_id(const char *dir);

const struct lists_info *lists_info(const struct lists *lists);

/* The seed of name_hash_suffixes() that lists_lookup() expects. */
uint64_t lists_seed(const struct lists *lists);

/* A view holds a reference to its lists and is for one thread. Returns NULL without memory. */
struct lists_view *lists_view_open(struct lists *lists);
void lists_view_close(struct lists_view *view);

/*
 * For many look-ups at once: lists_prefetch() for all of them, then lists_prefetch_entry() for all, then
 * lists_lookup(), which finds what it reads on its way from memory. Nothing else changes.
 */
void lists_prefetch(const struct lists_view *view, const struct name *name, const uint64_t *hash);
void lists_prefetch_entry(const struct lists_view *view, const struct name *name, const uint64_t *hash);

/*
 * Facts about a name: hash comes from name_hash_suffixes(name, lists_seed(lists), hash).
 * Returns 1 with *facts filled if any entry matched, 0 with *facts zeroed if none did, -EIO if the store
 * could not be read.
 */
int lists_lookup(
        struct lists_view *view, const struct name *name, const uint64_t *hash, struct lists_facts *facts);

/*
 * Which entry and source put a name into a category: among the matches the longest that carries the category.
 * Returns false if none does. *source points into lists; *labels is the length of the entry, in labels.
 */
bool lists_explain(const struct lists *lists, const struct lists_facts *facts, unsigned category,
        const struct lists_source **source, uint8_t *labels);

/* Everything that lists the name or a parent, for `usher lists find`: called once per entry, source and
 * category set. */
struct lists_entry {
	struct name name;
	const struct lists_source *source;
	uint64_t categories;
	bool exact;     /* this name only, nothing below it */
	bool exception; /* takes names out of the source's categories */
};
int lists_find(struct lists_view *view, const struct name *name,
        void (*found)(void *arg, const struct lists_entry *entry), void *arg);

/* Every name of the generation in key order, for diff and export: a cursor of the view's, one at a time. */
struct lists_walk;
struct lists_walk *lists_walk_open(struct lists_view *view); /* NULL without memory */
void lists_walk_close(struct lists_walk *walk);

/* What the lists say of one stored name itself. */
struct lists_listed {
	struct name name;
	uint64_t at, below; /* categories of the name, and of what lies below it */
	bool excepts;       /* an exception stands here: ask lists_lookup() what is left */
};
/* Returns 1 with the next name, 0 at the end, -EIO. */
int lists_walk_next(struct lists_walk *walk, struct lists_listed *listed);

#endif
