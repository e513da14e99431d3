#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/rate.h"

#define NOW UINT64_C(1000000)

/* 10.x.x.x, mapped */
static void address_v4(uint8_t address[16], uint32_t n)
{
	memset(address, 0, 16);
	address[10] = address[11] = 0xff;
	address[12] = 10;
	address[13] = (uint8_t)(n >> 16);
	address[14] = (uint8_t)(n >> 8);
	address[15] = (uint8_t)n;
}

/* 2001:db8:0:n::host */
static void address_v6(uint8_t address[16], uint8_t n, uint8_t host)
{
	memset(address, 0, 16);
	memcpy(address, "\x20\x01\x0d\xb8", 4);
	address[7] = n;
	address[15] = host;
}

static unsigned allowed(
        struct rate *rate, const uint8_t address[16], uint32_t limit, uint64_t now_ms, unsigned asked)
{
	unsigned count = 0;

	while (asked-- > 0)
		count += rate_allow(rate, address, limit, now_ms);
	return count;
}

static void burst_is_two_seconds_worth(void **state)
{
	struct rate *rate = rate_new(100);
	uint8_t a[16];

	address_v4(a, 1);
	assert_int_equal(allowed(rate, a, 300, NOW, 10000), 600);
	assert_int_equal(allowed(rate, a, 300, NOW + 1000, 10000), 300);
	assert_int_equal(allowed(rate, a, 300, NOW + 1010, 10000), 3);
	assert_int_equal(allowed(rate, a, 300, NOW + 60000, 10000), 600);
	rate_free(rate);
}

static void steady_rate_at_the_limit_is_never_refused(void **state)
{
	struct rate *rate = rate_new(100);
	uint8_t a[16];

	address_v4(a, 1);
	for (uint64_t ms = 0; ms < 20000; ms += 10)
		assert_true(rate_allow(rate, a, 100, NOW + ms));
	rate_free(rate);
}

static void limit_zero_and_limit_one(void **state)
{
	struct rate *rate = rate_new(1);
	uint8_t a[16];

	address_v4(a, 1);
	assert_int_equal(allowed(rate, a, 0, NOW, 5000), 5000);
	assert_int_equal(allowed(rate, a, 1, NOW, 5000), 2);
	assert_int_equal(allowed(rate, a, 1, NOW + 999, 5000), 0);
	assert_int_equal(allowed(rate, a, 1, NOW + 1000, 5000), 1);
	assert_true(rate_allow(rate, a, UINT32_MAX, NOW + 2000));
	rate_free(rate);
	rate_free(NULL);
}

static void clients_do_not_share_a_limit(void **state)
{
	struct rate *rate = rate_new(1000);
	uint8_t a[16];

	for (unsigned i = 0; i < 100; i++) {
		address_v4(a, i);
		assert_int_equal(allowed(rate, a, 10, NOW, 30), 20);
	}
	rate_free(rate);
}

static void one_device_does_not_use_up_the_limit_of_all_in_its_64(void **state)
{
	struct rate *rate = rate_new(1000);
	uint8_t a[16];

	address_v6(a, 1, 1);
	assert_int_equal(allowed(rate, a, 10, NOW, 100000), 20);
	for (uint8_t host = 2; host < 60; host++) {
		address_v6(a, 1, host);
		assert_int_equal(allowed(rate, a, 10, NOW, 20), 20);
	}
	rate_free(rate);
}

static void device_with_many_addresses_gets_no_more_than_its_64(void **state)
{
	struct rate *rate = rate_new(1000);
	unsigned sum = 0;
	uint8_t a[16];

	for (unsigned i = 0; i < 20000; i++) {
		address_v6(a, 1, (uint8_t)(i >> 8));
		a[14] = (uint8_t)i;
		sum += allowed(rate, a, 10, NOW, 2);
	}
	assert_int_equal(sum, RATE_NETWORK * 20);
	address_v6(a, 2, 1);
	assert_int_equal(allowed(rate, a, 10, NOW, 30), 20);
	rate_free(rate);
}

