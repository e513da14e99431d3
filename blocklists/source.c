#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "namemap.h"
#include "sorter.h"
#include "unpack.h"

#define SORT_MEMORY ((size_t)64 << 20)
#define GUARDS_MAX 65535

/* What a guard map's entry says of the name that was found. */
enum guard_role {
	GUARD_ITSELF, /* it is guarded */
	GUARD_PARENT, /* it is above a guarded name */
	GUARD_BELOW   /* it is the guarded zone or in it */
};

/* Kinds of a record's tag, beside the place of its category set: what it applies to (parse.h), and whether it
 * takes away. */
#define TAG_EXCEPTION 4
#define TAG_BITS 3

struct reader {
	const struct source *source;
	const struct source_reading *reading;
	struct source_content *content;
	struct sorter *sorter;
	struct parser *parser;
	struct namemap *guards;
	struct unpack *unpack;
	uint64_t *sets; /* category set of each of the archive's entries; 0: not wanted */
	size_t set_count;
	uint32_t current;  /* the one being read */
	const char *entry; /* its path, "" outside archives */
	int error;         /* from a callback that cannot return one */
	char *why;
};

/* ---- entries as they come ---- */

static void reader_skipped(void *arg, enum parse_reason reason, uint64_t line)
{
	struct reader *reader = arg;
	struct source_counts *counts = &reader->content->counts;

	counts->read++;
	counts->skipped[reason]++;
	if (reason > PARSE_BROKEN_MAX || counts->sample_count == SOURCE_SAMPLES)
		return;
	struct source_sample *sample = &counts->samples[counts->sample_count++];
	sample->line = line;
	sample->reason = reason;
	snprintf(sample->entry, sizeof sample->entry, "%s", reader->entry);
}

static void guard_words(
        char words[2 * NAME_TEXT_MAX], const struct name *entry, const struct name *guarded, bool is_parent)
{
	char text[NAME_TEXT_MAX], with[NAME_TEXT_MAX];

	if (words[0] != '\0')
		return;
	name_to_text(entry, text);
	name_to_text(guarded, with);
	snprintf(words, 2 * NAME_TEXT_MAX, is_parent ? "%s, and with it %s" : "%s", text, with);
}

/* True if the entry would block a guarded name; the first one is kept in words. */
static bool reader_is_guarded(struct reader *reader, const struct name *name, unsigned scope)
{
	struct source_content *content = reader->content;
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct namemap_hit hits[4];
	bool guarded = false, own = false;

	if (reader->guards == NULL || (reader->sets[reader->current] & ~reader->reading->sealed) == 0)
		return false;
	name_hash_suffixes(name, 0, hash);
	size_t count = namemap_find(reader->guards, name, hash, hits, sizeof hits / sizeof hits[0]);
	for (size_t i = 0; i < count; i++) {
		const struct source_guard *guard = &reader->reading->guards[hits[i].value];
		bool is_parent = hits[i].role == GUARD_PARENT;
		if (is_parent && !(scope & PARSE_BELOW))
			continue;
		guarded = true;
		guard_words(content->forbidden, name, &guard->name, is_parent);
		if (!guard->own)
			continue;
		own = true;
		guard_words(content->own, name, &guard->name, is_parent);
	}
	content->counts.own += own;
	return guarded;
}

static void reader_shared(struct reader *reader, const struct name *name)
{
	if (reader->content->counts.shared++ == 0)
		name_to_text(name, reader->content->shared);
}

static void reader_taken(void *arg, const struct name *name, unsigned scope, bool exception)
{
	struct reader *reader = arg;
	uint8_t key[NAME_KEY_MAX];

	if (!exception && reader_is_guarded(reader, name, scope)) {
		reader_skipped(reader, PARSE_PROTECTED, 0);
		return;
	}
	if (scope & PARSE_SHARED && !exception)
		reader_shared(reader, name);
	reader->content->counts.read++;
	size_t len = name_to_key(name, key);
	uint32_t tag = reader->current << TAG_BITS | (exception ? TAG_EXCEPTION : 0) |
	               (scope & (PARSE_AT | PARSE_BELOW));
	int ret = sorter_add(reader->sorter, key, len, tag);
	if (ret < 0 && reader->error == 0)
		reader->error = ret;
}

