#include "resolver/answer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dns_text.h"
#include "resolver/config.h"

#define WWW "wWw.exAmple.com."

static struct dns_wire query_wire;
static struct message query;
static uint8_t out[65535];
static char text[65536];
static struct answer_room room, edit_room;
static struct answer_stored stored, edited;

static const struct answer_edns no_ede = { .ede = EDE_NONE };

static void ask(const char *name, uint16_t type, uint16_t size, bool do_bit)
{
	dns_query(&query_wire, name, type, size, do_bit);
	assert_int_equal(message_read(&query, query_wire.octets, query_wire.len), 0);
}

/* The query again, after options or flags were changed. */
static void ask_again(void)
{
	assert_int_equal(message_read(&query, query_wire.octets, query_wire.len), 0);
}

static struct name name_of(const char *name)
{
	struct name n;

	assert_int_equal(name_from_text(&n, name, strlen(name)), 0);
	return n;
}

static uint16_t flags_of(const uint8_t *wire)
{
	return wire_read16(wire + 2);
}

static void assert_records(const uint8_t *wire, size_t len, const char *expected)
{
	dns_text(text, sizeof text, wire, len);
	assert_string_equal(text, expected);
}

/* The option's data in the OPT that ldns sees, as text; "" if there is none. */
static const char *option(const uint8_t *wire, size_t len, uint16_t code, size_t *data_len)
{
	static char data[65536];
	ldns_pkt *packet = dns_read(wire, len);

	assert_non_null(packet);
	data[0] = '\0';
	*data_len = 0;
	ldns_rdf *all = ldns_pkt_edns_data(packet);
	for (size_t at = 0; all != NULL && at + 4 <= ldns_rdf_size(all);) {
		const uint8_t *p = ldns_rdf_data(all) + at;
		size_t n = wire_read16(p + 2);
		if (wire_read16(p) == code) {
			memcpy(data, p + 4, n);
			data[n] = '\0';
			*data_len = n;
		}
		at += 4 + n;
	}
	ldns_pkt_free(packet);
	return data;
}

static bool has_opt(const uint8_t *wire, size_t len)
{
	ldns_pkt *packet = dns_read(wire, len);

	assert_non_null(packet);
	bool has = ldns_pkt_edns(packet);
	ldns_pkt_free(packet);
	return has;
}

/* ---- the writer ---- */

static size_t blocked(size_t limit, const struct answer_edns *edns)
{
	struct answer_writer writer;

	answer_begin(&writer, out, limit, &query, RCODE_NXDOMAIN);
	answer_soa(&writer, NULL, 30);
	return answer_finish(&writer, edns);
}

static void ready_soa_is_octet_for_octet_the_packed_one(void **state)
{
	static const char *const names[] = { ".", "a.", WWW, "filter.usher.",
		"a-long-label-of-a-name.below.another.example." };
	static const uint8_t rdata[] =
	        "\6filter\5usher\0\6filter\5usher\0\0\0\0\1\0\0\16\20\0\0\2\130\0\1\121\200\0\0\0\16";
	struct answer_writer writer;
	uint8_t packed[512];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		ask(names[i], TYPE_A, 512, i % 2);
		answer_begin(&writer, packed, sizeof packed, &query, RCODE_NXDOMAIN);
		answer_record(&writer, SECTION_AUTHORITY, NULL, TYPE_SOA, 14, rdata, sizeof rdata - 1);
		size_t packed_len = answer_finish(&writer, NULL);
		answer_begin(&writer, out, 512, &query, RCODE_NXDOMAIN);
		answer_soa(&writer, NULL, 14);
		assert_int_equal(answer_finish(&writer, NULL), packed_len);
		assert_memory_equal(out, packed, packed_len);
	}
}

static void blocked_answer_keeps_case_and_has_soa_and_ede(void **state)
{
	const struct answer_edns edns = { .ede = EDE_BLOCKED, .ede_text = "gambling" };
	size_t data_len;

	ask(WWW, TYPE_HTTPS, 1232, true);
	size_t len = blocked(1232, &edns);
	assert_int_equal(wire_read16(out), 0x1234);
	assert_int_equal(flags_of(out), FLAG_QR | FLAG_RD | FLAG_RA | RCODE_NXDOMAIN);
	assert_memory_equal(out + 12, query.question, query.question_len);
	assert_records(
	        out, len, "--\n" WWW " 30 IN SOA filter.usher. filter.usher. 1 3600 600 86400 30\n--\n");
	const char *ede = option(out, len, 15, &data_len);
	assert_int_equal(data_len, 10);
	assert_memory_equal(ede, "\0\17gambling", 10);
	ldns_pkt *packet = dns_read(out, len);
	assert_int_equal(ldns_pkt_edns_udp_size(packet), 1232);
	assert_true(ldns_pkt_edns_do(packet));
	ldns_pkt_free(packet);
}

static void no_opt_for_who_sent_none(void **state)
{
	const struct answer_edns edns = {
		.ede = EDE_BLOCKED, .ede_text = "gambling", .nsid = "x", .keepalive = 100
	};

	ask(WWW, TYPE_A, 0, false);
	size_t len = blocked(512, &edns);
	assert_false(has_opt(out, len));
	len = blocked(512, NULL);
	assert_false(has_opt(out, len));
}

static void edns_may_be_null(void **state)
{
	ask(WWW, TYPE_A, 1232, false);
	size_t len = blocked(1232, NULL);
	assert_true(has_opt(out, len));
}

static void unreadable_question_gets_a_bare_header(void **state)
{
	static const uint8_t wire[] = "\1\2\1\20\0\2\0\0\0\0\0\0";
	struct answer_writer writer;

	assert_int_equal(message_read(&query, wire, sizeof wire - 1), RCODE_FORMERR);
	answer_begin(&writer, out, 512, &query, RCODE_FORMERR);
	assert_int_equal(answer_finish(&writer, &no_ede), 12);
	assert_memory_equal(out, "\1\2\201\221\0\0\0\0\0\0\0\0", 12);
}

static void other_opcode_is_echoed(void **state)
{
	struct answer_writer writer;

	ask(WWW, TYPE_SOA, 0, false);
	query_wire.octets[2] = OPCODE_NOTIFY << 3;
	assert_int_equal(message_read(&query, query_wire.octets, query_wire.len), RCODE_NOTIMP);
	answer_begin(&writer, out, 512, &query, RCODE_NOTIMP);
	answer_finish(&writer, NULL);
	assert_int_equal(flags_of(out), FLAG_QR | OPCODE_NOTIFY << 11 | FLAG_RA | RCODE_NOTIMP);
}

