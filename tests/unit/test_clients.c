#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/clients.h"

#define NETWORKS_MAX 600

/* A configuration by hand: serve, and up to 8 profiles. */
static struct config_profile profiles[8];
static struct config_network networks[8][NETWORKS_MAX], serve[NETWORKS_MAX];
static struct config config;

static void config_start(size_t profile_count, unsigned default_profile)
{
	memset(profiles, 0, sizeof profiles);
	memset(&config, 0, sizeof config);
	for (size_t i = 0; i < 8; i++)
		profiles[i].networks = networks[i];
	config.profiles = profiles;
	config.profile_count = profile_count;
	config.serve = serve;
	config.default_profile = default_profile;
}

static void address_of(uint8_t address[16], const char *text)
{
	memset(address, 0, 16);
	if (strchr(text, ':') != NULL) {
		assert_int_equal(inet_pton(AF_INET6, text, address), 1);
		return;
	}
	address[10] = address[11] = 0xff;
	assert_int_equal(inet_pton(AF_INET, text, address + 12), 1);
}

static struct config_network network_of(const char *address, unsigned length)
{
	struct config_network network = { .length = (uint8_t)(strchr(address, ':') != NULL ? length
		                                                                           : length + 96) };

	address_of(network.address, address);
	return network;
}

static void add_serve(const char *address, unsigned length)
{
	serve[config.serve_count++] = network_of(address, length);
}

static void add_network(unsigned profile, const char *address, unsigned length)
{
	networks[profile][profiles[profile].network_count++] = network_of(address, length);
}

static int find(const struct clients *clients, const char *text)
{
	uint8_t address[16];

	address_of(address, text);
	return clients_find(clients, address);
}

static void nobody_is_served_without_networks(void **state)
{
	config_start(1, 0);
	struct clients *clients = clients_new(&config);

	assert_int_equal(find(clients, "10.0.0.1"), CLIENTS_UNSERVED);
	assert_int_equal(find(clients, "::"), CLIENTS_UNSERVED);
	assert_int_equal(find(clients, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), CLIENTS_UNSERVED);
	clients_free(clients);
	clients_free(NULL);
}

static void longest_prefix_wins(void **state)
{
	config_start(4, 3);
	add_serve("10.0.0.0", 8);
	add_network(0, "10.20.0.0", 16);
	add_network(1, "10.20.30.0", 24);
	add_network(2, "10.20.30.40", 32);
	struct clients *clients = clients_new(&config);

	assert_int_equal(find(clients, "10.20.0.0"), 0);
	assert_int_equal(find(clients, "10.20.29.255"), 0);
	assert_int_equal(find(clients, "10.20.30.0"), 1);
	assert_int_equal(find(clients, "10.20.30.39"), 1);
	assert_int_equal(find(clients, "10.20.30.40"), 2);
	assert_int_equal(find(clients, "10.20.30.41"), 1);
	assert_int_equal(find(clients, "10.20.31.0"), 0);
	assert_int_equal(find(clients, "10.20.255.255"), 0);
	assert_int_equal(find(clients, "10.21.0.0"), 3);
	assert_int_equal(find(clients, "10.0.0.0"), 3);
	assert_int_equal(find(clients, "10.255.255.255"), 3);
	assert_int_equal(find(clients, "9.255.255.255"), CLIENTS_UNSERVED);
	assert_int_equal(find(clients, "11.0.0.0"), CLIENTS_UNSERVED);
	clients_free(clients);
}

static void profile_outside_serve_is_not_served(void **state)
{
	config_start(2, 0);
	add_serve("10.1.0.0", 16);
	add_network(1, "10.0.0.0", 8);
	add_network(1, "192.0.2.0", 24);
	struct clients *clients = clients_new(&config);

	assert_int_equal(find(clients, "10.1.2.3"), 1);
	assert_int_equal(find(clients, "10.2.0.0"), CLIENTS_UNSERVED);
	assert_int_equal(find(clients, "192.0.2.1"), CLIENTS_UNSERVED);
	clients_free(clients);
}

static void the_same_network_in_serve_and_a_profile(void **state)
{
	config_start(3, 0);
	add_serve("10.1.0.0", 16);
	add_serve("10.1.0.0", 16);
	add_network(1, "10.1.0.0", 16);
	add_network(2, "10.1.0.0", 16); /* config refuses this; the one written first wins */
	struct clients *clients = clients_new(&config);

	assert_int_equal(find(clients, "10.1.0.0"), 1);
	assert_int_equal(find(clients, "10.1.255.255"), 1);
	assert_int_equal(find(clients, "10.2.0.0"), CLIENTS_UNSERVED);
	clients_free(clients);
}

