#include "resolver/alert_queue.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolver/alert_text.h"

#define NOON INT64_C(1795435200) /* 2026-11-23T12:00:00Z, a Monday */

static char dir[300];
static struct alert_queue *queue;
static struct config *config;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void read_config(const char *alerts)
{
	static char why[CONFIG_WHY_MAX];
	char text[2000];

	config_free(config);
	snprintf(text, sizeof text,
	        "profiles: [{name: pupils, networks: [10.20.0.0/16]}, {name: staff}]\ndefault-profile: "
	        "pupils\n"
	        "periods: {noon: {from: \"11:00\", to: \"13:00\"}}\nalerts: %s\n",
	        alerts);
	if (config_parse(&config, text, strlen(text), "test", why) < 0)
		fail_msg("%s", why);
}

static int begin(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	setenv("TZ", "UTC", 1);
	snprintf(dir, sizeof dir, "%s/test_alert_queue.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		return -1;
	read_config("{mail-to: [a@x.test], wait: 20s, rules: [{name: danger}, {name: it, kind: operations, "
	            "mail-to: [it@x.test]}]}");
	return alert_queue_open(&queue, dir);
}

static int end(void **state)
{
	(void)state;
	alert_queue_free(queue);
	config_free(config);
	config = NULL;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void again(void)
{
	assert_int_equal(alert_queue_save(queue), 0);
	alert_queue_free(queue);
	assert_int_equal(alert_queue_open(&queue, dir), 0);
}

static bool add(const char *id, int64_t now_s)
{
	return alert_queue_add(queue, id, "danger",
	        json_pack("{s:s, s:s, s:s, s:s}", "id", id, "rule", "danger", "profile", "pupils", "client",
	                "10.20.1.1"),
	        now_s);
}

static void make(int64_t now_s)
{
	struct moment now = moment_at(now_s);

	alert_queue_make_messages(queue, config, &now, NULL, NULL);
}

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void what_comes_together_is_one_message(void **state)
{
	(void)state;
	assert_true(add("a", NOON));
	assert_true(add("b", NOON + 3));
	assert_false(add("a", NOON + 4));
	make(NOON + 4);
	assert_null(alert_queue_next(queue, NOON + 4)); /* they gather */
	make(NOON + 9);
	json_t *message = alert_queue_next(queue, NOON + 9);
	assert_non_null(message);
	assert_string_equal(text_at(message, "to"), "a@x.test");
	assert_int_equal(json_array_size(json_object_get(message, "alerts")), 2);
	assert_null(alert_queue_next(queue, NOON + 9)); /* it is on its way */
	assert_false(add("a", NOON + 10));              /* known, told */
}

static void a_storm_waits_no_longer_than_wait(void **state)
{
	(void)state;
	add("a", NOON);
	for (int64_t now = NOON; now < NOON + 20; now++) {
		alert_queue_update(queue, "a", NULL, now);
		make(now);
		assert_null(alert_queue_next(queue, now));
	}
	alert_queue_update(queue, "a", NULL, NOON + 20);
	make(NOON + 20);
	assert_non_null(alert_queue_next(queue, NOON + 20));
}

static void what_fails_is_tried_again_later_and_later(void **state)
{
	(void)state;
	int64_t now = NOON + 60, waited = 0;
	char id[40];

	add("a", NOON);
	make(now);
	snprintf(id, sizeof id, "%s", text_at(alert_queue_next(queue, now), "id"));
	for (unsigned i = 0; i < 12; i++) {
		alert_queue_result(queue, id, false, "no route", now);
		int64_t wait = 1;
		while (!alert_queue_next(queue, now + wait))
			wait++;
		assert_true(wait >= waited && wait >= 30 && wait <= 3600);
		waited = wait;
		now += wait;
	}
	assert_int_equal(waited, 3600);
	alert_queue_result(queue, id, true, "", now);
	assert_null(alert_queue_next(queue, now + 100000));
	char *list = alert_queue_list(queue);
	assert_non_null(strstr(list, "\"state\":\"sent\""));
	assert_null(strstr(list, "10.20.1.1"));
	free(list);
}

static void what_never_arrives_is_given_up_and_said(void **state)
{
	(void)state;
	add("a", NOON);
	make(NOON + 60);
	char id[40];
	snprintf(id, sizeof id, "%s", text_at(alert_queue_next(queue, NOON + 60), "id"));
	alert_queue_result(queue, id, false, "no route", NOON + 61 + ALERT_GIVE_UP_S);
	assert_null(alert_queue_next(queue, NOON + 10 * ALERT_GIVE_UP_S));
	json_t *health = alert_queue_health(queue);
	assert_int_equal(json_integer_value(json_object_get(health, "failing")), 1);
	assert_int_equal(json_integer_value(json_object_get(health, "waiting")), 0);
	assert_string_equal(text_at(health, "why"), "no route");
	json_decref(health);
}

static void a_kill_leaves_what_was_saved(void **state)
{
	(void)state;
	add("a", NOON);
	alert_queue_set_position(queue, 12345);
	again();
	assert_int_equal(alert_queue_position(queue), 12345);
	assert_true(alert_queue_is_open(queue, "a"));
	make(NOON + 60);
	char id[40];
	snprintf(id, sizeof id, "%s", text_at(alert_queue_next(queue, NOON + 60), "id"));
	again(); /* on its way when we were killed: sent again under its id */
	assert_string_equal(text_at(alert_queue_next(queue, NOON + 60), "id"), id);
	alert_queue_result(queue, id, true, "", NOON + 61);
	again();
	assert_null(alert_queue_next(queue, NOON + 100000));
	assert_false(add("a", NOON + 100000));
}

static void a_damaged_file_is_kept_beside(void **state)
{
	(void)state;
	char path[400];
	static const char *const texts[] = { "{", "[]", "{\"told\":1}", "" };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		alert_queue_free(queue);
		snprintf(path, sizeof path, "%s/queue.json", dir);
		FILE *out = fopen(path, "w");
		fputs(texts[i], out);
		fclose(out);
		assert_int_equal(alert_queue_open(&queue, dir), 1);
		snprintf(path, sizeof path, "%s/queue.json.damaged", dir);
		assert_int_equal(access(path, F_OK), 0);
		assert_int_equal(alert_queue_position(queue), 0);
	}
}

static void quiet_hours_delay(void **state)
{
	(void)state;
	read_config("{mail-to: [a@x.test], rules: [{name: danger, quiet-hours: [noon]}]}");
	add("a", NOON);
	make(NOON + 1800);
	assert_null(alert_queue_next(queue, NOON + 1800));
	make(NOON + 3600);
	assert_non_null(alert_queue_next(queue, NOON + 3600));
}

static void a_rule_that_is_gone_leaks_no_staff(void **state)
{
	(void)state;
	read_config("{mail-to: [a@x.test], rules: [{name: new, profiles: [staff], mail-to: [head@x.test]}]}");
	alert_queue_add(queue, "s", "old", json_pack("{s:s, s:s}", "rule", "old", "profile", "staff"), NOON);
	alert_queue_add(queue, "p", "old", json_pack("{s:s, s:s}", "rule", "old", "profile", "pupils"), NOON);
	make(NOON + 60);
	json_t *message = alert_queue_next(queue, NOON + 60);
	assert_int_equal(json_array_size(json_object_get(message, "alerts")), 1);
	assert_string_equal(
	        text_at(json_array_get(json_object_get(message, "alerts"), 0), "profile"), "pupils");
}

static void too_many_are_counted(void **state)
{
	(void)state;
	char id[20];

	for (unsigned i = 0; i < ALERT_OPEN_MAX + 7; i++) {
		snprintf(id, sizeof id, "n%u", i);
		assert_int_equal(add(id, NOON), i < ALERT_OPEN_MAX);
	}
	make(NOON + 60);
	json_t *alerts = json_object_get(alert_queue_next(queue, NOON + 60), "alerts");
	assert_int_equal(json_array_size(alerts), ALERT_OPEN_MAX + 1);
	assert_string_equal(
	        text_at(json_array_get(alerts, ALERT_OPEN_MAX), "text"), "7 more alerts at the same time");
}

static void a_trouble_is_told_once(void **state)
{
	(void)state;
	json_t *troubles = json_pack("{s:s}", "log", "the disk is full"), *none = json_object();

	alert_queue_troubles(queue, &config->alerts, troubles, NOON);
	alert_queue_troubles(queue, &config->alerts, troubles, NOON + 5);
	alert_queue_troubles(queue, &config->alerts, none, NOON + 6);
	alert_queue_troubles(queue, &config->alerts, troubles, NOON + 7);
	again();
	alert_queue_troubles(queue, &config->alerts, troubles, NOON + 8);
	make(NOON + 60);
	json_t *message = alert_queue_next(queue, NOON + 60);
	assert_string_equal(text_at(message, "to"), "it@x.test");
	assert_int_equal(json_array_size(json_object_get(message, "alerts")), 1);
	assert_null(alert_queue_next(queue, NOON + 60));
	alert_queue_troubles(queue, &config->alerts, none, NOON + 86400);
	alert_queue_troubles(queue, &config->alerts, troubles, NOON + 86401);
	make(NOON + 86500);
	assert_non_null(alert_queue_next(queue, NOON + 86500)); /* again, a day later */
	json_decref(troubles);
	json_decref(none);
}

/* ---- texts ---- */

static char *mail_of(json_t *alert)
{
	json_t *alerts = json_pack("[o]", alert);
	struct alert_letter letter = { .id = "0123",
		.to = "dsl@x.test",
		.from = "usher@x.test",
		.host = "dns1.x.test",
		.now_s = NOON,
		.alerts = alerts };
	char *text = alert_mail(&letter);
	json_decref(alerts);
	return text;
}

static void nothing_in_an_alert_forges_a_header(void **state)
{
	(void)state;
	char *text = mail_of(json_pack("{s:s, s:s, s:s, s:[{s:s, s:i}]}", "rule", "x\nBcc: evil@x.test",
	        "text", "y\r\n\r\nbody", "client", "\x1b[31m\n.\n", "evidence", "name", "a\nTo: b@c", "count",
	        1));
	char *body = strstr(text, "\n\n");
	assert_non_null(body);
	*body = 0;
	assert_null(strstr(text, "\nBcc"));
	assert_null(strstr(body + 1, "\nTo:"));
	assert_null(strchr(body + 1, '\x1b'));
	assert_null(strstr(body + 1, "\n.\n"));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strchr(line, ':') || line[0] == ' ');
	free(text);
}

