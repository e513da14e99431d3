/*
 * From a stored answer to what this client may have of it: each hop is judged like an asked name, private
 * addresses, ech and blocked networks go where the profile says so, and a safe-search target's records stand
 * behind our CNAME.
 *
 * Most answers carry no flag that asks for any of it and are copied as they are.
 */
#include "inspect.h"
#include "query.h"
#include "reply.h"

#include <stdio.h>
#include <string.h>

/* The first hop that is blocked for this query. */
struct hop_verdict {
	struct query *query;
	struct verdict verdict;
	struct name name;
	struct facts facts;
};

/* An engine's own alias of itself is its business: its pictures, its help pages. */
static bool name_is_of_engine(const struct name *name, const struct name *engine)
{
	struct name site;

	name_suffix(engine, engine->labels > 2 && memcmp(engine->wire, "\3www", 4) == 0, &site);
	return name_is_below(name, &site);
}

static bool hop_is_blocked(void *arg, const struct name *hop)
{
	struct hop_verdict *found = arg;
	struct query *query = found->query;
	struct worker *worker = query->worker;
	struct policy_asker asker = { .profile = (unsigned)query->profile, .address = query->address };

	facts_gather(&found->facts, worker->snapshot->table, worker->view, hop);
	if (found->facts.engine != FACTS_NONE && name_is_of_engine(&query->message.name, hop))
		found->facts.engine = FACTS_NONE;
	found->verdict = policy_decide_hop(query_config(query), worker->snapshot->table, &asker,
	        &query->verdict, &found->facts, &worker->moment);
	query_note_until(query, &found->verdict);
	found->name = *hop;
	return found->verdict.action == VERDICT_BLOCK;
}

/* Could any profile mind this hop? Asked once per answer and snapshot, so that most answers skip the walk. */
static bool hop_is_notable(void *arg, const struct name *hop)
{
	struct worker *worker = arg;
	struct facts facts;

	facts_gather(&facts, worker->snapshot->table, worker->view, hop);
	return facts.listed.categories != 0 || facts.rules != FACTS_NONE || facts.canary != FACTS_NONE ||
	       facts.engine != FACTS_NONE ||
	       (facts.flags & (FACTS_INTERNAL | FACTS_LOCAL | FACTS_LISTS_FAILED)) != 0;
}

/* The first address that is blocked for this query. */
struct address_verdict {
	struct query *query;
	struct verdict verdict;
	char because[80];
};

/* An address in blocked networks is judged like a hop that is listed. */
static bool address_is_blocked(void *arg, const uint8_t address[16])
{
	struct address_verdict *found = arg;
	struct query *query = found->query;
	struct worker *worker = query->worker;
	const struct config *config = query_config(query);
	struct policy_asker asker = { .profile = (unsigned)query->profile, .address = query->address };
	char network[INET6_ADDRSTRLEN + 4];

	struct facts facts = facts_of_categories(networks_find(worker->snapshot->networks, address));
	found->verdict = policy_decide_hop(
	        config, worker->snapshot->table, &asker, &query->verdict, &facts, &worker->moment);
	if (found->verdict.action != VERDICT_BLOCK)
		return false;
	config_network_text(networks_explain(config, (unsigned)found->verdict.category, address), network);
	snprintf(found->because, sizeof found->because, "blocked-networks %s", network);
	found->verdict.because = found->because;
	return true;
}

static bool address_is_notable(void *arg, const uint8_t address[16])
{
	return networks_find(arg, address) != 0;
}

void deliver_inspect(struct worker *worker, struct answer_stored *stored)
{
	struct networks *networks = worker->snapshot->networks;

	stored->flags &= (uint8_t) ~(ANSWER_LISTED_HOP | ANSWER_LISTED_ADDRESS);
	if ((stored->flags & ANSWER_HAS_ADDRESS) != 0 && networks_hold_any(networks) &&
	        inspect_addresses(stored, address_is_notable, networks) != 0)
		stored->flags |= ANSWER_LISTED_ADDRESS;
	if ((stored->flags & ANSWER_HAS_HOP) != 0 && inspect_hops(stored, hop_is_notable, worker) != 0)
		stored->flags |=
		        ANSWER_LISTED_HOP; /* malformed hops too: the careful path then refuses them */
}

