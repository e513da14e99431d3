#include "resolver/message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dns_text.h"

#define QUERY_LEN 33 /* header and question of "www.example.com." */
#define OPT_AT QUERY_LEN

static struct dns_wire query(uint16_t size, bool do_bit)
{
	struct dns_wire wire;

	dns_query(&wire, "wWw.exAmple.com.", TYPE_AAAA, size, do_bit);
	return wire;
}

static int read_with(const uint8_t *octets, size_t len, struct message *message)
{
	/* A copy of the exact length, so that the sanitizer sees one octet too far. */
	uint8_t *exact = malloc(len > 0 ? len : 1);

	memcpy(exact, octets, len);
	message->question = NULL;
	int ret = message_read(message, exact, len);
	if (message->question != NULL)
		assert_ptr_equal(message->question, exact + MESSAGE_HEADER_LEN);
	message->question = message->question != NULL ? octets + MESSAGE_HEADER_LEN : NULL;
	free(exact);
	return ret;
}

static int read_wire(const struct dns_wire *wire, struct message *message)
{
	return read_with(wire->octets, wire->len, message);
}

static void plain_query_is_read(void **state)
{
	struct dns_wire wire = query(0, false);
	struct message message;
	char text[NAME_TEXT_MAX];

	assert_int_equal(read_wire(&wire, &message), 0);
	assert_int_equal(message.id, 0x1234);
	assert_int_equal(message.opcode, OPCODE_QUERY);
	assert_true(message.flags & FLAG_RD);
	assert_int_equal(message.type, TYPE_AAAA);
	assert_int_equal(message.class, CLASS_IN);
	name_to_text(&message.name, text);
	assert_string_equal(text, "www.example.com");
	assert_int_equal(message.question_len, QUERY_LEN - MESSAGE_HEADER_LEN);
	assert_memory_equal(message.question, "\3wWw\7exAmple\3com\0\0\34\0\1", message.question_len);
	assert_false(message.edns.present);
	assert_int_equal(message.edns.udp_size, 512);
}

static void edns_is_read(void **state)
{
	struct dns_wire wire = query(1400, true);
	struct message message;

	dns_option(&wire, OPT_AT, 3, NULL, 0);
	dns_option(&wire, OPT_AT, 12, "\0\0\0", 3);
	dns_option(&wire, OPT_AT, 11, NULL, 0);
	dns_option(&wire, OPT_AT, 65001, "unknown", 7);
	assert_int_equal(read_wire(&wire, &message), 0);
	assert_true(message.edns.present);
	assert_true(message.edns.dnssec_ok);
	assert_true(message.edns.nsid);
	assert_true(message.edns.keepalive);
	assert_int_equal(message.edns.udp_size, 1400);
	assert_int_equal(message.edns.cookie_len, 0);
}

static void small_edns_size_means_512(void **state)
{
	struct dns_wire wire = query(100, false);
	struct message message;

	assert_int_equal(read_wire(&wire, &message), 0);
	assert_int_equal(message.edns.udp_size, 512);
}

static void every_length_of_cookie(void **state)
{
	uint8_t cookie[64];
	struct message message;

	for (unsigned i = 0; i < sizeof cookie; i++)
		cookie[i] = (uint8_t)i;
	for (uint16_t len = 0; len < sizeof cookie; len++) {
		struct dns_wire wire = query(1232, false);
		bool good = len == 8 || (len >= 16 && len <= 40);
		dns_option(&wire, OPT_AT, 10, cookie, len);
		assert_int_equal(read_wire(&wire, &message), good ? 0 : RCODE_FORMERR);
		assert_non_null(message.question);
		if (!good)
			continue;
		assert_int_equal(message.edns.cookie_len, len);
		assert_memory_equal(message.edns.cookie, cookie, len);
	}
}

