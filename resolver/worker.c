#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"
#include "query.h"
#include "stream.h"
#include "udp.h"

#define DEADLINE_MS 5000 /* DESIGN.md 8: SERVFAIL by then */
#define DRAIN_STEP_MS 20
#define DRAIN_MAX_US 1500000

static uint64_t timespec_us(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_nsec / 1000;
}

void worker_clock(struct worker *worker)
{
	struct timespec utc, mono;

	clock_gettime(CLOCK_REALTIME, &utc);
	clock_gettime(CLOCK_MONOTONIC, &mono);
	worker->utc_us = (int64_t)timespec_us(&utc);
	worker->mono_us = timespec_us(&mono);
	worker->mono_s = (uint32_t)mono.tv_sec;
	precedence_turn(&worker->precedence, (int64_t)worker->mono_us);
	if (worker->moment.utc_s != utc.tv_sec)
		worker->moment = moment_at(utc.tv_sec);
}

int64_t worker_boundary(struct worker *worker, unsigned profile)
{
	const struct config *config = worker->snapshot->config;
	struct worker_boundary *boundary = &worker->boundary[profile];
	int64_t minute = worker->moment.utc_s / 60;

	if (boundary->minute == minute && boundary->at_s > worker->moment.utc_s)
		return boundary->at_s;
	uint32_t block_ttl_s = config->profiles[profile].block_ttl_s, horizon_s = config->cache_max_ttl_s;
	if (block_ttl_s > horizon_s)
		horizon_s = block_ttl_s;
	uint32_t left_s = policy_next_change(config, profile, &worker->moment, horizon_s + 60);
	boundary->minute = minute;
	boundary->at_s = left_s == UINT32_MAX ? INT64_MAX : worker->moment.utc_s + left_s;
	return boundary->at_s;
}

static void worker_take_snapshot(struct worker *worker, struct snapshot *snapshot)
{
	lists_view_close(worker->view);
	snapshot_free(worker->snapshot);
	worker->snapshot = snapshot;
	memset(worker->boundary, 0, sizeof worker->boundary);
	atomic_store(&worker->stamp_taken, snapshot->stamp);
	worker->view = snapshot->lists != NULL ? lists_view_open(snapshot->lists) : NULL;
}

static void worker_drain(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;

	worker_clock(worker);
	if (worker->waiting == 0 || worker->mono_us > worker->drain_until_us)
		event_base_loopbreak(worker->base);
}

static void worker_begin_drain(struct worker *worker)
{
	static const struct timeval step = { .tv_usec = DRAIN_STEP_MS * 1000 };

	worker_clock(worker);
	worker->drain_until_us = worker->mono_us + DRAIN_MAX_US;
	streams_stop(worker->streams);
	for (size_t i = 0; i < worker->socket_count; i++)
		udp_stop(worker->udp[i]);
	event_add(worker->drain, &step);
}

static void worker_woken(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	uint64_t rings;

	if (read(fd, &rings, sizeof rings) < 0)
		return;
	struct snapshot *snapshot = atomic_exchange(&worker->next_snapshot, NULL);
	if (snapshot != NULL)
		worker_take_snapshot(worker, snapshot);
	struct neighbour_table *neighbours = atomic_exchange(&worker->next_neighbours, NULL);
	if (neighbours != NULL) {
		neighbour_table_free(worker->neighbours);
		worker->neighbours = neighbours;
	}
	int recursor = atomic_exchange(&worker->next_recursor, 0);
	if (recursor != 0)
		recursion_connect(worker->recursion, recursor > 0 ? recursor - 1 : -1);
	probe_take(worker);
	if (atomic_load(&worker->stopping) && !event_pending(worker->drain, EV_TIMEOUT, NULL))
		worker_begin_drain(worker);
}

static void pulse_answered(struct recursion_waiter *waiter, const struct recursion_result *result)
{
	struct worker *worker = (struct worker *)((char *)waiter - offsetof(struct worker, pulse));

	worker->pulse_waits = false;
	if (result->status == RECURSION_TIMEOUT)
		atomic_fetch_add(&worker->pulses_missed, 1);
	else
		atomic_store(&worker->pulses_missed, 0);
}

/* A recursor that hangs does not die: it is asked for what it knows by itself, whatever the internet does. */
static void worker_take_pulse(struct worker *worker)
{
	static const struct recursion_question localhost = {
		.name = { .len = 11, .labels = 1, .wire = "\11localhost" },
		.type = TYPE_A,
		.own = true,
	};

	if (worker->index != 0 || worker->pulse_waits)
		return;
	worker->pulse = (struct recursion_waiter){ .answered = pulse_answered };
	worker->pulse_waits = recursion_ask(worker->recursion, &localhost, &worker->pulse, NULL) == 0;
}

static void worker_ticked(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;

	worker_clock(worker);
	names_hand_over(worker->names);
	for (size_t i = 0; i < worker->socket_count; i++)
		udp_count(worker->udp[i]);
	atomic_fetch_add_explicit(&worker->heartbeat, 1, memory_order_relaxed);
	worker_take_pulse(worker);
}

