/* Blocklist text: what each format's lines mean, and what becomes of lines that mean nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "blocklists/parse.h"

#define HEARD_MAX 4096

/* What a parser said, as text: "name " with a mark before it ("=" the name alone, "<" below alone, "!"
 * exception). */
struct heard {
	char taken[HEARD_MAX];
	uint64_t skipped[PARSE_REASON_COUNT], line;
};

static void taken(void *arg, const struct name *name, unsigned scope, bool exception)
{
	struct heard *heard = arg;
	char text[NAME_TEXT_MAX];
	size_t len = strlen(heard->taken);

	name_to_text(name, text);
	snprintf(heard->taken + len, HEARD_MAX - len, "%s%s%s ", exception ? "!" : "",
	        scope == PARSE_AT      ? "="
	        : scope == PARSE_BELOW ? "<"
	                               : "",
	        text);
}

static void skipped(void *arg, enum parse_reason reason, uint64_t line)
{
	struct heard *heard = arg;

	heard->skipped[reason]++;
	heard->line = line;
}

/* Reads a text in pieces of `piece` octets. Returns what parser_end() did; *format as found. */
static int read_pieces(
        enum parse_format *format, const char *text, size_t len, size_t piece, struct heard *heard)
{
	const struct parse_sink sink = { heard, taken, skipped };
	struct parser *parser = parser_new(*format, &sink);
	int ret = 0;

	memset(heard, 0, sizeof *heard);
	assert_non_null(parser);
	for (size_t at = 0; at < len && ret == 0; at += piece)
		ret = parser_feed(parser, text + at, len - at < piece ? len - at : piece);
	if (ret == 0)
		ret = parser_end(parser);
	assert_true((ret == 0) == (parser_why(parser) == NULL));
	*format = parser_format(parser);
	parser_free(parser);
	return ret;
}

static uint64_t skipped_sum(const struct heard *heard)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PARSE_REASON_COUNT; i++)
		sum += heard->skipped[i];
	return sum;
}

/* The text in the format gives these names, as one piece, by single octets and (if auto) detected. */
static void assert_names(enum parse_format format, bool detected, const char *text, const char *names)
{
	struct heard heard;
	enum parse_format as = format;

	assert_int_equal(read_pieces(&as, text, strlen(text), 1 << 20, &heard), 0);
	assert_string_equal(heard.taken, names);
	assert_int_equal(read_pieces(&as, text, strlen(text), 1, &heard), 0);
	assert_string_equal(heard.taken, names);
	if (!detected)
		return;
	as = PARSE_AUTO;
	assert_int_equal(read_pieces(&as, text, strlen(text), 7, &heard), 0);
	assert_int_equal(as, format);
	assert_string_equal(heard.taken, names);
}

static void assert_reason(enum parse_format format, const char *line, size_t len, enum parse_reason reason)
{
	struct heard heard;

	assert_int_equal(read_pieces(&format, line, len, 1 << 20, &heard), 0);
	assert_string_equal(heard.taken, "");
	assert_int_equal(heard.skipped[reason], 1);
	assert_int_equal(skipped_sum(&heard), 1);
}

static void hosts_lines_have_many_names_and_ignore_the_machine(void **state)
{
	assert_names(PARSE_HOSTS, true,
	        "# hosts\n127.0.0.1 localhost localhost.localdomain\n::1\tip6-localhost\n"
	        "0.0.0.0 a.example.com  b.example.com\tc.example.com # comment d.example.com\n"
	        ":: e.example.com\n127.0.0.1 f.example.com\n::1 g.example.com\n",
	        "a.example.com b.example.com c.example.com e.example.com f.example.com g.example.com ");
	assert_reason(PARSE_HOSTS, "127.0.0.1 localhost", 19, PARSE_LOCAL);
	assert_reason(PARSE_HOSTS, "fe80::1%lo0 localhost", 21, PARSE_LOCAL);
}

static void hosts_line_with_a_real_address_is_no_block(void **state)
{
	assert_reason(PARSE_HOSTS, "216.239.38.120 www.google.com", 29, PARSE_RULE);
}

static void plain_names_lose_case_dots_and_comments(void **state)
{
	assert_names(PARSE_DOMAINS, true,
	        "\xef\xbb\xbf"
	        "example.com\r\n  Spaced.ORG \n.lead.example.net\ntrail.example.net.\n\n# "
	        "comment\nshort.example.org#x\n"
	        "b\xc3\xbc"
	        "cher.example.com\nlast.example.com",
	        "example.com spaced.org lead.example.net trail.example.net short.example.org "
	        "xn--bcher-kva.example.com "
	        "last.example.com ");
}

