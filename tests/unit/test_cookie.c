#include "resolver/cookie.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t v4_address[16] = { [10] = 0xff, 0xff, 198, 51, 100, 100 };

/* RFC 9018 appendix A.1 */
static const struct cookie_secret rfc_secret = { { 0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7,
	0xdc, 0x84, 0x9e, 0x37, 0xbf, 0xcf } };
static const uint8_t client[8] = { 0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57 };
static const uint8_t expected[COOKIE_LEN] = { 0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57, 0x01, 0x00,
	0x00, 0x00, 0x5c, 0xf7, 0x9f, 0x11, 0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2, 0x94, 0x80 };
static const struct cookie_secrets secrets = { .given = &rfc_secret, .given_count = 1 };
#define MADE_AT 1559731985u

static void cookie_is_that_of_the_rfc(void **state)
{
	uint8_t cookie[COOKIE_LEN];

	cookie_make(&secrets, client, v4_address, MADE_AT, cookie);
	assert_memory_equal(cookie, expected, COOKIE_LEN);
}

/* RFC 9018 appendix A.4 */
static void cookie_for_ipv6_is_that_of_the_rfc(void **state)
{
	static const struct cookie_secret other = { { 0xdd, 0x3b, 0xdf, 0x93, 0x44, 0xb6, 0x78, 0xb1, 0x85,
		0xa6, 0xf5, 0xcb, 0x60, 0xfc, 0xa7, 0x15 } };
	static const uint8_t other_client[8] = { 0x22, 0x68, 0x1a, 0xb9, 0x7d, 0x52, 0xc2, 0x98 };
	static const uint8_t server[8] = { 0x26, 0x55, 0x6b, 0xd0, 0x93, 0x4c, 0x72, 0xf8 };
	uint8_t address[16], cookie[COOKIE_LEN];

	inet_pton(AF_INET6, "2001:db8:220:1:59de:d0f4:8769:82b8", address);
	cookie_make(&(struct cookie_secrets){ .given = &other, .given_count = 1 }, other_client, address,
	        0x5cf7c579, cookie);
	assert_memory_equal(cookie + 16, server, 8);
}

static void cookie_is_valid_for_an_hour(void **state)
{
	assert_true(cookie_is_valid(&secrets, expected, COOKIE_LEN, v4_address, MADE_AT));
	assert_true(cookie_is_valid(&secrets, expected, COOKIE_LEN, v4_address, MADE_AT + 3600));
	assert_true(cookie_is_valid(&secrets, expected, COOKIE_LEN, v4_address, MADE_AT - 300));
	assert_false(cookie_is_valid(&secrets, expected, COOKIE_LEN, v4_address, MADE_AT + 3601));
	assert_false(cookie_is_valid(&secrets, expected, COOKIE_LEN, v4_address, MADE_AT - 301));
}

static void cookie_of_another_client_is_refused(void **state)
{
	uint8_t other[16];

	memcpy(other, v4_address, sizeof other);
	other[15]++;
	assert_false(cookie_is_valid(&secrets, expected, COOKIE_LEN, other, MADE_AT));
}

static void forged_or_short_cookie_is_refused(void **state)
{
	uint8_t forged[COOKIE_LEN];

	for (unsigned i = 0; i < COOKIE_LEN; i++) {
		memcpy(forged, expected, sizeof forged);
		forged[i] ^= 1;
		assert_false(cookie_is_valid(&secrets, forged, COOKIE_LEN, v4_address, MADE_AT));
	}
	assert_false(cookie_is_valid(&secrets, expected, 8, v4_address, MADE_AT));
	assert_false(cookie_is_valid(&secrets, expected, COOKIE_LEN - 1, v4_address, MADE_AT));
}

/* RFC 9018 5: the new secret is accepted before it makes, and the old one after. */
static void secret_is_replaced_without_refusing_anybody(void **state)
{
	static const struct cookie_secret other = { { 1, 2, 3 } };
	const struct cookie_secret before[] = { rfc_secret, other }, after[] = { other, rfc_secret };
	const struct cookie_secrets old = { .given = before, .given_count = 2 },
	                            new = { .given = after, .given_count = 2 },
	                            done = { .given = &other, .given_count = 1 };
	uint8_t cookie[COOKIE_LEN];

	assert_true(cookie_is_valid(&new, expected, COOKIE_LEN, v4_address, MADE_AT));
	assert_false(cookie_is_valid(&done, expected, COOKIE_LEN, v4_address, MADE_AT));
	cookie_make(&new, client, v4_address, MADE_AT, cookie);
	assert_memory_not_equal(cookie, expected, COOKIE_LEN);
	assert_true(cookie_is_valid(&old, cookie, COOKIE_LEN, v4_address, MADE_AT));
	assert_true(cookie_is_valid(&done, cookie, COOKIE_LEN, v4_address, MADE_AT));
}

static void cookie_of_before_midnight_is_good_after_it_and_made_with_another_secret(void **state)
{
	const struct cookie_secrets own = { .own = rfc_secret };
	const uint32_t midnight = MADE_AT / 86400 * 86400;
	uint8_t cookie[COOKIE_LEN], moved[COOKIE_LEN];

	cookie_make(&own, client, v4_address, midnight - 1, cookie);
	assert_true(cookie_is_valid(&own, cookie, COOKIE_LEN, v4_address, midnight + 3598));
	assert_false(cookie_is_valid(&own, cookie, COOKIE_LEN, v4_address, midnight + 3600));
	/* The day's secret is not that of the process. */
	cookie_make(&secrets, client, v4_address, midnight - 1, moved);
	assert_memory_not_equal(cookie, moved, COOKIE_LEN);
	assert_false(cookie_is_valid(&own, moved, COOKIE_LEN, v4_address, midnight));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cookie_is_that_of_the_rfc),
		cmocka_unit_test(cookie_for_ipv6_is_that_of_the_rfc),
		cmocka_unit_test(cookie_is_valid_for_an_hour),
		cmocka_unit_test(cookie_of_another_client_is_refused),
		cmocka_unit_test(forged_or_short_cookie_is_refused),
		cmocka_unit_test(secret_is_replaced_without_refusing_anybody),
		cmocka_unit_test(cookie_of_before_midnight_is_good_after_it_and_made_with_another_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
