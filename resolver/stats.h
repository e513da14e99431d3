/*
 * Counters and latency buckets. Each worker owns one struct stats and is its only writer (relaxed atomic
 * stores); readers sum over workers. Names that come and go with the configuration (categories, engines,
 * profiles) hold slots, given once per name for the life of the process, so that a reload never mixes two
 * counters.
 *
 * Adding a counter is one line in the X-macro below: JSON, OpenMetrics and the dashboard's test walk it. A
 * key that ends in _us is a sum of microseconds: a mean in JSON, seconds in OpenMetrics.
 */
#ifndef USHER_STATS_H
#define USHER_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name, JSON section, JSON key, help text of the metric */
#define STATS_COUNTERS(X)                                                                                    \
	X(QUERIES_UDP, "queries", "udp", "Queries received over UDP")                                        \
	X(QUERIES_TCP, "queries", "tcp", "Queries received over TCP")                                        \
	X(RESOLVED, "answers", "resolved", "Answers that recursion brought")                                 \
	X(CACHED, "answers", "cached", "Answers from the packet cache")                                      \
	X(STALE, "answers", "stale", "Expired answers served while upstream was silent (RFC 8767)")          \
	X(BLOCKED, "answers", "blocked", "Lookups blocked")                                                  \
	X(REWRITTEN, "answers", "rewritten", "Lookups sent to a safe-search target")                         \
	X(LOCAL, "answers", "local", "Answers from local records, canaries and built-in zones")              \
	X(REFUSED, "answers", "refused", "Lookups refused: network not served, or not allowed")              \
	X(SERVFAIL, "answers", "servfail", "Lookups that failed")                                            \
	X(FORMERR, "answers", "formerr", "Malformed queries")                                                \
	X(LIMITED, "answers", "limited", "Queries over a client's rate or in-flight limit")                  \
	X(DROPPED, "answers", "dropped",                                                                     \
	        "Packets that get no answer: responses, fragments of a header, send failures")               \
	X(CACHE_HITS, "cache", "hits", "Packet cache look-ups that found a fresh answer")                    \
	X(CACHE_MISSES, "cache", "misses", "Packet cache look-ups that found none")                          \
	X(LOG_EVENTS, "log", "events", "Events written to the block log's rings")                            \
	X(LOG_WATCHED, "log", "watched", "Lookups that resolved and were logged (watch)")                    \
	X(LOG_LOST, "log", "lost", "Events lost because a ring was full")                                    \
	X(TUNNELS, "bypass", "tunnels", "DNS tunnels found")                                                 \
	X(TUNNELLED, "bypass", "tunnelled", "Lookups blocked as part of a DNS tunnel")                       \
	X(UPSTREAM_QUERIES, "upstream", "queries", "Questions sent to the recursor")                         \
	X(UPSTREAM_TIMEOUTS, "upstream", "timeouts", "Questions the recursor did not answer in time")        \
	X(UPSTREAM_ANSWERED, "upstream", "answered", "Questions that the recursor brought an answer for")    \
	X(UPSTREAM_FAILED, "upstream", "failed", "Questions for which no name server had an answer")         \
	X(UPSTREAM_BOGUS, "upstream", "bogus", "Questions whose answers failed DNSSEC validation")           \
	X(UPSTREAM_LATENCY_SUM_US, "upstream", "latency_us",                                                 \
	        "Sum of the recursor's answer times in microseconds")                                        \
	X(UPSTREAM_MALFORMED, "upstream", "malformed", "Messages of the recursor that made no sense")        \
	X(RECURSION_REFUSED_CLIENT, "recursion", "refused_client",                                           \
	        "Lookups refused: too many of one client wait")                                              \
	X(RECURSION_REFUSED_ALL, "recursion", "refused_all", "Lookups refused: too many wait in all")        \
	X(OVERLOAD_DROPPED, "overload", "dropped", "Queries dropped unread: they had waited too long")       \
	X(OVERLOAD_OVERFLOWED, "overload", "overflowed", "Queries that the sockets had no room for")         \
	X(SELFTEST_QUESTIONS, "selftest", "questions",                                                       \
	        "Questions of usher selftest, which no other number counts, but for those to the recursor")  \
	X(TCP_ACCEPTED, "tcp", "accepted", "TCP connections accepted")                                       \
	X(TCP_CLOSED, "tcp", "closed", "TCP connections closed")                                             \
	X(TCP_CLOSED_IDLE, "tcp", "closed_idle", "Of them, for having been idle too long")                   \
	X(TCP_CLOSED_CAP, "tcp", "closed_cap", "Of them, idle longest when another needed the place")        \
	X(TCP_CLOSED_SLOW, "tcp", "closed_slow", "Of them, for not taking their answers")                    \
	X(TCP_REFUSED, "tcp", "refused", "TCP connections closed at once: a client's or the process's limit")

