/*
 * `known` holds hashes of sites, loaded from names/ at the beginning of a day. A site that is not there gets
 * one of the places below, with its devices, until its window is over.
 */
#include "newcomers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "blocklists/namemap.h"
#include "blocklists/parse.h"
#include "signal_rules.h"
#include "sites.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)
#define RULES_MAX 64 /* bits of a place's `told` */
#define SITE_WIRE_MAX 128
#define PROFILE_BITS 9
#define PROFILE_OF(device) ((device) & ((1U << PROFILE_BITS) - 1))
#define OTHERS_MAX 2 /* devices of profiles that are not watched: that there was more than one is enough */

static const char source_prefix[] = "names ";

struct place {
	int64_t first_us;
	uint64_t salt;
	uint64_t told; /* rules, bits */
	uint32_t told_devices;
	uint32_t count;
	uint32_t device[NEWCOMERS_DEVICES]; /* 23 bits of a hash, 9 of the profile; the first began it */
	uint8_t wire[SITE_WIRE_MAX];
};

struct newcomers {
	void (*told)(void *arg, const struct newcomers_site *site);
	void *arg;
	uint64_t seed;
	const struct config *config; /* NULL: not configured yet */
	struct signal_scope rules[RULES_MAX];
	size_t rule_count;
	int64_t window_us; /* the longest */
	bool watched[CONFIG_PROFILES_MAX];
	const char *profile_names[CONFIG_PROFILES_MAX];
	struct namemap *exempt;
	struct sites known;
	bool learning, too_many;
	uint64_t salt;
	int64_t hour; /* of salt and of told_count */
	unsigned told_count;
	uint64_t hash[NEWCOMERS_SITES]; /* 0: free */
	struct place places[NEWCOMERS_SITES];
};

struct newcomers *newcomers_new(
        void (*told)(void *arg, const struct newcomers_site *site), void *arg, uint64_t seed)
{
	struct newcomers *newcomers = calloc(1, sizeof *newcomers);

	if (newcomers == NULL)
		return NULL;
	newcomers->told = told;
	newcomers->arg = arg;
	newcomers->seed = seed;
	newcomers->learning = true;
	newcomers->hour = -1;
	return newcomers;
}

static void names_of_profiles_clear(struct newcomers *newcomers)
{
	for (size_t i = 0; i < CONFIG_PROFILES_MAX; i++) {
		free((char *)newcomers->profile_names[i]);
		newcomers->profile_names[i] = NULL;
	}
}

void newcomers_free(struct newcomers *newcomers)
{
	if (newcomers == NULL)
		return;
	namemap_free(newcomers->exempt);
	sites_clear(&newcomers->known);
	names_of_profiles_clear(newcomers);
	free(newcomers);
}

/* ---- what the configuration says ---- */

bool newcomers_watch(const struct config *config, size_t profile)
{
	bool named = config->names.swarm_profile_count == 0 && profile == config->default_profile;

	for (size_t i = 0; i < config->names.swarm_profile_count; i++)
		named |= config->names.swarm_profiles[i] == profile;
	return named && config->profiles[profile].log != LOG_OFF;
}

int newcomers_learn_days(const struct config *config)
{
	if (!config->names.enabled || !config->names.swarms || config->names.days < 2)
		return -1;
	return (int)(config->names.learn_days < config->names.days ? config->names.learn_days
	                                                           : config->names.days - 1);
}

static struct namemap *exempt_new(const struct newcomers *newcomers, const struct config *config)
{
	struct namemap *map = namemap_new(newcomers->seed);
	int ret = map != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; ret == 0 && i < config->background_count; i++)
		ret = namemap_add(map, &config->background_names[i], false, 0, 0);
	for (size_t i = 0; ret == 0 && i < config->delivery_count; i++)
		ret = namemap_add(map, &config->delivery_names[i], false, 0, 0);
	if (ret == 0)
		return map;
	namemap_free(map);
	return NULL;
}

/* Returns whether the profiles still have their places. */
static bool profiles_are_as_before(const struct newcomers *newcomers, const struct config *config)
{
	for (size_t i = 0; i < CONFIG_PROFILES_MAX; i++) {
		const char *now = i < config->profile_count ? config->profiles[i].name : "";
		const char *before = newcomers->profile_names[i] != NULL ? newcomers->profile_names[i] : "";
		if (strcmp(now, before) != 0)
			return false;
	}
	return true;
}

static void places_forget(struct newcomers *newcomers)
{
	memset(newcomers->hash, 0, sizeof newcomers->hash);
}

static void rules_take(struct newcomers *newcomers, const struct config *config)
{
	newcomers->window_us = HOUR;
	newcomers->rule_count = signal_scopes(config, ALERT_SWARM, newcomers->rules, RULES_MAX);
	memset(newcomers->watched, 0, sizeof newcomers->watched);
	for (size_t i = 0; i < newcomers->rule_count; i++) {
		struct signal_scope *scope = &newcomers->rules[i];
		if (scope->rule->window_s * SECOND > newcomers->window_us)
			newcomers->window_us = scope->rule->window_s * SECOND;
		for (size_t k = 0; k < config->profile_count; k++) {
			scope->profile[k] = scope->profile[k] && newcomers_watch(config, k);
			newcomers->watched[k] |= scope->profile[k];
		}
	}
}

