#include "reply.h"

#include <string.h>

#include "why.h"

#define TYPE_HINFO 13
#define ANY_TTL_S 3600
#define LOCAL_HOPS_MAX 8

/* The most octets this client takes in one answer. */
static size_t reply_limit(const struct query *query)
{
	size_t limit = MESSAGE_MAX;

	if (!query->tcp) {
		limit = query->message.edns.present ? query->message.edns.udp_size : MESSAGE_UDP_MIN;
		if (limit > MESSAGE_UDP_MAX)
			limit = MESSAGE_UDP_MAX;
	}
	return limit < query->out_size ? limit : query->out_size;
}

/* OPT of an answer: EDE, cookie, NSID, keepalive. */
struct reply_edns {
	struct answer_edns edns;
	uint8_t cookie[COOKIE_LEN];
};

static const struct answer_edns *reply_edns(
        struct reply_edns *room, const struct query *query, int ede, const char *text)
{
	const struct message_edns *asked = &query->message.edns;
	const struct config *config = query_config(query);

	room->edns = (struct answer_edns){ .ede = ede, .ede_text = text };
	if (!asked->present)
		return &room->edns;
	if (config->dns.cookies && asked->cookie_len >= 8) {
		struct cookie_secrets secrets = query_cookie_secrets(query);
		cookie_make(&secrets, asked->cookie, query->address,
		        (uint32_t)(query->worker->utc_us / 1000000), room->cookie);
		room->edns.cookie = room->cookie;
		room->edns.cookie_len = COOKIE_LEN;
	}
	if (asked->nsid)
		room->edns.nsid = config->dns.nsid;
	if (asked->keepalive && query->tcp)
		room->edns.keepalive = (uint16_t)(config->limits.tcp_idle_ms / 100);
	return &room->edns;
}

size_t reply_error(struct query *query, unsigned rcode, int ede, const char *text)
{
	struct answer_writer writer;
	struct reply_edns room;

	reply_edns(&room, query, ede, text);
	room.edns.extended_rcode = rcode > 15 ? (uint16_t)rcode : 0;
	answer_begin(&writer, query->out, reply_limit(query), &query->message, rcode & 15);
	return answer_finish(&writer, &room.edns);
}

size_t reply_truncated(struct query *query)
{
	struct answer_writer writer;
	struct reply_edns room;

	answer_begin(&writer, query->out, reply_limit(query), &query->message, RCODE_NOERROR);
	answer_flags(&writer, FLAG_TC, 0);
	return answer_finish(&writer, reply_edns(&room, query, EDE_NONE, NULL));
}

size_t reply_negative(struct query *query, unsigned rcode, uint32_t ttl_s, int ede, const char *text)
{
	struct answer_writer writer;
	struct reply_edns room;

	answer_begin(&writer, query->out, reply_limit(query), &query->message, (uint8_t)rcode);
	answer_soa(&writer, NULL, ttl_s);
	return answer_finish(&writer, reply_edns(&room, query, ede, text));
}

/* An answer of addresses in the asked family; without any of it, NODATA. */
static size_t reply_addresses(struct query *query, const struct in_addr *v4, size_t v4_count,
        const struct in6_addr *v6, size_t v6_count, uint32_t ttl_s, int ede, const char *text)
{
	struct answer_writer writer;
	struct reply_edns room;
	uint16_t type = query->message.type;

	if (type == TYPE_A)
		v6_count = 0;
	else if (type == TYPE_AAAA)
		v4_count = 0;
	else
		v4_count = v6_count = 0;
	if (v4_count + v6_count == 0)
		return reply_negative(query, RCODE_NOERROR, ttl_s, ede, text);
	answer_begin(&writer, query->out, reply_limit(query), &query->message, RCODE_NOERROR);
	for (size_t i = 0; i < v4_count; i++)
		answer_record(&writer, SECTION_ANSWER, NULL, TYPE_A, ttl_s, (const uint8_t *)&v4[i], 4);
	for (size_t i = 0; i < v6_count; i++)
		answer_record(&writer, SECTION_ANSWER, NULL, TYPE_AAAA, ttl_s, v6[i].s6_addr, 16);
	return answer_finish(&writer, reply_edns(&room, query, ede, text));
}

