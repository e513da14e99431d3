#include "resolver/block_log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolver/block_file.h"
#include "resolver/block_segment.h"
#include "blocklists/member.h"
#include "resolver/cases.h"
#include "resolver/devices.h"
#include "resolver/erasure.h"
#include "resolver/retention.h"

#define DAY_US (INT64_C(86400) * 1000000)
#define DAYS(n) ((n)*86400u)
#define RINGS 2

static char root[256], dir[300];
static struct ring *rings[RINGS];

/* ---- a store of one's own for each test ---- */

static const char *ring_path(unsigned i)
{
	static char path[320];
	snprintf(path, sizeof path, "%s/ring-%u", root, i);
	return path;
}

static void open_rings(size_t size)
{
	for (unsigned i = 0; i < RINGS; i++)
		assert_true(ring_open(&rings[i], ring_path(i), size) >= 0);
}

static void close_rings(void)
{
	for (unsigned i = 0; i < RINGS; i++)
		ring_close(rings[i]);
}

static int make_root(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/test_block_log.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(root))
		return -1;
	snprintf(dir, sizeof dir, "%s/log", root);
	open_rings(1 << 20);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int remove_root(void **state)
{
	(void)state;
	close_rings();
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* As the log names a file that it begins. */
static void file_name(char name[BLOCK_FILE_NAME_MAX], int64_t day, uint32_t keep_s, enum block_file_kind kind)
{
	struct block_file file = { .day = day, .keep_s = keep_s, .kind = kind };

	block_file_set_name(&file);
	memcpy(name, file.name, sizeof file.name);
}

static struct block_log *start_with(uint64_t max_size)
{
	struct block_log *log;
	struct block_log_options options = {
		.dir = dir, .max_size = max_size, .rings = rings, .ring_count = RINGS
	};
	assert_int_equal(block_log_start(&log, &options), 0);
	return log;
}

/* What the rings hold goes to disk. */
static void commit(void)
{
	struct block_log *log = start_with(0);
	assert_string_equal(block_log_trouble(log), "");
	block_log_stop(log);
}

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* Noon, so many days ago. */
static int64_t noon(int days_ago)
{
	return (now_us() / DAY_US - days_ago) * DAY_US + DAY_US / 2;
}

static struct name name_of(const char *text)
{
	struct name name;
	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

static const uint8_t pupil[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, 20, 3, 7 };
static const uint8_t guest[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 9 };

static struct block_event event_at(int64_t time_us, const struct name *name)
{
	return (struct block_event){
		.time_us = time_us,
		.client = pupil,
		.profile = "pupils",
		.category = "gambling",
		.source = "ut1",
		.name = name,
		.matched = name,
		.rule_labels = 2,
		.type = 1,
		.severity = SEVERITY_CAUTION,
		.action = BLOCK_ACTION_BLOCK,
		.keep_s = DAYS(90),
		.generation = 42,
	};
}

static void log_name(int64_t time_us, const char *text)
{
	struct name name = name_of(text);
	struct block_event event = event_at(time_us, &name);
	assert_true(block_log_write(rings[0], &event));
}

/* ---- reading back ---- */

struct seen {
	unsigned count;
	int64_t last_us;
	uint64_t last_id;
	bool in_order, oldest_first;
	char first[NAME_TEXT_MAX];  /* name of the first record */
	uint8_t *marks;             /* how often a name "n<number>." was seen */
	struct block_record record; /* the last one; its pointers are gone */
	char *json;                 /* of the last one */
};

static bool see(void *arg, const struct block_record *record)
{
	struct seen *seen = arg;
	char text[NAME_TEXT_MAX];

	name_to_text(&record->name, text);
	if (seen->count++ == 0)
		strcpy(seen->first, text);
	else if (seen->oldest_first ? record->id <= seen->last_id : record->time_us > seen->last_us)
		seen->in_order = false;
	seen->last_us = record->time_us;
	seen->last_id = record->id;
	if (seen->marks)
		seen->marks[atoi(text + 1)]++;
	seen->record = *record;
	free(seen->json);
	seen->json = block_record_json(record);
	return true;
}

static struct seen scan(const struct block_filter *filter)
{
	struct seen seen = { .in_order = true, .oldest_first = filter->after_id != 0 };
	int64_t ret = block_log_scan(dir, filter, see, &seen);
	assert_int_equal(ret, seen.count);
	assert_true(seen.in_order);
	return seen;
}

static const struct block_filter everything = { .severity = -1 };

static unsigned count(const struct block_filter *filter)
{
	struct seen seen = scan(filter);
	free(seen.json);
	return seen.count;
}

/* Every name n0 to n<names - 1> is there exactly once. */
static void assert_each_once(unsigned names)
{
	struct seen seen = { .in_order = true, .marks = calloc(names + 1, 1) };
	int64_t ret = block_log_scan(dir, &everything, see, &seen);
	for (unsigned i = 0; i < names; i++)
		assert_int_equal(seen.marks[i], 1);
	assert_int_equal(ret, names);
	free(seen.marks);
	free(seen.json);
}

static bool exists(const char *format, int64_t time_us, const char *rest)
{
	char path[400], date[32];
	time_t s = (time_t)(time_us / 1000000);
	strftime(date, sizeof date, "%Y-%m-%d", gmtime(&s));
	snprintf(path, sizeof path, format, dir, date, rest);
	return access(path, F_OK) == 0;
}

static bool file_holds(const char *path, const char *text)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	fstat(fd, &st);
	void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	bool found = memmem(data, (size_t)st.st_size, text, strlen(text)) != NULL;
	munmap(data, (size_t)st.st_size);
	close(fd);
	return found;
}

/* ---- events and records ---- */

static void event_comes_back_with_every_field(void **state)
{
	(void)state;
	struct name name = name_of("WWW.Tracker.example"), matched = name_of("cdn.bet.test");
	struct block_event event = event_at(noon(0), &name);
	event.matched = &matched;
	event.severity = SEVERITY_DANGER;
	event.action = BLOCK_ACTION_WATCH;
	event.type = 65;
	assert_true(block_log_write(rings[1], &event));
	commit();

	struct seen seen = scan(&everything);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.record.time_us, event.time_us);
	assert_true(name_equal(&seen.record.name, &name));
	assert_true(name_equal(&seen.record.matched, &matched));
	assert_int_equal(seen.record.rule_labels, 2);
	assert_int_equal(seen.record.type, 65);
	assert_int_equal(seen.record.severity, SEVERITY_DANGER);
	assert_int_equal(seen.record.action, BLOCK_ACTION_WATCH);
	assert_int_equal(seen.record.generation, 42);
	assert_true(seen.record.id >= (uint64_t)noon(0) - DAY_US);
	free(seen.json);
}

static void record_is_json_with_its_keys_in_order(void **state)
{
	(void)state;
	struct name name = name_of("www.tracker.example"), matched = name_of("cdn.bet.test");
	struct block_record record = { .time_us = INT64_C(1795428902123456),
		.client = pupil,
		.profile = "pupils",
		.category = "gambling",
		.source = "ut1",
		.name = name,
		.matched = matched,
		.rule_labels = 2,
		.type = 28,
		.severity = SEVERITY_CAUTION,
		.action = BLOCK_ACTION_BLOCK,
		.generation = 42 };
	char *json = block_record_json(&record);
	assert_string_equal(json,
	        "{\"time\":\"2026-11-23T10:15:02.123456Z\",\"client\":\"10.20.3.7\",\"device\":null,"
	        "\"profile\":\"pupils\",\"name\":\"www.tracker.example\",\"type\":\"AAAA\",\"category\":"
	        "\"gambling\",\"severity\":\"caution\",\"rule\":\"bet.test\",\"source\":\"ut1\",\"matched\":"
	        "\"cdn.bet.test\",\"action\":\"block\",\"generation\":42,\"mac\":null,\"confidence\":null,"
	        "\"randomised\":null,\"identity\":\"10.20.3.7\"}");
	free(json);
}

