#include "resolver/newcomers.h"
#include "resolver/signal.h"
#include "resolver/signal_watch.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device_of.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
/* 2026-11-23T10:00:00Z */
#define TEN INT64_C(1795428000000000)

static struct config *config;
static struct signals *signals;
static struct {
	char rule[32], json[20000];
	uint64_t id, count, more;
	unsigned clients, updates;
	bool is_sent;
	enum config_severity severity;
	size_t evidence;
} told[100];
static size_t told_count;

static void hear(void *arg, const struct signal *signal, enum signal_stage stage)
{
	(void)arg;
	size_t i = 0;
	bool is_new = stage == SIGNAL_NEW;

	if (stage == SIGNAL_OVER)
		return;

	while (i < told_count && told[i].id != signal->id)
		i++;
	assert_int_equal(i == told_count, is_new);
	assert_true(i < 100);
	told_count += is_new;
	told[i].updates += !is_new;
	told[i].id = signal->id;
	told[i].count = signal->count;
	told[i].more = signal->more;
	told[i].clients = signal->clients;
	told[i].is_sent = signal->is_sent;
	told[i].severity = signal->severity;
	told[i].evidence = signal->evidence_count;
	snprintf(told[i].rule, sizeof told[i].rule, "%s", signal->rule->name);
	char *json = signal_json(signal, NULL);
	snprintf(told[i].json, sizeof told[i].json, "%s", json);
	free(json);
}

static void begin(const char *alerts)
{
	static char why[CONFIG_WHY_MAX];
	char text[2000];

	snprintf(text, sizeof text,
	        "profiles: [{name: pupils, networks: [10.20.0.0/16]}, {name: staff}]\ndefault-profile: "
	        "pupils\n%s",
	        alerts);
	if (config_parse(&config, text, strlen(text), "test", why) < 0)
		fail_msg("%s", why);
	told_count = 0;
	memset(told, 0, sizeof told);
	signals = signals_new(config, hear, NULL);
	assert_non_null(signals);
}

static void end(void)
{
	signals_free(signals);
	config_free(config);
}

/* Who asks, until it is set back to NULL. */
static const struct device *asking;

static void ask_of(const char *profile, int64_t time_us, uint8_t host, const char *text, const char *category)
{
	uint8_t client[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, 20, 0, host };
	int place = category ? config_category(config, category) : -1;
	struct block_record record = { .time_us = time_us,
		.client = host ? client : NULL,
		.device = asking,
		.profile = profile,
		.category = category,
		.rule_labels = 2,
		.type = 1,
		.severity = place < 0 ? SEVERITY_ADVISORY : config->categories[place].severity };

	assert_int_equal(name_from_text(&record.name, text, strlen(text)), 0);
	record.matched = record.name;
	assert_int_equal(signals_feed(signals, &record), 0);
}

static void ask(int64_t time_us, uint8_t host, const char *text, const char *category)
{
	ask_of("pupils", time_us, host, text, category);
}

static size_t count_of(const char *rule)
{
	size_t count = 0;

	for (size_t i = 0; i < told_count; i++)
		count += strcmp(told[i].rule, rule) == 0;
	return count;
}

static void one_danger_is_told_and_a_storm_is_one_signal(void **state)
{
	char text[32];

	(void)state;
	begin("");
	ask(TEN, 1, "bet.test", "gambling");
	assert_int_equal(told_count, 0);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(text, sizeof text, "n%u.harm.test", i);
		ask(TEN + i * 1000, 1, text, "self-harm");
	}
	assert_int_equal(told_count, 1);
	assert_string_equal(told[0].rule, "danger");
	assert_int_equal(told[0].count, 10000);
	assert_int_equal(told[0].evidence, SIGNAL_EVIDENCE_MAX);
	assert_int_equal(told[0].more, 10000 - SIGNAL_EVIDENCE_MAX);
	assert_int_equal(told[0].severity, SEVERITY_DANGER);
	assert_true(told[0].is_sent);
	ask(TEN + MINUTE, 2, "harm.test", "self-harm");
	ask(TEN + HOUR, 1, "harm.test", "self-harm");
	assert_int_equal(told_count, 3); /* another client; the same one later */
	end();
}

