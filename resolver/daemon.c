#include "daemon.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/compile.h"
#include "builtin.h"
#include "blocklists/fetch.h"
#include "control.h"
#include "ledger.h"
#include "log.h"
#include "engines.h"
#include "probe.h"
#include "scope.h"
#include "tunnel.h"

#define PULSES_MISSED_MAX 2 /* of 5 s each */
#define MAIN_NICE 10        /* of the main thread alone */
#define PUBLISH_WAIT_MS 1000
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

/* Hands all workers what the daemon holds now. */
static int daemon_publish(struct daemon *daemon)
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

/* Looks whether `current` names another generation than the one in use, and begins to open it; it serves if
 * it is whole. */
static void watch_lists(struct daemon *daemon)
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

/*
 * Starts the recursor, or replaces it: where what concerns it has changed, or by force, which forgets what
 * libunbound holds. What the old one brought goes from our cache once the new one serves.
 */
static int daemon_start_recursor(struct daemon *daemon, bool force)
{
	size_t len;
	char *text = config_text(daemon->config, config_print_recursion, &len);

	if (text == NULL)
		return -ENOMEM;
	bool same = daemon->recursion_text != NULL && strcmp(text, daemon->recursion_text) == 0;
	int ret = same && !force ? 0 : keeper_recursor(daemon->keeper, text, len);
	if (ret < 0 || same) {
		free(text);
		return ret;
	}
	daemon->flush_all = daemon->recursion_text != NULL;
	free(daemon->recursion_text);
	daemon->recursion_text = text;
	return 0;
}

/* The same for the reader and the alerter, which get the whole configuration. */
static int daemon_start_tellers(struct daemon *daemon)
{
	size_t len;
	char *text = config_text(daemon->config, config_print, &len);

	if (text == NULL)
		return -ENOMEM;
	bool same = daemon->reader_text != NULL && strcmp(text, daemon->reader_text) == 0;
	int ret = same ? 0 : keeper_reader(daemon->keeper, text, len, daemon->log_fd);
	if (ret == 0 && !same)
		ret = keeper_alerter(daemon->keeper, text, len, daemon->alerts_fd);
	if (ret < 0 || same) {
		free(text);
		return ret;
	}
	free(daemon->reader_text);
	daemon->reader_text = text;
	return 0;
}

int daemon_flush(struct daemon *daemon, const struct name *name, unsigned *flushed)
{
	*flushed = cache_flush(daemon->cache, name, true);
	daemon->flush_name = *name;
	/* Questions wait for the new recursor: the old one would bring the old answer. */
	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_set_recursor(daemon->workers[i], -1);
	return daemon_start_recursor(daemon, true);
}

/* The workers have left the old recursor by now: what its last answers put into the cache goes too. */
static void daemon_flush_again(struct daemon *daemon)
{
	static const struct name root = { .len = 1 };

	if (daemon->flush_turns == 0 || --daemon->flush_turns > 0)
		return;
	if (daemon->flush_all)
		cache_flush(daemon->cache, &root, true);
	else if (daemon->flush_name.len > 0)
		cache_flush(daemon->cache, &daemon->flush_name, true);
	daemon->flush_all = false;
	daemon->flush_name.len = 0;
}

static void recursor_started(void *arg, const int *fds, unsigned count)
{
	struct daemon *daemon = arg;

	daemon->recursor_runs = true;
	daemon->flush_turns = 2;
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

/* ---- the ledger ---- */

void daemon_note(struct daemon *daemon, uid_t uid, const char *what, json_t *detail)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof dir, "%s/ledger", daemon->config->state_dir);
	int ret = detail != NULL ? ledger_append(dir, uid, what, detail) : -ENOMEM;
	json_decref(detail);
	daemon->ledger_trouble[0] = '\0';
	if (ret == 0)
		return;
	snprintf(daemon->ledger_trouble, sizeof daemon->ledger_trouble, "%s could not be written down: %s",
	        what,
	        ret == -EBADMSG ? "the ledger is damaged, see `usher ledger --verify`" : strerror(-ret));
	log_error("ledger: %s", daemon->ledger_trouble);
}

/*
 * The same with the configuration, lists and rules in use: at start and after a reload. The configuration's
 * hash is that of what was understood, so that a comment makes no difference.
 */
