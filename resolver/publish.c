#include "publish.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "blocklists/compile.h"
#include "builtin.h"
#include "daemon.h"
#include "engines.h"
#include "log.h"

#define PUBLISH_WAIT_MS 1000

static void lists_path(const struct daemon *daemon, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/lists", daemon->config->state_dir);
}

static size_t category_names(const struct config *config, const char *names[CONFIG_CATEGORIES_MAX])
{
	for (size_t i = 0; i < config->category_count; i++)
		names[i] = config->categories[i].name;
	return config->category_count;
}

void daemon_read_engines(struct daemon *daemon)
{
	int ret = engines_read(daemon->config, &daemon->engines_failed);

	if (ret < 0)
		log_warn("safe search: engines.json cannot be read: %s; `usher selftest` writes it anew",
		        strerror(-ret));
}

static bool workers_have_taken(const struct daemon *daemon, uint32_t stamp)
{
	for (unsigned i = 0; i < daemon->worker_count; i++)
		if (atomic_load(&daemon->workers[i]->stamp_taken) != stamp)
			return false;
	return true;
}

struct snapshot *daemon_snapshot(const struct daemon *daemon, struct rules *rules)
{
	struct lists *lists = daemon->lists != NULL ? lists_ref(daemon->lists) : NULL;

	struct snapshot *snapshot = snapshot_new(config_ref(daemon->config), lists, rules_ref(rules));
	if (snapshot != NULL)
		facts_table_fail_engines(snapshot->table, daemon->engines_failed);
	return snapshot;
}

/*
 * Hands a snapshot to all workers, and waits until they use it: what is said to be in effect then is. A
 * worker takes it in the next turn of its loop; one that hangs is the watchdog's business. The one before is
 * held until then, so that no worker has to give back what it held.
 */
static void daemon_hand_out(struct daemon *daemon, struct snapshot *snapshot)
{
	static const struct timespec step = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_set_snapshot(daemon->workers[i], snapshot_ref(snapshot));
	for (unsigned i = 0; i < PUBLISH_WAIT_MS && !workers_have_taken(daemon, snapshot->stamp); i++)
		nanosleep(&step, NULL);
	list_loader_drop(daemon->snapshot);
	daemon->snapshot = snapshot;
}

int daemon_publish(struct daemon *daemon)
{
	struct snapshot *snapshot = daemon_snapshot(daemon, daemon->rules);

	if (snapshot == NULL)
		return -ENOMEM;
	daemon_hand_out(daemon, snapshot);
	return 0;
}

int daemon_fail_engines(struct daemon *daemon, uint64_t failed)
{
	daemon->engines_failed = failed;
	return daemon_publish(daemon);
}

void daemon_take_rules(struct daemon *daemon, struct rules *rules, struct snapshot *snapshot)
{
	rules_free(daemon->rules);
	daemon->rules = rules;
	daemon->rules_trouble[0] = '\0'; /* their file is whole again */
	daemon_hand_out(daemon, snapshot);
}

void daemon_open_lists(struct daemon *daemon)
{
	const struct builtin_file *starter = builtin_file("starter.txt");
	const char *names[CONFIG_CATEGORIES_MAX];
	size_t count = category_names(daemon->config, names);
	char path[PATH_MAX];

	lists_path(daemon, path);
	int ret = lists_open_newest_good(&daemon->lists, path, names, count, daemon->lists_trouble);
	if (ret == -ENOENT && daemon->config->starter && starter != NULL) {
		ret = compile_starter(path, starter->text, starter->len, names, count, daemon->lists_trouble);
		if (ret == 0)
			ret = lists_open_newest_good(
			        &daemon->lists, path, names, count, daemon->lists_trouble);
	}
	if (daemon->lists_trouble[0] != '\0')
		log_error("lists: %s", daemon->lists_trouble);
	if (ret < 0) {
		daemon->lists = NULL;
		daemon->refused_generation = lists_current_id(path);
		log_error("lists: none can be used; profiles do as their on-list-failure says");
		return;
	}
	const struct lists_info *info = lists_info(daemon->lists);
	daemon->refused_generation = lists_current_id(path) != info->id ? lists_current_id(path) : 0;
	log_info("lists: generation %llu with %llu names%s", (unsigned long long)info->id,
	        (unsigned long long)info->names,
	        info->starter ? " (the starter list: run `usher lists update`)" : "");
}