static void whole_hosts_of_urls_are_taken_and_paths_are_not(void **state)
{
	assert_names(PARSE_DOMAINS, false,
	        "host.example.com\nslash.example.com/\nhttp://scheme.example.com/\n",
	        "host.example.com slash.example.com scheme.example.com ");
	assert_reason(PARSE_DOMAINS, "example.com/page", 16, PARSE_PATH);
	assert_reason(PARSE_DOMAINS, "example.com:8080", 16, PARSE_PATH);
	assert_reason(PARSE_DOMAINS, "example.com?x=1", 15, PARSE_PATH);
}

static void wildcards_stand_for_the_name_and_below(void **state)
{
	assert_names(PARSE_WILDCARD, true, "*.example.com\n*.example.org\n", "example.com example.org ");
	assert_reason(PARSE_WILDCARD, "ad*.example.com", 15, PARSE_BAD_NAME);
}

static void adblock_takes_domain_rules_alone(void **state)
{
	struct heard heard;
	enum parse_format format = PARSE_ADBLOCK;
	static const char rules[] =
	        "||x.example.com^$third-party\n||x.example.com\n|https://x.example.com^\n/banner[0-9]/\n"
	        "example.com##.ad\n##.ad\n||ad*.example.com^\n||x.example.com/path^\nexample.com\n";

	assert_names(PARSE_ADBLOCK, true,
	        "[Adblock Plus 2.0]\n! "
	        "Title\n||a.example.com^\n||b.example.com^$important\n@@||good.example.com^\n"
	        "||*.c.example.com^\n||d.example.com^|\n0.0.0.0 e.example.com\n",
	        "a.example.com b.example.com !good.example.com <c.example.com d.example.com e.example.com ");
	assert_int_equal(read_pieces(&format, rules, strlen(rules), 5, &heard), 0);
	assert_string_equal(heard.taken, "");
	assert_int_equal(heard.skipped[PARSE_RULE], 8);
	assert_int_equal(heard.skipped[PARSE_PATH], 1);
}

static void dnsmasq_blocks_excepts_and_forwards(void **state)
{
	assert_names(PARSE_DNSMASQ, true,
	        "# "
	        "dnsmasq\naddress=/a.example.com/0.0.0.0\naddress=/b.example.com/::\naddress=/c.example.com/"
	        "#\n"
	        "server=/d.example.com/e.example.com/\nlocal=/f.example.com/\naddress=/.g.example.com/\n"
	        "server=/good.example.com/#\n",
	        "a.example.com b.example.com c.example.com d.example.com e.example.com f.example.com "
	        "g.example.com "
	        "!good.example.com ");
	assert_reason(PARSE_DNSMASQ, "server=/ad.example.com/10.0.0.1", 31, PARSE_RULE);
	assert_reason(PARSE_DNSMASQ, "address=/ad.example.com/10.0.0.1", 32, PARSE_RULE);
	assert_reason(PARSE_DNSMASQ, "address=/#/0.0.0.0", 18, PARSE_RULE);
	assert_reason(PARSE_DNSMASQ, "no-resolv", 9, PARSE_RULE);
	assert_reason(PARSE_DNSMASQ, "server=/", 8, PARSE_RULE);
	assert_reason(PARSE_DNSMASQ, "server=", 7, PARSE_RULE);
}

static void unbound_zones_that_deny_are_taken(void **state)
{
	assert_names(PARSE_UNBOUND, true,
	        "server:\n\tlocal-zone: \"a.example.com\" always_nxdomain\nlocal-zone: b.example.com. refuse "
	        "# why\n"
	        "local-zone: \"good.example.com\" always_transparent\nlocal-data: \"c.example.com A "
	        "0.0.0.0\"\n"
	        "local-data: 'd.example.com. 300 IN AAAA ::'\n",
	        "a.example.com b.example.com !good.example.com =c.example.com =d.example.com ");
	assert_reason(PARSE_UNBOUND, "local-zone: \"x.example.com\" transparent", 39, PARSE_RULE);
	assert_reason(PARSE_UNBOUND, "local-data: \"x.example.com A 10.0.0.1\"", 38, PARSE_RULE);
	assert_reason(PARSE_UNBOUND, "local-data: \"\"", 14, PARSE_RULE);
	assert_reason(PARSE_UNBOUND, "forward-zone:", 13, PARSE_RULE);
}

