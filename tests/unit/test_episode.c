#include "resolver/episode.h"

#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device_of.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
/* 2026-11-23T10:00:00Z */
#define TEN INT64_C(1795428000000000)
#define KEPT_MAX 20000

static struct config *config;
static struct episodes *episodes;
static struct episode *kept[KEPT_MAX];
static size_t kept_count;

static int read_config(void **state)
{
	static const char text[] = "profiles: [{name: pupils, networks: [10.20.0.0/16]}, {name: staff}]\n"
	                           "default-profile: pupils\n";
	static char why[CONFIG_WHY_MAX];

	(void)state;
	if (config_parse(&config, text, sizeof text - 1, "test", why) < 0)
		fail_msg("%s", why);
	return 0;
}

static int free_config(void **state)
{
	(void)state;
	config_free(config);
	return 0;
}

static void keep(void *arg, const struct episode *episode)
{
	(void)arg;
	assert_true(kept_count < KEPT_MAX);
	kept[kept_count++] = episode_copy(episode);
}

static int begin(void **state)
{
	(void)state;
	kept_count = 0;
	episodes = episodes_new(config, keep, NULL);
	return episodes ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	for (size_t i = 0; i < kept_count; i++)
		episode_free(kept[i]);
	episodes_free(episodes);
	return 0;
}

/* Who asks, until it is set back to NULL. */
static const struct device *asking;

/* The listed name is the last `labels` labels of the name. */
static void ask_as(int64_t time_us, uint16_t host, const char *text, unsigned labels, const char *category)
{
	static uint8_t client[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, 20 };
	int place = category ? config_category(config, category) : -1;
	struct block_record record = { .time_us = time_us,
		.client = host ? client : NULL,
		.device = asking,
		.profile = "pupils",
		.category = category,
		.rule_labels = (uint8_t)labels,
		.type = 1,
		.severity = place < 0 ? SEVERITY_ADVISORY : config->categories[place].severity };

	client[14] = (uint8_t)(host >> 8);
	client[15] = (uint8_t)host;
	assert_int_equal(name_from_text(&record.name, text, strlen(text)), 0);
	record.matched = record.name;
	assert_int_equal(episodes_feed(episodes, &record), 0);
}

static void ask(int64_t time_us, uint16_t host, const char *text, const char *category)
{
	ask_as(time_us, host, text, 2, category);
}

/* A, AAAA and HTTPS. */
static void ask_thrice(int64_t time_us, uint16_t host, const char *text, const char *category)
{
	for (int i = 0; i < 3; i++)
		ask(time_us + i, host, text, category);
}

static const char *name_at(const struct episode *episode, size_t i)
{
	static char text[NAME_TEXT_MAX];
	struct name name;

	assert_true(i < episode->name_count);
	assert_true(name_from_wire(&name, episode->names[i].wire, episode->names[i].len) > 0);
	name_to_text(&name, text);
	return text;
}

static bool has_name(const struct episode *episode, const char *text)
{
	for (size_t i = 0; i < episode->name_count; i++)
		if (strcmp(name_at(episode, i), text) == 0)
			return true;
	return false;
}

static void page_load_and_its_retries_are_one_episode(void **state)
{
	(void)state;
	ask(TEN, 1, "cdn.bet.test", "gambling");
	ask_thrice(TEN + SECOND, 1, "www.bet.test", "gambling");
	ask_thrice(TEN + 2 * SECOND, 1, "static.poker.test", "gambling");
	ask_thrice(TEN + 5 * MINUTE, 1, "www.bet.test", "gambling");
	episodes_finish(episodes);
	assert_int_equal(kept_count, 1);
	assert_int_equal(kept[0]->count, 10);
	assert_int_equal(kept[0]->first_us, TEN);
	assert_int_equal(kept[0]->last_us, TEN + 5 * MINUTE + 2);
	assert_string_equal(kept[0]->category, "gambling");
	assert_string_equal(kept[0]->profile, "pupils");
	assert_int_equal(kept[0]->severity, SEVERITY_CAUTION);
	assert_int_equal(kept[0]->name_count, 3);
	assert_string_equal(name_at(kept[0], 0), "www.bet.test"); /* what was typed */
	assert_string_equal(name_at(kept[0], 1), "cdn.bet.test");
	assert_false(kept[0]->background || kept[0]->bypass);
}

