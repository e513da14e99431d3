#include "resolver/stats.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct stats_gauges gauges_of_a_school(void)
{
	static struct stats_source_age ages[] = { { "ut1", 3600 }, { "drugs", 7200 } };

	return (struct stats_gauges){ .version = "1.2.3",
		.uptime_s = 60,
		.generation_id = 42,
		.generation_names = 1000,
		.generation_age_s = 3600,
		.generation_hash = "0123456789abcdef0123456789abcdef",
		.cache_entries = 10,
		.cache_bytes = 4096,
		.tcp_clients = 7,
		.log_pending = 3,
		.recursor_restarts = 1,
		.sources_held = 2,
		.sealed_unfed = 1,
		.sources = ages,
		.source_count = 2 };
}

static json_t *read_json(const struct stats_sum *sum, const struct stats_gauges *gauges)
{
	char *text = stats_json(sum, gauges);
	assert_non_null(text);
	assert_null(strchr(text, '\n'));
	json_t *root = json_loads(text, 0, NULL);
	assert_non_null(root);
	free(text);
	return root;
}

static json_int_t number_at(json_t *root, const char *section, const char *key)
{
	json_t *value = json_object_get(json_object_get(root, section), key);
	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static void a_slot_stays_the_same_for_a_name(void **state)
{
	unsigned gambling = stats_slot(STATS_BLOCKED_CATEGORY, "gambling");

	assert_int_not_equal(gambling, 0);
	assert_int_equal(stats_slot(STATS_BLOCKED_CATEGORY, "gambling"), gambling);
	assert_int_not_equal(stats_slot(STATS_BLOCKED_CATEGORY, "games"), gambling);
	assert_int_not_equal(stats_slot(STATS_REWRITTEN_ENGINE, "gambling"), gambling);
}

static void a_pair_is_another_slot_than_its_names_other_way_round(void **state)
{
	unsigned slot = stats_slot_pair(STATS_PROFILE_REWRITTEN, "pupils", "google");

	assert_int_not_equal(slot, 0);
	assert_int_equal(stats_slot_pair(STATS_PROFILE_REWRITTEN, "pupils", "google"), slot);
	assert_int_not_equal(stats_slot_pair(STATS_PROFILE_REWRITTEN, "pupils", "bing"), slot);
	assert_int_not_equal(stats_slot_pair(STATS_PROFILE_REWRITTEN, "google", "pupils"), slot);
}

static void latency_bounds_are_inclusive(void **state)
{
	static struct stats stats;

	stats_latency(&stats, 0);
	stats_latency(&stats, 8);
	stats_latency(&stats, 9);
	stats_latency(&stats, 16);
	stats_latency(&stats, 17);
	stats_latency(&stats, 1 << 21);
	stats_latency(&stats, (1 << 21) + 1);
	stats_latency(&stats, UINT64_MAX / 4);
	assert_int_equal(stats.latency[0], 2);
	assert_int_equal(stats.latency[1], 2);
	assert_int_equal(stats.latency[2], 1);
	assert_int_equal(stats.latency[18], 1);
	assert_int_equal(stats.latency[19], 2);
}

static void sums_are_over_all_workers(void **state)
{
	static struct stats one, two;
	struct stats_sum sum = { 0 };
	unsigned slot = stats_slot(STATS_BLOCKED_CATEGORY, "gambling");

	STATS_ADD(&one, QUERIES_UDP);
	STATS_ADD(&two, QUERIES_UDP);
	stats_add(&one.labelled[slot], 3);
	stats_add(&two.labelled[slot], 4);
	stats_latency(&two, 100);
	stats_sum_add(&sum, &one);
	stats_sum_add(&sum, &two);
	assert_int_equal(sum.counter[STATS_QUERIES_UDP], 2);
	assert_int_equal(sum.labelled[slot], 7);
	assert_int_equal(sum.latency_sum_us, 100);
}

static void json_has_every_documented_key(void **state)
{
	static const char *const keys[][2] = { { "generation", "id" }, { "generation", "names" },
		{ "generation", "age_s" }, { "queries", "udp" }, { "queries", "tcp" },
		{ "answers", "resolved" }, { "answers", "cached" }, { "answers", "stale" },
		{ "answers", "blocked" }, { "answers", "rewritten" }, { "answers", "local" },
		{ "answers", "refused" }, { "answers", "servfail" }, { "answers", "formerr" },
		{ "answers", "limited" }, { "answers", "dropped" }, { "cache", "entries" },
		{ "cache", "bytes" }, { "cache", "hits" }, { "cache", "misses" }, { "log", "events" },
		{ "log", "pending" }, { "log", "lost" }, { "upstream", "queries" },
		{ "upstream", "timeouts" }, { "upstream", "latency_us" }, { "sources", "held" },
		{ "sources", "sealed_unfed" }, { "alerts", "waiting" }, { "alerts", "failing" },
		{ "tcp", "accepted" }, { "tcp", "closed" }, { "tcp", "closed_idle" }, { "tcp", "closed_cap" },
		{ "tcp", "closed_slow" }, { "tcp", "refused" }, { "recursion", "refused_client" },
		{ "recursion", "refused_all" }, { "overload", "dropped" }, { "overload", "overflowed" },
		{ "selftest", "questions" } };
	struct stats_sum sum = { 0 };
	struct stats_gauges gauges = gauges_of_a_school();
	json_t *root = read_json(&sum, &gauges);

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		number_at(root, keys[i][0], keys[i][1]);
	assert_string_equal(json_string_value(json_object_get(root, "version")), "1.2.3");
	assert_int_equal(json_integer_value(json_object_get(root, "uptime_s")), 60);
	assert_int_equal(number_at(root, "generation", "id"), 42);
	assert_int_equal(number_at(root, "log", "pending"), 3);
	assert_int_equal(number_at(root, "tcp", "clients"), 7);
	assert_int_equal(number_at(json_object_get(root, "sources"), "age_s", "drugs"), 7200);
	json_decref(root);
}

static void json_of_labels_shows_names_with_zero_too(void **state)
{
	struct stats_sum sum = { 0 };
	struct stats_gauges gauges = gauges_of_a_school();

	sum.labelled[stats_slot(STATS_BLOCKED_CATEGORY, "gambling")] = 5;
	stats_slot(STATS_BLOCKED_CATEGORY, "violence");
	sum.labelled[stats_slot(STATS_REWRITTEN_ENGINE, "google")] = 6;
	sum.labelled[stats_slot(STATS_PROFILE_QUERIES, "pupils")] = 7;
	sum.labelled[stats_slot(STATS_PROFILE_BLOCKED, "pupils")] = 8;
	sum.labelled[stats_slot_pair(STATS_PROFILE_REWRITTEN, "pupils", "google")] = 9;
	stats_slot_pair(STATS_PROFILE_REWRITTEN, "pupils", "bing");
	json_t *root = read_json(&sum, &gauges);
	assert_int_equal(number_at(root, "blocked", "gambling"), 5);
	assert_int_equal(number_at(root, "blocked", "violence"), 0);
	assert_int_equal(number_at(root, "rewritten", "google"), 6);
	assert_int_equal(number_at(json_object_get(root, "profiles"), "pupils", "queries"), 7);
	json_t *profiles = json_object_get(root, "profiles");
	assert_int_equal(number_at(profiles, "pupils", "blocked"), 8);
	assert_int_equal(number_at(json_object_get(profiles, "pupils"), "rewritten", "google"), 9);
	assert_int_equal(number_at(json_object_get(profiles, "pupils"), "rewritten", "bing"), 0);
	json_decref(root);
}

static void json_latency_has_a_count_for_each_bound(void **state)
{
	static struct stats stats;
	struct stats_sum sum = { 0 };
	struct stats_gauges gauges = gauges_of_a_school();

	stats_latency(&stats, 10);
	stats_latency(&stats, 10000000);
	stats_sum_add(&sum, &stats);
	json_t *root = read_json(&sum, &gauges);
	json_t *latency = json_object_get(root, "latency_us");
	json_t *le = json_object_get(latency, "le"), *count = json_object_get(latency, "count");
	assert_int_equal(json_array_size(le), STATS_LATENCY_BUCKETS);
	assert_int_equal(json_array_size(count), STATS_LATENCY_BUCKETS);
	assert_int_equal(json_integer_value(json_array_get(le, 0)), 8);
	assert_int_equal(json_integer_value(json_array_get(le, 18)), 2097152);
	assert_true(json_is_null(json_array_get(le, 19)));
	assert_int_equal(json_integer_value(json_array_get(count, 1)), 1);
	assert_int_equal(json_integer_value(json_array_get(count, 19)), 1);
	json_decref(root);
}

static void upstream_latency_is_a_mean_of_what_was_answered(void **state)
{
	struct stats_sum sum = { 0 };
	struct stats_gauges gauges = gauges_of_a_school();

	sum.counter[STATS_UPSTREAM_QUERIES] = 5;
	sum.counter[STATS_UPSTREAM_TIMEOUTS] = 1;
	sum.counter[STATS_UPSTREAM_LATENCY_SUM_US] = 4000;
	json_t *root = read_json(&sum, &gauges);
	assert_int_equal(number_at(root, "upstream", "latency_us"), 1000);
	json_decref(root);
	sum.counter[STATS_UPSTREAM_QUERIES] = 1;
	root = read_json(&sum, &gauges);
	assert_int_equal(number_at(root, "upstream", "latency_us"), 0);
	json_decref(root);
}

static void without_lists_the_generation_is_null(void **state)
{
	struct stats_sum sum = { 0 };
	struct stats_gauges gauges = { .version = "1", .generation_age_s = -1, .generation_hash = "" };
	json_t *root = read_json(&sum, &gauges);
	json_t *generation = json_object_get(root, "generation");
	char *text = stats_metrics(&sum, &gauges);

	assert_true(json_is_null(json_object_get(generation, "id")));
	assert_true(json_is_null(json_object_get(generation, "age_s")));
	assert_true(json_is_null(json_object_get(generation, "hash")));
	assert_null(strstr(text, "\nusher_lists_age_seconds "));
	assert_non_null(strstr(text, "# TYPE usher_lists_age_seconds gauge\n"));
	free(text);
	json_decref(root);
}

static void metrics_are_open_metrics(void **state)
{
	struct stats_sum sum = { 0 };
	struct stats_gauges gauges = gauges_of_a_school();

	sum.counter[STATS_RESOLVED] = 9;
	sum.counter[STATS_UPSTREAM_LATENCY_SUM_US] = 1500000;
	sum.latency[0] = 2;
	sum.latency[2] = 3;
	sum.latency[19] = 4;
	sum.latency_sum_us = 2000001;
	sum.labelled[stats_slot(STATS_BLOCKED_CATEGORY, "gambling")] = 5;
	sum.labelled[stats_slot_pair(STATS_PROFILE_REWRITTEN, "staff", "bing")] = 6;
	char *text = stats_metrics(&sum, &gauges);
	static const char *const lines[] = { "\n# TYPE usher_answers_resolved counter\n",
		"\n# HELP usher_answers_resolved Answers that recursion brought\n",
		"\nusher_answers_resolved_total 9\n", "\nusher_blocked_total{category=\"gambling\"} 5\n",
		"\nusher_profile_rewritten_total{profile=\"staff\",engine=\"bing\"} 6\n",
		"\nusher_upstream_latency_seconds_total 1.500000\n",
		"\n# TYPE usher_answer_seconds histogram\n",
		"\nusher_answer_seconds_bucket{le=\"0.000008\"} 2\n",
		"\nusher_answer_seconds_bucket{le=\"0.000016\"} 2\n",
		"\nusher_answer_seconds_bucket{le=\"0.000032\"} 5\n",
		"\nusher_answer_seconds_bucket{le=\"2.097152\"} 5\n",
		"\nusher_answer_seconds_bucket{le=\"+Inf\"} 9\n", "\nusher_answer_seconds_sum 2.000001\n",
		"\nusher_answer_seconds_count 9\n", "\nusher_lists_age_seconds 3600\n",
		"\nusher_source_age_seconds{source=\"ut1\"} 3600\n",
		"usher_build_info{version=\"1.2.3\"} 1\n" };
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		if (!strstr(text, lines[i]))
			fail_msg("missing:%s", lines[i]);
	assert_string_equal(text + strlen(text) - strlen("\n# EOF\n"), "\n# EOF\n");
	free(text);
}

static void label_values_cannot_break_out(void **state)
{
	struct stats_sum sum = { 0 };
	struct stats_gauges gauges = gauges_of_a_school();

	stats_slot(STATS_PROFILE_QUERIES, "a\"} 1\nusher_fake 2\\");
	char *text = stats_metrics(&sum, &gauges);
	assert_non_null(strstr(text, "{profile=\"a\\\"} 1\\nusher_fake 2\\\\\"} 0\n"));
	assert_null(strstr(text, "\nusher_fake"));
	free(text);
	json_t *root = read_json(&sum, &gauges);
	json_decref(root);
}

/* Many profiles times many engines; a category that a reload brings still finds a place of its own. */
static void pairs_leave_room_for_names(void **state)
{
	char name[32];

	for (unsigned i = 0; i < STATS_SLOTS; i++) {
		snprintf(name, sizeof name, "engine%u", i);
		stats_slot_pair(STATS_PROFILE_REWRITTEN, "pupils", name);
	}
	assert_int_equal(stats_slot_pair(STATS_PROFILE_REWRITTEN, "pupils", "one more"), 0);
	assert_int_not_equal(stats_slot(STATS_BLOCKED_CATEGORY, "new"), 0);
}

/* Last: it fills the table for good. */
static void names_after_the_table_is_full_share_slot_zero(void **state)
{
	struct stats_sum sum = { 0 };
	struct stats_gauges gauges = gauges_of_a_school();
	unsigned gambling = stats_slot(STATS_BLOCKED_CATEGORY, "gambling");
	char name[32];

	for (unsigned i = 0; i < STATS_SLOTS; i++) {
		snprintf(name, sizeof name, "profile%u", i);
		stats_slot(STATS_PROFILE_QUERIES, name);
	}
	assert_int_equal(stats_slot(STATS_PROFILE_QUERIES, "one more"), 0);
	assert_int_equal(stats_slot(STATS_BLOCKED_CATEGORY, "gambling"), gambling);
	sum.labelled[0] = 11;
	json_t *root = read_json(&sum, &gauges);
	assert_int_equal(json_integer_value(json_object_get(root, "other")), 11);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_stays_the_same_for_a_name),
		cmocka_unit_test(a_pair_is_another_slot_than_its_names_other_way_round),
		cmocka_unit_test(latency_bounds_are_inclusive),
		cmocka_unit_test(sums_are_over_all_workers),
		cmocka_unit_test(json_has_every_documented_key),
		cmocka_unit_test(json_of_labels_shows_names_with_zero_too),
		cmocka_unit_test(json_latency_has_a_count_for_each_bound),
		cmocka_unit_test(upstream_latency_is_a_mean_of_what_was_answered),
		cmocka_unit_test(without_lists_the_generation_is_null),
		cmocka_unit_test(metrics_are_open_metrics),
		cmocka_unit_test(label_values_cannot_break_out),
		cmocka_unit_test(pairs_leave_room_for_names),
		cmocka_unit_test(names_after_the_table_is_full_share_slot_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
