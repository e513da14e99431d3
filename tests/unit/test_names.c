/* Counting names: what three clients asked comes into the store, with no client in it, and goes after its
 * days. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "resolver/names.h"
#include "resolver/names_store.h"

/* The names' thread knows the day by this: a story may let a day pass. */
static atomic_int days_later;

time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += atomic_load(&days_later) * NAMES_DAY_S;
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}

#define DAYS 14
#define TODAY ((int64_t)time(NULL) / NAMES_DAY_S)

struct folder {
	char path[64];
	struct names *names;
};

static int folder_make(void **state)
{
	struct folder *folder = calloc(1, sizeof *folder);

	strcpy(folder->path, "/tmp/usher-names-XXXXXX");
	assert_non_null(mkdtemp(folder->path));
	*state = folder;
	return 0;
}

static int folder_remove(void **state)
{
	struct folder *folder = *state;
	char command[128];

	atomic_store(&days_later, 0);
	names_stop(folder->names);
	snprintf(command, sizeof command, "rm -rf %s", folder->path);
	assert_int_equal(system(command), 0);
	free(folder);
	return 0;
}

static void start(struct folder *folder, unsigned workers, unsigned collect_ms)
{
	const struct names_options options = {
		.dir = folder->path, .workers = workers, .days = DAYS, .collect_ms = collect_ms
	};

	assert_int_equal(names_start(&folder->names, &options), 0);
}

static void stop(struct folder *folder)
{
	names_stop(folder->names);
	folder->names = NULL;
}

static struct name name_of(const char *text)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

static void ask(struct folder *folder, unsigned worker, const char *text, uint8_t client, unsigned times)
{
	const uint8_t address[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = client };
	const struct name name = name_of(text);

	struct names_counter *counter = names_counter(folder->names, worker);
	for (; times > 0; times--)
		names_count(counter, &name, times % 2 ? names_fetch(counter, &name) : 0, address,
		        NAMES_NO_PROFILE);
}

/* How often the store says that a name was asked in those days, 0 if it does not know it. */
static uint64_t stored_between(const struct folder *folder, const char *text, int64_t since, int64_t until)
{
	const struct name wanted = name_of(text);
	struct names_reader *reader;
	struct name name;
	uint64_t count, found = 0;

	assert_int_equal(names_reader_open(&reader, folder->path, since, until), 0);
	while (names_reader_next(reader, &name, &count) > 0)
		if (name_equal(&name, &wanted))
			found = count;
	names_reader_close(reader);
	return found;
}

static uint64_t stored(const struct folder *folder, const char *text)
{
	return stored_between(folder, text, TODAY - 1, TODAY + 1);
}

static void write_file(const struct folder *folder, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", folder->path, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static unsigned file_count(const struct folder *folder)
{
	DIR *dir = opendir(folder->path);
	unsigned count = 0;

	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* ---- who asked ---- */

static void name_of_three_clients_is_stored_with_its_count(void **state)
{
	struct folder *folder = *state;

	start(folder, 1, 0);
	ask(folder, 0, "www.bbc.co.uk", 1, 4);
	ask(folder, 0, "www.bbc.co.uk", 2, 2);
	ask(folder, 0, "www.bbc.co.uk", 3, 1);
	stop(folder);
	assert_int_equal(stored(folder, "www.bbc.co.uk"), 7);
}

static void name_of_two_clients_is_never_stored(void **state)
{
	struct folder *folder = *state;

	start(folder, 2, 0);
	ask(folder, 0, "secret.example", 1, 500);
	ask(folder, 1, "secret.example", 2, 500);
	ask(folder, 1, "secret.example", 1, 500);
	stop(folder);
	assert_int_equal(stored(folder, "secret.example"), 0);
	assert_int_equal(file_count(folder), 0);
}

static void clients_of_different_workers_add_up(void **state)
{
	struct folder *folder = *state;

	start(folder, 3, 0);
	for (uint8_t i = 0; i < 3; i++)
		ask(folder, i, "www.bbc.co.uk", i, 10);
	stop(folder);
	assert_int_equal(stored(folder, "www.bbc.co.uk"), 30);
}

static void file_holds_counts_and_names_alone(void **state)
{
	struct folder *folder = *state;
	char path[128], text[128] = "", day[16];
	time_t now = time(NULL);

	start(folder, 1, 0);
	for (uint8_t i = 1; i <= 9; i++) {
		ask(folder, 0, "b.example", i, 1);
		ask(folder, 0, "a.example", i, 2);
	}
	stop(folder);
	strftime(day, sizeof day, "%Y-%m-%d", gmtime(&now));
	snprintf(path, sizeof path, "%s/%s", folder->path, day);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof text - 1, file) > 0);
	fclose(file);
	assert_string_equal(text, "18 a.example\n9 b.example\n");
	assert_int_equal(file_count(folder), 1);
}

