#include "compile.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "source_account.h"
#include "entries.h"
#include "filter.h"
#include "generations.h"
#include "layout.h"
#include "manifest.h"
#include "source.h"
#include "tempfile.h"

#define COMMIT_EVERY 100000 /* names: bounds the dirty pages that LMDB holds in memory */
#define MAP_SPARE (UINT64_C(64) << 20)
#define MAP_FACTOR 4 /* address space, not memory: what a claim's octets become in a tree, at most */

/* What filter and table hold. Of a name that only has names below it the filter alone knows: below. */
struct element {
	uint64_t hash, check;
	uint32_t set;
	bool below;
};

/* The next record of one source, while they are merged. */
struct head {
	struct claims *claims;
	bool ended;
	size_t len;
	uint8_t key[NAME_KEY_MAX];
	struct claim claim;
};

/* The table of sets: each is the octets that are stored for it, found again by their hash. */
struct sets {
	uint8_t *octets;
	size_t len, room;
	size_t *begin; /* of set i in octets; begin[count] is the end */
	uint32_t count;
	uint32_t *slots;   /* set + 1; 0: free */
	size_t slot_count; /* a power of two */
};

struct compiler {
	const struct compile_options *options;
	char *why;
	char file[PATH_MAX];
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	uint64_t seed;
	uint64_t names;
	uint64_t category_names[LISTS_CATEGORIES_MAX];
	unsigned labels_min, labels_max;
	FILE *elements; /* of filter and table, which are written when their number is known */
	uint64_t element_count;
	uint8_t last[NAME_KEY_MAX]; /* the key before, whose parents are in the filter already */
	size_t last_len;
	struct head *heads;
	struct sets sets;
	uint8_t *record; /* the set that is being put together: room for a claim of each source */
};

static int compile_failed(struct compiler *compiler, int ret)
{
	if (compiler->why[0] == '\0')
		snprintf(compiler->why, LISTS_WHY_MAX, "%.300s: %s", compiler->file,
		        ret < -1000 ? mdb_strerror(ret) : strerror(-ret));
	return ret < -1000 ? -EIO : ret;
}

/* LMDB's errors are errno values, or below -30000 its own. */
static int lmdb_error(int ret)
{
	return ret > 0 ? -ret : ret;
}

/* ---- the table of sets ---- */

static int sets_init(struct sets *sets)
{
	sets->slot_count = 1024;
	sets->slots = calloc(sets->slot_count, sizeof *sets->slots);
	sets->begin = calloc(sets->slot_count + 1, sizeof *sets->begin);
	return sets->slots != NULL && sets->begin != NULL ? 0 : -ENOMEM;
}

static void sets_clear(struct sets *sets)
{
	free(sets->octets);
	free(sets->begin);
	free(sets->slots);
}

static size_t sets_slot(const struct sets *sets, const uint8_t *octets, size_t len)
{
	size_t slot = (size_t)XXH3_64bits(octets, len) & (sets->slot_count - 1);

	for (; sets->slots[slot] != 0; slot = (slot + 1) & (sets->slot_count - 1)) {
		uint32_t set = sets->slots[slot] - 1;
		size_t begin = sets->begin[set];
		if (sets->begin[set + 1] - begin == len && memcmp(sets->octets + begin, octets, len) == 0)
			break;
	}
	return slot;
}

static int sets_grow(struct sets *sets)
{
	size_t count = sets->slot_count * 2;
	uint32_t *slots = calloc(count, sizeof *slots);
	size_t *begin = realloc(sets->begin, (count + 1) * sizeof *begin);

	if (begin != NULL)
		sets->begin = begin;
	if (slots == NULL || begin == NULL) {
		free(slots);
		return -ENOMEM;
	}
	free(sets->slots);
	sets->slots = slots;
	sets->slot_count = count;
	for (uint32_t i = 0; i < sets->count; i++) {
		size_t len = sets->begin[i + 1] - sets->begin[i];
		sets->slots[sets_slot(sets, sets->octets + sets->begin[i], len)] = i + 1;
	}
	return 0;
}