static void rcode_above_15_goes_into_the_opt(void **state)
{
	const struct answer_edns badcookie = { .ede = EDE_NONE, .extended_rcode = RCODE_BADCOOKIE };
	struct answer_writer writer;

	ask(WWW, TYPE_A, 1232, false);
	answer_begin(&writer, out, 1232, &query, RCODE_BADVERS);
	size_t len = answer_finish(&writer, NULL);
	assert_int_equal(flags_of(out) & 0xf, 0);
	assert_int_equal(out[len - 11 + 5], 1);
	answer_begin(&writer, out, 1232, &query, RCODE_NOERROR);
	len = answer_finish(&writer, &badcookie);
	assert_int_equal(flags_of(out) & 0xf, RCODE_BADCOOKIE & 0xf);
	assert_int_equal(out[len - 11 + 5], 1);
}

static void class_of_the_question_is_the_record_s(void **state)
{
	struct answer_writer writer;

	ask("version.bind.", TYPE_TXT, 0, false);
	wire_write16(query_wire.octets + query_wire.len - 2, CLASS_CH);
	ask_again();
	answer_begin(&writer, out, 512, &query, RCODE_NOERROR);
	answer_record(&writer, SECTION_ANSWER, NULL, TYPE_TXT, 0, (const uint8_t *)"\5usher", 6);
	size_t len = answer_finish(&writer, NULL);
	assert_records(out, len, "version.bind. 0 CH TXT \"usher\"\n--\n--\n");
}

static void ede_text_is_cut_between_characters(void **state)
{
	char long_text[2000] = "x";
	struct answer_edns edns = { .ede = EDE_BLOCKED, .ede_text = long_text };
	size_t data_len;

	while (strlen(long_text) < 1500)
		strcat(long_text, "€");
	ask(WWW, TYPE_A, 1232, false);
	for (size_t limit = 512; limit < 520; limit++) {
		size_t len = blocked(limit, &edns);
		assert_in_range(len, limit - 2, limit);
		const char *ede = option(out, len, 15, &data_len);
		assert_int_equal((data_len - 2 - 1) % 3, 0);
		assert_memory_equal(ede + 2, long_text, data_len - 2);
	}
}

static void cookie_nsid_and_keepalive_only_for_who_asked(void **state)
{
	const struct answer_edns edns = { .ede = EDE_NONE,
		.cookie = (const uint8_t *)"0123456789abcdef01234567",
		.cookie_len = 24,
		.nsid = "school",
		.keepalive = 300 };
	size_t data_len, len;

	ask(WWW, TYPE_A, 1232, false);
	len = blocked(1232, &edns);
	option(out, len, 10, &data_len);
	assert_int_equal(data_len, 0);
	option(out, len, 3, &data_len);
	assert_int_equal(data_len, 0);
	option(out, len, 11, &data_len);
	assert_int_equal(data_len, 0);

	size_t opt_at = query_wire.len - 11;
	dns_option(&query_wire, opt_at, 10, "01234567", 8);
	dns_option(&query_wire, opt_at, 3, NULL, 0);
	dns_option(&query_wire, opt_at, 11, NULL, 0);
	ask_again();
	len = blocked(1232, &edns);
	assert_memory_equal(option(out, len, 10, &data_len), "0123456789abcdef01234567", 24);
	assert_int_equal(data_len, 24);
	assert_memory_equal(option(out, len, 3, &data_len), "school", 6);
	assert_int_equal(data_len, 6);
	assert_memory_equal(option(out, len, 11, &data_len), "\1\54", 2);
	assert_int_equal(data_len, 2);
}

static void reply_too_big_is_an_empty_tc(void **state)
{
	uint8_t txt[256] = { 255 };
	struct answer_writer writer;

	ask(WWW, TYPE_TXT, 0, false);
	answer_begin(&writer, out, 512, &query, RCODE_NOERROR);
	for (int i = 0; i < 3; i++)
		answer_record(&writer, SECTION_ANSWER, NULL, TYPE_TXT, 60, txt, sizeof txt);
	answer_record(&writer, SECTION_ANSWER, NULL, TYPE_TXT, 60, (const uint8_t *)"\1x", 2);
	size_t len = answer_finish(&writer, NULL);
	assert_int_equal(len, 12 + query.question_len);
	assert_true(flags_of(out) & FLAG_TC);
	assert_records(out, len, "--\n--\n");
}

static void malformed_record_of_ours_is_left_out(void **state)
{
	struct answer_writer writer;

	ask(WWW, TYPE_MX, 0, false);
	answer_begin(&writer, out, 512, &query, RCODE_NOERROR);
	answer_record(&writer, SECTION_ANSWER, NULL, TYPE_MX, 60, (const uint8_t *)"\0", 1);
	answer_record(&writer, SECTION_ANSWER, NULL, TYPE_MX, 60, (const uint8_t *)"\0\12\1m", 5);
	size_t len = answer_finish(&writer, &no_ede);
	assert_records(out, len, WWW " 60 IN MX 10 m.\n--\n--\n");
}

static void rewrite_is_cname_and_the_target_s_own_records(void **state)
{
	struct answer_writer writer;
	struct dns_wire wire;
	struct name target = name_of("forcesafesearch.google.com");

	dns_message(&wire, "forcesafesearch.google.com.", TYPE_A, 0, true,
	        "forcesafesearch.google.com. 300 IN CNAME Real.google.com.\n"
	        "Real.google.com. 100 IN A 216.239.38.120\nreal.google.com. 100 IN A 216.239.38.121\n"
	        "real.google.com. 100 IN RRSIG A 8 3 100 20380101000000 20200101000000 1 google.com. AAAA");
	assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, true), 0);
	ask("www.Google.com.", TYPE_A, 1232, true);
	answer_begin(&writer, out, 1232, &query, RCODE_NOERROR);
	answer_record(&writer, SECTION_ANSWER, NULL, TYPE_CNAME, 300, target.wire, target.len);
	answer_copy(&writer, &stored, 60, 200);
	size_t len = answer_finish(&writer, &no_ede);
	assert_records(out, len,
	        "www.Google.com. 300 IN CNAME forcesafesearch.google.com.\n"
	        "forcesafesearch.google.com. 200 IN CNAME Real.google.com.\n"
	        "Real.google.com. 40 IN A 216.239.38.120\nReal.google.com. 40 IN A 216.239.38.121\n--\n--\n");
}

