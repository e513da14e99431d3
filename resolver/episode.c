#include "episode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "identity.h"
#include "newcomers.h"
#include "words.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

#define LONGEST (4 * HOUR)
#define BACKGROUND_GAP (2 * HOUR)
#define BACKGROUND_LONGEST (24 * HOUR)
#define BYPASS_GAP (10 * MINUTE)
#define MACHINE_AFTER (2 * HOUR)
#define MACHINE_EACH 12 /* times a name is asked, on average */
#define OPEN_OF_CLIENT 16
#define BUCKETS 4096

static const int64_t gaps[] = {
	[SEVERITY_ADVISORY] = 60 * MINUTE, [SEVERITY_CAUTION] = 30 * MINUTE, [SEVERITY_DANGER] = 15 * MINUTE
};

struct open_episode {
	struct episode episode;
	struct identity identity;
	enum config_severity
	        severity; /* the one it was opened with: a bypass may have raised the episode's */
	bool noise;       /* background from the start */
	size_t names_room;
	LIST_ENTRY(open_episode) bucket; /* those of the same device and profile among others */
	TAILQ_ENTRY(open_episode) age;   /* the one that waited longest first */
};

TAILQ_HEAD(age, open_episode);

struct episodes {
	const struct config *config;
	void (*ended)(void *arg, const struct episode *episode);
	void *arg;
	LIST_HEAD(, open_episode) buckets[BUCKETS];
	struct age ages[SEVERITY_DANGER + 2]; /* by severity, then the background: a gap each */
	size_t open_count;
	struct words profiles, categories;
};

/* ---- what a record is about ---- */

static const struct config_category *category_of(const struct config *config, const char *name)
{
	int place = name ? config_category(config, name) : -1;
	return place < 0 ? NULL : &config->categories[place];
}

static bool is_background_name(const struct config *config, const struct name *name)
{
	for (size_t i = 0; i < config->background_count; i++)
		if (name_is_below(name, &config->background_names[i]))
			return true;
	return false;
}

bool episode_is_background(const struct config *config, const struct block_record *record)
{
	const struct config_category *category = category_of(config, record->category);

	return record->severity != SEVERITY_DANGER &&
	       ((category && category->background) || is_background_name(config, &record->name));
}

bool episode_is_bypass(const struct config *config, const struct block_record *record)
{
	return record->category && strcmp(record->category, "bypass") == 0 &&
	       !is_background_name(config, &record->name);
}

/* The listed name itself, or with www. before it. */
static bool is_typed(const struct block_record *record)
{
	const struct name *name = &record->name;
	unsigned labels = record->rule_labels;

	return name->labels == labels || (name->labels == labels + 1 && memcmp(name->wire, "\3www", 4) == 0);
}

/* ---- names of an episode ---- */

/* Rule 5: danger first, then what was typed, then the order of time. */
static int name_rank(const struct episode_name *name)
{
	return (name->severity == SEVERITY_DANGER ? 0 : 2) + (name->typed ? 0 : 1);
}

static struct episode_name *names_find(struct episode *episode, const struct name *name)
{
	for (size_t i = 0; i < episode->name_count; i++)
		if (episode->names[i].len == name->len &&
		        memcmp(episode->names[i].wire, name->wire, name->len) == 0)
			return &episode->names[i];
	return NULL;
}

/* The place that a better name may take: the worst and least asked. NULL if none is worse. */
static struct episode_name *names_worst(struct episode *episode, int rank)
{
	struct episode_name *worst = NULL;

	for (size_t i = 0; i < episode->name_count; i++) {
		struct episode_name *name = &episode->names[i];
		if (name_rank(name) <= rank || name->severity == SEVERITY_DANGER)
			continue;
		if (!worst || name_rank(name) > name_rank(worst) ||
		        (name_rank(name) == name_rank(worst) && name->count < worst->count))
			worst = name;
	}
	return worst;
}