static void first_of_two_cookies_counts(void **state)
{
	struct dns_wire wire = query(1232, false);
	struct message message;

	dns_option(&wire, OPT_AT, 10, "firstone", 8);
	dns_option(&wire, OPT_AT, 10, "x", 1);
	assert_int_equal(read_wire(&wire, &message), 0);
	assert_int_equal(message.edns.cookie_len, 8);
	assert_memory_equal(message.edns.cookie, "firstone", 8);
}

/* RFC 7873 5.4 */
static void query_for_a_cookie_alone_is_read(void **state)
{
	struct dns_wire wire = query(1232, false);
	struct message message;

	/* Without the question: the OPT moves up. */
	memmove(wire.octets + MESSAGE_HEADER_LEN, wire.octets + OPT_AT, wire.len - OPT_AT);
	wire.len -= OPT_AT - MESSAGE_HEADER_LEN;
	wire.octets[5] = 0;
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
	dns_option(&wire, MESSAGE_HEADER_LEN, 10, "iwantone", 8);
	assert_int_equal(read_wire(&wire, &message), 0);
	assert_null(message.question);
	assert_int_equal(message.name.len, 0);
	assert_int_equal(message.edns.cookie_len, 8);
	wire.octets[wire.len++] = 0;
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
}

static void keepalive_with_a_timeout_is_formerr(void **state)
{
	struct dns_wire wire = query(1232, false);
	struct message message;

	dns_option(&wire, OPT_AT, 11, "\0\1", 2);
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
}

static void option_beyond_opt_is_formerr(void **state)
{
	struct dns_wire wire = query(1232, false);
	struct message message;

	dns_option(&wire, OPT_AT, 65001, "abcd", 4);
	wire_write16(wire.octets + OPT_AT + 11 + 2, 5);
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
	wire = query(1232, false);
	memcpy(wire.octets + wire.len, "\0\3\0", 3);
	wire.len += 3;
	wire_write16(wire.octets + OPT_AT + 9, 3);
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
}

static void later_edns_version_is_badvers_with_question(void **state)
{
	struct dns_wire wire = query(1232, true);
	struct message message;

	wire.octets[OPT_AT + 6] = 1;
	dns_option(&wire, OPT_AT, 10, "odd", 3);
	assert_int_equal(read_wire(&wire, &message), RCODE_BADVERS);
	assert_non_null(message.question);
	assert_true(message.edns.present);
	assert_true(message.edns.dnssec_ok);
}

static void second_opt_is_formerr(void **state)
{
	struct dns_wire wire = query(1232, false);
	struct message message;

	memcpy(wire.octets + wire.len, wire.octets + OPT_AT, 11);
	wire.len += 11;
	wire_write16(wire.octets + 10, 2);
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
}

static void opt_of_another_owner_is_formerr(void **state)
{
	struct dns_wire wire = query(0, false);
	struct message message;

	memcpy(wire.octets + wire.len, "\300\14\0\51\4\320\0\0\0\0\0\0", 12);
	wire.len += 12;
	wire_write16(wire.octets + 10, 1);
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
}

static void tsig_beside_opt_is_skipped(void **state)
{
	struct dns_wire wire = query(1232, false);
	struct message message;

	memcpy(wire.octets + wire.len, "\3key\0\0\372\0\377\0\0\0\0\0\3abc", 18);
	wire.len += 18;
	wire_write16(wire.octets + 10, 2);
	assert_int_equal(read_wire(&wire, &message), 0);
	assert_true(message.edns.present);
}

static void responses_and_stumps_get_silence(void **state)
{
	struct dns_wire wire = query(1232, false);
	struct message message;

	for (size_t len = 0; len < MESSAGE_HEADER_LEN; len++)
		assert_int_equal(read_with(wire.octets, len, &message), -ENOMSG);
	wire.octets[2] |= 0x80;
	assert_int_equal(read_wire(&wire, &message), -ENOMSG);
}