/* The number of a set, a new one if it was not met before. Returns 0 or -ENOMEM. */
static int sets_find(struct sets *sets, const uint8_t *octets, size_t len, uint32_t *set)
{
	size_t slot = sets_slot(sets, octets, len);

	if (sets->slots[slot] != 0) {
		*set = sets->slots[slot] - 1;
		return 0;
	}
	if (sets->count >= sets->slot_count / 2) {
		if (sets_grow(sets) < 0)
			return -ENOMEM;
		slot = sets_slot(sets, octets, len);
	}
	if (sets->room - sets->len < len) {
		size_t room = sets->room * 2 + len + 4096;
		uint8_t *grown = realloc(sets->octets, room);
		if (grown == NULL)
			return -ENOMEM;
		sets->octets = grown;
		sets->room = room;
	}
	memcpy(sets->octets + sets->len, octets, len);
	sets->len += len;
	*set = sets->count++;
	sets->begin[sets->count] = sets->len;
	sets->slots[slot] = *set + 1;
	return 0;
}

/* ---- merging ---- */

static int head_next(struct head *head)
{
	int ret = claims_next(head->claims, head->key, &head->len, &head->claim);

	head->ended = ret == 0;
	return ret < 0 ? ret : 0;
}

/* The source whose next name comes first, or NULL at the end. There are few sources, so no heap. */
static struct head *heads_least(const struct compiler *compiler)
{
	struct head *least = NULL;

	for (size_t i = 0; i < compiler->options->source_count; i++) {
		struct head *head = &compiler->heads[i];
		if (!head->ended && (least == NULL || claims_key_compare(head->key, head->len, least->key,
		                                              least->len) < 0))
			least = head;
	}
	return least;
}

static void record_claim(uint8_t *at, uint32_t source, const struct claim *claim)
{
	const uint64_t masks[4] = { htole64(claim->at), htole64(claim->below), htole64(claim->except_at),
		htole64(claim->except_below) };

	source = htole32(source);
	memcpy(at, &source, sizeof source);
	memcpy(at + sizeof source, masks, sizeof masks);
}

/* Puts the set of one name together from all sources that have it next, and moves those on. Returns its
 * octets or -errno. */
static int record_build(struct compiler *compiler, const uint8_t *key, size_t key_len, uint64_t *categories)
{
	size_t len = sizeof(uint32_t);
	uint32_t claims = 0;

	*categories = 0;
	for (size_t i = 0; i < compiler->options->source_count; i++) {
		struct head *head = &compiler->heads[i];
		if (head->ended || head->len != key_len || memcmp(head->key, key, key_len) != 0)
			continue;
		record_claim(compiler->record + len, (uint32_t)i, &head->claim);
		*categories |= head->claim.at | head->claim.below;
		len += LAYOUT_CLAIM;
		claims++;
		int ret = head_next(head);
		if (ret < 0)
			return ret;
	}
	claims = htole32(claims);
	memcpy(compiler->record, &claims, sizeof claims);
	return (int)len;
}

static int element_write(struct compiler *compiler, const struct element *element)
{
	compiler->element_count++;
	return fwrite_unlocked(element, sizeof *element, 1, compiler->elements) == 1 ? 0 : -errno;
}

static uint64_t key_check(const struct compiler *compiler, const uint8_t *key, size_t len)
{
	struct name name = { 0 };

	name_from_key(&name, key, len);
	return name_hash(&name, LAYOUT_ENTRIES_SEED(compiler->seed));
}

/*
 * The elements of one name: itself, and for each parent that something lies below it. The hash is
 * the one that name_hash_suffixes() gives: chained label by label from the right, which is a key's order.
 * Keys come sorted, so a parent is new unless the key before lies below it too.
 */
static int write_elements(struct compiler *compiler, const uint8_t *key, size_t len, uint32_t set)
{
	uint64_t hash = compiler->seed;
	unsigned labels = 0;
	bool shared = true;
	int ret = 0;

	for (size_t at = 0, end; at < len && ret == 0; at = end) {
		end = at + 1u + key[at];
		hash = XXH3_64bits_withSeed(key + at, end - at, hash);
		labels++;
		shared = shared && end < compiler->last_len &&
		         memcmp(key + at, compiler->last + at, end - at) == 0;
		if (end < len && !shared)
			ret = element_write(
			        compiler, &(struct element){ .hash = filter_below(hash), .below = true });
	}
	memcpy(compiler->last, key, len);
	compiler->last_len = len;
	if (labels < compiler->labels_min)
		compiler->labels_min = labels;
	if (labels > compiler->labels_max)
		compiler->labels_max = labels;
	if (ret < 0)
		return ret;
	return element_write(compiler,
	        &(struct element){ .hash = hash, .check = key_check(compiler, key, len), .set = set });
}

/* So far, and a new transaction for what follows. */
static int commit(struct compiler *compiler)
{
	int ret = lmdb_error(mdb_txn_commit(compiler->txn));

	compiler->txn = NULL;
	return ret < 0 ? ret : lmdb_error(mdb_txn_begin(compiler->env, NULL, 0, &compiler->txn));
}

