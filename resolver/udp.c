#include "udp.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "query.h"

#define BATCH 64
#define BATCHES_A_TURN 8 /* then the loop's other events have their turn */
#define QUERY_MAX 4096   /* a longer query is cut and answered FORMERR */
#define CONTROL_MAX 80   /* packet info and time stamp */
#define DRAIN_US 100000
#define SLOW_TURN_US 20000 /* faster, what half a buffer holds (some five turns) does not wait for long */
#define LATE_US 500000     /* well before a client asks again, which is a second later or more */

struct udp {
	struct worker *worker;
	int fd;
	bool wildcard;
	struct event *readable, *flush;
	unsigned answered;   /* queries of this batch that are done with */
	bool in_batch;       /* inside udp_receive(): the batch is flushed at its end */
	bool has_backlog;    /* more comes than is answered: datagrams have the time they came */
	uint32_t overflowed; /* by the kernel's count */

	struct mmsghdr in[BATCH];
	struct iovec in_iov[BATCH];
	struct query_udp_path path[BATCH];
	struct query query[BATCH];
	uint8_t in_wire[BATCH][QUERY_MAX];

	unsigned out_count;
	struct mmsghdr out[BATCH];
	struct iovec out_iov[BATCH];
	struct sockaddr_storage out_peer[BATCH];
	_Alignas(struct cmsghdr) uint8_t out_control[BATCH][CONTROL_MAX];
	uint8_t out_wire[BATCH][MESSAGE_UDP_MAX];
};

/* Sends the batch. A datagram that the kernel refuses is dropped alone: its client asks again. */
static void udp_flush(struct udp *udp)
{
	unsigned sent = 0;

	while (sent < udp->out_count) {
		int n = sendmmsg(udp->fd, udp->out + sent, udp->out_count - sent, MSG_DONTWAIT);
		if (n > 0) {
			sent += (unsigned)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		STATS_ADD(&udp->worker->stats, DROPPED);
		sent++;
	}
	udp->out_count = 0;
}

static void udp_flush_due(evutil_socket_t fd, short what, void *arg)
{
	udp_flush(arg);
}

/* An answer of query in wire takes the next slot; one made in place is there already. */
static void udp_reply(struct query *query, const uint8_t *wire, size_t len)
{
	const struct query_udp_path *path = query->path;
	struct udp *udp = path->udp;
	unsigned slot = udp->out_count;

	udp->answered += udp->in_batch;
	if (wire == NULL)
		return;
	if (wire != udp->out_wire[slot])
		memcpy(udp->out_wire[slot], wire, len);
	memcpy(&udp->out_peer[slot], &path->peer, path->peer_len);
	struct msghdr *header = &udp->out[slot].msg_hdr;
	header->msg_namelen = path->peer_len;
	udp->out_iov[slot].iov_len = len;
	header->msg_control = NULL;
	header->msg_controllen = path->control_len;
	if (path->control_len > 0) {
		memcpy(udp->out_control[slot], path->control, path->control_len);
		header->msg_control = udp->out_control[slot];
	}
	if (++udp->out_count == BATCH)
		udp_flush(udp);
	else if (!udp->in_batch)
		event_active(udp->flush, EV_TIMEOUT, 0);
}

/* The address that was asked becomes the one the reply leaves from. */
static void path_take_control(struct query_udp_path *path, struct msghdr *header)
{
	path->control_len = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof info);
			info.ipi_spec_dst = info.ipi_addr;
			info.ipi_ifindex =
			        0; /* let routing choose: the client may be behind another interface */
			memcpy(CMSG_DATA(c), &info, sizeof info);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof info);
			if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
				info.ipi6_ifindex = 0;
			memcpy(CMSG_DATA(c), &info, sizeof info);
		} else {
			continue;
		}
		memmove(path->control, c, CMSG_SPACE(c->cmsg_len - CMSG_LEN(0)));
		path->control_len = CMSG_SPACE(c->cmsg_len - CMSG_LEN(0));
		return;
	}
}

static void udp_read(struct udp *udp, unsigned i)
{
	struct query_udp_path *path = &udp->path[i];
	struct msghdr *header = &udp->in[i].msg_hdr;
	struct query *query = &udp->query[i];

	path->peer_len = header->msg_namelen;
	path_take_control(path, header);
	address_from_socket(query->address, (const struct sockaddr *)&path->peer);
	query->wire_len = udp->in[i].msg_len;
	query_read(query);
}

/* When the kernel had it, microseconds since 1970; 0 if it does not say. */
static int64_t arrived_us(struct msghdr *header)
{
	struct timespec t;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&t, CMSG_DATA(c), sizeof t);
			return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
		}
	return 0;
}

/*
 * In a backlog the oldest go first, unread: soon their clients will ask again, and what is answered shall not
 * have waited long. They are the first of the batch. Returns how many.
 */
static unsigned udp_drop_late(struct udp *udp, unsigned count)
{
	int64_t late_us = udp->worker->utc_us - LATE_US;
	unsigned late = 0;

	while (udp->has_backlog && late < count) {
		int64_t at_us = arrived_us(&udp->in[late].msg_hdr);
		if (at_us == 0 || at_us >= late_us)
			break;
		late++;
	}
	stats_add(&udp->worker->stats.counter[STATS_OVERLOAD_DROPPED], late);
	return late;
}

/* Those from first to end. See query.h. */
static void udp_answer_batch(struct udp *udp, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++)
		udp_read(udp, i);
	query_fetch(udp->query + first, end - first);
	for (unsigned i = first; i < end; i++) {
		udp->query[i].out = udp->out_wire[udp->out_count];
		query_answer(&udp->query[i]);
	}
}

