/* RADIUS accounting as FreeRADIUS 3 writes it into its detail files. */
#include "resolver/accounting.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define HEAD "Sun Nov 22 10:15:02 2026\n\tAcct-Session-Id = \"5F3C8A12-00000001\"\n"
#define START                                                                                                \
	HEAD "\tAcct-Status-Type = Start\n\tUser-Name = \"jane.doe\"\n\tNAS-IP-Address = 10.0.0.2\n"         \
	     "\tFramed-IP-Address = 10.20.5.7\n\tFramed-IPv6-Address = fd00:20::7\n"                         \
	     "\tCalling-Station-Id = \"A8-BB-CC-00-00-01\"\n\tSession-Timeout = 3600\n"                      \
	     "\tEvent-Timestamp = \"Nov 22 2026 10:15:00 UTC\"\n\tTmp-String-9 = \"ai:\"\n"                  \
	     "\tAcct-Unique-Session-Id = \"9f1c\"\n\tTimestamp = 1795342502\n\n"

static struct accounting found[8];
static size_t found_count;
static unsigned bad;

static void keep(void *arg, const struct accounting *block)
{
	(void)arg;
	assert_true(found_count < 8);
	found[found_count++] = *block;
}

static size_t read_text(const char *text)
{
	found_count = 0;
	bad = 0;
	return accounting_read(text, strlen(text), &bad, keep, NULL);
}

static const char *address_at(size_t i)
{
	static char text[INET6_ADDRSTRLEN];

	assert_true(i < found[0].address_count);
	return inet_ntop(AF_INET6, found[0].addresses[i], text, sizeof text);
}

static void start_names_user_device_and_addresses(void **state)
{
	static const uint8_t mac[6] = { 0xa8, 0xbb, 0xcc, 0, 0, 1 };

	(void)state;
	assert_int_equal(read_text(START), strlen(START));
	assert_int_equal(found_count, 1);
	assert_int_equal(found[0].status, ACCOUNTING_START);
	assert_string_equal(found[0].user, "jane.doe");
	assert_memory_equal(found[0].mac, mac, 6);
	assert_int_equal(found[0].address_count, 2);
	assert_string_equal(address_at(0), "::ffff:10.20.5.7");
	assert_string_equal(address_at(1), "fd00:20::7");
	assert_int_equal(found[0].time_s, 1795342502);
	assert_int_equal(found[0].timeout_s, 3600);
	assert_int_equal(bad, 0);
}

static void half_written_block_waits_for_its_end(void **state)
{
	char text[sizeof START * 2];

	(void)state;
	for (size_t cut = 0; cut < sizeof START - 1; cut++) {
		snprintf(text, sizeof text, "%s%.*s", START, (int)cut, START);
		assert_int_equal(read_text(text), strlen(START));
		assert_int_equal(found_count, 1);
	}
}

static void what_is_no_session_is_passed_over(void **state)
{
	(void)state;
	read_text(HEAD "\tAcct-Status-Type = Accounting-On\n\tTimestamp = 1795342502\n\n" HEAD
	               "\tUser-Name = \"x\"\n\tUser-Password = \"secret\"\n\n");
	assert_int_equal(found_count, 0);
	assert_int_equal(bad, 0);
	read_text(HEAD "\tAcct-Status-Type = Start\n\tUser-Name = \"x\"\n\tTimestamp = 1795342502\n\n" START);
	assert_int_equal(found_count, 1);
	assert_int_equal(bad, 1); /* nobody's address, no device */
}

static void interim_and_stop_tell_how_long_it_was(void **state)
{
	(void)state;
	read_text(HEAD "\tAcct-Status-Type = Interim-Update\n\tCalling-Station-Id = \"a8bbcc000001\"\n"
	               "\tAcct-Session-Time = 600\n\tAcct-Delay-Time = 5\n\tTimestamp = 1795342505\n\n" HEAD
	               "\tAcct-Status-Type = Stop\n\tCalling-Station-Id = \"a8bbcc000001\"\n"
	               "\tEvent-Timestamp = \"Nov 22 2026 10:15:02 UTC\"\n\n");
	assert_int_equal(found_count, 2);
	assert_int_equal(found[0].status, ACCOUNTING_INTERIM);
	assert_int_equal(found[0].session_s, 600);
	assert_int_equal(found[0].time_s, 1795342500);
	assert_int_equal(found[1].status, ACCOUNTING_STOP);
	assert_int_equal(found[1].session_s, -1);
	assert_int_equal(found[1].time_s, 1795342502);
}

static void calling_station_is_known_in_every_spelling(void **state)
{
	static const char *const good[] = { "a8bbcc000001", "A8-BB-CC-00-00-01", "a8:bb:cc:00:00:01",
		"a8bb.cc00.0001", "A8BBCC-000001", "A8-BB-CC-00-00-01:school-wifi" };
	static const char *const not [] = { "", "a8bbcc00000", "a8bbcc0000011", "10.20.5.7", "a8bbcc00000g",
		"01:00:5e:00:00:01", "00:00:00:00:00:00", "+441234567890123" };
	static const uint8_t expected[6] = { 0xa8, 0xbb, 0xcc, 0, 0, 1 };
	uint8_t mac[6];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		if (!accounting_mac(good[i], mac))
			fail_msg("%s", good[i]);
		assert_memory_equal(mac, expected, 6);
	}
	for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
		if (accounting_mac(not [i], mac))
			fail_msg("%s", not [i]);
}

