/* Signed messages: ldns is the other side, so that both must mean the same by RFC 8945. */
#include <errno.h>
#include <ldns/ldns.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "blocklists/tsig.h"

#define SECRET "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBsaXN0cw=="

static const struct tsig_key key = { "lists.example", "hmac-sha256", SECRET };

/* One exchange with ldns as the primary. */
struct exchange {
	struct tsig tsig;
	uint8_t query[1024];
	size_t query_len;
	ldns_rdf *mac; /* the last one the primary made */
	char why[LISTS_WHY_MAX];
};

static ldns_rdf *mac_of(const ldns_pkt *packet)
{
	return ldns_rdf_clone(ldns_rr_rdf(ldns_pkt_tsig(packet), 3));
}

static void begin(struct exchange *exchange, const struct tsig_key *with, int64_t now)
{
	static const uint8_t question[] = { 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 252, 0, 1 };
	ldns_pkt *packet;

	memset(exchange, 0, sizeof *exchange);
	tsig_init(&exchange->tsig, with);
	exchange->query[1] = 77;
	exchange->query[5] = 1;
	memcpy(exchange->query + 12, question, sizeof question);
	exchange->query_len = tsig_sign(
	        &exchange->tsig, exchange->query, 12 + sizeof question, sizeof exchange->query, now);
	assert_true(exchange->query_len > 12 + sizeof question);
	assert_int_equal(ldns_wire2pkt(&packet, exchange->query, exchange->query_len), LDNS_STATUS_OK);
	exchange->mac = mac_of(packet);
	ldns_pkt_free(packet);
}

static void end(struct exchange *exchange)
{
	tsig_clear(&exchange->tsig);
	ldns_rdf_deep_free(exchange->mac);
}

/* A message of the primary's, signed with the secret (NULL: not at all), then bent at octet `bend` (-1: not).
 */
static int answer(struct exchange *exchange, const char *secret, bool first, long bend, int64_t now)
{
	ldns_pkt *packet = ldns_pkt_new();
	ldns_rr *rr;
	uint8_t *wire;
	size_t len;

	assert_int_equal(ldns_rr_new_frm_str(&rr, "x.example. 60 IN CNAME .", 0, NULL, NULL), LDNS_STATUS_OK);
	ldns_pkt_set_id(packet, 77);
	ldns_pkt_set_qr(packet, true);
	ldns_pkt_push_rr(packet, LDNS_SECTION_ANSWER, rr);
	if (secret != NULL) {
		assert_int_equal(ldns_pkt_tsig_sign_next(packet, "lists.example.", secret, 300,
		                         "hmac-sha256.", exchange->mac, !first),
		        LDNS_STATUS_OK);
		ldns_rdf_deep_free(exchange->mac);
		exchange->mac = mac_of(packet);
	}
	assert_int_equal(ldns_pkt2wire(&wire, packet, &len), LDNS_STATUS_OK);
	if (bend >= 0)
		wire[bend] ^= 1;
	int ret = tsig_verify(&exchange->tsig, wire, len, now, exchange->why);
	free(wire);
	ldns_pkt_free(packet);
	return ret;
}

static void query_is_one_that_ldns_takes(void **state)
{
	static const char *const names[] = { "hmac-sha256", "hmac-sha512",
		"hmac-sha1" }; /* all that ldns has */
	struct exchange exchange;
	ldns_pkt *packet;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const struct tsig_key with = { "lists.example", names[i], SECRET };
		begin(&exchange, &with, time(NULL));
		assert_int_equal(ldns_wire2pkt(&packet, exchange.query, exchange.query_len), LDNS_STATUS_OK);
		assert_true(ldns_pkt_tsig_verify(
		        packet, exchange.query, exchange.query_len, "lists.example.", SECRET, NULL));
		ldns_pkt_free(packet);
		end(&exchange);
	}
}

static void signed_stream_is_taken(void **state)
{
	struct exchange exchange;

	begin(&exchange, &key, time(NULL));
	assert_false(tsig_is_complete(&exchange.tsig));
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(answer(&exchange, SECRET, i == 0, -1, time(NULL)), 0);
		assert_true(tsig_is_complete(&exchange.tsig));
	}
	assert_int_equal(answer(&exchange, NULL, false, -1, time(NULL)), 0);
	assert_false(tsig_is_complete(&exchange.tsig));
	end(&exchange);
}

