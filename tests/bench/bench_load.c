/*
 * The load: asks a server on 127.0.0.1 the queries of a file, over and over, and compares every answer with
 * what it must be.
 *
 *   bench_load -p PORT -f FILE [-t SECONDS] [-n QUERIES] [-l MILLISECONDS] [-w OUTSTANDING | -r RATE]
 *
 * FILE: a line a query, "N name" (NXDOMAIN is expected) or "A name" (an address). Type A, no EDNS. Ends after
 * -t seconds, -n queries, or SIGTERM. After -l (1000) without an answer a query is lost. With -w it keeps so
 * many queries outstanding; with -r it sends so many a second, whatever comes back, and latency is from just
 * before the send to the kernel's receive stamp, so that its own pauses are nobody's fault. Nor does it make
 * up for them: what was due while it was off its processor for more than 0.1 ms is not sent (`missed_ms`), as
 * it would arrive at several times the rate. It never sleeps: give it a processor of its own.
 *
 * SIGUSR1 begins another phase. stdout: one CSV line a phase, by when a query was sent. Latencies in
 * microseconds, with -r alone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "resolver/message.h"

#define BATCH 32
#define ANSWER_MAX 1500
#define QUERY_MAX 300
#define IDS 65536
#define OUTSTANDING_MAX 49152
#define PHASES_MAX 64
#define LOST_MS 1000
#define SWEEP_NS 100000000
#define LATE_NS 100000
#define SOCKET_BUFFER (4 << 20)
#define STEPS 64 /* of the histogram, between a power of two and the next */
#define BUCKETS (64 * STEPS)

struct query {
	uint32_t at; /* in octets */
	uint16_t len;
	uint8_t rcode; /* expected */
};

/* What is on its way under an ID. */
struct pending {
	uint64_t sent_ns; /* 0: none */
	const struct query *query;
	struct phase *phase;
};

struct phase {
	uint64_t began_ns, sent, answered, lost, wrong, rcode[16], max_ns, missed_ns;
	uint64_t bucket[BUCKETS];
};

static struct options {
	const char *file;
	uint16_t port;
	double seconds, rate;
	uint64_t queries;
	unsigned outstanding, lost_ms;
} options = { .lost_ms = LOST_MS, .seconds = INFINITY, .queries = UINT64_MAX, .outstanding = 200 };

static uint8_t *octets;
static struct query *queries;
static size_t query_count;

static struct pending pending[IDS];
static unsigned outstanding;
static struct phase *phases[PHASES_MAX];
static unsigned phase_count;
static uint64_t stray;
static volatile sig_atomic_t stopping, phase_wanted;

static struct mmsghdr out[BATCH], in[BATCH];
static struct iovec out_iov[BATCH], in_iov[BATCH];
static uint8_t out_wire[BATCH][QUERY_MAX], in_wire[BATCH][ANSWER_MAX];
static _Alignas(struct cmsghdr) uint8_t in_control[BATCH][64];

static void die(const char *what)
{
	fprintf(stderr, "bench_load: %s\n", what);
	exit(EXIT_FAILURE);
}

/* The clock of the kernel's receive stamps. */
static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- phases ---- */

static void phase_begin(void)
{
	struct phase *phase = calloc(1, sizeof *phase);

	if (phase == NULL || phase_count == PHASES_MAX)
		die("too many phases");
	phase->began_ns = now_ns();
	phases[phase_count++] = phase;
}

static void phase_note(struct phase *phase, uint64_t ns)
{
	unsigned power = 63 - (unsigned)__builtin_clzll(ns | STEPS);

	/* Up to 2 * STEPS ns exactly, then 64 steps to each doubling. */
	phase->bucket[(power - 6) * STEPS + (ns >> (power - 6))]++;
	if (ns > phase->max_ns)
		phase->max_ns = ns;
}

