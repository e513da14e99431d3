/* Asks usherd each case, and reads the answers with ldns: not with the functions that wrote them. */
#include "selftest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/address.h"
#include "resolver/block_log.h"

#define EDE_OPTION 15
#define ADDRESSES_MAX 32

/* An answer, as far as a selftest looks. */
struct answer {
	int rcode;
	int ede; /* -1: none */
	size_t records;
	char alias[NAME_TEXT_MAX]; /* of the first CNAME, "" if none */
	char addresses[ADDRESSES_MAX][INET6_ADDRSTRLEN];
	size_t address_count;
};

/* ---- reading ---- */

static int answer_ede(const ldns_pkt *packet)
{
	const ldns_rdf *options = ldns_pkt_edns_data(packet);
	const uint8_t *at = options ? ldns_rdf_data(options) : NULL;
	size_t left = options ? ldns_rdf_size(options) : 0;

	while (left >= 4) {
		unsigned code = (unsigned)(at[0] << 8 | at[1]), len = (unsigned)(at[2] << 8 | at[3]);
		if (len > left - 4)
			return -1;
		if (code == EDE_OPTION && len >= 2)
			return at[4] << 8 | at[5];
		at += 4 + len;
		left -= 4 + len;
	}
	return -1;
}

static void record_read(struct answer *answer, const ldns_rr *record)
{
	char *text = ldns_rr_rd_count(record) > 0 ? ldns_rdf2str(ldns_rr_rdf(record, 0)) : NULL;
	size_t len = text ? strlen(text) : 0;

	if (ldns_rr_get_type(record) == LDNS_RR_TYPE_CNAME && len > 1 && answer->alias[0] == '\0')
		snprintf(answer->alias, sizeof answer->alias, "%.*s", (int)len - 1, text);
	else if ((ldns_rr_get_type(record) == LDNS_RR_TYPE_A ||
	                 ldns_rr_get_type(record) == LDNS_RR_TYPE_AAAA) &&
	         answer->address_count < ADDRESSES_MAX && text)
		snprintf(answer->addresses[answer->address_count++], INET6_ADDRSTRLEN, "%s", text);
	free(text);
}