static int put(
        struct compiler *compiler, const void *key, size_t key_len, const void *value, size_t value_len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key }, v = { value_len, (void *)(uintptr_t)value };

	return lmdb_error(mdb_put(compiler->txn, compiler->dbi, &k, &v, MDB_APPEND));
}

static int write_name(struct compiler *compiler, const uint8_t *key, size_t key_len, uint32_t set)
{
	uint16_t narrow = htole16((uint16_t)set);
	uint32_t wide = htole32(set);

	int ret = set <= UINT16_MAX ? put(compiler, key, key_len, &narrow, sizeof narrow)
	                            : put(compiler, key, key_len, &wide, sizeof wide);
	if (ret < 0)
		return ret;
	ret = write_elements(compiler, key, key_len, set);
	if (ret < 0)
		return ret;
	return ++compiler->names % COMMIT_EVERY == 0 ? commit(compiler) : 0;
}

static int write_names(struct compiler *compiler)
{
	uint8_t key[NAME_KEY_MAX];
	uint64_t categories;
	uint32_t set;
	int ret = 0;

	for (struct head *head; ret == 0 && (head = heads_least(compiler)) != NULL;) {
		size_t len = head->len;
		memcpy(key, head->key, len);
		int record = record_build(compiler, key, len, &categories);
		if (record < 0)
			return record;
		ret = sets_find(&compiler->sets, compiler->record, (size_t)record, &set);
		if (ret == 0)
			ret = write_name(compiler, key, len, set);
		for (; categories != 0; categories &= categories - 1)
			compiler->category_names[__builtin_ctzll(categories)]++;
	}
	return ret;
}

/* ---- what stands behind the names ---- */

static int elements_rewind(struct compiler *compiler)
{
	return fflush(compiler->elements) == 0 && fseeko(compiler->elements, 0, SEEK_SET) == 0 ? 0 : -errno;
}

static int element_read(struct compiler *compiler, struct element *element)
{
	return fread_unlocked(element, sizeof *element, 1, compiler->elements) == 1 ? 0 : -EIO;
}

/* Room for a value of len octets, zeroed, with its magic. */
static int put_value(
        struct compiler *compiler, const char *key_text, const char *magic, size_t len, uint8_t **out)
{
	MDB_val key = { strlen(key_text), (void *)(uintptr_t)key_text }, value = { len, NULL };

	int ret = mdb_put(compiler->txn, compiler->dbi, &key, &value, MDB_APPEND | MDB_RESERVE);
	if (ret != 0)
		return lmdb_error(ret);
	memset(value.mv_data, 0, len);
	memcpy(value.mv_data, magic, strlen(magic));
	*out = value.mv_data;
	return 0;
}

static int write_entries(struct compiler *compiler)
{
	uint32_t count = entries_lines(compiler->names), stored = htole32(count), reach = 0;
	struct element element;
	uint8_t *head = NULL;

	int ret = elements_rewind(compiler);
	if (ret == 0)
		ret = put_value(compiler, LAYOUT_KEY_ENTRIES, LAYOUT_ENTRIES_MAGIC,
		        LAYOUT_ENTRIES_HEAD + (size_t)count * ENTRIES_LINE, &head);
	if (ret < 0)
		return ret;
	for (uint64_t i = 0; i < compiler->element_count && ret >= 0; i++) {
		ret = element_read(compiler, &element);
		if (ret == 0 && !element.below)
			ret = entries_add(
			        head + LAYOUT_ENTRIES_HEAD, count, element.hash, element.check, element.set);
		if (ret > (int)reach)
			reach = (uint32_t)ret;
	}
	if (ret < 0)
		return ret;
	reach = htole32(reach);
	memcpy(head + LAYOUT_ENTRIES_COUNT, &stored, sizeof stored);
	memcpy(head + LAYOUT_ENTRIES_REACH, &reach, sizeof reach);
	return 0;
}

