#include "source_folder.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "generations.h"
#include "manifest.h"
#include "member.h"

/* ---- its files ---- */

int source_folder_path(char path[PATH_MAX], const char *dir, const char *name)
{
	int len = snprintf(path, PATH_MAX, "%s/%s", dir, name);

	return len < 0 || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* A source's name becomes a folder's: nothing that could be a path. */
static bool is_folder_name(const char *name)
{
	if (name[0] == '\0' || name[0] == '.' || strlen(name) > 100)
		return false;
	for (const char *at = name; *at != '\0'; at++)
		if (*at == '/' || (unsigned char)*at <= ' ')
			return false;
	return true;
}

int source_folder(char path[PATH_MAX], const char *dir, const char *source)
{
	int len = snprintf(path, PATH_MAX, "%s/sources/%s", dir, source);

	if (!is_folder_name(source))
		return -EINVAL;
	return len < 0 || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int source_folder_make(const char *dir, const char *source)
{
	char path[PATH_MAX];

	int ret = source_folder_path(path, dir, "sources");
	if (ret < 0)
		return ret;
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return -errno;
	ret = source_folder(path, dir, source);
	if (ret < 0)
		return ret;
	return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

json_t *source_folder_read(const char *dir, const char *name)
{
	char path[PATH_MAX];
	json_t *json = NULL;

	return source_folder_path(path, dir, name) == 0 && manifest_read(path, &json) == 0 ? json : NULL;
}

int source_folder_write(const char *dir, const char *name, const json_t *json)
{
	char path[PATH_MAX];
	int ret = source_folder_path(path, dir, name);

	return ret < 0 ? ret : manifest_write(path, json);
}

int source_folder_move(const char *dir, const char *from, const char *to)
{
	char from_path[PATH_MAX], to_path[PATH_MAX];

	if (source_folder_path(from_path, dir, from) < 0 || source_folder_path(to_path, dir, to) < 0)
		return -ENAMETOOLONG;
	return rename(from_path, to_path) == 0 ? manifest_sync_dir(dir) : -errno;
}

void source_folder_remove(const char *dir, const char *name)
{
	char path[PATH_MAX];

	if (source_folder_path(path, dir, name) == 0)
		unlink(path);
}

/* ---- accounts, and a person's word ---- */

json_t *source_folder_account(const char *dir, const char *source)
{
	char folder[PATH_MAX];

	if (source_folder(folder, dir, source) < 0)
		return NULL;
	json_t *trouble = source_folder_read(folder, "state.json");
	json_t *account = source_folder_read(folder, "good.json");
	if (trouble == NULL && account == NULL)
		return NULL;
	if (account == NULL)
		account = json_pack("{s:s}", "name", source);
	for (size_t i = 0; i < 2; i++) {
		const char *key = i == 0 ? "held" : "failed";
		json_t *value = json_object_get(trouble, key);
		json_object_set_new(account, key, value != NULL ? json_incref(value) : json_null());
	}
	json_decref(trouble);
	return account;
}

static int accept_candidate(const char *folder, const char *reason, const char *by, char why[LISTS_WHY_MAX])
{
	json_t *trouble = source_folder_read(folder, "state.json"),
	       *account = source_folder_read(folder, "candidate.json");
	const json_t *held = json_object_get(trouble, "held");
	int ret = 0;

	if (!json_is_object(held)) {
		snprintf(why, LISTS_WHY_MAX, "is not held");
		ret = -ENOENT;
	} else if (account == NULL || !json_is_true(json_object_get(held, "acceptable"))) {
		snprintf(why, LISTS_WHY_MAX, "cannot be accepted: %.400s", member_text(held, "why"));
		ret = -EBADMSG;
	} else {
		json_object_set_new(account, "accepted",
		        json_pack(
		                "{s:s, s:s, s:I}", "reason", reason, "by", by, "at", (json_int_t)time(NULL)));
		/* What can fail for want of room comes first: until then the candidate is whole. */
		ret = source_folder_write(folder, "candidate.json", account);
		if (ret == 0)
			ret = source_folder_move(folder, "candidate", "good");
		if (ret == 0)
			ret = source_folder_move(folder, "candidate.json", "good.json");
		if (ret == 0)
			source_folder_remove(folder, "state.json");
		else
			snprintf(why, LISTS_WHY_MAX, "stays held, it cannot be made good in %.300s: %s",
			        folder, strerror(-ret));
	}
	json_decref(account);
	json_decref(trouble);
	return ret;
}

int source_folder_accept(
        const char *dir, const char *source, const char *reason, const char *by, char why[LISTS_WHY_MAX])
{
	char folder[PATH_MAX];

	why[0] = '\0';
	int ret = source_folder(folder, dir, source);
	if (ret < 0) {
		snprintf(why, LISTS_WHY_MAX, "is no source");
		return ret;
	}
	int lock = generations_lock(dir, GENERATIONS_LOCK_WAIT_S, why);
	if (lock < 0)
		return lock;
	ret = accept_candidate(folder, reason, by, why);
	if (ret < 0 && why[0] == '\0')
		snprintf(why, LISTS_WHY_MAX, "%s", strerror(-ret));
	close(lock);
	return ret;
}
