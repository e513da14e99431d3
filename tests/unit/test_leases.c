#include "resolver/leases.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* What was found, a line each: "10.20.0.7 aa:bb:cc:dd:ee:ff 100-200 name". */
static char said[8192];

static void found(void *arg, const struct lease *lease)
{
	char address[INET6_ADDRSTRLEN], mac[18] = "-", line[256];
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (memcmp(lease->address, mapped, 12) == 0)
		inet_ntop(AF_INET, lease->address + 12, address, sizeof address);
	else
		inet_ntop(AF_INET6, lease->address, address, sizeof address);
	if (lease->has_mac)
		lease_mac_text(lease->mac, mac);
	snprintf(line, sizeof line, "%s %s %lld-%lld%s%s%s\n", address, mac, (long long)lease->start_s,
	        lease->end_s == LEASE_FOREVER ? -1 : (long long)lease->end_s, lease->ended ? " ended" : "",
	        lease->name[0] != '\0' ? " " : "", lease->name);
	strncat(said, line, sizeof said - strlen(said) - 1);
}

/* From an allocation of the exact size, so that the sanitizer sees one octet too far. */
static size_t read_text(struct lease_reader *reader, const char *text, size_t len)
{
	char *exact = malloc(len > 0 ? len : 1);

	memcpy(exact, text, len);
	size_t used = leases_read(reader, exact, len, found, NULL);
	free(exact);
	return used;
}

static void assert_read(enum lease_format format, const char *text, const char *expected)
{
	struct lease_reader reader = { .format = LEASE_AUTO };

	said[0] = '\0';
	assert_int_equal(read_text(&reader, text, strlen(text)), strlen(text));
	assert_int_equal(reader.format, format);
	assert_string_equal(said, expected);
}

static const char kea4[] =
        "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_"
        "context,pool_id\n"
        "10.20.0.7,aa:bb:cc:dd:ee:ff,01:aa,4000,1764000000,1,0,0,laptop-7.school.example.,0,,0\n"
        "10.20.0.8,aa:bb:cc:dd:ee:01,,3600,1764000100,1,0,0,a&#x2cb,0,,0\n"
        "10.20.0.9,aa:bb:cc:dd:ee:02,,3600,1764000100,1,0,0,,1,,0\n"
        "10.20.0.7,aa:bb:cc:dd:ee:ff,01:aa,0,1763996000,1,0,0,laptop-7.school.example.,0,,0\n"
        "10.20.0.8,aa:bb:cc:dd:ee:01,,3600,1764000100,1,0,0,,2,,0\n"
        "10.20.0.10,aa:bb:cc:dd:ee:03,,4294967295,5000000000,1,0,0,ever,0,,0\n";

static void kea_memfile_is_read_by_its_columns(void **state)
{
	assert_read(LEASE_KEA, kea4,
	        "10.20.0.7 aa:bb:cc:dd:ee:ff 1763996000-1764000000 laptop-7.school.example\n"
	        "10.20.0.8 aa:bb:cc:dd:ee:01 1763996500-1764000100 a,b\n"
	        "10.20.0.7 aa:bb:cc:dd:ee:ff 0-0 ended laptop-7.school.example\n"
	        "10.20.0.8 aa:bb:cc:dd:ee:01 1764000100-1764000100 ended\n"
	        "10.20.0.10 aa:bb:cc:dd:ee:03 705032705--1 ever\n");
	assert_read(LEASE_KEA,
	        "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_"
	        "fwd,"
	        "fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id\n"
	        "2001:db8::7,00:01:00:01:29:1b:aa:bb:aa:bb:cc:dd:ee:0f,4000,1764000000,1,3000,0,1,128,0,0,"
	        "six,,0,,,,0\n"
	        "2001:db8::8,00:03:00:01:aa:bb:cc:dd:ee:1f,4000,1764000000,1,3000,0,1,128,0,0,,,0,,,,0\n"
	        "2001:db8::9,00:04:11,4000,1764000000,1,3000,0,1,128,0,0,,aa:bb:cc:00:00:01,0,,1,0,0\n"
	        "2001:db8:1::,00:04:11,4000,1764000000,1,3000,2,1,56,0,0,router,,0,,,,0\n",
	        "2001:db8::7 aa:bb:cc:dd:ee:0f 1763996000-1764000000 six\n"
	        "2001:db8::8 aa:bb:cc:dd:ee:1f 1763996000-1764000000\n"
	        "2001:db8::9 aa:bb:cc:00:00:01 1763996000-1764000000\n");
}