static double phase_quantile_us(const struct phase *phase, double share)
{
	uint64_t seen = 0, wanted = (uint64_t)((double)phase->answered * share);

	for (unsigned i = 0; i < BUCKETS; i++) {
		seen += phase->bucket[i];
		if (seen > wanted)
			return i < 2 * STEPS ? i / 1e3 : ldexp(i % STEPS + STEPS, (int)(i / STEPS) - 1) / 1e3;
	}
	return 0;
}

static void phases_print(uint64_t end_ns)
{
	printf("seconds,sent,answered,lost,wrong,noerror,nxdomain,servfail,refused,p50_us,p99_us,p999_us,max_"
	       "us,missed_ms\n");
	for (unsigned i = 0; i < phase_count; i++) {
		const struct phase *p = phases[i];
		uint64_t next = i + 1 < phase_count ? phases[i + 1]->began_ns : end_ns;
		uint64_t end = next > p->began_ns ? next : p->began_ns; /* one that began at the very end */
		bool timed = options.rate > 0;
		printf("%.4f,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%.1f,%.1f,%.1f,%.1f,%.1f\n",
		        (double)(end - p->began_ns) / 1e9, (unsigned long long)p->sent,
		        (unsigned long long)p->answered, (unsigned long long)p->lost,
		        (unsigned long long)p->wrong, (unsigned long long)p->rcode[RCODE_NOERROR],
		        (unsigned long long)p->rcode[RCODE_NXDOMAIN],
		        (unsigned long long)p->rcode[RCODE_SERVFAIL],
		        (unsigned long long)p->rcode[RCODE_REFUSED], timed ? phase_quantile_us(p, .5) : 0,
		        timed ? phase_quantile_us(p, .99) : 0, timed ? phase_quantile_us(p, .999) : 0,
		        timed ? (double)p->max_ns / 1e3 : 0, (double)p->missed_ns / 1e6);
	}
	if (stray > 0)
		fprintf(stderr, "bench_load: %llu answers to no question of ours, or too late\n",
		        (unsigned long long)stray);
}

/* ---- queries ---- */

static void query_add(char expected, const char *text)
{
	static size_t octets_room, octets_len, query_room;
	struct name name;

	if (name_from_text(&name, text, strlen(text)) < 0)
		die("a line is no name");
	if (octets_len + QUERY_MAX > octets_room)
		octets = realloc(octets, octets_room = 2 * octets_room + QUERY_MAX);
	if (query_count == query_room)
		queries = realloc(queries, (query_room = 2 * query_room + 1024) * sizeof *queries);
	if (octets == NULL || queries == NULL)
		die("out of memory");
	uint8_t *wire = octets + octets_len;
	memset(wire, 0, MESSAGE_HEADER_LEN);
	wire_write16(wire + 2, FLAG_RD);
	wire_write16(wire + 4, 1);
	memcpy(wire + MESSAGE_HEADER_LEN, name.wire, name.len);
	size_t len = MESSAGE_HEADER_LEN + name.len;
	wire_write16(wire + len, TYPE_A);
	wire_write16(wire + len + 2, CLASS_IN);
	len += 4;
	queries[query_count++] = (struct query){ (uint32_t)octets_len, (uint16_t)len,
		expected == 'N' ? RCODE_NXDOMAIN : RCODE_NOERROR };
	octets_len += len;
}

static void queries_read(const char *path)
{
	char line[512], text[300], expected;
	FILE *file = fopen(path, "r");

	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "%c %299s", &expected, text) == 2)
			query_add(expected, text);
	if (query_count == 0)
		die("no queries in the file");
	fclose(file);
}

/* ---- sending ---- */

