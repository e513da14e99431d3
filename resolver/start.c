/*
 * The start, in an order that matters: the keeper is forked before there are threads and while there are
 * rights, the state folder is locked before a port is bound, rights go before a byte from the network or a
 * list is read, and threads come last. A start that cannot succeed ends with one sentence and exit code 1.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "account.h"
#include "log.h"
#include "message.h"
#include "page_guard.h"
#include "precedence.h"
#include "publish.h"
#include "rules_control.h"
#include "socket.h"
#include "probe.h"
#include "tunnel.h"

#define DESCRIPTORS 65536
/* Who asks at the limit at one time; 136 octets each. */
#define RATE_CLIENTS 16384
#define RATE_STRANGERS 4096
#define NAMES_RING 65536 /* octets */

/* On a read-only disk usherd filters by what is there, without lists by nothing: then it does not start. */
static void start_folders(const struct config *config, const struct account *account)
{
	static const struct {
		const char *name;
		mode_t mode;
		bool is_needed;
	} folders[] = { { "", 0750, true }, { "lists", 0755, true }, { "log", 0700, false },
		{ "rules", 0755, false }, { "ledger", 0700, false }, { "names", 0700, false },
		{ "devices", 0700, false }, { "alerts", 0700, false } };
	char path[PATH_MAX];
	int ret;

	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		snprintf(path, sizeof path, "%s%s%s", config->state_dir, i > 0 ? "/" : "", folders[i].name);
		ret = account_make_folder(account, path, folders[i].mode);
		if (ret == -EROFS && !folders[i].is_needed)
			log_error("state-dir: cannot make %s: %s", path, strerror(-ret));
		else if (ret < 0)
			log_fatal("state-dir: cannot make %s: %s%s", path, strerror(-ret),
			        ret == -EROFS ? "; it must be writable until there are lists in it" : "");
	}
	ret = account_make_folder(account, config->run_dir, 0755);
	if (ret < 0)
		log_fatal("run-dir: cannot make %s: %s", config->run_dir, strerror(-ret));
	snprintf(path, sizeof path, "%s/alerts", config->run_dir);
	ret = account_make_folder(account, path, 0700);
	if (ret < 0)
		log_fatal("run-dir: cannot make %s: %s", path, strerror(-ret));
}

