/*
 * A lookup, from packet to answer: question, client, facts, verdict, answer, then send, count and log. A
 * transport fills the first half of struct query and its reply function; nothing below this file knows what a
 * socket is.
 *
 * A query lives on its transport's stack. Only one that must wait for recursion is kept: copied to the heap
 * with its packet, until the answer, a deadline, or its client's going.
 */
#ifndef USHER_QUERY_H
#define USHER_QUERY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facts.h"
#include "message.h"
#include "policy.h"
#include "worker.h"

struct probe;
struct stream;
struct udp;

/* Where a UDP answer goes: the peer, and the local address that was asked (wildcard sockets). */
struct query_udp_path {
	struct udp *udp;
	struct sockaddr_storage peer;
	socklen_t peer_len;
	_Alignas(struct cmsghdr) uint8_t control[80]; /* IP_PKTINFO or IPV6_PKTINFO, ready for sendmsg */
	size_t control_len;
};

#define QUERY_LABELS_AHEAD 8 /* what memory a longer name needs is not fetched ahead */

struct query {
	/* ---- the transport's ---- */
	struct worker *worker;
	const uint8_t *wire;
	size_t wire_len;
	uint8_t address[16]; /* the client, IPv4 mapped */
	bool tcp;
	uint8_t *out; /* where an answer made at once may be written */
	size_t out_size;
	struct query_udp_path *path; /* UDP */
	struct stream *stream;       /* TCP */
	struct probe *probe;         /* asked by ourselves: leaves no trace; NULL: it is not */
	/* Sends an answer; wire NULL: there is none. The query ends with it. */
	void (*reply)(struct query *query, const uint8_t *wire, size_t len);
	/* The query waits: kept is its copy that will answer later. May be NULL. */
	void (*keep)(struct query *query, struct query *kept);

	/* ---- found on the way ---- */
	struct message message;
	int read;            /* what message_read() said */
	uint64_t cache_hash; /* of the asked question, where it may be in the cache */
	uint64_t names_hash; /* names_fetch(), 0: not known */
	bool hashed;         /* suffix_hash is that of the asked name, by the snapshot's seed */
	uint64_t suffix_hash[QUERY_LABELS_AHEAD + 1];
	uint64_t received_us; /* monotonic */
	int profile;          /* index, CLIENTS_UNSERVED */
	struct verdict verdict;
	const struct name *target;  /* looked up instead of the asked name: safe search, or the end of a local
	                               CNAME; the snapshot's */
	bool target_internal;       /* … and it is in an internal zone */
	enum stats_counter outcome; /* what the answer counts as */
	bool kept;                  /* waits on the heap */
	int64_t until_s; /* what the policy says of it holds so long, in seconds since 1970: no TTL goes
	                    beyond */
	struct facts facts;
	uint32_t stamp; /* of the snapshot that facts and verdict are from */

	/* ---- for the list of a stream's waiting queries ---- */
	struct query *next, **prev;
};

/*
 * A transport that holds many queries reads all of them, has what is behind their names fetched, and then
 * answers one after the other: what each needs is on its way from memory by then, and nobody waits for it.
 * query_fetch() changes nothing but time, and a single query goes without.
 */
void query_read(struct query *query);
void query_fetch(struct query *queries, unsigned count);
void query_answer(struct query *query); /* answers, or keeps the query and answers later */

/* The client has gone: a kept query ends without an answer. */
void query_abandon(struct query *query);

/* ---- between the files of the flow: query.c judges, resolve.c finds an answer, deliver.c fits it to the
 * client ---- */

/* The one door out: counts query->outcome and sends what stands in query->out. len 0: no answer at all. */
void query_finish(struct query *query, size_t len);

/* A query that waited while the snapshot changed: profile, facts, verdict and what follows, from the start.
 */
void query_judge_again(struct query *query);

/* Writes the event, then the block answer into query->out. matched: the asked name or a hop, facts: its.
 * Returns the length. */
size_t query_block(struct query *query, const struct verdict *verdict, const struct name *matched,
        const struct facts *facts);

/* Writes the event of a lookup that resolves: of verdict's category. */
void query_log_watched(struct query *query, const struct verdict *verdict);

/* The safe-search name of the verdict's engine, the snapshot's; NULL if the query was answered with fixed
 * addresses. */
const struct name *query_rewrite_target(struct query *query);

/* A lookup that is sent to a safe-search target, by engine and by profile. */
void query_count_rewrite(const struct query *query);

/* Takes a verdict's end into query->until_s. */
void query_note_until(struct query *query, const struct verdict *verdict);
/* A TTL for the client of at most the profile's block-ttl, or cache.max-ttl, and not beyond query->until_s. 0
 * in the last second before. */
uint32_t query_block_ttl(const struct query *query);
uint32_t query_max_ttl(const struct query *query);

/* SERVFAIL into query->out. */
size_t query_servfail(struct query *query, int ede, const char *text);

struct answer_stored;
struct cache_entry;
struct cache_pin;

/* resolve.c: where the cache has the asked question; then its entry, or the lists' filter; then the lists'
 * entry: each finds what it reads nearer if the one before was called a while ago. */
void resolve_read(struct query *query);
void resolve_fetch(struct query *query);
void resolve_fetch_listed(struct query *query);
/* Fills query->facts and finds the asked name's entry (pinned) or NULL. */
struct cache_entry *resolve_lookup(struct query *query, struct cache_pin *pin);
/* Answers from entry (pinned, or NULL; released here) or asks the recursor and lets the query wait. */
void resolve(struct query *query, struct cache_entry *entry, struct cache_pin *pin);
/* The same for another name than the asked one: target belongs to the snapshot. */
void resolve_target(struct query *query, const struct name *target);
/* recursion_store of every worker: each answer of the recursor passes here once, whoever waits for it. */
void resolve_store(
        void *worker, const struct recursion_question *question, const struct recursion_result *result);

/* deliver.c: marks an answer whose hops some profile could mind (ANSWER_LISTED_HOP). */
void deliver_inspect(struct worker *worker, struct answer_stored *stored);
/* Puts a stored answer into the client's form, or blocks it for what it leads to. Returns the length of the
 * reply. */
size_t deliver(struct query *query, const struct answer_stored *stored, uint32_t age_s, bool stale);

static inline const struct config *query_config(const struct query *query)
{
	return query->worker->snapshot->config;
}

static inline const struct config_profile *query_profile(const struct query *query)
{
	return &query_config(query)->profiles[query->profile];
}

/* What is counted of lookups. The questions of a selftest are nobody's: they are counted by themselves. */
static inline void query_count(const struct query *query, enum stats_counter counter)
{
	if (query->probe == NULL)
		stats_add(&query->worker->stats.counter[counter], 1);
}

/* The same of a slot of stats.h. */
static inline void query_count_slot(const struct query *query, unsigned slot)
{
	if (query->probe == NULL)
		stats_add(&query->worker->stats.labelled[slot], 1);
}

/* What this query's cookies are made with. */
static inline struct cookie_secrets query_cookie_secrets(const struct query *query)
{
	const struct config_dns *dns = &query_config(query)->dns;

	return (struct cookie_secrets){ *query->worker->cookies, dns->cookie_secrets,
		dns->cookie_secret_count };
}

#endif
