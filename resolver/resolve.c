/*
 * Where an answer comes from: the packet cache, fresh or stale, or the recursor. Queries that must wait live
 * here, on the heap, with the rules of RFC 8767 (stale answers) and RFC 9520 (failures are remembered).
 */
#include <event2/event_struct.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "query.h"
#include "reply.h"
#include "tunnel.h"

#define STALE_AFTER_MS 1800 /* RFC 8767 5: how long a client waits before it gets a stale answer */
#define STALE_RETRY_S 30    /* … and how long a failed refresh is not tried again */
#define FAILURE_TTL_S 5     /* RFC 9520 3.2 */
#define POPULAR_MIN_TTL_S 10
#define JUST_EXPIRED_S 5
#define WAITING_A_SLOT 4 /* queries of a worker that may wait, for each question that may be under way */

/* A query waiting for recursion. Owns its packet and path. */
struct waiting {
	struct query query;
	struct query_udp_path path;
	struct recursion_waiter waiter;
	struct event stale_timer;
	bool has_stale;
	uint8_t wire[];
};

/* ---- keys and entries ---- */

static const struct name *query_subject(const struct query *query)
{
	return query->target != NULL ? query->target : &query->message.name;
}

/* A target's records go unsigned into our own answer, and must be validated: neither DO nor CD of the client
 * counts. */
static uint8_t query_flags(const struct query *query)
{
	uint8_t variant = 0;

	if (query->target != NULL)
		return 0;
	if (query->message.edns.dnssec_ok)
		variant |= CACHE_DNSSEC_OK;
	if ((query->message.flags & FLAG_CD) != 0)
		variant |= CACHE_CHECKING_DISABLED;
	return variant;
}

/* The asked question as the cache knows it, outside the internal zones. */
static struct cache_key query_asked_key(const struct query *query)
{
	return (struct cache_key){ .name = &query->message.name,
		.type = query->message.type,
		.variant = query_flags(query),
		.hash = query->cache_hash };
}

static struct cache_key query_key(const struct query *query)
{
	bool internal =
	        query->target != NULL ? query->target_internal : (query->facts.flags & FACTS_INTERNAL) != 0;

	return cache_key(query->worker->cache, query_subject(query), query->message.type,
	        query_flags(query) | (internal ? CACHE_INTERNAL : 0));
}

static bool entry_is_fresh(const struct worker *worker, const struct cache_entry *entry)
{
	return (int32_t)(entry->expires_s - worker->mono_s) > 0;
}

static bool entry_is_usable_stale(const struct worker *worker, const struct cache_entry *entry)
{
	return entry->status == 0 && (int32_t)(entry->stale_until_s - worker->mono_s) > 0;
}

static bool entry_rests(const struct worker *worker, const struct cache_entry *entry)
{
	return (int32_t)(entry->retry_s - worker->mono_s) > 0;
}

/* Brings an entry's facts up to the snapshot of the day. Facts without lists are not for keeping: the next
 * look may be better. */
static void entry_refresh(struct worker *worker, struct cache_entry *entry, const struct name *name)
{
	facts_gather(&entry->facts, worker->snapshot->table, worker->view, name);
	entry->stamp = (entry->facts.flags & FACTS_LISTS_FAILED) != 0 ? 0 : worker->snapshot->stamp;
	if (entry->status == 0)
		deliver_inspect(worker, &entry->answer);
}

static size_t deliver_entry(struct query *query, const struct cache_entry *entry)
{
	struct worker *worker = query->worker;

	if (entry->status != 0)
		return query_servfail(query, entry->status - 2, NULL);
	return deliver(
	        query, &entry->answer, worker->mono_s - entry->stored_s, !entry_is_fresh(worker, entry));
}

void resolve_read(struct query *query)
{
	struct cache *cache = query->worker->cache;

	query->target = NULL;
	query->hashed = false;
	query->names_hash = 0;
	query->cache_hash =
	        cache_key(cache, &query->message.name, query->message.type, query_flags(query)).hash;
	cache_prefetch(cache, query->cache_hash);
}

void resolve_fetch(struct query *query)
{
	const struct worker *worker = query->worker;
	const struct name *name = &query->message.name;

	if (cache_prefetch_entry(worker->cache, query->cache_hash)) {
		query->names_hash = names_fetch(worker->names, name);
		return;
	}
	if (name->labels > QUERY_LABELS_AHEAD)
		return;
	name_hash_suffixes(name, facts_table_seed(worker->snapshot->table), query->suffix_hash);
	query->hashed = true;
	if (worker->view != NULL)
		lists_prefetch(worker->view, name, query->suffix_hash);
}