/* The rings in there are one usherd's. */
static void start_lock_run_dir(struct daemon *daemon)
{
	daemon->run_lock = open(daemon->config->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (daemon->run_lock < 0)
		log_fatal("run-dir: cannot open %s: %s", daemon->config->run_dir, strerror(errno));
	if (flock(daemon->run_lock, LOCK_EX | LOCK_NB) < 0)
		log_fatal("run-dir: another usherd runs with %s", daemon->config->run_dir);
}

/* SO_REUSEPORT would let a second usherd share the port in silence. */
static void start_lock(struct daemon *daemon)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/usherd.lock", daemon->config->state_dir);
	daemon->state_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (daemon->state_lock < 0 && errno == EROFS)
		daemon->state_lock = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (daemon->state_lock < 0 && errno == ENOENT)
		daemon->state_lock = open(daemon->config->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (daemon->state_lock < 0)
		log_fatal("state-dir: cannot open %s: %s", path, strerror(errno));
	if (flock(daemon->state_lock, LOCK_EX | LOCK_NB) < 0)
		log_fatal("state-dir: another usherd runs with %s", daemon->config->state_dir);
	start_lock_run_dir(daemon);
}

static int bound(int fd, const struct config_address *address, const char *transport)
{
	if (fd < 0)
		log_fatal("listen: cannot bind %s (%s): %s%s", address->text, transport, strerror(-fd),
		        fd == -EADDRINUSE
		                ? "; is another DNS server running here (systemd-resolved, dnsmasq, named)?"
		                : "");
	return fd;
}

/* The sockets of one worker after the other: udp[worker * listen_count + address]. */
struct start_sockets {
	int *udp, *tcp;
	bool *wildcard;
};

static struct start_sockets start_bind(const struct config *config)
{
	size_t count = config->listen_count;
	struct start_sockets sockets = {
		.udp = calloc(config->workers * count, sizeof(int)),
		.tcp = calloc(config->workers * count, sizeof(int)),
		.wildcard = calloc(count, sizeof(bool)),
	};

	if (!sockets.udp || !sockets.tcp || !sockets.wildcard)
		log_fatal("out of memory");
	for (size_t i = 0; i < count; i++) {
		bound(socket_is_taken(&config->listen[i], SOCK_DGRAM) ? -EADDRINUSE : 0, &config->listen[i],
		        "UDP");
		bound(socket_is_taken(&config->listen[i], SOCK_STREAM) ? -EADDRINUSE : 0, &config->listen[i],
		        "TCP");
	}
	for (size_t i = 0; i < config->workers * count; i++) {
		const struct config_address *address = &config->listen[i % count];
		sockets.udp[i] = bound(socket_bind_udp(address), address, "UDP");
		sockets.tcp[i] = bound(socket_listen_tcp(address), address, "TCP");
		sockets.wildcard[i % count] = socket_is_wildcard(address);
	}
	return sockets;
}

/* With `access` there are more groups than a socket can have: everybody may connect to log.sock, and the
 * reader asks who it is. */
static void start_open_socket(const char *path)
{
	if (chmod(path, 0666) < 0)
		log_fatal("run-dir: cannot open %s to the groups of access: %s", path, strerror(errno));
}

/* The owner is usherd's own user, as which the timers' commands run; last, for root without rights can't
 * change what is another's. */
static void start_give_socket(const struct account *account, const char *path)
{
	if (account->uid != (uid_t)-1 && lchown(path, account->uid, (gid_t)-1) < 0)
		log_fatal("run-dir: cannot give %s to usherd's user: %s", path, strerror(errno));
}

static int start_unix_socket(const struct config *config, const struct account *account, const char *name,
        const char *group, bool is_open)
{
	char path[PATH_MAX];
	gid_t gid = account_group(group);

	if (gid == (gid_t)-1 && account->uid != (uid_t)-1)
		log_warn("run-dir: there is no group %s: %s is for root alone", group, name);
	snprintf(path, sizeof path, "%s/%s", config->run_dir, name);
	int fd = http_unix_socket(path, geteuid() == 0 ? gid : (gid_t)-1);
	if (fd < 0)
		log_fatal("run-dir: cannot make %s: %s", path, strerror(-fd));
	if (is_open)
		start_open_socket(path);
	start_give_socket(account, path);
	return fd;
}

static void start_run_sockets(struct daemon *daemon, const struct account *account)
{
	const struct config *config = daemon->config;

	daemon->stats_fd = start_unix_socket(config, account, "stats.sock", "usher-stats", false);
	daemon->control_fd = start_unix_socket(config, account, "control.sock", "usher-admin", false);
	daemon->log_fd =
	        start_unix_socket(config, account, "log.sock", "usher-dsl", config->access_count > 0);
	daemon->alerts_fd = start_unix_socket(config, account, "alerts.sock", "usher-admin", false);
	daemon->stats_tcp_fd = -1;
	if (config->stats_listen.socket_len > 0)
		daemon->stats_tcp_fd = bound(
		        socket_listen_tcp(&config->stats_listen), &config->stats_listen, "stats-listen");
}

static void start_keeper(struct daemon *daemon, struct account *account)
{
	const struct config *config = daemon->config;
	struct account recursor;

	if (account_find(account, config->user, config->user_given) < 0)
		log_fatal("user: found '%s', expected an account of this machine", config->user);
	if (account_find(&recursor, config->recursor_user, config->recursor_user_given) < 0)
		log_fatal("recursor-user: found '%s', expected an account of this machine",
		        config->recursor_user);
	if (geteuid() == 0 && account->uid == (uid_t)-1)
		log_warn("user: there is no account %s: usherd keeps running as root", config->user);
	if (recursor.uid == (uid_t)-1)
		recursor = *account;
	struct keeper_options options = {
		.program = "/proc/self/exe",
		.workers = config->workers,
		.recursor_uid = recursor.uid,
		.recursor_gid = recursor.gid,
		.reader_uid = account->uid,
		.reader_gid = account->gid,
	};
	int ret = keeper_start(&daemon->keeper, &options);
	if (ret < 0)
		log_fatal("keeper: cannot be started: %s", strerror(-ret));
}

/* The filter goes on without room for a ring's file: events wait in memory of its own. */
static int start_ring(struct ring **ring, const char *path, uint64_t size)
{
	int ret = ring_open(ring, path, size);

	if (ret > 0)
		log_error("log: %s was damaged; it is kept beside as .damaged, and a new one begun", path);
	if (ret != -EROFS && ret != -ENOSPC && ret != -EDQUOT)
		return ret;
	log_error("log: %s: %s; what is blocked waits in memory and is lost if usherd ends", path,
	        strerror(-ret));
	return ring_open_memory(ring, size);
}

/*
 * One a worker, and one of the thread that counts names. In run-dir, which is memory: on a disk that fails or
 * fills, the write to a mapped page would be a SIGBUS (page_guard.h) or a wait, and after a power loss a ring
 * on disk holds nothing that is newer than the log.
 */
static void start_rings(struct daemon *daemon)
{
	char path[PATH_MAX];
	int ret = 0;

	/* Earlier runs may have had more workers: what their rings still hold is committed too. */
	for (unsigned i = 0;; i++) {
		snprintf(path, sizeof path, "%s/ring-%u", daemon->config->run_dir, i);
		if (i > daemon->worker_count && access(path, F_OK) < 0)
			break;
		struct ring **rings = realloc(daemon->rings, (i + 1) * sizeof(struct ring *));
		if (rings == NULL)
			log_fatal("out of memory");
		daemon->rings = rings;
		ret = start_ring(&daemon->rings[i], path,
		        i == daemon->worker_count ? NAMES_RING : daemon->config->log_ring);
		if (ret < 0)
			log_fatal("log: cannot open %s: %s", path, strerror(-ret));
		daemon->ring_count = i + 1;
	}
}

/* What a ring holds that an earlier usherd left beside the log; it stays as long as that cannot be written.
 */
static void start_commit_left(const struct block_log_options *options, const char *path)
{
	struct block_log_options left = *options;
	struct block_log *log;
	struct ring *ring;

	if (access(path, F_OK) < 0 || ring_open(&ring, path, 0) < 0)
		return;
	left.rings = &ring;
	left.ring_count = 1;
	if (block_log_start(&log, &left) == 0)
		block_log_stop(log);
	if (ring_pending(ring) == 0)
		unlink(path);
	ring_close(ring);
}

static void start_commit_all_left(const struct block_log_options *options)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < KEEPER_WORKERS_MAX; i++) {
		snprintf(path, sizeof path, "%.4000s/ring-%u", options->dir, i);
		start_commit_left(options, path);
	}
}