static void rewrite_without_address_has_the_target_s_soa(void **state)
{
	struct answer_writer writer;
	struct dns_wire wire;

	dns_message(&wire, "safe.example.com.", TYPE_AAAA, 0, true,
	        "--\nexample.com. 300 IN SOA ns.example.com. host.example.com. 1 2 3 4 60\n"
	        "safe.example.com. 300 IN NSEC zzz.example.com. A");
	assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, true), 0);
	ask(WWW, TYPE_AAAA, 1232, true);
	answer_begin(&writer, out, 1232, &query, RCODE_NOERROR);
	answer_copy(&writer, &stored, 0, 3600);
	size_t len = answer_finish(&writer, &no_ede);
	assert_records(
	        out, len, "--\nexAmple.com. 60 IN SOA ns.exAmple.com. host.exAmple.com. 1 2 3 4 60\n--\n");
}

static void flags_are_set_and_cleared(void **state)
{
	struct answer_writer writer;

	ask(WWW, TYPE_A, 0, false);
	query_wire.octets[3] |= FLAG_CD;
	ask_again();
	answer_begin(&writer, out, 512, &query, RCODE_NOERROR);
	answer_flags(&writer, FLAG_AA | FLAG_AD, FLAG_RA);
	answer_finish(&writer, NULL);
	assert_int_equal(flags_of(out), FLAG_QR | FLAG_AA | FLAG_RD | FLAG_AD | FLAG_CD);
}

/* ---- normal form ---- */

static void assert_ttl_places(const struct answer_stored *answer)
{
	struct message_walk walk;
	struct message_record record;
	unsigned i = 0;

	assert_int_equal(message_walk_start(&walk, answer->wire, answer->len), 0);
	while (message_walk_next(&walk, &record) > 0) {
		assert_true(i < answer->ttl_count);
		assert_int_equal(answer->ttl_at[i++], record.ttl_at);
	}
	assert_int_equal(i, answer->ttl_count);
	assert_int_equal(walk.pos, answer->len);
}

static void normalise(const char *name, uint16_t type, uint8_t rcode, bool dnssec_ok, const char *records)
{
	struct dns_wire wire;

	dns_message(&wire, name, type, rcode, true, records);
	assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, dnssec_ok), 0);
	assert_ttl_places(&stored);
}

#define SIG(type) "RRSIG " type " 8 2 300 20380101000000 20200101000000 1 example.com. AAAA"

static const char signed_www[] =
        "www.example.com. 300 IN A 192.0.2.1\n"
        "www.example.com. 300 IN " SIG("A") "\n--\n"
                                            "example.com. 900 IN NS ns.example.com.\n"
                                            "example.com. 900 IN " SIG(
                                                    "NS") "\n--\n"
                                                          "ns.example.com. 900 IN A 192.0.2.53";

static void only_the_answer_is_kept(void **state)
{
	normalise(WWW, TYPE_A, 0, false, signed_www);
	assert_records(stored.wire, stored.len, WWW " 300 IN A 192.0.2.1\n--\n--\n");
	assert_int_equal(stored.flags, ANSWER_HAS_ADDRESS);
	assert_int_equal(stored.rcode, 0);
	assert_int_equal(stored.ttl_s, 300);
}

static void signatures_are_kept_for_do(void **state)
{
	normalise(WWW, TYPE_A, 0, true, signed_www);
	assert_int_equal(stored.ttl_count, 2);
	assert_records(stored.wire, stored.len,
	        WWW " 300 IN A 192.0.2.1\n" WWW
	            " 300 IN RRSIG A 8 2 300 20380101000000 20200101000000 1 example.com. AAAA\n--\n--\n");
}

static void asked_for_dnssec_types_need_no_do(void **state)
{
	normalise(WWW, TYPE_RRSIG, 0, false, "www.example.com. 300 IN " SIG("A"));
	assert_int_equal(stored.ttl_count, 1);
	assert_false(stored.flags & ANSWER_NEGATIVE);
	normalise(WWW, TYPE_NSEC, 0, false,
	        "www.example.com. 300 IN NSEC a.example.com. A\nwww.example.com. 300 IN " SIG("NSEC"));
	assert_int_equal(stored.ttl_count, 1);
	normalise(WWW, TYPE_ANY, 0, false, signed_www);
	assert_int_equal(stored.ttl_count, 2);
}

static const char negative[] =
        "--\nexample.com. 900 IN SOA ns.example.com. host.example.com. 1 2 3 4 600\n"
        "example.com. 900 IN " SIG(
                "SOA") "\n"
                       "example.com. 900 IN NSEC zzz.example.com. A\nexample.com. 900 IN " SIG(
                               "NSEC") "\n"
                                       "example.com. 900 IN NS ns.example.com.";

static void nxdomain_has_soa_and_its_minimum(void **state)
{
	normalise(WWW, TYPE_A, RCODE_NXDOMAIN, false, negative);
	assert_int_equal(stored.rcode, RCODE_NXDOMAIN);
	assert_int_equal(stored.flags, ANSWER_NEGATIVE);
	assert_int_equal(stored.ttl_s, 600);
	assert_records(stored.wire, stored.len,
	        "--\nexAmple.com. 600 IN SOA ns.exAmple.com. host.exAmple.com. 1 2 3 4 600\n--\n");
}

static void nodata_for_do_has_proof(void **state)
{
	normalise(WWW, TYPE_A, RCODE_NOERROR, true, negative);
	assert_int_equal(stored.flags, ANSWER_NEGATIVE);
	assert_int_equal(stored.ttl_count, 4);
}

static void negative_ttl_is_at_most_an_hour(void **state)
{
	normalise(WWW, TYPE_A, RCODE_NXDOMAIN, false, "--\nexample.com. 90000 IN SOA a. b. 1 2 3 4 90000");
	assert_int_equal(stored.ttl_s, 3600);
}

static void negative_without_soa_lives_5_seconds(void **state)
{
	normalise(WWW, TYPE_A, RCODE_NXDOMAIN, false, "");
	assert_int_equal(stored.ttl_s, 5);
	normalise(WWW, TYPE_A, RCODE_NOERROR, false, "www.example.com. 300 IN CNAME web.example.com.");
	assert_int_equal(stored.ttl_s, 5);
	assert_int_equal(stored.flags, ANSWER_NEGATIVE | ANSWER_HAS_HOP);
	normalise(WWW, TYPE_A, RCODE_NXDOMAIN, false, "--\nother.org. 90 IN SOA a. b. 1 2 3 4 90");
	assert_int_equal(stored.ttl_count, 0);
	assert_int_equal(stored.ttl_s, 5);
}