static void a_subject_in_another_script_is_encoded(void **state)
{
	(void)state;
	char *text = mail_of(json_pack(
	        "{s:s, s:s}", "rule", "Gefährdung – Schüler", "text", "1 blocked lookup of one device"));
	char *subject = strstr(text, "\nSubject: =?utf-8?B?");
	assert_non_null(subject);
	assert_non_null(strstr(text, "Date: Mon, 23 Nov 2026 12:00:00 +0000\n"));
	assert_non_null(strstr(text, "Message-ID: <0123@dns1.x.test>\n"));
	free(text);
}

static void what_nobody_sees_is_in_no_message(void **state)
{
	(void)state;
	/* U+202E, U+200B, U+009B, U+FEFF; in base64 an encoded subject would hide them. */
	json_t *alert = json_pack(
	        "{s:s, s:s, s:s}", "kind", "operations", "rule", "a\u202e\u200bb", "text", "c\xc2\x9b\ufeff");
	json_t *alerts = json_pack("[O]", alert);
	struct alert_letter letter = { .id = "0123", .host = "h", .alerts = alerts };
	char *line = alert_line(&letter), *post = alert_post(&letter), *mail = mail_of(alert);
	assert_string_equal(line, "alert 0123: a??b (operations): c??");
	assert_non_null(strstr(mail, "\nSubject: usher: a??b: c??\n"));
	for (const char *text = mail; *text; text++)
		assert_in_range(*text, '\n', '~');
	json_t *posted = json_loads(post, 0, NULL);
	assert_string_equal(
	        text_at(json_array_get(json_object_get(posted, "alerts"), 0), "rule"), "a\u202e\u200bb");
	for (const char *text = post; *text; text++)
		assert_in_range(*text, ' ', '~');
	json_decref(posted);
	json_decref(alerts);
	free(line);
	free(post);
	free(mail);
}

