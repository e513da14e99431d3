#include "resolver/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char root[256], dir[300], path[320], head[320];

static int make_root(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/test_ledger.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(root))
		return -1;
	snprintf(dir, sizeof dir, "%s/ledger", root);
	snprintf(path, sizeof path, "%s/ledger.jsonl", dir);
	snprintf(head, sizeof head, "%s/ledger.head", dir);
	return 0;
}

static int remove_root(void **state)
{
	(void)state;
	unlink(path);
	unlink(head);
	rmdir(dir);
	return rmdir(root);
}

static void append(const char *what)
{
	json_t *detail = json_pack("{s:s}", "client", "10.20.3.7");
	assert_int_equal(ledger_append(dir, 1000, what, detail), 0);
	json_decref(detail);
}

static char *read_all(size_t *len)
{
	static char text[1 << 20];
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	ssize_t got = read(fd, text, sizeof text - 1);
	close(fd);
	text[got] = 0;
	*len = (size_t)got;
	return text;
}

static void write_all(const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static void assert_entries(int64_t count)
{
	char why[LEDGER_WHY_MAX];
	assert_int_equal(ledger_verify(dir, why), count);
	assert_string_equal(why, "");
}

static void assert_wrong(const char *sentence)
{
	char why[LEDGER_WHY_MAX];
	assert_int_equal(ledger_verify(dir, why), -EBADMSG);
	assert_non_null(strstr(why, sentence));
}

static void no_ledger_is_an_empty_one(void **state)
{
	(void)state;
	assert_entries(0);
}

static void entries_are_json_and_chained(void **state)
{
	(void)state;
	size_t len;
	append("log.read");
	assert_int_equal(ledger_append(dir, (uid_t)-1, "sly \"quote\"\n", NULL), 0);
	append("log.follow");
	assert_entries(3);
	char *line = strtok(read_all(&len), "\n");
	json_t *entry = json_loads(line, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(entry, "seq")), 1);
	assert_int_equal(json_integer_value(json_object_get(entry, "uid")), 1000);
	assert_string_equal(json_string_value(json_object_get(entry, "what")), "log.read");
	json_t *detail = json_object_get(entry, "detail");
	assert_string_equal(json_string_value(json_object_get(detail, "client")), "10.20.3.7");
	assert_int_equal(strlen(json_string_value(json_object_get(entry, "time"))), 20);
	json_decref(entry);
	entry = json_loads(strtok(NULL, "\n"), 0, NULL);
	assert_true(json_is_null(json_object_get(entry, "uid")));
	assert_string_equal(json_string_value(json_object_get(entry, "what")), "sly \"quote\"\n");
	json_decref(entry);
}

