/*
 * The writer thread. It takes what the rings hold, sorts it into files (block_store.c), and releases the
 * rings when all of it is on disk. What cannot be written stays in the rings and is tried again at the next
 * turn; parts that were written are known by their sequence numbers and left out then. So a full disk costs
 * nothing until a ring is full, and a crash nothing at all.
 */
#include "block_log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <time.h>

#include "believed_clock.h"
#include "block_erase.h"
#include "block_file.h"
#include "block_item.h"
#include "block_store.h"

#define TURN_MS 200 /* at most between two commits */
#define LOOK_MS 20  /* between two looks at rings that fill fast */
/* A worker on the same processor does not wait for a commit: a tenth of it writes 300,000 events a second. */
#define WRITER_NICE 10
#define BATCH_MAX 32768 /* events in one turn */
#define PRUNE_S 3600
#define ERASE_MS 100 /* at a stretch */
#define SENTENCES 8

struct block_log {
	struct block_log_options options;
	char *ring_dir; /* NULL: none */
	struct block_store *store;
	struct block_erase *erase;
	pthread_mutex_t erase_mutex; /* of erase */
	bool erases;                 /* it has more to do */
	int erase_error;             /* 0 or negative errno */
	struct block_item *items;
	uint64_t *cursors;
	uint64_t damaged; /* records of this turn that cannot be read */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool stopping;               /* under the mutex */
	struct believed_clock clock; /* as of the last prune */
	bool waiting;                /* events cannot be written */
	_Atomic uint64_t lost;
	/* A sentence once published is left alone until as many others have come. */
	char sentence[SENTENCES][BLOCK_STORE_WHY_MAX + 128];
	_Atomic unsigned sentence_now;
};

/* ---- trouble ---- */

const char *block_log_trouble(const struct block_log *log)
{
	return log->sentence[atomic_load_explicit(&log->sentence_now, memory_order_acquire)];
}

uint64_t block_log_lost(const struct block_log *log)
{
	return atomic_load_explicit(&log->lost, memory_order_relaxed);
}

static void say(struct block_log *log, const char *sentence)
{
	if (strcmp(sentence, block_log_trouble(log)) == 0)
		return;
	unsigned next = (log->sentence_now + 1) % SENTENCES;
	snprintf(log->sentence[next], sizeof log->sentence[next], "%s", sentence);
	atomic_store_explicit(&log->sentence_now, next, memory_order_release);
	if (log->options.trouble)
		log->options.trouble(log->options.arg, log->sentence[next]);
}

static void say_waiting(struct block_log *log)
{
	char sentence[sizeof log->sentence[0]];

	snprintf(sentence, sizeof sentence, "events cannot be written and wait in memory: %s",
	        block_store_why(log->store));
	log->waiting = true;
	say(log, sentence);
}

/* All is written; what remains to be said is of the clock, and of rows that must go. */
static void say_written(struct block_log *log)
{
	char sentence[sizeof log->sentence[0]] = "";

	log->waiting = false;
	if (log->erase_error)
		snprintf(sentence, sizeof sentence,
		        "rows that must go cannot be taken away: %s; it is tried again every minute",
		        strerror(-log->erase_error));
	else if (log->clock.doubted_uptime_s)
		snprintf(sentence, sizeof sentence,
		        "the clock is more than a day ahead of the log: until it has been so for a day, "
		        "nothing is deleted by it");
	say(log, sentence);
}

/* ---- one turn ---- */

/* Takes up to max events of a ring, and passes over those that cannot be read. */
static size_t take_ring(struct block_log *log, unsigned ring, struct block_item *items, size_t max)
{
	size_t count = 0, len;
	uint64_t sequence;
	const void *data;

	log->cursors[ring] = 0;
	while (count < max && (data = ring_next(log->options.rings[ring], &log->cursors[ring], &len,
	                               &sequence, &log->damaged)) != NULL) {
		if (block_item_read(&items[count], data, len) < 0) {
			log->damaged++;
			continue;
		}
		items[count].ring = ring;
		items[count].sequence = sequence;
		count++;
	}
	return count;
}