static void the_systems_log_gets_no_names(void **state)
{
	(void)state;
	json_t *alerts = json_pack("[{s:s, s:s, s:s, s:s, s:[{s:s}]}]", "rule", "danger", "kind", "threshold",
	        "client", "10.20.1.1", "severity", "danger", "evidence", "name", "harm.test");
	struct alert_letter letter = { .id = "0123", .host = "h", .alerts = alerts };
	char *line = alert_line(&letter);
	assert_string_equal(line, "alert 0123: danger (threshold, danger)");
	free(line);
	json_decref(alerts);
}

static void a_post_is_signed_as_rfc_4231_says(void **state)
{
	(void)state;
	char hex[65];

	courier_sign("Jefe", 4, "what do ya want for nothing?", hex);
	assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_comes_together_is_one_message),
		TEST(a_storm_waits_no_longer_than_wait),
		TEST(what_fails_is_tried_again_later_and_later),
		TEST(what_never_arrives_is_given_up_and_said),
		TEST(a_kill_leaves_what_was_saved),
		TEST(a_damaged_file_is_kept_beside),
		TEST(quiet_hours_delay),
		TEST(a_rule_that_is_gone_leaks_no_staff),
		TEST(too_many_are_counted),
		TEST(a_trouble_is_told_once),
		cmocka_unit_test(nothing_in_an_alert_forges_a_header),
		cmocka_unit_test(a_subject_in_another_script_is_encoded),
		cmocka_unit_test(what_nobody_sees_is_in_no_message),
		cmocka_unit_test(the_systems_log_gets_no_names),
		cmocka_unit_test(a_post_is_signed_as_rfc_4231_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
