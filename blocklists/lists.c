#include "lists.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "entries.h"
#include "filter.h"
#include "generations.h"
#include "layout.h"
#include "manifest.h"
#include "member.h"

/* clang-format off */
/*
 * A generation is one LMDB file, gen-000042.mdb, with one unnamed database, written once in key order
 * (MDB_APPEND):
 *
 *   key                 value
 *   name_to_key(name)   which set the name is in: 16 bits, or 32 where that does not suffice, little endian
 *   \xff entries        48 octets (layout.h), then a hash table (entries.h) of the same: name -> set
 *   \xff filter         48 octets (layout.h), then a split-block Bloom filter over name_hash_suffixes() of
 *                       every name, and over filter_below() of that of every name that has names below it
 *   \xff info           JSON: layout, id, names, published_at, seed (hex), starter, inputs,
 *                       categories [{name, names}] whose order is that of the bits below,
 *                       sources [{name, url, licence, taken, fetched_at, ...}]
 *   \xff sets           number of sets (32 bits); for each the number of its claims (32 bits) and the
 *                       claims (layout.h)
 *
 * A set is what all sources together say of a name. There are few different ones, so a name costs little more
 * than its key. Rejected: category masks beside each name (16 octets more), one record a source (as many
 * look-ups), and sub-databases.
 *
 * A look-up of every day reads the filter and the table: two cache lines, where a walk through the tree of
 * five million names waits for memory some ten times. The tree is what people see (find, diff, export) and
 * what answers where the table cannot.
 *
 * Beside it lies gen-000042.json: the same info with the file's size and XXH3-128. LMDB has no checksums and
 * a truncated map kills with SIGBUS, so nothing is mapped before both are found right. What is looked up
 * comes from the hashed file alone. Once it is mapped, nobody may cut or overwrite it: generations belong to the
 * updater's user, are renamed into place whole, and go by unlink, which leaves the map as it is.
 */
/* clang-format on */

#define GENERATIONS_TRIED 64
#define MAP_STEP (128 << 10)             /* octets; an unpreemptible kernel ends a step first */
#define MATCH_WHOLE UINT32_C(0x80000000) /* in match[].set: the entry is the name itself, not a parent */

struct stored_claim {
	uint32_t source;
	uint64_t at, below, except_at, except_below;
};

struct set {
	uint64_t at, below; /* of all its claims */
	bool excepts;
	uint32_t first, count; /* its claims */
};

struct lists {
	atomic_uint references;
	MDB_env *env;
	MDB_dbi dbi;
	struct filter filter;   /* in the map */
	struct entries entries; /* in the map */
	unsigned labels_min, labels_max;
	uint64_t seed;
	struct set *sets;
	uint32_t set_count;
	struct stored_claim *claims;
	size_t claim_count;
	uint64_t bit[LISTS_CATEGORIES_MAX]; /* the caller's, for each of the generation's; 0: ignored */
	json_t *about;                      /* keeps the texts of info */
	struct lists_info info;
	struct lists_source *sources;
	char hash[MANIFEST_HASH_TEXT];
};

struct lists_view {
	struct lists *lists;
	MDB_txn *txn;
};

/* ---- opening ---- */

static int damaged(char why[LISTS_WHY_MAX], const char *file, const char *what)
{
	snprintf(why, LISTS_WHY_MAX, "%.300s: %s", file, what);
	return -EBADMSG;
}

/* A manifest tells the layout, so that a file of another program version is not taken for a damaged one. */
static int layout_verify(const char *file, const json_t *manifest, char why[LISTS_WHY_MAX])
{
	int64_t layout = member_number(manifest, "layout");

	if (layout == LAYOUT_VERSION || layout <= 0)
		return 0;
	snprintf(why, LISTS_WHY_MAX,
	        "%.300s: made by %s version of usher (layout %" PRIi64 ", this one reads %d): `usher lists "
	        "update` makes it anew",
	        file, layout < LAYOUT_VERSION ? "an older" : "a newer", layout, LAYOUT_VERSION);
	return -EBADMSG;
}

