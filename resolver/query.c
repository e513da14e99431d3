/*
 * The flow, in the order of DESIGN.md 2:
 *
 *   query_read: question -> query_answer: client, limits -> query_judge: facts, verdict -> block, local,
 * rewrite, or resolve: cached, or ask and wait -> deliver: hops, edits -> query_finish: count, send.
 *
 * All of it reads the worker's snapshot. A query that waited and finds another snapshot when it wakes is
 * judged again from the start, so that no verdict outlives the policy it came from.
 */
#include "query.h"

#include "block_log.h"
#include "probe.h"
#include "reply.h"

#define STRANGER_RATE 100 /* refusals a second to one address */

static const char lists_failed[] = "the block lists cannot be read";

/* A public name that passed and exists: what the school uses. Its own names no list can block. */
static bool query_is_use(const struct query *query)
{
	switch (query->outcome) {
	case STATS_CACHED:
	case STATS_RESOLVED:
	case STATS_STALE:
	case STATS_REWRITTEN:
		return (query->out[3] & 0xf) == RCODE_NOERROR &&
		       (query->facts.flags & (FACTS_INTERNAL | FACTS_LOCAL)) == 0;
	default:
		return false;
	}
}

/*
 * The profile for which this lookup may make a site a new one (newcomers.h): not what a rule, help line or
 * the school's own zone decided, nor what is logged anyway.
 */
static uint16_t query_site_profile(const struct query *query)
{
	bool plain = query->verdict.tier == TIER_DEFAULT && !query->verdict.watched &&
	             (query->facts.flags & (FACTS_PROTECTED | FACTS_OWN)) == 0;

	return plain ? (uint16_t)query->profile : NAMES_NO_PROFILE;
}

void query_finish(struct query *query, size_t len)
{
	struct worker *worker = query->worker;

	query_count(query, query->outcome);
	if (query->probe == NULL && query_is_use(query))
		names_count(worker->names, &query->message.name, query->names_hash, query->address,
		        query_site_profile(query));
	if (query->kept && query->probe == NULL) {
		worker_clock(worker);
		stats_latency(&worker->stats, worker->mono_us - query->received_us);
	}
	query->reply(query, len > 0 ? query->out : NULL, len);
}

static void query_end(struct query *query, enum stats_counter outcome, size_t len)
{
	query->outcome = outcome;
	query_finish(query, len);
}

size_t query_servfail(struct query *query, int ede, const char *text)
{
	query->outcome = STATS_SERVFAIL;
	return reply_error(query, RCODE_SERVFAIL, ede, text);
}

/* ---- how long it holds ---- */

void query_note_until(struct query *query, const struct verdict *verdict)
{
	if (verdict->until != 0 && verdict->until < query->until_s)
		query->until_s = verdict->until;
}

/* Whole seconds, rounded down: who keeps it so long from now has dropped it when the policy changes. */
static uint32_t query_ttl(const struct query *query, uint32_t ttl_s)
{
	if (query->until_s >= query->worker->utc_us / 1000000 + ttl_s + 1)
		return ttl_s;
	int64_t left_us = query->until_s * 1000000 - query->worker->utc_us;
	uint32_t left_s = left_us > 0 ? (uint32_t)(left_us / 1000000) : 0;
	return left_s < ttl_s ? left_s : ttl_s;
}

uint32_t query_block_ttl(const struct query *query)
{
	return query_ttl(query, query_profile(query)->block_ttl_s);
}

uint32_t query_max_ttl(const struct query *query)
{
	return query_ttl(query, query_config(query)->cache_max_ttl_s);
}

/* ---- blocking ---- */

/* Which list entry, rule or keyword is behind a verdict, for the log. text: room for a source. */
static void event_explain(struct block_event *event, const struct worker *worker,
        const struct verdict *verdict, const struct facts *facts, char text[FACTS_SIGNAL_MAX])
{
	const struct snapshot *snapshot = worker->snapshot;
	const struct lists_source *source;

	event->rule_labels = UINT8_MAX;
	if (verdict->because != NULL) {
		event->source = verdict->because;
	} else if (verdict->tier == TIER_KEYWORD) {
		event->source = facts_explain_signal(snapshot->table, worker->view, event->matched,
		        (unsigned)verdict->category, event->action == BLOCK_ACTION_WATCH, text);
	} else if (verdict->tier == TIER_RULE) {
		const struct facts_own_rule *rule = facts_rule_get(snapshot->table, verdict->rule);
		event->rule_labels = rule->name.labels;
		event->source = rule->entry != NULL ? "rules" : "configuration";
	} else if (verdict->category >= 0 && snapshot->lists != NULL &&
	           lists_explain(snapshot->lists, &facts->listed, (unsigned)verdict->category, &source,
	                   &event->rule_labels)) {
		event->source = source->name;
	}
}