/* Room for one more, up to EPISODE_NAMES_MAX. */
static int names_grow(struct open_episode *open)
{
	size_t room = open->names_room ? 2 * open->names_room : 4;

	if (open->episode.name_count < open->names_room)
		return 0;
	struct episode_name *names = realloc(open->episode.names, room * sizeof *names);
	if (!names)
		return -ENOMEM;
	open->episode.names = names;
	open->names_room = room;
	return 0;
}

static int names_add(struct open_episode *open, const struct block_record *record)
{
	struct episode *episode = &open->episode;
	struct episode_name added = {
		.len = record->name.len, .count = 1, .severity = record->severity, .typed = is_typed(record)
	};

	if (episode->name_count == EPISODE_NAMES_MAX) {
		struct episode_name *worst = names_worst(episode, name_rank(&added));
		if (!worst) {
			episode->more++;
			return 0;
		}
		episode->more += worst->count;
		free(worst->wire);
		memmove(worst, worst + 1,
		        (size_t)(episode->names + --episode->name_count - worst) * sizeof *worst);
	}
	if (names_grow(open) < 0 || !(added.wire = malloc(record->name.len)))
		return -ENOMEM;
	memcpy(added.wire, record->name.wire, record->name.len);
	episode->names[episode->name_count++] = added;
	return 0;
}

/* Into their order; insertion keeps that of time among equals. */
static void names_order(struct episode *episode)
{
	for (size_t i = 1; i < episode->name_count; i++) {
		struct episode_name name = episode->names[i];
		size_t at = i;
		for (; at > 0 && name_rank(&episode->names[at - 1]) > name_rank(&name); at--)
			episode->names[at] = episode->names[at - 1];
		episode->names[at] = name;
	}
}

static void names_clear(struct episode *episode)
{
	for (size_t i = 0; i < episode->name_count; i++)
		free(episode->names[i].wire);
	free(episode->names);
}

/* Danger's names may never be left out, so an episode that can hold no more of them is full. */
static bool names_are_full(const struct episode *episode)
{
	if (episode->name_count < EPISODE_NAMES_MAX)
		return false;
	for (size_t i = 0; i < episode->name_count; i++)
		if (episode->names[i].severity != SEVERITY_DANGER)
			return false;
	return true;
}

/* ---- open episodes ---- */

static struct age *age_of(struct episodes *episodes, const struct episode *episode)
{
	return &episodes->ages[episode->background ? SEVERITY_DANGER + 1 : episode->severity];
}

static void open_end(struct episodes *episodes, struct open_episode *open)
{
	TAILQ_REMOVE(age_of(episodes, &open->episode), open, age);
	LIST_REMOVE(open, bucket);
	episodes->open_count--;
	names_order(&open->episode);
	episodes->ended(episodes->arg, &open->episode);
	names_clear(&open->episode);
	free(open);
}

static bool open_is_over(const struct open_episode *open, int64_t now_us)
{
	const struct episode *episode = &open->episode;
	int64_t gap = episode->background ? BACKGROUND_GAP : gaps[episode->severity];
	int64_t longest = episode->background ? BACKGROUND_LONGEST : LONGEST;

	return now_us - episode->last_us > gap || now_us - episode->first_us > longest;
}

/* The heads waited longest; what has lasted longest ends when it is next met. */
static void open_expire(struct episodes *episodes, int64_t now_us)
{
	struct open_episode *open;

	for (size_t i = 0; i < sizeof episodes->ages / sizeof *episodes->ages; i++)
		while ((open = TAILQ_FIRST(&episodes->ages[i])) && open_is_over(open, now_us))
			open_end(episodes, open);
}

static uint64_t bucket_of(const struct identity *identity, const char *profile)
{
	return identity_hash(identity, (uint64_t)(uintptr_t)profile) % BUCKETS;
}

/* A record with its words kept. */
struct feeding {
	const struct block_record *record;
	struct identity identity;
	const char *profile, *category;
	bool noise, bypass;
	uint64_t bucket;
};

static bool is_of_device(const struct open_episode *open, const struct feeding *feeding)
{
	return open->episode.profile == feeding->profile &&
	       identity_is_same(&open->identity, &feeding->identity);
}

