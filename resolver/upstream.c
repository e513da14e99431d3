/*
 * libunbound's context: an option table for what is the same everywhere, a scrap of unbound.conf for zones,
 * since forwarders and their like have no call of their own. Context and worker are made at once by a first,
 * local question, for the library reads its files then; a mistake shows at start and not at the first lookup.
 *
 * Left at their defaults for a reason: unwanted-reply-threshold (a remote peer could trip it and end the
 * process, CVE-2026-44621), everything on the client side (no effect in the library), val-log-level (the
 * forlib default is what fills why_bogus).
 */
#include "upstream.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

#include "address.h"

#define OUTGOING_RANGE_MAX                                                                                   \
	4096 /* upstream ports at once: 16 by default, which is 311 questions a second at 50 ms */
#define OUTGOING_RANGE_MIN 16
#define OUTGOING_TCP 128
#define DESCRIPTORS_KEPT (OUTGOING_TCP + 320) /* TCP, the workers' sockets, the library's own */

#define ESCAPED_MAX (4 * NAME_WIRE_MAX + 1)
#define CERTIFICATES "/etc/ssl/certs/ca-certificates.crt"

struct upstream_call {
	LIST_ENTRY(upstream_call) entry;
	void (*answered)(void *arg, const struct recursion_result *result);
	void *arg;
};

struct upstream {
	struct ub_ctx *context;
	LIST_HEAD(, upstream_call) calls;
};

/*
 * An option that an older library does not know is left out. About dead servers: the library asks one again
 * when what it knows of it has expired (it probes sooner only above a timeout of 12 s, which nobody here
 * waits for), so that expires soon: a classroom is back 15 s after its uplink.
 */
/* clang-format off */
static const struct {
	const char *option, *value;
} options[] = {
	{ "edns-buffer-size:", "1232" },
	{ "outgoing-num-tcp:", "128" },
	{ "rrset-cache-size:", "64m" },
	{ "msg-cache-size:", "32m" },
	{ "key-cache-size:", "16m" },
	{ "neg-cache-size:", "8m" },
	{ "infra-cache-numhosts:", "20000" },
	{ "infra-host-ttl:", "15" },
	{ "infra-cache-max-rtt:", "4000" },
	{ "cache-max-negative-ttl:", "3600" },
	{ "minimal-responses:", "yes" },
	{ "qname-minimisation:", "yes" },
	{ "aggressive-nsec:", "yes" },
	{ "harden-glue:", "yes" },
	{ "harden-dnssec-stripped:", "yes" },
	{ "harden-below-nxdomain:", "yes" },
	{ "harden-large-queries:", "yes" },
	{ "harden-short-bufsize:", "yes" },
	{ "harden-unknown-additional:", "yes" },
	{ "use-caps-for-id:", "no" },   /* breaks too many school web hosts' name servers */
	{ "serve-expired:", "no" },     /* usherd's packet cache does that */
	{ "val-clean-additional:", "yes" },
	{ "val-permissive-mode:", "no" },
	{ "unblock-lan-zones:", "no" }, /* RFC 6303: private reverse zones stay here */
};
/* clang-format on */

/* RFC 6303 zones the library answers by itself; one below an internal zone belongs to the school's servers.
 */
static const char *const lan_zones[] = { "10.in-addr.arpa", "16.172.in-addr.arpa", "17.172.in-addr.arpa",
	"18.172.in-addr.arpa", "19.172.in-addr.arpa", "20.172.in-addr.arpa", "21.172.in-addr.arpa",
	"22.172.in-addr.arpa", "23.172.in-addr.arpa", "24.172.in-addr.arpa", "25.172.in-addr.arpa",
	"26.172.in-addr.arpa", "27.172.in-addr.arpa", "28.172.in-addr.arpa", "29.172.in-addr.arpa",
	"30.172.in-addr.arpa", "31.172.in-addr.arpa", "168.192.in-addr.arpa", "254.169.in-addr.arpa",
	"d.f.ip6.arpa", "8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa" };

