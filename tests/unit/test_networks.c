#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/address.h"
#include "resolver/networks.h"

#define BIT(category) (UINT64_C(1) << (category))
#define ROWS 3
#define NETWORKS_MAX 4000

/* Row i is category i. */
static struct config_network of_row[ROWS][NETWORKS_MAX];
static struct config_blocked_networks rows[ROWS];
static struct config config = { .dns = { .blocked_networks = rows, .blocked_networks_count = ROWS } };
static struct networks *networks;

static int forget(void **state)
{
	networks_free(networks);
	networks = NULL;
	for (unsigned i = 0; i < ROWS; i++)
		rows[i] = (struct config_blocked_networks){ .category = i, .networks = of_row[i] };
	return 0;
}

static void add(unsigned category, const char *text)
{
	struct config_blocked_networks *row = &rows[category];

	assert_int_equal(config_network_parse(&row->networks[row->network_count++], text), 0);
}

static void build(void)
{
	networks = networks_new(&config);
	assert_non_null(networks);
}

static uint64_t find(const char *address)
{
	struct config_network host;

	assert_int_equal(config_network_parse(&host, address), 0);
	return networks_find(networks, host.address);
}

static void no_networks_hold_nothing(void **state)
{
	build();
	assert_false(networks_hold_any(networks));
	assert_int_equal(find("192.0.2.1"), 0);
	assert_int_equal(find("::"), 0);
}

static void a_network_holds_its_addresses_and_no_others(void **state)
{
	add(0, "198.51.100.0/24");
	add(1, "2001:db8:8000::/33");
	add(2, "203.0.113.7");
	build();
	assert_true(networks_hold_any(networks));
	assert_int_equal(find("198.51.99.255"), 0);
	assert_int_equal(find("198.51.100.0"), BIT(0));
	assert_int_equal(find("198.51.100.255"), BIT(0));
	assert_int_equal(find("198.51.101.0"), 0);
	assert_int_equal(find("2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"), 0);
	assert_int_equal(find("2001:db8:8000::"), BIT(1));
	assert_int_equal(find("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), BIT(1));
	assert_int_equal(find("2001:db9::"), 0);
	assert_int_equal(find("203.0.113.6"), 0);
	assert_int_equal(find("203.0.113.7"), BIT(2));
	assert_int_equal(find("203.0.113.8"), 0);
	assert_int_equal(find("::ffff:198.51.100.7"), BIT(0));
}

static void networks_in_networks_add_up(void **state)
{
	add(0, "10.0.0.0/8");
	add(1, "10.1.0.0/16");
	add(2, "10.1.0.0/16");
	add(1, "10.1.2.3");
	add(0, "10.1.2.3");
	add(2, "10.255.255.255");
	build();
	assert_int_equal(find("10.0.255.255"), BIT(0));
	assert_int_equal(find("10.1.0.0"), BIT(0) | BIT(1) | BIT(2));
	assert_int_equal(find("10.1.2.3"), BIT(0) | BIT(1) | BIT(2));
	assert_int_equal(find("10.1.255.255"), BIT(0) | BIT(1) | BIT(2));
	assert_int_equal(find("10.2.0.0"), BIT(0));
	assert_int_equal(find("10.255.255.255"), BIT(0) | BIT(2));
	assert_int_equal(find("11.0.0.0"), 0);
}

static void the_ends_of_the_address_space_are_no_ends_of_the_search(void **state)
{
	add(0, "::/0");
	add(1, "ffff::/16");
	add(2, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	build();
	assert_int_equal(find("::"), BIT(0));
	assert_int_equal(find("192.0.2.1"), BIT(0));
	assert_int_equal(find("ffff::"), BIT(0) | BIT(1));
	assert_int_equal(find("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), BIT(0) | BIT(1) | BIT(2));
}

static void the_longest_network_of_the_category_is_told(void **state)
{
	struct config_network host;
	char text[INET6_ADDRSTRLEN + 4];

	add(0, "10.0.0.0/8");
	add(0, "10.1.2.0/24");
	add(1, "10.1.2.3");
	build();
	assert_int_equal(config_network_parse(&host, "10.1.2.3"), 0);
	config_network_text(networks_explain(&config, 0, host.address), text);
	assert_string_equal(text, "10.1.2.0/24");
	assert_null(networks_explain(&config, 2, host.address));
}

/* Against a look at each network in turn. */
static void the_search_finds_what_a_look_at_each_finds(void **state)
{
	unsigned random = 1;

	for (unsigned i = 0; i < ROWS * NETWORKS_MAX; i++) {
		struct config_blocked_networks *row = &rows[i % ROWS];
		char text[64];
		random = random * 1103515245 + 12345;
		unsigned length = 6 + (random >> 16) % 27;
		uint32_t address = (random * 2654435761u) & (uint32_t)(UINT64_MAX << (32 - length));
		snprintf(text, sizeof text, "%u.%u.%u.%u/%u", address >> 24, address >> 16 & 255,
		        address >> 8 & 255, address & 255, length);
		assert_int_equal(config_network_parse(&row->networks[row->network_count++], text), 0);
	}
	build();
	for (unsigned i = 0; i < 3000; i++) {
		uint8_t address[16] = { [10] = 0xff, 0xff };
		uint64_t expected = 0;
		random = random * 1103515245 + 12345;
		/* near the edge of a network every other time */
		memcpy(address, of_row[i % ROWS][random % NETWORKS_MAX].address, 16);
		address[15] = (uint8_t)(address[15] - (random >> 20 & 1));
		if (i & 1)
			address[12 + i % 4] = (uint8_t)(random >> 16);
		for (unsigned r = 0; r < ROWS; r++)
			for (size_t k = 0; k < rows[r].network_count; k++)
				if (address_is_in(address, &rows[r].networks[k]))
					expected |= BIT(r);
		if (networks_find(networks, address) != expected)
			fail_msg("%u.%u.%u.%u", address[12], address[13], address[14], address[15]);
	}
}

/* A router that translates would bring the client there all the same. */
static void the_address_inside_a_translated_one_counts(void **state)
{
	struct config_network host;
	char text[INET6_ADDRSTRLEN + 4];

	add(0, "198.51.100.0/24");
	add(1, "2002:c633::/32");
	build();
	assert_int_equal(find("64:ff9b::c633:6407"), BIT(0));
	assert_int_equal(find("64:ff9b::c633:6507"), 0);
	assert_int_equal(find("64:ff9b:1::c633:6407"), 0);
	assert_int_equal(find("2002:c633:6407::1"), BIT(0) | BIT(1));
	assert_int_equal(config_network_parse(&host, "64:ff9b::c633:6407"), 0);
	config_network_text(networks_explain(&config, 0, host.address), text);
	assert_string_equal(text, "198.51.100.0/24");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(no_networks_hold_nothing, forget),
		cmocka_unit_test_setup(a_network_holds_its_addresses_and_no_others, forget),
		cmocka_unit_test_setup(networks_in_networks_add_up, forget),
		cmocka_unit_test_setup(the_ends_of_the_address_space_are_no_ends_of_the_search, forget),
		cmocka_unit_test_setup(the_longest_network_of_the_category_is_told, forget),
		cmocka_unit_test_setup(the_address_inside_a_translated_one_counts, forget),
		cmocka_unit_test_setup_teardown(the_search_finds_what_a_look_at_each_finds, forget, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
