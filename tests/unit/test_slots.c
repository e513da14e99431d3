#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/slots.h"

/* 10.20.0.last, mapped */
static struct slots_client client_v4(struct slots *slots, uint8_t last, uint32_t most)
{
	uint8_t address[16] = { [10] = 0xff, 0xff, 10, 20, 0, last };

	return slots_client(slots, address, most);
}

/* 2001:db8:0:net::host */
static struct slots_client client_v6(struct slots *slots, uint8_t net, uint8_t host)
{
	uint8_t address[16] = { 0x20, 0x01, 0x0d, 0xb8, [7] = net, [15] = host };

	return slots_client(slots, address, 10);
}

/* As many as it may have, one after the other. */
static uint32_t take(struct slots *slots, const struct slots_client *client, uint32_t wanted)
{
	uint32_t got = 0;

	while (got < wanted && slots_have_room(slots) && slots_client_may(slots, client)) {
		slots_charge(client);
		slots->taken++;
		got++;
	}
	return got;
}

static void own_limit_holds_where_there_is_room(void **state)
{
	static struct slots slots = { .most = 100, .seed = 1 };
	struct slots_client client = client_v4(&slots, 5, 20);

	assert_int_equal(take(&slots, &client, 1000), 20);
}

static void one_client_alone_leaves_half_and_the_newcomers_share(void **state)
{
	static struct slots slots = { .most = 100, .seed = 1 };
	struct slots_client client = client_v4(&slots, 5, 1000);

	assert_int_equal(take(&slots, &client, 1000), 44);
}

static void newcomer_finds_a_place_among_many_floods(void **state)
{
	static struct slots slots = { .most = 4096, .seed = 1 };

	for (uint8_t c = 1; c < 9; c++) {
		struct slots_client greedy = client_v4(&slots, c, 4096);
		take(&slots, &greedy, 4096);
	}
	struct slots_client newcomer = client_v4(&slots, 200, 512);
	assert_true(slots_client_may(&slots, &newcomer));
	assert_true(take(&slots, &newcomer, 4096) > 0);
}

static void newcomers_find_places_after_floods_that_came_one_after_the_other(void **state)
{
	static struct slots slots = { .most = 60, .seed = 1 };

	for (uint8_t c = 1; c < 9; c++) {
		struct slots_client greedy = client_v4(&slots, c, 60);
		take(&slots, &greedy, 60);
	}
	for (uint8_t c = 200; c < 203; c++) {
		struct slots_client newcomer = client_v4(&slots, c, 60);
		assert_int_equal(take(&slots, &newcomer, 1), 1);
	}
}

static void last_place_is_anybodys(void **state)
{
	static struct slots slots = { .most = 1, .seed = 1 };
	struct slots_client client = client_v4(&slots, 5, 512), other = client_v4(&slots, 6, 512);

	assert_int_equal(take(&slots, &client, 10), 1);
	assert_int_equal(take(&slots, &other, 10), 0);
}

static void one_flooding_device_leaves_its_64_the_places_of_others(void **state)
{
	static struct slots slots = { .most = 100, .seed = 1 };
	struct slots_client greedy = client_v6(&slots, 1, 1), other = client_v6(&slots, 1, 2);

	assert_int_equal(take(&slots, &greedy, 1000), 10);
	assert_int_equal(take(&slots, &other, 5), 5);
}

static void device_with_many_addresses_leaves_half_to_other_networks(void **state)
{
	static struct slots slots = { .most = 100, .seed = 1 };
	struct slots_client other = client_v6(&slots, 2, 1);
	uint32_t taken = 0;

	for (uint8_t host = 1; host < 200; host++) {
		struct slots_client greedy = client_v6(&slots, 1, host);
		taken += take(&slots, &greedy, 1000);
	}
	assert_int_equal(taken, 44);
	assert_int_equal(take(&slots, &other, 1000), 10);
}

static void what_is_charged_is_released(void **state)
{
	static struct slots slots = { .most = 100, .seed = 1 };
	struct slots_client client = client_v6(&slots, 1, 1), again = client;

	assert_int_equal(take(&slots, &client, 1), 1);
	slots_release(&client);
	assert_null(client.count);
	slots_release(&client);
	assert_int_equal(*again.count, 0);
	assert_int_equal(*again.network, 0);
}

static void nobodys_question_has_no_limit_of_its_own(void **state)
{
	static struct slots slots = { .most = 100 };
	struct slots_client nobody = { 0 };

	assert_true(slots_client_may(&slots, &nobody));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_limit_holds_where_there_is_room),
		cmocka_unit_test(one_client_alone_leaves_half_and_the_newcomers_share),
		cmocka_unit_test(newcomer_finds_a_place_among_many_floods),
		cmocka_unit_test(newcomers_find_places_after_floods_that_came_one_after_the_other),
		cmocka_unit_test(last_place_is_anybodys),
		cmocka_unit_test(one_flooding_device_leaves_its_64_the_places_of_others),
		cmocka_unit_test(device_with_many_addresses_leaves_half_to_other_networks),
		cmocka_unit_test(what_is_charged_is_released),
		cmocka_unit_test(nobodys_question_has_no_limit_of_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