/* Size and hash of the file against its manifest. */
static int file_verify(struct lists *lists, const char *file, const json_t *manifest, char why[LISTS_WHY_MAX])
{
	int ret = manifest_file_hash(file, &lists->info.size, lists->hash);

	if (ret < 0) {
		snprintf(why, LISTS_WHY_MAX, "%.300s: %s", file, strerror(-ret));
		return ret;
	}
	if (lists->info.size != (uint64_t)member_number(manifest, "size"))
		return damaged(why, file, "damaged: its size is not that of its manifest");
	if (strcmp(lists->hash, member_text(manifest, "hash")) != 0)
		return damaged(why, file, "damaged: its hash is not that of its manifest");
	return 0;
}

static int env_open(struct lists *lists, const char *file, char why[LISTS_WHY_MAX])
{
	MDB_txn *txn;

	int ret = mdb_env_create(&lists->env);
	if (ret == 0)
		ret = mdb_env_set_mapsize(lists->env, lists->info.size);
	if (ret == 0)
		ret = mdb_env_open(lists->env, file,
		        MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS | MDB_NORDAHEAD, 0);
	if (ret == 0)
		ret = mdb_txn_begin(lists->env, NULL, MDB_RDONLY, &txn);
	if (ret == 0) {
		ret = mdb_dbi_open(txn, NULL, 0, &lists->dbi);
		mdb_txn_commit(txn);
	}
	if (ret == 0)
		return 0;
	snprintf(why, LISTS_WHY_MAX, "%.300s: %s", file, mdb_strerror(ret));
	return ret > 0 ? -ret : -EBADMSG;
}

static bool value_get(struct lists_view *view, const char *key, MDB_val *value)
{
	MDB_val k = { strlen(key), (void *)(uintptr_t)key };

	return mdb_get(view->txn, view->lists->dbi, &k, value) == 0;
}

static bool filter_load(struct lists *lists, const MDB_val *value)
{
	const uint8_t *head = value->mv_data;
	uint32_t count;

	if (value->mv_size < LAYOUT_FILTER_HEAD ||
	        memcmp(head, LAYOUT_FILTER_MAGIC, LAYOUT_FILTER_COUNT) != 0)
		return false;
	memcpy(&count, head + LAYOUT_FILTER_COUNT, sizeof count);
	count = le32toh(count);
	if (count == 0 || value->mv_size != LAYOUT_FILTER_HEAD + (size_t)count * FILTER_BLOCK)
		return false;
	lists->filter = (struct filter){ head + LAYOUT_FILTER_HEAD, count };
	lists->labels_min = head[LAYOUT_FILTER_LABELS];
	lists->labels_max = head[LAYOUT_FILTER_LABELS + 1];
	return lists->labels_min >= 1 && lists->labels_max <= NAME_LABELS_MAX;
}

static bool entries_load(struct lists *lists, const MDB_val *value)
{
	const uint8_t *head = value->mv_data;
	uint32_t count, reach;

	if (value->mv_size < LAYOUT_ENTRIES_HEAD ||
	        memcmp(head, LAYOUT_ENTRIES_MAGIC, LAYOUT_ENTRIES_COUNT) != 0)
		return false;
	memcpy(&count, head + LAYOUT_ENTRIES_COUNT, sizeof count);
	memcpy(&reach, head + LAYOUT_ENTRIES_REACH, sizeof reach);
	count = le32toh(count);
	if (count == 0 || value->mv_size != LAYOUT_ENTRIES_HEAD + (size_t)count * ENTRIES_LINE)
		return false;
	lists->entries = (struct entries){ head + LAYOUT_ENTRIES_HEAD, count, le32toh(reach) };
	return lists->entries.reach <= ENTRIES_REACH_MAX;
}

/* The generation's category bits to the caller's. */
static uint64_t bits_map(const struct lists *lists, uint64_t stored)
{
	uint64_t bits = 0;

	for (; stored != 0; stored &= stored - 1)
		bits |= lists->bit[__builtin_ctzll(stored)];
	return bits;
}