static void a_threshold_counts_within_its_window(void **state)
{
	(void)state;
	begin("alerts: {rules: [{name: adult, severity: caution, count: 5, window: 10m}]}\n");
	for (unsigned i = 0; i < 20; i++)
		ask(TEN + i * 3 * MINUTE, 1, "adult.test", "adult");
	assert_int_equal(count_of("adult"), 0);
	for (unsigned i = 0; i < 5; i++)
		ask(TEN + 3 * HOUR + i * MINUTE, 2, "adult.test", "adult");
	assert_int_equal(count_of("adult"), 1);
	assert_int_equal(told[0].count, 5);
	for (unsigned i = 0; i < 10; i++)
		ask(TEN + 4 * HOUR + i * MINUTE, 3, "games.test", "games");
	assert_int_equal(count_of("adult"), 1);
	end();
}

static void a_rule_may_name_categories_and_profiles(void **state)
{
	(void)state;
	begin("alerts: {rules: [{name: bets, severity: advisory, categories: [gambling], profiles: "
	      "[pupils]}]}\n");
	ask(TEN, 1, "games.test", "games");
	ask_of("staff", TEN, 2, "bet.test", "gambling");
	assert_int_equal(count_of("bets"), 0);
	ask(TEN, 1, "bet.test", "gambling");
	assert_int_equal(count_of("bets"), 1);
	end();
}

static void staff_with_a_rule_of_its_own_is_in_no_other_queue(void **state)
{
	(void)state;
	begin("alerts: {mail-to: [dsl@school.example], rules: [{name: danger}, {name: burn, kind: "
	      "slow-burn}, "
	      "{name: staff, profiles: [staff], mail-to: [head@school.example]}]}\n");
	for (unsigned week = 0; week < 5; week++)
		ask_of("staff", TEN + week * 7 * DAY, 9, "harm.test", "self-harm");
	assert_int_equal(count_of("danger") + count_of("burn"), 0);
	assert_true(count_of("staff") > 0);
	ask(TEN + 40 * DAY, 1, "harm.test", "self-harm");
	assert_int_equal(count_of("danger"), 1);
	end();
}

/* A rule of one category must not take the rest of a profile's danger from the others. */
static void a_rule_of_a_category_takes_nothing_from_the_general_ones(void **state)
{
	(void)state;
	begin("alerts: {mail-to: [dsl@school.example], rules: [{name: danger}, {name: malware, severity: "
	      "caution, "
	      "categories: [malware], profiles: [pupils, staff], mail-to: [it@school.example]}]}\n");
	ask(TEN, 1, "harm.test", "self-harm");
	assert_int_equal(count_of("danger"), 1);
	end();
}

static void few_lookups_a_week_are_a_slow_burn(void **state)
{
	(void)state;
	begin("alerts: {rules: [{name: many, count: 20, window: 1h}, {name: burn, kind: slow-burn}]}\n");
	for (unsigned week = 0; week < 4; week++) {
		ask(TEN + week * 7 * DAY, 1, "www.harm.test", "self-harm");
		ask(TEN + week * 7 * DAY + 2 * DAY, 1, "other.test", "self-harm");
		for (uint8_t host = 10; host < 60; host++) /* once each: no trend */
			if (host % 4 == week)
				ask(TEN + week * 7 * DAY + 3 * DAY, host, "harm.test", "self-harm");
	}
	assert_int_equal(count_of("many"), 0);
	assert_in_range(count_of("burn"), 1, 2);
	assert_non_null(strstr(told[0].json, "\"client\":\"10.20.0.1\""));
	assert_non_null(strstr(told[0].json, "www.harm.test"));
	end();
}

static void two_weeks_are_no_slow_burn(void **state)
{
	(void)state;
	begin("");
	for (unsigned day = 0; day < 8; day++)
		ask(TEN + day * DAY, 1, "harm.test", "self-harm");
	assert_int_equal(count_of("slow-burn"), 0);
	ask(TEN + 100 * DAY, 1, "harm.test", "self-harm");
	assert_int_equal(count_of("slow-burn"), 0); /* what was long ago does not count */
	end();
}

static void slow_burn_goes_on_under_another_address(void **state)
{
	struct device laptop = device_of(DEVICE_LEASE, 1);

	(void)state;
	begin("");
	asking = &laptop;
	for (unsigned week = 0; week < 3; week++)
		ask(TEN + week * 7 * DAY, week < 2 ? 1 : 200, "harm.test", "self-harm");
	asking = NULL;
	assert_int_equal(count_of("slow-burn"), 1);
	assert_non_null(strstr(told[3].json, "\"rule\":\"slow-burn\""));
	assert_non_null(strstr(told[3].json, "\"client\":\"10.20.0.200\""));
	assert_non_null(strstr(told[3].json, "\"client\":\"10.20.0.1\"")); /* evidence */
	end();
}