void resolve_fetch_listed(struct query *query)
{
	const struct lists_view *view = query->worker->view;

	if (query->hashed && view != NULL)
		lists_prefetch_entry(view, &query->message.name, query->suffix_hash);
}

static void gather(struct query *query)
{
	struct worker *worker = query->worker;
	const struct name *name = &query->message.name;

	if (query->hashed)
		facts_gather_hashed(
		        &query->facts, worker->snapshot->table, worker->view, name, query->suffix_hash);
	else
		facts_gather(&query->facts, worker->snapshot->table, worker->view, name);
}

/*
 * Names of internal zones live in a view of their own. Which view a name is in is a fact, and the facts come
 * with the entry: an entry with this snapshot's stamp settles both at once.
 */
struct cache_entry *resolve_lookup(struct query *query, struct cache_pin *pin)
{
	struct worker *worker = query->worker;
	const struct name *name = &query->message.name;
	struct cache_key key = query_asked_key(query);
	/* Hashed: the cache was looked into a moment ago, and did not have it. */
	struct cache_entry *entry = query->hashed ? NULL : cache_get(worker->cache, &key, pin);

	if (entry != NULL && entry->stamp == worker->snapshot->stamp) {
		query->facts = entry->facts;
		return entry;
	}
	gather(query);
	if ((query->facts.flags & FACTS_INTERNAL) != 0) {
		if (entry != NULL)
			cache_release(pin);
		key = query_key(query);
		entry = cache_get(worker->cache, &key, pin);
	}
	if (entry != NULL && entry->stamp != worker->snapshot->stamp)
		entry_refresh(worker, entry, name);
	return entry;
}

/* ---- keeping answers ---- */

/* A refresh may bring the last second of the recursor's own copy: the name stays popular over it. */
static bool entry_was_popular(struct worker *worker, const struct cache_key *key)
{
	struct cache_pin pin;
	struct cache_entry *old = cache_get(worker->cache, key, &pin);
	bool popular = false;

	if (old != NULL) {
		popular = old->popular;
		cache_release(&pin);
	}
	return popular;
}

static void store(struct worker *worker, const struct cache_key *key, const struct answer_stored *stored,
        const struct facts *facts)
{
	uint32_t expires_s = worker->mono_s + stored->ttl_s;
	struct cache_entry entry = {
		.stored_s = worker->mono_s,
		.expires_s = expires_s,
		.stale_until_s = expires_s + worker->snapshot->config->recursion.serve_stale_s,
		.retry_s = worker->mono_s,
		.stamp = (facts->flags & FACTS_LISTS_FAILED) != 0 ? 0 : worker->snapshot->stamp,
		.facts = *facts,
		.answer = *stored,
	};

	if (stored->ttl_s == 0)
		return;
	entry.popular = stored->ttl_s < POPULAR_MIN_TTL_S && entry_was_popular(worker, key);
	cache_put(worker->cache, key, &entry);
}

/* A failure is kept for some seconds, but never in the place of an answer that can still be served. */
static void store_failure(struct worker *worker, const struct cache_key *key, int ede)
{
	struct cache_pin pin;
	struct cache_entry *old = cache_get(worker->cache, key, &pin);

	if (old != NULL) {
		bool keep = entry_is_usable_stale(worker, old);
		if (keep) {
			old->retry_s = worker->mono_s + STALE_RETRY_S;
		}
		cache_release(&pin);
		if (keep)
			return;
	}
	struct cache_entry entry = {
		.stored_s = worker->mono_s,
		.expires_s = worker->mono_s + FAILURE_TTL_S,
		.stale_until_s = worker->mono_s,
		.retry_s = worker->mono_s,
		.status = (uint8_t)(ede + 2),
		.answer = { .rcode = RCODE_SERVFAIL },
	};
	cache_put(worker->cache, key, &entry);
}