static void ipv4_and_ipv6_do_not_mix(void **state)
{
	config_start(3, 0);
	add_serve("0.0.0.0", 0);
	add_network(1, "10.0.0.0", 8);
	struct clients *clients = clients_new(&config);

	assert_int_equal(find(clients, "10.0.0.1"), 1);
	assert_int_equal(find(clients, "::ffff:10.0.0.1"), 1);
	assert_int_equal(find(clients, "255.255.255.255"), 0);
	assert_int_equal(find(clients, "::1"), CLIENTS_UNSERVED);
	assert_int_equal(find(clients, "::10.0.0.1"), CLIENTS_UNSERVED);
	assert_int_equal(find(clients, "::fffe:ffff:ffff"), CLIENTS_UNSERVED);
	assert_int_equal(find(clients, "::1:0:0:0"), CLIENTS_UNSERVED);
	clients_free(clients);
}

static void ends_of_the_address_space(void **state)
{
	config_start(3, 0);
	add_serve("::", 0);
	add_network(1, "ffff::", 16);
	add_network(2, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128);
	struct clients *clients = clients_new(&config);

	assert_int_equal(find(clients, "::"), 0);
	assert_int_equal(find(clients, "ffff::"), 1);
	assert_int_equal(find(clients, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"), 1);
	assert_int_equal(find(clients, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 2);
	clients_free(clients);
}

/* ---- against the definition ---- */

static bool network_has(const struct config_network *network, const uint8_t address[16])
{
	for (unsigned bit = 0; bit < network->length; bit++)
		if (((network->address[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1) != 0)
			return false;
	return true;
}

static int find_naively(const uint8_t address[16])
{
	int profile = (int)config.default_profile, longest = -1;
	bool served = false;

	for (size_t i = 0; i < config.serve_count; i++)
		served = served || network_has(&serve[i], address);
	for (size_t i = 0; i < config.profile_count; i++)
		for (size_t k = 0; k < profiles[i].network_count; k++)
			if (networks[i][k].length > longest && network_has(&networks[i][k], address)) {
				longest = networks[i][k].length;
				profile = (int)i;
			}
	return served ? profile : CLIENTS_UNSERVED;
}

/* Few distinct octets, so that networks nest. */
static void random_address(uint8_t address[16])
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };

	for (unsigned i = 0; i < 16; i++)
		address[i] = (uint8_t)(random() % 3 * (random() % 2 != 0 ? 127 : 1));
	if (random() % 2 != 0)
		memcpy(address, v4, sizeof v4);
}

static struct config_network random_network(void)
{
	struct config_network network;

	random_address(network.address);
	bool v4 = network.address[10] == 0xff;
	network.length = (uint8_t)(v4 ? 96 + random() % 33 : random() % 129);
	for (unsigned bit = network.length; bit < 128; bit++)
		network.address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return network;
}

static void agrees_with_naive_longest_prefix_search(void **state)
{
	uint8_t address[16];

	srandom(20261123);
	for (unsigned round = 0; round < 60; round++) {
		config_start(1 + (size_t)random() % 8, 0);
		config.default_profile = (unsigned)random() % (unsigned)config.profile_count;
		size_t most = round < 50 ? 20 : 300;
		for (size_t i = (size_t)random() % most; i > 0; i--)
			serve[config.serve_count++] = random_network();
		for (size_t i = 0; i < config.profile_count; i++)
			for (size_t k = (size_t)random() % most; k > 0; k--)
				networks[i][profiles[i].network_count++] = random_network();
		struct clients *clients = clients_new(&config);
		assert_non_null(clients);
		for (unsigned i = 0; i < 500; i++) {
			random_address(address);
			assert_int_equal(clients_find(clients, address), find_naively(address));
		}
		/* the first and last address of every network, and its neighbours */
		for (size_t i = 0; i < profiles[0].network_count; i++) {
			memcpy(address, networks[0][i].address, 16);
			assert_int_equal(clients_find(clients, address), find_naively(address));
			for (unsigned bit = networks[0][i].length; bit < 128; bit++)
				address[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
			assert_int_equal(clients_find(clients, address), find_naively(address));
			for (int octet = 15; octet >= 0 && ++address[octet] == 0; octet--)
				;
			assert_int_equal(clients_find(clients, address), find_naively(address));
		}
		clients_free(clients);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_served_without_networks),
		cmocka_unit_test(longest_prefix_wins),
		cmocka_unit_test(profile_outside_serve_is_not_served),
		cmocka_unit_test(the_same_network_in_serve_and_a_profile),
		cmocka_unit_test(ipv4_and_ipv6_do_not_mix),
		cmocka_unit_test(ends_of_the_address_space),
		cmocka_unit_test(agrees_with_naive_longest_prefix_search),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