static void failures_live_5_seconds(void **state)
{
	normalise(WWW, TYPE_A, RCODE_REFUSED, false, "");
	assert_int_equal(stored.ttl_s, 5);
	assert_int_equal(stored.rcode, RCODE_REFUSED);
	assert_int_equal(stored.flags, 0);
}

static void wildcard_keeps_its_proof_for_do_only(void **state)
{
	static const char wildcard[] = "www.example.com. 300 IN A 192.0.2.1\nwww.example.com. 300 IN " SIG(
	        "A") "\n--\n"
	             "a.example.com. 60 IN NSEC zzz.example.com. A\n"
	             "a.example.com. 60 IN " SIG("NSEC") "\nexample.com. 300 IN NS ns.example.com.";

	normalise(WWW, TYPE_A, 0, true, wildcard);
	assert_int_equal(stored.ttl_count, 4);
	assert_int_equal(stored.ttl_s, 60);
	normalise(WWW, TYPE_A, 0, false, wildcard);
	assert_int_equal(stored.ttl_count, 1);
}

static void chain_is_kept_in_any_order(void **state)
{
	normalise(WWW, TYPE_A, 0, false,
	        "c.example.net. 60 IN A 192.0.2.1\nb.example.net. 30 IN CNAME c.example.net.\n"
	        "www.example.com. 300 IN CNAME b.example.net.");
	assert_int_equal(stored.ttl_count, 3);
	assert_int_equal(stored.ttl_s, 30);
	assert_int_equal(stored.flags, ANSWER_HAS_HOP | ANSWER_HAS_ADDRESS);
}

static void foreign_records_are_dropped(void **state)
{
	normalise(WWW, TYPE_A, 0, false,
	        "www.example.com. 300 IN A 192.0.2.1\nevil.example.net. 300 IN A 10.0.0.1\n"
	        "example.com. 300 IN A 10.0.0.1\nwww.example.com. 300 IN TXT \"x\"\nwww.example.com. 300 CH "
	        "A 10.0.0.1");
	assert_records(stored.wire, stored.len, WWW " 300 IN A 192.0.2.1\n--\n--\n");
	assert_int_equal(stored.flags, ANSWER_HAS_ADDRESS);
}

static void signatures_go_with_what_they_sign(void **state)
{
	normalise(WWW, TYPE_A, 0, true,
	        "www.example.com. 300 IN A 192.0.2.1\nwww.example.com. 300 IN TXT \"x\"\n"
	        "www.example.com. 300 IN " SIG("TXT") "\nother.example.com. 300 IN " SIG("A"));
	assert_int_equal(stored.ttl_count, 1);
}

static void chain_in_a_loop_ends(void **state)
{
	normalise(WWW, TYPE_A, 0, false,
	        "www.example.com. 300 IN CNAME b.example.com.\nb.example.com. 300 IN CNAME www.example.com.");
	assert_int_equal(stored.ttl_count, 2);
	assert_true(stored.flags & ANSWER_NEGATIVE);
}

static void dname_is_part_of_the_chain(void **state)
{
	normalise(WWW, TYPE_A, 0, true,
	        "example.com. 300 IN DNAME Example.net.\nexample.com. 300 IN " SIG(
	                "DNAME") "\n"
	                         "www.example.com. 300 IN CNAME www.example.net.\nwww.example.net. 300 IN A "
	                         "192.0.2.1\n"
	                         "example.org. 300 IN DNAME example.net.");
	assert_records(stored.wire, stored.len,
	        "exAmple.com. 300 IN DNAME Example.net.\n"
	        "exAmple.com. 300 IN RRSIG DNAME 8 2 300 20380101000000 20200101000000 1 example.com. "
	        "AAAA\n" WWW " 300 IN CNAME www.Example.net.\nwww.Example.net. 300 IN A 192.0.2.1\n--\n--\n");
}

static void ttl_with_top_bit_is_zero_and_weeks_are_cut(void **state)
{
	struct dns_wire wire;

	dns_message(&wire, WWW, TYPE_A, 0, false, "www.example.com. 300 IN A 192.0.2.1");
	wire_write32(wire.octets + wire.len - 10, 0x80000001);
	assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, false), 0);
	assert_int_equal(stored.ttl_s, 0);
	wire_write32(wire.octets + wire.len - 10, 0x7fffffff);
	assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, false), 0);
	assert_int_equal(stored.ttl_s, 7 * 86400);
	assert_int_equal(wire_read32(stored.wire + stored.ttl_at[0]), 7 * 86400);
}

static void names_in_rdata_survive_repacking(void **state)
{
	static const struct {
		uint16_t type;
		const char *line;
	} cases[] = {
		{ TYPE_NS, "NS Ns.example.com." },
		{ TYPE_MX, "MX 10 Mail.example.com." },
		{ TYPE_PTR, "PTR Living\\032Room.example.com." },
		{ TYPE_SRV, "SRV 1 2 443 Srv.example.com." },
		{ TYPE_SOA, "SOA ns.example.com. Host.example.com. 1 2 3 4 5" },
		{ 17, "RP host.example.com. txt.example.com." },
		{ 35, "NAPTR 100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:x!\" r.example.com." },
		{ TYPE_TXT, "TXT \"a\" \"b\"" },
		{ 257, "CAA 0 issue \"ca.example.net\"" },
		{ TYPE_DNSKEY, "DNSKEY 257 3 8 AAAA" },
		{ 65280, "TYPE65280 \\# 3 c00c00" },
	};
	char line[256], expected[256];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(line, sizeof line, "www.example.com. 300 IN %s\nwww.example.com. 300 IN %s",
		        cases[i].line, cases[i].line);
		snprintf(expected, sizeof expected, "www.example.com. 300 IN %s", cases[i].line);
		normalise("www.example.com.", cases[i].type, 0, false, line);
		assert_int_equal(stored.ttl_count, 2);
		dns_text(text, sizeof text, stored.wire, stored.len);
		assert_true(strncasecmp(text, expected, strlen(expected)) == 0);
	}
}

static void case_of_targets_is_kept(void **state)
{
	normalise("www.example.com.", TYPE_PTR, 0, false,
	        "www.example.com. 300 IN PTR Living\\032Room.Example.net.");
	assert_records(stored.wire, stored.len,
	        "www.example.com. 300 IN PTR Living\\032Room.Example.net.\n--\n--\n");
}