/* How many are due by the pace that began then. A pause moves it. */
static uint64_t due_now(uint64_t *began_ns, uint64_t sent)
{
	uint64_t passed_ns = now_ns() - *began_ns,
	         next_ns = (uint64_t)((double)(sent + 1) * 1e9 / options.rate);

	if (passed_ns > next_ns + LATE_NS) {
		uint64_t missed_ns = passed_ns - next_ns - LATE_NS;
		*began_ns += missed_ns;
		passed_ns -= missed_ns;
		phases[phase_count - 1]->missed_ns += missed_ns;
	}
	uint64_t due = (uint64_t)((double)passed_ns * options.rate / 1e9);
	return due > sent ? due - sent : 0;
}

/* How many the pace or the window allows now. */
static unsigned sendable(uint64_t *pace_ns, uint64_t sent)
{
	uint64_t left = options.queries - sent, due = BATCH;

	if (options.rate > 0) {
		due = due_now(pace_ns, sent);
	} else if (options.outstanding - outstanding < BATCH && outstanding > options.outstanding / 2) {
		return 0; /* full batches, as long as the server has enough to do */
	}
	if (due > OUTSTANDING_MAX - outstanding)
		due = OUTSTANDING_MAX - outstanding;
	if (options.rate == 0 && due > options.outstanding - outstanding)
		due = options.outstanding - outstanding;
	if (due > left)
		due = left;
	return due > BATCH ? BATCH : (unsigned)due;
}

static uint16_t next_id(void)
{
	static uint16_t id;

	while (pending[++id].sent_ns != 0)
		;
	return id;
}

/* Returns how many left. One that did not, because the server's buffer is full or gone, counts as lost. */
static unsigned send_batch(int fd, unsigned count)
{
	static size_t next;
	struct phase *phase = phases[phase_count - 1];
	uint64_t sent_ns = now_ns();
	uint16_t ids[BATCH];

	for (unsigned i = 0; i < count; i++) {
		const struct query *query = &queries[next++ % query_count];
		ids[i] = next_id();
		memcpy(out_wire[i], octets + query->at, query->len);
		wire_write16(out_wire[i], ids[i]);
		out_iov[i].iov_len = query->len;
		pending[ids[i]] = (struct pending){ sent_ns, query, phase };
	}
	int gone = sendmmsg(fd, out, count, 0);
	unsigned sent = gone > 0 ? (unsigned)gone : 0;
	for (unsigned i = sent; i < count; i++)
		pending[ids[i]].sent_ns = 0;
	phase->sent += count;
	phase->lost += count - sent;
	outstanding += sent;
	return count;
}

/* ---- receiving ---- */

static uint64_t stamp_ns(struct msghdr *header)
{
	struct timespec t;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
			memcpy(&t, CMSG_DATA(c), sizeof t);
			return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
		}
	return now_ns();
}

static bool answer_is_right(const struct query *query, const uint8_t *wire)
{
	unsigned rcode = wire[3] & 0xf;

	return rcode == query->rcode && (rcode != RCODE_NOERROR || wire_read16(wire + 6) > 0);
}

static void answer_take(const uint8_t *wire, size_t len, struct msghdr *header)
{
	struct pending *p = len >= MESSAGE_HEADER_LEN ? &pending[wire_read16(wire)] : NULL;
	const struct query *query = p != NULL && p->sent_ns != 0 ? p->query : NULL;

	if (query == NULL || len < query->len || (wire[2] & FLAG_QR >> 8) == 0 ||
	        memcmp(wire + MESSAGE_HEADER_LEN, octets + query->at + MESSAGE_HEADER_LEN,
	                query->len - MESSAGE_HEADER_LEN) != 0) {
		stray++;
		return;
	}
	p->phase->answered++;
	p->phase->rcode[wire[3] & 0xf]++;
	p->phase->wrong += !answer_is_right(query, wire);
	if (options.rate > 0) {
		uint64_t at = stamp_ns(header);
		phase_note(p->phase, at > p->sent_ns ? at - p->sent_ns : 1);
	}
	p->sent_ns = 0;
	outstanding--;
}