/*
 * Names that mean nothing on the internet and that the library's own list lacks: link-local names (RFC 6762
 * 22.1), names outside the DNS (RFC 9476), service discovery (RFC 9665), resolver discovery (RFC 9462 6.1),
 * the reverse of the NAT64 prefix probe (RFC 8880 7). A school's zone of or below such a name goes before it.
 */
static const char *const special_zones[] = { "local", "alt", "service.arpa", "resolver.arpa",
	"170.0.0.192.in-addr.arpa", "171.0.0.192.in-addr.arpa" };

/* How the library's words for a failed validation map to RFC 8914 4.7 to 4.11. */
static const struct {
	const char *text;
	enum dns_ede ede;
} reasons[] = {
	{ "signature expired", EDE_SIGNATURE_EXPIRED },
	{ "signature before inception date", EDE_SIGNATURE_NOT_YET_VALID },
	{ "signature inception after expiration", EDE_SIGNATURE_NOT_YET_VALID },
	{ "no DNSKEY rrset", EDE_DNSKEY_MISSING },
	{ "No DNSKEY record", EDE_DNSKEY_MISSING },
	{ "signatures from unknown keys", EDE_DNSKEY_MISSING },
	{ "no signatures", EDE_RRSIGS_MISSING },
	{ "signature missing", EDE_RRSIGS_MISSING },
};

/* ---- names ---- */

/* The library takes names as text: letters, digits, - and _ stand for themselves, all else is \DDD. */
static void name_escape(const struct name *name, char text[ESCAPED_MAX])
{
	char *at = text;
	if (name->labels == 0)
		*at++ = '.';
	for (size_t pos = 0; name->wire[pos] != 0;) {
		for (size_t left = name->wire[pos++]; left > 0; left--, pos++) {
			uint8_t c = name->wire[pos];
			bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
			if (plain)
				*at++ = (char)c;
			else
				at += sprintf(at, "\\%03u", c);
		}
		*at++ = '.';
	}
	*at = '\0';
}

/* ---- from the configuration to the library ---- */

static int server_check(const struct config *config, const struct config_address *server, const char *key,
        char why[UPSTREAM_WHY_MAX])
{
	uint8_t address[16];

	address_from_socket(address, (const struct sockaddr *)&server->socket);
	if (!address_is_loopback(address) || config->recursion.allow_loopback)
		return 0;
	snprintf(why, UPSTREAM_WHY_MAX,
	        "%.200s: %s: found '%s', expected a server elsewhere: one on this machine needs "
	        "recursion.allow-loopback: true",
	        config->file, key, server->text);
	return -EINVAL;
}

static int servers_check(const struct config *config, char why[UPSTREAM_WHY_MAX])
{
	const struct config_recursion *recursion = &config->recursion;
	const struct config_address *plain = NULL;
	size_t tls = 0;
	for (size_t i = 0; i < recursion->forward_count; i++) {
		if (server_check(config, &recursion->forward[i], "recursion.forward", why) < 0)
			return -EINVAL;
		if (recursion->forward[i].tls_name != NULL)
			tls++;
		else
			plain = &recursion->forward[i];
	}
	for (size_t i = 0; i < config->internal_zone_count; i++)
		for (size_t j = 0; j < config->internal_zones[i].server_count; j++) {
			const struct config_address *server = &config->internal_zones[i].servers[j];
			if (server_check(config, server, "internal-zones", why) < 0)
				return -EINVAL;
		}
	if (tls > 0 && plain != NULL) {
		snprintf(why, UPSTREAM_WHY_MAX,
		        "%.200s: recursion.forward: found '%s', expected a #tls-name behind it, as others "
		        "have: "
		        "either all servers have one or none has",
		        config->file, plain->text);
		return -EINVAL;
	}
	if (tls > 0 && !upstream_has_tls()) {
		snprintf(why, UPSTREAM_WHY_MAX,
		        "%.200s: recursion.forward: found '%s', expected a server without #tls-name: "
		        "libunbound %s of "
		        "this system was built without DNS over TLS",
		        config->file, recursion->forward[0].text, ub_version());
		return -EINVAL;
	}
	return 0;
}