static void names_are_compressed(void **state)
{
	struct dns_wire wire;

	dns_message(&wire, WWW, TYPE_A, 0, false,
	        "www.example.com. 300 IN CNAME a.cdn.example.net.\na.cdn.example.net. 60 IN A 192.0.2.1\n"
	        "a.cdn.example.net. 60 IN A 192.0.2.2");
	assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, false), 0);
	assert_true(stored.len <= wire.len);
}

static void facts_are_seen(void **state)
{
	normalise(WWW, TYPE_AAAA, 0, false, "www.example.com. 300 IN AAAA fd00::1");
	assert_int_equal(stored.flags, ANSWER_HAS_ADDRESS | ANSWER_HAS_PRIVATE);
	normalise(WWW, TYPE_HTTPS, 0, false, "www.example.com. 300 IN HTTPS 1 . alpn=h2");
	assert_int_equal(stored.flags, 0);
	normalise(WWW, TYPE_HTTPS, 0, false,
	        "www.example.com. 300 IN HTTPS 1 . ipv4hint=192.0.2.1,192.168.0.1");
	assert_int_equal(stored.flags, ANSWER_HAS_ADDRESS | ANSWER_HAS_PRIVATE);
	normalise(WWW, TYPE_HTTPS, 0, false, "www.example.com. 300 IN HTTPS 1 svc.example.net. ech=AAAA");
	assert_int_equal(stored.flags, ANSWER_HAS_HOP | ANSWER_HAS_ECH);
	normalise(WWW, TYPE_SVCB, 0, false, "www.example.com. 300 IN SVCB 0 svc.example.net.");
	assert_int_equal(stored.flags, ANSWER_HAS_HOP);
}

static void private_means_these_networks(void **state)
{
	static const struct {
		const char *address;
		bool private;
	} cases[] = {
		{ "9.255.255.255", false },
		{ "10.0.0.0", true },
		{ "10.255.255.255", true },
		{ "11.0.0.0", false },
		{ "172.15.255.255", false },
		{ "172.16.0.0", true },
		{ "172.31.255.255", true },
		{ "172.32.0.0", false },
		{ "192.167.255.255", false },
		{ "192.168.0.0", true },
		{ "192.168.255.255", true },
		{ "192.169.0.0", false },
		{ "126.255.255.255", false },
		{ "127.0.0.1", true },
		{ "128.0.0.0", false },
		{ "169.253.255.255", false },
		{ "169.254.0.1", true },
		{ "169.255.0.0", false },
		{ "100.64.0.1", false },
		{ "0.0.0.0", true },
		{ "0.255.255.255", true },
		{ "1.0.0.0", false },
		{ "::1", true },
		{ "::", true },
		{ "::2", false },
		{ "fe7f::1", false },
		{ "fe80::1", true },
		{ "febf::1", true },
		{ "fec0::1", false },
		{ "fbff::1", false },
		{ "fc00::1", true },
		{ "fdff::1", true },
		{ "fe00::1", false },
		{ "::ffff:10.1.2.3", true },
		{ "::ffff:0.0.0.0", true },
		{ "::ffff:0:0", true },
		{ "::ffff:8.8.8.8", false },
		{ "2001:db8::1", false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t address[16] = { [10] = 0xff, 0xff };
		bool v4 = strchr(cases[i].address, ':') == NULL;
		assert_int_equal(
		        inet_pton(v4 ? AF_INET : AF_INET6, cases[i].address, v4 ? address + 12 : address), 1);
		assert_int_equal(answer_address_is_private(address), cases[i].private);
	}
}

static void malformed_rdata_is_refused(void **state)
{
	static const struct {
		uint16_t type;
		const char *rdata;
		uint16_t len;
	} cases[] = {
		{ TYPE_A, "\1\2\3", 3 },
		{ TYPE_A, "\1\2\3\4\5", 5 },
		{ TYPE_AAAA, "\1\2\3\4", 4 },
		{ TYPE_CNAME, "\1a", 2 },
		{ TYPE_CNAME, "\1a\0x", 4 },
		{ TYPE_CNAME, "\300\377", 2 },
		{ TYPE_MX, "\0", 1 },
		{ 35, "\0\0\0\0\377", 5 },
		{ TYPE_HTTPS, "\0", 1 },
		{ TYPE_HTTPS, "\0\1\300\14", 4 },
		{ TYPE_HTTPS, "\0\1\0\0\4\0\3abc", 10 },
		{ TYPE_HTTPS, "\0\1\0\0\4\0\0", 7 },
		{ TYPE_HTTPS, "\0\1\0\0\6\0\4abcd", 11 },
		{ TYPE_HTTPS, "\0\1\0\0\1\0\5abcd", 11 },
		{ TYPE_HTTPS, "\0\1\0\0\5\0\0\0\1\0\0", 11 },
		{ TYPE_HTTPS, "\0\1\0\0\1", 5 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct dns_wire wire;
		dns_message(&wire, WWW, cases[i].type, 0, false, "");
		uint8_t *p = wire.octets + wire.len;
		memcpy(p, "\300\14\0\0\0\1\0\0\0\1\0\0", 12);
		wire_write16(p + 2, cases[i].type);
		wire_write16(p + 10, cases[i].len);
		memcpy(p + 12, cases[i].rdata, cases[i].len);
		wire.len += 12u + cases[i].len;
		wire.octets[7] = 1;
		assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, false), -EBADMSG);
	}
}

static void every_truncated_answer_is_refused(void **state)
{
	struct dns_wire wire;

	dns_message(&wire, WWW, TYPE_A, 0, true, signed_www);
	for (size_t len = 0; len < wire.len; len++) {
		uint8_t *exact = malloc(len > 0 ? len : 1);
		memcpy(exact, wire.octets, len);
		assert_int_equal(answer_normalise(&stored, &room, exact, len, true), -EBADMSG);
		free(exact);
	}
}

/* ---- to a client ---- */

static size_t reply(size_t limit, uint32_t age_s, uint32_t max_ttl_s, bool stale)
{
	return answer_from_stored(out, limit, &query, &stored, age_s, max_ttl_s, stale, &no_ede);
}