static void rpz_actions_that_block_or_pass_are_taken(void **state)
{
	assert_names(PARSE_RPZ, true,
	        "$TTL 300\n$ORIGIN rpz.example.\n@ IN SOA ns.rpz.example. root.rpz.example. (\n 1 3600\n 600 "
	        "86400 60 )\n  NS ns.rpz.example.\na.example.com CNAME .\n*.a.example.com CNAME . ; both\n"
	        "b.example.com.rpz.example. 60 IN CNAME *.\nd.example.com IN 60 CNAME rpz-drop.\n"
	        "good.example.com CNAME rpz-passthru.\nold.example.com CNAME old.example.com.\n"
	        "c.example.com A 0.0.0.0\n\tAAAA ::\n",
	        "=a.example.com <a.example.com =b.example.com =d.example.com !=good.example.com "
	        "!=old.example.com =c.example.com =c.example.com ");
}

static void rpz_actions_that_answer_otherwise_are_counted(void **state)
{
	assert_reason(PARSE_RPZ, "x.example.com CNAME rpz-tcp-only.", 33, PARSE_RULE);
	assert_reason(PARSE_RPZ, "x.example.com CNAME wall.example.net.", 37, PARSE_RULE);
	assert_reason(PARSE_RPZ, "x.example.com CNAME *.wall.example.net.", 39, PARSE_RULE);
	assert_reason(PARSE_RPZ, "x.example.com A 10.0.0.1", 24, PARSE_RULE);
	assert_reason(PARSE_RPZ, "x.example.com TXT hello", 23, PARSE_RULE);
	assert_reason(PARSE_RPZ, "$INCLUDE other.zone", 19, PARSE_RULE);
	assert_reason(PARSE_RPZ, "$GENERATE 1-9 x$.example.com CNAME .", 36, PARSE_RULE);
	assert_reason(PARSE_RPZ, "* CNAME .", 9, PARSE_SUFFIX);
	assert_reason(PARSE_RPZ, "*.co.uk CNAME .", 15, PARSE_SUFFIX);
	assert_reason(PARSE_RPZ, " CNAME .", 8, PARSE_BAD_NAME);
}

static void rpz_triggers_that_are_no_names_are_counted(void **state)
{
	static const char *const owners[] = { "32.1.0.0.10.rpz-ip", "24.0.2.0.192.rpz-client-ip",
		"32.1.2.0.192.rpz-nsip", "ns.example.com.rpz-nsdname",
		"NS.example.com.RPZ-NSDNAME.rpz.example." };
	char line[128];

	for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++) {
		snprintf(line, sizeof line, "%s CNAME .", owners[i]);
		assert_reason(PARSE_RPZ, line, strlen(line), PARSE_TRIGGER);
	}
	assert_names(PARSE_RPZ, false, "rpz-ip.example.com CNAME .\n", "=rpz-ip.example.com ");
}

static void rpz_names_are_relative_to_the_zone(void **state)
{
	struct heard heard;
	enum parse_format format = PARSE_RPZ;
	static const char outside[] = "list.example. SOA a. b. 1 2 3 4 5\nwww.example.com. CNAME .\n"
	                              "notlist.example. CNAME .\n";

	assert_names(PARSE_RPZ, true,
	        "list.example. SOA a. b. 1 2 3 4 5\nbad.example.com.LIST.example. CNAME .\nalso.example.org "
	        "CNAME .\n$ORIGIN example.net.list.example.\nwww CNAME .\n$ORIGIN deep\n*.x CNAME .\n",
	        "=bad.example.com =also.example.org =www.example.net <x.deep.example.net ");
	assert_names(PARSE_RPZ, true,
	        "@ SOA a. b. 1 2 3 4 5\nbad.example.com. CNAME .\nworse.example.com CNAME .\n",
	        "=bad.example.com =worse.example.com ");
	assert_int_equal(read_pieces(&format, outside, strlen(outside), 9, &heard), 0);
	assert_string_equal(heard.taken, "");
	assert_int_equal(heard.skipped[PARSE_BAD_NAME], 2);
}

