#include "generations.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "manifest.h"
#include "member.h"

#define LOCK_STEP_NS 50000000L
#define IDS_MAX 4096

static int path_in(char *path, size_t size, const char *dir, const char *name)
{
	int len = snprintf(path, size, "%s/%s", dir, name);

	return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

int generations_path(char *path, size_t size, const char *dir, uint64_t id, const char *suffix)
{
	int len = snprintf(path, size, "%s/gen-%06" PRIu64 ".%s", dir, id, suffix);

	return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

static int make_folder(const char *path)
{
	return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

static int lock_take(const char *dir, unsigned wait_s)
{
	char path[PATH_MAX];
	uint64_t steps = (uint64_t)wait_s * 1000000000 / LOCK_STEP_NS;

	int ret = make_folder(dir);
	if (ret < 0 || (ret = path_in(path, sizeof path, dir, "lock")) < 0)
		return ret;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	for (;; steps--) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		ret = errno == EWOULDBLOCK ? -EBUSY : -errno;
		if (ret != -EBUSY || steps == 0)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_STEP_NS }, NULL);
	}
	close(fd);
	return ret;
}

int generations_lock(const char *dir, unsigned wait_s, char why[LISTS_WHY_MAX])
{
	int lock = lock_take(dir, wait_s);

	if (lock < 0)
		snprintf(why, LISTS_WHY_MAX, "%.300s: %s", dir,
		        lock == -EBUSY ? "another update is running" : strerror(-lock));
	return lock;
}

/* "gen-000042.SUFFIX" -> 42, else 0. */
static uint64_t id_of(const char *name, const char *suffix)
{
	char *end;

	if (strncmp(name, "gen-", 4) != 0 || name[4] < '0' || name[4] > '9')
		return 0;
	unsigned long long id = strtoull(name + 4, &end, 10);
	return *end == '.' && strcmp(end + 1, suffix) == 0 ? id : 0;
}

static int newest_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* Identities of the files gen-*.SUFFIX, newest first. */
static int ids_with_suffix(const char *dir, const char *suffix, uint64_t *ids, size_t max)
{
	size_t count = 0;
	struct dirent *entry;
	DIR *folder = opendir(dir);

	if (folder == NULL)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(folder)) != NULL) {
		uint64_t id = id_of(entry->d_name, suffix);
		if (id == 0)
			continue;
		ids[count++] = id;
		if (count == max) {
			qsort(ids, count, sizeof *ids, newest_first);
			count--; /* more than fit: the oldest goes */
		}
	}
	closedir(folder);
	qsort(ids, count, sizeof *ids, newest_first);
	return (int)count;
}

int generations_list(const char *dir, uint64_t *ids, size_t max)
{
	uint64_t all[IDS_MAX];
	int count = ids_with_suffix(dir, "json", all, IDS_MAX);

	if (count < 0)
		return count;
	if ((size_t)count > max)
		count = (int)max;
	memcpy(ids, all, (size_t)count * sizeof *ids);
	return count;
}

uint64_t generations_next(const char *dir)
{
	uint64_t ids[IDS_MAX], newest = lists_current_id(dir);

	if (ids_with_suffix(dir, "json", ids, IDS_MAX) > 0 && ids[0] > newest)
		newest = ids[0];
	return newest + 1;
}

int generations_manifest(const char *dir, uint64_t id, json_t **out)
{
	char path[PATH_MAX];
	int ret = generations_path(path, sizeof path, dir, id, "json");

	return ret < 0 ? ret : manifest_read(path, out);
}

/* The link is made aside and renamed over the old. */
static int make_link(const char *dir, uint64_t id, const char *name, const char *suffix)
{
	char aside[PATH_MAX], link[PATH_MAX], target[32];

	int ret = path_in(aside, sizeof aside, dir, "current.new");
	if (ret < 0 || (ret = path_in(link, sizeof link, dir, name)) < 0)
		return ret;
	snprintf(target, sizeof target, "gen-%06" PRIu64 ".%s", id, suffix);
	if (unlink(aside) != 0 && errno != ENOENT)
		return -errno;
	return symlink(target, aside) == 0 && rename(aside, link) == 0 ? 0 : -errno;
}

