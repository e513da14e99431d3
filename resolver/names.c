/*
 * A worker has two tables: one it counts in, one that is with the thread. `next` carries an empty one to the
 * worker, `full` the other back; each is written by one side and emptied by the other.
 *
 * A table knows the day it was given out, and its key. What the thread merges is of one key; a table with
 * another begins a new day, so that hashes under two keys are never taken for two clients.
 */
#include "names.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#include "log.h"
#include "names_store.h"

#define COLLECT_MS 30000
#define WRITE_TURNS 10 /* the day is written at every tenth turn */

#define TABLE_WAYS 8 /* a set is a cache line */
#define TABLE_SETS 1024
#define TABLE_SLOTS (TABLE_WAYS * TABLE_SETS)
#define ADMIT_ONE_IN 16 /* of the names that find no room: to take a slot costs more than to count */
#define WIRE_MAX 128

#define DAY_ROOM_MAX (1 << 17) /* half of it is used */
#define DAY_ROOM_MIN (1 << 10)

/* What a lookup touches once its name is known and shared. */
struct slot {
	uint32_t
	        tag; /* of the name's hash, 0: empty. With the set's number it is taken for the name itself */
	uint32_t count; /* with SHARED: its three clients are known */
};
#define SHARED (UINT32_C(1) << 31)

struct table {
	int64_t day;
	uint64_t salt;
	unsigned refused;
	alignas(64) struct slot slot[TABLE_SLOTS];
	uint32_t client[TABLE_SLOTS][NAMES_CLIENTS]; /* 0: none */
	uint8_t wire[TABLE_SLOTS][WIRE_MAX];
};

struct names_counter {
	alignas(64) struct table *current; /* the worker's */
	uint64_t seed;
	_Atomic(struct table *) next, full;
	struct table *spare; /* the thread's */
};

struct day_name {
	uint64_t hash;
	uint64_t count;
	uint32_t client[NAMES_CLIENTS];
	uint8_t wire[];
};

/* The day that is being counted: names by hash, open addressing. */
struct day {
	int64_t day;
	uint64_t salt;
	struct day_name **names;
	size_t room, count; /* room is a power of two */
	bool changed, swept;
};

struct names {
	char dir[PATH_MAX];
	uint32_t days;
	unsigned collect_ms, worker_count;
	struct names_counter *counters;
	uint64_t seed;
	int64_t today;
	uint64_t salt; /* of the tables that are given out today */
	struct day day;
	bool in_trouble;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool stopping;
};

/* ---- the worker ---- */

static void client_add(uint32_t clients[NAMES_CLIENTS], uint32_t client)
{
	for (unsigned i = 0; i < NAMES_CLIENTS; i++) {
		if (clients[i] == client)
			return;
		if (clients[i] == 0) {
			clients[i] = client;
			return;
		}
	}
}

static bool are_enough(const uint32_t clients[NAMES_CLIENTS])
{
	return clients[NAMES_CLIENTS - 1] != 0;
}

/* Gives a slot to another name. Returns false if the one in it stays. */
static bool slot_take(struct table *table, struct slot *slot, uint32_t tag, const struct name *name)
{
	size_t at = (size_t)(slot - table->slot);

	if (slot->tag != 0 && ++table->refused % ADMIT_ONE_IN != 0)
		return false;
	*slot = (struct slot){ .tag = tag };
	memset(table->client[at], 0, sizeof table->client[at]);
	memcpy(table->wire[at], name->wire, name->len);
	return true;
}

uint64_t names_fetch(const struct names_counter *counter, const struct name *name)
{
	if (counter == NULL)
		return 0;
	uint64_t hash = name_hash(name, counter->seed);
	__builtin_prefetch(&counter->current->slot[hash % TABLE_SETS * TABLE_WAYS], 1);
	return hash;
}

void names_count(struct names_counter *counter, const struct name *name, uint64_t hash, const uint8_t *client)
{
	if (counter == NULL || name->len > WIRE_MAX)
		return;
	struct table *table = counter->current;
	if (hash == 0)
		hash = name_hash(name, counter->seed);
	uint32_t tag = (uint32_t)(hash >> 32) | 1;
	struct slot *set = &table->slot[hash % TABLE_SETS * TABLE_WAYS], *slot = set;
	for (unsigned i = 0; i < TABLE_WAYS && slot->tag != tag; i++)
		if (set[i].tag == tag || set[i].count < slot->count)
			slot = &set[i];
	if (slot->tag != tag && !slot_take(table, slot, tag, name))
		return;
	slot->count++;
	if ((slot->count & SHARED) != 0)
		return;
	uint32_t *clients = table->client[slot - table->slot];
	client_add(clients, (uint32_t)XXH3_64bits_withSeed(client, 16, table->salt) | 1);
	if (are_enough(clients))
		slot->count |= SHARED;
}

void names_hand_over(struct names_counter *counter)
{
	struct table *next = counter != NULL ? atomic_exchange(&counter->next, NULL) : NULL;

	if (next == NULL)
		return;
	struct table *full = counter->current;
	counter->current = next;
	atomic_store(&counter->full, full);
}