static void every_truncation_is_formerr(void **state)
{
	struct dns_wire wire = query(1232, false);
	struct message message;

	dns_option(&wire, OPT_AT, 10, "12345678", 8);
	for (size_t len = MESSAGE_HEADER_LEN; len < wire.len; len++) {
		assert_int_equal(read_with(wire.octets, len, &message), RCODE_FORMERR);
		assert_int_equal(message.question != NULL, len >= QUERY_LEN);
		assert_int_equal(message.id, 0x1234);
	}
}

static void trailing_octet_is_formerr(void **state)
{
	struct dns_wire wire = query(0, false);
	struct message message;

	wire.octets[wire.len++] = 0;
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
	assert_non_null(message.question);
}

static void none_or_two_questions_are_formerr(void **state)
{
	struct dns_wire wire = query(0, false);
	struct message message;

	wire.octets[5] = 0;
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
	assert_null(message.question);
	memcpy(wire.octets + wire.len, wire.octets + MESSAGE_HEADER_LEN, QUERY_LEN - MESSAGE_HEADER_LEN);
	wire.len += QUERY_LEN - MESSAGE_HEADER_LEN;
	wire.octets[5] = 2;
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
	assert_null(message.question);
}

static void pointer_in_question_is_formerr(void **state)
{
	static const uint8_t wire[] = "\22\64\1\0\0\1\0\0\0\0\0\0\1a\300\14\0\1\0\1";
	struct message message;

	assert_int_equal(read_with(wire, sizeof wire - 1, &message), RCODE_FORMERR);
	assert_null(message.question);
}

static void records_that_answer_in_a_query_are_formerr(void **state)
{
	static const char record[] = "\300\14\0\1\0\1\0\0\0\0\0\4\1\2\3\4";
	struct dns_wire wire = query(0, false);
	struct message message;

	memcpy(wire.octets + wire.len, record, sizeof record - 1);
	wire.len += sizeof record - 1;
	wire.octets[7] = 1;
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
	wire.octets[7] = 0;
	wire.octets[9] = 1;
	assert_int_equal(read_wire(&wire, &message), RCODE_FORMERR);
	wire_write16(wire.octets + QUERY_LEN - 4, TYPE_IXFR);
	assert_int_equal(read_wire(&wire, &message), 0);
}

static void other_opcodes_are_notimp_whatever_follows(void **state)
{
	struct dns_wire wire = query(0, false);
	struct message message;

	for (unsigned opcode = 1; opcode < 16; opcode++) {
		wire.octets[2] = (uint8_t)(opcode << 3);
		assert_int_equal(read_wire(&wire, &message), RCODE_NOTIMP);
		assert_int_equal(message.opcode, opcode);
		assert_non_null(message.question);
		assert_int_equal(read_with(wire.octets, 15, &message), RCODE_NOTIMP);
		assert_null(message.question);
	}
}

static void any_type_and_class_is_read(void **state)
{
	struct dns_wire wire = query(0, false);
	struct message message;

	wire_write16(wire.octets + QUERY_LEN - 4, 65280);
	wire_write16(wire.octets + QUERY_LEN - 2, CLASS_CH);
	assert_int_equal(read_wire(&wire, &message), 0);
	assert_int_equal(message.type, 65280);
	assert_int_equal(message.class, CLASS_CH);
}

/* ---- the walk ---- */

static void walk_sees_what_ldns_sees(void **state)
{
	struct dns_wire wire;
	struct message_walk walk;
	struct message_record record;
	struct name name;
	char text[NAME_TEXT_MAX];
	int seen[4] = { 0 };

	dns_message(&wire, "www.example.com.", TYPE_A, 0, true,
	        "www.example.com. 300 IN CNAME web.example.com.\nweb.example.com. 60 IN A 192.0.2.1\n--\n"
	        "example.com. 300 IN NS ns.example.com.\n--\nns.example.com. 300 IN A 192.0.2.2");
	assert_int_equal(message_walk_start(&walk, wire.octets, wire.len), 0);
	while (message_walk_next(&walk, &record) > 0) {
		seen[record.section]++;
		if (record.type != TYPE_CNAME)
			continue;
		assert_int_equal(record.ttl_s, 300);
		assert_int_equal(wire_read32(wire.octets + record.ttl_at), 300);
		assert_true(name_from_message(&name, wire.octets, wire.len, record.pos) > 0);
		name_to_text(&name, text);
		assert_string_equal(text, "www.example.com");
		assert_int_equal(message_rdata_name(&walk, &record, 0, &name), record.rdata_len);
		name_to_text(&name, text);
		assert_string_equal(text, "web.example.com");
		assert_int_equal(message_rdata_name(&walk, &record, record.rdata_len, &name), -EBADMSG);
	}
	assert_int_equal(seen[SECTION_ANSWER], 2);
	assert_int_equal(seen[SECTION_AUTHORITY], 1);
	assert_int_equal(seen[SECTION_ADDITIONAL], 2);
}

