/*
 * The file `rules`:
 *
 *   usher-rules 1 <SHA-256 of all that follows this line>
 *   {"revision":12,"change":{…}}
 *   {"name":"scratch.mit.edu","exact":false,…}       one a line
 *
 * A save writes rules.new, links the current file as rules.previous and renames the new one over it: at every
 * instant `rules` is one whole revision.
 */
#include "rules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/fetch.h"
#include "value.h"

#define CURRENT "rules"
#define PREVIOUS "rules.previous"
#define NEW "rules.new"
#define DAMAGED "rules.damaged"
#define HEADER "usher-rules 1 "
#define HEADER_LEN (sizeof HEADER - 1 + 64 + 1)
#define FILE_MAX (64 << 20)

struct rules {
	_Atomic unsigned references;
	uint64_t revision;
	char *change; /* JSON, NULL for revision 0 */
	struct rules_entry *entries;
	size_t count;
};

/* ---- a revision in memory ---- */

struct rules *rules_new(void)
{
	struct rules *rules = calloc(1, sizeof *rules);

	if (rules != NULL)
		rules->references = 1;
	return rules;
}

struct rules *rules_ref(struct rules *rules)
{
	if (rules != NULL)
		atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
	return rules;
}

static void entry_clear(struct rules_entry *entry)
{
	free((void *)(uintptr_t)entry->profile);
	free((void *)(uintptr_t)entry->author);
	free((void *)(uintptr_t)entry->reason);
}