static void what_is_not_known_is_null(void **state)
{
	(void)state;
	struct name name = name_of("a\\010b.example");
	struct block_event event = { .time_us = 1,
		.profile = "guest",
		.name = &name,
		.rule_labels = 255,
		.type = 4242,
		.keep_s = UINT32_MAX };
	event.matched = &name;
	assert_true(block_log_write(rings[0], &event));
	commit();
	struct seen seen = scan(&everything);
	assert_string_equal(seen.json,
	        "{\"time\":\"1970-01-01T00:00:00.000001Z\",\"client\":null,\"device\":null,"
	        "\"profile\":\"guest\",\"name\":\"a\\\\010b.example\",\"type\":\"TYPE4242\","
	        "\"category\":null,\"severity\":\"advisory\",\"rule\":null,\"source\":null,"
	        "\"matched\":\"a\\\\010b.example\",\"action\":\"block\",\"generation\":null,\"mac\":null,"
	        "\"confidence\":null,\"randomised\":null,\"identity\":null}");
	free(seen.json);
}

static void full_ring_refuses_the_event(void **state)
{
	(void)state;
	struct name name = name_of("n.example");
	struct block_event event = event_at(noon(0), &name);
	unsigned written = 0;
	while (block_log_write(rings[0], &event))
		written++;
	assert_true(written > 5000);
	commit();
	assert_int_equal(count(&everything), written);
	assert_true(block_log_write(rings[0], &event));
}

static void rings_are_empty_after_the_commit(void **state)
{
	(void)state;
	log_name(noon(0), "secretword.example");
	assert_true(file_holds(ring_path(0), "secretword"));
	commit();
	assert_false(file_holds(ring_path(0), "secretword"));
	assert_int_equal(ring_pending(rings[0]), 0);
}

/* ---- order, days, classes ---- */

static void newest_comes_first_across_rings_classes_segments_and_days(void **state)
{
	(void)state;
	char text[32];
	srandom(3);
	for (unsigned i = 0; i < 9000; i++) {
		snprintf(text, sizeof text, "n%u.example", i);
		struct name name = name_of(text);
		struct block_event event =
		        event_at(noon(0) - (int64_t)(9000 - i) * 20000000 + random() % 60000000, &name);
		event.keep_s = i % 3 ? DAYS(90) : DAYS(30);
		assert_true(block_log_write(rings[random() % RINGS], &event));
		if (i % 1500 == 1499)
			commit();
	}
	commit();
	assert_each_once(9000);
}

static void clock_that_jumps_back_loses_nothing(void **state)
{
	(void)state;
	char text[32];
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(text, sizeof text, "n%u.example", i);
		log_name(noon(0) - (int64_t)i * 60000000, text);
		if (i % 700 == 699)
			commit();
	}
	commit();
	assert_each_once(3000);
}

static void midnight_begins_a_new_file(void **state)
{
	(void)state;
	int64_t midnight = noon(1) + DAY_US / 2;
	log_name(midnight - 1, "before.example");
	commit();
	assert_true(exists("%s/%s-90d.mdb%s", midnight - 1, ""));
	assert_false(exists("%s/%s-90d.mdb%s", midnight, ""));
	log_name(midnight, "after.example");
	commit();
	assert_true(exists("%s/%s-90d.mdb%s", midnight, ""));
	assert_int_equal(count(&everything), 2);
}