static void claim_load(struct lists *lists, const uint8_t *at, struct stored_claim *claim)
{
	uint64_t masks[4];

	memcpy(&claim->source, at, sizeof claim->source);
	memcpy(masks, at + sizeof claim->source, sizeof masks);
	claim->source = le32toh(claim->source);
	claim->at = bits_map(lists, le64toh(masks[0]));
	claim->below = bits_map(lists, le64toh(masks[1]));
	claim->except_at = bits_map(lists, le64toh(masks[2]));
	claim->except_below = bits_map(lists, le64toh(masks[3]));
}

static bool set_load(struct lists *lists, struct set *set, const uint8_t *at, uint32_t count)
{
	*set = (struct set){ .first = (uint32_t)lists->claim_count, .count = count };
	for (uint32_t i = 0; i < count; i++, at += LAYOUT_CLAIM) {
		struct stored_claim *claim = &lists->claims[lists->claim_count++];
		claim_load(lists, at, claim);
		if (claim->source >= lists->info.source_count)
			return false;
		set->at |= claim->at;
		set->below |= claim->below;
		set->excepts |= (claim->except_at | claim->except_below) != 0;
	}
	return true;
}

static bool sets_load(struct lists *lists, const MDB_val *value)
{
	const uint8_t *at = value->mv_data, *end = at + value->mv_size;
	uint32_t count, claims;

	if (value->mv_size < sizeof count)
		return false;
	memcpy(&count, at, sizeof count);
	at += sizeof count;
	lists->set_count = le32toh(count);
	if (lists->set_count > value->mv_size / sizeof count)
		return false;
	lists->sets = calloc((size_t)lists->set_count + 1, sizeof *lists->sets);
	lists->claims = calloc(value->mv_size / LAYOUT_CLAIM + 1, sizeof *lists->claims);
	if (lists->sets == NULL || lists->claims == NULL)
		return false;
	for (uint32_t i = 0; i < lists->set_count; i++) {
		if ((size_t)(end - at) < sizeof claims)
			return false;
		memcpy(&claims, at, sizeof claims);
		at += sizeof claims;
		claims = le32toh(claims);
		if ((size_t)(end - at) / LAYOUT_CLAIM < claims)
			return false;
		if (!set_load(lists, &lists->sets[i], at, claims))
			return false;
		at += (size_t)claims * LAYOUT_CLAIM;
	}
	return at == end;
}

static bool info_load(
        struct lists *lists, const MDB_val *value, const char *const *categories, size_t category_count)
{
	struct lists_info *info = &lists->info;
	size_t i;
	json_t *entry;

	lists->about = json_loadb(value->mv_data, value->mv_size, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(lists->about) || member_number(lists->about, "layout") != LAYOUT_VERSION)
		return false;
	info->id = (uint64_t)member_number(lists->about, "id");
	info->names = (uint64_t)member_number(lists->about, "names");
	info->published_at = member_number(lists->about, "published_at");
	info->hash = lists->hash;
	info->starter = json_is_true(json_object_get(lists->about, "starter"));
	lists->seed = strtoull(member_text(lists->about, "seed"), NULL, 16);

	const json_t *sources = json_object_get(lists->about, "sources");
	info->source_count = json_array_size(sources);
	info->sources = lists->sources = calloc(info->source_count + 1, sizeof *lists->sources);
	if (lists->sources == NULL)
		return false;
	json_array_foreach(sources, i, entry) lists->sources[i] =
	        (struct lists_source){ member_text(entry, "name"), member_text(entry, "url"),
		        member_text(entry, "licence"), (uint64_t)member_number(entry, "taken"),
		        member_number(entry, "fetched_at") };

	const json_t *stored = json_object_get(lists->about, "categories");
	if (json_array_size(stored) > LISTS_CATEGORIES_MAX)
		return false;
	json_array_foreach(stored, i, entry)
	{
		for (size_t k = 0; k < category_count && k < LISTS_CATEGORIES_MAX; k++) {
			if (strcmp(member_text(entry, "name"), categories[k]) != 0)
				continue;
			lists->bit[i] = UINT64_C(1) << k;
			info->category_names[k] = (uint64_t)member_number(entry, "names");
		}
	}
	return true;
}

