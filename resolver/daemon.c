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

#include "blocklists/fetch.h"
#include "children.h"
#include "control.h"
#include "ledger.h"
#include "log.h"
#include "probe.h"
#include "publish.h"
#include "scope.h"
#include "tunnel.h"

#define MAIN_NICE 10 /* of the main thread alone */
#define WATCH_MS 250 /* a new generation serves within a second */
#define ALIVE_S 2
#define STALLED_TURNS_MAX 3 /* then the watchdog is not told that we live */

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

void daemon_note_state(struct daemon *daemon, const struct daemon_asker *asker, const char *what)
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

/* ---- what the configuration says ---- */

size_t daemon_keeps(const struct config *config, struct block_keep keeps[CONFIG_PROFILES_MAX])
{
	for (size_t i = 0; i < config->profile_count; i++)
		keeps[i] = (struct block_keep){ config->profiles[i].name, config->profiles[i].keep_s };
	return config->profile_count;
}

void daemon_say_warnings(const struct config *config)
{
	char lacks[SCOPE_TEXT_MAX];

	for (size_t i = 0; i < config->warning_count; i++)
		log_warn("%s", config->warnings[i]);
	for (size_t i = 0; i < config->access_count; i++)
		if (scope_lacks_group(&config->access[i], lacks))
			log_warn("%s", lacks);
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
	daemon_watch_lists(arg);
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

	daemon_check_recursor(daemon);
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

	daemon->watch = event_new(daemon->base, -1, EV_PERSIST, watch_due, daemon);
	event_add(daemon->watch, &watch);
	if (daemon_follow_lists(daemon) < 0)
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
	if (daemon_attach_children(daemon) < 0)
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

	daemon_say_warnings(config);
	log_info("serving on %zu addresses with %u workers, %zu profiles", config->listen_count,
	        config->workers, config->profile_count);
	daemon_note_state(daemon, &(struct daemon_asker){ .uid = (uid_t)-1 }, "start");
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