static void only_its_owner_may_read_it(void **state)
{
	(void)state;
	struct stat st;
	append("log.read");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void altered_letter_is_found(void **state)
{
	(void)state;
	size_t len;
	append("one");
	append("two");
	append("three");
	char *text = read_all(&len);
	*strstr(text, "two") = 'T';
	write_all(text, len);
	assert_wrong(":2: entry was altered");
}

static void removed_entry_is_found(void **state)
{
	(void)state;
	size_t len;
	append("one");
	append("two");
	append("three");
	char *text = read_all(&len), *second = strchr(text, '\n') + 1, *third = strchr(second, '\n') + 1;
	memmove(second, third, (size_t)(text + len - third));
	write_all(text, len - (size_t)(third - second));
	assert_wrong(":2: entry does not follow");
}

static void removed_beginning_is_found(void **state)
{
	(void)state;
	size_t len;
	append("one");
	append("two");
	char *text = read_all(&len), *second = strchr(text, '\n') + 1;
	write_all(second, (size_t)(text + len - second));
	assert_wrong(":1: entry does not follow");
}

static void foreign_text_is_found_and_not_continued(void **state)
{
	(void)state;
	append("one");
	write_all("{\"seq\":1}\n", 10);
	assert_wrong(":1: entry was altered");
	assert_int_equal(ledger_append(dir, 0, "two", NULL), -EBADMSG);
}

static void a_line_that_nobody_was_told_of_is_taken_away(void **state)
{
	(void)state;
	append("one");
	append("two");
	FILE *file = fopen(path, "a");
	fputs("{\"seq\":3,\"time\":\"2026", file);
	fclose(file);
	assert_entries(2);
	append("three");
	assert_entries(3);
}

/* Killed after the line and before the head. */
static void an_entry_that_the_head_does_not_know_yet_is_well(void **state)
{
	(void)state;
	size_t len;
	append("one");
	int fd = open(head, O_RDONLY);
	char known[86];
	assert_int_equal(read(fd, known, sizeof known), sizeof known);
	close(fd);
	append("two");
	fd = open(head, O_WRONLY);
	assert_int_equal(write(fd, known, sizeof known), sizeof known);
	close(fd);
	assert_entries(2);
	append("three");
	assert_entries(3);
	assert_null(strstr(read_all(&len), "ledger.broken"));
}

static void a_missing_end_is_found_and_later_entries_do_not_hide_it(void **state)
{
	(void)state;
	size_t len;
	append("one");
	append("two");
	append("three");
	char *text = read_all(&len), *second = strchr(text, '\n') + 1;
	write_all(text, (size_t)(second - text));
	assert_wrong(":1: entry is the last one, but there were more");
	append("four");
	assert_wrong(":2: entry was made when entries before it were found missing");
	assert_non_null(strstr(read_all(&len), "\"ledger.broken\",\"detail\":{\"known\":3,\"found\":1}"));
}

static void half_of_an_acknowledged_entry_is_found(void **state)
{
	(void)state;
	size_t len;
	append("one");
	append("two");
	char *text = read_all(&len);
	write_all(text, len - 40);
	assert_wrong(":2: entry has no end");
	append("three");
	assert_wrong(":2: entry was made when entries");
}

static void a_rewritten_chain_does_not_fit_the_head(void **state)
{
	(void)state;
	char known[86];
	append("one");
	append("two");
	int fd = open(head, O_RDONLY);
	assert_int_equal(read(fd, known, sizeof known), sizeof known);
	close(fd);
	unlink(path);
	unlink(head);
	append("one");
	append("other");
	append("more");
	append("most");
	fd = open(head, O_WRONLY);
	assert_int_equal(write(fd, known, sizeof known), sizeof known);
	close(fd);
	assert_wrong("ledger.head knows: entries were rewritten");
}

static void a_ledger_or_a_head_that_is_gone_is_found(void **state)
{
	(void)state;
	append("one");
	unlink(path);
	assert_wrong("ledger.head knows 1 entries");
	append("two");
	assert_wrong(":1: entry was made when");
	unlink(head);
	unlink(path);
	append("one");
	unlink(head);
	assert_wrong("ledger.head is gone");
	append("two");
	assert_wrong(":2: entry was made when");
}

static bool count_line(void *arg, const char *line, size_t len)
{
	unsigned *count = arg;

	assert_memory_equal(line, "{\"seq\":", 7);
	assert_int_equal(line[len - 1], '}');
	return ++*count < 3;
}

static void a_walk_meets_the_entries_in_order_until_it_is_told_to_stop(void **state)
{
	(void)state;
	unsigned count = 0;
	assert_int_equal(ledger_walk(dir, count_line, &count), 0);
	assert_int_equal(count, 0);
	append("one");
	append("two");
	assert_int_equal(ledger_walk(dir, count_line, &count), 0);
	assert_int_equal(count, 2);
	append("three");
	append("four");
	count = 0;
	assert_int_equal(ledger_walk(dir, count_line, &count), 0);
	assert_int_equal(count, 3);
}

static void too_large_a_detail_is_refused(void **state)
{
	(void)state;
	char *text = malloc(40001);
	memset(text, 'x', 40000);
	text[40000] = 0;
	json_t *detail = json_pack("{s:s}", "name", text);
	assert_int_equal(ledger_append(dir, 0, "log.read", detail), -E2BIG);
	json_decref(detail);
	free(text);
	append("one");
	assert_entries(1);
}

static void many_processes_keep_one_chain(void **state)
{
	(void)state;
	pid_t children[4];
	for (int i = 0; i < 4; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			for (int j = 0; j < 25; j++)
				if (ledger_append(dir, (uid_t)i, "log.read", NULL) < 0)
					_exit(1);
			_exit(0);
		}
	}
	for (int i = 0; i < 4; i++) {
		int status;
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	assert_entries(100);
}

static void full_disk_leaves_the_chain_whole(void **state)
{
	(void)state;
	struct rlimit limit = { 0, RLIM_INFINITY };
	struct stat st;
	append("one");
	assert_int_equal(stat(path, &st), 0);
	limit.rlim_cur = (rlim_t)st.st_size + 50;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_true(ledger_append(dir, 0, "two", NULL) < 0);
	limit.rlim_cur = RLIM_INFINITY;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_entries(1);
	append("two");
	assert_entries(2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_ledger_is_an_empty_one),
		TEST(entries_are_json_and_chained),
		TEST(only_its_owner_may_read_it),
		TEST(altered_letter_is_found),
		TEST(removed_entry_is_found),
		TEST(removed_beginning_is_found),
		TEST(foreign_text_is_found_and_not_continued),
		TEST(a_line_that_nobody_was_told_of_is_taken_away),
		TEST(an_entry_that_the_head_does_not_know_yet_is_well),
		TEST(a_missing_end_is_found_and_later_entries_do_not_hide_it),
		TEST(half_of_an_acknowledged_entry_is_found),
		TEST(a_rewritten_chain_does_not_fit_the_head),
		TEST(a_ledger_or_a_head_that_is_gone_is_found),
		TEST(a_walk_meets_the_entries_in_order_until_it_is_told_to_stop),
		TEST(too_large_a_detail_is_refused),
		TEST(many_processes_keep_one_chain),
		TEST(full_disk_leaves_the_chain_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
