#include "pull.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "claims.h"
#include "generations.h"
#include "manifest.h"
#include "member.h"

struct pull {
	const struct pull_options *options;
	struct pull_result *result;
	char *why;
	char work[PATH_MAX];
	json_t *manifest; /* the other's */
	uint64_t id;
};

/* ---- fetching ---- */

/* Fetches a file of the other's folder to path. Returns 0 or -EIO. */
static int pull_file(struct pull *pull, const char *name, const char *path, uint64_t size_max)
{
	struct fetch_options options = pull->options->fetch;
	struct fetch fetch = { .name = name, .etag = "", .last_modified = "" };
	const char *from = pull->options->from;
	char *url;

	if (asprintf(&url, "%s%s%s%s", from[0] == '/' ? "file://" : "", from,
	            from[0] != '\0' && from[strlen(from) - 1] == '/' ? "" : "/", name) < 0)
		return -ENOMEM;
	if (snprintf(fetch.path, sizeof fetch.path, "%s", path) >= (int)sizeof fetch.path) {
		free(url);
		return -ENAMETOOLONG;
	}
	fetch.url = url;
	options.size_max = size_max;
	fetch_all(&options, &fetch, 1);
	if (fetch.status < 0)
		snprintf(pull->why, LISTS_WHY_MAX, "%s: %.400s", name, fetch.why);
	free(url);
	return fetch.status;
}