static void retention_classes_have_files_of_their_own(void **state)
{
	(void)state;
	static const uint32_t keeps[] = { DAYS(90), DAYS(30), 3600 };
	struct stat st;
	char path[400];
	for (unsigned i = 0; i < 3; i++) {
		struct name name = name_of("n.example");
		struct block_event event = event_at(now_us(), &name);
		event.keep_s = keeps[i];
		assert_true(block_log_write(rings[0], &event));
	}
	commit();
	assert_true(exists("%s/%s-90d.mdb%s", now_us(), ""));
	assert_true(exists("%s/%s-30d.mdb%s", now_us(), ""));
	assert_true(exists("%s/%s-3600s.mdb%s", now_us(), ""));
	assert_int_equal(count(&everything), 3);
	file_name(path, now_us() / DAY_US, DAYS(30), BLOCK_FILE_STORE);
	char whole[800];
	snprintf(whole, sizeof whole, "%s/%s", dir, path);
	assert_int_equal(stat(whole, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* ---- forgetting ---- */

static void store_path(char path[400], int days_ago)
{
	char name[BLOCK_FILE_NAME_MAX];
	file_name(name, noon(days_ago) / DAY_US, DAYS(90), BLOCK_FILE_STORE);
	snprintf(path, 400, "%s/%s", dir, name);
}

/* As if the files of that day had been written so many days ago. */
static void age_files(int day_ago, uint32_t keep_s, int days)
{
	struct timespec times[2] = { { .tv_sec = now_us() / 1000000 - days * INT64_C(86400) } };
	char name[BLOCK_FILE_NAME_MAX], path[400];
	times[1] = times[0];
	file_name(name, noon(day_ago) / DAY_US, keep_s, BLOCK_FILE_STORE);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void events_from_before_the_clock_was_set_are_kept(void **state)
{
	(void)state;
	log_name(1000000, "n0.example");
	log_name(noon(200), "n1.example");
	commit();
	commit();
	assert_each_once(2);
}

static void events_of_a_day_to_come_go_with_their_file_s_age(void **state)
{
	(void)state;
	log_name(noon(-400), "n0.example");
	log_name(noon(0), "n1.example");
	commit();
	assert_each_once(2);
	age_files(-400, DAYS(90), 89);
	commit();
	assert_true(exists("%s/%s-90d.mdb%s", noon(-400), ""));
	age_files(-400, DAYS(90), 91);
	commit();
	assert_false(exists("%s/%s-90d.mdb%s", noon(-400), ""));
	assert_false(exists("%s/%s-90d.mdb%s", noon(-400), "-lock"));
}

/* The log was last written 120 days ago by the clock, as after a start with a wrong one. */
static void clock_far_ahead_at_the_start_deletes_nothing_and_is_said(void **state)
{
	(void)state;
	log_name(noon(121), "n0.example");
	commit();
	age_files(121, DAYS(90), 120);
	log_name(noon(0), "n1.example");
	struct block_log *log = start_with(0);
	assert_non_null(strstr(block_log_trouble(log), "clock"));
	log_name(noon(0), "n2.example");
	for (int i = 0; i < 100 && ring_pending(rings[0]); i++)
		usleep(20000);
	assert_int_equal(ring_pending(rings[0]), 0);
	assert_non_null(strstr(block_log_trouble(log), "clock"));
	block_log_stop(log);
	assert_each_once(3);
}

static void machine_off_for_a_night_prunes_at_the_start(void **state)
{
	(void)state;
	log_name(noon(121), "n0.example");
	log_name(noon(1), "n1.example");
	commit();
	age_files(121, DAYS(90), 120);
	struct timespec times[2] = { { .tv_sec = now_us() / 1000000 - 80000 },
		{ .tv_sec = now_us() / 1000000 - 80000 } };
	char path[400];
	store_path(path, 1);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	commit();
	assert_false(exists("%s/%s-90d.mdb%s", noon(121), ""));
	assert_int_equal(count(&everything), 1);
}

static void days_past_their_keep_are_unlinked(void **state)
{
	(void)state;
	struct name name = name_of("n.example");
	static const struct {
		int days_ago;
		uint32_t keep_s;
	} cases[] = { { 92, DAYS(90) }, { 90, DAYS(90) }, { 32, DAYS(30) }, { 32, DAYS(90) },
		{ 0, DAYS(30) } };
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct block_event event = event_at(noon(cases[i].days_ago), &name);
		event.keep_s = cases[i].keep_s;
		assert_true(block_log_write(rings[0], &event));
	}
	commit();
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
		age_files(cases[i].days_ago, cases[i].keep_s, cases[i].days_ago);
	commit();
	assert_false(exists("%s/%s-90d.mdb%s", noon(92), ""));
	assert_false(exists("%s/%s-90d.mdb%s", noon(92), "-lock"));
	assert_false(exists("%s/%s-30d.mdb%s", noon(32), ""));
	assert_true(exists("%s/%s-90d.mdb%s", noon(90), ""));
	assert_true(exists("%s/%s-90d.mdb%s", noon(32), ""));
	assert_int_equal(count(&everything), 3);
}

static void other_files_in_the_folder_are_left_alone(void **state)
{
	(void)state;
	char path[400];
	static const char *const names[] = { "notes.txt", "2001-01-01-90d.mdb.txt", "2001-01-1-90d.mdb",
		"2001-01-01-090d.mdb" };
	commit();
	for (unsigned i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		close(open(path, O_CREAT | O_WRONLY, 0600));
	}
	commit();
	for (unsigned i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		assert_int_equal(access(path, F_OK), 0);
	}
}

static void oldest_days_go_first_above_max_size(void **state)
{
	(void)state;
	for (int day = 0; day < 6; day++)
		log_name(noon(day), "n.example");
	commit();
	block_log_stop(start_with(70000));
	assert_true(exists("%s/%s-90d.mdb%s", noon(0), ""));
	assert_true(exists("%s/%s-90d.mdb%s", noon(1), ""));
	assert_false(exists("%s/%s-90d.mdb%s", noon(5), ""));
	assert_false(exists("%s/%s-90d.mdb%s", noon(4), ""));
}

static void today_alone_above_max_size_waits_and_says_so(void **state)
{
	(void)state;
	log_name(now_us(), "first.example");
	commit();
	struct block_log *log = start_with(4096);
	log_name(now_us(), "second.example");
	for (int i = 0; i < 100 && !*block_log_trouble(log); i++)
		usleep(20000);
	assert_non_null(strstr(block_log_trouble(log), "max-size"));
	block_log_stop(log);
	assert_int_equal(ring_pending(rings[0]), 1);
	assert_int_equal(count(&everything), 1);
	commit();
	assert_int_equal(count(&everything), 2);
}

/* ---- filters ---- */

/* Four events; each filter is known by how many it lets through. */
static void log_four(void)
{
	struct name bet = name_of("www.bet.test"), adult = name_of("x.adult.test"),
	            cloak = name_of("shop.example");
	struct block_event event = event_at(noon(0), &bet);
	assert_true(block_log_write(rings[0], &event));
	event = event_at(noon(0) + 1000000, &adult);
	event.category = "adult";
	event.severity = SEVERITY_DANGER;
	event.profile = "guest";
	event.client = guest;
	assert_true(block_log_write(rings[1], &event));
	event = event_at(noon(0) + 2000000, &cloak);
	event.matched = &bet;
	event.client = NULL;
	assert_true(block_log_write(rings[0], &event));
	event = event_at(noon(1), &adult);
	event.category = NULL;
	event.severity = SEVERITY_ADVISORY;
	event.profile = "staff";
	assert_true(block_log_write(rings[0], &event));
	commit();
}

static unsigned count_client(const char *text)
{
	struct block_filter filter = { .severity = -1, .has_client = true };
	assert_int_equal(config_network_parse(&filter.client, text), 0);
	return count(&filter);
}

static unsigned count_name(const char *text)
{
	struct block_filter filter = { .severity = -1, .name = name_of(text) };
	return count(&filter);
}

static void filter_by_client_address_and_network(void **state)
{
	(void)state;
	log_four();
	assert_int_equal(count_client("10.20.3.7"), 2);
	assert_int_equal(count_client("10.20.3.8"), 0);
	assert_int_equal(count_client("10.20.0.0/16"), 2);
	assert_int_equal(count_client("10.20.2.0/23"), 2);
	assert_int_equal(count_client("10.20.4.0/23"), 0);
	assert_int_equal(count_client("2001:db8::/32"), 1);
	assert_int_equal(count_client("::/0"), 3);
}

static void filter_by_profile_category_and_severity(void **state)
{
	(void)state;
	log_four();
	assert_int_equal(count(&(struct block_filter){ .severity = -1, .profile = "pupils" }), 2);
	assert_int_equal(count(&(struct block_filter){ .severity = -1, .profile = "pupil" }), 0);
	assert_int_equal(count(&(struct block_filter){ .severity = -1, .category = "adult" }), 1);
	assert_int_equal(count(&(struct block_filter){ .severity = -1, .category = "games" }), 0);
	assert_int_equal(count(&(struct block_filter){ .severity = SEVERITY_ADVISORY }), 4);
	assert_int_equal(count(&(struct block_filter){ .severity = SEVERITY_CAUTION }), 3);
	assert_int_equal(count(&(struct block_filter){ .severity = SEVERITY_DANGER }), 1);
	assert_int_equal(
	        count(&(struct block_filter){ .severity = SEVERITY_DANGER, .profile = "pupils" }), 0);
}

static void filter_by_name_finds_asked_and_matched_on_label_boundaries(void **state)
{
	(void)state;
	log_four();
	assert_int_equal(count_name("bet.test"), 2);
	assert_int_equal(count_name("www.bet.test"), 2);
	assert_int_equal(count_name("shop.example"), 1);
	assert_int_equal(count_name("test"), 4);
	assert_int_equal(count_name("."), 4);
	assert_int_equal(count_name("et.test"), 0);
	assert_int_equal(count_name("a.www.bet.test"), 0);
}

static void filter_by_time_takes_since_and_leaves_until(void **state)
{
	(void)state;
	log_four();
	assert_int_equal(count(&(struct block_filter){ .severity = -1, .since_us = noon(0) }), 3);
	assert_int_equal(count(&(struct block_filter){ .severity = -1, .since_us = noon(0) + 1 }), 2);
	assert_int_equal(count(&(struct block_filter){ .severity = -1, .until_us = noon(0) }), 1);
	assert_int_equal(count(&(struct block_filter){ .severity = -1, .until_us = noon(0) + 1 }), 2);
	assert_int_equal(count(&(struct block_filter){
	                         .severity = -1, .since_us = noon(0), .until_us = noon(0) + 2000000 }),
	        2);
}

static void reader_sees_the_profiles_of_its_scope_only(void **state)
{
	(void)state;
	static const char *const scope[] = { "guest", "staff" };
	log_four();
	assert_int_equal(
	        count(&(struct block_filter){ .severity = -1, .profiles = scope, .profile_count = 2 }), 2);
	assert_int_equal(
	        count(&(struct block_filter){ .severity = -1, .profiles = scope, .profile_count = 0 }), 0);
	assert_int_equal(
	        count(&(struct block_filter){
	                .severity = -1, .profiles = scope, .profile_count = 2, .profile = "pupils" }),
	        0);
}

static void limit_keeps_the_newest(void **state)
{
	(void)state;
	log_four();
	struct seen seen = scan(&(struct block_filter){ .severity = -1, .limit = 2 });
	assert_int_equal(seen.count, 2);
	assert_string_equal(seen.first, "shop.example");
	free(seen.json);
}

static bool stop_at_once(void *arg, const struct block_record *record)
{
	(void)record;
	(*(unsigned *)arg)++;
	return false;
}

static void scan_ends_when_told(void **state)
{
	(void)state;
	unsigned calls = 0;
	log_four();
	assert_int_equal(block_log_scan(dir, &everything, stop_at_once, &calls), 1);
	assert_int_equal(calls, 1);
}

static void store_that_is_not_there_is_empty(void **state)
{
	(void)state;
	assert_int_equal(count(&everything), 0);
	assert_int_equal(block_log_last_id(dir), 0);
}

/* ---- follow ---- */

static void follow_gives_newer_ones_oldest_first(void **state)
{
	(void)state;
	log_name(noon(0), "old.example");
	commit();
	struct block_filter filter = { .severity = -1, .after_id = block_log_last_id(dir) };
	assert_int_equal(count(&filter), 0);
	struct name name = name_of("yesterday.example");
	struct block_event event = event_at(noon(1), &name);
	event.keep_s = DAYS(30);
	assert_true(block_log_write(rings[1], &event));
	log_name(noon(0), "today.example");
	commit();
	struct seen seen = scan(&filter);
	assert_int_equal(seen.count, 2);
	assert_string_equal(seen.first, "yesterday.example");
	free(seen.json);
	filter.after_id = seen.last_id;
	assert_int_equal(count(&filter), 0);
	filter.after_id = 1;
	filter.limit = 2;
	seen = scan(&filter);
	assert_string_equal(seen.first, "old.example");
	free(seen.json);
}

static void ids_rise_over_restarts_and_a_clock_set_back(void **state)
{
	(void)state;
	uint64_t last = 0;
	for (int i = 0; i < 4; i++) {
		log_name(noon(i), "n.example");
		commit();
		uint64_t id = block_log_last_id(dir);
		assert_true(id > last);
		last = id;
	}
}

/* Writes n0 to n<names - 1> with a running writer, then ends. */
static _Noreturn void write_live(unsigned names)
{
	char text[32];
	struct block_log *log = start_with(0);
	for (unsigned i = 0; i < names; i++) {
		snprintf(text, sizeof text, "n%u.example", i);
		struct name name = name_of(text);
		struct block_event event = event_at(now_us() - (i % 7) * 3600000000, &name);
		event.keep_s = i % 2 ? DAYS(90) : DAYS(30);
		if (!block_log_write(rings[i % RINGS], &event))
			_exit(1);
		if (i % 100 == 99)
			usleep(10000);
	}
	block_log_stop(log);
	_exit(0);
}

static void follower_of_a_live_writer_sees_each_event_once(void **state)
{
	(void)state;
	struct block_filter filter = { .severity = -1, .after_id = 1 };
	struct seen seen = { .in_order = true, .oldest_first = true, .marks = calloc(6001, 1) };
	pid_t child = fork();
	if (child == 0)
		write_live(6000);
	int status = -1;
	for (bool running = true; running;) {
		running = waitpid(child, &status, WNOHANG) == 0;
		if (block_log_scan(dir, &filter, see, &seen) > 0)
			filter.after_id = seen.last_id;
		usleep(5000);
	}
	assert_int_equal(status, 0);
	assert_int_equal(seen.count, 6000);
	assert_true(seen.in_order);
	for (unsigned i = 0; i < 6000; i++)
		assert_int_equal(seen.marks[i], 1);
	free(seen.marks);
	free(seen.json);
}

/* ---- crashes ---- */

static void copy_file(const char *from, const char *to)
{
	char buffer[4096];
	ssize_t len;
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(in >= 0 && out >= 0);
	while ((len = read(in, buffer, sizeof buffer)) > 0)
		assert_int_equal(write(out, buffer, (size_t)len), len);
	close(in);
	close(out);
}

static void crash_between_commit_and_release_doubles_nothing(void **state)
{
	(void)state;
	char text[32], saved[400];
	snprintf(saved, sizeof saved, "%s/saved", root);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(text, sizeof text, "n%u.example", i);
		log_name(noon((int)i % 3), text);
	}
	copy_file(ring_path(0), saved);
	commit();
	close_rings();
	copy_file(saved, ring_path(0));
	open_rings(1 << 20);
	assert_int_equal(ring_pending(rings[0]), 50);
	log_name(noon(0), "n50.example");
	commit();
	assert_each_once(51);
}

/* A power loss gave back a ring that is older than what was committed from it: new events must not take used
 * numbers. */
static void ring_older_than_the_store_loses_nothing_new(void **state)
{
	(void)state;
	char saved[400];
	snprintf(saved, sizeof saved, "%s/saved", root);
	log_name(noon(0), "n0.example");
	copy_file(ring_path(0), saved);
	log_name(noon(0), "n1.example");
	log_name(noon(0), "n2.example");
	commit();
	close_rings();
	copy_file(saved, ring_path(0));
	open_rings(1 << 20);
	struct block_log *log = start_with(0);
	log_name(noon(0), "n3.example");
	block_log_stop(log);
	assert_each_once(4);
}

static void write_until_killed(_Atomic unsigned *written)
{
	char text[32];
	for (unsigned i = 0; i < RINGS; i++)
		ring_close(rings[i]);
	open_rings(1 << 16);
	start_with(0);
	for (;;) {
		snprintf(text, sizeof text, "n%u.example", *written);
		struct name name = name_of(text);
		struct block_event event = event_at(now_us() - (*written % 2) * DAY_US, &name);
		event.keep_s = *written % 3 ? DAYS(90) : DAYS(30);
		if (block_log_write(rings[*written % RINGS], &event))
			(*written)++;
	}
}

static void kill_9_of_the_daemon_loses_and_doubles_nothing(void **state)
{
	(void)state;
	_Atomic unsigned *written =
	        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	srandom(11);
	for (int round = 0; round < 12; round++) {
		pid_t child = fork();
		if (child == 0)
			write_until_killed(written);
		usleep(20000 + (unsigned)(random() % 80000));
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
	}
	close_rings();
	open_rings(1 << 16);
	commit();
	/* The one that was written but not counted when the last kill came is written again by the next
	 * round. */
	struct seen seen = { .in_order = true, .marks = calloc(*written + 2, 1) };
	int64_t found = block_log_scan(dir, &everything, see, &seen);
	assert_true(*written > 100);
	assert_in_range(found, *written, *written + 12);
	for (unsigned i = 0; i < *written; i++)
		assert_in_range(seen.marks[i], 1, 2);
	free(seen.marks);
	free(seen.json);
	munmap((void *)written, 4096);
}

static void damaged_ring_record_is_counted_and_passed(void **state)
{
	(void)state;
	log_name(noon(0), "n0.example");
	int fd = open(ring_path(0), O_RDWR);
	assert_int_equal(pwrite(fd, "\xff", 1, 4096 + 20), 1);
	close(fd);
	struct block_log *log = start_with(0);
	assert_int_equal(block_log_lost(log), 1);
	log_name(noon(0), "n0.example");
	block_log_stop(log);
	assert_each_once(1);
}

static void damaged_store_is_moved_aside_and_events_go_on(void **state)
{
	(void)state;
	char name[BLOCK_FILE_NAME_MAX], path[400];
	commit();
	file_name(name, noon(0) / DAY_US, DAYS(90), BLOCK_FILE_STORE);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	for (int i = 0; i < 3000; i++)
		assert_int_equal(write(fd, "not a store ", 12), 12);
	close(fd);
	log_name(noon(0), "n0.example");
	struct block_log *log = start_with(0);
	block_log_stop(log);
	assert_true(exists("%s/%s-90d.mdb.damaged%s", noon(0), ""));
	assert_each_once(1);
}

/* To so many pages. */
static void cut_store(int days_ago, off_t pages)
{
	char path[400];
	struct stat st;
	store_path(path, days_ago);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 4096 * pages);
	assert_int_equal(truncate(path, 4096 * pages), 0);
}

static void truncated_file_of_an_old_day_lets_the_daemon_start(void **state)
{
	(void)state;
	char text[64];
	for (int pages = 0; pages < 5; pages++) {
		for (unsigned i = 0; i < 1000; i++) {
			snprintf(text, sizeof text, "o%lx%lx.example", random(), random());
			log_name(noon(3 + pages), text);
		}
		log_name(noon(2), "n0.example");
		commit();
		cut_store(3 + pages, pages);
		commit();
		assert_int_equal(count(&everything), pages + 1);
		assert_true(block_log_last_id(dir) > 0);
	}
}

static void truncated_file_of_today_is_moved_aside(void **state)
{
	(void)state;
	log_name(noon(0), "old.example");
	commit();
	cut_store(0, 2);
	log_name(noon(0), "n0.example");
	block_log_stop(start_with(0));
	assert_true(exists("%s/%s-90d.mdb.damaged%s", noon(0), ""));
	assert_each_once(1);
}

/* Takes pages at the end of the file and gives them up in the same transaction: LMDB does not write them. */
static void give_up_pages_at_the_end(const char *path)
{
	static uint8_t large[1000000];
	char name[] = "z";
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	uint64_t len;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_mapsize(env, 64 << 20), 0);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
	/* the first leave free pages for LMDB's list of them, which would be written at the end else */
	for (size_t size = 50000; size <= sizeof large && block_file_covers_pages(env, &len); size += 50000) {
		MDB_val key = { 1, name }, value = { size, large };
		assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
		assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
		assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
		assert_int_equal(mdb_del(txn, dbi, &key, NULL), 0);
		assert_int_equal(mdb_txn_commit(txn), 0);
	}
	assert_false(block_file_covers_pages(env, &len));
	mdb_env_close(env);
}

