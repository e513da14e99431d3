/* Five weeks of a school's log with planted stories: told again from what is stored. */
#include "resolver/event_query.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define DAY (86400 * SECOND)

static struct config *config;
static char root[256], dir[300];
static struct ring *ring;
static int64_t now_us;
static unsigned logged;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void block(int64_t time_us, uint8_t host, const char *text, const char *category)
{
	struct name name;
	uint8_t client[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, 20, 3, host };
	struct block_event event = { .time_us = time_us,
		.client = client,
		.profile = "pupils",
		.category = category,
		.name = &name,
		.matched = &name,
		.rule_labels = 2,
		.type = 1,
		.severity = config->categories[config_category(config, category)].severity,
		.keep_s = UINT32_MAX };

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	assert_true(block_log_write(ring, &event));
	logged++;
}

/* Every day fifty devices load pages with trackers; the stories stand among them. */
static void write_day(int64_t at, unsigned day)
{
	for (uint8_t host = 1; host <= 50; host++)
		for (unsigned i = 0; i < 40; i++)
			block(at + host * SECOND + i * 1000, host,
			        i % 2 ? "www.games.test" : "x.tracker.test", i % 2 ? "games" : "ads");
	if (day % 7 == 3)
		block(at + 70 * SECOND, 77, "www.harm.test", "self-harm");
	for (uint8_t host = 1; day == 33 && host <= 6; host++)
		block(at + 80 * SECOND + host * MINUTE, host, "new.unblocked.test", "games");
	if (day != 34)
		return;
	block(at + 2 * 3600 * SECOND, 88, "www.games.test", "games");
	block(at + 2 * 3600 * SECOND + MINUTE, 88, "mirror.test", "games");
	block(at + 2 * 3600 * SECOND + 2 * MINUTE, 88, "proxy.test", "bypass");
	block(at + 2 * 3600 * SECOND + 5 * MINUTE, 88, "somevpn.test", "bypass");
}

static int make_store(void **state)
{
	static const char text[] =
	        "profiles: [{name: pupils, networks: [10.20.0.0/16]}]\ndefault-profile: pupils\n";
	static char why[CONFIG_WHY_MAX];
	char path[320];
	struct block_log *log;
	struct timespec now;
	const char *tmp = getenv("TMPDIR");

	(void)state;
	if (config_parse(&config, text, sizeof text - 1, "test", why) < 0)
		fail_msg("%s", why);
	snprintf(root, sizeof root, "%s/test_event_query.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(root))
		return -1;
	snprintf(dir, sizeof dir, "%s/log", root);
	snprintf(path, sizeof path, "%s/ring", root);
	assert_int_equal(ring_open(&ring, path, 64 << 20), 0);
	clock_gettime(CLOCK_REALTIME, &now);
	now_us = now.tv_sec * SECOND;
	for (unsigned day = 0; day < 35; day++)
		write_day(now_us - (35 - day) * DAY, day);
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

static char *run(int64_t (*what)(const struct config *, const struct log_query *, const char *, FILE *),
        int64_t since_us, int64_t *lines)
{
	struct log_query query = { .filter = { .severity = -1, .since_us = since_us } };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	*lines = what(config, &query, dir, out);
	fclose(out);
	return text;
}

static void every_planted_story_is_told_from_the_stored_log(void **state)
{
	int64_t lines;
	char *text = run(signals_run, now_us - 30 * DAY, &lines);

	(void)state;
	for (const char *const *word = (const char *const[]){ "\"rule\":\"slow-burn\"", "\"rule\":\"chase\"",
	             "\"rule\":\"swarm\"", "\"client\":\"10.20.3.77\"", "\"client\":\"10.20.3.88\"",
	             "new.unblocked.test", NULL };
	        *word; word++)
		if (!strstr(text, *word))
			fail_msg("no %s in %s", *word, text);
	assert_in_range(lines, 5, 12);
	free(text);
}

static void a_signal_of_yesterday_needs_the_weeks_before(void **state)
{
	int64_t lines;
	char *text = run(signals_run, now_us - 2 * DAY, &lines);

	(void)state;
	assert_non_null(strstr(text, "\"rule\":\"chase\""));
	assert_non_null(strstr(text, "\"rule\":\"swarm\""));
	assert_null(strstr(text, "\"rule\":\"danger\""));
	free(text);
}

static void episodes_are_few_and_hide_no_danger(void **state)
{
	int64_t lines;
	char *text = run(episodes_run, 0, &lines), *at = text;
	unsigned dangers = 0;

	(void)state;
	if (logged < 19 * lines)
		fail_msg("%u lookups are %lld episodes", logged, (long long)lines);
	while ((at = strstr(at, "\"severity\":\"danger\"")) != NULL) {
		at++;
		dangers++;
	}
	assert_int_equal(dangers, 5);
	assert_non_null(strstr(text, "\"severity\":\"danger\""));
	assert_true(strstr(text, "\"severity\":\"danger\"") < strstr(text, "\"severity\":\"advisory\""));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_planted_story_is_told_from_the_stored_log),
		cmocka_unit_test(a_signal_of_yesterday_needs_the_weeks_before),
		cmocka_unit_test(episodes_are_few_and_hide_no_danger),
	};

	return cmocka_run_group_tests(tests, make_store, remove_store);
}