/* ---- the thread ---- */

static void tables_are_collected_while_workers_count(void **state)
{
	struct folder *folder = *state;

	start(folder, 1, 5);
	for (unsigned turn = 0; turn < 200 && stored(folder, "www.bbc.co.uk") == 0; turn++) {
		for (uint8_t i = 0; i < 4; i++)
			ask(folder, 0, "www.bbc.co.uk", i, 1);
		names_hand_over(names_counter(folder->names, 0));
		usleep(5000);
	}
	assert_true(stored(folder, "www.bbc.co.uk") > 0);
}

static void nothing_is_counted_twice_or_lost(void **state)
{
	struct folder *folder = *state;
	unsigned turns = 100;

	start(folder, 2, 1);
	for (unsigned turn = 0; turn < turns; turn++) {
		for (unsigned worker = 0; worker < 2; worker++) {
			ask(folder, worker, "www.bbc.co.uk", (uint8_t)(turn % 5), 3);
			names_hand_over(names_counter(folder->names, worker));
		}
		usleep(500);
	}
	stop(folder);
	assert_int_equal(stored(folder, "www.bbc.co.uk"), turns * 6);
}

static void restart_goes_on_with_the_day(void **state)
{
	struct folder *folder = *state;

	for (unsigned run = 1; run <= 3; run++) {
		start(folder, 1, 0);
		for (uint8_t i = 0; i < 3; i++)
			ask(folder, 0, "www.bbc.co.uk", i, 1);
		stop(folder);
		assert_int_equal(stored(folder, "www.bbc.co.uk"), 3 * run);
	}
	start(folder, 1, 0);
	ask(folder, 0, "www.bbc.co.uk", 1, 1);
	stop(folder);
	assert_int_equal(stored(folder, "www.bbc.co.uk"), 10);
}

static void told(void *arg, const struct newcomers_site *site)
{
	*(unsigned *)arg = site->devices;
}

static void device_that_asks_around_midnight_is_one(void **state)
{
	static const char text[] =
	        "default-profile: pupils\nprofiles: [{name: pupils}]\nnames: {learn-days: 0}\n";
	struct folder *folder = *state;
	const struct name name = name_of("new.example");
	uint8_t address[16] = { [10] = 0xff, [11] = 0xff, [12] = 10 };
	char why[CONFIG_WHY_MAX];
	unsigned devices = 0;
	struct names_options options = { .dir = folder->path,
		.workers = 1,
		.days = DAYS,
		.collect_ms = 1,
		.told = told,
		.arg = &devices };

	assert_int_equal(config_parse(&options.config, text, strlen(text), "usher.yaml", why), 0);
	assert_int_equal(names_start(&folder->names, &options), 0);
	struct names_counter *counter = names_counter(folder->names, 0);
	/* Three at both sides of midnight, and two more. */
	for (unsigned day = 0; day < 2; day++) {
		for (address[15] = 1; address[15] <= 3; address[15]++)
			names_count(counter, &name, 0, address, 0);
		atomic_store(&days_later, 1);
		usleep(100000);
		names_hand_over(counter);
	}
	usleep(100000);
	assert_int_equal(devices, 0);
	for (; address[15] <= 5; address[15]++)
		names_count(counter, &name, 0, address, 0);
	stop(folder);
	assert_int_equal(devices, 5);
	config_free(options.config);
}

/* ---- too many ---- */

static void flood_of_one_client_leaves_the_schools_names(void **state)
{
	struct folder *folder = *state;
	char text[64];

	start(folder, 1, 1);
	for (uint8_t i = 0; i < 3; i++)
		ask(folder, 0, "www.bbc.co.uk", i, 100);
	for (unsigned i = 0; i < 200000; i++) {
		snprintf(text, sizeof text, "x%u.flood.example", i);
		ask(folder, 0, text, 9, 1);
		if (i % 2000 == 0) {
			names_hand_over(names_counter(folder->names, 0));
			usleep(1000);
		}
	}
	for (uint8_t i = 0; i < 3; i++)
		ask(folder, 0, "www.gov.uk", i, 100);
	stop(folder);
	assert_int_equal(stored(folder, "www.bbc.co.uk"), 300);
	assert_in_range(stored(folder, "www.gov.uk"), 250, 300);
	assert_int_equal(stored(folder, "x1.flood.example"), 0);
}

static void very_long_name_is_not_counted(void **state)
{
	struct folder *folder = *state;
	char text[201];

	for (unsigned i = 0; i < 200; i++)
		text[i] = i % 50 == 49 ? '.' : 'a';
	text[200] = '\0';
	start(folder, 1, 0);
	for (uint8_t i = 0; i < 3; i++) {
		ask(folder, 0, text, i, 1);
		ask(folder, 0, "short.example", i, 1);
	}
	stop(folder);
	assert_int_equal(stored(folder, text), 0);
	assert_int_equal(stored(folder, "short.example"), 3);
}