/* Two weeks of one device at 10.20.0.1, and a third. */
static void a_slow_burn_goes_by_the_device_where_that_is_sure(void **state)
{
	static const struct {
		struct {
			enum device_confidence confidence;
			uint8_t number;
		} first, last;
		uint8_t last_host;
		bool is_burn;
	} cases[] = {
		{ { DEVICE_LEASE, 1 }, { DEVICE_LEASE, 1 }, 1, true },
		{ { DEVICE_LEASE, 1 }, { DEVICE_NEIGHBOUR, 1 }, 200, true },
		{ { DEVICE_LEASE, 1 }, { DEVICE_LEASE, 2 }, 1, false },
		{ { DEVICE_LEASE, 1 }, { DEVICE_DISPUTED, 1 }, 200, false },
		{ { DEVICE_EXPIRED, 1 }, { DEVICE_DISPUTED, 2 }, 1, true },
		{ { DEVICE_EXPIRED, 1 }, { DEVICE_EXPIRED, 1 }, 200, false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct device first = device_of(cases[i].first.confidence, cases[i].first.number),
		              last = device_of(cases[i].last.confidence, cases[i].last.number);
		begin("");
		asking = &first;
		ask(TEN, 1, "harm.test", "self-harm");
		ask(TEN + 7 * DAY, 1, "harm.test", "self-harm");
		asking = &last;
		ask(TEN + 14 * DAY, cases[i].last_host, "harm.test", "self-harm");
		asking = NULL;
		if (count_of("slow-burn") != cases[i].is_burn)
			fail_msg("case %zu", i);
		end();
	}
}

static void one_device_of_many_addresses_is_no_swarm(void **state)
{
	struct device phone = device_of(DEVICE_NEIGHBOUR, 1);

	(void)state;
	begin("");
	ask(TEN, 99, "old.test", "games");
	asking = &phone;
	for (uint8_t host = 1; host <= 9; host++)
		ask(TEN + 2 * DAY + host * MINUTE, host, "new.test", "games");
	asking = NULL;
	assert_int_equal(count_of("swarm"), 0);
	end();
}

static void chase_goes_on_under_another_address(void **state)
{
	struct device phone = device_of(DEVICE_LEASE, 1);

	(void)state;
	begin("");
	asking = &phone;
	ask(TEN, 1, "games.test", "games");
	ask(TEN + MINUTE, 1, "mirror.test", "games");
	ask(TEN + 4 * MINUTE, 2, "unblock.test", "bypass");
	assert_int_equal(count_of("chase"), 1);
	ask(TEN + 5 * MINUTE, 3, "bestvpn.test", "bypass");
	asking = NULL;
	assert_int_equal(told_count, 1);
	assert_non_null(strstr(told[0].json, "\"client\":\"10.20.0.3\",\"device\""));
	end();
}

static void block_mirror_proxy_vpn_is_a_chase(void **state)
{
	(void)state;
	begin("");
	ask(TEN, 1, "games.test", "games");
	ask(TEN, 1, "www.games.test", "games");
	ask(TEN + MINUTE, 1, "mirror.test", "games");
	ask(TEN + MINUTE, 1, "img.social.test", "social");
	assert_int_equal(told_count, 0);
	ask(TEN + 4 * MINUTE, 1, "unblock.test", "bypass");
	assert_int_equal(count_of("chase"), 1);
	ask(TEN + 9 * MINUTE, 1, "bestvpn.test", "bypass");
	assert_int_equal(told_count, 1);
	json_t *json = json_loads(told[0].json, 0, NULL), *evidence = json_object_get(json, "evidence");
	static const char *const steps[] = { "block", "mirror", "proxy", "vpn" };
	assert_int_equal(json_array_size(evidence), 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(
		        json_string_value(json_object_get(json_array_get(evidence, i), "step")), steps[i]);
	assert_string_equal(json_string_value(json_object_get(json, "category")), "games");
	assert_string_equal(json_string_value(json_object_get(json, "severity")), "caution");
	json_decref(json);
	end();
}

static void who_uses_a_vpn_all_day_chases_nothing(void **state)
{
	(void)state;
	begin("");
	for (unsigned i = 0; i < 100; i++) {
		ask(TEN + i * 5 * MINUTE, 1, "bestvpn.test", "bypass");
		ask(TEN + i * 5 * MINUTE, 1, "othervpn.test", "bypass");
		ask(TEN + i * 5 * MINUTE, 2, "unblock.test", "bypass");
		ask(TEN + i * 5 * MINUTE + 1, 1, i % 10 ? "dns.google" : "games.test",
		        i % 10 ? "bypass" : "games");
	}
	assert_int_equal(count_of("chase"), 0);
	end();
}

static void steps_of_two_clients_are_no_chase(void **state)
{
	(void)state;
	begin("");
	ask(TEN, 1, "games.test", "games");
	ask(TEN + 1, 1, "mirror.test", "games");
	ask(TEN + 2, 2, "unblock.test", "bypass");
	ask(TEN + 3, 2, "bestvpn.test", "bypass");
	ask(TEN + 2 * HOUR, 1, "unblock.test", "bypass");
	assert_int_equal(count_of("chase"), 0);
	end();
}

static void a_new_site_of_five_devices_is_a_swarm(void **state)
{
	char text[32];

	(void)state;
	begin("");
	for (uint8_t host = 1; host < 50; host++)
		ask(TEN + host, host, "games.test", "games"); /* the first day: everything is new */
	assert_int_equal(told_count, 0);
	for (uint8_t host = 1; host < 50; host++)
		ask(TEN + 2 * DAY + host, host, "games.test", "games");
	assert_int_equal(told_count, 0);
	for (uint8_t host = 1; host < 9; host++) {
		snprintf(text, sizeof text, "n%u.fresh.test", host);
		ask(TEN + 2 * DAY + host * MINUTE, host, text, "games");
		ask(TEN + 2 * DAY + host * MINUTE, host, text, "games");
	}
	assert_int_equal(told_count, 1);
	assert_string_equal(told[0].rule, "swarm");
	assert_int_equal(told[0].clients, 8);
	assert_non_null(strstr(told[0].json, "n1.fresh.test"));
	for (uint8_t host = 1; host < 9; host++)
		ask(TEN + 3 * DAY + host * HOUR, host, "slow.test", "games"); /* not within an hour */
	assert_int_equal(told_count, 1);
	end();
}

/* What usherd writes of a new site that nothing blocks. */
static void tell_new_site(const char *profile, int64_t time_us, const char *text, unsigned devices)
{
	char source[NEWCOMERS_SOURCE_LEN];
	struct block_record record = { .time_us = time_us,
		.profile = profile,
		.source = source,
		.rule_labels = UINT8_MAX,
		.type = 255,
		.severity = SEVERITY_CAUTION,
		.action = BLOCK_ACTION_WATCH };

	newcomers_source(devices, source);
	assert_int_equal(name_from_text(&record.name, text, strlen(text)), 0);
	record.matched = record.name;
	assert_int_equal(signals_feed(signals, &record), 0);
}

static void a_new_site_that_nothing_blocks_is_one_swarm(void **state)
{
	(void)state;
	begin("alerts: {rules: [{name: swarm, kind: swarm}, {name: crowd, kind: swarm, count: 20}, {name: "
	      "much, "
	      "severity: advisory, count: 1}]}\n");
	tell_new_site("pupils", TEN, "fresh.test", 5); /* though no day of records was seen */
	assert_int_equal(told_count, 1);
	tell_new_site("pupils", TEN + 5 * MINUTE, "fresh.test", 10);
	assert_int_equal(told_count, 1);
	assert_int_equal(told[0].clients, 10);
	assert_non_null(strstr(told[0].json, "\"client\":null"));
	assert_non_null(strstr(told[0].json, "\"action\":\"watch\""));
	assert_non_null(strstr(told[0].json, "10 devices asked for a site that nobody here wanted before"));
	tell_new_site("pupils", TEN + 6 * MINUTE, "fresh.test", 20);
	assert_int_equal(count_of("crowd"), 1);
	assert_int_equal(count_of("much"), 0);
	assert_int_equal(told_count, 2);
	end();
}

static void who_is_blocked_at_a_new_site_after_it_was_told_belongs_to_it(void **state)
{
	(void)state;
	begin("");
	ask(TEN - 3 * DAY, 1, "games.test", "games");
	tell_new_site("pupils", TEN, "fresh.test", 5);
	for (uint8_t host = 1; host < 20; host++)
		ask(TEN + host * MINUTE, host, "www.fresh.test", "games"); /* it was put on a list */
	assert_int_equal(count_of("swarm"), 1);
	end();
}

static void a_new_site_of_others_is_not_for_this_rule(void **state)
{
	(void)state;
	begin("alerts: {rules: [{name: swarm, kind: swarm, profiles: [pupils]}, {name: games, kind: swarm, "
	      "categories: [games]}]}\n");
	tell_new_site("staff", TEN, "fresh.test", 30);
	assert_int_equal(told_count, 0);
	tell_new_site("pupils", TEN, "fresh.test", 4);
	assert_int_equal(told_count, 0);
	tell_new_site("pupils", TEN, "fresh.test", 6);
	assert_int_equal(told_count, 1);
	end();
}

static void background_is_no_signal(void **state)
{
	(void)state;
	begin("alerts: {rules: [{name: much, severity: advisory, count: 10, window: 1h}]}\n");
	ask(TEN - 3 * DAY, 1, "games.test", "games");
	for (unsigned i = 0; i < 100; i++)
		ask(TEN + i, (uint8_t)(i % 9 + 1), "tracker.test", "ads");
	assert_int_equal(told_count, 0);
	end();
}

static void the_same_records_give_the_same_ids(void **state)
{
	uint64_t first[2];

	(void)state;
	for (unsigned turn = 0; turn < 2; turn++) {
		begin("");
		ask(TEN, 1, "harm.test", "self-harm");
		ask(TEN + 1, 2, "harm.test", "self-harm");
		assert_int_equal(told_count, 2);
		if (turn == 0)
			memcpy(first, (uint64_t[]){ told[0].id, told[1].id }, sizeof first);
		assert_true(told[0].id == first[0] && told[1].id == first[1] && first[0] != first[1]);
		end();
	}
}

static void lookups_without_a_client_are_told_by_profile(void **state)
{
	(void)state;
	begin("");
	ask(TEN, 0, "harm.test", "self-harm");
	ask_of("gone", TEN, 0, "harm.test", "self-harm");
	assert_int_equal(told_count, 2);
	assert_non_null(strstr(told[0].json, "\"client\":null"));
	end();
}

static void memory_is_bounded(void **state)
{
	(void)state;
	begin("");
	struct block_record record = { .profile = "pupils", .category = "games", .rule_labels = 2 };
	uint8_t client[16] = { 0xfd };
	char text[40];
	record.client = client;
	for (uint32_t i = 0; i < SIGNAL_WATCHES_MAX + 1000; i++) {
		memcpy(client + 12, &i, 4);
		snprintf(text, sizeof text, "n%u.test", i % 100);
		assert_int_equal(name_from_text(&record.name, text, strlen(text)), 0);
		record.time_us = TEN + i;
		assert_int_equal(signals_feed(signals, &record), 0);
	}
	end();
}

#define TEST(function) cmocka_unit_test(function)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_danger_is_told_and_a_storm_is_one_signal),
		TEST(a_threshold_counts_within_its_window),
		TEST(a_rule_may_name_categories_and_profiles),
		TEST(staff_with_a_rule_of_its_own_is_in_no_other_queue),
		TEST(a_rule_of_a_category_takes_nothing_from_the_general_ones),
		TEST(few_lookups_a_week_are_a_slow_burn),
		TEST(two_weeks_are_no_slow_burn),
		TEST(slow_burn_goes_on_under_another_address),
		TEST(a_slow_burn_goes_by_the_device_where_that_is_sure),
		TEST(one_device_of_many_addresses_is_no_swarm),
		TEST(chase_goes_on_under_another_address),
		TEST(block_mirror_proxy_vpn_is_a_chase),
		TEST(who_uses_a_vpn_all_day_chases_nothing),
		TEST(steps_of_two_clients_are_no_chase),
		TEST(a_new_site_of_five_devices_is_a_swarm),
		TEST(a_new_site_that_nothing_blocks_is_one_swarm),
		TEST(who_is_blocked_at_a_new_site_after_it_was_told_belongs_to_it),
		TEST(a_new_site_of_others_is_not_for_this_rule),
		TEST(background_is_no_signal),
		TEST(the_same_records_give_the_same_ids),
		TEST(lookups_without_a_client_are_told_by_profile),
		TEST(memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