static bool answer_read(struct answer *answer, const uint8_t *wire, size_t len)
{
	ldns_pkt *packet;

	if (ldns_wire2pkt(&packet, wire, len) != LDNS_STATUS_OK)
		return false;
	const ldns_rr_list *records = ldns_pkt_answer(packet);
	*answer = (struct answer){ .rcode = (int)ldns_pkt_get_rcode(packet),
		.ede = answer_ede(packet),
		.records = ldns_rr_list_rr_count(records) };
	for (size_t i = 0; i < answer->records; i++)
		record_read(answer, ldns_rr_list_rr(records, i));
	ldns_pkt_free(packet);
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

/* ---- asking ---- */

/* 1: answered; 0: no answer; negative: usherd can't be asked, and that was said. */
static int ask(const struct config *config, const struct selftest_case *test, const char *name,
        const char *type, bool raw, struct answer *answer)
{
	static uint8_t wire[65536];
	char client[INET6_ADDRSTRLEN], *reply = NULL;
	size_t len = 0;
	int ret = -EPROTO;

	address_text(test->client, client);
	json_t *question = json_pack(
	        "{s:s, s:s, s:s, s:b}", "client", client, "name", name, "type", type, "raw", (int)raw);
	char *body = json_dumps(question, JSON_COMPACT);
	int status = command_http(config, "control.sock", "/v1/probe", body, &reply);
	json_t *object = status == 200 ? json_loads(reply, 0, NULL) : NULL;
	const char *hex = json_string_value(json_object_get(object, "answer"));
	if (status > 0 && status != 200)
		command_http_failed(status, reply);
	for (; hex && hex[0] != '\0' && hex[1] != '\0' && len < sizeof wire; hex += 2)
		wire[len++] = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
	if (object)
		ret = len > 0 && answer_read(answer, wire, len);
	json_decref(object);
	json_decref(question);
	free(reply);
	free(body);
	return ret;
}

/* ---- judging ---- */

static bool is_open(const struct answer *answer)
{
	return (answer->rcode == LDNS_RCODE_NOERROR || answer->rcode == LDNS_RCODE_NXDOMAIN) &&
	       answer->ede != 15 && answer->ede != 16 && answer->ede != 18;
}

static bool is_engine_safe(const struct config_engine *engine, const struct answer *answer)
{
	char text[NAME_TEXT_MAX];

	if (answer->rcode != LDNS_RCODE_NOERROR)
		return false;
	if (engine->target.len > 0) {
		name_to_text(&engine->target, text);
		if (strcasecmp(text, answer->alias) == 0)
			return true;
		name_to_text(&engine->target_moderate, text);
		return engine->target_moderate.len > 0 && strcasecmp(text, answer->alias) == 0;
	}
	for (size_t i = 0; i < engine->v4_count; i++)
		if (answer->address_count == 1 && inet_ntop(AF_INET, &engine->v4[i], text, sizeof text) &&
		        strcmp(text, answer->addresses[0]) == 0)
			return true;
	return false;
}

static bool is_wanted(
        const struct selftest_case *test, const struct config *config, const struct answer *answer)
{
	switch (test->want) {
	case WANT_BLOCK:
		return answer->ede == 15 || answer->ede == 16;
	case WANT_PASS:
		return is_open(answer) && answer->rcode == LDNS_RCODE_NOERROR;
	case WANT_OPEN:
		return is_open(answer);
	case WANT_REWRITE:
		return is_engine_safe(&config->engines[test->engine], answer);
	case WANT_NOTHING:
		return answer->records == 0 &&
		       (answer->rcode == LDNS_RCODE_NXDOMAIN || answer->rcode == LDNS_RCODE_NOERROR);
	case WANT_HIDDEN:
		return answer->rcode == LDNS_RCODE_NXDOMAIN && answer->ede == 18;
	case WANT_SAFE:
		break;
	}
	return false;
}

static void found_text(const struct answer *answer, char text[256])
{
	const ldns_lookup_table *rcode = ldns_lookup_by_id(ldns_rcodes, answer->rcode);
	size_t len = (size_t)snprintf(text, 256, "%s", rcode ? rcode->name : "an unknown rcode");

	if (answer->ede >= 0)
		len += (size_t)snprintf(text + len, 256 - len, ", extended error %d", answer->ede);
	if (answer->alias[0] != '\0')
		snprintf(text + len, 256 - len, ", alias of %.100s", answer->alias);
	else if (answer->address_count > 0)
		snprintf(text + len, 256 - len, ", %s", answer->addresses[0]);
}

static bool addresses_meet(const struct answer *a, const struct answer *b)
{
	for (size_t i = 0; i < a->address_count; i++)
		for (size_t k = 0; k < b->address_count; k++)
			if (strcmp(a->addresses[i], b->addresses[k]) == 0)
				return true;
	return false;
}

/* ---- safe names ---- */

/*
 * The safe name and the engine's own, both past the policy. An answer that says that it does not exist, or
 * leads where the engine is, marks the engine; none at all is a failure of this case alone: then nobody gets
 * anywhere.
 */
static int ask_safe_name(struct selftest *selftest, struct selftest_case *test)
{
	const struct config *config = selftest->config;
	struct answer safe, own;
	char origin[NAME_TEXT_MAX];

	name_to_text(&config->engines[test->engine].names[0], origin);
	int ret = ask(config, test, test->name, "A", true, &safe);
	if (ret <= 0) {
		snprintf(test->found, sizeof test->found, "no answer");
		return ret;
	}
	found_text(&safe, test->found);
	bool exists = safe.rcode == LDNS_RCODE_NOERROR && safe.address_count > 0;
	bool gone = safe.rcode == LDNS_RCODE_NXDOMAIN ||
	            (safe.rcode == LDNS_RCODE_NOERROR && safe.address_count == 0);
	ret = ask(config, test, origin, "A", true, &own);
	if (ret < 0)
		return ret;
	bool same = exists && ret == 1 && own.rcode == LDNS_RCODE_NOERROR && addresses_meet(&safe, &own);
	if (same)
		snprintf(test->found, sizeof test->found, "leads where %.200s itself is", origin);
	if (gone || same)
		selftest->engines_failed |= UINT64_C(1) << test->engine;
	test->passed = exists && !same;
	return 0;
}

/* ---- all ---- */

static int ask_case(struct selftest *selftest, struct selftest_case *test)
{
	struct answer answer;

	if (test->want == WANT_SAFE)
		return ask_safe_name(selftest, test);
	int ret = ask(selftest->config, test, test->name, "A", false, &answer);
	if (ret <= 0) {
		snprintf(test->found, sizeof test->found, "no answer");
		return ret;
	}
	found_text(&answer, test->found);
	test->passed = is_wanted(test, selftest->config, &answer);
	return 0;
}

int selftest_ask(struct selftest *selftest)
{
	int ret = 0;

	for (size_t i = 0; i < selftest->count && ret == 0; i++) {
		ret = ask_case(selftest, &selftest->cases[i]);
		selftest->passed += selftest->cases[i].passed;
	}
	return ret;
}

const char *selftest_want_text(enum selftest_want want)
{
	static const char *const texts[] = { [WANT_BLOCK] = "blocked",
		[WANT_PASS] = "resolves",
		[WANT_OPEN] = "not blocked",
		[WANT_REWRITE] = "safe search",
		[WANT_NOTHING] = "no such name",
		[WANT_HIDDEN] = "hidden",
		[WANT_SAFE] = "safe name works" };

	return texts[want];
}