static void hostile_names_come_out_printable_and_stay_two(void **state)
{
	char first[ACCOUNTING_USER_MAX + 1], second[ACCOUNTING_USER_MAX + 1], text[300];

	(void)state;
	read_text(HEAD "\tAcct-Status-Type = Start\n\tUser-Name = \"a\\033[31m\\n\\\"x\"\n"
	               "\tCalling-Station-Id = \"a8bbcc000001\"\n\tTimestamp = 1795342502\n\n");
	assert_int_equal(found_count, 1);
	assert_memory_equal(found[0].user, "a?[31m?\"x~", 10);
	for (const char *p = found[0].user; *p != '\0'; p++)
		assert_in_range(*p, ' ', '~');
	memset(text, 'n', sizeof text);
	accounting_user(text, 253, first);
	accounting_user(text, 252, second);
	assert_int_equal(strlen(first), ACCOUNTING_USER_MAX);
	assert_string_not_equal(first, second);
	accounting_user("jan\xe9", 4, first);
	accounting_user("jan\xe8", 4, second);
	assert_string_not_equal(first, second);
}

/* FreeRADIUS writes \n for the end of a line in a value; another writer may not. */
static void attribute_line_inside_of_a_value_is_not_believed(void **state)
{
	(void)state;
	read_text(HEAD "\tAcct-Status-Type = Start\n\tUser-Name = \"x\\n\\tFramed-IP-Address = 10.20.5.9\"\n"
	               "\tFramed-IP-Address = 10.20.5.7\n\tTimestamp = 1795342502\n\n");
	assert_int_equal(found_count, 1);
	assert_int_equal(found[0].address_count, 1);
	assert_string_equal(address_at(0), "::ffff:10.20.5.7");
	read_text(HEAD "\tAcct-Status-Type = Start\n\tUser-Name = \"x\n\tFramed-IP-Address = 10.20.5.9\"\n"
	               "\tFramed-IP-Address = 10.20.5.7\n\tTimestamp = 1795342502\n\n");
	assert_int_equal(found_count, 0);
	assert_int_equal(bad, 1);
}

static void block_without_other_time_has_that_of_its_head(void **state)
{
	(void)state;
	setenv("TZ", "Europe/London", 1);
	tzset();
	read_text(
	        "Thu Jun 18 10:15:02 2026\n\tAcct-Status-Type = Start\n\tFramed-IP-Address = 10.20.5.7\n\n");
	assert_int_equal(found_count, 1);
	assert_int_equal(found[0].time_s, 1781774102);
	unsetenv("TZ");
	tzset();
}

static void number_out_of_bounds_is_no_time(void **state)
{
	(void)state;
	read_text(HEAD "\tAcct-Status-Type = Start\n\tFramed-IP-Address = 10.20.5.7\n"
	               "\tTimestamp = 2000000000000\n\tEvent-Timestamp = 1795342502\n\n");
	assert_int_equal(found_count, 1);
	assert_int_equal(found[0].time_s, 1795342502);
}

static void device_without_login_has_no_user(void **state)
{
	(void)state;
	read_text(HEAD "\tAcct-Status-Type = Start\n\tUser-Name = \"a8bbcc000001\"\n"
	               "\tCalling-Station-Id = \"A8-BB-CC-00-00-01\"\n\tTimestamp = 1795342502\n\n");
	assert_int_equal(found_count, 1);
	assert_string_equal(found[0].user, "");
}

static void addresses_that_are_nobodys_are_left_out(void **state)
{
	(void)state;
	read_text(HEAD "\tAcct-Status-Type = Start\n\tFramed-IP-Address = 255.255.255.254\n"
	               "\tFramed-IP-Address = 0.0.0.0\n\tFramed-IPv6-Prefix = \"fd00:20::/64\"\n"
	               "\tFramed-IPv6-Prefix = \"fd00:20::9/128\"\n\tTimestamp = 1795342502\n\n");
	assert_int_equal(found_count, 1);
	assert_int_equal(found[0].address_count, 1);
	assert_string_equal(address_at(0), "fd00:20::9");
}

static void any_octets_do_no_harm(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		size_t len = strlen(START);
		char *text = malloc(len); /* to its octet, for the sanitizer */
		memcpy(text, START, len);
		for (unsigned i = 0; i < 3; i++)
			text[(size_t)rand_r(&seed) % len] = "\n\t\"\\= 0:\xff"[(size_t)rand_r(&seed) % 10];
		found_count = 0;
		assert_in_range(accounting_read(text, len, &bad, keep, NULL), 0, len);
		for (size_t i = 0; i < found_count; i++)
			for (const char *p = found[i].user; *p != '\0'; p++)
				assert_in_range(*p, ' ', '~');
		free(text);
	}
}

static void text_without_end_is_not_kept_for_ever(void **state)
{
	static char text[300000];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	assert_true(read_text(text) > 100000);
	assert_int_equal(bad, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(start_names_user_device_and_addresses),
		cmocka_unit_test(half_written_block_waits_for_its_end),
		cmocka_unit_test(what_is_no_session_is_passed_over),
		cmocka_unit_test(interim_and_stop_tell_how_long_it_was),
		cmocka_unit_test(calling_station_is_known_in_every_spelling),
		cmocka_unit_test(hostile_names_come_out_printable_and_stay_two),
		cmocka_unit_test(attribute_line_inside_of_a_value_is_not_believed),
		cmocka_unit_test(block_without_other_time_has_that_of_its_head),
		cmocka_unit_test(number_out_of_bounds_is_no_time),
		cmocka_unit_test(device_without_login_has_no_user),
		cmocka_unit_test(addresses_that_are_nobodys_are_left_out),
		cmocka_unit_test(any_octets_do_no_harm),
		cmocka_unit_test(text_without_end_is_not_kept_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