int newcomers_configure(struct newcomers *newcomers, const struct config *config)
{
	struct namemap *exempt = exempt_new(newcomers, config);

	if (exempt == NULL)
		return -ENOMEM;
	namemap_free(newcomers->exempt);
	newcomers->exempt = exempt;
	if (!profiles_are_as_before(newcomers, config)) {
		places_forget(newcomers);
		names_of_profiles_clear(newcomers);
		for (size_t i = 0; i < config->profile_count; i++)
			newcomers->profile_names[i] = strdup(config->profiles[i].name);
	}
	newcomers->config = config;
	rules_take(newcomers, config);
	return 0;
}

/* ---- sites ---- */

/* Returns false if the name has none, or one too long to be kept. */
static bool site_find(const struct name *name, struct name *site)
{
	unsigned labels = parse_zone_labels(name);

	if (labels == 0 || labels > name->labels)
		return false;
	name_suffix(name, name->labels - labels, site);
	return site->len <= SITE_WIRE_MAX;
}

/* What delivers other sites' pictures and scripts often says so: cdn.example, somegame-cdn.net. */
static bool site_says_cdn(const struct name *site)
{
	const uint8_t *label = site->wire;

	return label[0] >= 3 &&
	       (memcmp(label + 1, "cdn", 3) == 0 || memcmp(label + label[0] - 2, "cdn", 3) == 0);
}

static bool is_exempt(const struct newcomers *newcomers, const struct name *name)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct namemap_hit hit;

	name_hash_suffixes(name, newcomers->seed, hash);
	return namemap_find(newcomers->exempt, name, hash, &hit, 1) > 0;
}

static uint64_t site_hash(const struct newcomers *newcomers, const struct name *site)
{
	uint64_t hash = name_hash(site, newcomers->seed);

	return hash != 0 ? hash : 1;
}

void newcomers_begin(struct newcomers *newcomers, bool learning)
{
	sites_clear(&newcomers->known);
	places_forget(newcomers);
	newcomers->learning = learning;
	newcomers->too_many = false;
	newcomers->told_count = 0;
}

void newcomers_know(struct newcomers *newcomers, const struct name *name)
{
	struct name site;

	if (site_find(name, &site))
		sites_first(&newcomers->known, site_hash(newcomers, &site), 0);
}

/* ---- places ---- */

static void hour_begin(struct newcomers *newcomers, int64_t now_us)
{
	uint64_t salt;

	if (newcomers->hour == now_us / HOUR || getrandom(&salt, sizeof salt, 0) != sizeof salt)
		return;
	newcomers->salt = salt;
	newcomers->hour = now_us / HOUR;
	newcomers->told_count = 0;
}

static uint32_t device_of(const struct newcomers_asker *asker, uint64_t salt)
{
	uint64_t hash = XXH3_64bits_withSeed(&asker->device, sizeof asker->device, salt);

	return (uint32_t)hash << PROFILE_BITS | (uint32_t)(asker->profile + 1U);
}

static bool is_less_asked(const struct place *a, const struct place *b)
{
	return a->count != b->count ? a->count < b->count : a->first_us < b->first_us;
}

/* A free place; else of those that this device began, if it began too many; else the least asked of all. */
static size_t place_choose(const struct newcomers *newcomers, uint32_t beginner)
{
	size_t least = NEWCOMERS_SITES, own = NEWCOMERS_SITES, free_one = NEWCOMERS_SITES, begun = 0;

	for (size_t i = 0; i < NEWCOMERS_SITES; i++) {
		const struct place *place = &newcomers->places[i];
		if (newcomers->hash[i] == 0) {
			free_one = i;
			continue;
		}
		if (least == NEWCOMERS_SITES || is_less_asked(place, &newcomers->places[least]))
			least = i;
		if (place->salt != newcomers->salt || place->device[0] != beginner)
			continue;
		begun++;
		if (own == NEWCOMERS_SITES || is_less_asked(place, &newcomers->places[own]))
			own = i;
	}
	if (begun >= NEWCOMERS_BEGUN)
		return own;
	return free_one < NEWCOMERS_SITES ? free_one : least;
}

static struct place *place_of(struct newcomers *newcomers, uint64_t hash, const struct name *site,
        const struct newcomers_asker *beginner, int64_t now_us)
{
	for (size_t i = 0; i < NEWCOMERS_SITES; i++)
		if (newcomers->hash[i] == hash)
			return &newcomers->places[i];
	size_t at = place_choose(newcomers, device_of(beginner, newcomers->salt));
	struct place *place = &newcomers->places[at];
	newcomers->hash[at] = hash;
	place->first_us = now_us;
	place->salt = newcomers->salt;
	place->told = 0;
	place->told_devices = 0;
	place->count = 0;
	memcpy(place->wire, site->wire, site->len);
	return place;
}