/* Reads what stays in memory. The filter is used where it lies: the file never changes, so its map does not
 * either. */
static int tables_load(struct lists *lists, const char *file, const json_t *manifest,
        const char *const *categories, size_t category_count, char why[LISTS_WHY_MAX])
{
	struct lists_view view = { .lists = lists };
	MDB_val entries, filter, info, sets;
	MDB_stat stat;
	bool whole;

	if (mdb_txn_begin(lists->env, NULL, MDB_RDONLY, &view.txn) != 0)
		return -ENOMEM;
	whole = value_get(&view, LAYOUT_KEY_ENTRIES, &entries) &&
	        value_get(&view, LAYOUT_KEY_FILTER, &filter) && value_get(&view, LAYOUT_KEY_INFO, &info) &&
	        value_get(&view, LAYOUT_KEY_SETS, &sets) && mdb_stat(view.txn, lists->dbi, &stat) == 0 &&
	        info_load(lists, &info, categories, category_count) && filter_load(lists, &filter) &&
	        entries_load(lists, &entries) && sets_load(lists, &sets);
	mdb_txn_abort(view.txn);
	if (!whole)
		return damaged(why, file, "not a generation that this version of usher reads");
	if (stat.ms_entries != lists->info.names + LAYOUT_KEYS)
		return damaged(why, file, "holds another number of names than it says");
	if (lists->info.id != (uint64_t)member_number(manifest, "id"))
		return damaged(why, file, "its manifest is that of another generation");
	return 0;
}

/* gen-000042.mdb -> gen-000042.json */
static int manifest_of(const char *file, json_t **out, char why[LISTS_WHY_MAX])
{
	char path[PATH_MAX];
	size_t len = strlen(file);

	if (len < 4 || strcmp(file + len - 4, ".mdb") != 0 || len + 2 > sizeof path) {
		snprintf(why, LISTS_WHY_MAX, "%.300s: not named like a generation", file);
		return -EINVAL;
	}
	snprintf(path, sizeof path, "%.*s.json", (int)len - 4, file);
	int ret = manifest_read(path, out);
	if (ret == -ENOENT)
		return damaged(why, path, "missing");
	if (ret < 0)
		snprintf(
		        why, LISTS_WHY_MAX, "%.300s: %s", path, ret == -EBADMSG ? "damaged" : strerror(-ret));
	return ret;
}

static int open_file(struct lists **out, const char *file, const char *const *categories,
        size_t category_count, char why[LISTS_WHY_MAX])
{
	json_t *manifest = NULL;
	struct lists *lists = calloc(1, sizeof *lists);

	if (lists == NULL)
		return -ENOMEM;
	atomic_init(&lists->references, 1);
	int ret = manifest_of(file, &manifest, why);
	if (ret == 0)
		ret = layout_verify(file, manifest, why);
	if (ret == 0)
		ret = file_verify(lists, file, manifest, why);
	if (ret == 0)
		ret = env_open(lists, file, why);
	if (ret == 0)
		ret = tables_load(lists, file, manifest, categories, category_count, why);
	json_decref(manifest);
	if (ret < 0) {
		lists_free(lists);
		return ret;
	}
	*out = lists;
	return 0;
}

int lists_open(struct lists **out, const char *dir, const char *file, const char *const *categories,
        size_t category_count, char why[LISTS_WHY_MAX])
{
	char path[PATH_MAX];

	why[0] = '\0';
	if (file != NULL)
		return open_file(out, file, categories, category_count, why);
	/* The link is read once: what it names is opened, even if another generation is published meanwhile.
	 */
	uint64_t id = lists_current_id(dir);
	if (id == 0 && access(dir, X_OK) < 0 && errno == EACCES) {
		snprintf(why, LISTS_WHY_MAX, "%.300s: permission denied; root may read it", dir);
		return -EACCES;
	}
	if (id == 0) {
		snprintf(why, LISTS_WHY_MAX, "%.300s: no lists published yet", dir);
		return -ENOENT;
	}
	int ret = generations_path(path, sizeof path, dir, id, "mdb");
	if (ret == 0)
		ret = open_file(out, path, categories, category_count, why);
	return ret == -ENOENT ? -EBADMSG : ret;
}

