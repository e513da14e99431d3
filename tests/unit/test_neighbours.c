#include "resolver/neighbours.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/config.h"

#define MINUTE_US UINT64_C(60000000)

static struct config *config_of(const char *text)
{
	static char why[CONFIG_WHY_MAX];
	struct config *config;

	if (config_parse(&config, text, strlen(text), "usher.yaml", why) < 0)
		fail_msg("%s", why);
	return config;
}

static struct macs *some_macs(void)
{
	struct config *config =
	        config_of("profiles: [{name: pupils}, {name: staff, devices: [\"02:00:00:00:00:01\", "
	                  "02-00-00-00-00-02]}, {name: lab, devices: [\"02:00:00:00:00:03\"]}]\n");
	struct macs *macs = macs_new(config);

	config_free(config);
	return macs;
}

static struct neighbour neighbour_of(uint8_t host, uint8_t mac, uint32_t age_s)
{
	return (struct neighbour){
		.address = { 0xfd, [15] = host }, .mac = { 2, 0, 0, 0, 0, mac }, .age_s = age_s
	};
}

static int profile_at(
        const struct neighbour_table *table, const struct macs *macs, uint8_t host, uint64_t now_us)
{
	struct neighbour asked = neighbour_of(host, 0, 0);
	const uint8_t *mac = neighbour_table_find(table, asked.address, now_us);

	return mac != NULL ? macs_find(macs, mac) : -1;
}

static void device_has_the_profile_that_names_it(void **state)
{
	static const uint8_t other[6] = { 2, 0, 0, 0, 0, 4 };
	struct macs *macs = some_macs();
	const struct neighbour list[] = { neighbour_of(1, 1, 0), neighbour_of(2, 2, 600),
		neighbour_of(3, 3, 5), neighbour_of(4, 4, 0), neighbour_of(5, 1, 601),
		neighbour_of(6, 1, UINT32_MAX) };
	struct neighbour_table *table = neighbour_table_new(list, 6, macs, 0);

	assert_int_equal(macs_count(macs), 3);
	assert_int_equal(macs_find(macs, other), -1);
	assert_int_equal(profile_at(table, macs, 1, 0), 1);
	assert_int_equal(profile_at(table, macs, 2, 0), 1);
	assert_int_equal(profile_at(table, macs, 3, 0), 2);
	assert_int_equal(profile_at(table, macs, 4, 0), -1);
	/* Nobody has confirmed these for ten minutes. */
	assert_int_equal(profile_at(table, macs, 5, 0), -1);
	assert_int_equal(profile_at(table, macs, 6, 0), -1);
	assert_int_equal(profile_at(table, macs, 99, 0), -1);
	neighbour_table_free(table);
	macs_free(macs);
}

static void table_that_is_not_renewed_holds_nothing(void **state)
{
	struct macs *macs = some_macs();
	const struct neighbour list[] = { neighbour_of(1, 1, 0) };
	struct neighbour_table *table = neighbour_table_new(list, 1, macs, MINUTE_US);

	assert_int_equal(profile_at(table, macs, 1, 2 * MINUTE_US), 1);
	assert_int_equal(profile_at(table, macs, 1, 4 * MINUTE_US), -1);
	neighbour_table_renew(table, 4 * MINUTE_US);
	assert_int_equal(profile_at(table, macs, 1, 5 * MINUTE_US), 1);
	neighbour_table_free(table);
	macs_free(macs);
}

static void tables_are_equal_by_what_they_hold(void **state)
{
	struct macs *macs = some_macs();
	const struct neighbour one[] = { neighbour_of(1, 1, 0), neighbour_of(2, 2, 0),
		neighbour_of(9, 9, 0) },
	                       same[] = { neighbour_of(2, 2, 300), neighbour_of(1, 1, 7) },
	                       other[] = { neighbour_of(1, 2, 0), neighbour_of(2, 2, 0) },
	                       fewer[] = { neighbour_of(1, 1, 0) };
	struct neighbour_table *tables[] = { neighbour_table_new(one, 3, macs, 0),
		neighbour_table_new(same, 2, macs, 5), neighbour_table_new(other, 2, macs, 0),
		neighbour_table_new(fewer, 1, macs, 0) };

	assert_true(neighbour_table_equal(tables[0], tables[1]));
	assert_false(neighbour_table_equal(tables[0], tables[2]));
	assert_false(neighbour_table_equal(tables[0], tables[3]));
	for (unsigned i = 0; i < 4; i++)
		neighbour_table_free(tables[i]);
	macs_free(macs);
}

static void thousands_of_devices_are_all_found(void **state)
{
	static struct config_device devices[5000];
	static struct neighbour list[5000];
	struct config_profile profile = { .name = "staff", .devices = devices, .device_count = 5000 };
	struct config config = { .profiles = &profile, .profile_count = 1 };

	for (unsigned i = 0; i < 5000; i++) {
		devices[i] = (struct config_device){ { 2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i } };
		list[i] = (struct neighbour){ .address = {
			                              0xfd, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i } };
		memcpy(list[i].mac, devices[i].mac, 6);
	}
	struct macs *macs = macs_new(&config);
	struct neighbour_table *table = neighbour_table_new(list, 5000, macs, 0);
	for (unsigned i = 0; i < 5000; i++) {
		assert_memory_equal(neighbour_table_find(table, list[i].address, 0), devices[i].mac, 6);
		assert_int_equal(macs_find(macs, devices[i].mac), 0);
	}
	neighbour_table_free(table);
	macs_free(macs);
}

static void kernels_table_can_be_read(void **state)
{
	struct neighbour *list = NULL;
	size_t count = 0;

	assert_int_equal(neighbours_read(&list, &count), 0);
	for (size_t i = 1; i < count; i++)
		assert_true(memcmp(list[i - 1].address, list[i].address, 16) < 0);
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_has_the_profile_that_names_it),
		cmocka_unit_test(table_that_is_not_renewed_holds_nothing),
		cmocka_unit_test(tables_are_equal_by_what_they_hold),
		cmocka_unit_test(thousands_of_devices_are_all_found),
		cmocka_unit_test(kernels_table_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
