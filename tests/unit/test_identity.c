/* Whose a record is: the device where that is sure, else the address. */
#include "resolver/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t address[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, 20, 0, 7 };
static const uint8_t other_address[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, 20, 0, 8 };

static struct device device_of(enum device_confidence confidence, uint8_t first)
{
	struct device device = { .confidence = confidence,
		.name = "iPad",
		.has_mac = true,
		.mac_octets = { first, 0xbb, 0xcc, 0, 0, 1 } };

	lease_mac_text(device.mac_octets, device.mac);
	return device;
}

static void is_identity(const uint8_t *client, const struct device *device, const char *expected)
{
	struct identity identity = identity_of(client, device);
	char text[IDENTITY_TEXT_LEN];

	assert_string_equal(identity_text(&identity, text), expected);
}

static void sure_device_is_its_mac_under_any_address(void **state)
{
	struct device device = device_of(DEVICE_LEASE, 0xa8), seen = device_of(DEVICE_NEIGHBOUR, 0xa8),
	              known = device_of(DEVICE_RADIUS, 0xa8);
	struct identity here = identity_of(address, &device), there = identity_of(other_address, &seen);

	(void)state;
	is_identity(address, &device, "a8:bb:cc:00:00:01");
	is_identity(address, &known, "a8:bb:cc:00:00:01");
	assert_true(identity_is_same(&here, &there));
	assert_int_equal(identity_hash(&here, 7), identity_hash(&there, 7));
}

static void who_is_not_sure_is_an_address(void **state)
{
	static const enum device_confidence unsure[] = { DEVICE_UNKNOWN, DEVICE_DISPUTED, DEVICE_EXPIRED,
		DEVICE_SHARED };

	(void)state;
	for (size_t i = 0; i < sizeof unsure / sizeof *unsure; i++) {
		struct device device = device_of(unsure[i], 0xa8);
		is_identity(address, &device, "10.20.0.7");
	}
	is_identity(address, NULL, "10.20.0.7");
}

static void devices_of_one_name_without_mac_are_not_merged(void **state)
{
	struct device device = { .confidence = DEVICE_LEASE, .name = "iPad" };
	struct identity here = identity_of(address, &device), there = identity_of(other_address, &device);

	(void)state;
	assert_false(identity_is_same(&here, &there));
}

static void who_was_not_logged_has_none(void **state)
{
	struct device device = device_of(DEVICE_LEASE, 0xa8);
	struct identity identity = identity_of(NULL, &device);
	char text[IDENTITY_TEXT_LEN];

	(void)state;
	assert_int_equal(identity.kind, IDENTITY_NONE);
	assert_null(identity_text(&identity, text));
}

/* An address whose first octets are a MAC's, too. */
static void mac_is_no_address_of_the_same_octets(void **state)
{
	struct device device = device_of(DEVICE_LEASE, 0xfd);
	uint8_t client[16] = { 0xfd, 0xbb, 0xcc, 0, 0, 1 };
	struct identity mac = identity_of(client, &device), plain = identity_of(client, NULL);

	(void)state;
	assert_false(identity_is_same(&mac, &plain));
}

static const json_t *told(json_t *object, const uint8_t *client, const struct device *device, const char *key)
{
	assert_int_equal(identity_add_to(object, client, device), 0);
	return json_object_get(object, key);
}

static void randomised_mac_is_told(void **state)
{
	struct device made_up = device_of(DEVICE_LEASE, 0xaa), built_in = device_of(DEVICE_LEASE, 0xa8);
	json_t *object = json_object();

	(void)state;
	assert_true(json_is_true(told(object, address, &made_up, "randomised")));
	assert_true(json_is_false(told(object, address, &built_in, "randomised")));
	assert_string_equal(json_string_value(told(object, address, &built_in, "device")), "iPad");
	assert_string_equal(json_string_value(told(object, address, &built_in, "confidence")), "lease");
	assert_true(json_is_null(told(object, address, NULL, "randomised")));
	assert_true(json_is_null(told(object, address, NULL, "mac")));
	assert_string_equal(json_string_value(told(object, address, NULL, "identity")), "10.20.0.7");
	json_decref(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sure_device_is_its_mac_under_any_address),
		cmocka_unit_test(who_is_not_sure_is_an_address),
		cmocka_unit_test(devices_of_one_name_without_mac_are_not_merged),
		cmocka_unit_test(who_was_not_logged_has_none),
		cmocka_unit_test(mac_is_no_address_of_the_same_octets),
		cmocka_unit_test(randomised_mac_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