enum stats_counter {
#define X(name, section, key, help) STATS_##name,
	STATS_COUNTERS(X)
#undef X
	        STATS_COUNTER_COUNT
};

#define STATS_LATENCY_BUCKETS 20 /* upper bounds 1 us * 2^i for i = 3 .. 21, then no bound */
#define STATS_SLOTS 8192         /* every pair of 256 profiles and the shipped engines finds one */
#define STATS_SLOTS_NAMES 1024   /* of them no pair's: 64 categories, 64 engines, 256 profiles twice */

enum stats_label {
	STATS_BLOCKED_CATEGORY, /* blocked{category} */
	STATS_REWRITTEN_ENGINE, /* rewritten{engine} */
	STATS_PROFILE_QUERIES,  /* profile queries and blocked */
	STATS_PROFILE_BLOCKED,
	STATS_PROFILE_REWRITTEN, /* rewritten{profile, engine}: a pair */
	STATS_LABEL_COUNT
};

struct stats {
	_Atomic uint64_t counter[STATS_COUNTER_COUNT];
	_Atomic uint64_t labelled[STATS_SLOTS];
	_Atomic uint64_t latency[STATS_LATENCY_BUCKETS];
	_Atomic uint64_t latency_sum_us;
};

/* One writer: plain load and store, no locked instruction. */
static inline void stats_add(_Atomic uint64_t *cell, uint64_t n)
{
	atomic_store_explicit(
	        cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

#define STATS_ADD(stats, name) stats_add(&(stats)->counter[STATS_##name], 1)

/* The time from receipt to answer, for lookups that waited or not alike. */
void stats_latency(struct stats *stats, uint64_t us);

/*
 * The slot of labelled[] for a name ("gambling", "google", "pupils") or a pair ("pupils", "google"), the same
 * for the life of the process. Any thread. Slot 0 is shared by all that come after the table is full, pairs
 * where names still find room.
 */
unsigned stats_slot(enum stats_label label, const char *name);
unsigned stats_slot_pair(enum stats_label label, const char *name, const char *second);

/* Sum of many: plain numbers. */
struct stats_sum {
	uint64_t counter[STATS_COUNTER_COUNT];
	uint64_t labelled[STATS_SLOTS];
	uint64_t latency[STATS_LATENCY_BUCKETS];
	uint64_t latency_sum_us;
};
void stats_sum_add(struct stats_sum *sum, const struct stats *stats);

/* Facts that are no worker's counter. */
struct stats_gauges {
	const char *version;
	uint64_t uptime_s;
	uint64_t generation_id, generation_names; /* 0: no lists */
	int64_t generation_age_s;                 /* -1: no lists */
	const char *generation_hash;              /* "" without */
	uint64_t cache_entries, cache_bytes;
	uint64_t tcp_clients;         /* connections open now */
	uint64_t recursion_in_flight; /* questions under way to the recursor */
	uint64_t log_pending;         /* events in the rings, not yet committed */
	uint64_t recursor_restarts;
	uint64_t alerts_waiting, alerts_failing; /* messages not sent yet; of these, tried in vain */
	uint64_t sources_held, sealed_unfed; /* lists: sources held back; sealed categories without a name */
	struct stats_source_age {
		const char *source;
		int64_t age_s;
	} * sources;
	size_t source_count;
	const struct stats_fault { /* fault.h */
		const char *fault;
		bool is_on;
	} * faults;
	size_t fault_count;
};

/* malloc()ed text, to be freed by the caller: /v1/stats (compact JSON) and /metrics (OpenMetrics 1.0). NULL
 * without memory. */
char *stats_json(const struct stats_sum *sum, const struct stats_gauges *gauges);
char *stats_metrics(const struct stats_sum *sum, const struct stats_gauges *gauges);

#endif