static int receive_batch(int fd)
{
	for (unsigned i = 0; i < BATCH && options.rate > 0; i++)
		in[i].msg_hdr.msg_controllen = sizeof in_control[i];
	int count = recvmmsg(fd, in, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++)
		answer_take(in_wire[i], in[i].msg_len, &in[i].msg_hdr);
	return count;
}

static void sweep(uint64_t now)
{
	for (unsigned i = 0; i < IDS; i++) {
		if (pending[i].sent_ns == 0 || now < pending[i].sent_ns + options.lost_ms * UINT64_C(1000000))
			continue;
		pending[i].sent_ns = 0;
		pending[i].phase->lost++;
		outstanding--;
	}
}

/* ---- the run ---- */

static void stop_asked(int signal)
{
	stopping = 1;
}

static void phase_asked(int signal)
{
	phase_wanted = 1;
}

static int socket_open(void)
{
	struct sockaddr_in server = { .sin_family = AF_INET,
		.sin_port = htons(options.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = SOCKET_BUFFER, on = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	if (options.rate > 0 && setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0)
		die(strerror(errno));
	if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
		die(strerror(errno));
	for (unsigned i = 0; i < BATCH; i++) {
		out_iov[i].iov_base = out_wire[i];
		out[i].msg_hdr = (struct msghdr){ .msg_iov = &out_iov[i], .msg_iovlen = 1 };
		in_iov[i] = (struct iovec){ in_wire[i], ANSWER_MAX };
		in[i].msg_hdr = (struct msghdr){ .msg_iov = &in_iov[i],
			.msg_iovlen = 1,
			.msg_control = options.rate > 0 ? in_control[i] : NULL };
	}
	return fd;
}

static void run(int fd)
{
	uint64_t began_ns = now_ns(), pace_ns = began_ns, swept_ns = began_ns, sent = 0, end_ns = 0, now;

	phase_begin();
	phases[0]->began_ns = began_ns;
	for (;;) {
		now = now_ns();
		if (phase_wanted) {
			phase_wanted = 0;
			phase_begin();
		}
		if (end_ns == 0 && (stopping || sent >= options.queries ||
		                           (double)(now - began_ns) >= options.seconds * 1e9))
			end_ns = now;
		if (end_ns != 0 && outstanding == 0)
			break;
		unsigned count = end_ns == 0 ? sendable(&pace_ns, sent) : 0;
		if (count > 0)
			sent += send_batch(fd, count);
		if (receive_batch(fd) <= 0 && count == 0)
			sched_yield(); /* the kernel's own threads need this processor too */
		if (now - swept_ns > SWEEP_NS) {
			sweep(now);
			swept_ns = now;
		}
	}
	phases_print(end_ns);
}

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG,
	        SIGTERM); /* a load that outlives its benchmark spoils the next one's figures */
	for (int option; (option = getopt(argc, argv, "p:f:t:n:l:w:r:")) != -1;) {
		switch (option) {
		case 'p':
			options.port = (uint16_t)atoi(optarg);
			break;
		case 'f':
			options.file = optarg;
			break;
		case 't':
			options.seconds = atof(optarg);
			break;
		case 'n':
			options.queries = strtoull(optarg, NULL, 10);
			break;
		case 'w':
			options.outstanding = (unsigned)atoi(optarg);
			break;
		case 'l':
			options.lost_ms = (unsigned)atoi(optarg);
			break;
		case 'r':
			options.rate = atof(optarg);
			break;
		default:
			return EXIT_FAILURE;
		}
	}
	if (options.file == NULL || options.port == 0 || options.outstanding == 0 ||
	        options.outstanding > OUTSTANDING_MAX)
		die("usage: bench_load -p PORT -f FILE [-t SECONDS] [-n QUERIES] [-l MILLISECONDS] [-w "
		    "OUTSTANDING | -r "
		    "RATE]");
	queries_read(options.file);
	signal(SIGTERM, stop_asked);
	signal(SIGUSR1, phase_asked);
	run(socket_open());
	return EXIT_SUCCESS;
}
