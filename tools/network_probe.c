/*
 * One poll() over all sockets. A UDP question is sent twice, half the time apart; TCP says by connecting.
 * Nothing is sent to an encrypted port but what makes its server show that it is there.
 */
#include "network_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "resolver/message.h"

#define QUIC_INITIAL_MIN 1200 /* RFC 9000 14.1: shorter ones get no answer */
#define QUESTION_MAX 300

static const struct kind {
	const char *name, *title;
	uint16_t port;
	bool tcp, dns;
} kinds[PROBE_KIND_COUNT] = {
	[PROBE_RESOLVER] = { "resolver", "resolvers that this network names", 53, false, true },
	[PROBE_DNS_UDP] = { "dns-udp", "DNS to resolvers outside, UDP 53", 53, false, true },
	[PROBE_DNS_TCP] = { "dns-tcp", "DNS to resolvers outside, TCP 53", 53, true, true },
	[PROBE_DOT] = { "dot", "DNS over TLS, TCP 853", 853, true, false },
	[PROBE_DOQ] = { "doq", "DNS over QUIC, UDP 853", 853, false, false },
	[PROBE_DOH] = { "doh", "DNS over HTTPS to known addresses, TCP 443", 443, true, false },
	[PROBE_DOH3] = { "doh3", "DNS over HTTP/3 to known addresses, UDP 443", 443, false, false },
};

/* What is the same for all. */
struct run {
	uint8_t question[QUESTION_MAX]; /* behind two octets of its length, for TCP */
	size_t question_len;            /* without those */
	uint8_t hello[QUIC_INITIAL_MIN];
};

const char *probe_kind_name(enum probe_kind kind)
{
	return kinds[kind].name;
}

const char *probe_kind_title(enum probe_kind kind)
{
	return kinds[kind].title;
}

uint16_t probe_kind_port(enum probe_kind kind)
{
	return kinds[kind].port;
}

const char *probe_kind_protocol(enum probe_kind kind)
{
	return kinds[kind].tcp ? "tcp" : "udp";
}

/* ---- what is sent ---- */

static void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static int run_prepare(struct run *run, const struct name *own_name)
{
	uint8_t *wire = run->question + 2, *at = wire + MESSAGE_HEADER_LEN;

	if (getrandom(wire, 2, 0) != 2 || getrandom(run->hello, sizeof run->hello, 0) != sizeof run->hello)
		return -EIO;
	put16(wire + 2, FLAG_RD);
	put16(wire + 4, 1);
	memcpy(at, own_name->wire, own_name->len);
	at += own_name->len;
	put16(at, TYPE_TXT);
	put16(at + 2, CLASS_IN);
	run->question_len = (size_t)(at + 4 - wire);
	put16(run->question, run->question_len);
	/* A long header of a version that nobody speaks (RFC 9000 15), with connection ids of eight octets.
	 */
	static const uint8_t version[] = { 0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8 };
	memcpy(run->hello, version, sizeof version);
	run->hello[14] = 8;
	return 0;
}

static void probe_end(struct probe *probe, enum probe_result result)
{
	probe->result = result;
	probe->done = true;
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
}

/* The question, or QUIC's hello. What cannot be sent now is sent the second time, or not at all. */
static void probe_send(struct probe *probe, const struct run *run)
{
	const struct kind *kind = &kinds[probe->kind];
	ssize_t sent;

	probe->sent = true;
	if (kind->tcp)
		sent = send(probe->fd, run->question, run->question_len + 2, MSG_NOSIGNAL);
	else if (kind->dns)
		sent = send(probe->fd, run->question + 2, run->question_len, MSG_NOSIGNAL);
	else
		sent = send(probe->fd, run->hello, sizeof run->hello, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN)
		probe_end(probe, PROBE_CLOSED);
}

static socklen_t probe_socket_address(const struct probe *probe, struct sockaddr_storage *address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof *address);
	if (inet_pton(AF_INET, probe->address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(kinds[probe->kind].port);
		return sizeof *v4;
	}
	if (inet_pton(AF_INET6, probe->address, &v6->sin6_addr) != 1)
		return 0;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(kinds[probe->kind].port);
	return sizeof *v6;
}