static void query_log(struct query *query, const struct verdict *verdict, const struct name *matched,
        const struct facts *facts, enum block_action action)
{
	struct worker *worker = query->worker;
	const struct snapshot *snapshot = worker->snapshot;
	const struct config_profile *profile = query_profile(query);
	const struct config_category *category =
	        verdict->category >= 0 ? &snapshot->config->categories[verdict->category] : NULL;
	/* Who asks for help is nobody's business, not even where the answer leads into a sealed category. */
	bool nameless = profile->log != LOG_FULL || (query->facts.flags & FACTS_PROTECTED) != 0;
	char text[FACTS_SIGNAL_MAX];

	if (query->probe != NULL || (profile->log == LOG_OFF && verdict->tier != TIER_SEALED))
		return;
	struct block_event event = {
		.time_us = worker->utc_us,
		.client = nameless ? NULL : query->address,
		.profile = profile->name,
		.category = category ? category->name : NULL,
		.severity = category ? category->severity : SEVERITY_ADVISORY,
		.name = &query->message.name,
		.matched = matched,
		.type = query->message.type,
		.action = action,
		.keep_s = profile->keep_s,
		.generation = snapshot->lists ? lists_info(snapshot->lists)->id : 0,
	};
	event_explain(&event, worker, verdict, facts, text);
	if (block_log_write(worker->ring, &event))
		STATS_ADD(&worker->stats, LOG_EVENTS);
	else
		STATS_ADD(&worker->stats, LOG_LOST);
}

void query_log_watched(struct query *query, const struct verdict *verdict)
{
	query_count(query, STATS_LOG_WATCHED);
	query_log(query, verdict, &query->message.name, &query->facts, BLOCK_ACTION_WATCH);
}

/* What resolves and is logged. Once a lookup, however often it is judged. */
static void query_watch(struct query *query)
{
	if (!query->verdict.watched || query->kept)
		return;
	struct verdict watched = query->verdict;
	watched.tier = watched.watch_tier;
	watched.category = watched.watch_category;
	query_log_watched(query, &watched);
}

/* The event is in its ring before the answer can leave. */
size_t query_block(struct query *query, const struct verdict *verdict, const struct name *matched,
        const struct facts *facts)
{
	struct worker *worker = query->worker;
	const struct snapshot *snapshot = worker->snapshot;
	const char *text = verdict->tier == TIER_RULE          ? "school rule"
	                   : verdict->tier == TIER_SAFE_SEARCH ? "its safe search does not work"
	                   : verdict->tier == TIER_DEFAULT     ? "not on the allow list"
	                                                       : "a way around the filter";

	if (verdict->tier == TIER_INTERNAL) {
		query->outcome = STATS_LOCAL;
		return reply_negative(query, RCODE_NXDOMAIN, query_block_ttl(query), EDE_PROHIBITED, NULL);
	}
	if (verdict->tier == TIER_LIST_FAILURE)
		return query_servfail(query, EDE_NOT_READY, lists_failed);
	query->outcome = STATS_BLOCKED;
	query_log(query, verdict, matched, facts, BLOCK_ACTION_BLOCK);
	query_count_slot(query, snapshot->profile_blocked_slot[query->profile]);
	if (verdict->category >= 0) {
		text = snapshot->config->categories[verdict->category].name;
		query_count_slot(query, snapshot->category_slot[verdict->category]);
	}
	return reply_blocked(query, verdict->tier == TIER_SEALED ? EDE_CENSORED : EDE_BLOCKED, text);
}

/* ---- what passes ---- */

/* Types that are questions about the transport or the server, not about a name (RFC 6895 3.1). */
static bool type_is_meta(uint16_t type)
{
	return type == 0 || type == TYPE_OPT || (type >= 128 && type <= 255);
}

static size_t query_meta_type(struct query *query)
{
	switch (query->message.type) {
	case TYPE_ANY:
		query->outcome = STATS_LOCAL;
		return reply_any(query);
	case TYPE_AXFR:
	case TYPE_IXFR:
		query->outcome = STATS_REFUSED;
		return reply_error(query, RCODE_REFUSED, EDE_NOT_SUPPORTED, "no zone transfer here");
	case TYPE_OPT:
	case 0:
		query->outcome = STATS_FORMERR;
		return reply_error(query, RCODE_FORMERR, EDE_NONE, NULL);
	}
	query->outcome = STATS_REFUSED;
	return reply_error(query, RCODE_NOTIMP, EDE_NOT_SUPPORTED, NULL);
}