static void hit_has_the_client_s_id_and_case(void **state)
{
	normalise("www.example.com.", TYPE_A, 0, false, signed_www);
	ask("WWW.EXAMPLE.com.", TYPE_A, 1232, false);
	size_t len = reply(1232, 0, 3600, false);
	assert_int_equal(wire_read16(out), 0x1234);
	assert_int_equal(flags_of(out), FLAG_QR | FLAG_RD | FLAG_RA);
	assert_records(out, len, "WWW.EXAMPLE.com. 300 IN A 192.0.2.1\n--\n--\n");
	assert_true(has_opt(out, len));
	ask("www.example.com.", TYPE_A, 0, false);
	len = reply(512, 0, 3600, false);
	assert_int_equal(len, stored.len);
	assert_false(has_opt(out, len));
}

static uint32_t ttl_after(uint32_t age_s, uint32_t max_ttl_s, bool stale)
{
	reply(1232, age_s, max_ttl_s, stale);
	return wire_read32(out + stored.ttl_at[0]);
}

static void ttl_ages_between_1_and_max(void **state)
{
	normalise(WWW, TYPE_A, 0, false, signed_www);
	ask(WWW, TYPE_A, 1232, false);
	assert_int_equal(ttl_after(0, 3600, false), 300);
	assert_int_equal(ttl_after(100, 3600, false), 200);
	assert_int_equal(ttl_after(299, 3600, false), 1);
	assert_int_equal(ttl_after(300, 3600, false), 1);
	assert_int_equal(ttl_after(UINT32_MAX, 3600, false), 1);
	assert_int_equal(ttl_after(100, 60, false), 60);
	assert_int_equal(ttl_after(5000, 3600, true), 30);
	assert_int_equal(ttl_after(5000, 10, true), 10);
}

static void ad_is_for_who_understands_it(void **state)
{
	static const struct {
		bool do_bit, ad, cd, expected;
	} cases[] = {
		{ false, false, false, false },
		{ true, false, false, true },
		{ false, true, false, true },
		{ true, true, false, true },
		{ true, true, true, false },
		{ false, false, true, false },
	};

	normalise(WWW, TYPE_A, 0, false, signed_www);
	for (int secure = 0; secure < 2; secure++) {
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			stored.flags = secure ? stored.flags | ANSWER_SECURE : 0;
			ask(WWW, TYPE_A, 1232, cases[i].do_bit);
			query_wire.octets[3] =
			        (uint8_t)((cases[i].ad ? FLAG_AD : 0) | (cases[i].cd ? FLAG_CD : 0));
			ask_again();
			reply(1232, 0, 3600, false);
			assert_int_equal(!!(flags_of(out) & FLAG_AD), secure && cases[i].expected);
			assert_int_equal(!!(flags_of(out) & FLAG_CD), cases[i].cd);
		}
	}
}

static void truncated_answer_keeps_question(void **state)
{
	char records[4096] = "";

	for (int i = 0; i < 40; i++)
		snprintf(records + strlen(records), sizeof records - strlen(records),
		        "www.example.com. 300 IN A 192.0.2.%d\n", i);
	normalise(WWW, TYPE_A, 0, false, records);
	stored.flags |= ANSWER_SECURE;
	ask(WWW, TYPE_A, 512, true);
	size_t len = reply(512, 0, 3600, false);
	assert_true(flags_of(out) & FLAG_TC);
	assert_false(flags_of(out) & FLAG_AD);
	assert_memory_equal(out + 12, query.question, query.question_len);
	assert_records(out, len, "--\n--\n");
	assert_true(has_opt(out, len));
	/* The OPT is what makes it too big. */
	len = reply(stored.len + 10u, 0, 3600, false);
	assert_true(flags_of(out) & FLAG_TC);
	len = reply(stored.len + 11u, 0, 3600, false);
	assert_false(flags_of(out) & FLAG_TC);
	assert_int_equal(len, stored.len + 11u);
}

static void stale_answer_says_so(void **state)
{
	const struct answer_edns edns = { .ede = EDE_STALE, .ede_text = "upstream is down" };
	size_t data_len;

	normalise(WWW, TYPE_A, 0, false, signed_www);
	ask(WWW, TYPE_A, 1232, false);
	size_t len = answer_from_stored(out, 1232, &query, &stored, 9999, 3600, true, &edns);
	assert_memory_equal(option(out, len, 15, &data_len), "\0\3upstream is down", 18);
}

/* ---- edited for a profile ---- */

static int edit(const struct answer_edit *how)
{
	int ret = answer_edit(&edited, &edit_room, &stored, how);

	if (ret > 0)
		assert_ttl_places(&edited);
	return ret;
}

static const struct answer_edit everything = { .drop_private = true, .strip_ech = true };

static void nothing_to_edit_is_0(void **state)
{
	normalise(WWW, TYPE_A, 0, true, signed_www);
	assert_int_equal(edit(&everything), 0);
	normalise(WWW, TYPE_HTTPS, 0, true, "www.example.com. 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1");
	assert_int_equal(edit(&everything), 0);
	normalise(WWW, TYPE_A, 0, true, "www.example.com. 300 IN A 10.0.0.1");
	assert_int_equal(edit(&(struct answer_edit){ .strip_ech = true }), 0);
}

static void private_address_goes_and_its_signature(void **state)
{
	normalise(WWW, TYPE_A, 0, true,
	        "www.example.com. 300 IN CNAME b.example.com.\nwww.example.com. 300 IN " SIG(
	                "CNAME") "\n"
	                         "b.example.com. 60 IN A 10.0.0.1\nb.example.com. 60 IN A "
	                         "192.0.2.1\nb.example.com. 60 IN " SIG("A"));
	stored.flags |= ANSWER_SECURE | ANSWER_LISTED_HOP;
	assert_int_equal(edit(&everything), 1);
	assert_records(edited.wire, edited.len,
	        WWW " 300 IN CNAME b.exAmple.com.\n" WWW
	            " 300 IN RRSIG CNAME 8 2 300 20380101000000 20200101000000 1 example.com. AAAA\n"
	            "b.exAmple.com. 60 IN A 192.0.2.1\n--\n--\n");
	assert_int_equal(edited.flags, ANSWER_HAS_HOP | ANSWER_LISTED_HOP | ANSWER_HAS_ADDRESS);
	assert_int_equal(edited.ttl_s, stored.ttl_s);
}

static void no_address_left_is_nodata(void **state)
{
	normalise(WWW, TYPE_A, 0, true,
	        "www.example.com. 300 IN CNAME b.example.com.\nb.example.com. 60 IN A 127.0.0.1\n"
	        "b.example.com. 60 IN " SIG("A"));
	assert_int_equal(edit(&everything), 1);
	assert_int_equal(edited.rcode, RCODE_NOERROR);
	assert_int_equal(edited.flags, ANSWER_HAS_HOP | ANSWER_NEGATIVE);
	assert_records(edited.wire, edited.len, WWW " 300 IN CNAME b.exAmple.com.\n--\n--\n");
}

