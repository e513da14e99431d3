#include "resolver/log_count.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct config *config;
static char root[256], dir[300];
static char why[LOG_QUERY_WHY_MAX];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void log_one(struct ring *ring, int64_t time_us, const char *text, const char *category, uint8_t host)
{
	struct name name;
	uint8_t client[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, 20, 3, host };
	struct block_event event = { .time_us = time_us,
		.client = host ? client : NULL,
		.profile = "pupils",
		.category = category,
		.name = &name,
		.matched = &name,
		.rule_labels = 255,
		.type = 1,
		.keep_s = UINT32_MAX };
	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	assert_true(block_log_write(ring, &event));
}

/* 2026-11-23T10:00:00Z */
#define TEN INT64_C(1795428000000000)

static int make_store(void **state)
{
	(void)state;
	static const char text[] = "profiles: [{name: pupils, networks: [10.20.0.0/16]}, {name: staff, "
	                           "networks: [10.30.0.0/16]}]\n"
	                           "default-profile: pupils\n";
	static char config_why[CONFIG_WHY_MAX];
	char path[320];
	struct ring *ring;
	struct block_log *log;
	const char *tmp = getenv("TMPDIR");

	if (config_parse(&config, text, sizeof text - 1, "test", config_why) < 0)
		fail_msg("%s", config_why);
	snprintf(root, sizeof root, "%s/test_log_query.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(root))
		return -1;
	snprintf(dir, sizeof dir, "%s/log", root);
	snprintf(path, sizeof path, "%s/ring", root);
	assert_int_equal(ring_open(&ring, path, 1 << 16), 0);
	log_one(ring, TEN, "a.bet.test", "gambling", 1);
	log_one(ring, TEN + 1, "b.bet.test", "gambling", 2);
	log_one(ring, TEN + INT64_C(3600000000), "a.bet.test", "gambling", 1);
	log_one(ring, TEN + INT64_C(3600000001), "own.test", NULL, 0);
	struct block_log_options options = { .dir = dir, .rings = &ring, .ring_count = 1 };
	assert_int_equal(block_log_start(&log, &options), 0);
	block_log_stop(log);
	ring_close(ring);
	return 0;
}

static int remove_store(void **state)
{
	(void)state;
	config_free(config);
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* "client=10.0.0.1" */
static const char *one_parameter(void *arg, const char *name)
{
	const char *pair = arg;
	size_t len = strlen(name);
	return strncmp(pair, name, len) == 0 && pair[len] == '=' ? pair + len + 1 : NULL;
}

static struct log_query good(const char *pair)
{
	struct log_query query;
	if (log_query_read(&query, config, one_parameter, (void *)pair, why) < 0)
		fail_msg("%s: %s", pair, why);
	return query;
}

static void assert_bad(const char *pair, const char *sentence)
{
	struct log_query query;
	assert_int_equal(log_query_read(&query, config, one_parameter, (void *)pair, why), -EINVAL);
	if (!strstr(why, sentence))
		fail_msg("%s: %s", pair, why);
}

static void no_parameter_asks_for_the_newest_hundred(void **state)
{
	(void)state;
	struct log_query query = good("");
	assert_int_equal(query.filter.limit, 100);
	assert_int_equal(query.filter.severity, -1);
	assert_false(query.filter.has_client);
	assert_int_equal(query.filter.name.len, 0);
}

static void parameters_become_a_filter(void **state)
{
	(void)state;
	assert_int_equal(good("client=10.20.3.0/24").filter.client.length, 120);
	assert_string_equal(good("profile=staff").filter.profile, "staff");
	assert_string_equal(good("category=gambling").filter.category, "gambling");
	assert_int_equal(good("severity=danger").filter.severity, SEVERITY_DANGER);
	assert_int_equal(good("name=BET.test.").filter.name.labels, 2);
	assert_int_equal(good("limit=100000").filter.limit, 100000);
	assert_int_equal(good("count-by=hour").count_by, LOG_COUNT_HOUR);
	assert_int_equal(good("count-by=hour").filter.limit, 0);
}

static void wrong_parameters_are_told_what_is_expected(void **state)
{
	(void)state;
	assert_bad("client=10.20.3.0/40", "network");
	assert_bad("client=somebody", "network");
	assert_bad("client=", "network");
	assert_bad("profile=pupil", "pupils, staff");
	assert_bad("category=gamblin", "gambling");
	assert_bad("severity=high", "danger, caution or advisory");
	assert_bad("name=a..b", "domain name");
	assert_bad("limit=0", "1 to 100000");
	assert_bad("limit=100001", "1 to 100000");
	assert_bad("limit=-1", "1 to 100000");
	assert_bad("limit=ten", "1 to 100000");
	assert_bad("count-by=profile", "client, device, category, name, severity or hour");
	assert_bad("format=xml", "json");
	assert_bad("since=noon", "2026-11-23T10:15:00Z");
	assert_bad("until=99999999999999999999", "until");
	assert_bad("since=2026-11-23T10:15:00", "since");
	assert_bad("since=2026-11-23T10:15:00+1", "since");
	assert_bad("since=2026-13-23T10:15:00Z", "since");
}

static void times_are_read_in_every_form(void **state)
{
	(void)state;
	assert_int_equal(good("since=2026-11-23T10:00:00Z").filter.since_us, TEN);
	assert_int_equal(good("since=2026-11-23T10:00:00.000250Z").filter.since_us, TEN + 250);
	assert_int_equal(good("since=2026-11-23T11:00:00+01:00").filter.since_us, TEN);
	assert_int_equal(good("since=2026-11-23T09:30:00-00:30").filter.since_us, TEN);
	assert_int_equal(good("until=1795428000").filter.until_us, TEN);
	int64_t hour_ago = (int64_t)(time(NULL) - 3600) * 1000000;
	assert_in_range(good("since=1h").filter.since_us, hour_ago - 2000000, hour_ago + 2000000);
}

static void assert_answer(const char *pair, int64_t lines, const char *text)
{
	struct log_query query = good(pair);
	char *got = NULL;
	size_t len;
	FILE *out = open_memstream(&got, &len);
	assert_int_equal(log_query_run(&query, dir, out), lines);
	fclose(out);
	if (text)
		assert_string_equal(got, text);
	free(got);
}

static void counts_come_most_first_and_hours_in_order(void **state)
{
	(void)state;
	assert_answer("count-by=category", 2,
	        "{\"category\":\"gambling\",\"count\":3}\n{\"category\":null,\"count\":1}\n");
	assert_answer("count-by=name", 3,
	        "{\"name\":\"a.bet.test\",\"count\":2}\n{\"name\":\"b.bet.test\",\"count\":1}\n"
	        "{\"name\":\"own.test\",\"count\":1}\n");
	assert_answer("count-by=client", 3,
	        "{\"client\":\"10.20.3.1\",\"count\":2}\n{\"client\":null,\"count\":1}\n"
	        "{\"client\":\"10.20.3.2\",\"count\":1}\n");
	assert_answer("count-by=hour", 2,
	        "{\"hour\":\"2026-11-23T10:00:00Z\",\"count\":2}\n"
	        "{\"hour\":\"2026-11-23T11:00:00Z\",\"count\":2}\n");
}

static void counts_of_more_than_a_table_holds_are_the_same(void **state)
{
	(void)state;
	struct log_query query = good("count-by=name");
	char *text;
	size_t len;

	for (size_t table_max = 2; table_max <= 3; table_max++) {
		FILE *out = open_memstream(&text, &len);
		assert_int_equal(log_count_run_with(&query, dir, table_max, out), 3);
		fclose(out);
		assert_string_equal(text,
		        "{\"name\":\"a.bet.test\",\"count\":2}\n{\"name\":\"b.bet.test\",\"count\":1}\n"
		        "{\"name\":\"own.test\",\"count\":1}\n");
		free(text);
	}
}

static void rows_are_json_lines(void **state)
{
	(void)state;
	assert_answer("name=bet.test", 3, NULL);
	assert_answer("limit=1", 1,
	        "{\"time\":\"2026-11-23T11:00:00.000001Z\",\"client\":null,\"device\":null,\"profile\":"
	        "\"pupils\",\"name\":\"own.test\",\"type\":\"A\",\"category\":null,\"severity\":"
	        "\"advisory\",\"rule\":null,\"source\":null,\"matched\":\"own.test\",\"action\":"
	        "\"block\",\"generation\":null,\"mac\":null,\"confidence\":null,\"randomised\":null,"
	        "\"identity\":null}\n");
	assert_answer("profile=staff", 0, "");
}

static void lease_of(
        struct devices *devices, const char *name, uint8_t host, uint8_t mac, int64_t start_s, int64_t end_s)
{
	struct lease lease = { .address = { [10] = 0xff, [11] = 0xff, [12] = 10, 20, 3, host },
		.has_mac = true,
		.mac = { 2, 0, 0, 0, 0, mac },
		.start_s = start_s,
		.end_s = end_s };

	snprintf(lease.name, sizeof lease.name, "%s", name);
	assert_int_equal(devices_note(devices, DEVICE_FROM_LEASE, &lease, end_s, UINT32_MAX), 0);
}

/* 10.20.3.1 was the laptop's at ten and the tablet's at eleven; 10.20.3.2 had only a MAC. */
static void rows_name_the_device_that_had_the_address_then(void **state)
{
	const int64_t ten_s = TEN / 1000000;
	char path[320];

	(void)state;
	snprintf(path, sizeof path, "%s/devices", root);
	assert_int_equal(mkdir(path, 0700), 0);
	struct devices *devices = devices_new(path);
	lease_of(devices, "laptop", 1, 1, ten_s - 600, ten_s + 600);
	lease_of(devices, "tablet", 1, 2, ten_s + 1200, ten_s + 7200);
	lease_of(devices, "", 2, 3, ten_s - 7200, ten_s - 3600);
	devices_free(devices);
	assert_answer("count-by=device", 4,
	        "{\"device\":null,\"count\":1}\n"
	        "{\"device\":\"02:00:00:00:00:03\",\"count\":1}\n"
	        "{\"device\":\"laptop\",\"count\":1}\n"
	        "{\"device\":\"tablet\",\"count\":1}\n");
	assert_answer("device=Laptop", 1,
	        "{\"time\":\"2026-11-23T10:00:00.000000Z\",\"client\":\"10.20.3.1\",\"device\":\"laptop\","
	        "\"profile\":\"pupils\",\"name\":\"a.bet.test\",\"type\":\"A\",\"category\":\"gambling\","
	        "\"severity\":\"advisory\",\"rule\":null,\"source\":null,\"matched\":\"a.bet.test\","
	        "\"action\":\"block\",\"generation\":null,\"mac\":\"02:00:00:00:00:01\",\"confidence\":"
	        "\"lease\",\"randomised\":true,\"identity\":\"02:00:00:00:00:01\"}\n");
	assert_answer("device=02-00-00-00-00-02", 1, NULL);
	assert_answer("device=02:00:00:00:00:03", 1, NULL);
	assert_answer("device=nobody", 0, "");
	assert_bad("device=", "a device's name or MAC address");
}

static void a_misspelt_parameter_does_not_answer_with_everybody(void **state)
{
	(void)state;
	static const char *const right[] = { "client", "since", "format", "count-by" };
	assert_int_equal(log_query_check_names(log_query_parameters, right, 4, why), 0);
	assert_int_equal(log_query_check_names(log_query_parameters, NULL, 0, why), 0);
	static const char *const wrong[] = { "clients", "Client", "", "client " };
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(log_query_check_names(log_query_parameters, &wrong[i], 1, why), -EINVAL);
		assert_non_null(strstr(why, "unknown parameter"));
		assert_non_null(strstr(why, "known are: client, device, profile"));
	}
	static const char *const twice[] = { "client", "since", "client" };
	assert_int_equal(log_query_check_names(log_query_parameters, twice, 3, why), -EINVAL);
	assert_string_equal(why, "client: found twice, expected once");
}

static void until_the_beginning_of_time_is_not_without_end(void **state)
{
	(void)state;
	assert_answer("until=0", 0, "");
	assert_answer("until=1970-01-01T00:00:00Z", 0, "");
	assert_answer("until=1960-01-01T00:00:00Z", 0, "");
	assert_answer("until=36500d", 0, "");
	assert_answer("since=0", 4, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_parameter_asks_for_the_newest_hundred),
		cmocka_unit_test(parameters_become_a_filter),
		cmocka_unit_test(wrong_parameters_are_told_what_is_expected),
		cmocka_unit_test(times_are_read_in_every_form),
		cmocka_unit_test(counts_come_most_first_and_hours_in_order),
		cmocka_unit_test(counts_of_more_than_a_table_holds_are_the_same),
		cmocka_unit_test(rows_are_json_lines),
		cmocka_unit_test(rows_name_the_device_that_had_the_address_then),
		cmocka_unit_test(a_misspelt_parameter_does_not_answer_with_everybody),
		cmocka_unit_test(until_the_beginning_of_time_is_not_without_end),
	};
	return cmocka_run_group_tests(tests, make_store, remove_store);
}