void query_count_rewrite(const struct query *query)
{
	const struct snapshot *snapshot = query->worker->snapshot;
	size_t engine = (size_t)query->verdict.engine;
	size_t pair = (size_t)query->profile * snapshot->config->engine_count + engine;

	query_count_slot(query, snapshot->engine_slot[engine]);
	query_count_slot(query, snapshot->profile_engine_slot[pair]);
}

/* An engine with fixed addresses instead of a name is answered at once. */
const struct name *query_rewrite_target(struct query *query)
{
	const struct config_engine *engine = &query_config(query)->engines[query->verdict.engine];

	if (engine->target.len > 0)
		return query->verdict.moderate ? &engine->target_moderate : &engine->target;
	query_count_rewrite(query);
	query_end(query, STATS_REWRITTEN, reply_fixed_addresses(query, engine));
	return NULL;
}

static void query_rewrite(struct query *query)
{
	const struct name *target = query_rewrite_target(query);

	if (target != NULL)
		resolve_target(query, target);
}

/* Canaries, local records, and internal names for those who may not see them. */
static void query_local(struct query *query)
{
	const struct config_profile *profile = query_profile(query);
	const struct name *target = NULL;
	size_t len;

	if (query->verdict.tier == TIER_OWN) {
		len = reply_why(query);
	} else if (query->verdict.tier == TIER_CANARY) {
		bool nodata = query_config(query)->canaries[query->facts.canary].answer == CANARY_NODATA;
		len = reply_negative(query, nodata ? RCODE_NOERROR : RCODE_NXDOMAIN, query_block_ttl(query),
		        EDE_NONE, NULL);
	} else if (!profile->internal) {
		len = reply_negative(query, RCODE_NXDOMAIN, query_block_ttl(query), EDE_PROHIBITED, NULL);
	} else {
		len = reply_local(query, &target);
	}
	if (target != NULL)
		resolve_target(query, target);
	else
		query_end(query, STATS_LOCAL, len);
}

/* Is this a question for a recursor at all? Blocks come first, so that no type gets around them. */
static bool query_is_refused(struct query *query)
{
	if (type_is_meta(query->message.type)) {
		query_finish(query, query_meta_type(query));
		return true;
	}
	if ((query->message.flags & FLAG_RD) != 0)
		return false;
	query_end(query, STATS_REFUSED,
	        reply_error(query, RCODE_REFUSED, EDE_NOT_AUTHORITATIVE, "recursion was not asked for"));
	return true;
}

/* A stranger's address may be forged: what goes there is little, whatever comes. */
static void query_refuse_stranger(struct query *query)
{
	struct worker *worker = query->worker;

	if (!query->tcp &&
	        !rate_allow_network(worker->strangers, query->address, STRANGER_RATE, worker->mono_us / 1000))
		query_end(query, STATS_LIMITED, 0);
	else
		query_end(query, STATS_REFUSED, reply_error(query, RCODE_REFUSED, EDE_PROHIBITED, NULL));
}

/* A device that a profile names keeps it whatever its address. Never one of a network that is not served. */
static void query_find_device(struct query *query)
{
	struct worker *worker = query->worker;
	const uint8_t *mac = neighbour_table_find(worker->neighbours, query->address, worker->mono_us);
	int profile = mac != NULL ? macs_find(worker->snapshot->macs, mac) : -1;

	if (profile >= 0)
		query->profile = profile;
}

/* Who asks? A client of no served network is refused here, and false comes back. */
static bool query_find_profile(struct query *query)
{
	query->profile = clients_find(query->worker->snapshot->clients, query->address);
	if (query->profile != CLIENTS_UNSERVED) {
		if (query->worker->neighbours != NULL)
			query_find_device(query);
		return true;
	}
	query_refuse_stranger(query);
	return false;
}

/* Of who asks past the policy. */
static const struct verdict verdict_none = { .action = VERDICT_RESOLVE,
	.tier = TIER_PROTECTED, /* its chain is not judged either */
	.category = -1,
	.rule = FACTS_NONE,
	.engine = FACTS_NONE };