static const char isc[] =
        "# The format of this file is documented in the dhcpd.leases(5) manual page.\n"
        "authoring-byte-order little-endian;\n"
        "server-duid \"\\000\\001\\000\\001{}\";\n\n"
        "lease 10.20.0.7 {\n"
        "  starts 4 2026/11/19 08:00:00;\n"
        "  ends 4 2026/11/19 09:00:00;\n"
        "  cltt 4 2026/11/19 08:00:00;\n"
        "  binding state active;\n"
        "  next binding state free;\n"
        "  hardware ethernet aa:bb:cc:dd:ee:ff;\n"
        "  uid \"\\001\\252}\";\n"
        "  client-hostname \"laptop 7\";\n"
        "}\n"
        "lease 10.20.0.8 {\n  starts epoch 1764000000; # Mon\n  ends never;\n  binding state active;\n}\n"
        "lease 10.20.0.7 {\n"
        "  starts 4 2026/11/19 08:00:00;\n"
        "  ends 4 2026/11/19 08:30:00;\n"
        "  binding state free;\n"
        "  hardware ethernet aa:bb:cc:dd:ee:ff;\n"
        "}\n";

static void isc_leases_are_read(void **state)
{
	assert_read(LEASE_ISC, isc,
	        "10.20.0.7 aa:bb:cc:dd:ee:ff 1795075200-1795078800 laptop?7\n"
	        "10.20.0.8 - 1764000000--1\n"
	        "10.20.0.7 aa:bb:cc:dd:ee:ff 1795077000-1795077000 ended\n");
}

static void dnsmasq_leases_are_read(void **state)
{
	assert_read(LEASE_DNSMASQ,
	        "1764000000 aa:bb:cc:dd:ee:ff 10.20.0.7 laptop-7 01:aa:bb:cc:dd:ee:ff\n"
	        "0 aa:bb:cc:dd:ee:01 10.20.0.8 * *\n"
	        "duid 00:01:00:01:29:1b:aa:bb:aa:bb:cc:dd:ee:ff\n"
	        "1764000000 12345 2001:db8::7 six 00:01:00:01:29:1b:aa:bb:aa:bb:cc:dd:ee:0f\n",
	        "10.20.0.7 aa:bb:cc:dd:ee:ff 0-1764000000 laptop-7\n"
	        "10.20.0.8 aa:bb:cc:dd:ee:01 0--1\n"
	        "2001:db8::7 aa:bb:cc:dd:ee:0f 0-1764000000 six\n");
}

/* A server is read while it writes. */
static void text_cut_anywhere_gives_the_same_in_two_steps(void **state)
{
	const char *const texts[] = { kea4, isc };
	char whole[sizeof said];

	for (unsigned i = 0; i < 2; i++) {
		size_t len = strlen(texts[i]);
		struct lease_reader reader = { .format = i == 0 ? LEASE_KEA : LEASE_ISC };
		said[0] = '\0';
		read_text(&reader, texts[i], len);
		strcpy(whole, said);
		for (size_t cut = 0; cut <= len; cut++) {
			reader = (struct lease_reader){ .format = reader.format };
			said[0] = '\0';
			size_t used = read_text(&reader, texts[i], cut);
			assert_in_range(used, 0, cut);
			used += read_text(&reader, texts[i] + used, len - used);
			assert_int_equal(used, len);
			assert_string_equal(said, whole);
		}
	}
}