void resolve_store(
        void *arg, const struct recursion_question *question, const struct recursion_result *result)
{
	struct worker *worker = arg;
	uint8_t variant = (question->checking_disabled ? CACHE_CHECKING_DISABLED : 0) |
	                  (question->dnssec_ok ? CACHE_DNSSEC_OK : 0);
	struct answer_stored stored;
	struct facts facts;

	worker_clock(worker);
	facts_gather(&facts, worker->snapshot->table, worker->view, &question->name);
	if ((facts.flags & FACTS_INTERNAL) != 0)
		variant |= CACHE_INTERNAL;
	struct cache_key key = cache_key(worker->cache, &question->name, question->type, variant);
	if (result->wire != NULL && answer_normalise(&stored, &worker->fresh, result->wire, result->wire_len,
	                                    question->dnssec_ok) == 0) {
		if (result->secure)
			stored.flags |= ANSWER_SECURE;
		deliver_inspect(worker, &stored);
		store(worker, &key, &stored, &facts);
	} else if (result->status != RECURSION_BUSY) {
		store_failure(worker, &key, result->ede);
	}
}

/* ---- waiting ---- */

/* Takes a waiting query out of all that knows it but its transport. */
static void waiting_end(struct waiting *waiting)
{
	struct query *query = &waiting->query;

	recursion_cancel(&waiting->waiter);
	if (waiting->has_stale)
		event_del(&waiting->stale_timer);
	query->worker->waiting--;
}

void query_abandon(struct query *query)
{
	struct waiting *waiting = (struct waiting *)((char *)query - offsetof(struct waiting, query));

	waiting_end(waiting);
	free(waiting);
}

/* The answer from the cache, if there is one that may be served stale; else 0. */
static size_t deliver_stale(struct query *query)
{
	struct cache_key key = query_key(query);
	struct cache_pin pin;
	struct cache_entry *entry = cache_get(query->worker->cache, &key, &pin);
	size_t len = 0;

	if (entry == NULL)
		return 0;
	if (entry_is_usable_stale(query->worker, entry)) {
		if (entry->stamp != query->worker->snapshot->stamp)
			entry_refresh(query->worker, entry, query_subject(query));
		len = deliver_entry(query, entry);
	}
	cache_release(&pin);
	return len;
}

/*
 * The answer was just stored, so it comes from the cache like any other; only what cannot be cached (too
 * large, TTL 0) is read from the message once more.
 */
static size_t deliver_result(struct query *query, const struct recursion_result *result)
{
	struct worker *worker = query->worker;
	struct cache_key key = query_key(query);
	struct answer_stored stored;
	struct cache_pin pin;
	size_t len = 0;

	if (result->wire == NULL) {
		if (result->status != RECURSION_BOGUS)
			len = deliver_stale(query);
		return len > 0 ? len : query_servfail(query, result->ede, result->why);
	}
	struct cache_entry *entry = cache_get(worker->cache, &key, &pin);
	if (entry != NULL) {
		if (entry->status == 0 && entry->stamp == worker->snapshot->stamp &&
		        entry_is_fresh(worker, entry))
			len = deliver_entry(query, entry);
		cache_release(&pin);
		if (len > 0)
			return len;
	}
	bool dnssec_ok = (query_flags(query) & CACHE_DNSSEC_OK) != 0;
	if (answer_normalise(&stored, &worker->fresh, result->wire, result->wire_len, dnssec_ok) < 0)
		return query_servfail(query, EDE_NETWORK_ERROR, "malformed answer");
	if (result->secure)
		stored.flags |= ANSWER_SECURE;
	deliver_inspect(worker, &stored);
	return deliver(query, &stored, 0, false);
}

/* While it waited the policy changed: another snapshot, or another time. */
static bool query_is_outdated(const struct query *query)
{
	const struct worker *worker = query->worker;

	return query->stamp != worker->snapshot->stamp || query->until_s <= worker->moment.utc_s;
}

static void query_answered(struct recursion_waiter *waiter, const struct recursion_result *result)
{
	struct waiting *waiting = (struct waiting *)((char *)waiter - offsetof(struct waiting, waiter));
	struct query *query = &waiting->query;

	worker_clock(query->worker);
	waiting_end(waiting);
	if (query_is_outdated(query))
		query_judge_again(query);
	else
		query_finish(query, deliver_result(query, result));
	free(waiting);
}

/* A stale answer now is better than a fresh one later. The question goes on and will refresh the cache. */
static void stale_timer_expired(evutil_socket_t fd, short what, void *arg)
{
	struct waiting *waiting = arg;
	struct query *query = &waiting->query;

	worker_clock(query->worker);
	bool judge_again = query_is_outdated(query);
	size_t len = judge_again ? 0 : deliver_stale(query);
	if (len == 0 && !judge_again)
		return;
	waiting_end(waiting);
	if (judge_again)
		query_judge_again(query);
	else
		query_finish(query, len);
	free(waiting);
}