size_t reply_blocked(struct query *query, int ede, const char *text)
{
	static const struct in_addr v4_null;
	static const struct in6_addr v6_null;
	const struct config_profile *profile = query_profile(query);
	uint32_t ttl_s = query_block_ttl(query);

	switch (profile->block_answer) {
	case BLOCK_REFUSED:
		return reply_error(query, RCODE_REFUSED, ede, text);
	case BLOCK_NODATA:
		return reply_negative(query, RCODE_NOERROR, ttl_s, ede, text);
	case BLOCK_NULL:
		return reply_addresses(query, &v4_null, 1, &v6_null, 1, ttl_s, ede, text);
	case BLOCK_ADDRESS:
		return reply_addresses(query, profile->block_v4, profile->block_v4_count, profile->block_v6,
		        profile->block_v6_count, ttl_s, ede, text);
	case BLOCK_NXDOMAIN:
		break;
	}
	return reply_negative(query, RCODE_NXDOMAIN, ttl_s, ede, text);
}

/* Writes the local chain from the asked name. Returns where it leaves local records, or NULL if it ends among
 * them. */
static const struct name *local_chain(struct query *query, struct answer_writer *writer)
{
	const struct name *owner = &query->message.name, *target = NULL;
	uint16_t type = query->message.type;
	size_t count, written = 0;

	for (unsigned hops = 0; hops < LOCAL_HOPS_MAX; hops++) {
		const struct snapshot_record *records =
		        snapshot_records(query->worker->snapshot, owner, &count);
		if (records == NULL)
			return owner;
		target = NULL;
		for (size_t i = 0; i < count; i++) {
			const struct config_record *record = records[i].record;
			if (type != TYPE_ANY && record->type != type && record->type != TYPE_CNAME)
				continue;
			answer_record(writer, SECTION_ANSWER, hops == 0 ? NULL : owner, record->type,
			        record->ttl_s, record->rdata, record->rdata_len);
			written++;
			if (type != record->type && type != TYPE_ANY)
				target = records[i].cname;
		}
		if (target == NULL)
			break;
		owner = target;
	}
	if (target == NULL && written == 0)
		answer_soa(writer, NULL, query_block_ttl(query));
	return NULL;
}

size_t reply_local(struct query *query, const struct name **target)
{
	struct answer_writer writer;
	struct reply_edns room;

	answer_begin(&writer, query->out, reply_limit(query), &query->message, RCODE_NOERROR);
	answer_flags(&writer, FLAG_AA, 0);
	*target = local_chain(query, &writer);
	return *target != NULL ? 0 : answer_finish(&writer, reply_edns(&room, query, EDE_NONE, NULL));
}

/* The rcode is that of the chain's end (RFC 6604 3), which is not ours to be authoritative for. */
size_t reply_local_chain(struct query *query, const struct answer_stored *stored, uint32_t age_s)
{
	struct answer_writer writer;
	struct reply_edns room;

	answer_begin(&writer, query->out, reply_limit(query), &query->message, stored->rcode);
	local_chain(query, &writer);
	answer_copy(&writer, stored, age_s, query_max_ttl(query));
	return answer_finish(&writer, reply_edns(&room, query, EDE_NONE, NULL));
}

/* Its TTL is 0: the next answer may be another. */
size_t reply_why(struct query *query)
{
	struct worker *worker = query->worker;
	const struct config *config = query_config(query);
	const struct facts_table *table = worker->snapshot->table;
	const struct policy_asker asker = { .profile = (unsigned)query->profile, .address = query->address };
	struct why_text text = { .len = 0 };
	struct name tree, name;
	struct facts facts;
	struct answer_writer writer;
	struct reply_edns room;

	why_tree(&tree, config);
	enum why_subject subject = why_read(&query->message.name, &tree, &name);
	if (subject == WHY_NONE)
		return reply_negative(query, RCODE_NXDOMAIN, 0, EDE_NONE, NULL);
	if (subject == WHY_EMPTY || query->message.type != TYPE_TXT)
		return reply_negative(query, RCODE_NOERROR, 0, EDE_NONE, NULL);
	if (subject == WHY_USAGE) {
		why_tell_usage(&text, &tree);
	} else if (subject == WHY_ME) {
		why_tell_me(&text, config, &asker);
	} else {
		facts_gather(&facts, table, worker->view, &name);
		why_tell_name(&text, config, table, &asker, &name, &facts, &worker->moment);
	}
	answer_begin(&writer, query->out, reply_limit(query), &query->message, RCODE_NOERROR);
	answer_flags(&writer, FLAG_AA, 0);
	answer_record(&writer, SECTION_ANSWER, NULL, TYPE_TXT, 0, text.rdata, text.len);
	return answer_finish(&writer, reply_edns(&room, query, EDE_NONE, NULL));
}

