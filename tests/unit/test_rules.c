/* The store of the school's own rules: what is written comes back, what is damaged is refused, nothing is
 * half done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "resolver/rules.h"

static char dir[64];

static int folder_make(void **state)
{
	strcpy(dir, "/tmp/usher-rules-XXXXXX");
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int folder_remove(void **state)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

static bool keep_all(const void *arg, const struct rules_entry *entry)
{
	return false;
}

static bool same_place(const void *arg, const struct rules_entry *entry)
{
	return rules_same_place(arg, entry);
}

static struct rules_entry entry_of(const char *name)
{
	struct rules_entry entry = {
		.author = "jsmith", .reason = "maths \"lesson\" \xc3\xa9", .uid = 1000, .added = 1000
	};

	assert_int_equal(name_from_text(&entry.name, name, strlen(name)), 0);
	return entry;
}

/* The next revision takes the place of *rules. */
static void add(struct rules **rules, const struct rules_entry *entry)
{
	struct rules *next = rules_next(*rules, 2000, same_place, entry, entry, "{\"what\":\"test\"}");

	assert_non_null(next);
	rules_free(*rules);
	*rules = next;
}

static struct rules *reopened(int expected, char why[RULES_WHY_MAX])
{
	struct rules *rules;

	assert_int_equal(rules_open(&rules, dir, why), expected);
	assert_non_null(rules);
	return rules;
}

/* Two revisions on disk: one rule, then two. */
static void save_two(void)
{
	struct rules *rules = rules_new();
	struct rules_entry first = entry_of("first.example"), second = entry_of("second.example");

	add(&rules, &first);
	assert_int_equal(rules_save(rules, dir), 0);
	add(&rules, &second);
	assert_int_equal(rules_save(rules, dir), 0);
	rules_free(rules);
}

static size_t file_read(const char *file, char *text, size_t room)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, file);
	FILE *from = fopen(path, "r");
	assert_non_null(from);
	size_t len = fread(text, 1, room, from);
	fclose(from);
	return len;
}

static void file_write(const char *file, const char *text, size_t len)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, file);
	FILE *to = fopen(path, "w");
	assert_non_null(to);
	assert_int_equal(fwrite(text, 1, len, to), len);
	fclose(to);
}

static void a_new_store_is_empty_and_well(void **state)
{
	char why[RULES_WHY_MAX];
	struct rules *rules = reopened(0, why);

	assert_string_equal(why, "");
	assert_int_equal(rules_count(rules), 0);
	assert_int_equal(rules_revision(rules), 0);
	rules_free(rules);
	rules_free(NULL);
	assert_int_equal(rules_count(NULL), 0);
}

static void everything_of_an_entry_comes_back(void **state)
{
	char why[RULES_WHY_MAX];
	struct rules *rules = rules_new();
	struct rules_entry full = entry_of("www.scratch.example"), plain = entry_of("plain.example");

	full.exact = full.allow = true;
	full.profile = "pupils";
	full.until = 3000;
	assert_int_equal(config_network_parse(&full.client, "10.20.3.0/24"), 0);
	add(&rules, &full);
	add(&rules, &plain);
	assert_int_equal(rules_save(rules, dir), 0);
	rules_free(rules);
	rules = reopened(0, why);

	assert_int_equal(rules_revision(rules), 2);
	assert_string_equal(rules_change(rules), "{\"what\":\"test\"}");
	assert_int_equal(rules_count(rules), 2);
	const struct rules_entry *got = rules_get(rules, 0);
	assert_true(rules_same_place(got, &full));
	assert_true(got->allow && got->exact);
	assert_int_equal(got->until, 3000);
	assert_int_equal(got->added, 1000);
	assert_int_equal(got->uid, 1000);
	assert_string_equal(got->reason, full.reason);
	assert_string_equal(got->author, "jsmith");
	got = rules_get(rules, 1);
	assert_true(rules_same_place(got, &plain));
	assert_false(got->allow || got->exact);
	assert_null(got->profile);
	rules_free(rules);
}

static void one_place_has_one_rule_and_what_ended_goes(void **state)
{
	struct rules *rules = rules_new();
	struct rules_entry block = entry_of("a.example"), allow = block, other = block, ended = block;

	allow.allow = true;
	other.profile = "staff";
	ended.until = 1999;
	add(&rules, &ended);
	add(&rules, &block);
	add(&rules, &other);
	add(&rules, &allow);
	assert_int_equal(rules_count(rules), 2);
	assert_string_equal(rules_get(rules, 0)->profile, "staff");
	assert_true(rules_get(rules, 1)->allow);
	/* for a time and for good are two places: what is for good comes back */
	ended.until = 3000;
	add(&rules, &ended);
	assert_int_equal(rules_count(rules), 3);
	rules_free(rules);
}

/* Each octet in turn: no flipped bit and no cut is believed, and the revision before serves. */
static void every_damage_is_found_and_the_last_good_revision_serves(void **state)
{
	char text[4096], why[RULES_WHY_MAX];

	save_two();
	size_t len = file_read("rules", text, sizeof text);
	for (size_t i = 0; i < len; i++) {
		text[i] ^= 4;
		file_write("rules", text, len);
		text[i] ^= 4;
		struct rules *rules = reopened(-EBADMSG, why);
		assert_int_equal(rules_revision(rules), 1);
		assert_non_null(strstr(why, "damaged; revision 1 of the rules"));
		rules_free(rules);
		file_write("rules", text, i);
		rules = reopened(-EBADMSG, why);
		assert_int_equal(rules_count(rules), 1);
		rules_free(rules);
	}
	file_write("rules", text, len);
	rules_free(reopened(0, why));
}