void rules_free(struct rules *rules)
{
	if (rules == NULL || atomic_fetch_sub_explicit(&rules->references, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < rules->count; i++)
		entry_clear(&rules->entries[i]);
	free(rules->entries);
	free(rules->change);
	free(rules);
}

uint64_t rules_revision(const struct rules *rules)
{
	return rules->revision;
}

size_t rules_count(const struct rules *rules)
{
	return rules != NULL ? rules->count : 0;
}

const struct rules_entry *rules_get(const struct rules *rules, size_t index)
{
	return &rules->entries[index];
}

const char *rules_change(const struct rules *rules)
{
	return rules->change;
}

bool rules_same_place(const struct rules_entry *a, const struct rules_entry *b)
{
	if (a->exact != b->exact || (a->until == 0) != (b->until == 0) || !name_equal(&a->name, &b->name))
		return false;
	if ((a->profile == NULL) != (b->profile == NULL) ||
	        (a->profile != NULL && strcmp(a->profile, b->profile) != 0))
		return false;
	return a->client.length == b->client.length &&
	       memcmp(a->client.address, b->client.address, sizeof a->client.address) == 0;
}

/* Appends a copy; the array has room. */
static bool entry_add(struct rules *rules, const struct rules_entry *entry)
{
	struct rules_entry *copy = &rules->entries[rules->count++];

	*copy = *entry;
	copy->profile = entry->profile != NULL ? strdup(entry->profile) : NULL;
	copy->author = strdup(entry->author);
	copy->reason = strdup(entry->reason);
	return copy->author != NULL && copy->reason != NULL &&
	       (copy->profile != NULL) == (entry->profile != NULL);
}

struct rules *rules_next(const struct rules *rules, int64_t now,
        bool (*drop)(const void *arg, const struct rules_entry *entry), const void *arg,
        const struct rules_entry *added, const char *change)
{
	struct rules *next = rules_new();
	bool whole = true;

	if (next == NULL)
		return NULL;
	next->revision = rules->revision + 1;
	next->change = strdup(change);
	next->entries = calloc(rules->count + 1, sizeof *next->entries);
	if (next->change == NULL || next->entries == NULL)
		whole = false;
	for (size_t i = 0; i < rules->count && whole; i++) {
		const struct rules_entry *entry = &rules->entries[i];
		bool ended = entry->until != 0 && entry->until <= now;
		if (!ended && !drop(arg, entry))
			whole = entry_add(next, entry);
	}
	if (whole && added != NULL)
		whole = entry_add(next, added);
	if (whole)
		return next;
	rules_free(next);
	return NULL;
}

/* ---- an entry as JSON ---- */

static bool time_from_json(const json_t *json, int64_t *s)
{
	struct tm tm = { 0 };

	*s = 0;
	if (json_is_null(json))
		return true;
	const char *text = json_string_value(json);
	const char *end = text != NULL ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
	if (end == NULL || *end != '\0')
		return false;
	*s = (int64_t)timegm(&tm);
	return *s > 0;
}

json_t *rules_entry_json(const struct rules_entry *entry)
{
	char name[NAME_TEXT_MAX], client[INET6_ADDRSTRLEN + 4];

	name_to_text(&entry->name, name);
	if (entry->client.length > 0)
		config_network_text(&entry->client, client);
	return json_pack("{s:s, s:b, s:s, s:o, s:o, s:o, s:s, s:s, s:I, s:o}", "name", name, "exact",
	        entry->exact, "action", entry->allow ? "allow" : "block", "profile",
	        entry->profile != NULL ? json_string(entry->profile) : json_null(), "client",
	        entry->client.length > 0 ? json_string(client) : json_null(), "until",
	        value_time(entry->until), "reason", entry->reason, "author", entry->author, "uid",
	        (json_int_t)entry->uid, "added", value_time(entry->added));
}

/* The strings belong to json. */
static bool entry_from_json(struct rules_entry *entry, const json_t *json)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	const char *action = json_string_value(json_object_get(json, "action"));
	const json_t *profile = json_object_get(json, "profile"), *client = json_object_get(json, "client");
	const json_t *uid = json_object_get(json, "uid"), *exact = json_object_get(json, "exact");

	*entry = (struct rules_entry){
		.exact = json_is_true(exact),
		.allow = action != NULL && strcmp(action, "allow") == 0,
		.profile = json_string_value(profile),
		.uid = (uid_t)json_integer_value(uid),
		.author = json_string_value(json_object_get(json, "author")),
		.reason = json_string_value(json_object_get(json, "reason")),
	};
	if (name == NULL || name_from_text(&entry->name, name, strlen(name)) < 0)
		return false;
	if (action == NULL || (!entry->allow && strcmp(action, "block") != 0))
		return false;
	if (!json_is_boolean(exact) || !json_is_integer(uid) || entry->author == NULL ||
	        entry->reason == NULL)
		return false;
	if (!json_is_null(profile) && entry->profile == NULL)
		return false;
	if (!json_is_null(client) && (!json_is_string(client) || config_network_parse(&entry->client,
	                                                                 json_string_value(client)) < 0))
		return false;
	return time_from_json(json_object_get(json, "until"), &entry->until) &&
	       time_from_json(json_object_get(json, "added"), &entry->added);
}

/* ---- reading ---- */