static int write_filter(struct compiler *compiler)
{
	uint32_t count = filter_blocks(compiler->element_count), stored = htole32(count);
	struct element element;
	uint8_t *head = NULL;

	int ret = elements_rewind(compiler);
	if (ret == 0)
		ret = put_value(compiler, LAYOUT_KEY_FILTER, LAYOUT_FILTER_MAGIC,
		        LAYOUT_FILTER_HEAD + (size_t)count * FILTER_BLOCK, &head);
	if (ret < 0)
		return ret;
	memcpy(head + LAYOUT_FILTER_COUNT, &stored, sizeof stored);
	head[LAYOUT_FILTER_LABELS] = (uint8_t)compiler->labels_min;
	head[LAYOUT_FILTER_LABELS + 1] = (uint8_t)compiler->labels_max;
	for (uint64_t i = 0; i < compiler->element_count && ret == 0; i++) {
		ret = element_read(compiler, &element);
		if (ret == 0)
			filter_add(head + LAYOUT_FILTER_HEAD, count, element.hash);
	}
	return ret;
}

static json_t *about(const struct compiler *compiler)
{
	const struct compile_options *options = compiler->options;
	json_t *categories = json_array();
	char seed[17];

	for (size_t i = 0; i < options->category_count; i++)
		json_array_append_new(categories, json_pack("{s:s, s:I}", "name", options->categories[i],
		                                          "names", (json_int_t)compiler->category_names[i]));
	snprintf(seed, sizeof seed, "%016" PRIx64, compiler->seed);
	return json_pack("{s:i, s:I, s:I, s:I, s:b, s:s, s:s, s:o, s:O}", "layout", LAYOUT_VERSION, "id",
	        (json_int_t)options->id, "names", (json_int_t)compiler->names, "published_at",
	        (json_int_t)time(NULL), "starter", options->starter, "inputs", options->inputs, "seed", seed,
	        "categories", categories, "sources", options->sources);
}

static int write_info(struct compiler *compiler, const json_t *info)
{
	char *text = json_dumps(info, JSON_COMPACT);

	if (text == NULL)
		return -ENOMEM;
	int ret = put(compiler, LAYOUT_KEY_INFO, strlen(LAYOUT_KEY_INFO), text, strlen(text));
	free(text);
	return ret;
}

static int write_sets(struct compiler *compiler)
{
	MDB_val key = { strlen(LAYOUT_KEY_SETS), (void *)(uintptr_t)LAYOUT_KEY_SETS };
	MDB_val value = { sizeof(uint32_t) + compiler->sets.len, NULL };
	uint32_t count = htole32(compiler->sets.count);

	int ret = mdb_put(compiler->txn, compiler->dbi, &key, &value, MDB_APPEND | MDB_RESERVE);
	if (ret != 0)
		return lmdb_error(ret);
	memcpy(value.mv_data, &count, sizeof count);
	if (compiler->sets.len > 0)
		memcpy((uint8_t *)value.mv_data + sizeof count, compiler->sets.octets, compiler->sets.len);
	return 0;
}

static int write_all(struct compiler *compiler, json_t **info)
{
	int ret = write_names(compiler);

	if (ret == 0)
		ret = write_entries(compiler);
	if (ret == 0)
		ret = commit(compiler); /* LMDB holds such a value in memory until then */
	if (ret == 0)
		ret = write_filter(compiler);
	if (ret < 0)
		return ret;
	*info = about(compiler);
	if (*info == NULL)
		return -ENOMEM;
	ret = write_info(compiler, *info);
	if (ret == 0)
		ret = write_sets(compiler);
	if (ret < 0)
		return ret;
	ret = lmdb_error(mdb_txn_commit(compiler->txn));
	compiler->txn = NULL;
	return ret < 0 ? ret : lmdb_error(mdb_env_sync(compiler->env, 1));
}

/* ---- the file around it ---- */

static int store_open(struct compiler *compiler, uint64_t map_size)
{
	int ret = mdb_env_create(&compiler->env);

	if (ret == 0)
		ret = mdb_env_set_mapsize(compiler->env, map_size);
	if (ret == 0)
		ret = mdb_env_open(compiler->env, compiler->file,
		        MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS | MDB_NOSYNC, 0644);
	if (ret == 0)
		ret = mdb_txn_begin(compiler->env, NULL, 0, &compiler->txn);
	if (ret == 0)
		ret = mdb_dbi_open(compiler->txn, NULL, 0, &compiler->dbi);
	return lmdb_error(ret);
}