static void rpz_text_with_a_parenthesis_swallows_nothing(void **state)
{
	assert_names(PARSE_RPZ, true,
	        "@ SOA a. b. ( 1 ; (((\n 2 3 4 5 )\na.example.com TXT \"an open ( and a ; in \\\" quotes\"\n"
	        "b.example.com CNAME .\n",
	        "=b.example.com ");
}

static void addresses_and_suffixes_are_not_taken(void **state)
{
	assert_reason(PARSE_DOMAINS, "192.0.2.1", 9, PARSE_ADDRESS);
	assert_reason(PARSE_DOMAINS, "2001:db8::1", 11, PARSE_ADDRESS);
	assert_reason(PARSE_HOSTS, "0.0.0.0 192.0.2.1", 17, PARSE_ADDRESS);
	assert_reason(PARSE_DOMAINS, "1.2.3.4.5", 9, PARSE_ADDRESS);
	assert_reason(PARSE_DOMAINS, "com", 3, PARSE_SUFFIX);
	assert_reason(PARSE_DOMAINS, "co.uk", 5, PARSE_SUFFIX);
	assert_reason(PARSE_ADBLOCK, "||org^", 6, PARSE_SUFFIX);
	assert_names(PARSE_DOMAINS, false, "github.io\nblogspot.com\n", "github.io blogspot.com ");
}

static void odd_lines_are_counted_by_their_reason(void **state)
{
	char line[300] = "";

	assert_reason(PARSE_DOMAINS, "caf\xe9.example.com", 16, PARSE_BAD_TEXT);
	assert_reason(PARSE_DOMAINS, "a\0b.example.com", 15, PARSE_BAD_OCTETS);
	assert_reason(PARSE_DOMAINS,
	        "a\x01"
	        "b.example.com",
	        15, PARSE_BAD_OCTETS);
	assert_reason(PARSE_DOMAINS, "no space.example.com", 20, PARSE_BAD_NAME);
	assert_reason(PARSE_DOMAINS, "a..example.com", 14, PARSE_BAD_NAME);
	assert_reason(PARSE_DOMAINS, "..", 2, PARSE_BAD_NAME);
	assert_reason(PARSE_DOMAINS, "-.-", 3, PARSE_BAD_NAME);
	assert_reason(PARSE_DOMAINS, ".", 1, PARSE_BAD_NAME);
	assert_reason(PARSE_DOMAINS, "a\\.example.com", 14, PARSE_BAD_NAME);
	memset(line, 'a', 64);
	strcat(line, ".com");
	assert_reason(PARSE_DOMAINS, line, strlen(line), PARSE_TOO_LONG);
	line[0] = '\0';
	for (unsigned i = 0; i < 64; i++)
		strcat(line, "abc.");
	strcat(line, "com");
	assert_reason(PARSE_DOMAINS, line, strlen(line), PARSE_TOO_LONG);
}

static void line_without_end_is_skipped_and_the_next_one_read(void **state)
{
	size_t len = 1 << 20;
	char *text = malloc(len + 32);
	struct heard heard;
	enum parse_format format = PARSE_DOMAINS;

	assert_non_null(text);
	memset(text, 'a', len);
	strcpy(text + len, "\nnext.example.com\n");
	assert_int_equal(read_pieces(&format, text, strlen(text), 1000, &heard), 0);
	assert_string_equal(heard.taken, "next.example.com ");
	assert_int_equal(heard.skipped[PARSE_LINE_TOO_LONG], 1);
	assert_int_equal(heard.line, 1);
	free(text);
}

static void line_of_a_gigabyte_takes_no_memory(void **state)
{
	static char piece[1 << 20];
	struct heard heard = { .taken = "" };
	const struct parse_sink sink = { &heard, taken, skipped };
	struct parser *parser = parser_new(PARSE_AUTO, &sink);
	struct rusage before, after;

	assert_non_null(parser);
	memset(piece, 'a', sizeof piece);
	getrusage(RUSAGE_SELF, &before);
	assert_int_equal(parser_feed(parser, "first.example.com\n", 18), 0);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(parser_feed(parser, piece, sizeof piece), 0);
	assert_int_equal(parser_feed(parser, "\nlast.example.com\n", 18), 0);
	assert_int_equal(parser_end(parser), 0);
	getrusage(RUSAGE_SELF, &after);
	parser_free(parser);
	assert_string_equal(heard.taken, "first.example.com last.example.com ");
	assert_int_equal(heard.skipped[PARSE_LINE_TOO_LONG], 1);
	assert_true(after.ru_maxrss - before.ru_maxrss < 8 * 1024);
}

