#include "sorter.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "claims.h"
#include "tempfile.h"

/*
 * In memory a record is its length, its tag and its key in the arena, and an item in the index. The index is
 * sorted by multikey quicksort over chunks of eight octets (Bentley and Sedgewick, 1997): most comparisons
 * look at the item alone. The pivot is random, so that no list can be written that takes quadratic time.
 *
 * Keys are labels with their lengths, none of which is 0: padding a chunk with zeros keeps the order, and
 * equal chunks that reach beyond the end of one key reach beyond the end of the other.
 */
#define RECORD_HEAD (1 + sizeof(uint32_t))
#define CHUNK 8
#define INSERTION_MAX 12

struct item {
	uint64_t chunk; /* key octets at the depth that is being sorted */
	const uint8_t *record;
};

/* A sorted run in a file, with its first record not yet given. */
struct run {
	FILE *file;
	size_t len;
	uint32_t tag;
	uint8_t key[NAME_KEY_MAX];
};

struct sorter {
	const char *dir;
	uint8_t *arena;
	size_t arena_len, arena_max;
	struct item *items;
	size_t count, count_max;
	size_t next;       /* reading from memory: the next item */
	struct run **runs; /* a heap while reading, the least first */
	size_t run_count, heap_count;
	bool heap_stale; /* the first run's record was given: bring its next one */
	uint64_t random;
};

struct sorter *sorter_new(const char *dir, size_t memory)
{
	struct sorter *sorter = calloc(1, sizeof *sorter);

	if (sorter == NULL)
		return NULL;
	sorter->dir = dir;
	sorter->count_max = memory * 2 / 5 / sizeof *sorter->items;
	sorter->arena_max = memory - sorter->count_max * sizeof *sorter->items;
	sorter->arena = malloc(sorter->arena_max);
	sorter->items = malloc(sorter->count_max * sizeof *sorter->items);
	if (sorter->arena == NULL || sorter->items == NULL ||
	        getrandom(&sorter->random, sizeof sorter->random, 0) != sizeof sorter->random) {
		sorter_free(sorter);
		return NULL;
	}
	sorter->random |= 1;
	return sorter;
}

void sorter_free(struct sorter *sorter)
{
	if (sorter == NULL)
		return;
	for (size_t i = 0; i < sorter->run_count; i++) {
		fclose(sorter->runs[i]->file);
		free(sorter->runs[i]);
	}
	free(sorter->runs);
	free(sorter->items);
	free(sorter->arena);
	free(sorter);
}

static uint64_t chunk_at(const uint8_t *record, size_t depth)
{
	size_t len = record[0];
	uint8_t octets[CHUNK] = { 0 };
	uint64_t chunk;

	if (depth < len)
		memcpy(octets, record + RECORD_HEAD + depth, len - depth < CHUNK ? len - depth : CHUNK);
	memcpy(&chunk, octets, sizeof chunk);
	return be64toh(chunk);
}

static int item_compare(const struct item *a, const struct item *b)
{
	if (a->chunk != b->chunk)
		return a->chunk < b->chunk ? -1 : 1;
	return claims_key_compare(
	        a->record + RECORD_HEAD, a->record[0], b->record + RECORD_HEAD, b->record[0]);
}

static void sort_by_insertion(struct item *items, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct item item = items[i];
		size_t k = i;
		for (; k > 0 && item_compare(&item, &items[k - 1]) < 0; k--)
			items[k] = items[k - 1];
		items[k] = item;
	}
}

/* xorshift64: no more is asked of it than that a list's author cannot foresee it. */
static size_t random_below(struct sorter *sorter, size_t bound)
{
	sorter->random ^= sorter->random << 13;
	sorter->random ^= sorter->random >> 7;
	sorter->random ^= sorter->random << 17;
	return (size_t)(sorter->random % bound);
}

/* Orders items by chunk around a pivot: less in [0, *equal), equal in [*equal, *more), more behind. */
static void partition(struct item *items, size_t count, uint64_t pivot, size_t *equal, size_t *more)
{
	size_t low = 0, high = count;

	for (size_t i = 0; i < high;) {
		struct item item = items[i];
		if (item.chunk < pivot) {
			items[i++] = items[low];
			items[low++] = item;
		} else if (item.chunk > pivot) {
			items[i] = items[--high];
			items[high] = item;
		} else {
			i++;
		}
	}
	*equal = low;
	*more = high;
}

/* Recurses into the parts that hold at most half of what it was given and loops over the one that may hold
 * more. */
static void sort_items(struct sorter *sorter, struct item *items, size_t count, size_t depth)
{
	while (count > INSERTION_MAX) {
		uint64_t pivot = items[random_below(sorter, count)].chunk;
		size_t equal, more;
		partition(items, count, pivot, &equal, &more);

		size_t part[3] = { equal, more - equal, count - more };
		struct item *begin[3] = { items, items + equal, items + more };
		size_t deeper[3] = { depth, depth + CHUNK, depth };
		for (size_t i = 0; i < part[1]; i++)
			begin[1][i].chunk = chunk_at(begin[1][i].record, depth + CHUNK);
		if (part[1] > 0 && depth + CHUNK > begin[1][0].record[0])
			part[1] = 0; /* the chunk held the end: all keys are the same */

		unsigned largest = part[0] >= part[1] ? 0 : 1;
		largest = part[largest] >= part[2] ? largest : 2;
		for (unsigned i = 0; i < 3; i++)
			if (i != largest)
				sort_items(sorter, begin[i], part[i], deeper[i]);
		items = begin[largest];
		count = part[largest];
		depth = deeper[largest];
	}
	sort_by_insertion(items, count);
}