/* Advice on len octets of the map, a step after the other. The kernel is free not to follow it. */
static void map_advise(const uint8_t *from, size_t len, int advice)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)from & ~(page - 1),
	          end = (uintptr_t)from + len;

	for (; at < end; at += MAP_STEP)
		madvise((void *)at, end - at < MAP_STEP ? end - at : MAP_STEP, advice);
}

static void tables_advise(const struct lists *lists, int advice)
{
	map_advise(lists->filter.blocks, (size_t)lists->filter.count * FILTER_BLOCK, advice);
	map_advise(lists->entries.lines, (size_t)lists->entries.count * ENTRIES_LINE, advice);
}

void lists_prepare(const struct lists *lists)
{
	tables_advise(lists, MADV_POPULATE_READ);
}

int lists_open_newest_good(struct lists **out, const char *dir, const char *const *categories,
        size_t category_count, char why[LISTS_WHY_MAX])
{
	uint64_t ids[GENERATIONS_TRIED], current = lists_current_id(dir);
	char path[PATH_MAX], refused[LISTS_WHY_MAX];

	int ret = lists_open(out, dir, NULL, categories, category_count, why);
	if (ret == 0)
		return 0;
	int count = generations_list(dir, ids, GENERATIONS_TRIED);
	if (current == 0 && count > 0)
		snprintf(why, LISTS_WHY_MAX, "%.300s: the link `current` is missing, or names no generation",
		        dir);
	for (int i = 0; i < count; i++) {
		if (ids[i] == current || generations_path(path, sizeof path, dir, ids[i], "mdb") < 0 ||
		        open_file(out, path, categories, category_count, refused) < 0)
			continue;
		snprintf(refused, sizeof refused, "%.400s; generation %" PRIu64 " serves instead", why,
		        ids[i]);
		memcpy(why, refused, sizeof refused);
		return 0;
	}
	return ret;
}

struct lists *lists_ref(struct lists *lists)
{
	atomic_fetch_add_explicit(&lists->references, 1, memory_order_relaxed);
	return lists;
}

void lists_free(struct lists *lists)
{
	if (lists == NULL || atomic_fetch_sub_explicit(&lists->references, 1, memory_order_acq_rel) > 1)
		return;
	tables_advise(lists, MADV_DONTNEED); /* unmapped in one go, nobody else would run meanwhile */
	if (lists->env != NULL)
		mdb_env_close(lists->env);
	free(lists->sets);
	free(lists->claims);
	free(lists->sources);
	json_decref(lists->about);
	free(lists);
}

uint64_t lists_current_id(const char *dir)
{
	char path[PATH_MAX], target[64], rest[8];
	uint64_t id;

	if (snprintf(path, sizeof path, "%s/current", dir) >= (int)sizeof path)
		return 0;
	ssize_t len = readlink(path, target, sizeof target - 1);
	if (len < 0)
		return 0;
	target[len] = '\0';
	if (sscanf(target, "gen-%" SCNu64 ".%7s", &id, rest) != 2 || strcmp(rest, "mdb") != 0)
		return 0;
	return id;
}

const struct lists_info *lists_info(const struct lists *lists)
{
	return &lists->info;
}

uint64_t lists_seed(const struct lists *lists)
{
	return lists->seed;
}

struct lists_view *lists_view_open(struct lists *lists)
{
	struct lists_view *view = calloc(1, sizeof *view);

	if (view == NULL || mdb_txn_begin(lists->env, NULL, MDB_RDONLY, &view->txn) != 0) {
		free(view);
		return NULL;
	}
	view->lists = lists_ref(lists);
	return view;
}

void lists_view_close(struct lists_view *view)
{
	if (view == NULL)
		return;
	mdb_txn_abort(view->txn);
	lists_free(view->lists);
	free(view);
}

/* ---- looking up ---- */