static void line_of_just_the_limit_is_read(void **state)
{
	char text[PARSE_LINE_MAX + 2];
	struct heard heard;
	enum parse_format format = PARSE_DOMAINS;

	memset(text, ' ', sizeof text);
	memcpy(text, "a.example.com", 13);
	text[PARSE_LINE_MAX] = '\n';
	assert_int_equal(read_pieces(&format, text, PARSE_LINE_MAX + 1, 100, &heard), 0);
	assert_string_equal(heard.taken, "a.example.com ");
}

static void bad_line_is_named_by_its_number(void **state)
{
	struct heard heard;
	enum parse_format format = PARSE_DOMAINS;
	static const char text[] = "a.example.com\n\n# x\nbad name\n";

	assert_int_equal(read_pieces(&format, text, strlen(text), 3, &heard), 0);
	assert_int_equal(heard.line, 4);
}

static void what_is_no_list_is_refused_whole(void **state)
{
	static const char *const texts[] = { "", "\xef\xbb\xbf", "# comments alone\n",
		"\n\n  <!DOCTYPE html><html>example.com\n", "<html>\nexample.com\n",
		"{\"error\": \"example.com\"}", "words and more words\nof prose\n" };
	struct heard heard;

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		enum parse_format format = PARSE_AUTO;
		assert_int_equal(read_pieces(&format, texts[i], strlen(texts[i]), 4, &heard), -EBADMSG);
		assert_string_equal(heard.taken, "");
	}
	enum parse_format hosts = PARSE_HOSTS;
	assert_int_equal(read_pieces(&hosts, texts[3], strlen(texts[3]), 4, &heard), -EBADMSG);
}

static void binary_is_refused_whole(void **state)
{
	char octets[4096];
	struct heard heard;
	enum parse_format format = PARSE_DOMAINS;

	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (char)(i * 7);
	assert_int_equal(read_pieces(&format, octets, sizeof octets, 512, &heard), -EBADMSG);
}

static void latin1_comments_do_not_make_it_binary(void **state)
{
	assert_names(PARSE_DOMAINS, false, "# \xe9\xe8\xe0\xfc\xf6\nexample.com\n", "example.com ");
}

static void format_names_go_both_ways(void **state)
{
	for (int i = 0; i < PARSE_FORMAT_COUNT; i++)
		assert_int_equal(parse_format_by_name(parse_format_name((enum parse_format)i)), i);
	assert_int_equal(parse_format_by_name("csv"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_lines_have_many_names_and_ignore_the_machine),
		cmocka_unit_test(hosts_line_with_a_real_address_is_no_block),
		cmocka_unit_test(plain_names_lose_case_dots_and_comments),
		cmocka_unit_test(whole_hosts_of_urls_are_taken_and_paths_are_not),
		cmocka_unit_test(wildcards_stand_for_the_name_and_below),
		cmocka_unit_test(adblock_takes_domain_rules_alone),
		cmocka_unit_test(dnsmasq_blocks_excepts_and_forwards),
		cmocka_unit_test(unbound_zones_that_deny_are_taken),
		cmocka_unit_test(rpz_actions_that_block_or_pass_are_taken),
		cmocka_unit_test(rpz_actions_that_answer_otherwise_are_counted),
		cmocka_unit_test(rpz_triggers_that_are_no_names_are_counted),
		cmocka_unit_test(rpz_names_are_relative_to_the_zone),
		cmocka_unit_test(rpz_text_with_a_parenthesis_swallows_nothing),
		cmocka_unit_test(addresses_and_suffixes_are_not_taken),
		cmocka_unit_test(odd_lines_are_counted_by_their_reason),
		cmocka_unit_test(line_without_end_is_skipped_and_the_next_one_read),
		cmocka_unit_test(line_of_a_gigabyte_takes_no_memory),
		cmocka_unit_test(line_of_just_the_limit_is_read),
		cmocka_unit_test(bad_line_is_named_by_its_number),
		cmocka_unit_test(what_is_no_list_is_refused_whole),
		cmocka_unit_test(binary_is_refused_whole),
		cmocka_unit_test(latin1_comments_do_not_make_it_binary),
		cmocka_unit_test(format_names_go_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