static size_t take_all(struct block_log *log)
{
	size_t count = 0, share = BATCH_MAX / log->options.ring_count;

	log->damaged = 0;
	for (unsigned i = 0; i < log->options.ring_count; i++)
		count += take_ring(log, i, log->items + count, share);
	return count;
}

/* By file, then time, then as they came. */
static int file_order(const void *a, const void *b)
{
	const struct block_item *x = a, *y = b;
	int64_t x_day = block_file_day(x->time_us), y_day = block_file_day(y->time_us);

	if (x_day != y_day)
		return x_day < y_day ? -1 : 1;
	if (x->keep_s != y->keep_s)
		return x->keep_s < y->keep_s ? -1 : 1;
	if (x->time_us != y->time_us)
		return x->time_us < y->time_us ? -1 : 1;
	return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

/* Where one ring has nearly all, they mostly came in order. */
static void sort_items(struct block_item *items, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (file_order(&items[i - 1], &items[i]) > 0) {
			qsort(items, count, sizeof *items, file_order);
			return;
		}
}

static bool same_file(const struct block_item *a, const struct block_item *b)
{
	return a->keep_s == b->keep_s && block_file_day(a->time_us) == block_file_day(b->time_us);
}

/* Appends every file's share, also when another's failed. Returns the last error. */
static int append_all(struct block_log *log, size_t count)
{
	int result = 0;

	for (size_t from = 0, to; from < count; from = to) {
		for (to = from + 1; to < count && same_file(&log->items[from], &log->items[to]);)
			to++;
		int ret = block_store_append(log->store, log->items + from, to - from);
		if (ret < 0)
			result = ret;
	}
	return result;
}

/* Returns whether there was more than one turn takes. */
static bool turn(struct block_log *log)
{
	size_t count = take_all(log);

	if (count == 0 && log->damaged == 0)
		return false;
	sort_items(log->items, count);
	if (append_all(log, count) < 0) {
		say_waiting(log);
		return false;
	}
	for (unsigned i = 0; i < log->options.ring_count; i++)
		ring_release(log->options.rings[i], log->cursors[i]);
	atomic_fetch_add_explicit(&log->lost, log->damaged, memory_order_relaxed);
	say_written(log);
	return count >= BATCH_MAX / log->options.ring_count;
}

/* ---- the thread ---- */

static void prune(struct block_log *log)
{
	int64_t now_s = believed_clock_now(&log->clock);

	block_store_prune(log->store, now_s, log->options.max_size);
	if (log->ring_dir)
		block_file_forget_rings(log->ring_dir, now_s - BLOCK_DAMAGED_RING_KEEP_S);
	if (!log->waiting)
		say_written(log);
}

/* Old files go at the hour's turn; at every commit's, if much was written; each minute while something is
 * wrong. */
static void prune_if_due(struct block_log *log)
{
	int64_t passed = believed_clock_uptime_s() - log->clock.uptime_s;

	if (passed >= PRUNE_S || block_store_grown(log->store) >= log->options.max_size / 64 ||
	        (passed >= 60 && block_log_trouble(log)[0]))
		prune(log);
}

static bool some_ring_fills(const struct block_log *log)
{
	for (unsigned i = 0; i < log->options.ring_count; i++)
		if (ring_is_half_full(log->options.rings[i]))
			return true;
	return false;
}

/* Sleeps until the next turn is due, a ring is half full, or the end. Returns false at the end. */
static bool sleep_until_due(struct block_log *log)
{
	bool go_on = true;
	pthread_mutex_lock(&log->mutex);
	for (int ms = 0; ms < TURN_MS && !log->stopping && (log->waiting || ms == 0 || !some_ring_fills(log));
	        ms += LOOK_MS) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += LOOK_MS * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&log->wake, &log->mutex, &until);
	}
	go_on = !log->stopping;
	pthread_mutex_unlock(&log->mutex);
	return go_on;
}

static bool is_stopping(struct block_log *log)
{
	pthread_mutex_lock(&log->mutex);
	bool stopping = log->stopping;
	pthread_mutex_unlock(&log->mutex);
	return stopping;
}