static void note_state(struct daemon *daemon, const struct daemon_asker *asker, const char *what)
{
	char hash[FETCH_SHA256_TEXT] = "";
	size_t len;
	char *text = config_text(daemon->config, config_print, &len);

	if (text != NULL)
		fetch_sha256(text, len, hash);
	free(text);
	json_t *detail = json_pack("{s:s, s:s, s:s, s:o, s:I}", "version", USHER_VERSION, "config",
	        daemon->config_file, "sha256", hash, "generation",
	        daemon->lists != NULL ? json_integer((json_int_t)lists_info(daemon->lists)->id) : json_null(),
	        "rules", (json_int_t)rules_revision(daemon->rules));
	if (asker->by_signal)
		json_object_set_new(detail, "signal", json_string("SIGHUP"));
	if (asker->pid != 0)
		json_object_set_new(detail, "pid", json_integer(asker->pid));
	daemon_note(daemon, asker->uid, what, detail);
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
		{ "user", strcmp(old->user, new->user) != 0 },
		{ "recursor-user", strcmp(old->recursor_user, new->recursor_user) != 0 },
		{ "stats-listen",
		        old->stats_listen.socket_len != new->stats_listen.socket_len ||
		                (new->stats_listen.socket_len > 0 &&
		                        strcmp(old->stats_listen.text, new->stats_listen.text) != 0) },
		{ "access", old->access_count == 0 && new->access_count > 0 }, /* log.sock: start.c */
		{ "cache.size", old->cache_size != new->cache_size },
		{ "limits.in-flight", old->limits.in_flight != new->limits.in_flight },
		{ "log", old->log_max_size != new->log_max_size || old->log_ring != new->log_ring },
		{ "names", old->names.enabled != new->names.enabled || old->names.days != new->names.days },
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

/* The folders hold our lock, our log and our sockets: they cannot move under a running usherd. */
static int reload_keeps_folders(const struct config *old, const struct config *new, char why[CONFIG_WHY_MAX])
{
	bool state = strcmp(old->state_dir, new->state_dir) != 0;

	if (!state && strcmp(old->run_dir, new->run_dir) == 0)
		return 0;
	snprintf(why, CONFIG_WHY_MAX,
	        "%s: %s: found '%s', expected '%s' as long as usherd runs: restart it to move", new->file,
	        state ? "state-dir" : "run-dir", state ? new->state_dir : new->run_dir,
	        state ? old->state_dir : old->run_dir);
	return -EINVAL;
}

/* The lists for a new configuration: the same, or where categories have changed places the same generation
 * opened anew, or another try. */
static int reload_lists(
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

size_t daemon_keeps(const struct config *config, struct block_keep keeps[CONFIG_PROFILES_MAX])
{
	for (size_t i = 0; i < config->profile_count; i++)
		keeps[i] = (struct block_keep){ config->profiles[i].name, config->profiles[i].keep_s };
	return config->profile_count;
}

static void say_warnings(const struct config *config)
{
	char lacks[SCOPE_TEXT_MAX];

	for (size_t i = 0; i < config->warning_count; i++)
		log_warn("%s", config->warnings[i]);
	for (size_t i = 0; i < config->access_count; i++)
		if (scope_lacks_group(&config->access[i], lacks))
			log_warn("%s", lacks);
}

/* Puts a checked configuration and its lists into effect. */
static int reload_apply(
        struct daemon *daemon, struct config *config, struct lists *lists, char why[CONFIG_WHY_MAX])
{
	struct config *config_before = daemon->config;
	struct block_keep keeps[CONFIG_PROFILES_MAX];
	struct lists *lists_before = daemon->lists;

	daemon->config = config;
	daemon->lists = lists;
	daemon_read_engines(daemon);
	int ret = daemon_publish(daemon);
	if (ret < 0) {
		daemon->config = config_before;
		daemon->lists = lists_before;
		daemon_read_engines(daemon);
		snprintf(why, CONFIG_WHY_MAX, "out of memory");
		return ret;
	}
	config_free(config_before);
	lists_free(lists_before);
	if (device_watch_configure(daemon->devices, config) < 0)
		log_error("reload: no memory for the lease files; those of before are followed");
	names_configure(daemon->names, config);
	if (block_log_set_keeps(daemon->log, keeps, daemon_keeps(config, keeps)) < 0)
		log_error("reload: out of memory: the log is kept as before");
	if (daemon_start_recursor(daemon, false) < 0 || daemon_start_tellers(daemon) < 0)
		log_error("reload: a child process could not be started anew; it goes on as it was");
	say_warnings(config);
	return 0;
}

/* Keeps where the first mistake is, not what stands there: that may be a secret, or somebody's device, and
 * goes into mails. */
static void daemon_note_reload(struct daemon *daemon, const char *why)
{
	char *end;

	snprintf(daemon->reload_trouble, sizeof daemon->reload_trouble, "%s", why);
	daemon->reload_trouble[strcspn(daemon->reload_trouble, "\n")] = '\0';
	end = strstr(daemon->reload_trouble, ": found");
	if (end != NULL)
		*end = '\0';
}

int daemon_reload(
        struct daemon *daemon, const struct daemon_asker *asker, char why[CONFIG_WHY_MAX], char note[256])
{
	struct config *config = NULL;
	struct lists *lists = NULL;
	int ret = config_read(&config, daemon->config_file, why);

	if (ret == 0)
		ret = recursor_check(config, why);
	if (ret == 0)
		ret = reload_keeps_folders(daemon->config, config, why);
	if (ret == 0)
		ret = reload_lists(daemon, config, &lists, why);
	if (ret == 0) {
		reload_note(daemon->config, config, note);
		ret = reload_apply(daemon, config, lists, why);
	}
	if (ret == 0)
		note_state(daemon, asker, "reload");
	if (ret < 0) {
		daemon_note_reload(daemon, why);
		config_free(config);
		lists_free(lists);
	} else {
		daemon->reload_trouble[0] = '\0';
	}
	return ret;
}

/* ---- the main loop's events ---- */

static void stop_signalled(evutil_socket_t signal, short what, void *arg)
{
	event_base_loopbreak(((struct daemon *)arg)->base);
}

/* The kernel's own (SI_KERNEL: the terminal is gone) has no sender. */
static struct daemon_asker hangup_sender(int fd)
{
	struct daemon_asker asker = { .uid = (uid_t)-1, .by_signal = true };
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof info) == sizeof info)
		if (info.ssi_code != SI_KERNEL) {
			asker.uid = info.ssi_uid;
			asker.pid = (pid_t)info.ssi_pid;
		}
	return asker;
}