static bool categories_are_equal(const struct config *a, const struct config *b)
{
	if (a->category_count != b->category_count)
		return false;
	for (size_t i = 0; i < a->category_count; i++)
		if (strcmp(a->categories[i].name, b->categories[i].name) != 0)
			return false;
	return true;
}

static void daemon_refuse_lists(struct daemon *daemon, const char *why)
{
	uint64_t have = daemon->lists != NULL ? lists_info(daemon->lists)->id : 0;

	daemon->refused_generation = daemon->loading_generation;
	snprintf(daemon->lists_trouble, sizeof daemon->lists_trouble, "%s", why);
	log_error("lists: generation %llu is refused, %llu goes on: %s",
	        (unsigned long long)daemon->loading_generation, (unsigned long long)have, why);
}

/* The snapshot of a new generation as it came or, where rules or configuration have changed since, one made
 * anew. NULL without memory. */
static struct snapshot *snapshot_of_loaded(struct daemon *daemon, struct snapshot *loaded)
{
	if (loaded->config != daemon->config || loaded->rules != daemon->rules) {
		list_loader_drop(loaded);
		return daemon_snapshot(daemon, daemon->rules);
	}
	facts_table_fail_engines(loaded->table, daemon->engines_failed);
	return loaded;
}

/* A generation was opened, with categories of which a reload may have changed the order meanwhile: then it
 * is opened once more. */
static void lists_loaded(void *arg, int ret, struct snapshot *loaded, const char *why)
{
	struct daemon *daemon = arg;
	struct lists *before = daemon->lists;

	if (ret == -ENOMEM || ret == -EMFILE || ret == -ENFILE)
		return; /* passing: looked at again soon */
	if (ret < 0) {
		daemon_refuse_lists(daemon, why);
		return;
	}
	if (!categories_are_equal(loaded->config, daemon->config)) {
		list_loader_drop(loaded);
		return;
	}
	daemon->lists = lists_ref(loaded->lists);
	struct snapshot *next = snapshot_of_loaded(daemon, loaded);
	if (next == NULL) {
		lists_free(daemon->lists);
		daemon->lists = before;
		log_error("lists: no memory for a new generation, the one before goes on");
		return;
	}
	lists_free(before); /* the snapshot in use still holds them */
	daemon_hand_out(daemon, next);
	daemon->lists_trouble[0] = '\0';
	daemon->refused_generation = 0;
	log_info("lists: generation %llu with %llu names serves",
	        (unsigned long long)lists_info(daemon->lists)->id,
	        (unsigned long long)lists_info(daemon->lists)->names);
}

void daemon_watch_lists(struct daemon *daemon)
{
	uint64_t have = daemon->lists != NULL ? lists_info(daemon->lists)->id : 0;
	char path[PATH_MAX];

	if (list_loader_is_busy(daemon->list_loader))
		return;
	lists_path(daemon, path);
	uint64_t current = lists_current_id(path);
	if (current == 0 || current == have || current == daemon->refused_generation)
		return;
	daemon->loading_generation = current;
	list_loader_open(daemon->list_loader, path, config_ref(daemon->config), rules_ref(daemon->rules));
}

int daemon_follow_lists(struct daemon *daemon)
{
	daemon->list_loader = list_loader_new(daemon->base, lists_loaded, daemon);
	return daemon->list_loader != NULL ? 0 : -ENOMEM;
}

int daemon_lists_for(
        struct daemon *daemon, const struct config *config, struct lists **lists, char why[CONFIG_WHY_MAX])
{
	const char *names[CONFIG_CATEGORIES_MAX];
	char path[PATH_MAX], file[PATH_MAX + 32], lists_why[LISTS_WHY_MAX] = "";
	size_t count = category_names(config, names);

	daemon->refused_generation = 0;
	*lists = NULL;
	lists_path(daemon, path);
	if (daemon->lists == NULL) {
		if (lists_open_newest_good(lists, path, names, count, daemon->lists_trouble) < 0)
			log_error("lists: %s", daemon->lists_trouble);
		return 0;
	}
	if (categories_are_equal(daemon->config, config)) {
		*lists = lists_ref(daemon->lists);
		return 0;
	}
	snprintf(file, sizeof file, "%s/gen-%06llu.mdb", path,
	        (unsigned long long)lists_info(daemon->lists)->id);
	int ret = lists_open(lists, path, file, names, count, lists_why);
	if (ret < 0)
		snprintf(why, CONFIG_WHY_MAX, "lists: %s", lists_why);
	return ret;
}
