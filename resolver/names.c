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

#include "address.h"
#include "device_tags.h"
#include "log.h"
#include "names_store.h"

#define COLLECT_MS 10000
#define WRITE_TURNS 30 /* the day is written at every thirtieth turn */

#define TABLE_WAYS 8 /* a set is a cache line */
#define TABLE_SETS 1024
#define TABLE_SLOTS (TABLE_WAYS * TABLE_SETS)
#define ADMIT_ONE_IN 16 /* of the names that find no room: to take a slot costs more than to count */
#define WIRE_MAX 128
#define TABLE_CLIENTS 16 /* that are told from each other until the table is taken */

#define DAY_ROOM_MAX (1 << 17) /* half of it is used */
#define DAY_ROOM_MIN (1 << 10)

/* What a lookup touches once its name is known and shared. */
struct slot {
	uint32_t
	        tag; /* of the name's hash, 0: empty. With the set's number it is taken for the name itself */
	uint32_t count; /* with SHARED: its three clients are known; with FULL: all that there is room for */
};
#define SHARED (UINT32_C(1) << 31)
#define FULL (UINT32_C(1) << 30)

struct client {
	uint32_t tag;     /* device_tag_of() its address, 0: none */
	uint32_t device;  /* of what stands for a device: all of a /64 */
	uint16_t profile; /* or NAMES_NO_PROFILE */
};

struct table {
	int64_t day;
	uint64_t salt;
	unsigned refused;
	unsigned policy; /* of the configuration whose profiles these are */
	alignas(64) struct slot slot[TABLE_SLOTS];
	struct client client[TABLE_SLOTS][TABLE_CLIENTS]; /* the first without a tag ends them */
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
	bool settled; /* it makes no new site */
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
	struct newcomers *newcomers;
	struct device_tags devices; /* under devices_salt */
	uint64_t devices_salt;
	struct config *config,
	        *next_config; /* of newcomers, a reference each; next_config: under the mutex */
	unsigned policy;      /* counts configurations */
	bool has_told_too_many;
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
	table->client[at][0].tag = 0;
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

/* Who asked, if he is not among them. Returns how many there are. */
static unsigned table_add_client(struct table *table, size_t at, const uint8_t *address, uint16_t profile)
{
	struct client *clients = table->client[at];
	uint32_t tag = device_tag_of(address, table->salt);
	unsigned i = 0;

	while (i < TABLE_CLIENTS && clients[i].tag != 0)
		if (clients[i++].tag == tag)
			return 0;
	if (i == TABLE_CLIENTS)
		return i;
	clients[i] = (struct client){ tag, (uint32_t)address_client_hash(address, table->salt), profile };
	if (++i < TABLE_CLIENTS)
		clients[i].tag = 0;
	return i;
}

void names_count(struct names_counter *counter, const struct name *name, uint64_t hash, const uint8_t *client,
        uint16_t profile)
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
	if ((slot->count & FULL) != 0)
		return;
	unsigned clients = table_add_client(table, (size_t)(slot - table->slot), client, profile);
	if (clients >= NAMES_CLIENTS)
		slot->count |= clients == TABLE_CLIENTS ? SHARED | FULL : SHARED;
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

/* Returns the name, NULL where there is no room. */
static struct day_name *day_add(struct day *day, const struct name *name, uint64_t hash, uint64_t count)
{
	struct day_name **place = day->room > 0 ? day_place(day, hash) : NULL;
	struct day_name *known = place != NULL ? *place : NULL;

	if (known == NULL) {
		known = day_make_room(day) == 0 ? calloc(1, sizeof *known + name->len) : NULL;
		if (known == NULL)
			return NULL;
		known->hash = hash;
		memcpy(known->wire, name->wire, name->len);
		*day_place(day, hash) = known;
		day->count++;
	}
	known->count += count;
	day->changed = true;
	return known;
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
	struct names_reader *reader;
	struct name name;
	uint64_t count;

	day_clear(&names->day);
	names->day.day = number;
	names->day.salt = salt;
	if (names_reader_open(&reader, names->dir, number, number + 1) < 0)
		return;
	while (names_reader_next(reader, &name, &count) > 0) {
		struct day_name *known = day_add(&names->day, &name, name_hash(&name, names->seed), count);
		for (unsigned i = 0; known != NULL && i < NAMES_CLIENTS; i++)
			client_add(known->client, i + 1);
	}
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

/* Is the site of a name a new one, and does it become one that must be told? */
static void names_look(struct names *names, const struct table *table, size_t at, const struct name *name,
        struct day_name *known, int64_t now_us)
{
	struct newcomers_asker askers[TABLE_CLIENTS];
	const struct client *clients = table->client[at];
	size_t count = 0;

