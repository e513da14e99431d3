#include "resolver/inspect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dns_text.h"

static struct answer_room room;
static struct answer_stored stored;

struct judged {
	char text[8192]; /* the hops, each with a blank */
	unsigned count, stop_at;
};

static bool judge(void *arg, const struct name *hop)
{
	struct judged *judged = arg;
	char name[NAME_TEXT_MAX];

	name_to_text(hop, name);
	strcat(strcat(judged->text, name), " ");
	return ++judged->count == judged->stop_at;
}

static int hops(uint16_t type, const char *records, unsigned stop_at, struct judged *judged)
{
	struct dns_wire wire;

	*judged = (struct judged){ .stop_at = stop_at };
	dns_message(&wire, "www.example.com.", type, 0, true, records);
	assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, true), 0);
	return inspect_hops(&stored, judge, judged);
}

static void assert_hops(uint16_t type, const char *records, const char *expected)
{
	struct judged judged;

	assert_int_equal(hops(type, records, 0, &judged), 0);
	assert_string_equal(judged.text, expected);
}

static void address_alone_leads_nowhere(void **state)
{
	assert_hops(TYPE_A, "www.example.com. 300 IN A 192.0.2.1", "");
	assert_hops(TYPE_NS, "www.example.com. 300 IN NS ns.listed.example.", "");
}

static void chain_is_judged_in_order(void **state)
{
	assert_hops(TYPE_A,
	        "www.example.com. 300 IN CNAME One.example.net.\none.example.net. 300 IN CNAME "
	        "two.example.org.\n"
	        "two.example.org. 300 IN A 192.0.2.1",
	        "one.example.net two.example.org ");
}

static void dname_and_its_cname_are_hops(void **state)
{
	assert_hops(TYPE_A,
	        "example.com. 300 IN DNAME example.net.\nwww.example.com. 300 IN CNAME www.example.net.\n"
	        "www.example.net. 300 IN A 192.0.2.1",
	        "example.net www.example.net ");
}

static void chain_without_an_end_is_judged(void **state)
{
	assert_hops(TYPE_A, "www.example.com. 300 IN CNAME listed.example.net.", "listed.example.net ");
	assert_hops(TYPE_CNAME, "www.example.com. 300 IN CNAME listed.example.net.", "listed.example.net ");
}

static void both_modes_of_https_are_judged(void **state)
{
	assert_hops(TYPE_HTTPS, "www.example.com. 300 IN HTTPS 0 alias.example.net.", "alias.example.net ");
	assert_hops(TYPE_HTTPS,
	        "www.example.com. 300 IN HTTPS 1 . alpn=h2\nwww.example.com. 300 IN HTTPS 2 svc.example.net. "
	        "alpn=h3",
	        "svc.example.net ");
	assert_hops(TYPE_SVCB, "www.example.com. 300 IN SVCB 1 svc.example.net. port=53", "svc.example.net ");
}

static void target_root_is_no_hop(void **state)
{
	assert_hops(TYPE_HTTPS, "www.example.com. 300 IN HTTPS 1 . alpn=h2", "");
	assert_hops(TYPE_HTTPS, "www.example.com. 300 IN HTTPS 0 .", "");
}

static void judge_ends_the_walk(void **state)
{
	struct judged judged;

	assert_int_equal(hops(TYPE_A,
	                         "www.example.com. 300 IN CNAME one.example.net.\n"
	                         "one.example.net. 300 IN CNAME two.example.org.",
	                         1, &judged),
	        1);
	assert_string_equal(judged.text, "one.example.net ");
}

static void damaged_rdata_is_refused(void **state)
{
	struct judged judged;

	hops(TYPE_A, "www.example.com. 300 IN CNAME one.example.net.", 0, &judged);
	stored.wire[stored.len - 1] = 0xff;
	assert_int_equal(inspect_hops(&stored, judge, &judged), -EBADMSG);
	hops(TYPE_HTTPS, "www.example.com. 300 IN HTTPS 1 one.example.net.", 0, &judged);
	stored.wire[stored.len - 1] = 1;
	assert_int_equal(inspect_hops(&stored, judge, &judged), -EBADMSG);
	hops(TYPE_A, "www.example.com. 300 IN CNAME one.example.net.", 0, &judged);
	stored.len--;
	assert_int_equal(inspect_hops(&stored, judge, &judged), -EBADMSG);
}

/* ---- addresses ---- */

static bool judge_address(void *arg, const uint8_t address[16])
{
	struct judged *judged = arg;
	char text[INET6_ADDRSTRLEN];

	inet_ntop(AF_INET6, address, text, sizeof text);
	strcat(strcat(judged->text, text), " ");
	return ++judged->count == judged->stop_at;
}

static int addresses(uint16_t type, const char *records, unsigned stop_at, struct judged *judged)
{
	struct dns_wire wire;

	*judged = (struct judged){ .stop_at = stop_at };
	dns_message(&wire, "www.example.com.", type, 0, true, records);
	assert_int_equal(answer_normalise(&stored, &room, wire.octets, wire.len, true), 0);
	return inspect_addresses(&stored, judge_address, judged);
}

static void every_address_and_hint_is_judged(void **state)
{
	struct judged judged;

	assert_int_equal(addresses(TYPE_A,
	                         "www.example.com. 300 IN CNAME a.example.net.\n"
	                         "a.example.net. 300 IN A 192.0.2.1\na.example.net. 300 IN A 192.0.2.2",
	                         0, &judged),
	        0);
	assert_string_equal(judged.text, "::ffff:192.0.2.1 ::ffff:192.0.2.2 ");
	assert_int_equal(addresses(TYPE_AAAA, "www.example.com. 300 IN AAAA 2001:db8::1", 0, &judged), 0);
	assert_string_equal(judged.text, "2001:db8::1 ");
	assert_int_equal(addresses(TYPE_HTTPS,
	                         "www.example.com. 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1,192.0.2.2 "
	                         "ipv6hint=2001:db8::1",
	                         0, &judged),
	        0);
	assert_string_equal(judged.text, "::ffff:192.0.2.1 ::ffff:192.0.2.2 2001:db8::1 ");
	assert_int_equal(addresses(TYPE_MX, "www.example.com. 300 IN MX 5 a.example.net.", 0, &judged), 0);
	assert_int_equal(judged.count, 0);
}

static void a_judge_of_addresses_ends_the_walk(void **state)
{
	struct judged judged;

	assert_int_equal(
	        addresses(TYPE_HTTPS, "www.example.com. 300 IN HTTPS 1 . ipv4hint=192.0.2.1,192.0.2.2", 1,
	                &judged),
	        1);
	assert_string_equal(judged.text, "::ffff:192.0.2.1 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_address_and_hint_is_judged),
		cmocka_unit_test(a_judge_of_addresses_ends_the_walk),
		cmocka_unit_test(address_alone_leads_nowhere),
		cmocka_unit_test(chain_is_judged_in_order),
		cmocka_unit_test(dname_and_its_cname_are_hops),
		cmocka_unit_test(chain_without_an_end_is_judged),
		cmocka_unit_test(both_modes_of_https_are_judged),
		cmocka_unit_test(target_root_is_no_hop),
		cmocka_unit_test(judge_ends_the_walk),
		cmocka_unit_test(damaged_rdata_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