/* Which set a stored value names. Returns false if it is none of the generation's. */
static bool set_of(const struct lists *lists, const MDB_val *value, uint32_t *set)
{
	uint16_t narrow;

	if (value->mv_size == sizeof narrow) {
		memcpy(&narrow, value->mv_data, sizeof narrow);
		*set = le16toh(narrow);
	} else if (value->mv_size == sizeof *set) {
		memcpy(set, value->mv_data, sizeof *set);
		*set = le32toh(*set);
	} else {
		return false;
	}
	return *set < lists->set_count;
}

/* The set of the entry whose key is the first len octets of key. Returns 1, 0 if there is none, -EIO. */
static int set_get(struct lists_view *view, const uint8_t *key, size_t len, uint32_t *set)
{
	MDB_val k = { len, (void *)(uintptr_t)key }, value;

	int ret = mdb_get(view->txn, view->lists->dbi, &k, &value);
	if (ret == MDB_NOTFOUND)
		return 0;
	return ret == 0 && set_of(view->lists, &value, set) ? 1 : -EIO;
}

/* What a matching entry's claim says: of the name itself, or of what lies below it. */
static uint64_t claim_categories(const struct stored_claim *claim, bool whole)
{
	return whole ? claim->at : claim->below;
}

static uint64_t claim_exceptions(const struct stored_claim *claim, bool whole)
{
	return whole ? claim->except_at : claim->except_below;
}

/* One entry that matched. */
struct match {
	uint32_t set; /* with MATCH_WHOLE */
	uint8_t labels;
};

static const struct set *match_set(const struct lists *lists, uint32_t match)
{
	return &lists->sets[match & ~MATCH_WHOLE];
}

/* The categories that any matching entry of the source takes away. */
static uint64_t source_exceptions(
        const struct lists *lists, uint32_t source, const struct match *matches, size_t count)
{
	uint64_t removed = 0;

	for (size_t i = 0; i < count; i++) {
		const struct set *set = match_set(lists, matches[i].set);
		for (uint32_t k = 0; set->excepts && k < set->count; k++) {
			const struct stored_claim *claim = &lists->claims[set->first + k];
			if (claim->source == source)
				removed |= claim_exceptions(claim, matches[i].set & MATCH_WHOLE);
		}
	}
	return removed;
}

/* The rare path: an exception takes its own source's categories away, at any depth, and no other source's. */
static uint64_t categories_less_exceptions(
        const struct lists *lists, const struct match *matches, size_t count)
{
	uint64_t categories = 0;

	for (size_t i = 0; i < count; i++) {
		const struct set *set = match_set(lists, matches[i].set);
		for (uint32_t k = 0; k < set->count; k++) {
			const struct stored_claim *claim = &lists->claims[set->first + k];
			uint64_t claimed = claim_categories(claim, matches[i].set & MATCH_WHOLE);
			if ((claimed & ~categories) != 0)
				categories |=
				        claimed & ~source_exceptions(lists, claim->source, matches, count);
		}
	}
	return categories;
}

/* Of more matches than fit the shortest are kept, and the longest, which names the entry that a person would
 * expect. */
static void facts_fill(struct lists_facts *facts, const struct match *matches, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t at = i < LISTS_MATCHES_MAX ? i : LISTS_MATCHES_MAX - 1;
		facts->match[at].set = matches[i].set;
		facts->match[at].labels = matches[i].labels;
	}
	facts->match_count = (uint8_t)(count < LISTS_MATCHES_MAX ? count : LISTS_MATCHES_MAX);
}

/* A name that is being looked up, from its shortest suffix to its longest. */
struct lookup {
	const struct name *name;
	uint8_t key[NAME_KEY_MAX];
	size_t key_len; /* 0: not made yet; few names need one */
	struct match matches[NAME_LABELS_MAX];
	size_t count;
	uint64_t categories;
	bool excepts;
};

/* The set of the suffix that begins at label. Returns 1, 0 if it is no entry, -EIO. */
static int lookup_set(
        struct lists_view *view, struct lookup *lookup, unsigned label, uint64_t hash, uint32_t *set)
{
	const struct lists *lists = view->lists;
	const struct name *name = lookup->name;
	uint64_t check = name_hash_suffix(name, label, LAYOUT_ENTRIES_SEED(lists->seed));