static void a_store_that_vanished_is_not_an_empty_one(void **state)
{
	char why[RULES_WHY_MAX], path[128];

	save_two();
	snprintf(path, sizeof path, "%s/rules", dir);
	unlink(path);
	struct rules *rules = reopened(-EBADMSG, why);
	assert_int_equal(rules_revision(rules), 1);
	assert_non_null(strstr(why, "is gone"));
	rules_free(rules);
}

static void without_any_good_revision_that_is_said(void **state)
{
	char why[RULES_WHY_MAX];

	save_two();
	file_write("rules", "nonsense", 8);
	file_write("rules.previous", "", 0);
	struct rules *rules = reopened(-EBADMSG, why);
	assert_int_equal(rules_count(rules), 0);
	assert_non_null(strstr(why, "none of the school's own rules is in use"));
	rules_free(rules);
}

static void a_damaged_file_is_kept_aside_and_told_of_until_it_is_removed(void **state)
{
	char why[RULES_WHY_MAX], text[64];
	struct rules_entry third = entry_of("third.example");

	save_two();
	file_write("rules", "nonsense", 8);
	struct rules *rules = reopened(-EBADMSG, why);
	rules_put_aside(dir);
	assert_true(rules_were_put_aside(dir));
	add(&rules, &third);
	assert_int_equal(rules_save(rules, dir), 0);
	rules_free(rules);
	rules = reopened(0, why);
	assert_int_equal(rules_revision(rules), 2);
	assert_int_equal(rules_count(rules), 2);
	assert_int_equal(file_read("rules.damaged", text, sizeof text), 8);
	rules_free(rules);
}

static void a_change_can_be_taken_back(void **state)
{
	char why[RULES_WHY_MAX];
	struct rules *rules = rules_new();
	struct rules_entry entry = entry_of("a.example");

	add(&rules, &entry);
	assert_int_equal(rules_save(rules, dir), 0);
	assert_int_equal(rules_revert(dir), 0);
	rules_free(reopened(0, why));
	save_two();
	assert_int_equal(rules_revert(dir), 0);
	rules_free(rules);
	rules = reopened(0, why);
	assert_int_equal(rules_revision(rules), 1);
	rules_free(rules);
}

static void what_cannot_be_written_changes_nothing(void **state)
{
	char path[128], why[RULES_WHY_MAX];
	struct rules *rules = rules_new();
	struct rules_entry entry = entry_of("a.example");

	save_two();
	add(&rules, &entry);
	snprintf(path, sizeof path, "%s/rules.new", dir);
	assert_int_equal(symlink("/dev/full", path), 0);
	assert_true(rules_save(rules, dir) < 0);
	rules_free(rules);
	rules = reopened(0, why);
	assert_int_equal(rules_revision(rules), 2);
	rules_free(rules);
}

/* A child saves revision after revision and is killed at some moment; what it had acknowledged is there,
 * whole. */
static void killed_at_any_moment_nothing_acknowledged_is_lost(void **state)
{
	for (unsigned round = 0; round < 12; round++) {
		int pipes[2];
		uint64_t acknowledged = 0, got;
		char why[RULES_WHY_MAX];

		assert_int_equal(pipe(pipes), 0);
		pid_t child = fork();
		if (child == 0) {
			struct rules *rules;
			char name[32];
			rules_open(&rules, dir, why);
			for (;;) {
				snprintf(name, sizeof name, "n%llu.example",
				        (unsigned long long)rules_revision(rules));
				struct rules_entry entry = { .author = "a", .reason = "b", .added = 1 };
				name_from_text(&entry.name, name, strlen(name));
				struct rules *next = rules_next(rules, 0, keep_all, NULL, &entry, "{}");
				rules_free(rules);
				rules = next;
				uint64_t revision = rules_revision(rules);
				if (rules_save(rules, dir) < 0 ||
				        write(pipes[1], &revision, sizeof revision) < 0)
					_exit(1);
			}
		}
		close(pipes[1]);
		usleep(2000 + round * 1700);
		kill(child, SIGKILL);
		while (read(pipes[0], &got, sizeof got) == sizeof got)
			acknowledged = got;
		close(pipes[0]);
		waitpid(child, NULL, 0);
		struct rules *rules = reopened(0, why);
		assert_true(rules_revision(rules) >= acknowledged);
		assert_int_equal(rules_count(rules), rules_revision(rules));
		rules_free(rules);
	}
}

#define folder_test(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		folder_test(a_new_store_is_empty_and_well),
		folder_test(everything_of_an_entry_comes_back),
		folder_test(one_place_has_one_rule_and_what_ended_goes),
		folder_test(every_damage_is_found_and_the_last_good_revision_serves),
		folder_test(a_store_that_vanished_is_not_an_empty_one),
		folder_test(without_any_good_revision_that_is_said),
		folder_test(a_damaged_file_is_kept_aside_and_told_of_until_it_is_removed),
		folder_test(a_change_can_be_taken_back),
		folder_test(what_cannot_be_written_changes_nothing),
		folder_test(killed_at_any_moment_nothing_acknowledged_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