static void power_loss_before_the_file_is_lengthened_damages_nothing(void **state)
{
	(void)state;
	char path[400];
	for (int days_ago = 0; days_ago < 2; days_ago++) {
		log_name(noon(days_ago), days_ago ? "n1.example" : "n0.example");
		commit();
		store_path(path, days_ago);
		give_up_pages_at_the_end(path);
		commit();
		assert_false(exists("%s/%s-90d.mdb.damaged%s", noon(days_ago), ""));
	}
	assert_each_once(2);
}

static void second_damaged_file_of_a_day_leaves_the_first(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		log_name(noon(0), "n0.example");
		block_log_stop(start_with(0));
		if (i < 2)
			cut_store(0, 2);
	}
	assert_true(exists("%s/%s-90d.mdb.damaged%s", noon(0), ""));
	assert_true(exists("%s/%s-90d.mdb.damaged%s", noon(0), ".1"));
	assert_each_once(1);
}

/* ---- trouble with the disk ---- */

static _Atomic int troubles, recoveries;

static void note_trouble(void *arg, const char *sentence)
{
	(void)arg;
	if (*sentence)
		troubles++;
	else
		recoveries++;
}

/* In a process of its own: the limit stands for a full disk. */
static void write_with_a_full_disk(void)
{
	struct rlimit limit = { 8192, RLIM_INFINITY };
	struct block_log *log;
	struct block_log_options options = {
		.dir = dir, .max_size = 0, .rings = rings, .ring_count = RINGS, .trouble = note_trouble
	};
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(block_log_start(&log, &options), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	char text[32];
	for (unsigned i = 0; i < 500; i++) {
		snprintf(text, sizeof text, "n%u.example", i);
		log_name(noon(0), text);
		usleep(1000);
	}
	assert_int_equal(troubles, 1);
	assert_non_null(strstr(block_log_trouble(log), "wait in memory"));
	assert_true(ring_pending(rings[0]) > 0);
	limit.rlim_cur = RLIM_INFINITY;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (int i = 0; i < 100 && ring_pending(rings[0]); i++)
		usleep(20000);
	assert_int_equal(ring_pending(rings[0]), 0);
	assert_int_equal(recoveries, 1);
	assert_string_equal(block_log_trouble(log), "");
	assert_int_equal(block_log_lost(log), 0);
	block_log_stop(log);
}

static void full_disk_keeps_events_waiting_and_resumes_by_itself(void **state)
{
	(void)state;
	write_with_a_full_disk();
	assert_each_once(500);
}

/* The folder becomes a disk of 64 KiB, for this process alone. Returns false where that is not allowed. */
static bool mount_small_disk(void)
{
	if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	        mkdir(dir, 0700) == 0 && mount("none", dir, "tmpfs", 0, "size=64k") == 0)
		return true;
	print_message("# no mounts here: not tested\n");
	return false;
}