	if (!entries_find(&lists->entries, hash, check, set))
		return 0;
	if (*set != ENTRIES_ASK_TREE)
		return *set < lists->set_count ? 1 : -EIO;
	if (lookup->key_len == 0)
		lookup->key_len = name_to_key(name, lookup->key);
	/* A parent's key is the beginning of the name's; what the name has in front of it comes behind. */
	return set_get(view, lookup->key, lookup->key_len - name->offset[label], set);
}

/* Adds the entry of that many labels, if the store has it and it says something of the name. Returns 0 or
 * -EIO. */
static int lookup_match(struct lists_view *view, struct lookup *lookup, unsigned labels, uint64_t hash)
{
	const struct name *name = lookup->name;
	bool whole = labels == name->labels;
	uint32_t index;

	int ret = lookup_set(view, lookup, name->labels - labels, hash, &index);
	if (ret <= 0)
		return ret;
	const struct set *set = &view->lists->sets[index];
	uint64_t categories = whole ? set->at : set->below;
	if (categories == 0 && !set->excepts)
		return 0;
	lookup->matches[lookup->count++] =
	        (struct match){ index | (whole ? MATCH_WHOLE : 0), (uint8_t)labels };
	lookup->categories |= categories;
	lookup->excepts |= set->excepts;
	return 0;
}

#define PREFETCH_LABELS 2 /* of a name's suffixes: hardly ever is a third one needed */

void lists_prefetch(const struct lists_view *view, const struct name *name, const uint64_t *hash)
{
	const struct lists *lists = view->lists;
	unsigned labels = lists->labels_min;

	for (unsigned i = 0; i < PREFETCH_LABELS && labels <= name->labels; i++, labels++)
		filter_prefetch(&lists->filter, hash[name->labels - labels]);
}

void lists_prefetch_entry(const struct lists_view *view, const struct name *name, const uint64_t *hash)
{
	const struct lists *lists = view->lists;
	unsigned labels = lists->labels_min;

	for (unsigned i = 0; i < PREFETCH_LABELS && labels <= name->labels; i++, labels++)
		if (filter_has(&lists->filter, hash[name->labels - labels]))
			entries_prefetch(&lists->entries, hash[name->labels - labels]);
}

/* Most names end after one cache line of the filter: nothing is listed at their shortest suffix, or below it.
 */
int lists_lookup(
        struct lists_view *view, const struct name *name, const uint64_t *hash, struct lists_facts *facts)
{
	const struct lists *lists = view->lists;
	unsigned most = name->labels < lists->labels_max ? name->labels : lists->labels_max;
	struct lookup lookup;

	memset(facts, 0, sizeof *facts);
	lookup.name = name;
	lookup.key_len = lookup.count = 0;
	lookup.categories = 0;
	lookup.excepts = false;
	for (unsigned labels = lists->labels_min; labels <= most; labels++) {
		uint64_t suffix = hash[name->labels - labels];
		int ret =
		        filter_has(&lists->filter, suffix) ? lookup_match(view, &lookup, labels, suffix) : 0;
		if (ret < 0)
			return ret;
		if (!filter_has(&lists->filter, filter_below(suffix)))
			break;
	}
	if (lookup.count == 0)
		return 0;
	facts->categories = lookup.excepts ? categories_less_exceptions(lists, lookup.matches, lookup.count)
	                                   : lookup.categories;
	facts_fill(facts, lookup.matches, lookup.count);
	return 1;
}