/* One TXT string of at most 255 octets. */
static size_t text_record(uint8_t rdata[256], const char *text)
{
	size_t len = strnlen(text, 255);

	rdata[0] = (uint8_t)len;
	memcpy(rdata + 1, text, len);
	return len + 1;
}

size_t reply_chaos(struct query *query)
{
	static const struct {
		const char *name;
		bool version;
	} names[] = {
		{ "version.bind", true },
		{ "version.server", true },
		{ "id.server", false },
		{ "hostname.bind", false },
	};
	const struct config_dns *dns = &query_config(query)->dns;
	const char *text = "";
	char name[NAME_TEXT_MAX];
	struct answer_writer writer;
	struct reply_edns room;
	uint8_t rdata[256];

	name_to_text(&query->message.name, name);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(name, names[i].name) == 0)
			text = names[i].version ? dns->version : dns->nsid;
	query->outcome = STATS_REFUSED;
	if (query->message.class != CLASS_CH || query->message.type != TYPE_TXT || *text == '\0')
		return reply_error(query, RCODE_REFUSED, EDE_NOT_SUPPORTED, NULL);
	query->outcome = STATS_LOCAL;
	answer_begin(&writer, query->out, reply_limit(query), &query->message, RCODE_NOERROR);
	answer_record(&writer, SECTION_ANSWER, NULL, TYPE_TXT, 0, rdata, text_record(rdata, text));
	return answer_finish(&writer, reply_edns(&room, query, EDE_NONE, NULL));
}

size_t reply_any(struct query *query)
{
	static const uint8_t hinfo[] = { 7, 'R', 'F', 'C', '8', '4', '8', '2', 0 };
	struct answer_writer writer;
	struct reply_edns room;

	answer_begin(&writer, query->out, reply_limit(query), &query->message, RCODE_NOERROR);
	answer_record(&writer, SECTION_ANSWER, NULL, TYPE_HINFO, ANY_TTL_S, hinfo, sizeof hinfo);
	return answer_finish(&writer, reply_edns(&room, query, EDE_NONE, NULL));
}

size_t reply_rewritten(struct query *query, const struct config_engine *engine,
        const struct answer_stored *stored, uint32_t age_s, int ede, const char *text)
{
	const struct name *target = query->verdict.moderate ? &engine->target_moderate : &engine->target;
	struct answer_writer writer;
	struct reply_edns room;

	answer_begin(&writer, query->out, reply_limit(query), &query->message, RCODE_NOERROR);
	answer_record(
	        &writer, SECTION_ANSWER, NULL, TYPE_CNAME, query_block_ttl(query), target->wire, target->len);
	answer_copy(&writer, stored, age_s, query_max_ttl(query));
	return answer_finish(&writer, reply_edns(&room, query, ede, text));
}

size_t reply_fixed_addresses(struct query *query, const struct config_engine *engine)
{
	return reply_addresses(query, engine->v4, engine->v4_count, engine->v6, engine->v6_count,
	        query_block_ttl(query), EDE_FORGED, engine->name);
}

size_t reply_stored(struct query *query, const struct answer_stored *stored, uint32_t age_s, bool stale,
        int ede, const char *text)
{
	struct reply_edns room;

	if (stale && ede == EDE_NONE)
		ede = stored->rcode == RCODE_NXDOMAIN ? EDE_STALE_NXDOMAIN : EDE_STALE;
	return answer_from_stored(query->out, reply_limit(query), &query->message, stored, age_s,
	        query_max_ttl(query), stale, reply_edns(&room, query, ede, text));
}