/* ---- the day ---- */

static struct day_name **day_place(const struct day *day, uint64_t hash)
{
	size_t at = hash & (day->room - 1);

	while (day->names[at] != NULL && day->names[at]->hash != hash)
		at = (at + 1) & (day->room - 1);
	return &day->names[at];
}

/* Moves the names to a table of that room; only_shared: names that too few asked for are forgotten. */
static int day_resize(struct day *day, size_t room, bool only_shared)
{
	struct day after = { .names = calloc(room, sizeof(struct day_name *)), .room = room };

	if (after.names == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < day->room; i++) {
		struct day_name *name = day->names[i];
		if (name == NULL)
			continue;
		if (only_shared && !are_enough(name->client)) {
			free(name);
			continue;
		}
		*day_place(&after, name->hash) = name;
		after.count++;
	}
	free(day->names);
	day->names = after.names;
	day->room = after.room;
	day->count = after.count;
	return 0;
}

/* Makes room for one more name. Junk that one client asks for must not keep the school's names out for long.
 */
static int day_make_room(struct day *day)
{
	if (day->count < day->room / 2)
		return 0;
	if (day->room < DAY_ROOM_MAX)
		return day_resize(day, day->room > 0 ? 2 * day->room : DAY_ROOM_MIN, false);
	if (day->swept)
		return -ENOSPC;
	day->swept = true;
	int ret = day_resize(day, day->room, true);
	return ret == 0 && day->count >= day->room / 2 ? -ENOSPC : ret;
}

static void day_add(struct day *day, const struct name *name, uint64_t hash, uint64_t count,
        const uint32_t clients[NAMES_CLIENTS])
{
	struct day_name **place = day->room > 0 ? day_place(day, hash) : NULL;
	struct day_name *known = place != NULL ? *place : NULL;

	if (known == NULL) {
		known = day_make_room(day) == 0 ? calloc(1, sizeof *known + name->len) : NULL;
		if (known == NULL)
			return;
		known->hash = hash;
		memcpy(known->wire, name->wire, name->len);
		*day_place(day, hash) = known;
		day->count++;
	}
	known->count += count;
	for (unsigned i = 0; i < NAMES_CLIENTS && clients[i] != 0; i++)
		client_add(known->client, clients[i]);
	day->changed = true;
}

static void day_clear(struct day *day)
{
	for (size_t i = 0; i < day->room; i++)
		free(day->names[i]);
	free(day->names);
	*day = (struct day){ 0 };
}

static int row_order(const void *a, const void *b)
{
	const struct names_row *x = a, *y = b;

	return names_store_compare(x->wire, y->wire);
}

static int day_write(struct day *day, const char *dir)
{
	struct names_row *rows = calloc(day->count + 1, sizeof *rows);
	size_t count = 0;

	if (rows == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < day->room; i++)
		if (day->names[i] != NULL && are_enough(day->names[i]->client))
			rows[count++] = (struct names_row){ day->names[i]->wire, day->names[i]->count };
	qsort(rows, count, sizeof *rows, row_order);
	int ret = count > 0 ? names_store_write(dir, day->day, rows, count) : 0;
	free(rows);
	day->changed = ret < 0;
	return ret;
}

/* Begins a day, or goes on with one: what stands in its file was asked by clients enough. */
static void day_begin(struct names *names, int64_t number, uint64_t salt)
{
	static const uint32_t enough[NAMES_CLIENTS] = { 1, 2, 3 };
	struct names_reader *reader;
	struct name name;
	uint64_t count;

	day_clear(&names->day);
	names->day.day = number;
	names->day.salt = salt;
	if (names_reader_open(&reader, names->dir, number, number + 1) < 0)
		return;
	while (names_reader_next(reader, &name, &count) > 0)
		day_add(&names->day, &name, name_hash(&name, names->seed), count, enough);
	names->day.changed = false;
	names_reader_close(reader);
}

/* ---- the thread ---- */

static void names_write(struct names *names)
{
	int ret = names->day.changed ? day_write(&names->day, names->dir) : 0;

	if (ret < 0 && !names->in_trouble)
		log_error("names: %s cannot be written: %s", names->dir, strerror(-ret));
	if (ret == 0 && names->in_trouble)
		log_info("names: writes again");
	names->in_trouble = ret < 0;
}

static void names_merge(struct names *names, struct table *table)
{
	if (table->salt != names->day.salt) {
		names_write(names);
		day_begin(names, table->day, table->salt);
	}
	names->day.swept = false;
	for (size_t i = 0; i < TABLE_SLOTS; i++) {
		struct name name;
		if (table->slot[i].tag != 0 && name_from_wire(&name, table->wire[i], WIRE_MAX) > 0)
			day_add(&names->day, &name, name_hash(&name, names->seed),
			        table->slot[i].count & ~SHARED, table->client[i]);
	}
	memset(table->slot, 0, sizeof table->slot);
}

static int64_t day_now(void)
{
	return (int64_t)time(NULL) / NAMES_DAY_S;
}