/* Facts, verdict, and what follows. */
static void query_judge(struct query *query)
{
	struct worker *worker = query->worker;
	struct cache_pin pin;

	query->target = NULL;
	query->target_internal = false;
	query->stamp = worker->snapshot->stamp;
	struct policy_asker asker = { .profile = (unsigned)query->profile, .address = query->address };
	struct cache_entry *entry = resolve_lookup(query, &pin);
	query->verdict = query->probe != NULL && query->probe->raw
	                         ? verdict_none
	                         : policy_decide(query_config(query), worker->snapshot->table, &asker,
	                                   &query->facts, &worker->moment, NULL);
	query->until_s = worker_boundary(worker, (unsigned)query->profile);
	query_note_until(query, &query->verdict);
	query_watch(query);
	if (query->verdict.action == VERDICT_RESOLVE && (query->message.flags & FLAG_RD) != 0 &&
	        !type_is_meta(query->message.type)) {
		resolve(query, entry, &pin);
		return;
	}
	if (entry != NULL)
		cache_release(&pin);
	switch (query->verdict.action) {
	case VERDICT_BLOCK:
		query_finish(query, query_block(query, &query->verdict, &query->message.name, &query->facts));
		return;
	case VERDICT_FAIL:
		query_finish(query, query_servfail(query, EDE_NOT_READY, lists_failed));
		return;
	case VERDICT_REFUSE:
		query_end(query, STATS_REFUSED, reply_error(query, RCODE_REFUSED, EDE_PROHIBITED, NULL));
		return;
	default:
		break;
	}
	if (query->verdict.tier != TIER_CANARY && query_is_refused(query))
		return;
	if (query->verdict.action == VERDICT_LOCAL)
		query_local(query);
	else
		query_rewrite(query);
}

void query_judge_again(struct query *query)
{
	if (query_find_profile(query))
		query_judge(query);
}

/* ---- arrival ---- */

/*
 * Over its rate a client is told to come by TCP, which a forged address cannot: always with a cookie of ours,
 * else half of the time, so that we send less than we get.
 */
static void query_limit(struct query *query)
{
	const struct message_edns *edns = &query->message.edns;
	struct cookie_secrets secrets = query_cookie_secrets(query);
	bool proven = cookie_is_valid(&secrets, edns->cookie, edns->cookie_len, query->address,
	        (uint32_t)(query->worker->utc_us / 1000000));
	bool slip = proven || (query->message.id & 1) != 0;
	size_t len = 0;

	if (query->tcp)
		len = reply_error(query, RCODE_REFUSED, EDE_PROHIBITED, "too many queries");
	else if (slip)
		len = reply_truncated(query);
	query_end(query, STATS_LIMITED, len);
}

static bool query_is_over_rate(const struct query *query)
{
	const struct worker *worker = query->worker;

	return query->probe == NULL && !rate_allow(worker->rate, query->address,
	                                       query_profile(query)->rate_limit, worker->mono_us / 1000);
}

/* No question, only a cookie: the answer carries ours (RFC 7873 5.4). */
static void query_cookie(struct query *query)
{
	if (query_config(query)->dns.cookies)
		query_end(query, STATS_LOCAL, reply_error(query, RCODE_NOERROR, EDE_NONE, NULL));
	else
		query_end(query, STATS_FORMERR, reply_error(query, RCODE_FORMERR, EDE_NONE, NULL));
}

/* Well-formed, with a name in it. */
static bool query_is_question(const struct query *query)
{
	return query->read == 0 && query->message.question != NULL;
}

void query_read(struct query *query)
{
	query->kept = false;
	query->received_us = query->worker->mono_us;
	query->read = message_read(&query->message, query->wire, query->wire_len);
	if (query_is_question(query))
		resolve_read(query);
}

void query_fetch(struct query *queries, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (query_is_question(&queries[i]))
			resolve_fetch(&queries[i]);
	for (unsigned i = 0; i < count; i++)
		if (query_is_question(&queries[i]))
			resolve_fetch_listed(&queries[i]);
}

void query_answer(struct query *query)
{
	int ret = query->read;

	query_count(query, query->tcp ? STATS_QUERIES_TCP : STATS_QUERIES_UDP);
	if (ret < 0) {
		query_end(query, STATS_DROPPED, 0);
		return;
	}
	if (!query_find_profile(query))
		return;
	query_count_slot(query, query->worker->snapshot->profile_slot[query->profile]);
	if (query_is_over_rate(query))
		query_limit(query);
	else if (ret == RCODE_FORMERR)
		query_end(query, STATS_FORMERR, reply_error(query, RCODE_FORMERR, EDE_NONE, NULL));
	else if (ret > 0)
		query_end(query, STATS_REFUSED, reply_error(query, (unsigned)ret, EDE_NONE, NULL));
	else if (query->message.question == NULL)
		query_cookie(query);
	else if (query->message.class != CLASS_IN)
		query_finish(query, reply_chaos(query));
	else
		query_judge(query);
}