	/* Of the day before, under another key: whoever asks again today would be two devices. */
	if (table->salt != names->salt)
		return;
	if (names->newcomers == NULL || table->policy != names->policy || (known != NULL && known->settled))
		return;
	for (size_t i = 0; i < TABLE_CLIENTS && clients[i].tag != 0; i++)
		if (clients[i].profile != NAMES_NO_PROFILE)
			askers[count++] = (struct newcomers_asker){
				table->salt == names->devices_salt
				        ? device_tags_find(&names->devices, clients[i].tag, clients[i].device)
				        : clients[i].device,
				clients[i].profile
			};
	bool settled = newcomers_note(names->newcomers, name, askers, count, now_us);
	if (known != NULL)
		known->settled = settled;
}

static void names_merge_slot(struct names *names, const struct table *table, size_t at, int64_t now_us)
{
	const struct client *clients = table->client[at];
	struct name name;

	if (table->slot[at].tag == 0 || name_from_wire(&name, table->wire[at], WIRE_MAX) <= 0)
		return;
	struct day_name *known = day_add(
	        &names->day, &name, name_hash(&name, names->seed), table->slot[at].count & ~(SHARED | FULL));
	for (size_t i = 0; known != NULL && i < TABLE_CLIENTS && clients[i].tag != 0; i++)
		client_add(known->client, clients[i].tag);
	names_look(names, table, at, &name, known, now_us);
}

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void names_merge(struct names *names, struct table *table)
{
	int64_t now = now_us();

	if (table->salt != names->day.salt) {
		names_write(names);
		day_begin(names, table->day, table->salt);
	}
	names->day.swept = false;
	for (size_t i = 0; i < TABLE_SLOTS; i++)
		names_merge_slot(names, table, i, now);
	memset(table->slot, 0, sizeof table->slot);
}

static int64_t day_now(void)
{
	return (int64_t)time(NULL) / NAMES_DAY_S;
}

/* The present day, with a key of its own. Returns whether it has just begun. */
static bool names_date(struct names *names)
{
	int64_t today = day_now();

	if (today == names->today)
		return false;
	uint64_t salt;
	if (getrandom(&salt, sizeof salt, 0) != sizeof salt)
		return false;
	names->today = today;
	names->salt = salt;
	names_store_prune(names->dir, today - names->days + 1);
	return true;
}

/* What newcomers know, from the store: sites of the days before and of what is written of today. */
static void names_learn(struct names *names)
{
	struct names_reader *reader;
	struct name name;
	uint64_t count;

	if (names->newcomers == NULL)
		return;
	int need = newcomers_learn_days(names->config);
	if (names_reader_open(&reader, names->dir, 0, names->today) < 0)
		return;
	newcomers_begin(names->newcomers, need < 0 || names_reader_days(reader) < (size_t)need);
	names_reader_close(reader);
	if (names_reader_open(&reader, names->dir, 0, names->today + 1) < 0)
		return;
	while (names_reader_next(reader, &name, &count) > 0)
		newcomers_know(names->newcomers, &name);
	names_reader_close(reader);
}

static void names_take_config(struct names *names)
{
	pthread_mutex_lock(&names->mutex);
	struct config *next = names->next_config;
	names->next_config = NULL;
	pthread_mutex_unlock(&names->mutex);
	if (next == NULL || names->newcomers == NULL) {
		config_free(next);
		return;
	}
	if (newcomers_configure(names->newcomers, next) < 0) {
		log_error("names: out of memory: new sites are told as before");
		config_free(next);
		return;
	}
	bool learn = newcomers_learn_days(names->config) != newcomers_learn_days(next);
	config_free(names->config);
	names->config = next;
	names->policy++;
	if (learn)
		names_learn(names);
}

static void names_tell_too_many(struct names *names)
{
	bool too_many = names->newcomers != NULL && newcomers_are_too_many(names->newcomers);

	if (too_many && !names->has_told_too_many)
		log_warn("names: more than %d new sites within an hour, as after holidays: today no more "
		         "swarms are told at sites that are let through",
		        NEWCOMERS_TOLD);
	names->has_told_too_many = too_many;
}

/* Whose addresses are whose, as the kernel knows it now. */
static void names_find_devices(struct names *names)
{
	struct neighbour *list;
	size_t count;

	if (names->newcomers == NULL || neighbours_read(&list, &count) < 0)
		return;
	device_tags_fill(&names->devices, list, count, names->salt);
	names->devices_salt = names->salt;
	free(list);
}

static void names_collect(struct names *names)
{
	if (names_date(names))
		names_learn(names);
	names_take_config(names);
	names_find_devices(names);
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
		counter->spare->policy = names->policy;
		atomic_store(&counter->next, counter->spare);
		counter->spare = NULL;
	}
	if (names->newcomers != NULL)
		newcomers_turn(names->newcomers, now_us());
	names_tell_too_many(names);
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

	names_learn(names);
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
	table->policy = names->policy;
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
	newcomers_free(names->newcomers);
	device_tags_clear(&names->devices);
	config_free(names->config);
	config_free(names->next_config);
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
	if (ret == 0 && options->told != NULL) {
		names->newcomers = newcomers_new(options->told, options->arg, names->seed);
		names->config = config_ref(options->config);
		ret = names->newcomers != NULL ? newcomers_configure(names->newcomers, names->config)
		                               : -ENOMEM;
	}
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
	names_find_devices(names);
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

void names_configure(struct names *names, struct config *config)
{
	if (names == NULL)
		return;
	pthread_mutex_lock(&names->mutex);
	config_free(names->next_config);
	names->next_config = config_ref(config);
	pthread_mutex_unlock(&names->mutex);
}

int names_forget(const char *dir)
{
	return names_store_prune(dir, INT64_MAX);
}

struct names_counter *names_counter(struct names *names, unsigned worker)
{
	return names != NULL ? &names->counters[worker] : NULL;
}