static void ech_and_private_hints_leave_https(void **state)
{
	normalise(WWW, TYPE_HTTPS, 0, true,
	        "www.example.com. 300 IN HTTPS 1 svc.example.net. mandatory=ipv4hint,ech alpn=h2 "
	        "ipv4hint=10.0.0.1,192.0.2.1 "
	        "ech=AAAA ipv6hint=fe80::1\nwww.example.com. 300 IN " SIG("HTTPS"));
	assert_int_equal(edit(&everything), 1);
	assert_records(edited.wire, edited.len,
	        WWW
	        " 300 IN HTTPS 1 svc.example.net. mandatory=ipv4hint alpn=h2 ipv4hint=192.0.2.1\n--\n--\n");
	assert_int_equal(edited.flags, ANSWER_HAS_HOP | ANSWER_HAS_ADDRESS);
}

static void mandatory_of_nothing_goes(void **state)
{
	normalise(WWW, TYPE_HTTPS, 0, false,
	        "www.example.com. 300 IN HTTPS 1 . mandatory=ech alpn=h2 ech=AAAA");
	assert_int_equal(edit(&everything), 1);
	assert_records(edited.wire, edited.len, WWW " 300 IN HTTPS 1 . alpn=h2\n--\n--\n");
	assert_int_equal(edited.flags, 0);
}

static void empty_values_survive_the_edit(void **state)
{
	normalise(WWW, TYPE_HTTPS, 0, false,
	        "www.example.com. 300 IN HTTPS 1 . alpn=h2 no-default-alpn ech=AAAA");
	assert_int_equal(edit(&everything), 1);
	assert_records(edited.wire, edited.len, WWW " 300 IN HTTPS 1 . alpn=h2 no-default-alpn\n--\n--\n");
}

static void edited_answer_goes_to_a_client(void **state)
{
	normalise("www.example.com.", TYPE_A, 0, true,
	        "www.example.com. 300 IN A 10.0.0.1\nwww.example.com. 300 IN A 192.0.2.1");
	stored.flags |= ANSWER_SECURE;
	assert_int_equal(edit(&everything), 1);
	ask(WWW, TYPE_A, 1232, true);
	size_t len = answer_from_stored(out, 1232, &query, &edited, 10, 3600, false, NULL);
	assert_records(out, len, WWW " 290 IN A 192.0.2.1\n--\n--\n");
	assert_false(flags_of(out) & FLAG_AD);
}

/* ---- properties ---- */

static uint32_t random_state = 20240907;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % n;
}

/* Whatever the recursor sends: no crash, no reply above the limit, none that ldns cannot read. */
static void try_answer(const uint8_t *wire, size_t len)
{
	static const size_t limits[] = { 512, 1232, 65535 };
	size_t limit = limits[random_below(3)];
	const struct answer_edns edns = { .ede = (int)random_below(25) - 1, .ede_text = "why" };
	struct answer_writer writer;

	if (answer_normalise(&stored, &room, wire, len, random_below(2)) < 0)
		return;
	assert_ttl_places(&stored);
	assert_in_range(stored.len, 12 + 5, 65535);
	if (edit(&everything) > 0)
		stored = edited;
	answer_begin(&writer, out, limit, &query, RCODE_NOERROR);
	answer_copy(&writer, &stored, 5, 3600);
	size_t reply_len = answer_finish(&writer, &edns);
	assert_in_range(reply_len, 12, limit);
	ldns_pkt *packet = dns_read(out, reply_len);
	ldns_pkt *as_stored = dns_read(stored.wire, stored.len);
	/* Rdata that we do not take apart is passed on as it came: then, and only then, ldns may refuse. */
	assert_true(packet != NULL || as_stored == NULL);
	ldns_pkt_free(packet);
	ldns_pkt_free(as_stored);

	/* The question of the entry is the client's, bar case. */
	if (stored.wire[12] != 3 || memcmp(stored.wire + 12, "\3www\7example\3com", 17) != 0)
		return;
	reply_len = answer_from_stored(out, limit, &query, &stored, 5, 3600, random_below(2), &edns);
	assert_in_range(reply_len, 12, limit);
}

static void damaged_answers_do_no_harm(void **state)
{
	static const char *const texts[] = { signed_www, negative,
		"www.example.com. 300 IN HTTPS 1 svc.example.net. mandatory=ipv4hint,ech alpn=h2 "
		"ipv4hint=10.0.0.1 ech=AAAA\n"
		"www.example.com. 300 IN HTTPS 0 alias.example.net.",
		"www.example.com. 300 IN CNAME b.example.com.\nb.example.com. 60 IN MX 1 m.example.com.\n"
		"b.example.com. 60 IN SRV 1 2 3 m.example.com.\n--\nexample.com. 60 IN SOA a.example.com. b. "
		"1 2 3 4 5" };
	static const uint16_t types[] = { TYPE_A, TYPE_A, TYPE_HTTPS, TYPE_ANY };
	struct dns_wire wire;

	ask("www.example.com.", TYPE_A, 1232, true);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned which = random_below(4);
		if (round % 1000 == 0 || round < 4)
			which = round % 4;
		dns_message(&wire, "www.example.com.", types[which], 0, true, texts[which]);
		for (unsigned flips = random_below(4); flips > 0; flips--)
			wire.octets[random_below((uint32_t)wire.len)] ^= (uint8_t)(1u << random_below(8));
		size_t len = random_below(8) == 0 ? random_below((uint32_t)wire.len) : wire.len;
		uint8_t *exact = malloc(len > 0 ? len : 1);
		memcpy(exact, wire.octets, len);
		try_answer(exact, len);
		free(exact);
	}
}