static void clients_are_kept_apart(void **state)
{
	(void)state;
	ask(TEN, 1, "bet.test", "gambling");
	ask(TEN + 1, 2, "bet.test", "gambling");
	ask(TEN + 2, 0, "bet.test", "gambling");
	episodes_finish(episodes);
	assert_int_equal(kept_count, 3);
	assert_true(kept[0]->has_client && kept[1]->has_client && !kept[2]->has_client);
}

static void a_pause_ends_an_episode(void **state)
{
	(void)state;
	ask(TEN, 1, "bet.test", "gambling");
	ask(TEN + 30 * MINUTE, 1, "bet.test", "gambling");
	ask(TEN + 61 * MINUTE, 1, "bet.test", "gambling");
	assert_int_equal(kept_count, 1); /* at once, not only at the end */
	episodes_finish(episodes);
	assert_int_equal(kept_count, 2);
}

static void danger_is_never_inside_a_lesser_episode(void **state)
{
	(void)state;
	ask(TEN, 1, "bet.test", "gambling");
	ask(TEN + 1, 1, "harm.test", "self-harm");
	ask(TEN + 2, 1, "bet.test", "gambling");
	ask(TEN + 3, 1, "doubleclick.net", "hate");
	episodes_finish(episodes);
	assert_int_equal(kept_count, 3);
	unsigned dangers = 0;
	for (size_t i = 0; i < kept_count; i++) {
		bool is_danger = has_name(kept[i], "harm.test") || has_name(kept[i], "doubleclick.net");
		assert_int_equal(kept[i]->severity == SEVERITY_DANGER, is_danger);
		assert_false(is_danger && kept[i]->background);
		dangers += is_danger;
	}
	assert_int_equal(dangers, 2);
}

static void no_name_of_danger_is_left_out(void **state)
{
	(void)state;
	char text[32];

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof text, "n%u.harm.test", i);
		ask(TEN + i, 1, text, "self-harm");
	}
	episodes_finish(episodes);
	assert_int_equal(kept_count, 1000 / EPISODE_NAMES_MAX + 1);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof text, "n%u.harm.test", i);
		unsigned found = 0;
		for (size_t k = 0; k < kept_count; k++)
			found += has_name(kept[k], text);
		assert_int_equal(found, 1);
	}
	for (size_t k = 0; k < kept_count; k++)
		assert_int_equal(kept[k]->more, 0);
}

static void what_was_typed_pushes_out_what_pages_ask(void **state)
{
	(void)state;
	char text[32];

	for (unsigned i = 0; i < 200; i++) {
		snprintf(text, sizeof text, "cdn%u.bet.test", i);
		ask(TEN + i, 1, text, "gambling");
	}
	ask(TEN + 300, 1, "poker.test", "gambling");
	episodes_finish(episodes);
	assert_int_equal(kept_count, 1);
	assert_int_equal(kept[0]->name_count, EPISODE_NAMES_MAX);
	assert_string_equal(name_at(kept[0], 0), "poker.test");
	assert_int_equal(kept[0]->count, 201);
	assert_int_equal(kept[0]->more, 201 - EPISODE_NAMES_MAX);
}

