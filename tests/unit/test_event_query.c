/* Five weeks of a school's log with planted stories: told again from what is stored. */
#include "resolver/event_query.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
	if (day % 7 == 4) /* a laptop that gets another address in between, where another laptop was before */
		block(at + 90 * SECOND, day < 20 ? 78 : 79, "www.thin.test", "self-harm");
	if (day == 5 || day == 12)
		block(at + 90 * SECOND, 79, "www.thin.test", "self-harm");
	for (uint8_t host = 1; day == 33 && host <= 6; host++)
		block(at + 80 * SECOND + host * MINUTE, host, "new.unblocked.test", "games");
	if (day != 34)
		return;
	block(at + 2 * 3600 * SECOND, 88, "www.games.test", "games");
	block(at + 2 * 3600 * SECOND + MINUTE, 88, "mirror.test", "games");
	block(at + 2 * 3600 * SECOND + 2 * MINUTE, 88, "proxy.test", "bypass");
	block(at + 2 * 3600 * SECOND + 5 * MINUTE, 88, "somevpn.test", "bypass");
}

/* The leases of laptop 1 and laptop 2. */
static void write_leases(void)
{
	char path[320];

	snprintf(path, sizeof path, "%s/devices", root);
	assert_int_equal(mkdir(path, 0700), 0);
	struct devices *devices = devices_new(path);
	for (unsigned day = 0; day < 35; day++) {
		int64_t at_s = (now_us - (35 - day) * DAY) / SECOND - 3600;
		struct lease lease = {
			.address = { [10] = 0xff, [11] = 0xff, [12] = 10, 20, 3, day < 20 ? 78 : 79 },
			.has_mac = true,
			.mac = { 0xa8, [5] = 1 },
			.start_s = at_s,
			.end_s = at_s + 7200,
			.name = "laptop-1"
		};
		assert_int_equal(devices_note(devices, DEVICE_FROM_LEASE, &lease, at_s, 90 * 86400), 0);
		lease.address[15] = day < 20 ? 79 : 80;
		lease.mac[5] = 2;
		strcpy(lease.name, "laptop-2");
		assert_int_equal(devices_note(devices, DEVICE_FROM_LEASE, &lease, at_s, 90 * 86400), 0);
	}
	devices_free(devices);
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
	write_leases();
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
	assert_in_range(lines, 5, 18);
	free(text);
}

/* In weeks 1 to 3 at 10.20.3.78, then at 10.20.3.79, which was laptop 2's for two lookups. */
static void slow_burn_is_the_devices_whatever_address_it_had(void **state)
{
	int64_t lines;
	char *text = run(signals_run, 0, &lines), *line = text, *burn = NULL;
	unsigned burns = 0;

	(void)state;
	for (char *next; (next = strchr(line, '\n')) != NULL; line = next + 1) {
		*next = '\0';
		if (!strstr(line, "\"rule\":\"slow-burn\"") || strstr(line, "\"client\":\"10.20.3.77\""))
			continue;
		burns++;
		burn = burn ? burn : line; /* the newest */
		assert_non_null(strstr(line, "\"identity\":\"a8:00:00:00:00:01\""));
		assert_non_null(strstr(line, "\"device\":\"laptop-1\""));
	}
	assert_in_range(burns, 1, 3); /* one a week while it goes on */
	assert_non_null(strstr(burn, "10.20.3.78"));
	assert_non_null(strstr(burn, "10.20.3.79"));
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
	assert_int_equal(dangers, 5 + 5 + 2);
	assert_non_null(strstr(text, "\"severity\":\"danger\""));
	assert_true(strstr(text, "\"severity\":\"danger\"") < strstr(text, "\"severity\":\"advisory\""));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_planted_story_is_told_from_the_stored_log),
		cmocka_unit_test(slow_burn_is_the_devices_whatever_address_it_had),
		cmocka_unit_test(a_signal_of_yesterday_needs_the_weeks_before),
		cmocka_unit_test(episodes_are_few_and_hide_no_danger),
	};

	return cmocka_run_group_tests(tests, make_store, remove_store);
}
