#include "daemon.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "blocklists/compile.h"
#include "builtin.h"
#include "control.h"
#include "log.h"

#define WATCH_MS 250 /* a new generation serves within a second */
#define ALIVE_S 2
#define STALLED_TURNS_MAX 3 /* then the watchdog is not told that we live */

/* ---- lists and snapshots ---- */

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

/* Hands all workers a snapshot of what the daemon holds now. */
static int daemon_publish(struct daemon *daemon)
{
	struct lists *lists = daemon->lists != NULL ? lists_ref(daemon->lists) : NULL;
	struct snapshot *snapshot = snapshot_new(config_ref(daemon->config), lists);

	if (snapshot == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_set_snapshot(daemon->workers[i], snapshot_ref(snapshot));
	snapshot_free(snapshot);
	return 0;
}

/* The first open: the newest whole generation, or the starter list where there never was one. */
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

void daemon_watch_lists(struct daemon *daemon)
{
	uint64_t have = daemon->lists != NULL ? lists_info(daemon->lists)->id : 0;
	const char *names[CONFIG_CATEGORIES_MAX];
	char path[PATH_MAX], why[LISTS_WHY_MAX] = "";
	struct lists *lists;

	lists_path(daemon, path);
	uint64_t current = lists_current_id(path);
	if (current == 0 || current == have || current == daemon->refused_generation)
		return;
	size_t count = category_names(daemon->config, names);
	if (lists_open(&lists, path, NULL, names, count, why) < 0) {
		daemon->refused_generation = current;
		snprintf(daemon->lists_trouble, sizeof daemon->lists_trouble, "%s", why);
		log_error("lists: generation %llu is refused, %llu goes on: %s", (unsigned long long)current,
		        (unsigned long long)have, why);
		return;
	}
	struct lists *before = daemon->lists;
	daemon->lists = lists;
	daemon->lists_trouble[0] = '\0';
	daemon->refused_generation = 0;
	if (daemon_publish(daemon) < 0) {
		daemon->lists = before;
		lists_free(lists);
		log_error("lists: no memory for generation %llu, %llu goes on", (unsigned long long)current,
		        (unsigned long long)have);
		return;
	}
	lists_free(before);
	log_info("lists: generation %llu with %llu names serves", (unsigned long long)current,
	        (unsigned long long)lists_info(lists)->names);
}

/* ---- children ---- */

/* Text of a configuration for a child, malloc()ed. NULL without memory. */
static char *config_text(
        const struct config *config, void (*print)(const struct config *, FILE *), size_t *len)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, len);

	if (to == NULL)
		return NULL;
	print(config, to);
	fclose(to);
	return text;
}

/* Starts the recursor, or replaces it if what concerns it has changed: then what the old one brought is
 * forgotten. */
static int daemon_start_recursor(struct daemon *daemon)
{
	static const struct name root = { .len = 1 };
	size_t len;
	char *text = config_text(daemon->config, config_print_recursion, &len);
	int ret;

	if (text == NULL)
		return -ENOMEM;
	if (daemon->recursion_text != NULL && len == daemon->recursion_len &&
	        memcmp(text, daemon->recursion_text, len) == 0) {
		free(text);
		return 0;
	}
	ret = keeper_recursor(daemon->keeper, text, len);
	if (ret == 0 && daemon->recursion_text != NULL)
		cache_flush(daemon->cache, &root, true);
	free(daemon->recursion_text);
	daemon->recursion_text = text;
	daemon->recursion_len = len;
	return ret;
}

static int daemon_start_reader(struct daemon *daemon)
{
	size_t len;
	char *text = config_text(daemon->config, config_print, &len);
	int ret = text != NULL ? keeper_reader(daemon->keeper, text, len, daemon->log_fd) : -ENOMEM;

	free(text);
	return ret;
}

static void recursor_started(void *arg, const int *fds, unsigned count)
{
	struct daemon *daemon = arg;

	daemon->recursor_runs = true;
	for (unsigned i = 0; i < count; i++) {
		if (i < daemon->worker_count)
			worker_set_recursor(daemon->workers[i], fds[i]);
		else
			close(fds[i]);
	}
}

static void recursor_ended(void *arg)
{
	struct daemon *daemon = arg;

	daemon->recursor_runs = false;
	log_warn("recursor: ended unexpectedly, it is being started again");
	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_set_recursor(daemon->workers[i], -1);
}