/* Takes all but so many octets of the disk. */
static void fill_disk(size_t free_len)
{
	char path[400], page[4096] = { 1 };
	struct statvfs disk;
	snprintf(path, sizeof path, "%s/filler", dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	assert_true(fd >= 0);
	while (statvfs(dir, &disk) == 0 && disk.f_bfree * disk.f_bsize > free_len)
		assert_true(write(fd, page, sizeof page) > 0);
	close(fd);
}

static void start_on_a_full_disk(size_t free_len)
{
	char path[400];
	struct block_log *log;
	fill_disk(free_len);
	log = start_with(0);
	assert_non_null(strstr(block_log_trouble(log), "wait in memory"));
	usleep(500000); /* more turns */
	assert_int_equal(ring_pending(rings[0]), 1);
	snprintf(path, sizeof path, "%s/filler", dir);
	assert_int_equal(unlink(path), 0);
	for (int i = 0; i < 100 && ring_pending(rings[0]); i++)
		usleep(20000);
	assert_string_equal(block_log_trouble(log), "");
	block_log_stop(log);
	assert_false(exists("%s/%s-90d.mdb.damaged%s", noon(0), ""));
	assert_int_equal(count(&everything), 1);
}

/* In a process of its own: the symptom was its end. */
static void full_disk_at_the_first_event_of_a_day_does_not_kill(void **state)
{
	(void)state;
	log_name(noon(0), "n0.example");
	for (size_t free_len = 0; free_len <= 20480; free_len += 4096) {
		int status;
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			if (mount_small_disk())
				start_on_a_full_disk(free_len);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		rmdir(dir);
		log_name(noon(0), "n0.example");
	}
}

static void lock_file_has_the_length_that_lmdb_wants(void **state)
{
	(void)state;
	char name[BLOCK_FILE_NAME_MAX], path[400];
	struct stat st;
	MDB_env *env;
	MDB_dbi dbi;
	unsigned readers;
	commit();
	file_name(name, 7, DAYS(90), BLOCK_FILE_STORE);
	assert_int_equal(block_file_open(&env, &dbi, dir, name, 0, 1 << 20), 0);
	assert_int_equal(mdb_env_get_maxreaders(env, &readers), 0);
	assert_int_equal(readers, 126);
	mdb_env_close(env);
	file_name(name, 7, DAYS(90), BLOCK_FILE_LOCK);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 8192);
	assert_true(st.st_blocks * 512 >= st.st_size);
}

static void commit_times(struct block_log *log, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		log_name(noon(0), "n.example");
		for (int wait = 0; wait < 200 && ring_pending(rings[0]); wait++)
			usleep(5000);
	}
	assert_int_equal(ring_pending(rings[0]), 0);
	assert_string_equal(block_log_trouble(log), "");
}

static void read_until_killed(void)
{
	char name[BLOCK_FILE_NAME_MAX];
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn;
	file_name(name, noon(0) / DAY_US, DAYS(90), BLOCK_FILE_STORE);
	if (block_file_open(&env, &dbi, dir, name, MDB_RDONLY, 1 << 20) == 0 &&
	        block_file_read(env, &txn) == 0)
		raise(SIGKILL);
	_exit(1);
}

static void killed_reader_does_not_make_the_file_grow(void **state)
{
	(void)state;
	char path[400];
	struct stat before, after;
	int status;
	store_path(path, 0);
	struct block_log *log = start_with(0);
	commit_times(log, 5);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		read_until_killed();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(stat(path, &before), 0);
	commit_times(log, 20);
	assert_int_equal(stat(path, &after), 0);
	assert_true(after.st_size < before.st_size + 5 * 4096);
	block_log_stop(log);
}

static void map_grows_with_the_day(void **state)
{
	(void)state;
	char text[256];
	for (unsigned i = 0; i < 90000; i++) {
		int at = snprintf(text, sizeof text, "n%u.", i);
		for (int label = 0; label < 3; label++) {
			for (int j = 0; j < 60; j++)
				text[at++] = (char)('a' + random() % 26);
			text[at++] = '.';
		}
		text[at] = 0;
		struct name name = name_of(text);
		struct block_event event = event_at(noon(0) + i, &name);
		while (!block_log_write(rings[0], &event))
			commit();
	}
	commit();
	struct stat st;
	char name[BLOCK_FILE_NAME_MAX], path[400];
	file_name(name, noon(0) / DAY_US, DAYS(90), BLOCK_FILE_STORE);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 17 << 20);
	assert_each_once(90000);
}

/* ---- segments ---- */

static struct block_item items[BLOCK_SEGMENT_EVENTS];
static uint8_t clients[BLOCK_SEGMENT_EVENTS][16];

static void flipped_bit_in_a_segment_is_noticed(void **state)
{
	(void)state;
	struct name name = name_of("www.bet.test");
	struct block_piece summary, data;
	struct block_item item = { .id = 5,
		.time_us = 77,
		.client = pupil,
		.profile = "pupils",
		.name = name.wire,
		.matched = name.wire,
		.name_len = name.len,
		.matched_len = name.len };
	struct block_span span;
	assert_int_equal(block_segment_pack(&summary, &data, &item, 1), 0);
	assert_int_equal(block_segment_unpack(items, clients, &summary, &data, NULL), 1);
	for (size_t bit = 0; bit < 8 * summary.len; bit++) {
		summary.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(block_segment_span(&span, &summary), -EBADMSG);
		assert_false(block_segment_may_pass(&summary, &everything));
		assert_int_equal(block_segment_unpack(items, clients, &summary, &data, NULL), -EBADMSG);
		summary.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * data.len; bit++) {
		data.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(block_segment_unpack(items, clients, &summary, &data, NULL), -EBADMSG);
		data.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t len = 0; len < data.len; len++) {
		struct block_piece cut = { data.data, len };
		assert_int_equal(block_segment_unpack(items, clients, &summary, &cut, NULL), -EBADMSG);
	}
	free(summary.data);
	free(data.data);
}