/* The query's copy on the heap, or NULL without memory. */
static struct waiting *query_keep(const struct query *query)
{
	struct waiting *waiting = malloc(sizeof *waiting + query->wire_len);

	if (waiting == NULL)
		return NULL;
	struct query *kept = &waiting->query;
	*kept = *query;
	memcpy(waiting->wire, query->wire, query->wire_len);
	kept->wire = waiting->wire;
	kept->message.question = waiting->wire + (query->message.question - query->wire);
	if (query->path != NULL) {
		waiting->path = *query->path;
		kept->path = &waiting->path;
	}
	kept->out = query->worker->reply;
	kept->out_size = sizeof query->worker->reply;
	kept->kept = true;
	kept->hashed = false; /* the next snapshot's seed is another */
	waiting->waiter = (struct recursion_waiter){ .answered = query_answered };
	waiting->has_stale = false;
	return waiting;
}

static struct recursion_question query_question(const struct query *query)
{
	return (struct recursion_question){
		.name = *query_subject(query),
		.type = query->message.type,
		.checking_disabled = (query_flags(query) & CACHE_CHECKING_DISABLED) != 0,
		.dnssec_ok = (query_flags(query) & CACHE_DNSSEC_OK) != 0,
	};
}

static void stale_timer_start(struct waiting *waiting, struct event_base *base)
{
	static const struct timeval after = { .tv_sec = STALE_AFTER_MS / 1000,
		.tv_usec = STALE_AFTER_MS % 1000 * 1000 };

	waiting->has_stale = true;
	event_assign(&waiting->stale_timer, base, -1, 0, stale_timer_expired, waiting);
	event_add(&waiting->stale_timer, &after);
}

/* Does the profile mind ways around the filter, and is this name one that may be such a way? */
static bool may_be_tunnel(const struct query *query)
{
	const struct worker *worker = query->worker;
	const struct config *config = query_config(query);
	int bypass = worker->snapshot->bypass_category;

	return config->dns.tunnelling.action != SIGNAL_OFF && bypass >= 0 && query->target == NULL &&
	       query->verdict.tier == TIER_DEFAULT &&
	       (query->facts.flags & (FACTS_TUNNEL_EXEMPT | FACTS_REBINDING_EXEMPT)) == 0 &&
	       (policy_blocked_categories(config, (unsigned)query->profile, &worker->moment) >> bypass & 1) !=
	               0;
}

/* A lookup that carries data to a tunnel's other end does not leave. Returns its answer's length, 0 if it may
 * leave. */
static size_t block_tunnel(struct query *query)
{
	const struct config_tunnelling *limits = &query_config(query)->dns.tunnelling;
	struct worker *worker = query->worker;
	char because[sizeof "tunnelling " + TUNNEL_RULE_MAX] = "tunnelling ";

	if (!may_be_tunnel(query))
		return 0;
	enum tunnel_finding found = tunnel_note(worker->tunnel, limits, query->address, &query->message.name,
	        query->message.type, worker->mono_s, because + strlen(because));
	if (found == TUNNEL_NONE)
		return 0;
	if (found == TUNNEL_FOUND)
		query_count(query, STATS_TUNNELS);
	struct verdict verdict = { .action = VERDICT_BLOCK,
		.tier = TIER_CANARY,
		.category = (int16_t)worker->snapshot->bypass_category,
		.rule = FACTS_NONE,
		.engine = FACTS_NONE,
		.because = because };
	if (limits->action == SIGNAL_BLOCK) {
		query_count(query, STATS_TUNNELLED);
		return query_block(query, &verdict, &query->message.name, &query->facts);
	}
	if (found == TUNNEL_FOUND)
		query_log_watched(query, &verdict);
	return 0;
}