static int64_t uptime_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* What must go before its time, a while between two turns; never while events wait. */
static void erase_some(struct block_log *log)
{
	int64_t until = uptime_ms() + ERASE_MS;
	int ret = 0;

	if (log->waiting) {
		log->erases = false;
		return;
	}
	do {
		pthread_mutex_lock(&log->erase_mutex);
		ret = block_erase_step(log->erase, log->clock.believed_s);
		pthread_mutex_unlock(&log->erase_mutex);
	} while (ret > 0 && uptime_ms() < until && !some_ring_fills(log));
	log->erases = ret > 0;
	if (ret != 0)
		log->erase_error = ret < 0 ? ret : 0;
	if (ret < 0)
		say_written(log);
}

static void *writer_main(void *arg)
{
	struct block_log *log = arg;

	setpriority(PRIO_PROCESS, (id_t)gettid(), WRITER_NICE); /* of this thread alone */
	while (log->erases ? !is_stopping(log) : sleep_until_due(log)) {
		while (turn(log))
			;
		prune_if_due(log);
		erase_some(log);
	}
	while (turn(log))
		;
	return NULL;
}

/* ---- start and stop ---- */

static void log_free(struct block_log *log)
{
	block_erase_free(log->erase);
	block_store_close(log->store);
	free(log->ring_dir);
	free(log->items);
	free(log->cursors);
	free(log);
}

/* Opens the files and makes the rings' numbers go on from what the files hold. */
static int open_store(struct block_log *log)
{
	unsigned count = log->options.ring_count;
	uint64_t *ids = calloc(2 * (size_t)count, sizeof *ids);
	if (!ids)
		return -ENOMEM;
	uint64_t *sequences = ids + count;

	for (unsigned i = 0; i < count; i++)
		ids[i] = ring_id(log->options.rings[i]);
	int ret = block_store_open(&log->store, log->options.dir, ids, sequences, count);
	for (unsigned i = 0; i < count && ret == 0; i++)
		ring_sequence_after(log->options.rings[i], sequences[i]);
	free(ids);
	if (ret < 0)
		return ret;
	log->erase = block_erase_new(log->store, log->options.dir);
	return log->erase ? block_erase_set_keeps(log->erase, log->options.keeps, log->options.keep_count)
	                  : -ENOMEM;
}

static int start_thread(struct block_log *log)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&log->mutex, NULL);
	pthread_mutex_init(&log->erase_mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&log->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	return -pthread_create(&log->thread, NULL, writer_main, log);
}

int block_log_set_keeps(struct block_log *log, const struct block_keep *keeps, size_t count)
{
	pthread_mutex_lock(&log->erase_mutex);
	int ret = block_erase_set_keeps(log->erase, keeps, count);
	pthread_mutex_unlock(&log->erase_mutex);
	return ret;
}

int block_log_start(struct block_log **out, const struct block_log_options *options)
{
	*out = NULL;
	if (options->ring_count == 0 || options->ring_count > BATCH_MAX)
		return -EINVAL;
	struct block_log *log = calloc(1, sizeof *log);
	if (!log)
		return -ENOMEM;
	log->options = *options;
	if (options->max_size == 0)
		log->options.max_size = UINT64_MAX;
	log->items = calloc(BATCH_MAX, sizeof *log->items);
	log->cursors = calloc(options->ring_count, sizeof *log->cursors);
	log->ring_dir = options->ring_dir ? strdup(options->ring_dir) : NULL;
	bool has_memory = log->items && log->cursors && (log->ring_dir || !options->ring_dir);
	int ret = has_memory ? open_store(log) : -ENOMEM;
	if (ret == 0) {
		while (turn(log))
			;
		believed_clock_begin(&log->clock, block_store_written_s(log->store));
		prune(log);
		ret = start_thread(log);
	}
	if (ret < 0) {
		log_free(log);
		return ret;
	}
	*out = log;
	return 0;
}

void block_log_stop(struct block_log *log)
{
	if (!log)
		return;
	pthread_mutex_lock(&log->mutex);
	log->stopping = true;
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->mutex);
	pthread_join(log->thread, NULL);
	pthread_cond_destroy(&log->wake);
	pthread_mutex_destroy(&log->mutex);
	pthread_mutex_destroy(&log->erase_mutex);
	log_free(log);
}