static int path_in(char path[PATH_MAX], const char *dir, const char *file)
{
	return (size_t)snprintf(path, PATH_MAX, "%s/%s", dir, file) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The whole file with a NUL behind, malloc()ed. */
static int file_read(const char *dir, const char *file, char **text, size_t *len)
{
	char path[PATH_MAX];
	struct stat st;
	int ret = path_in(path, dir, file);
	int fd = ret == 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : ret;

	*text = NULL;
	if (fd < 0)
		return ret < 0 ? ret : -errno;
	if (fstat(fd, &st) < 0)
		ret = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		ret = -EBADMSG;
	else if ((*text = malloc((size_t)st.st_size + 1)) == NULL)
		ret = -ENOMEM;
	*len = ret == 0 ? (size_t)st.st_size : 0;
	for (size_t at = 0; ret == 0 && at < *len;) {
		ssize_t got = read(fd, *text + at, *len - at);
		if (got <= 0)
			ret = got < 0 ? -errno : -EBADMSG;
		else
			at += (size_t)got;
	}
	close(fd);
	if (ret == 0)
		(*text)[*len] = '\0';
	return ret;
}

/* The second line. */
static bool read_revision(struct rules *rules, const json_t *line)
{
	json_t *change = json_object_get(line, "change");

	rules->revision = (uint64_t)json_integer_value(json_object_get(line, "revision"));
	rules->change = json_is_object(change) ? json_dumps(change, JSON_COMPACT) : NULL;
	return rules->revision > 0 && rules->change != NULL;
}

static bool read_line(struct rules *rules, const json_t *line, bool first)
{
	struct rules_entry entry;

	if (first)
		return read_revision(rules, line);
	if (rules->count == RULES_MAX || !entry_from_json(&entry, line))
		return false;
	return entry_add(rules, &entry);
}

static size_t count_lines(const char *text)
{
	size_t lines = 0;

	for (const char *at = strchr(text, '\n'); at != NULL; at = strchr(at + 1, '\n'))
		lines++;
	return lines;
}

/* What follows the header. */
static int read_body(struct rules *rules, const char *text, size_t len)
{
	const char *at = text;

	rules->entries = calloc(count_lines(text) + 1, sizeof *rules->entries);
	if (rules->entries == NULL)
		return -ENOMEM;
	while (at < text + len) {
		const char *end = strchr(at, '\n');
		if (end == NULL)
			return -EBADMSG;
		json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
		bool good = line != NULL && read_line(rules, line, at == text);
		json_decref(line);
		if (!good)
			return -EBADMSG;
		at = end + 1;
	}
	return rules->revision > 0 ? 0 : -EBADMSG;
}

static bool header_is_right(const char *text, size_t len)
{
	char hash[FETCH_SHA256_TEXT];

	return len > HEADER_LEN && memcmp(text, HEADER, sizeof HEADER - 1) == 0 &&
	       text[HEADER_LEN - 1] == '\n' && strlen(text) == len &&
	       fetch_sha256(text + HEADER_LEN, len - HEADER_LEN, hash) == 0 &&
	       memcmp(text + sizeof HEADER - 1, hash, 64) == 0;
}

static int rules_read(struct rules **out, const char *dir, const char *file)
{
	struct rules *rules = NULL;
	char *text;
	size_t len;
	int ret = file_read(dir, file, &text, &len);

	*out = NULL;
	if (ret == 0 && !header_is_right(text, len))
		ret = -EBADMSG;
	if (ret == 0 && (rules = rules_new()) == NULL)
		ret = -ENOMEM;
	if (ret == 0)
		ret = read_body(rules, text + HEADER_LEN, len - HEADER_LEN);
	free(text);
	if (ret < 0)
		rules_free(rules);
	else
		*out = rules;
	return ret;
}

int rules_open(struct rules **out, const char *dir, char why[RULES_WHY_MAX])
{
	*why = '\0';
	int ret = rules_read(out, dir, CURRENT);
	if (ret == 0)
		return 0;
	int before = rules_read(out, dir, PREVIOUS);
	if (*out == NULL && (*out = rules_new()) == NULL)
		return -ENOMEM;
	if (ret == -ENOENT && before == -ENOENT && !rules_were_put_aside(dir))
		return 0;
	int len = snprintf(why, RULES_WHY_MAX, "%s/" CURRENT " %s; ", dir,
	        ret == -ENOENT    ? "is gone"
	        : ret == -EBADMSG ? "is damaged"
	                          : strerror(-ret));
	if (len < RULES_WHY_MAX && before == 0)
		snprintf(why + len, RULES_WHY_MAX - (size_t)len,
		        "revision %llu of the rules, the one before, is in use",
		        (unsigned long long)(*out)->revision);
	else if (len < RULES_WHY_MAX)
		snprintf(why + len, RULES_WHY_MAX - (size_t)len,
		        "there is no earlier one: none of the school's own rules is in use");
	return ret == -ENOENT ? -EBADMSG : ret;
}

/* ---- writing ---- */

static int write_line(FILE *to, json_t *json)
{
	int ret = json != NULL && json_dumpf(json, to, JSON_COMPACT) == 0 && putc('\n', to) != EOF ? 0
	                                                                                           : -ENOMEM;

	json_decref(json);
	return ret;
}

/* All but the header, malloc()ed. */
static int body_text(const struct rules *rules, char **text, size_t *len)
{
	json_t *change = json_loads(rules->change, 0, NULL);
	FILE *to = open_memstream(text, len);
	int ret = to != NULL && change != NULL ? 0 : -ENOMEM;

	if (ret == 0)
		ret = write_line(to,
		        json_pack("{s:I, s:O}", "revision", (json_int_t)rules->revision, "change", change));
	for (size_t i = 0; i < rules->count && ret == 0; i++)
		ret = write_line(to, rules_entry_json(&rules->entries[i]));
	json_decref(change);
	if (to != NULL && fclose(to) != 0)
		ret = -ENOMEM;
	if (ret < 0 && to != NULL)
		free(*text);
	return ret;
}

static int write_all(int fd, const char *text, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t wrote = write(fd, text + at, len - at);
		if (wrote < 0 && errno != EINTR)
			return -errno;
		at += wrote > 0 ? (size_t)wrote : 0;
	}
	return 0;
}