static void hostile_lines_are_counted_and_passed_over(void **state)
{
	static const struct {
		enum lease_format format;
		const char *text;
	} cases[] = {
		{ LEASE_KEA, "10.20.0.7,aa:bb:cc:dd:ee:ff,,1,2,1,0,0,x,0,\n" }, /* before any header */
		{ LEASE_DNSMASQ, "x y z w v\n" },
		{ LEASE_DNSMASQ, "99999999999999999999999 aa:bb:cc:dd:ee:ff 10.0.0.1 x y\n" },
		{ LEASE_DNSMASQ, "-5 aa:bb:cc:dd:ee:ff 10.0.0.1 x y\n" },
		{ LEASE_DNSMASQ, "5 aa:bb:cc:dd:ee:ff 10.0.0.999 x y\n" },
		{ LEASE_ISC, "lease nonsense {\n  starts never;\n}\n" },
		{ LEASE_ISC, "lease 10.0.0.1 {\n  starts 4 99999999/99/99 1:1:1;\n  ends 4 x;\n}\n" },
		{ LEASE_AUTO, "this is no lease file\n" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lease_reader reader = { .format = cases[i].format };
		said[0] = '\0';
		assert_int_equal(
		        read_text(&reader, cases[i].text, strlen(cases[i].text)), strlen(cases[i].text));
		assert_string_equal(said, "");
		assert_int_equal(reader.bad, 1);
	}
}

static void line_without_end_is_waited_for_and_a_long_one_is_bad(void **state)
{
	struct lease_reader reader = { .format = LEASE_DNSMASQ };
	static char text[10000];

	memset(text, 'x', sizeof text);
	assert_int_equal(read_text(&reader, text, sizeof text), 0);
	text[sizeof text - 1] = '\n';
	assert_int_equal(read_text(&reader, text, sizeof text), sizeof text);
	assert_int_equal(reader.bad, 1);
}

static void names_come_out_printable_and_short(void **state)
{
	char line[400] = "1764000000 aa:bb:cc:dd:ee:ff 10.20.0.7 \x1b[31m<b>\xc3\xa9", expected[400];

	memset(line + strlen(line), 'n', 200);
	strcat(line, " *\n");
	snprintf(expected, sizeof expected, "10.20.0.7 aa:bb:cc:dd:ee:ff 0-1764000000 ?[31m<b>??%.*s\n",
	        LEASE_NAME_MAX - 10, "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn");
	assert_read(LEASE_DNSMASQ, line, expected);
}

static void mac_is_read_with_colons_or_dashes_and_nothing_else(void **state)
{
	static const char *const bad[] = { "", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:ff:00", "aa:bb-cc:dd:ee:ff",
		"aa:bb:cc:dd:ee:fg", "aabb.ccdd.eeff", "aa:bb:cc:dd:ee:f ", " a:bb:cc:dd:ee:ff",
		"aa:bb:cc:dd:ee:+f", "06-aa:bb:cc:dd:ee:ff" };
	uint8_t mac[6];

	assert_int_equal(lease_mac_parse(mac, "AA:bb:0c:00:ee:ff"), 0);
	assert_memory_equal(mac, "\xaa\xbb\x0c\0\xee\xff", 6);
	assert_int_equal(lease_mac_parse(mac, "aa-bb-cc-dd-ee-01"), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (lease_mac_parse(mac, bad[i]) == 0)
			fail_msg("%s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kea_memfile_is_read_by_its_columns),
		cmocka_unit_test(isc_leases_are_read),
		cmocka_unit_test(dnsmasq_leases_are_read),
		cmocka_unit_test(text_cut_anywhere_gives_the_same_in_two_steps),
		cmocka_unit_test(hostile_lines_are_counted_and_passed_over),
		cmocka_unit_test(line_without_end_is_waited_for_and_a_long_one_is_bad),
		cmocka_unit_test(names_come_out_printable_and_short),
		cmocka_unit_test(mac_is_read_with_colons_or_dashes_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