static void trackers_are_set_apart(void **state)
{
	(void)state;
	ask(TEN, 1, "ad.tracker.test", "ads");
	ask(TEN + 1, 1, "www.bet.test", "gambling");
	ask(TEN + 2, 1, "eu.graph.facebook.com", "social");
	ask(TEN + 3, 1, "www.facebook.com", "social");
	episodes_finish(episodes);
	assert_int_equal(kept_count, 4);
	for (size_t i = 0; i < kept_count; i++)
		assert_int_equal(kept[i]->background,
		        has_name(kept[i], "ad.tracker.test") || has_name(kept[i], "eu.graph.facebook.com"));
}

static void a_phone_that_asks_all_night_is_background(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		ask_thrice(TEN + i * 30 * MINUTE, 1, "api.app.test", "social");
		ask_thrice(TEN + i * 30 * MINUTE + 9, 1, "log.app.test", "social");
	}
	ask(TEN + 15 * HOUR, 1, "www.facebook.com", "social");
	episodes_finish(episodes);
	assert_int_equal(kept_count, 2);
	for (size_t i = 0; i < kept_count; i++) {
		bool typed = has_name(kept[i], "www.facebook.com");
		assert_int_equal(kept[i]->background, !typed);
		assert_int_equal(kept[i]->count, typed ? 1 : 180);
	}
}

static void danger_all_night_is_no_background(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 60 * 5; i++)
		ask(TEN + i * MINUTE, 1, "harm.test", "self-harm");
	episodes_finish(episodes);
	assert_true(kept_count >= 1);
	for (size_t i = 0; i < kept_count; i++)
		assert_false(kept[i]->background);
}

static void block_then_mirror_then_proxy_then_vpn_is_one_episode(void **state)
{
	(void)state;
	ask_thrice(TEN, 1, "games.test", "games");
	ask_thrice(TEN + MINUTE, 1, "mirror-games.test", "games");
	ask_thrice(TEN + 3 * MINUTE, 1, "proxy.test", "bypass");
	ask_thrice(TEN + 9 * MINUTE, 1, "vpn.test", "bypass");
	ask(TEN + 10 * MINUTE, 1, "games.test", "games");
	ask(TEN + 10 * MINUTE, 2, "vpn.test", "bypass");
	episodes_finish(episodes);
	assert_int_equal(kept_count, 2);
	assert_true(kept[0]->bypass);
	assert_string_equal(kept[0]->category, "games");
	assert_int_equal(kept[0]->severity, SEVERITY_CAUTION);
	assert_int_equal(kept[0]->count, 13);
	assert_string_equal(name_at(kept[0], 0), "games.test");
	assert_string_equal(name_at(kept[0], 3), "vpn.test");
	assert_false(kept[1]->bypass);
	assert_string_equal(kept[1]->category, "bypass");
}

static void a_browser_that_tries_its_own_resolver_goes_around_nothing(void **state)
{
	(void)state;
	ask(TEN, 1, "games.test", "games");
	ask(TEN + 1, 1, "dns.google", "bypass");
	episodes_finish(episodes);
	assert_int_equal(kept_count, 2);
	assert_false(kept[0]->bypass || kept[1]->bypass);
	assert_true(kept[0]->background || kept[1]->background);
}

static void memory_is_bounded(void **state)
{
	static const char *const categories[] = { "games", "social", "gambling", "adult", "drugs", "piracy",
		"dating", "chat", "hate", "violence", "self-harm", "weapons", "vawg", "extremism", "scam",
		"malware", "phishing", "hacking", "ai", "cheating" };
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		ask(TEN + i, 1, "x.test", categories[i]);
	assert_int_equal(kept_count, 4); /* 16 stay open */
	assert_string_equal(kept[0]->category, "games");
	for (unsigned i = 0; i < EPISODE_OPEN_MAX + 10; i++) {
		snprintf(text, sizeof text, "n%u.test", i);
		ask(TEN + 30 + i, (uint16_t)(i + 2), text, "hate");
	}
	assert_int_equal(kept_count, 4 + 16 + 10);
	episodes_finish(episodes);
	assert_int_equal(kept_count, 20 + EPISODE_OPEN_MAX + 10);
}

