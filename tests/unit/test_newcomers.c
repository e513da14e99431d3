/* Sites that nobody here asked for before: told when many devices do, once, and not for one who floods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "resolver/newcomers.h"

#define MINUTE INT64_C(60000000)
#define NINE                                                                                                 \
	(INT64_C(1780000000) * 1000000 / (60 * MINUTE) * (60 * MINUTE)) /* an hour of the clock begins       \
	                                                                 */
#define TOLD_MAX 64

enum { PUPILS, STAFF, SIXTH };

struct school {
	struct config *config;
	struct newcomers *newcomers;
	size_t told_count;
	struct told {
		char site[NAME_TEXT_MAX], profile[32];
		unsigned devices;
	} told[TOLD_MAX];
};

static void told(void *arg, const struct newcomers_site *site)
{
	struct school *school = arg;

	assert_true(school->told_count < TOLD_MAX);
	struct told *told = &school->told[school->told_count++];
	name_to_text(&site->name, told->site);
	snprintf(told->profile, sizeof told->profile, "%s", site->profile->name);
	told->devices = site->devices;
}

static struct config *config_of(const char *text)
{
	char path[] = "/tmp/usher-newcomers-XXXXXX", why[CONFIG_WHY_MAX] = "";
	struct config *config;
	FILE *file = fdopen(mkstemp(path), "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	if (config_read(&config, path, why) < 0)
		fail_msg("%s", why);
	remove(path);
	return config;
}

#define PROFILES                                                                                             \
	"profiles: [{name: pupils}, {name: staff, networks: [10.30.0.0/16]}, {name: sixth, networks: "       \
	"[10.40.0.0/16]}]\n"

static struct school *school_open(const char *more)
{
	struct school *school = calloc(1, sizeof *school);
	char text[1024];