/* Rule 1, and the end of 3. */
static bool may_join(const struct open_episode *open, const struct feeding *feeding)
{
	const struct episode *episode = &open->episode;

	if (open->noise != feeding->noise || open->severity != feeding->record->severity ||
	        episode->category != feeding->category)
		return false;
	return open->noise || !episode->background ||
	       names_find((struct episode *)episode, &feeding->record->name) != NULL;
}

/* Rule 4. */
static bool may_join_as_bypass(const struct open_episode *open, const struct feeding *feeding)
{
	const struct episode *episode = &open->episode;

	return feeding->bypass && !episode->background &&
	       (!episode->category || strcmp(episode->category, "bypass") != 0) &&
	       feeding->record->time_us - episode->last_us <= BYPASS_GAP;
}

/*
 * The episode that the record joins, or NULL. What is over on the way ends; so does the client's oldest, if
 * he has as many as one may.
 */
static struct open_episode *open_find(struct episodes *episodes, const struct feeding *feeding)
{
	struct open_episode *open, *next, *found = NULL, *bypass = NULL, *oldest = NULL;
	unsigned count = 0;

	for (open = LIST_FIRST(&episodes->buckets[feeding->bucket]); open; open = next) {
		next = LIST_NEXT(open, bucket);
		if (!is_of_device(open, feeding))
			continue;
		bool joins = may_join(open, feeding);
		if (open_is_over(open, feeding->record->time_us) ||
		        (joins && names_are_full(&open->episode) &&
		                !names_find(&open->episode, &feeding->record->name))) {
			open_end(episodes, open);
			continue;
		}
		if (joins)
			found = open;
		if (may_join_as_bypass(open, feeding) &&
		        (!bypass || bypass->episode.last_us < open->episode.last_us))
			bypass = open;
		if (!oldest || oldest->episode.last_us > open->episode.last_us)
			oldest = open;
		count++;
	}
	if (bypass) {
		bypass->episode.bypass = true;
		return bypass;
	}
	if (!found && count >= OPEN_OF_CLIENT)
		open_end(episodes, oldest);
	return found;
}

static struct open_episode *open_new(struct episodes *episodes, const struct feeding *feeding)
{
	const struct block_record *record = feeding->record;
	struct open_episode *open = calloc(1, sizeof *open);

	if (!open)
		return NULL;
	if (episodes->open_count >= EPISODE_OPEN_MAX) {
		struct open_episode *oldest = NULL;
		for (size_t i = 0; i < sizeof episodes->ages / sizeof *episodes->ages; i++) {
			struct open_episode *head = TAILQ_FIRST(&episodes->ages[i]);
			if (head && (!oldest || head->episode.last_us < oldest->episode.last_us))
				oldest = head;
		}
		open_end(episodes, oldest);
	}
	open->severity = record->severity;
	open->identity = feeding->identity;
	open->noise = feeding->noise;
	open->episode = (struct episode){
		.has_client = record->client != NULL,
		.profile = feeding->profile,
		.category = feeding->category,
		.severity = record->severity,
		.background = feeding->noise,
		.first_us = record->time_us,
		.last_us = record->time_us,
	};
	if (record->client)
		memcpy(open->episode.client, record->client, 16);
	LIST_INSERT_HEAD(&episodes->buckets[feeding->bucket], open, bucket);
	TAILQ_INSERT_TAIL(age_of(episodes, &open->episode), open, age);
	episodes->open_count++;
	return open;
}

/* Rule 3: nobody asks the same few names for hours. */
static bool is_machine(const struct episode *episode)
{
	return episode->severity != SEVERITY_DANGER && !episode->bypass && episode->more == 0 &&
	       episode->last_us - episode->first_us >= MACHINE_AFTER &&
	       episode->count >= (uint64_t)MACHINE_EACH * episode->name_count;
}