static void disorder_and_a_clock_set_back_do_no_harm(void **state)
{
	(void)state;
	ask(TEN, 1, "bet.test", "gambling");
	ask(TEN - 3 * SECOND, 1, "bet.test", "gambling");
	ask(TEN - HOUR, 1, "bet.test", "gambling");
	ask(INT64_MIN / 4, 1, "bet.test", "gambling");
	ask(TEN, 1, "bet.test", NULL);
	episodes_finish(episodes);
	uint64_t count = 0;
	for (size_t i = 0; i < kept_count; i++) {
		assert_true(kept[i]->first_us <= kept[i]->last_us);
		count += kept[i]->count;
	}
	assert_int_equal(count, 5);
}

/*
 * A school's day, seeded: 300 devices. Pages bring retries and third parties, apps ask all day, danger comes
 * alone in all that.
 */
struct day_event {
	int64_t time_us;
	uint16_t host;
	const char *text, *category;
};

static int by_time(const void *a, const void *b)
{
	const struct day_event *x = a, *y = b;

	return (x->time_us > y->time_us) - (x->time_us < y->time_us);
}

#define DAY_MAX 400000
#define DANGERS 10

static void a_school_day_is_twenty_to_one_and_hides_no_danger(void **state)
{
	static const char *const sites[] = { "www.games.test", "cdn.games.test", "api.games.test",
		"www.social.test", "img.social.test", "edge.social.test" };
	static const char *const app[] = { "mon.app.test", "api.app.test", "log.app.test" };
	struct day_event *day = calloc(DAY_MAX, sizeof *day);
	char dangers[DANGERS][32];
	size_t count = 0;

	(void)state;
	srandom(7);
	for (uint16_t host = 1; host <= 300; host++) {
		for (unsigned visit = 0; visit < 4; visit++) {
			int64_t at = TEN + random() % (6 * 3600) * SECOND;
			unsigned site = (unsigned)(random() % 2) * 3;
			for (unsigned i = 0; i < 30; i++)
				day[count++] = (struct day_event){ at + random() % 60 * SECOND, host,
					sites[site + (i < 3 ? 0 : i % 3)], site ? "social" : "games" };
			for (unsigned i = 0; i < 20; i++)
				day[count++] = (struct day_event){ at + random() % 60 * SECOND, host,
					"ad.doubleclick.net", "ads" };
		}
		for (int64_t at = TEN; host % 3 == 0 && at < TEN + 14 * HOUR; at += 20 * MINUTE)
			for (unsigned i = 0; i < 9; i++)
				day[count++] = (struct day_event){ at + i, host, app[i % 3], "social" };
	}
	for (unsigned i = 0; i < DANGERS; i++) {
		snprintf(dangers[i], sizeof dangers[i], "www.harm%u.test", i);
		day[count++] = (struct day_event){ TEN + random() % (6 * 3600) * SECOND,
			(uint16_t)(1 + i * 29), dangers[i], "self-harm" };
	}
	assert_true(count < DAY_MAX);
	qsort(day, count, sizeof *day, by_time);
	for (size_t i = 0; i < count; i++)
		ask(day[i].time_us, day[i].host, day[i].text, day[i].category);
	free(day);
	episodes_finish(episodes);

	size_t shown = 0;
	uint64_t lookups = 0;
	for (size_t i = 0; i < kept_count; i++) {
		shown += !kept[i]->background;
		lookups += kept[i]->count;
	}
	assert_int_equal(lookups, count);
	if (count < 20 * kept_count || count < 20 * shown)
		fail_msg("%zu lookups, %zu episodes, %zu of them shown", count, kept_count, shown);
	for (unsigned i = 0; i < DANGERS; i++) {
		unsigned found = 0;
		for (size_t k = 0; k < kept_count; k++)
			found += has_name(kept[k], dangers[i]) && kept[k]->severity == SEVERITY_DANGER &&
			         kept[k]->count == 1;
		assert_int_equal(found, 1);
	}
}

