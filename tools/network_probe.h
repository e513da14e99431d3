/* Questions to resolvers outside, many at once and for a bounded time: which ports answer from here, and
 * whether usher does. */
#ifndef USHER_NETWORK_PROBE_H
#define USHER_NETWORK_PROBE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blocklists/name.h"

enum probe_kind {
	PROBE_RESOLVER, /* port 53 of a resolver that this network names; UDP */
	PROBE_DNS_UDP,  /* port 53 of one outside */
	PROBE_DNS_TCP,
	PROBE_DOT,  /* 853, TCP: a connection is enough */
	PROBE_DOQ,  /* 853, UDP: QUIC's version negotiation (RFC 9000 6) */
	PROBE_DOH,  /* 443, TCP */
	PROBE_DOH3, /* 443, UDP */
	PROBE_KIND_COUNT
};

enum probe_result {
	PROBE_CLOSED, /* refused, unreachable, or silent until the end */
	PROBE_OPEN,   /* it answers, and not by usher */
	PROBE_OURS,   /* usher answers */
};

struct probe {
	enum probe_kind kind;
	char address[INET6_ADDRSTRLEN];
	char name[64];
	enum probe_result result;
	/* probe_run()'s own */
	int fd;
	bool done, sent;
	uint8_t reply[514];
	size_t reply_len;
};

/* "dns-udp" and the like; what it tries in words; its port; "udp" or "tcp". */
const char *probe_kind_name(enum probe_kind kind);
const char *probe_kind_title(enum probe_kind kind);
uint16_t probe_kind_port(enum probe_kind kind);
const char *probe_kind_protocol(enum probe_kind kind);

/*
 * Makes all of them and sets their results: at most after timeout_ms. own_name: a TXT that usher alone
 * answers (me.filter.usher.). Returns 0 or negative errno.
 */
int probe_run(struct probe *probes, size_t count, const struct name *own_name, unsigned timeout_ms);

#endif