/* Every guarded name, every parent of one. */
static int reader_guards(struct reader *reader)
{
	const struct source_reading *reading = reader->reading;
	struct name parent;
	int ret = 0;

	if (reading->guard_count == 0)
		return 0;
	if (reading->guard_count > GUARDS_MAX)
		return -E2BIG;
	reader->guards = namemap_new(0);
	if (reader->guards == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < reading->guard_count && ret == 0; i++) {
		const struct source_guard *guard = &reading->guards[i];
		uint8_t role = guard->below ? GUARD_BELOW : GUARD_ITSELF;
		ret = namemap_add(reader->guards, &guard->name, !guard->below, role, (uint16_t)i);
		for (unsigned label = 1; label < guard->name.labels && ret == 0; label++) {
			name_suffix(&guard->name, label, &parent);
			ret = namemap_add(reader->guards, &parent, true, GUARD_PARENT, (uint16_t)i);
		}
	}
	return ret;
}

/* ---- sorted records to claims ---- */

struct above {
	size_t len;             /* of the key */
	uint64_t below, except; /* all that it and what is above it claim for names below */
};

/* The names above the current key that are claimed, the nearest last. */
struct ancestry {
	uint8_t key[NAME_KEY_MAX]; /* of the last; the others' keys are its beginnings */
	struct above stack[NAME_LABELS_MAX];
	size_t depth;
};

/* True if the parents' claims say all of it already; else the claim joins them. */
static bool ancestry_covers(
        struct ancestry *ancestry, const uint8_t *key, size_t len, const struct claim *claim)
{
	struct above all = { .len = len };

	while (ancestry->depth > 0) {
		const struct above *top = &ancestry->stack[ancestry->depth - 1];
		if (top->len < len && memcmp(ancestry->key, key, top->len) == 0) {
			all.below = top->below;
			all.except = top->except;
			break;
		}
		ancestry->depth--;
	}
	if (((claim->at | claim->below) & ~all.below) == 0 &&
	        ((claim->except_at | claim->except_below) & ~all.except) == 0)
		return true;
	all.below |= claim->below;
	all.except |= claim->except_below;
	memcpy(ancestry->key, key, len);
	ancestry->stack[ancestry->depth++] = all;
	return false;
}

static int claim_keep(struct source_content *content, struct ancestry *ancestry, const uint8_t *key,
        size_t len, const struct claim *claim)
{
	if (ancestry_covers(ancestry, key, len, claim)) {
		content->counts.covered++;
		return 0;
	}
	content->counts.taken++;
	for (uint64_t set = claim->at | claim->below; set != 0; set &= set - 1)
		content->counts.category[__builtin_ctzll(set)]++;
	return claims_append(content->claims, key, len, claim);
}

static void claim_add(struct claim *claim, uint64_t set, uint32_t tag)
{
	bool exception = tag & TAG_EXCEPTION;

	if (tag & PARSE_AT)
		*(exception ? &claim->except_at : &claim->at) |= set;
	if (tag & PARSE_BELOW)
		*(exception ? &claim->except_below : &claim->below) |= set;
}

static int reader_claims(struct reader *reader)
{
	struct source_content *content = reader->content;
	struct ancestry ancestry = { .depth = 0 };
	struct claim claim = { 0 };
	uint8_t held[NAME_KEY_MAX];
	const uint8_t *key;
	size_t held_len = 0, len;
	uint32_t tag;
	bool any = false;

	int ret = sorter_finish(reader->sorter);
	while (ret == 0 && (ret = sorter_next(reader->sorter, &key, &len, &tag)) > 0) {
		ret = 0;
		if (any && len == held_len && memcmp(key, held, len) == 0) {
			content->counts.duplicate++;
		} else {
			if (any)
				ret = claim_keep(content, &ancestry, held, held_len, &claim);
			claim = (struct claim){ 0 };
			memcpy(held, key, len);
			held_len = len;
			any = true;
		}
		claim_add(&claim, reader->sets[tag >> TAG_BITS], tag);
	}
	if (ret == 0 && any)
		ret = claim_keep(content, &ancestry, held, held_len, &claim);
	return ret;
}

/* ---- a reading's begin and end ---- */

static int reader_begin(struct reader *reader)
{
	int ret = claims_new(&reader->content->claims, reader->reading->work);

	if (ret < 0)
		return ret;
	reader->sorter = sorter_new(
	        reader->reading->work, reader->reading->memory > 0 ? reader->reading->memory : SORT_MEMORY);
	return reader->sorter != NULL ? reader_guards(reader) : -ENOMEM;
}