/* What the other has as current; its manifest lies in the work folder then. */
static int pull_manifest(struct pull *pull)
{
	char path[PATH_MAX], name[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/current.json", pull->work) >= (int)sizeof path)
		return -ENAMETOOLONG;
	int ret = pull_file(pull, "current.json", path, PULL_MANIFEST_MAX);
	if (ret < 0)
		return ret;
	ret = manifest_read(path, &pull->manifest);
	int64_t id = ret == 0 ? member_number(pull->manifest, "id") : 0;
	int64_t size = ret == 0 ? member_number(pull->manifest, "size") : 0;
	if (id <= 0 || size <= 0 || (uint64_t)size > PULL_SIZE_MAX ||
	        strlen(member_text(pull->manifest, "hash")) != MANIFEST_HASH_TEXT - 1) {
		snprintf(pull->why, LISTS_WHY_MAX, "current.json is no manifest of a generation");
		return -EBADMSG;
	}
	pull->id = (uint64_t)id;
	ret = generations_path(name, sizeof name, pull->work, pull->id, "json");
	return ret < 0 ? ret : rename(path, name) == 0 ? 0 : -errno;
}

static int pull_store(struct pull *pull)
{
	char path[PATH_MAX], name[64];

	int ret = generations_path(path, sizeof path, pull->work, pull->id, "mdb");
	if (ret < 0)
		return ret;
	snprintf(name, sizeof name, "gen-%06" PRIu64 ".mdb", pull->id);
	return pull_file(pull, name, path, (uint64_t)member_number(pull->manifest, "size"));
}

/* ---- checking ---- */

/* What the checking process leaves for the one that waits for it. */
struct verdict {
	int ret;
	char why[LISTS_WHY_MAX];
};

/* A name that its own look-up does not find would be listed and not filtered. */
static bool is_found(struct lists *lists, struct lists_view *view, const struct name *name)
{
	uint64_t hash[NAME_LABELS_MAX + 1];
	struct lists_facts facts;

	name_hash_suffixes(name, lists_seed(lists), hash);
	return lists_lookup(view, name, hash, &facts) == 1;
}

/* Every name, in order, as many as it says, each found by its look-up. */
static int walk_whole(struct lists *lists, uint64_t names_said, char why[LISTS_WHY_MAX])
{
	struct lists_view *view = lists_view_open(lists);
	struct lists_walk *walk = view != NULL ? lists_walk_open(view) : NULL;
	uint8_t before[NAME_KEY_MAX], key[NAME_KEY_MAX];
	size_t before_len = 0, len;
	struct lists_listed listed;
	uint64_t names = 0;
	int ret = walk != NULL ? 0 : -ENOMEM;

	while (walk != NULL && (ret = lists_walk_next(walk, &listed)) > 0) {
		len = name_to_key(&listed.name, key);
		if (names++ > 0 && claims_key_compare(before, before_len, key, len) >= 0)
			break;
		if (!is_found(lists, view, &listed.name))
			break;
		memcpy(before, key, len);
		before_len = len;
	}
	if (ret != 0 || names != lists_info(lists)->names || names != names_said) {
		snprintf(why, LISTS_WHY_MAX,
		        "its names are out of order, not found by a look-up, or not as many as it says");
		ret = -EBADMSG;
	}
	lists_walk_close(walk);
	lists_view_close(view);
	return ret;
}

/* As usherd opens it, and then every name. */
static void check(struct pull *pull, struct verdict *verdict)
{
	char path[PATH_MAX];
	struct lists *lists = NULL;

	verdict->ret = generations_path(path, sizeof path, pull->work, pull->id, "mdb");
	if (verdict->ret == 0)
		verdict->ret = lists_open(&lists, NULL, path, pull->options->categories,
		        pull->options->category_count, verdict->why);
	if (verdict->ret == 0)
		verdict->ret =
		        walk_whole(lists, (uint64_t)member_number(pull->manifest, "names"), verdict->why);
	lists_free(lists);
}

/* A file made to kill its reader kills a process that has nothing else to do. */
static int check_apart(struct pull *pull)
{
	struct verdict *verdict =
	        mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0, ret;

	if (verdict == MAP_FAILED)
		return -errno;
	verdict->ret = -EBADMSG;
	snprintf(verdict->why, sizeof verdict->why, "the check of it ended early");
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* whatever the program does about its own */
		signal(SIGBUS, SIG_DFL);
		check(pull, verdict);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		ret = -errno;
	else
		ret = WIFEXITED(status) ? verdict->ret : -EBADMSG;
	if (ret < 0)
		snprintf(pull->why, LISTS_WHY_MAX, "generation %" PRIu64 ": %.400s", pull->id, verdict->why);
	munmap(verdict, sizeof *verdict);
	return ret;
}

/* ---- the run ---- */

static bool held(struct pull *pull, const char *format, uint64_t number)
        __attribute__((format(printf, 2, 0)));
static bool held(struct pull *pull, const char *format, uint64_t number)
{
	pull->result->held = true;
	snprintf(pull->why, LISTS_WHY_MAX, format, pull->id, number);
	return true;
}

static bool is_starter(const char *dir, uint64_t id)
{
	json_t *manifest = NULL;
	bool starter = generations_manifest(dir, id, &manifest) == 0 &&
	               json_is_true(json_object_get(manifest, "starter"));

	json_decref(manifest);
	return starter;
}

/*
 * True if ours is the same one, or `held` with why. A number never gets another content, not even by force:
 * caches know by the number from which generation a fact is.
 */
static bool is_not_wanted(struct pull *pull)
{
	const char *dir = pull->options->dir;
	uint64_t current = lists_current_id(dir), newest = generations_next(dir) - 1;
	json_t *ours = NULL;
	bool have = generations_manifest(dir, pull->id, &ours) == 0;
	bool same = have && strcmp(member_text(ours, "hash"), member_text(pull->manifest, "hash")) == 0;

	json_decref(ours);
	if (have && !same)
		return held(pull,
		        "generation %" PRIu64 " there is another than ours of that number (%" PRIu64
		        " is the newest here): `usher lists update --force` there makes a new one",
		        newest);
	if (pull->options->force || current == 0)
		return false;
	if (same && current == pull->id)
		return true;
	if (pull->id <= newest && !is_starter(dir, current))
		return held(pull,
		        "generation %" PRIu64 " there is not newer than %" PRIu64
		        ", the newest here: --force takes it",
		        newest);
	return false;
}

static int run(struct pull *pull)
{
	const struct pull_options *options = pull->options;

	int ret = generations_begin(options->dir, options->resume, pull->work, sizeof pull->work);
	if (ret < 0)
		return ret;
	pull->result->pinned = ret > 0;
	if (pull->result->pinned)
		return 0;
	fetch_init();
	ret = pull_manifest(pull);
	if (ret < 0 || is_not_wanted(pull))
		return ret;
	ret = pull_store(pull);
	if (ret == 0)
		ret = check_apart(pull);
	if (ret == 0)
		ret = generations_publish(options->dir, pull->work, pull->id);
	if (ret == 0)
		ret = generations_prune(options->dir, options->keep_generations);
	pull->result->published = ret == 0;
	pull->result->names = (uint64_t)member_number(pull->manifest, "names");
	return ret;
}

int pull_run(const struct pull_options *options, struct pull_result *result, char why[LISTS_WHY_MAX])
{
	struct pull pull = { .options = options, .result = result, .why = why };
	char emptied[PATH_MAX];

	memset(result, 0, sizeof *result);
	why[0] = '\0';
	int lock = generations_lock(options->dir, GENERATIONS_LOCK_WAIT_S, why);
	if (lock < 0)
		return lock;
	int ret = run(&pull);
	if (ret < 0 && why[0] == '\0')
		snprintf(why, LISTS_WHY_MAX, "%.300s: %s", options->dir, strerror(-ret));
	json_decref(pull.manifest);
	generations_work(options->dir, emptied, sizeof emptied);
	result->id = lists_current_id(options->dir);
	close(lock);
	return ret;
}