/* The one act that publishes is the last; the link before it only tells other machines. */
static int make_current(const char *dir, uint64_t id)
{
	int ret = make_link(dir, id, "current.json", "json");

	if (ret == 0)
		ret = make_link(dir, id, "current", "mdb");
	return ret < 0 ? ret : manifest_sync_dir(dir);
}

int generations_publish(const char *dir, const char *work, uint64_t id)
{
	static const char *const suffixes[] = { "mdb",
		"json" }; /* the manifest last: with it the generation exists */
	char from[PATH_MAX], to[PATH_MAX];

	for (size_t i = 0; i < 2; i++) {
		int ret = generations_path(from, sizeof from, work, id, suffixes[i]);
		if (ret < 0 || (ret = generations_path(to, sizeof to, dir, id, suffixes[i])) < 0)
			return ret;
		if (rename(from, to) != 0)
			return -errno;
	}
	int ret = manifest_sync_dir(dir);
	return ret < 0 ? ret : make_current(dir, id);
}

int generations_rollback(const char *dir, uint64_t id)
{
	char path[PATH_MAX];
	int ret = path_in(path, sizeof path, dir, "pinned");

	if (ret < 0)
		return ret;
	/* The pin comes first: a nightly run in between must not undo what is about to be done. */
	json_t *pin = json_pack("{s:I, s:I}", "id", (json_int_t)id, "since", (json_int_t)time(NULL));
	ret = pin != NULL ? manifest_write(path, pin) : -ENOMEM;
	json_decref(pin);
	return ret < 0 ? ret : make_current(dir, id);
}

uint64_t generations_pinned(const char *dir)
{
	char path[PATH_MAX];
	json_t *pin;

	if (path_in(path, sizeof path, dir, "pinned") < 0)
		return 0;
	int ret = manifest_read(path, &pin);
	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return lists_current_id(dir);
	uint64_t id = (uint64_t)member_number(pin, "id");
	json_decref(pin);
	return id;
}

static int unpin(const char *dir)
{
	char path[PATH_MAX];
	int ret = path_in(path, sizeof path, dir, "pinned");

	if (ret < 0)
		return ret;
	return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}

static void remove_generation(const char *dir, uint64_t id)
{
	static const char *const suffixes[] = { "json", "mdb" };
	char path[PATH_MAX];

	for (size_t i = 0; i < 2; i++)
		if (generations_path(path, sizeof path, dir, id, suffixes[i]) == 0)
			unlink(path);
}

int generations_prune(const char *dir, size_t keep)
{
	uint64_t ids[IDS_MAX], current = lists_current_id(dir);
	char manifest[PATH_MAX];

	int count = ids_with_suffix(dir, "json", ids, IDS_MAX);
	for (int i = 0; i < count; i++)
		if ((size_t)i >= keep && ids[i] != current)
			remove_generation(dir, ids[i]);
	int stores = ids_with_suffix(dir, "mdb", ids, IDS_MAX);
	for (int i = 0; i < stores; i++)
		if (generations_path(manifest, sizeof manifest, dir, ids[i], "json") == 0 &&
		        access(manifest, F_OK) != 0 && ids[i] != current)
			remove_generation(dir, ids[i]);
	return count < 0 ? count : stores < 0 ? stores : 0;
}

int generations_work(const char *dir, char *path, size_t size)
{
	struct dirent *entry;
	int ret = path_in(path, size, dir, "work");

	if (ret < 0 || (ret = make_folder(path)) < 0)
		return ret;
	DIR *folder = opendir(path);
	if (folder == NULL)
		return -errno;
	while ((entry = readdir(folder)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(folder), entry->d_name, 0);
	closedir(folder);
	return 0;
}

int generations_begin(const char *dir, bool resume, char *work, size_t size)
{
	int ret = generations_work(dir, work, size);

	if (ret == 0 && resume)
		ret = unpin(dir);
	return ret < 0 ? ret : generations_pinned(dir) != 0;
}
