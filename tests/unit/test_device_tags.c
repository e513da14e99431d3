/* A device is one whatever addresses it takes; a class within one /64 is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/device_tags.h"

#define SALT 42
#define NONE 7

/* An address of network `net` and host, of card `card`. */
static struct neighbour neighbour(uint8_t net, uint8_t host, uint8_t card)
{
	return (struct neighbour){ .address = { net, [15] = host }, .mac = { 2, [5] = card } };
}

static uint32_t find(const struct device_tags *tags, uint8_t net, uint8_t host)
{
	struct neighbour asked = neighbour(net, host, 0);

	return device_tags_find(tags, device_tag_of(asked.address, SALT), NONE);
}

static void two_addresses_of_a_card_are_one_device(void **state)
{
	struct neighbour list[] = { neighbour(10, 1, 1), neighbour(0xfd, 9, 2), neighbour(0xfd, 1, 1) };
	struct device_tags tags = { 0 };

	device_tags_fill(&tags, list, 3, SALT);
	assert_int_equal(find(&tags, 10, 1), find(&tags, 0xfd, 1));
	assert_int_not_equal(find(&tags, 10, 1), find(&tags, 0xfd, 9));
	assert_int_equal(find(&tags, 10, 2), NONE);
	device_tags_clear(&tags);
	assert_int_equal(find(&tags, 10, 1), NONE);
}

static void a_router_is_no_device(void **state)
{
	struct neighbour list[18];
	struct device_tags tags = { 0 };

	for (uint8_t i = 0; i < 17; i++)
		list[i] = neighbour(10, i, 1);
	list[17] = neighbour(10, 99, 2);
	device_tags_fill(&tags, list, 18, SALT);
	assert_int_equal(find(&tags, 10, 3), NONE);
	assert_int_not_equal(find(&tags, 10, 99), NONE);
	device_tags_clear(&tags);
}

static void what_nobody_confirmed_for_long_is_not_believed(void **state)
{
	struct neighbour list[] = { neighbour(10, 1, 1) };
	struct device_tags tags = { 0 };

	list[0].age_s = 601;
	device_tags_fill(&tags, list, 1, SALT);
	assert_int_equal(find(&tags, 10, 1), NONE);
	device_tags_fill(&tags, list, 0, SALT);
	assert_int_equal(find(&tags, 10, 1), NONE);
	device_tags_clear(&tags);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_addresses_of_a_card_are_one_device),
		cmocka_unit_test(a_router_is_no_device),
		cmocka_unit_test(what_nobody_confirmed_for_long_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