static void keeper_ended(void *arg)
{
	struct daemon *daemon = arg;

	if (daemon->stopping)
		return;
	log_error("keeper: ended unexpectedly; usherd stops too, so that it can be started as a whole");
	daemon->exit_code = 1;
	event_base_loopbreak(daemon->base);
}

/* ---- reload ---- */

/* Keys that are read once, at start. */
static void reload_note(const struct config *old, const struct config *new, char note[256])
{
	const struct {
		const char *key;
		bool changed;
	} keys[] = {
		{ "workers", old->workers != new->workers },
		{ "user", strcmp(old->user, new->user) != 0 ||
		                  strcmp(old->recursor_user, new->recursor_user) != 0 },
		{ "state-dir", strcmp(old->state_dir, new->state_dir) != 0 },
		{ "run-dir", strcmp(old->run_dir, new->run_dir) != 0 },
		{ "stats-listen", old->stats_listen.socket_len != new->stats_listen.socket_len },
		{ "cache.size", old->cache_size != new->cache_size },
		{ "log", old->log_max_size != new->log_max_size || old->log_ring != new->log_ring },
	};
	bool listen_changed = old->listen_count != new->listen_count;
	size_t at = 0;

	for (size_t i = 0; !listen_changed && i < new->listen_count; i++)
		listen_changed = strcmp(old->listen[i].text, new->listen[i].text) != 0;
	note[0] = '\0';
	if (listen_changed)
		at += (size_t)snprintf(note, 256, "listen");
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (keys[i].changed)
			at += (size_t)snprintf(note + at, 256 - at, "%s%s", at > 0 ? ", " : "", keys[i].key);
	if (at > 0)
		snprintf(note + at, 256 - at, ": in effect after a restart of usherd");
}

int daemon_reload(struct daemon *daemon, char why[CONFIG_WHY_MAX], char note[256])
{
	struct config *before = daemon->config, *config;
	struct lists *lists_before = daemon->lists, *lists = NULL;
	const char *names[CONFIG_CATEGORIES_MAX];
	char path[PATH_MAX], file[PATH_MAX + 32], lists_why[LISTS_WHY_MAX] = "";
	int ret = config_read(&config, daemon->config_file, why);

	if (ret == 0)
		ret = recursor_check(config, why);
	if (ret < 0)
		return ret;
	reload_note(before, config, note);
	/* The state folder stays: its lock is ours. Categories may have changed places, so the lists are
	 * opened anew. */
	lists_path(daemon, path);
	if (lists_before != NULL) {
		snprintf(file, sizeof file, "%s/gen-%06llu.mdb", path,
		        (unsigned long long)lists_info(lists_before)->id);
		ret = lists_open(&lists, path, file, names, category_names(config, names), lists_why);
	}
	if (ret < 0) {
		snprintf(why, CONFIG_WHY_MAX, "lists: %s", lists_why);
		config_free(config);
		return ret;
	}
	daemon->config = config;
	daemon->lists = lists;
	ret = daemon_publish(daemon);
	if (ret < 0) {
		snprintf(why, CONFIG_WHY_MAX, "out of memory");
		daemon->config = before;
		daemon->lists = lists_before;
		lists_free(lists);
		config_free(config);
		return ret;
	}
	if (daemon_start_recursor(daemon) < 0 || daemon_start_reader(daemon) < 0)
		log_error("reload: a child process could not be started anew; it goes on as it was");
	lists_free(lists_before);
	config_free(before);
	for (size_t i = 0; i < config->warning_count; i++)
		log_warn("%s", config->warnings[i]);
	return 0;
}

/* ---- the main loop's events ---- */

static void stop_signalled(evutil_socket_t signal, short what, void *arg)
{
	event_base_loopbreak(((struct daemon *)arg)->base);
}

static void reload_signalled(evutil_socket_t signal, short what, void *arg)
{
	char why[CONFIG_WHY_MAX], note[256];

	sd_notify(0, "RELOADING=1");
	if (daemon_reload(arg, why, note) < 0)
		log_error("reload: nothing has changed:\n%s", why);
	else
		log_info("reload: done%s%s", *note != '\0' ? "; " : "", note);
	sd_notify(0, "READY=1");
}

static void watch_due(evutil_socket_t fd, short what, void *arg)
{
	daemon_watch_lists(arg);
}