/* A text of which four lines in five are no names is no list, or in another format than it was taken for. */
static int reader_judge(struct reader *reader)
{
	const struct source_counts *counts = &reader->content->counts;
	uint64_t names = counts->taken + counts->duplicate + counts->covered, broken = 0;

	for (unsigned i = 0; i <= PARSE_BROKEN_MAX; i++)
		broken += counts->skipped[i];
	if (broken > 4 * names)
		snprintf(reader->why, LISTS_WHY_MAX,
		        "no list in format %s: %llu lines are not names, %llu are",
		        parse_format_name(reader->content->format), (unsigned long long)broken,
		        (unsigned long long)names);
	else if (counts->taken == 0)
		snprintf(reader->why, LISTS_WHY_MAX, "empty: no name in it");
	else
		return 0;
	return -EBADMSG;
}

static int reader_finish(struct reader *reader, int ret)
{
	if (ret == 0)
		ret = reader_claims(reader);
	if (ret == 0)
		ret = reader_judge(reader);
	if (ret < 0 && ret != -EBADMSG)
		snprintf(reader->why, LISTS_WHY_MAX, "cannot be read: %s", strerror(-ret));
	parser_free(reader->parser);
	sorter_free(reader->sorter);
	namemap_free(reader->guards);
	unpack_close(reader->unpack);
	free(reader->sets);
	if (ret < 0)
		source_content_clear(reader->content);
	return ret;
}

static int reader_parser(struct reader *reader, enum parse_format format)
{
	const struct parse_sink sink = { reader, reader_taken, reader_skipped };

	parser_free(reader->parser);
	reader->parser = parser_new(format, &sink);
	return reader->parser != NULL ? 0 : -ENOMEM;
}

static int reader_not_a_list(struct reader *reader)
{
	snprintf(reader->why, LISTS_WHY_MAX, "%s%s%s", reader->entry, reader->entry[0] != '\0' ? ": " : "",
	        parser_why(reader->parser));
	return -EBADMSG;
}

static int reader_feed(struct reader *reader, const char *data, size_t len)
{
	if (parser_feed(reader->parser, data, len) < 0)
		return reader_not_a_list(reader);
	return reader->error;
}

static int reader_parser_end(struct reader *reader)
{
	if (parser_end(reader->parser) < 0)
		return reader_not_a_list(reader);
	reader->content->format = parser_format(reader->parser);
	return reader->error;
}

/* ---- files and archives ---- */

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static size_t folder_len(const char *path)
{
	const char *base = base_of(path);

	return base > path ? (size_t)(base - path) - 1 : 0;
}

/* A UT1 folder's files: `domains`, and where it is split domains1, domains.aa, …; `urls` alike. */
static bool is_ut1_file(const char *path)
{
	const char *base = base_of(path);

	return strncmp(base, "domains", 7) == 0 || strncmp(base, "urls", 4) == 0;
}

static bool is_ut1(const struct reader *reader)
{
	if (reader->source->format != PARSE_AUTO)
		return reader->source->format == PARSE_UT1;
	if (!unpack_is_archive(reader->unpack))
		return false;
	for (size_t i = 0; i < unpack_count(reader->unpack); i++)
		if (strcmp(base_of(unpack_entry(reader->unpack, i)->path), "domains") == 0)
			return true;
	return false;
}

/* The folder that all of the tree lies in ("blacklists/"), "" if there is none. Returns a malloc()ed text. */
static char *ut1_root(const struct unpack *unpack)
{
	const char *first = unpack_count(unpack) > 0 ? unpack_entry(unpack, 0)->path : "";
	size_t len = strcspn(first, "/");

	for (size_t i = 0; i < unpack_count(unpack); i++) {
		const char *path = unpack_entry(unpack, i)->path;
		if (strncmp(path, first, len) != 0 || (path[len] != '/' && path[len] != '\0') ||
		        (path[len] == '\0' && is_ut1_file(path)))
			len = 0;
		if (len == 0)
			return strdup("");
	}
	char *root = malloc(len + 2);
	if (root != NULL)
		snprintf(root, len + 2, "%.*s/", (int)len, first);
	return root;
}