static void walk_of_every_truncation_ends_badly(void **state)
{
	struct dns_wire wire;
	struct message_walk walk;
	struct message_record record;

	dns_message(&wire, "www.example.com.", TYPE_A, 0, false,
	        "www.example.com. 300 IN CNAME web.example.com.\nweb.example.com. 60 IN A 192.0.2.1");
	for (size_t len = 0; len < wire.len; len++) {
		uint8_t *exact = malloc(len > 0 ? len : 1);
		memcpy(exact, wire.octets, len);
		int ret = message_walk_start(&walk, exact, len);
		while (ret >= 0 && (ret = message_walk_next(&walk, &record)) > 0)
			;
		assert_int_equal(ret, -EBADMSG);
		free(exact);
	}
}

static void types_have_names(void **state)
{
	char text[16];

	assert_string_equal(message_type_text(TYPE_HTTPS, text), "HTTPS");
	assert_string_equal(message_type_text(65280, text), "TYPE65280");
	assert_int_equal(message_type_parse("https"), TYPE_HTTPS);
	assert_int_equal(message_type_parse("TYPE65280"), 65280);
	assert_int_equal(message_type_parse("type1"), 1);
	assert_int_equal(message_type_parse("TYPE65536"), -1);
	assert_int_equal(message_type_parse("TYPE"), -1);
	assert_int_equal(message_type_parse("TYPE-1"), -1);
	assert_int_equal(message_type_parse("TYPE1x"), -1);
	assert_int_equal(message_type_parse("nonsense"), -1);
	assert_int_equal(message_type_parse(""), -1);
	for (unsigned type = 0; type <= UINT16_MAX; type++)
		assert_int_equal(message_type_parse(message_type_text((uint16_t)type, text)), (int)type);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_query_is_read),
		cmocka_unit_test(edns_is_read),
		cmocka_unit_test(small_edns_size_means_512),
		cmocka_unit_test(every_length_of_cookie),
		cmocka_unit_test(first_of_two_cookies_counts),
		cmocka_unit_test(query_for_a_cookie_alone_is_read),
		cmocka_unit_test(keepalive_with_a_timeout_is_formerr),
		cmocka_unit_test(option_beyond_opt_is_formerr),
		cmocka_unit_test(later_edns_version_is_badvers_with_question),
		cmocka_unit_test(second_opt_is_formerr),
		cmocka_unit_test(opt_of_another_owner_is_formerr),
		cmocka_unit_test(tsig_beside_opt_is_skipped),
		cmocka_unit_test(responses_and_stumps_get_silence),
		cmocka_unit_test(every_truncation_is_formerr),
		cmocka_unit_test(trailing_octet_is_formerr),
		cmocka_unit_test(none_or_two_questions_are_formerr),
		cmocka_unit_test(pointer_in_question_is_formerr),
		cmocka_unit_test(records_that_answer_in_a_query_are_formerr),
		cmocka_unit_test(other_opcodes_are_notimp_whatever_follows),
		cmocka_unit_test(any_type_and_class_is_read),
		cmocka_unit_test(walk_sees_what_ldns_sees),
		cmocka_unit_test(walk_of_every_truncation_ends_badly),
		cmocka_unit_test(types_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