/* localhost and below may be a loopback address (RFC 6761 6.3). */
static bool name_is_localhost(const struct name *name)
{
	static const uint8_t localhost[] = "\11localhost";

	return name->labels > 0 &&
	       memcmp(name->wire + name->offset[name->labels - 1], localhost, sizeof localhost) == 0;
}

/* What of this answer the profile must not see. Returns false if nothing has to change. */
static bool query_edits(
        const struct query *query, const struct answer_stored *stored, struct answer_edit *edit)
{
	bool own = query->target_internal || name_is_localhost(&query->message.name) ||
	           (query->facts.flags & (FACTS_INTERNAL | FACTS_LOCAL | FACTS_REBINDING_EXEMPT)) != 0;

	*edit = (struct answer_edit){ 0 };
	if ((stored->flags & ANSWER_HAS_PRIVATE) != 0 && !own)
		edit->drop_private = true;
	if ((stored->flags & ANSWER_HAS_ECH) != 0 && query_profile(query)->strip_ech)
		edit->strip_ech = true;
	return edit->drop_private || edit->strip_ech;
}

/* The answer of a safe-search target. A target that does not resolve must never turn into the unsafe answer,
 * nor into NXDOMAIN. */
static size_t deliver_rewritten(struct query *query, const struct answer_stored *stored, uint32_t age_s)
{
	const struct config_engine *engine = &query_config(query)->engines[query->verdict.engine];

	if (stored->rcode != RCODE_NOERROR)
		return query_servfail(query, EDE_OTHER, "the safe-search target does not resolve");
	query->outcome = STATS_REWRITTEN;
	query_count_rewrite(query);
	return reply_rewritten(query, engine, stored, age_s, EDE_FORGED, engine->name);
}

size_t deliver(struct query *query, const struct answer_stored *stored, uint32_t age_s, bool stale)
{
	struct answer_stored edited;
	struct answer_edit edit;
	const char *text = NULL;
	int ede = EDE_NONE, ret = 0;

	if ((stored->flags & ANSWER_LISTED_HOP) != 0) {
		struct hop_verdict hop = { .query = query };
		ret = inspect_hops(stored, hop_is_blocked, &hop);
		if (ret > 0)
			return query_block(query, &hop.verdict, &hop.name, &hop.facts);
	}
	if (ret == 0 && (stored->flags & ANSWER_LISTED_ADDRESS) != 0) {
		struct address_verdict address = { .query = query };
		ret = inspect_addresses(stored, address_is_blocked, &address);
		if (ret > 0)
			return query_block(query, &address.verdict, &query->message.name, &query->facts);
	}
	if (ret == 0 && query_edits(query, stored, &edit)) {
		ret = answer_edit(&edited, &query->worker->edited, stored, &edit);
		if (ret > 0) {
			stored = &edited;
			ede = EDE_FORGED;
			text = edit.drop_private ? "private addresses removed"
			                         : "altered by the school's policy";
		}
	}
	if (ret < 0)
		return query_servfail(query, EDE_OTHER, "malformed answer");
	if (query->verdict.action == VERDICT_REWRITE)
		return deliver_rewritten(query, stored, age_s);
	/* Local records below it: the name exists, whatever upstream knows (RFC 8020). */
	if (stored->rcode == RCODE_NXDOMAIN && (query->facts.flags & FACTS_LOCAL_BELOW) != 0 &&
	        query->target == NULL && query_profile(query)->internal) {
		query->outcome = STATS_LOCAL;
		return reply_negative(query, RCODE_NOERROR, query_block_ttl(query), EDE_NONE, NULL);
	}
	query->outcome = stale ? STATS_STALE : query->kept ? STATS_RESOLVED : STATS_CACHED;
	if (query->target != NULL)
		return reply_local_chain(query, stored, age_s);
	return reply_stored(query, stored, age_s, stale, ede, text);
}