static void hangup_readable(evutil_socket_t fd, short what, void *arg)
{
	char why[CONFIG_WHY_MAX], note[256];
	struct daemon_asker asker = hangup_sender(fd);

	sd_notify(0, "RELOADING=1");
	if (daemon_reload(arg, &asker, why, note) < 0)
		log_error("reload: nothing has changed:\n%s", why);
	else
		log_info("reload: done%s%s", *note != '\0' ? "; " : "", note);
	sd_notify(0, "READY=1");
}

static void watch_due(evutil_socket_t fd, short what, void *arg)
{
	daemon_flush_again(arg);
	watch_lists(arg);
}

/* One that hangs is replaced; the keeper kills it some seconds later. */
static void recursor_check_pulse(struct daemon *daemon)
{
	if (!daemon->recursor_runs || atomic_load(&daemon->workers[0]->pulses_missed) < PULSES_MISSED_MAX)
		return;
	atomic_store(&daemon->workers[0]->pulses_missed, 0);
	log_error("recursor: it does not answer any more and is replaced");
	if (daemon_start_recursor(daemon, true) < 0)
		log_error("recursor: another one could not be started");
}

bool daemon_worker_hangs(const struct daemon *daemon)
{
	return daemon->stalled_turns >= STALLED_TURNS_MAX;
}

/* The watchdog hears from us only while every worker's loop turns. */
static void alive_due(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *daemon = arg;
	bool stalled = false;

	recursor_check_pulse(daemon);
	for (unsigned i = 0; i < daemon->worker_count; i++) {
		uint64_t beat = atomic_load(&daemon->workers[i]->heartbeat);
		stalled |= beat == daemon->heartbeats[i];
		daemon->heartbeats[i] = beat;
	}
	daemon->stalled_turns = stalled ? daemon->stalled_turns + 1 : 0;
	if (daemon->stalled_turns == STALLED_TURNS_MAX)
		log_error("a worker has not turned its loop for %d s", ALIVE_S * STALLED_TURNS_MAX);
	if (!daemon_worker_hangs(daemon))
		sd_notify(0, "WATCHDOG=1");
	faults_look(&daemon->faults, daemon);
	operations_look(&daemon->operations, daemon);
}

static void second_due(evutil_socket_t fd, short what, void *arg)
{
	device_watch_look(((struct daemon *)arg)->devices);
}

void daemon_start_signals(struct daemon *daemon)
{
	daemon->signals[0] = evsignal_new(daemon->base, SIGTERM, stop_signalled, daemon);
	daemon->signals[1] = evsignal_new(daemon->base, SIGINT, stop_signalled, daemon);
	for (size_t i = 0; i < 2; i++)
		if (daemon->signals[i] == NULL || event_add(daemon->signals[i], NULL) < 0)
			log_fatal("out of memory");
	daemon->hangup =
	        event_new(daemon->base, daemon->hangup_fd, EV_READ | EV_PERSIST, hangup_readable, daemon);
	if (daemon->hangup == NULL || event_add(daemon->hangup, NULL) < 0)
		log_fatal("out of memory");
}