static void other_secret_is_refused(void **state)
{
	struct exchange exchange;

	begin(&exchange, &key, time(NULL));
	assert_int_equal(answer(&exchange, "b3RoZXI=", true, -1, time(NULL)), -EKEYREJECTED);
	assert_string_equal(exchange.why, "the signature of the answer is wrong");
	end(&exchange);
}

static void first_answer_must_be_signed(void **state)
{
	struct exchange exchange;

	begin(&exchange, &key, time(NULL));
	assert_int_equal(answer(&exchange, NULL, true, -1, time(NULL)), -EKEYREJECTED);
	assert_string_equal(exchange.why, "the answer is not signed");
	end(&exchange);
}

static void unsigned_messages_have_an_end(void **state)
{
	struct exchange exchange;
	int ret;

	begin(&exchange, &key, time(NULL));
	assert_int_equal(answer(&exchange, SECRET, true, -1, time(NULL)), 0);
	for (unsigned i = 0; i < 99; i++)
		assert_int_equal(answer(&exchange, NULL, false, -1, time(NULL)), 0);
	ret = answer(&exchange, NULL, false, -1, time(NULL));
	assert_int_equal(ret, -EKEYREJECTED);
	end(&exchange);
}

/* The ID is not signed: its original is. */
static void every_bent_octet_is_refused(void **state)
{
	struct exchange exchange;

	for (long i = 2; i < 34; i++) {
		begin(&exchange, &key, time(NULL));
		assert_int_equal(answer(&exchange, SECRET, true, -1, time(NULL)), 0);
		/* One that no longer ends in a signature may stand inside a stream, but not end it. */
		int ret = answer(&exchange, SECRET, false, i, time(NULL));
		assert_false(ret == 0 && tsig_is_complete(&exchange.tsig));
		end(&exchange);
	}
}

static void old_signature_is_refused(void **state)
{
	struct exchange exchange;

	begin(&exchange, &key, time(NULL));
	assert_int_equal(
	        answer(&exchange, SECRET, true, -1, time(NULL) + 310), -EKEYREJECTED); /* fudge: 300 */
	assert_non_null(strstr(exchange.why, "clocks"));
	end(&exchange);
}

static void octets_that_are_no_message_are_refused(void **state)
{
	static const uint8_t loop[] = { 0, 77, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0xc0, 12, 0, 1, 0, 1 };
	struct exchange exchange;

	begin(&exchange, &key, time(NULL));
	for (size_t len = 0; len <= sizeof loop; len++) {
		assert_int_equal(
		        tsig_verify(&exchange.tsig, loop, len, time(NULL), exchange.why), -EKEYREJECTED);
		assert_int_equal(tsig_error(loop, len), 0);
	}
	for (size_t len = 0; len < exchange.query_len; len++)
		assert_int_equal(tsig_verify(&exchange.tsig, exchange.query, len, time(NULL), exchange.why),
		        -EKEYREJECTED);
	end(&exchange);
}

static void wrong_keys_are_told(void **state)
{
	const struct tsig_key none = { "", "hmac-sha256", "" }, algorithm = { "k", "hmac-md5", SECRET },
	                      secret = { "k", "hmac-sha256", "%%%" },
	                      name = { "a..b", "hmac-sha256", SECRET };

	assert_null(tsig_key_wrong(&none));
	assert_null(tsig_key_wrong(&key));
	assert_non_null(tsig_key_wrong(&algorithm));
	assert_non_null(tsig_key_wrong(&secret));
	assert_non_null(tsig_key_wrong(&name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_is_one_that_ldns_takes),
		cmocka_unit_test(signed_stream_is_taken),
		cmocka_unit_test(other_secret_is_refused),
		cmocka_unit_test(first_answer_must_be_signed),
		cmocka_unit_test(unsigned_messages_have_an_end),
		cmocka_unit_test(every_bent_octet_is_refused),
		cmocka_unit_test(old_signature_is_refused),
		cmocka_unit_test(octets_that_are_no_message_are_refused),
		cmocka_unit_test(wrong_keys_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