	snprintf(text, sizeof text, PROFILES "%s", more);
	school->config = config_of(text);
	school->newcomers = newcomers_new(told, school, 42);
	assert_non_null(school->newcomers);
	assert_int_equal(newcomers_configure(school->newcomers, school->config), 0);
	newcomers_begin(school->newcomers, false);
	return school;
}

static void school_close(struct school *school)
{
	newcomers_free(school->newcomers);
	config_free(school->config);
	free(school);
}

static struct name name_of(const char *text)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

static bool ask_at(struct school *school, const char *text, uint32_t device, uint16_t profile, int64_t at_us)
{
	const struct newcomers_asker asker = { device, profile };
	const struct name name = name_of(text);

	return newcomers_note(school->newcomers, &name, &asker, 1, at_us);
}

/* Pupils' devices first … first + count - 1, a minute after the other. */
static void class_asks(struct school *school, const char *text, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		ask_at(school, text, first + i, PUPILS, NINE + i * MINUTE / 10);
}

/* ---- the threshold ---- */

static void fifth_device_at_a_new_site_is_told(void **state)
{
	struct school *school = school_open("");

	class_asks(school, "www.rate-your-class.com", 1, 4);
	assert_int_equal(school->told_count, 0);
	ask_at(school, "m.rate-your-class.com", 5, PUPILS, NINE + 5 * MINUTE);
	assert_int_equal(school->told_count, 1);
	assert_string_equal(school->told[0].site, "rate-your-class.com");
	assert_string_equal(school->told[0].profile, "pupils");
	assert_int_equal(school->told[0].devices, 5);
	school_close(school);
}

static void one_device_ten_times_is_one(void **state)
{
	struct school *school = school_open("");

	for (int i = 0; i < 10; i++)
		class_asks(school, "new.example", 1, 1);
	class_asks(school, "new.example", 1, 4);
	assert_int_equal(school->told_count, 0);
	school_close(school);
}

static void a_site_is_told_again_only_when_twice_as_many_came(void **state)
{
	struct school *school = school_open("");

	class_asks(school, "new.example", 1, 30);
	class_asks(school, "new.example", 1, 30);
	assert_int_equal(school->told_count, 3);
	assert_int_equal(school->told[1].devices, 10);
	assert_int_equal(school->told[2].devices, 20);
	school_close(school);
}

static void devices_beyond_the_sketch_do_no_harm(void **state)
{
	struct school *school = school_open("");

	class_asks(school, "new.example", 1, 1000);
	assert_int_equal(school->told[school->told_count - 1].devices, 40);
	school_close(school);
}

static void the_rule_says_how_many(void **state)
{
	struct school *school = school_open("alerts: {rules: [{name: swarm, kind: swarm, count: 8}]}\n");

	class_asks(school, "new.example", 1, 7);
	assert_int_equal(school->told_count, 0);
	class_asks(school, "new.example", 1, 8);
	assert_int_equal(school->told_count, 1);
	school_close(school);
}

static void rules_of_different_profiles_count_their_own(void **state)
{
	struct school *school = school_open(
	        "names: {swarm-profiles: [pupils, sixth]}\n"
	        "alerts: {rules: [{name: young, kind: swarm, profiles: [pupils]}, {name: old, kind: swarm, "
	        "count: 6, profiles: [sixth]}]}\n");

	class_asks(school, "new.example", 1, 5);
	for (uint32_t i = 0; i < 6; i++)
		ask_at(school, "new.example", 100 + i, SIXTH, NINE + MINUTE);
	assert_int_equal(school->told_count, 2);
	assert_string_equal(school->told[0].profile, "pupils");
	assert_string_equal(school->told[1].profile, "sixth");
	assert_int_equal(school->told[1].devices, 6);
	school_close(school);
}

/* ---- time ---- */

static void a_lesson_that_crosses_the_hour_is_one(void **state)
{
	struct school *school = school_open("");

	for (uint32_t i = 0; i < 5; i++)
		ask_at(school, "new.example", i, PUPILS, NINE + (58 + i) * MINUTE);
	assert_int_equal(school->told_count, 1);
	school_close(school);
}

static void what_comes_after_the_window_is_not_of_it(void **state)
{
	struct school *school = school_open("");

	class_asks(school, "new.example", 1, 4);
	ask_at(school, "new.example", 5, PUPILS, NINE + 61 * MINUTE);
	assert_int_equal(school->told_count, 0);
	school_close(school);
}

static void a_site_of_two_devices_is_known_when_its_window_is_over(void **state)
{
	struct school *school = school_open("");

	class_asks(school, "two.example", 1, 2);
	class_asks(school, "one.example", 1, 1);
	newcomers_turn(school->newcomers, NINE + 62 * MINUTE);
	for (uint32_t i = 0; i < 5; i++) {
		assert_true(ask_at(school, "two.example", 10 + i, PUPILS, NINE + 70 * MINUTE));
		ask_at(school, "one.example", 10 + i, PUPILS, NINE + 70 * MINUTE);
	}
	assert_int_equal(school->told_count, 1);
	assert_string_equal(school->told[0].site, "one.example");
	school_close(school);
}

/* ---- what is none ---- */

static void known_sites_are_not_told(void **state)
{
	struct school *school = school_open("");
	const struct name name = name_of("img.known.co.uk");

	newcomers_know(school->newcomers, &name);
	class_asks(school, "www.known.co.uk", 1, 20);
	assert_int_equal(school->told_count, 0);
	class_asks(school, "www.unknown.co.uk", 1, 5);
	assert_int_equal(school->told_count, 1);
	assert_string_equal(school->told[0].site, "unknown.co.uk");
	school_close(school);
}

static void staff_make_no_swarm(void **state)
{
	struct school *school = school_open("");

	for (uint32_t i = 0; i < 70; i++)
		ask_at(school, "new.example", i, STAFF, NINE);
	class_asks(school, "new.example", 100, 4);
	assert_int_equal(school->told_count, 0);
	class_asks(school, "new.example", 104, 1);
	assert_int_equal(school->told_count, 1);
	assert_int_equal(school->told[0].devices, 5);
	school_close(school);
}

static void a_profile_that_logs_nothing_is_not_looked_at(void **state)
{
	struct school *school = school_open("");
	struct config *before = school->config;

	school->config = config_of("default-profile: quiet\nprofiles: [{name: quiet, log: 'off'}]\n");
	assert_int_equal(newcomers_configure(school->newcomers, school->config), 0);
	config_free(before);
	class_asks(school, "new.example", 1, 20);
	assert_int_equal(school->told_count, 0);
	school_close(school);
}

static void background_and_delivery_are_none(void **state)
{
	static const char *const names[] = { "d1abc.cloudfront.net", "x.akamaized.net", "app-measurement.com",
		"img.newgame-cdn.net", "cdn4games.org", "com", "4.3.2.1.in-addr.arpa", "localhost" };
	struct school *school = school_open("");

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		class_asks(school, names[i], 1, 20);
	assert_int_equal(school->told_count, 0);
	school_close(school);
}

static void nothing_is_told_while_learning(void **state)
{
	struct school *school = school_open("");

	newcomers_begin(school->newcomers, true);
	class_asks(school, "new.example", 1, 20);
	assert_int_equal(school->told_count, 0);
	school_close(school);
}

static void a_school_that_comes_back_is_no_hundred_swarms(void **state)
{
	struct school *school = school_open("");
	char text[64];

	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof text, "site%d.example", i);
		class_asks(school, text, 1, 6);
	}
	assert_int_equal(school->told_count, NEWCOMERS_TOLD);
	assert_true(newcomers_are_too_many(school->newcomers));
	newcomers_begin(school->newcomers, false);
	class_asks(school, "next-day.example", 1, 6);
	assert_int_equal(school->told_count, NEWCOMERS_TOLD + 1);
	school_close(school);
}

/* ---- bounds ---- */