static void forged_addresses_of_a_64_are_one(void **state)
{
	struct rate *rate = rate_new(100);
	unsigned sum = 0;
	uint8_t a[16];

	for (unsigned i = 0; i < 1000; i++) {
		address_v6(a, 1, (uint8_t)i);
		sum += rate_allow_network(rate, a, 10, NOW);
	}
	assert_int_equal(sum, 20);
	assert_true(rate_allow_network(rate, a, 0, NOW));
	rate_free(rate);
}

static void a_clock_that_starts_at_zero_or_stands_still_is_fine(void **state)
{
	struct rate *rate = rate_new(1);
	uint8_t a[16];

	address_v4(a, 1);
	assert_int_equal(allowed(rate, a, 10, 0, 30), 20);
	assert_int_equal(allowed(rate, a, 10, 0, 30), 0);
	rate_free(rate);
}

/* 64 clients are known and ask at their limit; 400,000 spoofed addresses ask once each. */
static void a_flood_of_spoofed_addresses_does_not_starve_known_clients(void **state)
{
	struct rate *rate = rate_new(256);
	uint8_t a[16];
	unsigned refused = 0, flood = 0;

	for (unsigned k = 0; k < 64; k++) {
		address_v4(a, k);
		assert_int_equal(allowed(rate, a, 100, NOW, 190), 190);
	}
	for (unsigned ms = 0; ms < 1000; ms++) {
		for (unsigned i = 0; i < 400; i++) {
			address_v4(a, 0x10000 + ms * 400 + i);
			flood += rate_allow(rate, a, 100, NOW + ms);
		}
		for (unsigned k = 0; k < 64 && ms % 10 == 0; k++) {
			address_v4(a, k);
			refused += !rate_allow(rate, a, 100, NOW + ms);
		}
	}
	assert_int_equal(refused, 0);
	assert_true(flood < 400000); /* the table was full: newcomers shared a purse */
	rate_free(rate);
}

static void a_flood_does_not_lift_a_known_clients_limit(void **state)
{
	struct rate *rate = rate_new(8);
	uint8_t a[16];

	address_v4(a, 1);
	assert_int_equal(allowed(rate, a, 10, NOW, 100), 20);
	for (unsigned i = 0; i < 10000; i++) {
		address_v4(a, 0x10000 + i);
		rate_allow(rate, a, 10, NOW + 1);
	}
	address_v4(a, 1);
	assert_int_equal(allowed(rate, a, 10, NOW + 2, 100), 0);
	rate_free(rate);
}

struct asking {
	pthread_t thread;
	struct rate *rate;
	unsigned allowed;
};

/* One known client, and strangers for the same places. */
static void *ask_like_a_worker(void *arg)
{
	struct asking *asking = arg;
	uint8_t known[16], other[16];

	address_v4(known, 1);
	for (unsigned i = 0; i < 20000; i++) {
		asking->allowed += rate_allow(asking->rate, known, 300, NOW);
		address_v4(other, 2 + i % 100);
		rate_allow(asking->rate, other, 1, NOW);
	}
	return NULL;
}

static void workers_share_a_clients_limit(void **state)
{
	struct asking asking[4] = { 0 };
	struct rate *rate = rate_new(64);
	unsigned sum = 0;

	for (unsigned i = 0; i < 4; i++) {
		asking[i].rate = rate;
		assert_int_equal(pthread_create(&asking[i].thread, NULL, ask_like_a_worker, &asking[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(asking[i].thread, NULL);
		sum += asking[i].allowed;
	}
	assert_in_range(sum, 600, 602);
	rate_free(rate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_is_two_seconds_worth),
		cmocka_unit_test(steady_rate_at_the_limit_is_never_refused),
		cmocka_unit_test(limit_zero_and_limit_one),
		cmocka_unit_test(clients_do_not_share_a_limit),
		cmocka_unit_test(one_device_does_not_use_up_the_limit_of_all_in_its_64),
		cmocka_unit_test(device_with_many_addresses_gets_no_more_than_its_64),
		cmocka_unit_test(forged_addresses_of_a_64_are_one),
		cmocka_unit_test(a_clock_that_starts_at_zero_or_stands_still_is_fine),
		cmocka_unit_test(a_flood_of_spoofed_addresses_does_not_starve_known_clients),
		cmocka_unit_test(a_flood_does_not_lift_a_known_clients_limit),
		cmocka_unit_test(workers_share_a_clients_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