static void segment_without_its_data_hides_no_older_event(void **state)
{
	(void)state;
	char name[BLOCK_FILE_NAME_MAX];
	uint8_t octets[BLOCK_KEY_LEN];
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn;
	MDB_val key, summary;
	for (unsigned i = 0; i < BLOCK_SEGMENT_EVENTS; i++)
		log_name(noon(0), "older.example");
	commit();
	log_name(noon(0) + 1, "newest.example");
	commit();
	log_name(noon(1), "yesterday.example");
	commit();
	file_name(name, noon(0) / DAY_US, DAYS(90), BLOCK_FILE_STORE);
	assert_int_equal(block_file_open(&env, &dbi, dir, name, 0, 1 << 20), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(block_file_newest(txn, dbi, &key, &summary), 0);
	key = block_file_key(octets, BLOCK_KEY_DATA, block_file_key_number(&key));
	assert_int_equal(mdb_del(txn, dbi, &key, NULL), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	assert_int_equal(count(&everything), BLOCK_SEGMENT_EVENTS + 1);
}

static void event_of_a_hostile_ring_is_refused(void **state)
{
	(void)state;
	struct name name = name_of("www.bet.test");
	struct block_event event = event_at(1, &name);
	uint64_t cursor = 0, sequence, damaged = 0;
	size_t len;
	struct block_item item;
	assert_true(block_log_write(rings[0], &event));
	const uint8_t *data = ring_next(rings[0], &cursor, &len, &sequence, &damaged);
	assert_int_equal(block_item_read(&item, data, len), 0);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut + 1);
		memcpy(copy, data, cut);
		assert_int_equal(block_item_read(&item, copy, cut), -EBADMSG);
		free(copy);
	}
	for (size_t at = 0; at < len; at++) {
		uint8_t *copy = malloc(len);
		memcpy(copy, data, len);
		copy[at] ^= 0xff;
		block_item_read(&item, copy, len);
		free(copy);
	}
}

/* ---- searches of many segments ---- */

#define MANY 18000 /* eighteen segments: a group of sixteen and two more */

/* Event number i: client, profile, category, severity and name go round at different paces; some are rare. */
static struct block_event many_event(unsigned i, struct name *name, uint8_t client[16])
{
	static const char *const profiles[] = { "pupils", "staff", "guest" };
	char text[64];

	snprintf(text, sizeof text, "www.n%u.%s", i % 997 == 0 ? 0 : i % 61 + 1, i % 2 ? "com" : "org");
	*name = name_of(text);
	memcpy(client, pupil, 16);
	client[14] = (uint8_t)(i / 1000);
	client[15] = (uint8_t)(i % 251);
	struct block_event event = event_at(noon(1) + i, name);
	event.client = i % 97 ? client : NULL;
	event.profile = profiles[i % 3];
	event.category = i % 5 ? i == 7777 ? "rare" : "gambling" : NULL;
	event.severity = i % 1999 ? SEVERITY_CAUTION : SEVERITY_DANGER;
	return event;
}

static void log_many(void)
{
	struct name name;
	uint8_t client[16];

	for (unsigned i = 0; i < MANY; i++) {
		struct block_event event = many_event(i, &name, client);
		assert_true(block_log_write(rings[0], &event));
		if (i % 3000 == 2999)
			commit();
	}
}

/* What a search must find, by the test of the filter on each event alone. */
static unsigned many_that_pass(const struct block_filter *filter)
{
	struct name name;
	uint8_t client[16];
	unsigned passing = 0;

	for (unsigned i = 0; i < MANY; i++) {
		struct block_event event = many_event(i, &name, client);
		struct block_record record = { .time_us = event.time_us,
			.client = event.client,
			.profile = event.profile,
			.category = event.category,
			.name = name,
			.matched = name,
			.severity = event.severity };
		passing += block_log_passes(&record, filter);
	}
	return passing;
}

static void assert_search_is_whole(const struct block_filter *filter, bool finds)
{
	unsigned expected = many_that_pass(filter);
	assert_int_equal(expected > 0, finds);
	assert_int_equal(count(filter), expected);
}

static struct block_filter of_network(uint8_t c, uint8_t d, unsigned length)
{
	struct block_filter filter = { .severity = -1, .has_client = true };
	memcpy(filter.client.address, (const uint8_t[16]){ [10] = 0xff, [11] = 0xff, [12] = 10, 20, c, d },
	        16);
	filter.client.length = (uint8_t)length;
	return filter;
}

static void searches_by_groups_find_what_each_event_says(void **state)
{
	(void)state;
	log_many();
	struct block_filter danger = { .severity = SEVERITY_DANGER },
	                    rare = { .severity = -1, .category = "rare" },
	                    none = { .severity = -1, .category = "none" },
	                    guests = { .severity = -1, .profile = "guest" },
	                    name = { .severity = -1, .name = name_of("n0.com") },
	                    absent = { .severity = -1, .name = name_of("n99.com") },
	                    part = { .severity = -1, .since_us = noon(1) + 4500, .until_us = noon(1) + 9500 };
	struct block_filter client = of_network(3, 8, 128), network = of_network(8, 0, 120),
	                    nobody = of_network(77, 0, 120), wide = of_network(0, 0, 104),
	                    both = of_network(3, 0, 120);
	both.name = name_of("com");
	both.profile = "staff";
	const struct block_filter *found[] = { &everything, &danger, &rare, &guests, &name, &part, &client,
		&network, &wide, &both };
	const struct block_filter *not_found[] = { &none, &absent, &nobody };
	for (size_t i = 0; i < sizeof found / sizeof *found; i++)
		assert_search_is_whole(found[i], true);
	for (size_t i = 0; i < sizeof not_found / sizeof *not_found; i++)
		assert_search_is_whole(not_found[i], false);
}

/* Also where a page ends in the middle of a group, or a segment. */
static void paging_by_ids_gives_each_event_once(void **state)
{
	(void)state;
	struct block_filter page = { .severity = -1, .limit = 700, .after_id = 1 };
	unsigned all = 0, got;

	log_many();
	do {
		struct seen seen = scan(&page);
		free(seen.json);
		got = seen.count;
		all += got;
		page.after_id = seen.last_id;
	} while (got == 700);
	assert_int_equal(all, MANY);
}

static void damaged_group_costs_no_event(void **state)
{
	(void)state;
	char path[400];
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn;
	MDB_cursor *cursor;
	MDB_val key, value;

	log_many();
	store_path(path, 1);
	const char *file = strrchr(path, '/') + 1;
	assert_int_equal(block_file_open(&env, &dbi, dir, file, 0, 1 << 24), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
	assert_int_equal(block_file_seek(cursor, BLOCK_KEY_GROUP, UINT64_MAX, &key, &value), 0);
	uint8_t *copy = malloc(value.mv_size);
	memcpy(copy, value.mv_data, value.mv_size);
	copy[value.mv_size / 2] ^= 1;
	value.mv_data = copy;
	assert_int_equal(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), 0);
	mdb_cursor_close(cursor);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	free(copy);
	assert_search_is_whole(&everything, true);
	struct block_filter network = of_network(8, 0, 120);
	assert_search_is_whole(&network, true);
}

/* ---- what is held, what goes before its time ---- */

static void log_of(int days_ago, const char *profile, const char *text)
{
	struct name name = name_of(text);
	struct block_event event = event_at(noon(days_ago), &name);
	event.profile = profile;
	assert_true(block_log_write(rings[0], &event));
}

/* The log, until what it has to take away is gone. */
static void run_with_keeps(const struct block_keep *keeps, size_t keep_count)
{
	struct block_log *log;
	struct block_log_options options = {
		.dir = dir, .rings = rings, .ring_count = RINGS, .keeps = keeps, .keep_count = keep_count
	};
	assert_int_equal(block_log_start(&log, &options), 0);
	usleep(700000);
	assert_string_equal(block_log_trouble(log), "");
	block_log_stop(log);
}

