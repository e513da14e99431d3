#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "blocklists/parse.h"
#include "resolver/message.h"
#include "resolver/tunnel.h"

static const struct config_tunnelling limits = {
	.action = SIGNAL_BLOCK, .names = 100, .length = 50, .entropy = 3500, .block_s = 600
};
static const uint8_t pupil[16] = { [10] = 0xff, 0xff, 10, 20, 0, 5 };
static const uint8_t other[16] = { [10] = 0xff, 0xff, 10, 20, 0, 6 };

static struct tunnel *tunnel;
static char rule[TUNNEL_RULE_MAX];
static unsigned random_state;

static int start(void **state)
{
	tunnel = tunnel_new();
	random_state = 1;
	return tunnel == NULL ? -1 : 0;
}

static int end(void **state)
{
	tunnel_free(tunnel);
	return 0;
}

static enum tunnel_finding note(const uint8_t *client, const char *text, uint16_t type, uint32_t now_s)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return tunnel_note(tunnel, &limits, client, &name, type, now_s, rule);
}

static unsigned random_of(unsigned n)
{
	random_state = random_state * 1103515245 + 12345;
	return (random_state >> 16) % n;
}

/* len random letters of an alphabet, in labels of at most 57. */
static const char *coded(const char *alphabet, unsigned len, const char *zone)
{
	static char text[300];
	unsigned at = 0;

	for (unsigned i = 0; i < len; i++) {
		if (i > 0 && i % 57 == 0)
			text[at++] = '.';
		text[at++] = alphabet[random_of((unsigned)strlen(alphabet))];
	}
	snprintf(text + at, sizeof text - at, ".%s", zone);
	return text;
}

static const char hex[] = "0123456789abcdef", base32[] = "abcdefghijklmnopqrstuvwxyz012345";

/* How many lookups a pattern gets through before it is found; 0: all of count. */
static unsigned found_after(
        const char *alphabet, unsigned len, uint16_t type, const char *zone, unsigned count)
{
	for (unsigned i = 1; i <= count; i++)
		if (note(pupil, coded(alphabet, len, zone), type, 1000 + i / 10) == TUNNEL_FOUND)
			return i;
	return 0;
}

/* ---- what must be found ---- */

static void iodine_is_found(void **state)
{
	assert_in_range(found_after(base32, 100, TYPE_NULL, "t.evil.example", 200), 25, 40);
	assert_non_null(strstr(rule, "evil.example ("));
	assert_null(strstr(rule, "t.evil"));
	assert_in_range(found_after(base32, 180, TYPE_A, "t.evil2.example", 200), 100, 130);
	assert_in_range(found_after(base32, 100, TYPE_TXT, "t.evil3.co.uk", 200), 100, 130);
	assert_non_null(strstr(rule, "evil3.co.uk ("));
}

/* It asks once a second while nothing is to say: a header of nine octets in hexadecimal. */
static void dnscat2_that_only_waits_is_found(void **state)
{
	static const uint16_t types[] = { TYPE_TXT, TYPE_CNAME, TYPE_MX };
	unsigned count = 0;

	for (unsigned i = 1; i <= 300 && count == 0; i++)
		if (note(pupil, coded(hex, 18, "evil.example"), types[i % 3], 1000 + i) == TUNNEL_FOUND)
			count = i;
	assert_in_range(count, 80, 200);
}

static void harmless_lookups_beside_it_hide_nothing(void **state)
{
	char text[64];
	bool found = false;

	for (unsigned i = 0; i < 400 && !found; i++) {
		snprintf(text, sizeof text, "www%u.evil.example", i);
		assert_int_equal(note(pupil, text, TYPE_A, 1000), TUNNEL_NONE);
		found = i % 3 == 0 &&
		        note(pupil, coded(base32, 120, "evil.example"), TYPE_A, 1000) == TUNNEL_FOUND;
	}
	assert_true(found);
}