static int open_add(struct episodes *episodes, struct open_episode *open, const struct block_record *record)
{
	struct episode *episode = &open->episode;
	struct episode_name *name = names_find(episode, &record->name);
	int ret = 0;

	TAILQ_REMOVE(age_of(episodes, episode), open, age);
	if (record->time_us < episode->first_us)
		episode->first_us = record->time_us;
	if (record->time_us >= episode->last_us) {
		episode->last_us = record->time_us;
		if (record->client)
			memcpy(episode->client, record->client, sizeof episode->client);
	}
	episode->count++;
	episode->watched += record->action != BLOCK_ACTION_BLOCK;
	if (name)
		name->count++;
	else
		ret = names_add(open, record);
	if (record->severity > episode->severity)
		episode->severity = record->severity;
	episode->background |= is_machine(episode);
	TAILQ_INSERT_TAIL(age_of(episodes, episode), open, age);
	return ret;
}

/* ---- from outside ---- */

struct episodes *episodes_new(
        const struct config *config, void (*ended)(void *arg, const struct episode *episode), void *arg)
{
	struct episodes *episodes = calloc(1, sizeof *episodes);

	if (!episodes)
		return NULL;
	*episodes = (struct episodes){ .config = config, .ended = ended, .arg = arg };
	for (size_t i = 0; i < sizeof episodes->ages / sizeof *episodes->ages; i++)
		TAILQ_INIT(&episodes->ages[i]);
	return episodes;
}

int episodes_feed(struct episodes *episodes, const struct block_record *record)
{
	struct feeding feeding = {
		.record = record,
		.identity = identity_of(record->client, record->device),
		.profile = words_keep(&episodes->profiles, record->profile),
		.category = words_keep(&episodes->categories, record->category),
	};

	if (newcomers_devices(record) > 0) /* of no client: the signal tells it */
		return 0;
	if ((record->profile && !feeding.profile) || (record->category && !feeding.category))
		return -ENOMEM;
	feeding.noise = episode_is_background(episodes->config, record);
	feeding.bypass = !feeding.noise && episode_is_bypass(episodes->config, record);
	feeding.bucket = bucket_of(&feeding.identity, feeding.profile);
	open_expire(episodes, record->time_us);
	struct open_episode *open = open_find(episodes, &feeding);
	if (!open)
		open = open_new(episodes, &feeding);
	return open ? open_add(episodes, open, record) : -ENOMEM;
}

void episodes_finish(struct episodes *episodes)
{
	struct open_episode *open;

	for (size_t i = 0; i < sizeof episodes->ages / sizeof *episodes->ages; i++)
		while ((open = TAILQ_FIRST(&episodes->ages[i])) != NULL)
			open_end(episodes, open);
}

static void ignore(void *arg, const struct episode *episode)
{
}

void episodes_free(struct episodes *episodes)
{
	if (!episodes)
		return;
	episodes->ended = ignore;
	episodes_finish(episodes);
	words_clear(&episodes->profiles);
	words_clear(&episodes->categories);
	free(episodes);
}

struct episode *episode_copy(const struct episode *episode)
{
	struct episode *copy = malloc(sizeof *copy);

	if (!copy)
		return NULL;
	*copy = *episode;
	copy->name_count = 0;
	copy->names = calloc(episode->name_count + 1, sizeof *copy->names);
	for (size_t i = 0; copy->names && i < episode->name_count; i++) {
		const struct episode_name *name = &episode->names[i];
		copy->names[i] = *name;
		copy->names[i].wire = malloc(name->len);
		if (!copy->names[i].wire)
			break;
		memcpy(copy->names[i].wire, name->wire, name->len);
		copy->name_count++;
	}
	if (copy->name_count == episode->name_count)
		return copy;
	episode_free(copy);
	return NULL;
}

void episode_free(struct episode *episode)
{
	if (!episode)
		return;
	names_clear(episode);
	free(episode);
}

int episode_compare(const void *a, const void *b)
{
	const struct episode *x = *(const struct episode *const *)a, *y = *(const struct episode *const *)b;

	if (x->background != y->background)
		return x->background ? 1 : -1;
	if (x->severity != y->severity)
		return x->severity < y->severity ? 1 : -1;
	if (x->bypass != y->bypass)
		return x->bypass ? -1 : 1;
	return (x->last_us < y->last_us) - (x->last_us > y->last_us);
}
