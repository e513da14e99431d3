#include "signal_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

void watches_init(struct watches *watches, void (*end)(void *arg, struct watch *watch), void *arg)
{
	*watches = (struct watches){ .end = end, .arg = arg };
	TAILQ_INIT(&watches->ages);
}

static void watch_free(struct watches *watches, struct watch *watch)
{
	TAILQ_REMOVE(&watches->ages, watch, age);
	LIST_REMOVE(watch, bucket);
	watches->count--;
	for (size_t i = 0; i < watch->step_count; i++)
		free(watch->steps[i].name);
	free(watch->steps);
	watches->end(watches->arg, watch);
	free(watch);
}

void watches_clear(struct watches *watches)
{
	while (!TAILQ_EMPTY(&watches->ages))
		watch_free(watches, TAILQ_FIRST(&watches->ages));
}

struct watch *watches_find(struct watches *watches, unsigned rule, uint64_t of)
{
	uint64_t hash = XXH3_64bits_withSeed(&of, sizeof of, rule);
	struct watch *watch;

	LIST_FOREACH(watch, &watches->buckets[hash % SIGNAL_WATCH_BUCKETS], bucket)
	if (watch->hash == hash && watch->rule == rule) {
		TAILQ_REMOVE(&watches->ages, watch, age);
		TAILQ_INSERT_TAIL(&watches->ages, watch, age);
		return watch;
	}
	if (watches->count >= SIGNAL_WATCHES_MAX)
		watch_free(watches, TAILQ_FIRST(&watches->ages));
	watch = calloc(1, sizeof *watch);
	if (!watch)
		return NULL;
	watch->rule = rule;
	watch->hash = hash;
	LIST_INSERT_HEAD(&watches->buckets[hash % SIGNAL_WATCH_BUCKETS], watch, bucket);
	TAILQ_INSERT_TAIL(&watches->ages, watch, age);
	watches->count++;
	return watch;
}

static void step_drop(struct watch *watch, size_t at)
{
	free(watch->steps[at].name);
	memmove(watch->steps + at, watch->steps + at + 1, (--watch->step_count - at) * sizeof *watch->steps);
}

void watch_expire(struct watch *watch, int64_t before_us)
{
	for (size_t i = watch->step_count; i-- > 0;)
		if (watch->steps[i].last_us < before_us)
			step_drop(watch, i);
}

char *watch_name(const struct name *name)
{
	char text[NAME_TEXT_MAX];

	name_to_text(name, text);
	return strdup(text);
}

int watch_add(struct watch *watch, const struct step *as, const struct block_record *record, size_t most)
{
	for (size_t i = 0; i < watch->step_count; i++)
		if (watch->steps[i].key == as->key) {
			watch->steps[i].count++;
			watch->steps[i].last_us = record->time_us;
			return 0;
		}
	if (watch->step_count >= most)
		step_drop(watch, 0);
	if (watch->step_count == watch->step_room) {
		size_t room = watch->step_room ? 2 * watch->step_room : 2;
		struct step *steps = realloc(watch->steps, room * sizeof *steps);
		if (!steps)
			return -ENOMEM;
		watch->steps = steps;
		watch->step_room = room;
	}
	char *name = watch_name(&record->name);
	if (!name)
		return -ENOMEM;
	struct step *step = &watch->steps[watch->step_count++];
	*step = (struct step){ .key = as->key,
		.first_us = record->time_us,
		.last_us = record->time_us,
		.count = 1,
		.name = name,
		.category = as->category,
		.bypass = as->bypass,
		.has_client = record->client != NULL };
	if (record->client)
		memcpy(step->client, record->client, 16);
	return 0;
}

uint64_t watch_count(struct watch *watch, int64_t part)
{
	uint64_t sum = 0;

	if (part - watch->part >= WATCH_PARTS || watch->part == 0)
		memset(watch->parts, 0, sizeof watch->parts);
	else
		for (int64_t i = watch->part + 1; i <= part; i++)
			watch->parts[i % WATCH_PARTS] = 0;
	if (part > watch->part)
		watch->part = part;
	watch->parts[watch->part % WATCH_PARTS]++;
	for (size_t i = 0; i < WATCH_PARTS; i++)
		sum += watch->parts[i];
	return sum;
}