static void names_below_are_one_zone(void **state)
{
	char zone[32];
	bool found = false;

	for (unsigned i = 0; i < 150 && !found; i++) {
		snprintf(zone, sizeof zone, "n%u.evil.example", i);
		found = note(pupil, coded(base32, 120, zone), TYPE_A, 1000) == TUNNEL_FOUND;
	}
	assert_true(found);
}

static void odd_octets_and_dots_in_labels_are_found_too(void **state)
{
	char text[NAME_TEXT_MAX];
	bool found = false;

	for (unsigned i = 0; i < 150 && !found; i++) {
		size_t len = 0;
		for (unsigned k = 0; k < 60; k++)
			len += (size_t)snprintf(text + len, sizeof text - len, "\\%03u", 30 + random_of(220));
		snprintf(text + len, sizeof text - len, ".evil.example");
		found = note(pupil, text, TYPE_A, 1000) == TUNNEL_FOUND;
	}
	assert_true(found);
}

/* ---- what happens then ---- */

static void the_zone_is_blocked_for_the_client_for_a_time(void **state)
{
	assert_int_not_equal(found_after(base32, 100, TYPE_TXT, "evil.example", 200), 0);
	assert_int_equal(note(pupil, "www.evil.example", TYPE_A, 1100), TUNNEL_BLOCKED);
	assert_string_equal(rule, "evil.example");
	assert_int_equal(note(pupil, "www.good.example", TYPE_A, 1100), TUNNEL_NONE);
	assert_int_equal(note(other, "www.evil.example", TYPE_A, 1100), TUNNEL_NONE);
	assert_int_equal(note(pupil, "www.evil.example", TYPE_A, 1600), TUNNEL_BLOCKED);
	assert_int_equal(note(pupil, "www.evil.example", TYPE_A, 1700), TUNNEL_NONE);
	/* with a clean sheet */
	assert_int_equal(note(pupil, coded(base32, 100, "evil.example"), TYPE_TXT, 1701), TUNNEL_NONE);
	assert_int_not_equal(found_after(base32, 100, TYPE_TXT, "evil.example", 200), 0);
}

static void an_hour_begins_anew(void **state)
{
	for (unsigned hour = 0; hour < 5; hour++)
		for (unsigned i = 0; i < 80; i++)
			assert_int_equal(
			        note(pupil, coded(base32, 100, "slow.example"), TYPE_A, 1000 + hour * 3600),
			        TUNNEL_NONE);
}

static void a_flood_of_zones_pushes_out_no_tunnel(void **state)
{
	char zone[40];

	for (unsigned i = 0; i < 90; i++)
		note(pupil, coded(base32, 100, "evil.example"), TYPE_A, 1000);
	for (unsigned i = 0; i < 30000; i++) {
		snprintf(zone, sizeof zone, "zone%u.example", i);
		note(other, coded(base32, 60, zone), TYPE_A, 1000);
	}
	assert_in_range(found_after(base32, 100, TYPE_A, "evil.example", 100), 1, 40);
}

/* ---- what must not be found ---- */

static void ordinary_use_is_none(void **state)
{
	char text[300];

	for (unsigned i = 0; i < 3000; i++) {
		/* a video service's servers, load balancers, sharded pictures */
		snprintf(text, sizeof text, "rr%u---sn-%s", i % 9, coded(base32, 10, "googlevideo.com"));
		assert_int_equal(note(pupil, text, TYPE_A, 1000), TUNNEL_NONE);
		snprintf(text, sizeof text, "ec2-%u-%u-%u-%u.eu-west-2.compute.amazonaws.com", random_of(256),
		        random_of(256), random_of(256), random_of(256));
		assert_int_equal(note(pupil, text, TYPE_A, 1000), TUNNEL_NONE);
		snprintf(text, sizeof text, "%s", coded(hex, 32, "telemetry.vendor.com"));
		assert_int_equal(note(pupil, text, TYPE_HTTPS, 1000), TUNNEL_NONE);
		/* each of its own in a content network's shared domain */
		assert_int_equal(note(pupil, coded(base32, 14, "cloudfront.net"), TYPE_A, 1000), TUNNEL_NONE);
	}
}

