#include "resolver/address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "resolver/config.h"

static void address_of(uint8_t address[16], const char *text)
{
	struct config_network network;

	assert_int_equal(config_network_parse(&network, text), 0);
	memcpy(address, network.address, 16);
}

static void ipv4_clients_do_not_share_a_bucket(void **state)
{
	enum { BUCKETS = 4096, CLIENTS = 64 };
	uint64_t used[CLIENTS];
	unsigned same = 0;

	for (unsigned i = 0; i < CLIENTS; i++) {
		uint8_t address[16] = { [10] = 0xff, 0xff, 10, 20, 0, (uint8_t)i };
		used[i] = address_client_hash(address, 7) % BUCKETS;
		for (unsigned k = 0; k < i; k++)
			same += used[k] == used[i];
	}
	assert_in_range(same, 0, 4); /* 0.5 expected */
}

static void ipv6_addresses_of_one_network_are_one_client(void **state)
{
	uint8_t a[16], b[16], c[16];

	address_of(a, "2001:db8:1:2::1");
	address_of(b, "2001:db8:1:2:aaaa:bbbb:cccc:dddd");
	address_of(c, "2001:db8:1:3::1");
	assert_int_equal(address_client_hash(a, 7), address_client_hash(b, 7));
	assert_int_not_equal(address_client_hash(a, 7), address_client_hash(c, 7));
	assert_int_not_equal(address_client_hash(a, 7), address_client_hash(a, 8));
}

static void network_ends_where_its_length_says(void **state)
{
	struct config_network network;
	uint8_t address[16];

	assert_int_equal(config_network_parse(&network, "10.20.16.0/20"), 0);
	address_of(address, "10.20.31.255");
	assert_true(address_is_in(address, &network));
	address_of(address, "10.20.32.0");
	assert_false(address_is_in(address, &network));
	assert_int_equal(config_network_parse(&network, "2001:db8::/32"), 0);
	assert_false(address_is_in(address, &network));
}

static void socket_address_of_ipv4_is_mapped(void **state)
{
	static const uint8_t expected[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };
	struct sockaddr_in socket = { .sin_family = AF_INET };
	uint8_t address[16];

	inet_pton(AF_INET, "192.0.2.1", &socket.sin_addr);
	address_from_socket(address, (const struct sockaddr *)&socket);
	assert_memory_equal(address, expected, 16);
}

static void address_is_read_as_it_is_written(void **state)
{
	static const char *const texts[] = { "10.20.3.4", "2001:db8::1", "::1", "::" };
	char text[INET6_ADDRSTRLEN];
	uint8_t address[16];

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		address_of(address, texts[i]);
		assert_string_equal(address_text(address, text), texts[i]);
	}
}

static void this_machine_is_known_in_every_form(void **state)
{
	static const char *const here[] = { "127.0.0.1", "127.255.255.255", "::ffff:127.0.0.1", "::1" };
	static const char *const elsewhere[] = { "126.255.255.255", "128.0.0.0", "10.0.0.1", "::2",
		"::", "7f00::1", "::127.0.0.1" };
	uint8_t address[16];

	for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
		address_of(address, here[i]);
		assert_true(address_is_loopback(address));
	}
	for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
		address_of(address, elsewhere[i]);
		assert_false(address_is_loopback(address));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_clients_do_not_share_a_bucket),
		cmocka_unit_test(ipv6_addresses_of_one_network_are_one_client),
		cmocka_unit_test(network_ends_where_its_length_says),
		cmocka_unit_test(socket_address_of_ipv4_is_mapped),
		cmocka_unit_test(address_is_read_as_it_is_written),
		cmocka_unit_test(this_machine_is_known_in_every_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