void daemon_start_events(struct daemon *daemon)
{
	static const struct timeval second = { .tv_sec = 1 };
	static const struct timeval watch = { .tv_usec = WATCH_MS * 1000 }, alive = { .tv_sec = ALIVE_S };
	struct keeper_events keeper = { recursor_started, recursor_ended, daemon, keeper_ended };

	daemon->watch = event_new(daemon->base, -1, EV_PERSIST, watch_due, daemon);
	event_add(daemon->watch, &watch);
	daemon->list_loader = list_loader_new(daemon->base, lists_loaded, daemon);
	if (daemon->list_loader == NULL)
		log_fatal("out of memory");
	daemon->alive = event_new(daemon->base, -1, EV_PERSIST, alive_due, daemon);
	event_add(daemon->alive, &alive);
	daemon->second = event_new(daemon->base, -1, EV_PERSIST, second_due, daemon);
	event_add(daemon->second, &second);
	daemon->stats_server = http_serve(daemon->base, daemon->stats_fd, control_stats_routes, daemon);
	daemon->control_server = http_serve(daemon->base, daemon->control_fd, control_routes, daemon);
	if (daemon->stats_tcp_fd >= 0)
		daemon->stats_tcp_server =
		        http_serve(daemon->base, daemon->stats_tcp_fd, control_stats_routes, daemon);
	if (keeper_attach(daemon->keeper, daemon->base, &keeper) < 0 ||
	        daemon_start_recursor(daemon, false) < 0 || daemon_start_tellers(daemon) < 0)
		log_fatal("keeper: cannot start the recursor, the reader and the alerter");
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
	names_stop(daemon->names); /* may have something for the log */
	block_log_stop(daemon->log);
	probe_door_close(daemon->probe_door); /* its requests are the servers' */
	http_server_free(daemon->stats_server);
	http_server_free(daemon->stats_tcp_server);
	http_server_free(daemon->control_server);
	keeper_stop(daemon->keeper);
	for (size_t i = 0; i < 2; i++)
		event_free(daemon->signals[i]);
	event_free(daemon->hangup);
	close(daemon->hangup_fd);
	event_free(daemon->watch);
	list_loader_free(daemon->list_loader);
	event_free(daemon->alive);
	event_free(daemon->second);
	device_watch_stop(daemon->devices);
	event_base_free(daemon->base);
	for (unsigned i = 0; i < daemon->ring_count; i++)
		ring_close(daemon->rings[i]);
	unlink_socket(daemon->config, "stats.sock");
	unlink_socket(daemon->config, "control.sock");
	unlink_socket(daemon->config, "log.sock");
	unlink_socket(daemon->config, "alerts.sock");
	close(daemon->log_fd);
	close(daemon->alerts_fd);
	operations_clear(&daemon->operations);
	free(daemon->rings);
	free(daemon->workers);
	free(daemon->heartbeats);
	free(daemon->tcp_limits);
	free(daemon->slots);
	rate_free(daemon->rate);
	rate_free(daemon->strangers);
	tunnel_free(daemon->tunnel);
	free(daemon->recursion_text);
	free(daemon->reader_text);
	cache_free(daemon->cache);
	source_watch_clear(&daemon->source_watch);
	snapshot_free(daemon->snapshot);
	lists_free(daemon->lists);
	rules_free(daemon->rules);
	config_free(daemon->config);
	close(daemon->state_lock);
	close(daemon->run_lock);
}

int daemon_run(struct daemon *daemon)
{
	const struct config *config = daemon->config;

	say_warnings(config);
	log_info("serving on %zu addresses with %u workers, %zu profiles", config->listen_count,
	        config->workers, config->profile_count);
	note_state(daemon, &(struct daemon_asker){ .uid = (uid_t)-1 }, "start");
	/* From here on this thread makes snapshots and answers people: workers on its processor go before it.
	 */
	setpriority(PRIO_PROCESS, (id_t)gettid(), MAIN_NICE);
	sd_notify(0, "READY=1");
	event_base_loop(daemon->base, EVLOOP_NO_EXIT_ON_EMPTY);
	sd_notify(0, "STOPPING=1");
	log_info("stopping");
	daemon_note(daemon, (uid_t)-1, "stop", json_object());
	int code = daemon->exit_code;
	daemon_stop(daemon);
	return code;
}
