#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tools/event_fold.h"

/* Times are minutes after ten. */
static json_t *episode(const char *client, const char *severity, const char *category, int first, int last,
        const char *name, const char *other)
{
	json_t *times[2];
	int minutes[] = { first, last };

	for (int i = 0; i < 2; i++)
		times[i] = json_sprintf("2026-11-23T10:%02d:00.000000Z", minutes[i]);
	return json_pack("{s:s?, s:s?, s:s, s:s, s:s, s:o, s:o, s:i, s:i, s:[s, s*], s:b, s:b}", "client",
	        client, "identity", client, "profile", "pupils", "severity", severity, "category", category,
	        "first", times[0], "last", times[1], "count", 3, "more", 1, "names", name, other, "bypass", 0,
	        "background", 0);
}

static json_t *folded(json_t *episodes)
{
	json_t *rows = events_folded(episodes);

	json_decref(episodes);
	return rows;
}

static void row_is(const json_t *rows, size_t at, const char *json)
{
	const json_t *row = json_array_get(rows, at), *value;
	json_t *expected = json_loads(json, 0, NULL);
	const char *key;

	assert_non_null(expected);
	json_object_foreach(expected, key, value) if (!json_equal(json_object_get(row, key), value))
	        fail_msg("%s is %s", key, json_dumps(json_object_get(row, key), JSON_ENCODE_ANY));
	json_decref(expected);
}

static void several_devices_at_one_site_are_one_row(void **state)
{
	json_t *rows = folded(
	        json_pack("[o, o, o]", episode("10.20.0.1", "caution", "chat", 20, 25, "a.org", "b.a.org"),
	                episode("10.20.0.2", "caution", "chat", 10, 12, "a.org", "c.a.org"),
	                episode("10.20.0.1", "caution", "chat", 30, 40, "a.org", NULL)));

	assert_int_equal(json_array_size(rows), 1);
	row_is(rows, 0,
	        "{\"clients\": 2, \"count\": 9, \"more\": 3, \"names\": [\"a.org\", \"b.a.org\", "
	        "\"c.a.org\"], \"first\": \"2026-11-23T10:10:00.000000Z\", \"last\": "
	        "\"2026-11-23T10:40:00.000000Z\"}");
	json_decref(rows);
}

static void danger_bypass_and_background_stand_each_by_itself(void **state)
{
	static const char *const marks[] = { "bypass", "background" };
	json_t *episodes = json_array();

	for (int i = 0; i < 2; i++)
		json_array_append_new(episodes,
		        episode(i ? "10.20.0.1" : "10.20.0.2", "danger", "self-harm", 1, 2, "a.org", NULL));
	for (int i = 0; i < 4; i++) {
		json_t *marked =
		        episode(i % 2 ? "10.20.0.1" : "10.20.0.2", "caution", "chat", 1, 2, "b.org", NULL);
		json_object_set_new(marked, marks[i / 2], json_true());
		json_array_append_new(episodes, marked);
	}
	json_t *rows = folded(episodes);
	assert_int_equal(json_array_size(rows), 6);
	json_decref(rows);
}

static void other_sites_categories_severities_and_profiles_are_other_rows(void **state)
{
	json_t *staff = episode("10.30.0.1", "caution", "chat", 1, 2, "a.org", NULL);

	json_object_set_new(staff, "profile", json_string("staff"));
	json_t *rows = folded(
	        json_pack("[o, o, o, o, o]", episode("10.20.0.1", "caution", "chat", 1, 2, "a.org", NULL),
	                episode("10.20.0.2", "caution", "chat", 1, 2, "b.org", NULL),
	                episode("10.20.0.3", "caution", "dating", 1, 2, "a.org", NULL),
	                episode("10.20.0.4", "advisory", "chat", 1, 2, "a.org", NULL), staff));

	assert_int_equal(json_array_size(rows), 5);
	json_decref(rows);
}

static void what_was_folded_is_left_as_it_was(void **state)
{
	json_t *episodes = json_pack("[o, o]", episode("10.20.0.1", "caution", "chat", 1, 2, "a.org", NULL),
	        episode("10.20.0.2", "caution", "chat", 3, 4, "a.org", "b.a.org"));
	json_t *before = json_deep_copy(episodes), *rows = events_folded(episodes);

	assert_true(json_equal(before, episodes));
	json_decref(before);
	json_decref(rows);
	json_decref(episodes);
}

static void clients_that_are_not_logged_are_not_counted(void **state)
{
	char text[32] = "";
	json_t *rows = folded(json_pack("[o, o]", episode(NULL, "caution", "chat", 1, 2, "a.org", NULL),
	        episode(NULL, "caution", "chat", 3, 4, "a.org", NULL)));

	assert_int_equal(json_array_size(rows), 1);
	assert_false(event_clients_text(json_array_get(rows, 0), text, sizeof text));
	json_decref(rows);
}

static void number_of_devices_is_said_from_two_on(void **state)
{
	char text[32] = "";
	json_t *one = json_pack("{s:i}", "clients", 1), *many = json_pack("{s:i}", "clients", 24);

	assert_false(event_clients_text(one, text, sizeof text));
	assert_true(event_clients_text(many, text, sizeof text));
	assert_string_equal(text, "24 devices");
	json_decref(one);
	json_decref(many);
}

static void what_was_let_through_is_said(void **state)
{
	static const struct {
		int count, watched;
		const char *text;
	} cases[] = { { 3, 0, "" }, { 3, 3, ", let through" }, { 3, 1, ", let through in part" } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *episode =
		        json_pack("{s:i, s:i}", "count", cases[i].count, "watched", cases[i].watched);
		assert_string_equal(event_let_through(episode), cases[i].text);
		json_decref(episode);
	}
}

static void evidence_names_each_site_once(void **state)
{
	json_t *signal = json_loads(
	        "{\"evidence\": [{\"name\": \"a.org\"}, {\"name\": \"b.org\"}, {\"name\": \"a.org\"}, {}]}",
	        0, NULL);
	json_t *names = event_evidence_names(signal);
	char *text = json_dumps(names, JSON_COMPACT);

	assert_string_equal(text, "[\"a.org\",\"b.org\"]");
	free(text);
	json_decref(names);
	json_decref(signal);
}

static void only_thresholds_of_danger_say_no_more_than_episodes(void **state)
{
	static const struct {
		const char *kind, *severity;
		bool told;
	} cases[] = { { "threshold", "danger", true }, { "threshold", "caution", false },
		{ "slow-burn", "danger", false } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *signal =
		        json_pack("{s:s, s:s}", "kind", cases[i].kind, "severity", cases[i].severity);
		assert_int_equal(event_is_told_by_episodes(signal), cases[i].told);
		json_decref(signal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_devices_at_one_site_are_one_row),
		cmocka_unit_test(danger_bypass_and_background_stand_each_by_itself),
		cmocka_unit_test(other_sites_categories_severities_and_profiles_are_other_rows),
		cmocka_unit_test(what_was_folded_is_left_as_it_was),
		cmocka_unit_test(clients_that_are_not_logged_are_not_counted),
		cmocka_unit_test(number_of_devices_is_said_from_two_on),
		cmocka_unit_test(what_was_let_through_is_said),
		cmocka_unit_test(evidence_names_each_site_once),
		cmocka_unit_test(only_thresholds_of_danger_say_no_more_than_episodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