static int folder_add(struct source_folders *folders, const char *name, size_t len)
{
	for (size_t i = 0; i < folders->count; i++)
		if (strncmp(folders->name[i], name, len) == 0 && folders->name[i][len] == '\0')
			return 0;
	if (folders->count == SOURCE_FOLDERS_MAX)
		return 0;
	folders->name[folders->count] = strndup(name, len);
	return folders->name[folders->count++] != NULL ? 0 : (int)-ENOMEM;
}

/* The file that a link in a folder leads to, -1 if to none. */
static long ut1_target(const struct unpack *unpack, const char *path)
{
	char *file = unpack_resolve(unpack, path);
	long index = file != NULL ? unpack_find(unpack, file) : -1;

	free(file);
	return index >= 0 && unpack_entry(unpack, (size_t)index)->is_file ? index : -1;
}

/* Marks the files of one mapped folder, links followed, as wanted for its category. Returns how many, or
 * -ENOMEM. */
static int ut1_want(struct reader *reader, const char *root, const struct source_mapping *mapping)
{
	const struct unpack *unpack = reader->unpack;
	char *path = NULL;
	int found = 0;

	if (asprintf(&path, "%s%s", root, mapping->folder) < 0)
		return -ENOMEM;
	char *folder = unpack_resolve(unpack, path);
	free(path);
	for (size_t i = 0; folder != NULL && i < unpack_count(unpack); i++) {
		const struct unpack_entry *entry = unpack_entry(unpack, i);
		size_t len = folder_len(entry->path);
		if (!is_ut1_file(entry->path) || strncmp(entry->path, folder, len) != 0 ||
		        folder[len] != '\0')
			continue;
		long index = entry->is_file ? (long)i : ut1_target(unpack, entry->path);
		if (index < 0)
			continue;
		reader->sets[index] |= UINT64_C(1) << mapping->category;
		found++;
	}
	free(folder);
	return found;
}

static int ut1_plan(struct reader *reader)
{
	const struct source *source = reader->source;
	struct source_content *content = reader->content;
	int ret = 0;

	if (!unpack_is_archive(reader->unpack)) {
		snprintf(reader->why, LISTS_WHY_MAX, "not an archive, so no UT1 tree");
		return -EBADMSG;
	}
	char *root = ut1_root(reader->unpack);
	if (root == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < source->map_count && ret >= 0; i++) {
		ret = ut1_want(reader, root, &source->map[i]);
		if (ret == 0)
			ret = folder_add(
			        &content->missing, source->map[i].folder, strlen(source->map[i].folder));
	}
	free(root);
	for (size_t i = 0; i < unpack_count(reader->unpack) && ret >= 0; i++) {
		const struct unpack_entry *entry = unpack_entry(reader->unpack, i);
		if (!entry->is_file || !is_ut1_file(entry->path) || reader->sets[i] != 0)
			continue;
		size_t end = folder_len(entry->path), begin = end;
		while (begin > 0 && entry->path[begin - 1] != '/')
			begin--;
		ret = folder_add(&content->ignored, entry->path + begin, end - begin);
	}
	content->format = PARSE_UT1;
	return ret < 0 ? ret : 0;
}

/* Papers that lie beside a list in its archive. */
static bool is_paper(const char *path)
{
	static const char *const papers[] = { "README", "LICENSE", "LICENCE", "COPYING", "CHANGES" };

	for (size_t i = 0; i < sizeof papers / sizeof papers[0]; i++)
		if (strncasecmp(base_of(path), papers[i], strlen(papers[i])) == 0)
			return true;
	return false;
}

static int plain_plan(struct reader *reader)
{
	if (reader->source->category < 0) {
		snprintf(reader->why, LISTS_WHY_MAX, "has no category and is no UT1 tree");
		return -EBADMSG;
	}
	for (size_t i = 0; i < unpack_count(reader->unpack); i++)
		if (!unpack_is_archive(reader->unpack) || !is_paper(unpack_entry(reader->unpack, i)->path))
			reader->sets[i] = UINT64_C(1) << reader->source->category;
	return 0;
}

static bool entry_begin(void *arg, size_t index)
{
	struct reader *reader = arg;

	if (reader->sets[index] == 0)
		return false;
	reader->current = (uint32_t)index;
	reader->entry = unpack_is_archive(reader->unpack) ? unpack_entry(reader->unpack, index)->path : "";
	enum parse_format format = reader->content->format == PARSE_UT1 ? PARSE_UT1 : reader->source->format;
	reader->error = reader_parser(reader, format);
	return true;
}