static void log_trouble(void *arg, const char *sentence)
{
	if (*sentence != '\0')
		log_error("log: %s", sentence);
	else
		log_info("log: writes again");
}

static void start_log(struct daemon *daemon)
{
	struct block_keep keeps[CONFIG_PROFILES_MAX];
	char path[PATH_MAX];

	start_rings(daemon);
	snprintf(path, sizeof path, "%s/log", daemon->config->state_dir);
	struct block_log_options options = {
		.dir = path,
		.ring_dir = daemon->config->run_dir,
		.max_size = daemon->config->log_max_size,
		.rings = daemon->rings,
		.ring_count = daemon->ring_count,
		.keeps = keeps,
		.keep_count = daemon_keeps(daemon->config, keeps),
		.trouble = log_trouble,
		.arg = daemon,
	};
	start_commit_all_left(&options);
	int ret = block_log_start(&daemon->log, &options);
	if (ret < 0)
		log_fatal("log: cannot be opened in %s: %s", path, strerror(-ret));
}

/* On the thread that counts names, which has a ring of its own. */
static void new_site_told(void *arg, const struct newcomers_site *site)
{
	struct daemon *daemon = arg;
	char source[NEWCOMERS_SOURCE_LEN];
	struct block_event event = {
		.time_us = site->time_us,
		.profile = site->profile->name,
		.source = source,
		.name = &site->name,
		.matched = &site->name,
		.rule_labels = UINT8_MAX,
		.type = TYPE_ANY,
		.severity = SEVERITY_CAUTION,
		.action = BLOCK_ACTION_WATCH,
		.keep_s = site->profile->keep_s,
	};

	newcomers_source(site->devices, source);
	if (!block_log_write(daemon->rings[daemon->worker_count], &event))
		log_error("names: a swarm at a new site could not be logged");
}

/* Without these counts previews know less; that is no reason not to serve. */
static void start_names(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/names", config->state_dir);
	struct names_options options = {
		.dir = path,
		.workers = config->workers,
		.days = config->names.days,
		.told = new_site_told,
		.arg = daemon,
		.config = daemon->config,
	};
	int ret = config->names.enabled ? names_start(&daemon->names, &options) : names_forget(path);
	if (ret < 0)
		log_error("names: %s: %s", path, strerror(-ret));
}

