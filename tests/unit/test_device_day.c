/* A day's file of which device had which address. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "resolver/device_day.h"

#define DAY 20000

static char dir[64];

static int setup(void **state)
{
	snprintf(dir, sizeof dir, "/tmp/usher-device-day-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
	char command[100];

	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

static struct device_record record_of(
        enum device_source source, const char *address, uint8_t mac, int64_t start_s, int64_t end_s)
{
	struct device_record record = { .start_s = start_s,
		.end_s = end_s,
		.mac = { 0xa8, [5] = mac },
		.has_mac = mac != 0,
		.source = (uint8_t)source };
	bool v4 = strchr(address, ':') == NULL;

	if (v4)
		record.address[10] = record.address[11] = 0xff;
	assert_int_equal(inet_pton(v4 ? AF_INET : AF_INET6, address, record.address + (v4 ? 12 : 0)), 1);
	snprintf(record.name, sizeof record.name, "device-%u", mac);
	return record;
}

static void add(struct device_day *day, enum device_source source, const char *address, uint8_t mac,
        int64_t start_s, int64_t end_s)
{
	struct device_record record = record_of(source, address, mac, start_s, end_s);

	assert_int_equal(device_day_append(dir, day, &record), 0);
}

/* The name at an address by DHCP, "-" for none. */
static const char *name_at(struct device_day *day, const char *address, int64_t time_s)
{
	struct device_record asked = record_of(DEVICE_FROM_LEASE, address, 0, 0, 0);
	const struct device_record *found = device_day_at(day, DEVICE_FROM_LEASE, asked.address, time_s);

	return found != NULL ? found->name : "-";
}

static void the_last_that_began_speaks_and_of_two_the_one_written_last(void **state)
{
	static const struct {
		const char *address;
		int64_t time_s;
		const char *name;
	} cases[] = { { "10.0.0.7", 99, "-" }, { "10.0.0.7", 100, "device-1" },
		{ "10.0.0.7", 250, "device-1" }, { "10.0.0.7", 300, "device-4" },
		{ "10.0.0.7", 900, "device-4" }, { "10.0.0.8", 200, "device-2" }, { "10.0.0.9", 200, "-" } };
	struct device_day *day = device_day_load(dir, DAY, 1);

	add(day, DEVICE_FROM_LEASE, "10.0.0.7", 3, 300, 400);
	add(day, DEVICE_FROM_LEASE, "10.0.0.7", 4, 300, 400);
	add(day, DEVICE_FROM_LEASE, "10.0.0.7", 1, 100, 200);
	add(day, DEVICE_FROM_LEASE, "10.0.0.8", 2, 100, 200);
	add(day, DEVICE_FROM_RADIUS, "10.0.0.9", 2, 100, 200);
	struct device_day *read = device_day_load(dir, DAY, 2);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_string_equal(name_at(day, cases[i].address, cases[i].time_s), cases[i].name);
		assert_string_equal(name_at(read, cases[i].address, cases[i].time_s), cases[i].name);
	}
	assert_true(day->has_sessions && read->has_sessions);
	device_day_free(day);
	device_day_free(read);
}

static unsigned records_of_mac(const struct device_day *day, uint8_t mac)
{
	const uint8_t octets[6] = { 0xa8, [5] = mac };
	const struct device_record *record = NULL;
	unsigned count = 0;

	while ((record = device_day_of_mac(day, octets, record)) != NULL)
		count++;
	return count;
}

static void made_up_ipv6_addresses_of_a_device_make_no_long_chain(void **state)
{
	struct device_day *day = device_day_load(dir, DAY, 1);
	char address[32];

	add(day, DEVICE_FROM_LEASE, "10.0.0.7", 1, 100, 200);
	add(day, DEVICE_FROM_LEASE, "fd00::7", 1, 100, 200);
	add(day, DEVICE_FROM_NEIGHBOUR, "10.0.0.8", 1, 100, 200);
	add(day, DEVICE_FROM_NEIGHBOUR, "10.0.0.9", 2, 100, 200);
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(address, sizeof address, "fd00::1:%x", i);
		add(day, DEVICE_FROM_NEIGHBOUR, address, 1, 100, 200);
	}
	assert_int_equal(day->count, 5004);
	assert_int_equal(records_of_mac(day, 1), 3);
	assert_int_equal(records_of_mac(day, 2), 1);
	assert_int_equal(records_of_mac(day, 3), 0);
	for (size_t i = 0; i < DEVICE_DAY_BUCKETS; i++)
		assert_true(day->of_mac[i] == UINT32_MAX || day->of_mac[i] < 4);
	device_day_free(day);
}