static unsigned rows_of(const char *profile)
{
	struct block_filter filter = { .severity = -1, .profile = profile };
	return count(&filter);
}

static char *retention_lines(const char *yaml, int64_t overdue)
{
	static char why[CONFIG_WHY_MAX];
	struct config *config;
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(config_parse(&config, yaml, strlen(yaml), "test", why), 0);
	assert_int_equal(retention_verify(config, dir, out), overdue);
	fclose(out);
	config_free(config);
	return text;
}

static void shorter_keep_takes_rows_out_of_files_of_a_longer_class(void **state)
{
	(void)state;
	const struct block_keep keeps[] = { { "pupils", DAYS(7) }, { "staff", DAYS(90) } };
	static const char yaml[] =
	        "default-profile: pupils\nprofiles: [{name: pupils, networks: [10.20.0.0/16], keep: 7d}, "
	        "{name: staff, networks: [10.30.0.0/16]}]\n";
	log_of(0, "pupils", "today.test");
	log_of(6, "pupils", "young.test");
	log_of(20, "pupils", "secret.test");
	log_of(20, "staff", "staff.test");
	log_of(30, "pupils", "alone.test");
	commit();
	free(retention_lines(yaml, 1));
	age_files(20, DAYS(90), 20);
	age_files(30, DAYS(90), 30);
	run_with_keeps(keeps, 2);
	assert_int_equal(rows_of("pupils"), 2);
	assert_int_equal(rows_of("staff"), 1);
	char *lines = retention_lines(yaml, 0);
	assert_non_null(strstr(lines, "\"profile\":\"pupils\",\"keep_s\":604800,\"files\":2,\"rows\":2,"));
	free(lines);
	char path[400];
	store_path(path, 30);
	assert_int_equal(access(path, F_OK), -1);
	store_path(path, 20);
	assert_int_equal(access(path, F_OK), -1);
	strcpy(path + strlen(path) - strlen(".mdb"), "-r1.mdb");
	assert_true(file_holds(path, "staff"));
	assert_false(file_holds(path, "secret"));
}

static void prolonged_keep_does_not_prolong_what_was_promised(void **state)
{
	(void)state;
	const struct block_keep keeps[] = { { "pupils", DAYS(365) } };
	struct name name = name_of("old.test");
	struct block_event event = event_at(noon(40), &name);

	event.keep_s = DAYS(30);
	log_of(0, "pupils", "today.test");
	assert_true(block_log_write(rings[0], &event));
	commit();
	age_files(40, DAYS(30), 40);
	run_with_keeps(keeps, 1);
	assert_int_equal(rows_of("pupils"), 1);
}

/* An erasure while events of the same client keep coming: a line behind it, all of them or none. */
static void erasure_takes_all_rows_up_to_its_moment_and_none_after(void **state)
{
	(void)state;
	struct block_filter erased = { .severity = -1, .name = name_of("n1.org"), .until_us = noon(0) };
	struct erasure *pending;

	log_many();
	unsigned before = count(&everything), gone = count(&erased);
	assert_true(gone > 0);
	assert_int_equal(erasure_begin(dir, &(struct erasure){ .filter = erased }), 0);
	assert_int_equal(count(&everything), before - gone);
	run_with_keeps(NULL, 0);
	assert_int_equal(erasure_read(dir, &pending), 0);
	assert_null(pending);
	assert_int_equal(count(&everything), before - gone);
	log_name(noon(0) + 1, "n1.org");
	commit();
	assert_int_equal(count(&everything), before - gone + 1);
}