static void start_workers(struct daemon *daemon, const struct start_sockets *sockets)
{
	const struct config *config = daemon->config;
	struct snapshot *snapshot = daemon_snapshot(daemon, daemon->rules);
	size_t count = config->listen_count;

	daemon->cache = cache_new(config->cache_size);
	if (snapshot == NULL || daemon->cache == NULL || daemon->workers == NULL ||
	        daemon->tcp_limits == NULL || daemon->slots == NULL || daemon->rate == NULL ||
	        daemon->strangers == NULL || daemon->tunnel == NULL)
		log_fatal("out of memory");
	if (cookie_secret_make(&daemon->cookies) < 0 ||
	        getrandom(&daemon->tcp_limits->seed, sizeof daemon->tcp_limits->seed, 0) < 0 ||
	        getrandom(&daemon->slots->seed, sizeof daemon->slots->seed, 0) < 0)
		log_fatal("cannot get random numbers: %s", strerror(errno));
	daemon->slots->most = config->limits.in_flight;
	for (unsigned i = 0; i < config->workers; i++) {
		struct worker_options options = {
			.index = i,
			.snapshot = snapshot_ref(snapshot),
			.cache = daemon->cache,
			.ring = daemon->rings[i],
			.names = names_counter(daemon->names, i),
			.cookies = &daemon->cookies,
			.tunnel = daemon->tunnel,
			.limits = daemon->tcp_limits,
			.udp_fds = sockets->udp + i * count,
			.tcp_fds = sockets->tcp + i * count,
			.wildcard = sockets->wildcard,
			.socket_count = count,
			.slots = daemon->slots,
			.rate = daemon->rate,
			.strangers = daemon->strangers,
		};
		int ret = worker_start(&daemon->workers[i], &options);
		if (ret < 0)
			log_fatal("worker %u cannot be started: %s", i, strerror(-ret));
	}
	daemon->snapshot = snapshot;
}

static void publish_neighbours(void *arg, struct neighbour_table *table)
{
	struct daemon *daemon = arg;

	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_set_neighbours(daemon->workers[i], neighbour_table_ref(table));
}

/* After the workers, which are handed what it finds. */
static void start_devices(struct daemon *daemon)
{
	int ret = device_watch_start(
	        &daemon->devices, daemon->base, daemon->config, publish_neighbours, daemon);

	if (ret < 0)
		log_fatal("devices: cannot be watched: %s", strerror(-ret));
	device_watch_look(daemon->devices);
}

/* Before there are threads, which inherit that it is blocked; after the keeper, which must not. */
static void start_hangup(struct daemon *daemon)
{
	sigset_t hangup;

	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	sigprocmask(SIG_BLOCK, &hangup, NULL);
	daemon->hangup_fd = signalfd(-1, &hangup, SFD_NONBLOCK | SFD_CLOEXEC);
	if (daemon->hangup_fd < 0)
		log_fatal("signals: cannot be received: %s", strerror(errno));
}

static void start_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &limit);
}

void daemon_start(struct daemon *daemon, const char *config_file, struct config *config)
{
	struct account account;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	*daemon = (struct daemon){ .config_file = config_file, .config = config, .started_s = now.tv_sec };
	signal(SIGPIPE, SIG_IGN);
	page_guard_start();
	start_descriptors();
	start_keeper(daemon, &account);
	start_hangup(daemon);
	start_folders(config, &account);
	start_lock(daemon);
	struct start_sockets sockets = start_bind(config);
	start_run_sockets(daemon, &account);
	int ret = account_become(&account, precedence_allow());
	if (ret < 0)
		log_fatal("user: cannot become %s: %s", config->user, strerror(-ret));
	umask(0077);

	daemon->base = event_base_new();
	if (daemon->base == NULL)
		log_fatal("out of memory");
	daemon_start_signals(daemon);
	daemon->worker_count = config->workers;
	daemon->workers = calloc(config->workers, sizeof(struct worker *));
	daemon->heartbeats = calloc(config->workers, sizeof(uint64_t));
	daemon->tcp_limits = calloc(1, sizeof *daemon->tcp_limits);
	daemon->slots = calloc(1, sizeof *daemon->slots);
	daemon->rate = rate_new(RATE_CLIENTS);
	daemon->strangers = rate_new(RATE_STRANGERS);
	daemon->tunnel = tunnel_new();
	daemon->probe_door = probe_door_open(daemon->base);
	if (daemon->probe_door == NULL || daemon->heartbeats == NULL)
		log_fatal("out of memory");
	daemon_open_lists(daemon);
	daemon_read_engines(daemon);
	rules_control_open(daemon);
	faults_start(&daemon->faults, config->state_dir);
	start_log(daemon);
	start_names(daemon);
	start_workers(daemon, &sockets);
	start_devices(daemon);
	free(sockets.udp);
	free(sockets.tcp);
	free(sockets.wildcard);
	daemon_start_events(daemon);
}