static void without_a_counter_nothing_happens(void **state)
{
	const struct name name = name_of("www.bbc.co.uk");

	names_count(names_counter(NULL, 3), &name, names_fetch(NULL, &name), (const uint8_t[16]){ 0 }, 0);
	names_hand_over(NULL);
	names_stop(NULL);
}

/* ---- the store ---- */

static void write_day(const struct folder *folder, int64_t day, const char *text, uint64_t count)
{
	const struct name name = name_of(text);
	const struct names_row row = { name.wire, count };

	assert_int_equal(names_store_write(folder->path, day, &row, 1), 0);
}

static void days_are_summed_and_those_outside_left_out(void **state)
{
	struct folder *folder = *state;

	for (int64_t day = 100; day < 110; day++)
		write_day(folder, day, "www.bbc.co.uk", (uint64_t)day);
	assert_int_equal(stored_between(folder, "www.bbc.co.uk", 102, 105), 102 + 103 + 104);
}

static void days_past_their_keep_are_unlinked_at_start(void **state)
{
	struct folder *folder = *state;

	write_day(folder, TODAY - DAYS, "old.example", 5);
	write_day(folder, TODAY - DAYS + 1, "kept.example", 5);
	write_file(folder, "new", "5 half.exam");
	start(folder, 1, 0);
	stop(folder);
	assert_int_equal(file_count(folder), 1);
	assert_int_equal(stored_between(folder, "kept.example", 0, TODAY), 5);
}

static void switched_off_removes_what_was_counted(void **state)
{
	struct folder *folder = *state;

	write_day(folder, TODAY, "www.bbc.co.uk", 5);
	write_file(folder, "README", "not ours");
	assert_int_equal(names_forget(folder->path), 0);
	assert_int_equal(file_count(folder), 1);
}

static void odd_octets_come_back(void **state)
{
	struct folder *folder = *state;

	write_day(folder, TODAY, "a\\032b\\.c\\010.example", 5);
	assert_int_equal(stored(folder, "a\\032b\\.c\\010.example"), 5);
}

static void lines_of_others_are_passed_over(void **state)
{
	struct folder *folder = *state;

	write_file(folder, "2026-11-22",
	        "\n7\nname only.example\n-1 minus.example\n3 a..b\n4 \n5 good.example\n 6 space.example\n8 "
	        "cut.exam");
	write_file(folder, "2026-13-40", "9 nosuchday.example\n");
	write_file(folder, "2026-11-22.bak", "9 backup.example\n");
	struct names_reader *reader;
	struct name name, good = name_of("good.example");
	uint64_t count;
	assert_int_equal(names_reader_open(&reader, folder->path, 0, INT64_MAX), 0);
	assert_int_equal(names_reader_days(reader), 1);
	assert_int_equal(names_reader_next(reader, &name, &count), 1);
	assert_true(name_equal(&name, &good));
	assert_int_equal(count, 5);
	assert_int_equal(names_reader_next(reader, &name, &count), 0);
	names_reader_close(reader);
}

static void missing_folder_has_no_days(void **state)
{
	struct names_reader *reader;

	assert_int_equal(names_reader_open(&reader, "/nonexistent/names", 0, INT64_MAX), 0);
	assert_int_equal(names_reader_days(reader), 0);
	names_reader_close(reader);
}

static void folder_that_cannot_be_written_is_no_reason_to_stop(void **state)
{
	struct folder *folder = *state;
	const struct names_options options = {
		.dir = "/nonexistent/names", .workers = 1, .days = DAYS, .collect_ms = 0
	};

	assert_int_equal(names_start(&folder->names, &options), 0);
	for (uint8_t i = 0; i < 3; i++)
		ask(folder, 0, "www.bbc.co.uk", i, 1);
	stop(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(name_of_three_clients_is_stored_with_its_count),
		TEST(name_of_two_clients_is_never_stored),
		TEST(clients_of_different_workers_add_up),
		TEST(file_holds_counts_and_names_alone),
		TEST(tables_are_collected_while_workers_count),
		TEST(nothing_is_counted_twice_or_lost),
		TEST(restart_goes_on_with_the_day),
		TEST(device_that_asks_around_midnight_is_one),
		TEST(flood_of_one_client_leaves_the_schools_names),
		TEST(very_long_name_is_not_counted),
		TEST(without_a_counter_nothing_happens),
		TEST(days_are_summed_and_those_outside_left_out),
		TEST(days_past_their_keep_are_unlinked_at_start),
		TEST(switched_off_removes_what_was_counted),
		TEST(odd_octets_come_back),
		TEST(lines_of_others_are_passed_over),
		TEST(missing_folder_has_no_days),
		TEST(folder_that_cannot_be_written_is_no_reason_to_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
