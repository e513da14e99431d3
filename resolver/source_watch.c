#include "source_watch.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "blocklists/source_folder.h"
#include "blocklists/update.h"

#define READ_EVERY_S 3

static int64_t monotonic_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* What the generation knows of a source that has no account, such as the starter list before the first
 * update. */
static json_t *account_in(const struct lists *lists, const char *name)
{
	const struct lists_info *info = lists != NULL ? lists_info(lists) : NULL;

	for (size_t i = 0; info != NULL && i < info->source_count; i++)
		if (strcmp(info->sources[i].name, name) == 0)
			return json_pack("{s:s, s:I}", "name", name, "fetched_at",
			        (json_int_t)info->sources[i].fetched_at);
	return json_pack("{s:s}", "name", name);
}

static void account_add(json_t *accounts, const char *dir, const struct lists *lists, const char *name)
{
	json_t *account = source_folder_account(dir, name);

	json_array_append_new(accounts, account != NULL ? account : account_in(lists, name));
}

const json_t *source_watch_read(
        struct source_watch *watch, const struct config *config, const struct lists *lists)
{
	char dir[PATH_MAX];
	int64_t now = monotonic_s();

	if (watch->accounts != NULL && watch->of == config && now - watch->read_s < READ_EVERY_S)
		return watch->accounts;
	json_decref(watch->accounts);
	watch->accounts = json_array();
	watch->of = config;
	watch->read_s = now;
	if (snprintf(dir, sizeof dir, "%s/lists", config->state_dir) >= (int)sizeof dir)
		return watch->accounts;
	if (config->starter)
		account_add(watch->accounts, dir, lists, "starter");
	for (size_t i = 0; i < config->source_count; i++)
		account_add(watch->accounts, dir, lists, config->sources[i].name);
	return watch->accounts;
}

void source_watch_clear(struct source_watch *watch)
{
	json_decref(watch->accounts);
	watch->accounts = NULL;
}