static void erasure_takes_what_is_damaged_too(void **state)
{
	(void)state;
	struct block_filter erased = { .severity = -1, .name = name_of("nobody.test") };
	char path[420], ring[340];

	log_of(1, "pupils", "secret.test");
	commit();
	cut_store(1, 2);
	commit();
	store_path(path, 1);
	snprintf(ring, sizeof ring, "%s/ring-0.damaged", dir);
	close(open(ring, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(erasure_begin(dir, &(struct erasure){ .filter = erased }), 0);
	run_with_keeps(NULL, 0);
	assert_int_equal(access(ring, F_OK), -1);
	assert_false(erasure_is_pending(dir));
}

static void held_rows_stay_and_stand_there_once(void **state)
{
	(void)state;
	struct block_filter held = { .severity = -1, .name = name_of("held.test") };
	char path[400];
	uint32_t number = 0;
	int lock, other;

	log_of(0, "pupils", "today.test");
	log_of(3, "pupils", "held.test");
	log_of(3, "pupils", "other.test");
	log_of(5, "staff", "held.test");
	commit();
	json_t *detail = json_object();
	assert_int_equal(cases_lock(dir, &lock), 0);
	assert_int_equal(cases_lock(dir, &other), -EBUSY);
	assert_int_equal(cases_hold(dir, &(struct cases_asked){ &held, "" }, detail), 1);
	assert_int_equal(json_integer_value(json_object_get(detail, "rows")), 2);
	json_decref(detail);
	assert_int_equal(count(&everything), 4);
	assert_int_equal(cases_held(dir, &held, &number), 2);
	assert_int_equal(number, 1);
	store_path(path, 3);
	assert_int_equal(unlink(path), 0);
	store_path(path, 5);
	assert_int_equal(unlink(path), 0);
	commit();
	assert_int_equal(count(&everything), 3);
	struct block_log *log = start_with(1);
	block_log_stop(log);
	assert_int_equal(count(&held), 2);
	assert_int_equal(cases_release(dir, 1), 0);
	assert_int_equal(cases_release(dir, 1), -ENOENT);
	assert_int_equal(count(&held), 0);
	cases_unlock(lock);
}

/* ---- cases of devices ---- */

static void log_from(uint8_t client, int days_ago, const char *text)
{
	struct name name = name_of(text);
	struct block_event event = event_at(noon(days_ago), &name);
	uint8_t address[16] = { [10] = 0xff, [11] = 0xff, 10, 20, 0, client };

	event.client = address;
	assert_true(block_log_write(rings[0], &event));
}

/* On that day the address was the device's whose MAC ends so. */
static void lease_of(uint8_t client, int days_ago, uint8_t mac, const char *name)
{
	char path[400];
	struct lease lease = { .has_mac = true, .mac = { 0xa8, [5] = mac } };
	uint8_t address[16] = { [10] = 0xff, [11] = 0xff, 10, 20, 0, client };

	snprintf(path, sizeof path, "%s/devices", root);
	mkdir(path, 0700);
	memcpy(lease.address, address, sizeof address);
	snprintf(lease.name, sizeof lease.name, "%s", name);
	lease.start_s = noon(days_ago) / 1000000 - 3600;
	lease.end_s = lease.start_s + 7200;
	struct devices *devices = devices_new(path);
	assert_int_equal(devices_note(devices, DEVICE_FROM_LEASE, &lease, lease.start_s, DAYS(90)), 0);
	devices_free(devices);
}

static json_t *hold(const struct block_filter *filter, const char *device, int64_t expected_rows)
{
	json_t *detail = json_object();
	int lock;

	assert_int_equal(cases_lock(dir, &lock), 0);
	int64_t number = cases_hold(dir, &(struct cases_asked){ filter, device }, detail);
	cases_unlock(lock);
	if (expected_rows > 0)
		assert_true(number > 0);
	else
		assert_int_equal(number, 0);
	if (number > 0)
		assert_int_equal(json_integer_value(json_object_get(detail, "rows")), expected_rows);
	return detail;
}

static struct block_filter of_client(uint8_t client)
{
	struct block_filter filter = { .severity = -1, .has_client = true };
	char text[32];

	snprintf(text, sizeof text, "10.20.0.%u", client);
	assert_int_equal(config_network_parse(&filter.client, text), 0);
	return filter;
}

/* Annas-phone was at 1, then at 2; at 1 is another device now. */
static void anna_moves(void)
{
	lease_of(1, 5, 0x01, "annas-phone");
	lease_of(2, 3, 0x01, "");
	lease_of(1, 3, 0x02, "library-pc");
	log_from(1, 5, "first.test");
	log_from(2, 3, "second.test");
	log_from(1, 3, "others.test");
	commit();
}

static void case_of_a_device_holds_its_rows_at_all_its_addresses_and_nobody_elses(void **state)
{
	(void)state;
	struct block_filter moved = of_client(2);

	anna_moves();
	json_t *by_name = hold(&everything, "Annas-Phone", 2);
	json_t *by_mac = hold(&everything, "a8:00:00:00:00:01", 2);
	json_t *by_address = hold(&moved, "", 2);
	json_t *places = json_object_get(by_name, "addresses");
	assert_int_equal(json_array_size(places), 2);
	assert_string_equal(member_text(json_array_get(places, 0), "client"), "10.20.0.2");
	assert_string_equal(member_text(json_array_get(places, 1), "device"), "annas-phone");
	assert_string_equal(member_text(by_address, "device"), "a8:00:00:00:00:01");
	assert_true(json_is_true(json_object_get(by_address, "goes_on")));
	json_decref(hold(&everything, "nobodys-pc", 0));
	json_decref(by_name);
	json_decref(by_mac);
	json_decref(by_address);
}

static void address_that_several_devices_had_is_held_as_it_is(void **state)
{
	(void)state;
	struct block_filter both = of_client(1), unknown = of_client(9);

	anna_moves();
	log_from(9, 2, "nobody.test");
	commit();
	json_t *detail = hold(&both, "", 2);
	assert_true(json_is_null(json_object_get(detail, "device")));
	assert_int_equal(json_array_size(json_object_get(detail, "macs")), 2);
	assert_true(json_is_false(json_object_get(detail, "goes_on")));
	json_decref(detail);
	detail = hold(&unknown, "", 1);
	assert_true(json_is_null(json_object_get(detail, "device")));
	json_decref(detail);
}

static void case_of_a_device_takes_what_comes_later_once(void **state)
{
	(void)state;
	uint32_t number = 0;

	anna_moves();
	json_decref(hold(&everything, "annas-phone", 2));
	lease_of(3, 0, 0x01, "annas-phone");
	log_from(3, 0, "third.test");
	log_from(1, 0, "later.test");
	commit();
	assert_int_equal(cases_grow(dir, false), 0);
	assert_int_equal(cases_held(dir, &everything, &number), 2); /* when the day is over */
	assert_int_equal(cases_grow(dir, true), 0);
	assert_int_equal(cases_grow(dir, true), 0);
	assert_int_equal(cases_held(dir, &everything, &number), 3);
	json_t *list = cases_list(dir);
	const json_t *one = json_array_get(list, 0);
	assert_int_equal(json_integer_value(json_object_get(one, "rows")), 3);
	assert_int_equal(json_array_size(json_object_get(one, "addresses")), 3);
	assert_null(json_object_get(one, "growth"));
	json_decref(list);
	assert_int_equal(count(&everything), 5);
	assert_int_equal(cases_release(dir, 1), 0);
	assert_int_equal(cases_held(dir, &everything, &number), 0);
}

static void case_of_a_device_ends_when_its_time_is_over(void **state)
{
	(void)state;
	struct cases_asked asked = { &everything, "annas-phone", 0 };
	json_t *detail = json_object();
	uint32_t number;
	int lock;

	anna_moves();
	assert_int_equal(cases_lock(dir, &lock), 0);
	asked.goes_until_us = now_us() + 100000;
	assert_int_equal(cases_hold(dir, &asked, detail), 1);
	assert_true(json_is_true(json_object_get(detail, "goes_on")));
	json_decref(detail);
	cases_unlock(lock);
	usleep(110000);
	assert_int_equal(cases_grow(dir, true), 0);
	json_t *list = cases_list(dir);
	assert_true(json_is_false(json_object_get(json_array_get(list, 0), "goes_on")));
	json_decref(list);
	lease_of(3, 0, 0x01, "annas-phone");
	log_from(3, 0, "third.test");
	commit();
	assert_int_equal(cases_grow(dir, true), 0);
	assert_int_equal(cases_held(dir, &everything, &number), 2);
}

static void write_case_file(const char *text)
{
	char path[400];

	snprintf(path, sizeof path, "%s/case-1.json", dir);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void day_that_a_case_has_not_taken_yet_outlives_its_keep(void **state)
{
	(void)state;
	char path[400];

	log_from(1, 100, "old.test");
	log_from(1, 0, "today.test");
	commit();
	age_files(100, DAYS(90), 99);
	write_case_file("{\"case\":1,\"growth\":{\"seen_us\":1,\"until_us\":0}}");
	block_log_stop(start_with(0));
	store_path(path, 100);
	assert_int_equal(access(path, F_OK), 0);
	write_case_file("{\"case\":1,\"growth\":null}");
	block_log_stop(start_with(0));
	assert_int_equal(access(path, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(event_comes_back_with_every_field),
		TEST(record_is_json_with_its_keys_in_order),
		TEST(what_is_not_known_is_null),
		TEST(full_ring_refuses_the_event),
		TEST(rings_are_empty_after_the_commit),
		TEST(newest_comes_first_across_rings_classes_segments_and_days),
		TEST(clock_that_jumps_back_loses_nothing),
		TEST(midnight_begins_a_new_file),
		TEST(retention_classes_have_files_of_their_own),
		TEST(events_from_before_the_clock_was_set_are_kept),
		TEST(events_of_a_day_to_come_go_with_their_file_s_age),
		TEST(clock_far_ahead_at_the_start_deletes_nothing_and_is_said),
		TEST(machine_off_for_a_night_prunes_at_the_start),
		TEST(days_past_their_keep_are_unlinked),
		TEST(other_files_in_the_folder_are_left_alone),
		TEST(oldest_days_go_first_above_max_size),
		TEST(today_alone_above_max_size_waits_and_says_so),
		TEST(filter_by_client_address_and_network),
		TEST(filter_by_profile_category_and_severity),
		TEST(filter_by_name_finds_asked_and_matched_on_label_boundaries),
		TEST(filter_by_time_takes_since_and_leaves_until),
		TEST(reader_sees_the_profiles_of_its_scope_only),
		TEST(limit_keeps_the_newest),
		TEST(scan_ends_when_told),
		TEST(shorter_keep_takes_rows_out_of_files_of_a_longer_class),
		TEST(prolonged_keep_does_not_prolong_what_was_promised),
		TEST(erasure_takes_all_rows_up_to_its_moment_and_none_after),
		TEST(erasure_takes_what_is_damaged_too),
		TEST(held_rows_stay_and_stand_there_once),
		TEST(case_of_a_device_holds_its_rows_at_all_its_addresses_and_nobody_elses),
		TEST(address_that_several_devices_had_is_held_as_it_is),
		TEST(case_of_a_device_takes_what_comes_later_once),
		TEST(case_of_a_device_ends_when_its_time_is_over),
		TEST(day_that_a_case_has_not_taken_yet_outlives_its_keep),
		TEST(searches_by_groups_find_what_each_event_says),
		TEST(paging_by_ids_gives_each_event_once),
		TEST(damaged_group_costs_no_event),
		TEST(store_that_is_not_there_is_empty),
		TEST(follow_gives_newer_ones_oldest_first),
		TEST(ids_rise_over_restarts_and_a_clock_set_back),
		TEST(follower_of_a_live_writer_sees_each_event_once),
		TEST(crash_between_commit_and_release_doubles_nothing),
		TEST(ring_older_than_the_store_loses_nothing_new),
		TEST(kill_9_of_the_daemon_loses_and_doubles_nothing),
		TEST(damaged_ring_record_is_counted_and_passed),
		TEST(damaged_store_is_moved_aside_and_events_go_on),
		TEST(full_disk_keeps_events_waiting_and_resumes_by_itself),
		TEST(truncated_file_of_an_old_day_lets_the_daemon_start),
		TEST(truncated_file_of_today_is_moved_aside),
		TEST(power_loss_before_the_file_is_lengthened_damages_nothing),
		TEST(second_damaged_file_of_a_day_leaves_the_first),
		TEST(full_disk_at_the_first_event_of_a_day_does_not_kill),
		TEST(lock_file_has_the_length_that_lmdb_wants),
		TEST(killed_reader_does_not_make_the_file_grow),
		TEST(map_grows_with_the_day),
		TEST(flipped_bit_in_a_segment_is_noticed),
		TEST(segment_without_its_data_hides_no_older_event),
		TEST(event_of_a_hostile_ring_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
