/*
 * Episodes: what happened, not which packets. A page load makes dozens of blocked lookups, browsers ask for
 * A, AAAA and HTTPS and ask again, phones chatter all night. This groups the records of the block log, fed in
 * order of time, into events of one client.
 *
 * The rules, all of them:
 *
 *  1. A record joins the open episode of its device (identity.h), profile, category and severity; else it
 * opens one. So a lookup of severity danger is never inside a lesser episode.
 *  2. An episode ends when nothing was added for its gap: 15 minutes for danger, 30 for caution, 60 for
 * advisory; and when it has lasted 4 hours.
 *  3. Background is set apart: a category with `background: true` (advertising and trackers), the names of
 * `background-names` (telemetry, embedded buttons, what devices ask by themselves), never where the severity
 * is danger. Its gap is 2 hours, it lasts up to a day. An episode turns into background too when only a
 * machine behaves so: it lasted 2 hours, and each of its names was asked 12 times on average. From then on a
 * new name does not join it, but opens an episode of its own.
 *  4. Bypass: a lookup of the category bypass within 10 minutes of a block of another category, by the same
 * device, joins that episode, raises its severity to its own and marks it: what was wanted, and the ways
 * around that were tried, are one event.
 *  5. names: at most 64. A name as it is listed or with www. before it is what a person typed, and stands
 * first; then in order of time. What found no place is counted in `more`: never a name of severity danger.
 * Where 64 of those are full, the episode ends and the next begins.
 *
 * Bounded: 16 open episodes a device, EPISODE_OPEN_MAX of all; the one that waited longest ends early. Pure:
 * no clock, no I/O; the same records give the same episodes.
 */
#ifndef USHER_EPISODE_H
#define USHER_EPISODE_H

#include "block_log.h"
#include "config.h"

#define EPISODE_NAMES_MAX 64
#define EPISODE_OPEN_MAX 16384

struct episode_name {
	uint8_t *wire; /* lower case, uncompressed */
	uint8_t len;
	uint32_t count;
	enum config_severity severity;
	bool typed; /* rule 5 */
};

struct episode {
	bool has_client;
	uint8_t client[16];             /* the newest of its addresses */
	const char *profile, *category; /* NULL: none; they live as long as the episodes */
	enum config_severity severity;
	bool background, bypass;
	int64_t first_us, last_us;
	uint64_t count;   /* lookups */
	uint64_t watched; /* of these, let through */
	uint64_t more;    /* of these, under names that are not below */
	struct episode_name *names;
	size_t name_count; /* at most EPISODE_NAMES_MAX */
};

struct episodes;

/*
 * ended() is called with each episode when it has ended, its names in their order; it is freed after. config:
 * borrowed, for categories and background names. Returns NULL without memory.
 */
struct episodes *episodes_new(
        const struct config *config, void (*ended)(void *arg, const struct episode *episode), void *arg);

/* A record, not older than those before (a few seconds of disorder do no harm). Returns 0 or -ENOMEM. */
int episodes_feed(struct episodes *episodes, const struct block_record *record);

/* No more will come: all that are open end. */
void episodes_finish(struct episodes *episodes);
void episodes_free(struct episodes *episodes); /* NULL is fine */

/* What a device asks by itself: rule 3, by category and name alone. */
bool episode_is_background(const struct config *config, const struct block_record *record);

/* What goes around the filter on purpose: of category bypass and no background. */
bool episode_is_bypass(const struct config *config, const struct block_record *record);

/* A copy that outlives its ending (its profile and category still are the episodes'), and its end. NULL
 * without memory. */
struct episode *episode_copy(const struct episode *episode);
void episode_free(struct episode *episode);

/* As people read them: danger first, background last, then the newest. For qsort() of struct episode
 * pointers. */
int episode_compare(const void *a, const void *b);

/* One JSON object, DESIGN.md 5. device: who had the address then, NULL unknown. malloc()ed; NULL without
 * memory. */
char *episode_json(const struct episode *episode, const struct device *device);

#endif