static void danger_is_read_first_and_background_last(void **state)
{
	(void)state;
	ask(TEN, 1, "harm.test", "self-harm");
	ask(TEN + 1, 2, "bet.test", "gambling");
	ask(TEN + 2, 3, "tracker.test", "ads");
	ask(TEN + 3, 4, "games.test", "games");
	episodes_finish(episodes);
	qsort(kept, kept_count, sizeof *kept, episode_compare);
	static const char *const order[] = { "harm.test", "bet.test", "games.test", "tracker.test" };
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(name_at(kept[i], 0), order[i]);
}

static void device_that_gets_another_address_is_one_episode(void **state)
{
	struct device phone = device_of(DEVICE_NEIGHBOUR, 1);

	(void)state;
	asking = &phone;
	ask(TEN, 1, "casino.test", "gambling");
	ask(TEN + MINUTE, 2, "casino.test", "gambling");
	ask(TEN + 2 * MINUTE, 3, "casino.test", "gambling");
	asking = NULL;
	episodes_finish(episodes);
	assert_int_equal(kept_count, 1);
	assert_int_equal(kept[0]->count, 3);
	assert_int_equal(kept[0]->client[15], 3); /* the newest */
}

static void two_devices_of_one_address_are_two_episodes(void **state)
{
	struct device phone = device_of(DEVICE_LEASE, 1), laptop = device_of(DEVICE_LEASE, 2);

	(void)state;
	asking = &phone;
	ask(TEN, 1, "casino.test", "gambling");
	asking = &laptop;
	ask(TEN + MINUTE, 1, "casino.test", "gambling");
	asking = NULL;
	episodes_finish(episodes);
	assert_int_equal(kept_count, 2);
}

static void json_has_every_key(void **state)
{
	(void)state;
	ask(TEN, 0, "a\\\"b\\010.own.test", NULL);
	episodes_finish(episodes);
	struct device device = { .confidence = DEVICE_LEASE, .name = "IPAD-7" };
	char *text = episode_json(kept[0], &device);
	json_t *json = json_loads(text, 0, NULL);
	static const char *const keys[] = { "client", "device", "profile", "severity", "category", "first",
		"last", "count", "names", "more", "watched", "bypass", "background", "mac", "confidence",
		"randomised", "identity" };
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (!json_object_get(json, keys[i]))
			fail_msg("no %s in %s", keys[i], text);
	assert_int_equal(json_object_size(json), sizeof keys / sizeof *keys);
	assert_true(json_is_null(json_object_get(json, "client")));
	assert_string_equal(json_string_value(json_object_get(json, "first")), "2026-11-23T10:00:00.000000Z");
	json_decref(json);
	free(text);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(page_load_and_its_retries_are_one_episode),
		TEST(clients_are_kept_apart),
		TEST(a_pause_ends_an_episode),
		TEST(danger_is_never_inside_a_lesser_episode),
		TEST(no_name_of_danger_is_left_out),
		TEST(what_was_typed_pushes_out_what_pages_ask),
		TEST(trackers_are_set_apart),
		TEST(a_phone_that_asks_all_night_is_background),
		TEST(danger_all_night_is_no_background),
		TEST(block_then_mirror_then_proxy_then_vpn_is_one_episode),
		TEST(a_browser_that_tries_its_own_resolver_goes_around_nothing),
		TEST(memory_is_bounded),
		TEST(disorder_and_a_clock_set_back_do_no_harm),
		TEST(a_school_day_is_twenty_to_one_and_hides_no_danger),
		TEST(danger_is_read_first_and_background_last),
		TEST(device_that_gets_another_address_is_one_episode),
		TEST(two_devices_of_one_address_are_two_episodes),
		TEST(json_has_every_key),
	};

	return cmocka_run_group_tests(tests, read_config, free_config);
}