static int entry_data(void *arg, const char *data, size_t len)
{
	struct reader *reader = arg;

	return reader->error < 0 ? reader->error : reader_feed(reader, data, len);
}

static int entry_end(void *arg, size_t index)
{
	struct reader *reader = arg;

	(void)index;
	return reader->error < 0 ? reader->error : reader_parser_end(reader);
}

static int reader_file(struct reader *reader, const char *path)
{
	const struct unpack_sink sink = { reader, entry_begin, entry_data, entry_end };

	int ret = unpack_open(&reader->unpack, path, reader->why);
	if (ret < 0)
		return ret;
	reader->set_count = unpack_count(reader->unpack);
	reader->sets = calloc(reader->set_count + 1, sizeof *reader->sets);
	if (reader->sets == NULL)
		return -ENOMEM;
	ret = is_ut1(reader) ? ut1_plan(reader) : plain_plan(reader);
	return ret < 0 ? ret : unpack_read(reader->unpack, &sink, reader->why);
}

int source_read(const struct source *source, const char *path, const struct source_reading *reading,
        struct source_content *content, char why[LISTS_WHY_MAX])
{
	struct reader reader = {
		.source = source, .reading = reading, .content = content, .entry = "", .why = why
	};

	memset(content, 0, sizeof *content);
	why[0] = '\0';
	int ret = reader_begin(&reader);
	if (ret == 0)
		ret = reader_file(&reader, path);
	return reader_finish(&reader, ret);
}

/* ---- the starter list ---- */

static int starter_category(const char *line, size_t len, const char *const *categories, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(categories[i]) == len - 2 && memcmp(line + 1, categories[i], len - 2) == 0)
			return (int)i;
	return -1;
}

/* Feeds the lines of one [category] after the other; those of a category the configuration lacks are counted.
 */
static int starter_lines(struct reader *reader, const char *text, size_t len, const char *const *categories,
        size_t category_count)
{
	int category = -1, ret = 0;
	uint64_t number = 0;

	for (size_t at = 0; at < len && ret == 0;) {
		const char *line = text + at, *end = memchr(line, '\n', len - at);
		size_t line_len = end != NULL ? (size_t)(end - line) : len - at;
		at += line_len + 1;
		number++;
		while (line_len > 0 && (unsigned char)line[line_len - 1] <= ' ')
			line_len--;
		if (line_len == 0 || line[0] == '#')
			continue;
		if (line_len > 2 && line[0] == '[' && line[line_len - 1] == ']') {
			category = starter_category(line, line_len, categories, category_count);
			continue;
		}
		if (category < 0) {
			reader_skipped(reader, PARSE_CATEGORY, number);
			continue;
		}
		reader->current = (uint32_t)category;
		ret = reader_parser(reader, PARSE_DOMAINS);
		if (ret == 0)
			ret = reader_feed(reader, line, line_len);
		if (ret == 0)
			ret = reader_parser_end(reader);
	}
	return ret;
}

int source_read_starter(const char *text, size_t len, const char *const *categories, size_t category_count,
        const struct source_reading *reading, struct source_content *content, char why[LISTS_WHY_MAX])
{
	struct reader reader = { .reading = reading, .content = content, .entry = "", .why = why };

	memset(content, 0, sizeof *content);
	why[0] = '\0';
	int ret = reader_begin(&reader);
	if (ret == 0) {
		reader.sets = calloc(LISTS_CATEGORIES_MAX, sizeof *reader.sets);
		ret = reader.sets != NULL ? 0 : -ENOMEM;
	}
	for (size_t i = 0; ret == 0 && i < LISTS_CATEGORIES_MAX; i++)
		reader.sets[i] = UINT64_C(1) << i;
	if (ret == 0)
		ret = starter_lines(&reader, text, len, categories, category_count);
	return reader_finish(&reader, ret);
}

static void folders_clear(struct source_folders *folders)
{
	for (size_t i = 0; i < folders->count; i++)
		free(folders->name[i]);
	folders->count = 0;
}

void source_content_clear(struct source_content *content)
{
	claims_free(content->claims);
	content->claims = NULL;
	folders_clear(&content->ignored);
	folders_clear(&content->missing);
}