static void the_same_names_again_and_again_are_none(void **state)
{
	static char names[40][300];

	for (unsigned i = 0; i < 40; i++)
		strcpy(names[i], coded(base32, 120, "cdn.example"));
	for (unsigned i = 0; i < 4000; i++)
		assert_int_equal(note(pupil, names[i % 40], TYPE_A, 1000), TUNNEL_NONE);
}

static void reverse_zones_and_mail_are_none(void **state)
{
	char text[300];

	for (unsigned i = 0; i < 1000; i++) {
		size_t len = 0;
		for (unsigned k = 0; k < 32; k++)
			len += (size_t)snprintf(text + len, sizeof text - len, "%c.", hex[random_of(16)]);
		snprintf(text + len, sizeof text - len, "ip6.arpa");
		assert_int_equal(note(pupil, text, TYPE_PTR, 1000), TUNNEL_NONE);
		snprintf(text, sizeof text, "%u.%u.%u.%u.bl.example.net", random_of(256), random_of(256),
		        random_of(256), random_of(256));
		assert_int_equal(note(pupil, text, TYPE_A, 1000), TUNNEL_NONE);
		assert_int_equal(note(pupil, text, TYPE_TXT, 1000), TUNNEL_NONE);
		snprintf(text, sizeof text, "_dmarc.school%u.example", i);
		assert_int_equal(note(pupil, text, TYPE_TXT, 1000), TUNNEL_NONE);
	}
	for (unsigned i = 0; i < 60; i++) {
		snprintf(text, sizeof text, "selector%u._domainkey.school.example", i);
		assert_int_equal(note(pupil, text, TYPE_TXT, 1000), TUNNEL_NONE);
	}
}

static void names_without_a_zone_are_none(void **state)
{
	assert_int_equal(note(pupil, ".", TYPE_NULL, 1000), TUNNEL_NONE);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(note(pupil, coded(base32, 50, "co.uk"), TYPE_NULL, 1000), TUNNEL_NONE);
		assert_int_equal(note(pupil, "com", TYPE_NULL, 1000), TUNNEL_NONE);
	}
}

static void zones_are_what_somebody_registered(void **state)
{
	static const struct {
		const char *name;
		unsigned labels;
	} rows[] = { { "www.example.com", 2 }, { "example.com", 2 }, { "com", 0 }, { "co.uk", 0 },
		{ "a.b.example.co.uk", 3 }, { "me.github.io", 3 }, { "x.me.github.io", 3 },
		{ "a.b.nosuchtld", 2 }, { "1.0.0.127.in-addr.arpa", 0 }, { ".", 0 },
		{ "a\\.b.example.com", 2 }, { "\\255.example.com", 2 } };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct name name;
		assert_int_equal(name_from_text(&name, rows[i].name, strlen(rows[i].name)), 0);
		if (parse_zone_labels(&name) != rows[i].labels)
			fail_msg("%s: %u", rows[i].name, parse_zone_labels(&name));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(iodine_is_found, start, end),
		cmocka_unit_test_setup_teardown(dnscat2_that_only_waits_is_found, start, end),
		cmocka_unit_test_setup_teardown(harmless_lookups_beside_it_hide_nothing, start, end),
		cmocka_unit_test_setup_teardown(names_below_are_one_zone, start, end),
		cmocka_unit_test_setup_teardown(odd_octets_and_dots_in_labels_are_found_too, start, end),
		cmocka_unit_test_setup_teardown(the_zone_is_blocked_for_the_client_for_a_time, start, end),
		cmocka_unit_test_setup_teardown(an_hour_begins_anew, start, end),
		cmocka_unit_test_setup_teardown(a_flood_of_zones_pushes_out_no_tunnel, start, end),
		cmocka_unit_test_setup_teardown(ordinary_use_is_none, start, end),
		cmocka_unit_test_setup_teardown(the_same_names_again_and_again_are_none, start, end),
		cmocka_unit_test_setup_teardown(reverse_zones_and_mail_are_none, start, end),
		cmocka_unit_test_setup_teardown(names_without_a_zone_are_none, start, end),
		cmocka_unit_test(zones_are_what_somebody_registered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