static int heads_open(struct compiler *compiler, uint64_t *octets)
{
	const struct compile_options *options = compiler->options;

	compiler->heads = calloc(options->source_count + 1, sizeof *compiler->heads);
	compiler->record = malloc(sizeof(uint32_t) + options->source_count * LAYOUT_CLAIM);
	if (compiler->heads == NULL || compiler->record == NULL)
		return -ENOMEM;
	*octets = 0;
	for (size_t i = 0; i < options->source_count; i++) {
		compiler->heads[i].claims = options->claims[i];
		*octets += claims_size(options->claims[i]);
		int ret = claims_rewind(options->claims[i]);
		if (ret == 0)
			ret = head_next(&compiler->heads[i]);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* The manifest, and the file read back as its users will. */
static int store_check(struct compiler *compiler, json_t *info)
{
	const struct compile_options *options = compiler->options;
	char path[PATH_MAX], hash[MANIFEST_HASH_TEXT];
	struct lists *lists;
	uint64_t size;

	int ret = manifest_file_hash(compiler->file, &size, hash);
	if (ret < 0)
		return ret;
	json_object_set_new(info, "size", json_integer((json_int_t)size));
	json_object_set_new(info, "hash", json_string(hash));
	ret = generations_path(path, sizeof path, options->work, options->id, "json");
	if (ret == 0)
		ret = manifest_write(path, info);
	if (ret == 0)
		ret = lists_open(&lists, NULL, compiler->file, options->categories, options->category_count,
		        compiler->why);
	if (ret < 0)
		return ret;
	lists_free(lists);
	return manifest_sync_dir(options->work);
}

static int compile(struct compiler *compiler)
{
	const struct compile_options *options = compiler->options;
	uint64_t octets;
	json_t *info = NULL;

	int ret = generations_path(compiler->file, sizeof compiler->file, options->work, options->id, "mdb");
	if (ret < 0)
		return ret;
	if (getrandom(&compiler->seed, sizeof compiler->seed, 0) != sizeof compiler->seed)
		return -EIO;
	unlink(compiler->file);
	ret = sets_init(&compiler->sets);
	if (ret == 0)
		ret = tempfile_open(&compiler->elements, options->work);
	if (ret == 0)
		ret = heads_open(compiler, &octets);
	if (ret == 0)
		ret = store_open(compiler, octets * MAP_FACTOR + MAP_SPARE);
	if (ret == 0)
		ret = write_all(compiler, &info);
	if (compiler->txn != NULL)
		mdb_txn_abort(compiler->txn);
	if (compiler->env != NULL)
		mdb_env_close(compiler->env);
	if (ret == 0)
		ret = store_check(compiler, info);
	json_decref(info);
	return ret;
}

int compile_generation(const struct compile_options *options, uint64_t *names, char why[LISTS_WHY_MAX])
{
	struct compiler compiler = { .options = options, .why = why, .labels_min = NAME_LABELS_MAX };

	why[0] = '\0';
	int ret = compile(&compiler);
	if (compiler.elements != NULL)
		fclose(compiler.elements);
	sets_clear(&compiler.sets);
	free(compiler.heads);
	free(compiler.record);
	*names = compiler.names;
	return ret < 0 ? compile_failed(&compiler, ret) : 0;
}

/* ---- the first generation ---- */

static int starter_compile(const char *dir, const char *work, struct source_content *content,
        const char *const *categories, size_t category_count, char why[LISTS_WHY_MAX])
{
	struct compile_options options = {
		.work = work,
		.id = generations_next(dir),
		.categories = categories,
		.category_count = category_count,
		.claims = &content->claims,
		.source_count = 1,
		.starter = true,
		.inputs = "starter",
		.sources = json_array(),
	};
	uint64_t names;

	json_array_append_new(
	        options.sources, source_account_new(&source_starter, content, categories, category_count));
	int ret = compile_generation(&options, &names, why);
	json_decref(options.sources);
	return ret < 0 ? ret : generations_publish(dir, work, options.id);
}

int compile_starter(const char *dir, const char *text, size_t len, const char *const *categories,
        size_t category_count, char why[LISTS_WHY_MAX])
{
	char work[PATH_MAX];
	struct source_reading reading = { .work = work, .memory = (size_t)1 << 20 };
	struct source_content content = { 0 };

	why[0] = '\0';
	int lock = generations_lock(dir, GENERATIONS_LOCK_WAIT_S, why), ret = 0;
	if (lock < 0)
		return lock;
	if (lists_current_id(dir) != 0)
		goto out;
	ret = generations_work(dir, work, sizeof work);
	if (ret == 0)
		ret = source_read_starter(text, len, categories, category_count, &reading, &content, why);
	if (ret == 0)
		ret = starter_compile(dir, work, &content, categories, category_count, why);
	if (ret < 0 && why[0] == '\0')
		snprintf(why, LISTS_WHY_MAX, "%.300s: %s", dir, strerror(-ret));
	source_content_clear(&content);
out:
	close(lock);
	return ret;
}