bool lists_explain(const struct lists *lists, const struct lists_facts *facts, unsigned category,
        const struct lists_source **source, uint8_t *labels)
{
	struct match matches[LISTS_MATCHES_MAX];
	uint64_t bit = category < LISTS_CATEGORIES_MAX ? UINT64_C(1) << category : 0;

	if ((facts->categories & bit) == 0)
		return false;
	for (unsigned i = 0; i < facts->match_count; i++)
		matches[i] = (struct match){ facts->match[i].set, facts->match[i].labels };
	for (unsigned i = facts->match_count; i-- > 0;) {
		const struct set *set = match_set(lists, matches[i].set);
		for (uint32_t k = 0; k < set->count; k++) {
			const struct stored_claim *claim = &lists->claims[set->first + k];
			if ((claim_categories(claim, matches[i].set & MATCH_WHOLE) & bit) == 0 ||
			        (source_exceptions(lists, claim->source, matches, facts->match_count) &
			                bit) != 0)
				continue;
			*source = &lists->sources[claim->source];
			*labels = matches[i].labels;
			return true;
		}
	}
	return false;
}

/* ---- for people ---- */

static void claim_tell(const struct lists *lists, const struct stored_claim *claim, struct lists_entry *entry,
        bool whole, void (*found)(void *arg, const struct lists_entry *entry), void *arg)
{
	entry->source = &lists->sources[claim->source];
	entry->categories = claim_categories(claim, whole);
	entry->exact = claim->below == 0;
	entry->exception = false;
	if (entry->categories != 0)
		found(arg, entry);
	entry->categories = claim_exceptions(claim, whole);
	entry->exact = claim->except_below == 0;
	entry->exception = true;
	if (entry->categories != 0)
		found(arg, entry);
}

int lists_find(struct lists_view *view, const struct name *name,
        void (*found)(void *arg, const struct lists_entry *entry), void *arg)
{
	const struct lists *lists = view->lists;
	uint8_t key[NAME_KEY_MAX];
	size_t key_len = name_to_key(name, key);

	for (unsigned label = name->labels; label-- > 0;) {
		struct lists_entry entry;
		uint32_t index;
		int ret = set_get(view, key, key_len - name->offset[label], &index);
		if (ret < 0)
			return ret;
		if (ret == 0)
			continue;
		name_suffix(name, label, &entry.name);
		for (uint32_t k = 0; k < lists->sets[index].count; k++)
			claim_tell(lists, &lists->claims[lists->sets[index].first + k], &entry, label == 0,
			        found, arg);
	}
	return 0;
}

struct lists_walk {
	const struct lists *lists;
	MDB_cursor *cursor;
};

struct lists_walk *lists_walk_open(struct lists_view *view)
{
	struct lists_walk *walk = calloc(1, sizeof *walk);

	if (walk == NULL || mdb_cursor_open(view->txn, view->lists->dbi, &walk->cursor) != 0) {
		free(walk);
		return NULL;
	}
	walk->lists = view->lists;
	return walk;
}

void lists_walk_close(struct lists_walk *walk)
{
	if (walk == NULL)
		return;
	mdb_cursor_close(walk->cursor);
	free(walk);
}

/* What a look-up finds must be what is told of the name. */
static bool table_agrees(const struct lists *lists, const struct name *name, uint32_t set)
{
	uint64_t hash[NAME_LABELS_MAX + 1], check = name_hash(name, LAYOUT_ENTRIES_SEED(lists->seed));
	uint32_t found;

	name_hash_suffixes(name, lists->seed, hash);
	return entries_find(&lists->entries, hash[0], check, &found) &&
	       (found == set || found == ENTRIES_ASK_TREE);
}

int lists_walk_next(struct lists_walk *walk, struct lists_listed *listed)
{
	MDB_val key, value;
	uint32_t index;

	int ret = mdb_cursor_get(walk->cursor, &key, &value, MDB_NEXT);
	if (ret == MDB_NOTFOUND)
		return 0;
	if (ret != 0)
		return -EIO;
	if (key.mv_size > 0 && ((const uint8_t *)key.mv_data)[0] == 0xff)
		return 0;
	if (!set_of(walk->lists, &value, &index) ||
	        name_from_key(&listed->name, key.mv_data, key.mv_size) < 0 ||
	        !table_agrees(walk->lists, &listed->name, index))
		return -EIO;
	listed->at = walk->lists->sets[index].at;
	listed->below = walk->lists->sets[index].below;
	listed->excepts = walk->lists->sets[index].excepts;
	return 1;
}