static int write_new(int folder, const char *text, size_t len)
{
	char header[HEADER_LEN + 1], hash[FETCH_SHA256_TEXT];

	if (fetch_sha256(text, len, hash) < 0)
		return -ENOMEM;
	snprintf(header, sizeof header, HEADER "%s\n", hash);
	int fd = openat(folder, NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return -errno;
	int ret = write_all(fd, header, HEADER_LEN);
	if (ret == 0)
		ret = write_all(fd, text, len);
	if (ret == 0 && fsync(fd) < 0)
		ret = -errno;
	if (close(fd) < 0 && ret == 0)
		ret = -errno;
	return ret;
}

/* The current file gets a second name, under which it stays. */
static int keep_previous(int folder)
{
	unlinkat(folder, PREVIOUS ".new", 0);
	if (linkat(folder, CURRENT, folder, PREVIOUS ".new", 0) < 0)
		return errno == ENOENT ? 0 : -errno; /* none yet, or put aside: the older one stays */
	return renameat(folder, PREVIOUS ".new", folder, PREVIOUS) < 0 ? -errno : 0;
}

static int folder_open(const char *dir)
{
	mkdir(dir, 0755);
	int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0 ? -errno : folder;
}

int rules_save(const struct rules *rules, const char *dir)
{
	char *text = NULL;
	size_t len = 0;
	int folder = folder_open(dir);
	int ret = folder < 0 ? folder : body_text(rules, &text, &len);

	if (ret < 0)
		goto out;
	ret = write_new(folder, text, len);
	free(text);
	if (ret == 0)
		ret = keep_previous(folder);
	if (ret == 0 && renameat(folder, NEW, folder, CURRENT) < 0)
		ret = -errno;
	if (ret == 0 && fsync(folder) < 0) {
		ret = -errno;
		rules_revert(dir);
	}
out:
	if (folder >= 0)
		close(folder);
	return ret;
}

int rules_revert(const char *dir)
{
	int folder = folder_open(dir), ret = 0;

	if (folder < 0)
		return folder;
	if (renameat(folder, PREVIOUS, folder, CURRENT) < 0)
		ret = errno == ENOENT && unlinkat(folder, CURRENT, 0) == 0 ? 0 : -errno;
	if (ret == 0 && fsync(folder) < 0)
		ret = -errno;
	close(folder);
	return ret;
}

void rules_put_aside(const char *dir)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (path_in(from, dir, CURRENT) == 0 && path_in(to, dir, DAMAGED) == 0)
		rename(from, to);
}

bool rules_were_put_aside(const char *dir)
{
	char path[PATH_MAX];

	return path_in(path, dir, DAMAGED) == 0 && access(path, F_OK) == 0;
}