static void ask(struct query *query, bool has_stale)
{
	size_t blocked = block_tunnel(query);

	if (blocked > 0) {
		query_finish(query, blocked);
		return;
	}
	struct worker *worker = query->worker;
	struct recursion_question question = query_question(query);
	struct slots_client client =
	        slots_client(worker->slots, query->address, query_config(query)->limits.in_flight_per_client);
	struct waiting *waiting = NULL;

	if (worker->waiting < WAITING_A_SLOT * worker->slots->most)
		waiting = query_keep(query);
	else
		query_count(query, STATS_RECURSION_REFUSED_ALL);
	if (waiting == NULL || recursion_ask(worker->recursion, &question, &waiting->waiter, &client) < 0) {
		free(waiting);
		size_t len = has_stale ? deliver_stale(query) : 0;
		if (len == 0) {
			len = reply_error(query, RCODE_SERVFAIL, EDE_OTHER, "too many lookups are waiting");
			query->outcome = STATS_LIMITED;
		}
		query_finish(query, len);
		return;
	}
	worker->waiting++;
	if (has_stale)
		stale_timer_start(waiting, worker->base);
	if (query->keep != NULL)
		query->keep(query, &waiting->query);
}

/* What is asked in the last tenth of its life is popular. */
static void entry_note_popular(const struct worker *worker, struct cache_entry *entry)
{
	uint32_t life = entry->expires_s - entry->stored_s, left = entry->expires_s - worker->mono_s;

	if (entry->status == 0 && life >= POPULAR_MIN_TTL_S && left <= life / 10 + 1)
		entry->popular = true;
}

/*
 * A popular answer that has just expired goes out once more while it is refreshed, so that nobody waits for
 * what everybody asks (RFC 8767 4). Asking earlier would be in vain: the recursor has the same record with
 * the same age.
 */
static bool entry_refresh_behind(struct query *query, const struct cache_entry *entry)
{
	struct worker *worker = query->worker;

	if (!entry->popular || worker->mono_s - entry->expires_s > JUST_EXPIRED_S)
		return false;
	struct recursion_question question = query_question(query);
	return recursion_ask(worker->recursion, &question, NULL, NULL) == 0;
}

void resolve(struct query *query, struct cache_entry *entry, struct cache_pin *pin)
{
	struct worker *worker = query->worker;
	bool has_stale = false;
	size_t len = 0;

	if (entry != NULL) {
		bool fresh = entry_is_fresh(worker, entry);
		has_stale = !fresh && entry_is_usable_stale(worker, entry);
		if (fresh)
			entry_note_popular(worker, entry);
		if (fresh ||
		        (has_stale && (entry_rests(worker, entry) || entry_refresh_behind(query, entry))))
			len = deliver_entry(query, entry);
		cache_release(pin);
	}
	query_count(query, len > 0 ? STATS_CACHE_HITS : STATS_CACHE_MISSES);
	if (len > 0)
		query_finish(query, len);
	else
		ask(query, has_stale);
}

/* The end of a local CNAME chain is judged as a hop: sealed blocks, and a search engine goes to its safe
 * name. Returns NULL if it is blocked. */
static const struct name *target_judge(
        struct query *query, const struct name *target, const struct facts *facts)
{
	struct worker *worker = query->worker;
	const struct config *config = query_config(query);
	struct policy_asker asker = { .profile = (unsigned)query->profile, .address = query->address };
	struct verdict verdict = policy_decide_hop(
	        config, worker->snapshot->table, &asker, &query->verdict, facts, &worker->moment);

	query_note_until(query, &verdict);
	if (verdict.action == VERDICT_BLOCK) {
		query_finish(query, query_block(query, &verdict, target, facts));
		return NULL;
	}
	verdict = policy_decide(config, worker->snapshot->table, &asker, facts, &worker->moment, NULL);
	query_note_until(query, &verdict);
	if (verdict.action != VERDICT_REWRITE)
		return target;
	query->verdict = verdict;
	return query_rewrite_target(query);
}

void resolve_target(struct query *query, const struct name *target)
{
	struct worker *worker = query->worker;
	struct cache_pin pin;
	struct facts facts;

	facts_gather(&facts, worker->snapshot->table, worker->view, target);
	if (query->verdict.tier == TIER_LOCAL_RECORD) {
		target = target_judge(query, target, &facts);
		if (target == NULL)
			return;
	}
	query->target = target;
	query->target_internal = (facts.flags & FACTS_INTERNAL) != 0;
	struct cache_key key = query_key(query);
	struct cache_entry *entry = cache_get(worker->cache, &key, &pin);
	if (entry != NULL && entry->stamp != worker->snapshot->stamp)
		entry_refresh(worker, entry, target);
	resolve(query, entry, &pin);
}