static void damaged_queries_get_readable_replies(void **state)
{
	const struct answer_edns edns = { .ede = EDE_BLOCKED,
		.ede_text = "text that is as long as it is because it should not always fit",
		.cookie = (const uint8_t *)"0123456789abcdef0123456789abcdef01234567",
		.cookie_len = 40,
		.nsid = "nsid",
		.keepalive = 1 };
	struct dns_wire wire;
	struct answer_writer writer;

	for (unsigned round = 0; round < 20000; round++) {
		dns_query(&wire, "www.example.com.", TYPE_A, 1232, true);
		dns_option(&wire, wire.len - 11, 10, "01234567", 8);
		for (unsigned flips = random_below(5); flips > 0; flips--)
			wire.octets[random_below((uint32_t)wire.len)] ^= (uint8_t)(1u << random_below(8));
		size_t len = random_below(8) == 0 ? random_below((uint32_t)wire.len) : wire.len;
		int ret = message_read(&query, wire.octets, len);
		if (ret < 0)
			continue;
		answer_begin(&writer, out, 512, &query, (uint8_t)ret);
		if (ret == 0)
			answer_soa(&writer, NULL, 30);
		size_t reply_len = answer_finish(&writer, &edns);
		assert_in_range(reply_len, 12, 512);
		ldns_pkt *packet = dns_read(out, reply_len);
		assert_non_null(packet);
		ldns_pkt_free(packet);
	}
}

/* The most records a message can hold, each as small as can be, and names that cannot be found again cheaply.
 */
static void largest_answers_are_bounded(void **state)
{
	struct dns_wire wire;

	dns_message(&wire, ".", TYPE_NULL, 0, false, "");
	while (wire.len + 11 <= sizeof wire.octets) {
		memcpy(wire.octets + wire.len, "\0\0\12\0\1\0\0\0\1\0\0", 11);
		wire.len += 11;
		wire_write16(wire.octets + 6, (uint16_t)(wire_read16(wire.octets + 6) + 1));
	}
	assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, false), 0);
	assert_int_equal(stored.ttl_count, wire_read16(wire.octets + 6));
	assert_ttl_places(&stored);
	/* A root answer's pointers are no longer than its root labels: nothing grows. */
	assert_int_equal(stored.len, wire.len);
}

/* Thousands of names that are short on the wire only by pointers: it may be refused, not overflow. */
static void answer_that_unpacks_badly_is_refused_or_fits(void **state)
{
	struct dns_wire wire;
	char name[255] = "";

	while (strlen(name) < 230)
		strcat(name, "abcdefghi.");
	dns_message(&wire, name, TYPE_NS, 0, false, "");
	size_t begin = wire.len;
	for (unsigned i = 0; wire.len + 20 <= sizeof wire.octets; i++) {
		uint8_t *p = wire.octets + wire.len;
		memcpy(p, "\300\14\0\2\0\1\0\0\0\1\0\6\3", 13);
		p[13] = (uint8_t)('a' + i % 26);
		p[14] = (uint8_t)('a' + i / 26 % 26);
		p[15] = (uint8_t)('a' + i / 676);
		wire_write16(p + 16, (uint16_t)(0xc000 | (i % 2 == 0 ? 12 : begin + 12)));
		wire.len += 18;
		wire_write16(wire.octets + 6, (uint16_t)(i + 1));
	}
	int ret = answer_normalise(&stored, &room, wire.octets, wire.len, false);
	assert_true(ret == 0 || ret == -EBADMSG);
	if (ret == 0)
		assert_ttl_places(&stored);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ready_soa_is_octet_for_octet_the_packed_one),
		cmocka_unit_test(blocked_answer_keeps_case_and_has_soa_and_ede),
		cmocka_unit_test(no_opt_for_who_sent_none),
		cmocka_unit_test(edns_may_be_null),
		cmocka_unit_test(unreadable_question_gets_a_bare_header),
		cmocka_unit_test(other_opcode_is_echoed),
		cmocka_unit_test(rcode_above_15_goes_into_the_opt),
		cmocka_unit_test(class_of_the_question_is_the_record_s),
		cmocka_unit_test(ede_text_is_cut_between_characters),
		cmocka_unit_test(cookie_nsid_and_keepalive_only_for_who_asked),
		cmocka_unit_test(reply_too_big_is_an_empty_tc),
		cmocka_unit_test(malformed_record_of_ours_is_left_out),
		cmocka_unit_test(rewrite_is_cname_and_the_target_s_own_records),
		cmocka_unit_test(rewrite_without_address_has_the_target_s_soa),
		cmocka_unit_test(flags_are_set_and_cleared),
		cmocka_unit_test(only_the_answer_is_kept),
		cmocka_unit_test(signatures_are_kept_for_do),
		cmocka_unit_test(asked_for_dnssec_types_need_no_do),
		cmocka_unit_test(nxdomain_has_soa_and_its_minimum),
		cmocka_unit_test(nodata_for_do_has_proof),
		cmocka_unit_test(negative_ttl_is_at_most_an_hour),
		cmocka_unit_test(negative_without_soa_lives_5_seconds),
		cmocka_unit_test(failures_live_5_seconds),
		cmocka_unit_test(wildcard_keeps_its_proof_for_do_only),
		cmocka_unit_test(chain_is_kept_in_any_order),
		cmocka_unit_test(foreign_records_are_dropped),
		cmocka_unit_test(signatures_go_with_what_they_sign),
		cmocka_unit_test(chain_in_a_loop_ends),
		cmocka_unit_test(dname_is_part_of_the_chain),
		cmocka_unit_test(ttl_with_top_bit_is_zero_and_weeks_are_cut),
		cmocka_unit_test(names_in_rdata_survive_repacking),
		cmocka_unit_test(case_of_targets_is_kept),
		cmocka_unit_test(names_are_compressed),
		cmocka_unit_test(facts_are_seen),
		cmocka_unit_test(private_means_these_networks),
		cmocka_unit_test(malformed_rdata_is_refused),
		cmocka_unit_test(every_truncated_answer_is_refused),
		cmocka_unit_test(hit_has_the_client_s_id_and_case),
		cmocka_unit_test(ttl_ages_between_1_and_max),
		cmocka_unit_test(ad_is_for_who_understands_it),
		cmocka_unit_test(truncated_answer_keeps_question),
		cmocka_unit_test(stale_answer_says_so),
		cmocka_unit_test(nothing_to_edit_is_0),
		cmocka_unit_test(private_address_goes_and_its_signature),
		cmocka_unit_test(no_address_left_is_nodata),
		cmocka_unit_test(ech_and_private_hints_leave_https),
		cmocka_unit_test(mandatory_of_nothing_goes),
		cmocka_unit_test(empty_values_survive_the_edit),
		cmocka_unit_test(edited_answer_goes_to_a_client),
		cmocka_unit_test(damaged_answers_do_no_harm),
		cmocka_unit_test(damaged_queries_get_readable_replies),
		cmocka_unit_test(largest_answers_are_bounded),
		cmocka_unit_test(answer_that_unpacks_badly_is_refused_or_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
