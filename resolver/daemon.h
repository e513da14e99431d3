/*
 * usherd as a whole: what the main thread owns, and the acts that concern all of it: start, reload, stop.
 * What it puts in force is in publish.h, its children are in children.h. The main thread runs signals,
 * sockets in run-dir and timers; it never touches a query.
 */
#ifndef USHER_DAEMON_H
#define USHER_DAEMON_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "block_log.h"
#include "cache.h"
#include "config.h"
#include "cookie.h"
#include "device_watch.h"
#include "fault.h"
#include "http.h"
#include "keeper.h"
#include "operations.h"
#include "list_loader.h"
#include "recursor.h"
#include "snapshot.h"
#include "source_watch.h"
#include "stats.h"
#include "stream.h"
#include "worker.h"

struct daemon {
	const char *config_file;
	char ledger_trouble[256]; /* "" or why the last entry could not be written */
	char reload_trouble[256]; /* "" or where the configuration was wrong at the last reload */
	struct config *config;    /* one reference */
	struct event_base *base;
	int state_lock, run_lock;
	int64_t started_s; /* monotonic */

	struct keeper *keeper;
	bool recursor_runs;
	char *recursion_text, *reader_text; /* what the children were last started with */
	struct name flush_name;             /* to be flushed again when a new recursor serves; len 0: none */
	bool flush_all;
	unsigned flush_turns; /* of the watch, until then */

	struct worker **workers;
	unsigned worker_count;
	struct stream_limits *tcp_limits;
	struct slots *slots;
	struct rate *rate, *strangers;
	struct tunnel *tunnel;
	struct cookie_secret cookies;
	struct cache *cache;

	struct ring **rings; /* one a worker, then those that earlier runs left */
	unsigned ring_count;
	struct block_log *log;
	struct names *names; /* NULL: none are counted */

	struct lists *lists;               /* one reference; NULL: none could be opened */
	struct snapshot *snapshot;         /* what the workers were given last; one reference */
	struct list_loader *list_loader;   /* opens the next one */
	uint64_t loading_generation;       /* … of this id */
	uint64_t refused_generation;       /* looked at and found bad: not tried again */
	char lists_trouble[LISTS_WHY_MAX]; /* "" or what is wrong with them */
	struct source_watch source_watch;
	struct device_watch *devices;
	struct faults faults;
	struct operations operations;

	struct probe_door *probe_door;
	uint64_t engines_failed; /* bits of the configuration's engines */

	struct rules *rules;               /* one reference; never NULL */
	char rules_trouble[RULES_WHY_MAX]; /* "" or what was wrong with their file at start; until a change
	                                      has made another */
	bool rules_locked;                 /* it can't be read: a change would lose what is in it */

	int stats_fd, stats_tcp_fd, control_fd, log_fd,
	        alerts_fd; /* listening, -1 none; the first three become their servers' */
	struct http_server *stats_server, *stats_tcp_server, *control_server;
	int hangup_fd; /* SIGHUP, which so tells who sent it */
	struct event *signals[2], *hangup, *watch, *alive, *second;
	uint64_t *heartbeats; /* of the workers, as last seen */
	unsigned stalled_turns;
	bool stopping;
	int exit_code;
};

/*
 * Starts everything: binds, drops rights, starts keeper, workers and log. Ends the process with a sentence if
 * it cannot. config: a reference that the daemon takes over.
 */
void daemon_start(struct daemon *daemon, const char *config_file, struct config *config);

/* Parts of the start (start.c) that concern the main loop. */
void daemon_start_signals(
        struct daemon *daemon); /* before anybody is answered: they wait for the main loop */
void daemon_start_events(struct daemon *daemon);

/* Runs until SIGTERM or SIGINT, drains, frees all. Returns the exit code. */
int daemon_run(struct daemon *daemon);

/* Who wants something: by a socket, or by a signal. */
struct daemon_asker {
	uid_t uid; /* (uid_t)-1: nobody known */
	pid_t pid; /* of a signal's sender; 0: none known, or no signal */
	bool by_signal;
};

/*
 * Appends to the ledger what was done by whom ((uid_t)-1: a signal, or usherd itself), taking detail over. A
 * failure is told in the log and by `usher status`: what was done is in effect all the same.
 */
void daemon_note(struct daemon *daemon, uid_t uid, const char *what, json_t *detail);

/*
 * The same with the configuration, lists and rules in use: at start and after a reload. The configuration's
 * hash is that of what was understood, so that a comment makes no difference.
 */
void daemon_note_state(struct daemon *daemon, const struct daemon_asker *asker, const char *what);

/*
 * Reads the configuration again. Returns 0, or negative errno with `why` (one problem a line): then
 * nothing has changed. *note is a sentence on keys that only a restart brings into effect, or "".
 */
int daemon_reload(
        struct daemon *daemon, const struct daemon_asker *asker, char why[CONFIG_WHY_MAX], char note[256]);

/* Has one of the workers not turned its loop for some seconds? */
bool daemon_worker_hangs(const struct daemon *daemon);

/* How long the log of each profile is kept, for the log's writer. Returns their number. */
size_t daemon_keeps(const struct config *config, struct block_keep keeps[CONFIG_PROFILES_MAX]);

/* What is not wrong with it, and worth a word. */
void daemon_say_warnings(const struct config *config);

#endif