static void a_longer_record_is_so_in_the_file(void **state)
{
	struct device_day *day = device_day_load(dir, DAY, 1);

	add(day, DEVICE_FROM_LEASE, "10.0.0.7", 1, 100, 200);
	add(day, DEVICE_FROM_LEASE, "10.0.0.8", 2, 100, 200);
	assert_int_equal(device_day_extend(dir, day, &day->records[1], 900), 0);
	struct device_day *read = device_day_load(dir, DAY, 2);
	assert_int_equal(read->count, 2);
	assert_int_equal(read->records[0].end_s, 200);
	assert_int_equal(read->records[1].end_s, 900);
	assert_int_equal(read->size, day->size);
	device_day_free(day);
	device_day_free(read);
}

static bool ends_early(void *arg, const struct device_record *record)
{
	return record->end_s < *(const int64_t *)arg;
}

static void file_written_anew_is_without_what_goes(void **state)
{
	struct device_day *day = device_day_load(dir, DAY, 1);
	int64_t before_s = 300;

	for (uint8_t i = 1; i <= 5; i++)
		add(day, DEVICE_FROM_LEASE, "10.0.0.7", i, 100 * i, 100 * i + 50);
	assert_int_equal(device_day_write_anew(dir, day, ends_early, &before_s), 0);
	struct device_day *read = device_day_load(dir, DAY, 2);
	assert_int_equal(read->count, 3);
	assert_string_equal(name_at(read, "10.0.0.7", 260), "-");
	assert_string_equal(name_at(read, "10.0.0.7", 360), "device-3");
	device_day_free(day);
	device_day_free(read);
}

static void file_that_is_none_of_ours_is_an_empty_day_and_begun_anew(void **state)
{
	static const char *const contents[] = { "", "x", "usher devices 9\nxxxxxxxx",
		"usher devices 1\ncut off" };

	for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
		char path[PATH_MAX];
		assert_int_equal(device_day_path(dir, DAY, path), 0);
		FILE *file = fopen(path, "w");
		assert_non_null(file);
		fputs(contents[i], file);
		fclose(file);
		struct device_day *day = device_day_load(dir, DAY, 1);
		assert_int_equal(day->count, 0);
		add(day, DEVICE_FROM_LEASE, "10.0.0.7", 1, 100, 200);
		device_day_free(day);
		day = device_day_load(dir, DAY, 1);
		assert_string_equal(name_at(day, "10.0.0.7", 150), "device-1");
		device_day_free(day);
	}
}

static void name_without_end_in_a_file_ends(void **state)
{
	struct device_day *day = device_day_load(dir, DAY, 1);
	struct device_record record = record_of(DEVICE_FROM_LEASE, "10.0.0.7", 1, 100, 200);

	memset(record.name, 'x', sizeof record.name);
	assert_int_equal(device_day_append(dir, day, &record), 0);
	device_day_free(day);
	day = device_day_load(dir, DAY, 1);
	assert_int_equal(strlen(name_at(day, "10.0.0.7", 150)), LEASE_NAME_MAX);
	device_day_free(day);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_last_that_began_speaks_and_of_two_the_one_written_last),
		TEST(made_up_ipv6_addresses_of_a_device_make_no_long_chain),
		TEST(a_longer_record_is_so_in_the_file),
		TEST(file_written_anew_is_without_what_goes),
		TEST(file_that_is_none_of_ours_is_an_empty_day_and_begun_anew),
		TEST(name_without_end_in_a_file_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