static void a_flood_of_one_pushes_out_nobody(void **state)
{
	struct school *school = school_open("");
	char text[64];

	class_asks(school, "new.example", 1, 1);
	for (int i = 0; i < 3 * NEWCOMERS_SITES; i++) {
		snprintf(text, sizeof text, "junk%d.example", i);
		ask_at(school, text, 99, PUPILS, NINE);
	}
	class_asks(school, "new.example", 2, 4);
	assert_int_equal(school->told_count, 1);
	school_close(school);
}

static void when_all_places_are_taken_the_least_asked_goes(void **state)
{
	struct school *school = school_open("");
	char text[64];

	class_asks(school, "new.example", 1, 4);
	for (uint32_t i = 0; i < 2 * NEWCOMERS_SITES; i++) {
		snprintf(text, sizeof text, "junk%u.example", i);
		ask_at(school, text, 1000 + i, PUPILS, NINE + i);
	}
	class_asks(school, "late.example", 1, 5);
	ask_at(school, "new.example", 5, PUPILS, NINE + MINUTE);
	assert_int_equal(school->told_count, 2);
	assert_string_equal(school->told[1].site, "new.example");
	school_close(school);
}

/* ---- the configuration changes ---- */

static void profiles_that_change_places_are_not_mistaken(void **state)
{
	struct school *school = school_open("");
	struct config *before = school->config;

	for (uint32_t i = 0; i < 4; i++)
		ask_at(school, "new.example", i, PUPILS, NINE);
	school->config = config_of("profiles: [{name: staff, networks: [10.30.0.0/16]}, {name: pupils}]\n");
	assert_int_equal(newcomers_configure(school->newcomers, school->config), 0);
	config_free(before);
	ask_at(school, "new.example", 9, 1, NINE);
	assert_int_equal(school->told_count, 0);
	for (uint32_t i = 0; i < 4; i++)
		ask_at(school, "new.example", i, 1, NINE);
	assert_int_equal(school->told_count, 1);
	assert_string_equal(school->told[0].profile, "pupils");
	school_close(school);
}

static void learning_lasts_no_longer_than_days_are_kept(void **state)
{
	static const struct {
		const char *names;
		int days;
	} cases[] = { { "", 7 }, { "names: {learn-days: 0}\n", 0 }, { "names: {days: 5}\n", 4 },
		{ "names: {days: 1}\n", -1 }, { "names: {enabled: false}\n", -1 },
		{ "names: {swarms: false}\n", -1 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct config *config = config_of(cases[i].names);
		assert_int_equal(newcomers_learn_days(config), cases[i].days);
		config_free(config);
	}
}

/* ---- in the log ---- */

static void other_events_are_none(void **state)
{
	char source[NEWCOMERS_SOURCE_LEN];
	struct block_record record = { .action = BLOCK_ACTION_WATCH, .source = source };

	newcomers_source(12, source);
	assert_int_equal(newcomers_devices(&record), 12);
	record.category = "games";
	assert_int_equal(newcomers_devices(&record), 0);
	record.category = NULL;
	record.action = BLOCK_ACTION_BLOCK;
	assert_int_equal(newcomers_devices(&record), 0);
	record.action = BLOCK_ACTION_WATCH;
	static const char *const others[] = { "names", "names ", "names x devices", "names 12",
		"names -1 devices", "names 99999999999999999999 devices", "keyword *12 devices*", NULL };
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		record.source = others[i];
		assert_int_equal(newcomers_devices(&record), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fifth_device_at_a_new_site_is_told),
		cmocka_unit_test(one_device_ten_times_is_one),
		cmocka_unit_test(a_site_is_told_again_only_when_twice_as_many_came),
		cmocka_unit_test(devices_beyond_the_sketch_do_no_harm),
		cmocka_unit_test(the_rule_says_how_many),
		cmocka_unit_test(rules_of_different_profiles_count_their_own),
		cmocka_unit_test(a_lesson_that_crosses_the_hour_is_one),
		cmocka_unit_test(what_comes_after_the_window_is_not_of_it),
		cmocka_unit_test(a_site_of_two_devices_is_known_when_its_window_is_over),
		cmocka_unit_test(known_sites_are_not_told),
		cmocka_unit_test(staff_make_no_swarm),
		cmocka_unit_test(a_profile_that_logs_nothing_is_not_looked_at),
		cmocka_unit_test(background_and_delivery_are_none),
		cmocka_unit_test(nothing_is_told_while_learning),
		cmocka_unit_test(a_school_that_comes_back_is_no_hundred_swarms),
		cmocka_unit_test(a_flood_of_one_pushes_out_nobody),
		cmocka_unit_test(when_all_places_are_taken_the_least_asked_goes),
		cmocka_unit_test(profiles_that_change_places_are_not_mistaken),
		cmocka_unit_test(learning_lasts_no_longer_than_days_are_kept),
		cmocka_unit_test(other_events_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