/* The present day, with a key of its own. */
static void names_date(struct names *names)
{
	int64_t today = day_now();

	if (today == names->today)
		return;
	uint64_t salt;
	if (getrandom(&salt, sizeof salt, 0) != sizeof salt)
		return;
	names->today = today;
	names->salt = salt;
	names_store_prune(names->dir, today - names->days + 1);
}

static void names_collect(struct names *names)
{
	names_date(names);
	for (unsigned i = 0; i < names->worker_count; i++) {
		struct names_counter *counter = &names->counters[i];
		struct table *full = atomic_exchange(&counter->full, NULL);
		if (full != NULL) {
			names_merge(names, full);
			counter->spare = full;
		}
		if (counter->spare == NULL)
			continue;
		counter->spare->day = names->today;
		counter->spare->salt = names->salt;
		atomic_store(&counter->next, counter->spare);
		counter->spare = NULL;
	}
}

/* Returns false at the end. */
static bool names_sleep(struct names *names)
{
	struct timespec until;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += names->collect_ms / 1000;
	until.tv_nsec += names->collect_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&names->mutex);
	while (!names->stopping && ret == 0)
		ret = pthread_cond_timedwait(&names->wake, &names->mutex, &until);
	bool go_on = !names->stopping;
	pthread_mutex_unlock(&names->mutex);
	return go_on;
}

static void *names_main(void *arg)
{
	struct names *names = arg;

	for (unsigned turn = 1; names_sleep(names); turn++) {
		names_collect(names);
		if (turn % WRITE_TURNS == 0)
			names_write(names);
	}
	return NULL;
}

/* ---- start and stop ---- */

static struct table *table_new(const struct names *names)
{
	struct table *table = aligned_alloc(64, (sizeof *table + 63) / 64 * 64);

	if (table == NULL)
		return NULL;
	/* The rest is written when a slot is taken: memory that no name came to is never paged in. */
	table->refused = 0;
	memset(table->slot, 0, sizeof table->slot);
	table->day = names->today;
	table->salt = names->salt;
	return table;
}

static int names_make_counters(struct names *names)
{
	names->counters = aligned_alloc(64, names->worker_count * sizeof(struct names_counter));
	if (names->counters == NULL)
		return -ENOMEM;
	memset(names->counters, 0, names->worker_count * sizeof(struct names_counter));
	for (unsigned i = 0; i < names->worker_count; i++) {
		struct names_counter *counter = &names->counters[i];
		counter->seed = names->seed;
		counter->current = table_new(names);
		counter->spare = table_new(names);
		if (counter->current == NULL || counter->spare == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int names_start_thread(struct names *names)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&names->mutex, NULL);
	pthread_cond_init(&names->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	return -pthread_create(&names->thread, NULL, names_main, names);
}

static void names_free(struct names *names)
{
	for (unsigned i = 0; names->counters != NULL && i < names->worker_count; i++) {
		struct names_counter *counter = &names->counters[i];
		free(counter->current);
		free(counter->spare);
		free(atomic_load(&counter->next));
		free(atomic_load(&counter->full));
	}
	free(names->counters);
	day_clear(&names->day);
	free(names);
}

int names_start(struct names **out, const struct names_options *options)
{
	struct names *names = calloc(1, sizeof *names);

	*out = NULL;
	if (names == NULL)
		return -ENOMEM;
	names->days = options->days;
	names->collect_ms = options->collect_ms > 0 ? options->collect_ms : COLLECT_MS;
	names->worker_count = options->workers;
	int ret = snprintf(names->dir, PATH_MAX, "%s", options->dir) < PATH_MAX ? 0 : -ENAMETOOLONG;
	if (ret == 0 && getrandom(&names->seed, sizeof names->seed, 0) != sizeof names->seed)
		ret = -EIO;
	if (ret == 0) {
		names_date(names);
		day_begin(names, names->today, names->salt);
		ret = names_make_counters(names);
	}
	if (ret == 0)
		ret = names_start_thread(names);
	if (ret < 0) {
		names_free(names);
		return ret;
	}
	*out = names;
	return 0;
}

void names_stop(struct names *names)
{
	if (names == NULL)
		return;
	pthread_mutex_lock(&names->mutex);
	names->stopping = true;
	pthread_cond_signal(&names->wake);
	pthread_mutex_unlock(&names->mutex);
	pthread_join(names->thread, NULL);
	pthread_cond_destroy(&names->wake);
	pthread_mutex_destroy(&names->mutex);
	for (unsigned i = 0; i < names->worker_count; i++) {
		struct table *full = atomic_exchange(&names->counters[i].full, NULL);
		if (full != NULL) {
			names_merge(names, full);
			names->counters[i].spare = full;
		}
		names_merge(names, names->counters[i].current);
	}
	names_write(names);
	names_free(names);
}

int names_forget(const char *dir)
{
	return names_store_prune(dir, INT64_MAX);
}

struct names_counter *names_counter(struct names *names, unsigned worker)
{
	return names != NULL ? &names->counters[worker] : NULL;
}