static void *worker_run(void *arg)
{
	struct worker *worker = arg;

	pthread_setname_np(pthread_self(), "worker");
	precedence_begin(&worker->precedence, worker->snapshot->config->workers, (int64_t)worker->mono_us);
	event_base_loop(worker->base, EVLOOP_NO_EXIT_ON_EMPTY);
	precedence_end(&worker->precedence);
	return NULL;
}

void worker_free(struct worker *worker)
{
	/* Recursion first: it answers those who still wait, and they need their sockets. */
	recursion_free(worker->recursion);
	streams_free(worker->streams);
	for (size_t i = 0; i < worker->socket_count; i++)
		udp_free(worker->udp[i]);
	free(worker->udp);
	if (worker->wake != NULL)
		event_free(worker->wake);
	if (worker->tick != NULL)
		event_free(worker->tick);
	if (worker->drain != NULL)
		event_free(worker->drain);
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	if (worker->base != NULL)
		event_base_free(worker->base);
	lists_view_close(worker->view);
	snapshot_free(worker->snapshot);
	snapshot_free(atomic_exchange(&worker->next_snapshot, NULL));
	neighbour_table_free(worker->neighbours);
	neighbour_table_free(atomic_exchange(&worker->next_neighbours, NULL));
	int recursor = atomic_exchange(&worker->next_recursor, 0);
	if (recursor > 0)
		close(recursor - 1);
	free(worker);
}

static int worker_open_sockets(struct worker *worker, const struct worker_options *options)
{
	worker->udp = calloc(options->socket_count, sizeof(struct udp *));
	worker->streams = streams_new(worker, options->limits);
	if (worker->udp == NULL || worker->streams == NULL)
		return -ENOMEM;
	worker->socket_count = options->socket_count;
	for (size_t i = 0; i < options->socket_count; i++) {
		worker->udp[i] = udp_new(worker, options->udp_fds[i], options->wildcard[i]);
		if (streams_listen(worker->streams, options->tcp_fds[i]) < 0 || worker->udp[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int worker_build(struct worker *worker, const struct worker_options *options)
{
	static const struct timeval second = { .tv_sec = 1 };

	worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (worker->wake_fd < 0)
		return -errno;
	worker->base = event_base_new();
	if (worker->base == NULL)
		return -ENOMEM;
	worker->wake = event_new(worker->base, worker->wake_fd, EV_READ | EV_PERSIST, worker_woken, worker);
	worker->tick = event_new(worker->base, -1, EV_PERSIST, worker_ticked, worker);
	worker->drain = event_new(worker->base, -1, EV_PERSIST, worker_drain, worker);
	worker->recursion = recursion_new(
	        worker->base, options->slots, DEADLINE_MS, &worker->stats, resolve_store, worker);
	if (!worker->wake || !worker->tick || !worker->drain || !worker->recursion)
		return -ENOMEM;
	event_add(worker->wake, NULL);
	event_add(worker->tick, &second);
	return worker_open_sockets(worker, options);
}

int worker_new(struct worker **out, const struct worker_options *options)
{
	struct worker *worker = calloc(1, sizeof *worker);

	if (worker == NULL)
		return -ENOMEM;
	worker->index = options->index;
	worker->cache = options->cache;
	worker->ring = options->ring;
	worker->names = options->names;
	worker->cookies = options->cookies;
	worker->tunnel = options->tunnel;
	worker->slots = options->slots;
	worker->rate = options->rate;
	worker->strangers = options->strangers;
	worker->wake_fd = -1;
	worker_clock(worker);
	worker_take_snapshot(worker, options->snapshot);
	int ret = worker_build(worker, options);
	if (ret < 0) {
		worker_free(worker);
		return ret;
	}
	*out = worker;
	return 0;
}

int worker_start(struct worker **out, const struct worker_options *options)
{
	int ret = worker_new(out, options);

	if (ret < 0)
		return ret;
	ret = -pthread_create(&(*out)->thread, NULL, worker_run, *out);
	if (ret < 0)
		worker_free(*out);
	return ret;
}

void worker_wake(struct worker *worker)
{
	uint64_t one = 1;

	while (write(worker->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

void worker_set_snapshot(struct worker *worker, struct snapshot *snapshot)
{
	snapshot_free(atomic_exchange(&worker->next_snapshot, snapshot));
	worker_wake(worker);
}

void worker_set_neighbours(struct worker *worker, struct neighbour_table *table)
{
	neighbour_table_free(atomic_exchange(&worker->next_neighbours, table));
	worker_wake(worker);
}

void worker_set_recursor(struct worker *worker, int fd)
{
	int missed = atomic_exchange(&worker->next_recursor, fd >= 0 ? fd + 1 : -1);

	if (missed > 0)
		close(missed - 1);
	worker_wake(worker);
}

void worker_stop(struct worker *worker)
{
	atomic_store(&worker->stopping, true);
	worker_wake(worker);
}

void worker_join(struct worker *worker)
{
	pthread_join(worker->thread, NULL);
	worker_free(worker);
}