/* Returns how many datagrams came. */
static int udp_receive(struct udp *udp)
{
	for (unsigned i = 0; i < BATCH; i++) {
		udp->in[i].msg_hdr.msg_namelen = sizeof udp->path[i].peer;
		udp->in[i].msg_hdr.msg_controllen = udp->wildcard || udp->has_backlog ? CONTROL_MAX : 0;
	}
	int n = recvmmsg(udp->fd, udp->in, BATCH, MSG_DONTWAIT, NULL);
	if (n <= 0)
		return 0;
	worker_clock(udp->worker);
	uint64_t begin_us = udp->worker->mono_us;
	udp->in_batch = true;
	udp->answered = 0;
	udp_answer_batch(udp, udp_drop_late(udp, (unsigned)n), (unsigned)n);
	udp->in_batch = false;
	udp_flush(udp);
	worker_clock(udp->worker);
	for (unsigned i = 0; i < udp->answered; i++)
		stats_latency(&udp->worker->stats, udp->worker->mono_us - begin_us);
	return n;
}

/* The kernel's figures of the socket's memory, by SK_MEMINFO_. Returns whether it told. */
static bool udp_memory(const struct udp *udp, uint32_t figures[SK_MEMINFO_VARS])
{
	socklen_t len = SK_MEMINFO_VARS * sizeof *figures;

	return getsockopt(udp->fd, SOL_SOCKET, SO_MEMINFO, figures, &len) == 0 &&
	       len == SK_MEMINFO_VARS * sizeof *figures;
}

/* The kernel counts what was read as still there until it is a quarter of the buffer. */
static bool udp_is_half_full(const struct udp *udp)
{
	uint32_t figures[SK_MEMINFO_VARS];

	return udp_memory(udp, figures) && figures[SK_MEMINFO_RMEM_ALLOC] > figures[SK_MEMINFO_RCVBUF] / 2;
}

/* A stamp on each datagram costs all of them something: only while there is a backlog. */
static void udp_set_backlog(struct udp *udp, bool has_backlog)
{
	int on = has_backlog;

	if (udp->has_backlog == has_backlog)
		return;
	if (setsockopt(udp->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == 0)
		udp->has_backlog = has_backlog;
}

static void udp_receive_turn(struct udp *udp)
{
	uint64_t begin_us = 0;
	unsigned batches = 0;

	while (batches < BATCHES_A_TURN && udp_receive(udp) == BATCH)
		if (batches++ == 0)
			begin_us = udp->worker->mono_us;
	bool is_slow = udp->worker->mono_us - begin_us > SLOW_TURN_US;
	udp_set_backlog(udp, batches == BATCHES_A_TURN && (is_slow || udp_is_half_full(udp)));
}

static void udp_readable(evutil_socket_t fd, short what, void *arg)
{
	udp_receive_turn(arg);
}

void udp_count(struct udp *udp)
{
	uint32_t figures[SK_MEMINFO_VARS];

	if (!udp_memory(udp, figures))
		return;
	stats_add(&udp->worker->stats.counter[STATS_OVERLOAD_OVERFLOWED],
	        figures[SK_MEMINFO_DROPS] - udp->overflowed); /* it wraps */
	udp->overflowed = figures[SK_MEMINFO_DROPS];
}

static void udp_point_headers(struct udp *udp)
{
	for (unsigned i = 0; i < BATCH; i++) {
		udp->in_iov[i] = (struct iovec){ udp->in_wire[i], QUERY_MAX };
		udp->in[i].msg_hdr = (struct msghdr){
			.msg_name = &udp->path[i].peer,
			.msg_iov = &udp->in_iov[i],
			.msg_iovlen = 1,
			.msg_control = udp->path[i].control,
		};
		udp->path[i].udp = udp;
		udp->query[i] = (struct query){
			.worker = udp->worker,
			.wire = udp->in_wire[i],
			.out_size = MESSAGE_UDP_MAX,
			.path = &udp->path[i],
			.reply = udp_reply,
		};
		udp->out_iov[i] = (struct iovec){ udp->out_wire[i], 0 };
		udp->out[i].msg_hdr = (struct msghdr){
			.msg_name = &udp->out_peer[i],
			.msg_iov = &udp->out_iov[i],
			.msg_iovlen = 1,
		};
	}
}

struct udp *udp_new(struct worker *worker, int fd, bool wildcard)
{
	struct udp *udp = calloc(1, sizeof *udp);

	if (udp == NULL) {
		close(fd);
		return NULL;
	}
	udp->worker = worker;
	udp->fd = fd;
	udp->wildcard = wildcard;
	udp_point_headers(udp);
	udp->readable = event_new(worker->base, fd, EV_READ | EV_PERSIST, udp_readable, udp);
	udp->flush = event_new(worker->base, -1, 0, udp_flush_due, udp);
	if (udp->readable == NULL || udp->flush == NULL || event_add(udp->readable, NULL) < 0) {
		udp_free(udp);
		return NULL;
	}
	return udp;
}

void udp_stop(struct udp *udp)
{
	uint64_t begin_us = udp->worker->mono_us;

	/* What had arrived is answered; a flood must not hold up the end. */
	while (udp_receive(udp) > 0 && udp->worker->mono_us - begin_us < DRAIN_US)
		;
	event_del(udp->readable);
}

void udp_free(struct udp *udp)
{
	if (udp == NULL)
		return;
	udp_flush(udp);
	if (udp->readable != NULL)
		event_free(udp->readable);
	if (udp->flush != NULL)
		event_free(udp->flush);
	close(udp->fd);
	free(udp);
}