static void sorter_sort(struct sorter *sorter)
{
	for (size_t i = 0; i < sorter->count; i++)
		sorter->items[i].chunk = chunk_at(sorter->items[i].record, 0);
	sort_items(sorter, sorter->items, sorter->count, 0);
}

/* Writes what memory holds as a sorted run. */
static int sorter_spill(struct sorter *sorter)
{
	struct run **runs = realloc(sorter->runs, (sorter->run_count + 1) * sizeof(struct run *));
	if (runs == NULL)
		return -ENOMEM;
	sorter->runs = runs;
	struct run *run = calloc(1, sizeof *run);
	if (run == NULL)
		return -ENOMEM;
	int ret = tempfile_open(&run->file, sorter->dir);
	if (ret < 0) {
		free(run);
		return ret;
	}
	sorter->runs[sorter->run_count++] = run;

	sorter_sort(sorter);
	for (size_t i = 0; i < sorter->count; i++) {
		const uint8_t *record = sorter->items[i].record;
		if (fwrite_unlocked(record, RECORD_HEAD + record[0], 1, run->file) != 1)
			return -errno;
	}
	if (fflush(run->file) != 0 || fseeko(run->file, 0, SEEK_SET) != 0)
		return -errno;
	sorter->count = 0;
	sorter->arena_len = 0;
	return 0;
}

int sorter_add(struct sorter *sorter, const uint8_t *key, size_t len, uint32_t tag)
{
	if (sorter->count == sorter->count_max || sorter->arena_max - sorter->arena_len < RECORD_HEAD + len) {
		int ret = sorter->count > 0 ? sorter_spill(sorter) : -ENOMEM;
		if (ret < 0)
			return ret;
	}
	uint8_t *record = sorter->arena + sorter->arena_len;
	record[0] = (uint8_t)len;
	memcpy(record + 1, &tag, sizeof tag);
	memcpy(record + RECORD_HEAD, key, len);
	sorter->arena_len += RECORD_HEAD + len;
	sorter->items[sorter->count++].record = record;
	return 0;
}

/* Brings a run's next record. Returns 1, 0 at its end, -EIO. */
static int run_next(struct run *run)
{
	uint8_t head[RECORD_HEAD];

	if (fread_unlocked(head, sizeof head, 1, run->file) != 1)
		return feof(run->file) ? 0 : -EIO;
	run->len = head[0];
	memcpy(&run->tag, head + 1, sizeof run->tag);
	if (run->len > 0 && fread_unlocked(run->key, run->len, 1, run->file) != 1)
		return -EIO;
	return 1;
}

static bool run_before(const struct run *a, const struct run *b)
{
	return claims_key_compare(a->key, a->len, b->key, b->len) < 0;
}

static void heap_swap(struct run **a, struct run **b)
{
	struct run *run = *a;

	*a = *b;
	*b = run;
}

static void heap_sink(struct run **heap, size_t count, size_t at)
{
	for (;;) {
		size_t least = at, child = 2 * at + 1;
		for (size_t i = child; i < count && i < child + 2; i++)
			if (run_before(heap[i], heap[least]))
				least = i;
		if (least == at)
			return;
		heap_swap(&heap[at], &heap[least]);
		at = least;
	}
}

int sorter_finish(struct sorter *sorter)
{
	if (sorter->run_count == 0) {
		sorter_sort(sorter);
		return 0;
	}
	int ret = sorter->count > 0 ? sorter_spill(sorter) : 0;
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < sorter->run_count; i++)
		if ((ret = run_next(sorter->runs[i])) <= 0)
			return ret < 0 ? ret : -EIO;
	sorter->heap_count = sorter->run_count;
	for (size_t i = sorter->heap_count; i-- > 0;)
		heap_sink(sorter->runs, sorter->heap_count, i);
	return 0;
}

int sorter_next(struct sorter *sorter, const uint8_t **key, size_t *len, uint32_t *tag)
{
	if (sorter->run_count == 0) {
		if (sorter->next == sorter->count)
			return 0;
		const uint8_t *record = sorter->items[sorter->next++].record;
		*len = record[0];
		memcpy(tag, record + 1, sizeof *tag);
		*key = record + RECORD_HEAD;
		return 1;
	}
	if (sorter->heap_stale) {
		int ret = run_next(sorter->runs[0]);
		if (ret < 0)
			return ret;
		if (ret == 0)
			heap_swap(&sorter->runs[0], &sorter->runs[--sorter->heap_count]);
		heap_sink(sorter->runs, sorter->heap_count, 0);
		sorter->heap_stale = false;
	}
	if (sorter->heap_count == 0)
		return 0;
	*key = sorter->runs[0]->key;
	*len = sorter->runs[0]->len;
	*tag = sorter->runs[0]->tag;
	sorter->heap_stale = true;
	return 1;
}