/* The watchdog hears from us only while every worker's loop turns. */
static void alive_due(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *daemon = arg;
	bool stalled = false;

	for (unsigned i = 0; i < daemon->worker_count; i++) {
		uint64_t beat = atomic_load(&daemon->workers[i]->heartbeat);
		stalled |= beat == daemon->heartbeats[i];
		daemon->heartbeats[i] = beat;
	}
	daemon->stalled_turns = stalled ? daemon->stalled_turns + 1 : 0;
	if (daemon->stalled_turns == STALLED_TURNS_MAX)
		log_error("a worker has not turned its loop for %d s", ALIVE_S * STALLED_TURNS_MAX);
	if (daemon->stalled_turns < STALLED_TURNS_MAX)
		sd_notify(0, "WATCHDOG=1");
}

void daemon_start_events(struct daemon *daemon)
{
	static const struct timeval watch = { .tv_usec = WATCH_MS * 1000 }, alive = { .tv_sec = ALIVE_S };
	struct keeper_events keeper = { recursor_started, recursor_ended, daemon, keeper_ended };

	daemon->signals[0] = evsignal_new(daemon->base, SIGTERM, stop_signalled, daemon);
	daemon->signals[1] = evsignal_new(daemon->base, SIGINT, stop_signalled, daemon);
	daemon->signals[2] = evsignal_new(daemon->base, SIGHUP, reload_signalled, daemon);
	for (size_t i = 0; i < 3; i++)
		event_add(daemon->signals[i], NULL);
	daemon->watch = event_new(daemon->base, -1, EV_PERSIST, watch_due, daemon);
	event_add(daemon->watch, &watch);
	daemon->alive = event_new(daemon->base, -1, EV_PERSIST, alive_due, daemon);
	event_add(daemon->alive, &alive);
	daemon->stats_server = http_serve(daemon->base, daemon->stats_fd, control_stats_routes, daemon);
	daemon->control_server = http_serve(daemon->base, daemon->control_fd, control_routes, daemon);
	if (daemon->stats_tcp_fd >= 0)
		daemon->stats_tcp_server =
		        http_serve(daemon->base, daemon->stats_tcp_fd, control_stats_routes, daemon);
	if (keeper_attach(daemon->keeper, daemon->base, &keeper) < 0 || daemon_start_recursor(daemon) < 0 ||
	        daemon_start_reader(daemon) < 0)
		log_fatal("keeper: cannot start the recursor and the reader");
}

/* ---- run and stop ---- */

static void unlink_socket(const struct config *config, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", config->run_dir, name);
	unlink(path);
}

static void daemon_stop(struct daemon *daemon)
{
	daemon->stopping = true;
	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_stop(daemon->workers[i]);
	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_join(daemon->workers[i]);
	block_log_stop(daemon->log);
	http_server_free(daemon->stats_server);
	http_server_free(daemon->stats_tcp_server);
	http_server_free(daemon->control_server);
	keeper_stop(daemon->keeper);
	for (size_t i = 0; i < 3; i++)
		event_free(daemon->signals[i]);
	event_free(daemon->watch);
	event_free(daemon->alive);
	event_base_free(daemon->base);
	for (unsigned i = 0; i < daemon->ring_count; i++)
		ring_close(daemon->rings[i]);
	unlink_socket(daemon->config, "stats.sock");
	unlink_socket(daemon->config, "control.sock");
	unlink_socket(daemon->config, "log.sock");
	close(daemon->log_fd);
	free(daemon->rings);
	free(daemon->workers);
	free(daemon->heartbeats);
	free(daemon->tcp_limits);
	free(daemon->recursion_text);
	cache_free(daemon->cache);
	lists_free(daemon->lists);
	config_free(daemon->config);
	close(daemon->state_lock);
}

int daemon_run(struct daemon *daemon)
{
	const struct config *config = daemon->config;

	for (size_t i = 0; i < config->warning_count; i++)
		log_warn("%s", config->warnings[i]);
	log_info("serving on %zu addresses with %u workers, %zu profiles", config->listen_count,
	        config->workers, config->profile_count);
	sd_notify(0, "READY=1");
	event_base_loop(daemon->base, EVLOOP_NO_EXIT_ON_EMPTY);
	sd_notify(0, "STOPPING=1");
	log_info("stopping");
	int code = daemon->exit_code;
	daemon_stop(daemon);
	return code;
}