static void servers_print(const struct config_address *servers, size_t count, FILE *to)
{
	for (size_t i = 0; i < count; i++) {
		char host[NI_MAXHOST], port[NI_MAXSERV];
		if (getnameinfo((const struct sockaddr *)&servers[i].socket, servers[i].socket_len, host,
		            sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
			continue;
		fprintf(to, "  forward-addr: \"%s@%s", host, port);
		if (servers[i].tls_name)
			fprintf(to, "#%s", servers[i].tls_name);
		fprintf(to, "\"\n");
	}
}

/*
 * An internal zone: unsigned whatever its parent says, its own even where RFC 6303 has a zone of that name
 * (transparent). A forward-zone and not a stub-zone, since a domain controller answers recursively for what
 * it delegates.
 */
static void internal_zone_print(const struct config_internal_zone *zone, FILE *to)
{
	char text[ESCAPED_MAX];
	name_escape(&zone->zone, text);
	fprintf(to, "server:\n  domain-insecure: \"%s\"\n  local-zone: \"%s\" transparent\n", text, text);
	for (size_t i = 0; i < sizeof lan_zones / sizeof *lan_zones; i++) {
		struct name lan;
		name_from_text(&lan, lan_zones[i], strlen(lan_zones[i]));
		if (name_is_below(&lan, &zone->zone) && !name_equal(&lan, &zone->zone))
			fprintf(to, "  local-zone: \"%s\" nodefault\n", lan_zones[i]);
	}
	fprintf(to, "forward-zone:\n  name: \"%s\"\n", text);
	servers_print(zone->servers, zone->server_count, to);
}

static bool is_internal(const struct config *config, const char *zone)
{
	struct name name;

	name_from_text(&name, zone, strlen(zone));
	for (size_t i = 0; i < config->internal_zone_count; i++)
		if (name_is_below(&name, &config->internal_zones[i].zone))
			return true;
	return false;
}

static void special_zone_print(const char *zone, FILE *to)
{
	fprintf(to,
	        "server:\n  local-zone: \"%s.\" static\n"
	        "  local-data: \"%s. 10800 IN NS localhost.\"\n"
	        "  local-data: \"%s. 10800 IN SOA localhost. nobody.invalid. 1 3600 1200 604800 10800\"\n",
	        zone, zone, zone);
}

static void zones_print(const struct config *config, FILE *to)
{
	const struct config_recursion *recursion = &config->recursion;
	for (size_t i = 0; i < sizeof special_zones / sizeof *special_zones; i++)
		if (!is_internal(config, special_zones[i]))
			special_zone_print(special_zones[i], to);
	for (size_t i = 0; i < config->internal_zone_count; i++)
		internal_zone_print(&config->internal_zones[i], to);
	if (recursion->forward_count == 0)
		return;
	fprintf(to, "forward-zone:\n  name: \".\"\n");
	if (recursion->forward[0].tls_name)
		fprintf(to, "  forward-tls-upstream: yes\n");
	servers_print(recursion->forward, recursion->forward_count, to);
}

/* The library reads configuration from files only: here is one in memory. */
static int zones_apply(struct ub_ctx *context, const struct config *config)
{
	int fd = memfd_create("zones", MFD_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file) {
		if (fd >= 0)
			close(fd);
		return UB_NOMEM;
	}
	zones_print(config, file);
	char path[32];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int err = fflush(file) == 0 ? ub_ctx_config(context, path) : UB_NOMEM;
	fclose(file);
	return err;
}

/* Ports to ask from: as many as this process may open. */
static void range_apply(struct ub_ctx *context)
{
	struct rlimit files = { 1024, 1024 };
	getrlimit(RLIMIT_NOFILE, &files);
	long range = files.rlim_cur > OUTGOING_RANGE_MAX + DESCRIPTORS_KEPT
	                     ? OUTGOING_RANGE_MAX
	                     : (long)files.rlim_cur - DESCRIPTORS_KEPT;
	char text[12];
	snprintf(text, sizeof text, "%ld", range < OUTGOING_RANGE_MIN ? OUTGOING_RANGE_MIN : range);
	ub_ctx_set_option(context, "outgoing-range:", text);
	ub_ctx_set_option(context, "num-queries-per-thread:", text);
}

static int options_apply(struct ub_ctx *context, const struct config *config)
{
	const struct config_recursion *recursion = &config->recursion;
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		ub_ctx_set_option(context, options[i].option, options[i].value);
	range_apply(context);
	ub_ctx_set_option(context, "do-not-query-localhost:", recursion->allow_loopback ? "no" : "yes");

	int err = ub_ctx_set_option(
	        context, "module-config:", recursion->dnssec ? "validator iterator" : "iterator");
	if (err == 0 && recursion->dnssec)
		err = ub_ctx_add_ta_file(context, recursion->trust_anchor);
	if (err == 0 && recursion->forward_count == 0)
		err = ub_ctx_set_option(context, "root-hints:", recursion->root_hints);
	if (err == 0 && recursion->forward_count > 0 && recursion->forward[0].tls_name)
		err = ub_ctx_set_option(context, "tls-cert-bundle:", CERTIFICATES);
	return err ? err : zones_apply(context, config);
}

static void nothing_answered(void *arg, int rcode, void *packet, int len, int secure, char *why, int limited)
{
}

/* Any question makes the library read its files; this one it answers itself. */
static int context_finalise(struct ub_ctx *context)
{
	return ub_resolve_event(context, "localhost.", TYPE_A, CLASS_IN, NULL, nothing_answered, NULL);
}

/* The library says why on its log alone: "[time] libunbound[pid:0] error: …". The first error is the cause.
 */
static void why_from_log(char why[UPSTREAM_WHY_MAX], const char *said, int err)
{
	const char *error = strstr(said, "error: ");
	error = error ? error + strlen("error: ") : ub_strerror(err);
	snprintf(why, UPSTREAM_WHY_MAX, "libunbound: %.*s", (int)strcspn(error, "\n"), error);
}

static int context_open(
        struct ub_ctx **out, struct event_base *base, const struct config *config, char why[UPSTREAM_WHY_MAX])
{
	char *said = NULL;
	size_t said_len;
	FILE *log = open_memstream(&said, &said_len);
	if (!log)
		return -ENOMEM;
	struct ub_ctx *context = ub_ctx_create_event(base);
	int err = UB_NOMEM;
	if (context) {
		ub_ctx_debugout(context, log);
		err = options_apply(context, config);
		if (err == 0)
			err = context_finalise(context);
		ub_ctx_debugout(context, stderr); /* the library keeps the pointer, beyond the context too */
	}
	fclose(log);
	if (err != 0) {
		why_from_log(why, said, err);
		ub_ctx_delete(context);
	}
	free(said);
	*out = context;
	return err == 0 ? 0 : err == UB_NOMEM ? -ENOMEM : -EINVAL;
}

int upstream_open(struct upstream **out, struct event_base *base, const struct config *config,
        char why[UPSTREAM_WHY_MAX])
{
	snprintf(why, UPSTREAM_WHY_MAX, "out of memory");
	int ret = servers_check(config, why);
	if (ret < 0)
		return ret;
	struct upstream *upstream = calloc(1, sizeof *upstream);
	if (!upstream)
		return -ENOMEM;
	ret = context_open(&upstream->context, base, config, why);
	if (ret < 0) {
		free(upstream);
		return ret;
	}
	*out = upstream;
	return 0;
}

void upstream_close(struct upstream *upstream)
{
	if (!upstream)
		return;
	ub_ctx_delete(upstream->context);
	for (struct upstream_call *call; (call = LIST_FIRST(&upstream->calls));) {
		LIST_REMOVE(call, entry);
		free(call);
	}
	free(upstream);
}

/* ---- questions and answers ---- */

/*
 * "validation failure <www.example. A IN>: signature expired from 192.0.2.1": from behind the last colon of
 * that kind, so that no name can pass for a reason and nobody reads the name that somebody else asked
 * ("because of a previous validation failure <…>: …").
 */
static const char *reason_text(const char *why_bogus)
{
	const char *reason = "";
	for (const char *at = why_bogus; at && (at = strstr(at, ">: ")); reason = at)
		at += strlen(">: ");
	return reason;
}

static enum dns_ede reason_ede(const char *reason)
{
	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (strstr(reason, reasons[i].text))
			return reasons[i].ede;
	return EDE_BOGUS;
}

/*
 * rcode is the library's own failure, the packet's header holds that of an answer. A SERVFAIL without a
 * packet is that no server could be had (EDE 22); one in a packet is what a server said (EDE 23).
 */
static struct recursion_result result_of(
        int rcode, const uint8_t *packet, int len, int secure, const char *why_bogus)
{
	struct recursion_result result = {
		.status = RECURSION_FAILED, .ede = EDE_NO_REACHABLE_AUTHORITY, .why = ""
	};
	if (rcode != RCODE_NOERROR || !packet || len < MESSAGE_HEADER_LEN || len > MESSAGE_MAX)
		return result;
	if ((packet[3] & 0x0f) == RCODE_SERVFAIL && secure != 1) {
		result.ede = EDE_NETWORK_ERROR;
		return result;
	}
	result.wire = packet;
	result.wire_len = (size_t)len;
	result.status = secure == 1 ? RECURSION_BOGUS : RECURSION_ANSWERED;
	result.secure = secure == 2;
	result.why = secure == 1 ? reason_text(why_bogus) : "";
	result.ede = secure == 1 ? reason_ede(result.why) : EDE_NONE;
	return result;
}

static void library_answered(
        void *arg, int rcode, void *packet, int len, int secure, char *why_bogus, int limited)
{
	struct upstream_call *call = arg;
	struct recursion_result result = result_of(rcode, packet, len, secure, why_bogus);
	LIST_REMOVE(call, entry);
	call->answered(call->arg, &result);
	free(call);
}

void upstream_resolve(struct upstream *upstream, const struct name *name, uint16_t type,
        void (*answered)(void *arg, const struct recursion_result *result), void *arg)
{
	const struct recursion_result failed = {
		.status = RECURSION_FAILED, .ede = EDE_NETWORK_ERROR, .why = ""
	};
	char text[ESCAPED_MAX];
	struct upstream_call *call = malloc(sizeof *call);
	if (!call) {
		answered(arg, &failed);
		return;
	}
	call->answered = answered;
	call->arg = arg;
	LIST_INSERT_HEAD(&upstream->calls, call, entry);
	name_escape(name, text);
	/* An error here means that the library will not call back. */
	if (ub_resolve_event(upstream->context, text, type, CLASS_IN, call, library_answered, NULL) == 0)
		return;
	LIST_REMOVE(call, entry);
	free(call);
	answered(arg, &failed);
}

/* ---- what the library can ---- */

/* A library without TLS refuses to start with TLS upstream; there is no other way to ask it. */
bool upstream_has_tls(void)
{
	struct event_base *base = event_base_new();
	struct ub_ctx *context = base ? ub_ctx_create_event(base) : NULL;
	bool has = context && ub_ctx_set_option(context, "tls-upstream:", "yes") == 0 &&
	           context_finalise(context) == 0;
	ub_ctx_delete(context);
	if (base)
		event_base_free(base);
	return has;
}