static void probe_start(struct probe *probe, const struct run *run)
{
	struct sockaddr_storage address;
	bool tcp = kinds[probe->kind].tcp;
	socklen_t len = probe_socket_address(probe, &address);

	probe->done = probe->sent = false;
	probe->reply_len = 0;
	probe->fd = len == 0 ? -1
	                     : socket(address.ss_family,
	                               (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe->fd < 0 ||
	        (connect(probe->fd, (const struct sockaddr *)&address, len) < 0 && errno != EINPROGRESS))
		probe_end(probe, PROBE_CLOSED);
	else if (!tcp)
		probe_send(probe, run);
}

/* ---- what comes back ---- */

/* An answer that says nothing has no TXT of ours: that is somebody else's. */
static enum probe_result reply_result(const uint8_t *reply, size_t len, const struct run *run)
{
	const uint8_t *question = run->question + 2;

	if (len < MESSAGE_HEADER_LEN || memcmp(reply, question, 2) != 0 || (reply[2] & 0x80) == 0)
		return PROBE_CLOSED; /* no answer to us */
	bool found = (reply[3] & 0xf) == 0 && (reply[6] | reply[7]) != 0 &&
	             memmem(reply, len, "profile", 7) != NULL;
	return found ? PROBE_OURS : PROBE_OPEN;
}

static void probe_read(struct probe *probe, const struct run *run)
{
	const struct kind *kind = &kinds[probe->kind];
	ssize_t got =
	        recv(probe->fd, probe->reply + probe->reply_len, sizeof probe->reply - probe->reply_len, 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		probe_end(probe, PROBE_CLOSED);
		return;
	}
	if (!kind->dns) {
		probe_end(probe, PROBE_OPEN);
		return;
	}
	probe->reply_len += (size_t)got;
	if (!kind->tcp) {
		enum probe_result result = reply_result(probe->reply, probe->reply_len, run);
		probe->reply_len = 0;
		if (result != PROBE_CLOSED)
			probe_end(probe, result);
		return;
	}
	size_t wanted = probe->reply_len < 2 ? 0 : (size_t)(probe->reply[0] << 8 | probe->reply[1]) + 2;
	if (probe->reply_len == sizeof probe->reply || (wanted > 0 && probe->reply_len >= wanted))
		probe_end(probe, reply_result(probe->reply + 2, probe->reply_len - 2, run));
}

static void probe_ready(struct probe *probe, short what, const struct run *run)
{
	const struct kind *kind = &kinds[probe->kind];
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0)
		probe_end(probe, PROBE_CLOSED);
	else if (kind->tcp && !kind->dns)
		probe_end(probe, PROBE_OPEN);
	else if (what & POLLIN)
		probe_read(probe, run);
	else if (kind->tcp && (what & POLLOUT))
		probe_send(probe, run);
	else
		probe_end(probe, PROBE_CLOSED);
}

/* ---- the loop ---- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static size_t waiting(struct probe *probes, size_t count, struct pollfd *polls)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		polls[i] = (struct pollfd){ .fd = probes[i].done ? -1 : probes[i].fd };
		if (!probes[i].done) {
			polls[i].events = probes[i].sent ? POLLIN : POLLOUT;
			left++;
		}
	}
	return left;
}

static void send_again(struct probe *probes, size_t count, const struct run *run)
{
	for (size_t i = 0; i < count; i++)
		if (!probes[i].done && !kinds[probes[i].kind].tcp)
			probe_send(&probes[i], run);
}

static void run_loop(
        struct probe *probes, size_t count, struct pollfd *polls, const struct run *run, unsigned timeout_ms)
{
	uint64_t began = now_ms(), end = began + timeout_ms, again = began + timeout_ms / 2;
	bool sent_again = false;

	while (waiting(probes, count, polls) > 0) {
		uint64_t now = now_ms(), until = sent_again ? end : again;
		if (now >= end)
			break;
		if (!sent_again && now >= again) {
			send_again(probes, count, run);
			sent_again = true;
			continue;
		}
		if (poll(polls, count, (int)(until - now)) < 0 && errno != EINTR)
			break;
		for (size_t i = 0; i < count; i++)
			if (!probes[i].done && polls[i].fd >= 0 && polls[i].revents != 0)
				probe_ready(&probes[i], polls[i].revents, run);
	}
	for (size_t i = 0; i < count; i++)
		if (!probes[i].done)
			probe_end(&probes[i], PROBE_CLOSED);
}

int probe_run(struct probe *probes, size_t count, const struct name *own_name, unsigned timeout_ms)
{
	struct rlimit files;
	struct run run = { 0 };
	int ret = run_prepare(&run, own_name);

	if (ret < 0)
		return ret;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	struct pollfd *polls = calloc(count, sizeof *polls);
	if (polls == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		probe_start(&probes[i], &run);
	run_loop(probes, count, polls, &run, timeout_ms);
	free(polls);
	return 0;
}