static void place_add(
        const struct newcomers *newcomers, struct place *place, const struct newcomers_asker *asker)
{
	uint32_t device = device_of(asker, place->salt);
	size_t others = 0;

	for (size_t i = 0; i < place->count; i++) {
		if (place->device[i] == device)
			return;
		others += !newcomers->watched[PROFILE_OF(place->device[i]) - 1];
	}
	if (place->count == NEWCOMERS_DEVICES ||
	        (!newcomers->watched[asker->profile] && others >= OTHERS_MAX))
		return;
	place->device[place->count++] = device;
}

/* ---- judging ---- */

static unsigned devices_of(const struct place *place, const struct signal_scope *rule)
{
	unsigned devices = 0;

	for (size_t i = 0; i < place->count; i++)
		devices += rule->profile[PROFILE_OF(place->device[i]) - 1];
	return devices;
}

/* Of most of the rule's devices. */
static unsigned profile_of(const struct place *place, const struct signal_scope *rule)
{
	unsigned count[CONFIG_PROFILES_MAX] = { 0 }, most = PROFILE_OF(place->device[0]) - 1;

	for (size_t i = 0; i < place->count; i++) {
		unsigned profile = PROFILE_OF(place->device[i]) - 1;
		count[profile] += rule->profile[profile];
		if (count[profile] > count[most])
			most = profile;
	}
	return most;
}

/* Told once for all rules that such an event satisfies. */
static void place_mark(
        const struct newcomers *newcomers, struct place *place, unsigned profile, unsigned devices)
{
	for (size_t i = 0; i < newcomers->rule_count; i++)
		if (newcomers->rules[i].profile[profile] && devices >= newcomers->rules[i].rule->count)
			place->told |= UINT64_C(1) << i;
	place->told_devices = devices;
}

static void place_tell(
        struct newcomers *newcomers, struct place *place, unsigned profile, unsigned devices, int64_t now_us)
{
	struct newcomers_site site = {
		.profile = &newcomers->config->profiles[profile], .devices = devices, .time_us = now_us
	};

	if (place->told == 0)
		newcomers->too_many |= newcomers->told_count++ >= NEWCOMERS_TOLD;
	if (!newcomers->too_many && name_from_wire(&site.name, place->wire, SITE_WIRE_MAX) > 0)
		newcomers->told(newcomers->arg, &site);
	place_mark(newcomers, place, profile, devices);
}

static void place_judge(struct newcomers *newcomers, struct place *place, int64_t now_us)
{
	for (size_t i = 0; i < newcomers->rule_count; i++) {
		const struct signal_scope *rule = &newcomers->rules[i];
		unsigned devices = devices_of(place, rule);
		bool was_told = (place->told >> i & 1) != 0;
		if (devices < rule->rule->count || now_us - place->first_us > rule->rule->window_s * SECOND ||
		        (was_told && devices < 2 * place->told_devices))
			continue;
		place_tell(newcomers, place, profile_of(place, rule), devices, now_us);
	}
}

/* ---- from outside ---- */

bool newcomers_note(struct newcomers *newcomers, const struct name *name,
        const struct newcomers_asker *askers, size_t count, int64_t now_us)
{
	struct name site;

	if (newcomers->config == NULL || !site_find(name, &site))
		return true;
	uint64_t hash = site_hash(newcomers, &site);
	if (sites_has(&newcomers->known, hash) || site_says_cdn(&site) || is_exempt(newcomers, name))
		return true;
	if (count == 0)
		return false;
	hour_begin(newcomers, now_us);
	struct place *place = place_of(newcomers, hash, &site, &askers[0], now_us);
	for (size_t i = 0; i < count; i++)
		place_add(newcomers, place, &askers[i]);
	if (!newcomers->learning && !newcomers->too_many)
		place_judge(newcomers, place, now_us);
	return false;
}

void newcomers_turn(struct newcomers *newcomers, int64_t now_us)
{
	for (size_t i = 0; i < NEWCOMERS_SITES; i++) {
		struct place *place = &newcomers->places[i];
		if (newcomers->hash[i] == 0 || now_us - place->first_us <= newcomers->window_us)
			continue;
		if (place->count > 1)
			sites_first(&newcomers->known, newcomers->hash[i], 0);
		newcomers->hash[i] = 0;
	}
}

bool newcomers_are_too_many(const struct newcomers *newcomers)
{
	return newcomers->too_many;
}

/* ---- in the block log ---- */

void newcomers_source(unsigned devices, char source[NEWCOMERS_SOURCE_LEN])
{
	snprintf(source, NEWCOMERS_SOURCE_LEN, "%s%u devices", source_prefix, devices);
}

unsigned newcomers_devices(const struct block_record *record)
{
	char *end;

	if (record->action != BLOCK_ACTION_WATCH || record->category != NULL || record->source == NULL ||
	        strncmp(record->source, source_prefix, strlen(source_prefix)) != 0)
		return 0;
	unsigned long devices = strtoul(record->source + strlen(source_prefix), &end, 10);
	return strcmp(end, " devices") == 0 && devices <= NEWCOMERS_DEVICES ? (unsigned)devices : 0;
}
