#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "query.h"

struct probe_door {
	int pipe[2]; /* pointers of answered probes, from workers to the main thread: whole ones (PIPE_BUF) */
	struct event *readable;
	struct probe *open;
};

/* ---- the main thread ---- */

static void probe_forget(struct probe *probe)
{
	*probe->prev_open = probe->next_open;
	if (probe->next_open != NULL)
		probe->next_open->prev_open = probe->prev_open;
	free(probe);
}

static void door_readable(evutil_socket_t fd, short what, void *arg)
{
	struct probe *probe;

	(void)what;
	(void)arg;
	while (read(fd, &probe, sizeof probe) == sizeof probe) {
		probe->answered(probe, probe->arg);
		probe_forget(probe);
	}
}

struct probe_door *probe_door_open(struct event_base *base)
{
	struct probe_door *door = calloc(1, sizeof *door);

	if (door == NULL)
		return NULL;
	if (pipe2(door->pipe, O_CLOEXEC) < 0) {
		free(door);
		return NULL;
	}
	fcntl(door->pipe[0], F_SETFL, O_NONBLOCK);
	door->readable = event_new(base, door->pipe[0], EV_READ | EV_PERSIST, door_readable, door);
	if (door->readable == NULL || event_add(door->readable, NULL) < 0) {
		probe_door_close(door);
		return NULL;
	}
	return door;
}

void probe_door_close(struct probe_door *door)
{
	if (door == NULL)
		return;
	while (door->open != NULL) {
		door->open->answer_len = 0;
		door->open->answered(door->open, door->open->arg);
		probe_forget(door->open);
	}
	if (door->readable != NULL)
		event_free(door->readable);
	close(door->pipe[0]);
	close(door->pipe[1]);
	free(door);
}

void probe_ask(struct probe_door *door, struct worker *worker, struct probe *probe)
{
	probe->door = door;
	probe->next_open = door->open;
	probe->prev_open = &door->open;
	if (door->open != NULL)
		door->open->prev_open = &probe->next_open;
	door->open = probe;
	probe->next = atomic_load(&worker->probes);
	while (!atomic_compare_exchange_weak(&worker->probes, &probe->next, probe))
		;
	worker_wake(worker);
}

/* ---- the worker ---- */

/* The main thread owns it again as soon as its pointer is in the pipe. */
static void probe_reply(struct query *query, const uint8_t *wire, size_t len)
{
	struct probe *probe = query->probe;

	if (wire != NULL && len <= sizeof probe->answer) {
		memcpy(probe->answer, wire, len);
		probe->answer_len = len;
	}
	while (write(probe->door->pipe[1], &probe, sizeof probe) < 0 && errno == EINTR)
		;
}

void probe_take(struct worker *worker)
{
	struct probe *probe = atomic_exchange(&worker->probes, NULL), *next;

	if (probe != NULL)
		worker_clock(worker);
	for (; probe != NULL; probe = next) {
		struct query query = { .worker = worker,
			.wire = probe->wire,
			.wire_len = probe->wire_len,
			.tcp = true, /* whole, however long */
			.out = worker->reply,
			.out_size = sizeof worker->reply,
			.reply = probe_reply,
			.probe = probe };
		memcpy(query.address, probe->address, sizeof query.address);
		next = probe->next;
		STATS_ADD(&worker->stats, SELFTEST_QUESTIONS);
		query_read(&query);
		query_answer(&query);
	}
}
