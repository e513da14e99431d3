#include "resolver/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Places in the file's header, see ring.c. */
#define HEAD_AT 64
#define TAIL_AT 128
#define SIZE 65536

static char dir[256], path[280], aside[300];

static int make_dir(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof dir, "%s/test_ring.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/ring", dir);
	snprintf(aside, sizeof aside, "%s.damaged", path);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static int remove_files(void **state)
{
	(void)state;
	unlink(path);
	unlink(aside);
	return 0;
}

static struct ring *open_ring(size_t size)
{
	struct ring *ring;
	assert_int_equal(ring_open(&ring, path, size), 0);
	return ring;
}

static uint64_t put(struct ring *ring, const void *data, size_t len)
{
	void *room = ring_reserve(ring, len);
	assert_non_null(room);
	memcpy(room, data, len);
	return ring_commit(ring);
}

static uint64_t put_text(struct ring *ring, const char *text)
{
	return put(ring, text, strlen(text));
}

/* Takes one record that must be this text. */
static void take_text(struct ring *ring, uint64_t *cursor, const char *text)
{
	size_t len;
	uint64_t sequence, damaged = 0;
	const void *data = ring_next(ring, cursor, &len, &sequence, &damaged);
	assert_non_null(data);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(data, text, len);
}

static void assert_empty(struct ring *ring, uint64_t cursor)
{
	size_t len;
	uint64_t sequence, damaged = 0;
	assert_null(ring_next(ring, &cursor, &len, &sequence, &damaged));
	assert_int_equal(damaged, 0);
}

static void poke(off_t at, const void *data, size_t len)
{
	int fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, data, len, at), len);
	close(fd);
}

static bool file_holds(const char *file, const char *text)
{
	struct stat st;
	int fd = open(file, O_RDONLY);
	assert_true(fd >= 0);
	fstat(fd, &st);
	void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	bool found = memmem(data, (size_t)st.st_size, text, strlen(text)) != NULL;
	munmap(data, (size_t)st.st_size);
	close(fd);
	return found;
}

static void record_comes_back_as_written(void **state)
{
	(void)state;
	struct ring *ring = open_ring(SIZE);
	uint64_t cursor = 0;

	assert_empty(ring, 0);
	assert_int_equal(put_text(ring, "one"), 1);
	assert_int_equal(put_text(ring, ""), 2);
	assert_int_equal(put_text(ring, "three"), 3);
	assert_int_equal(ring_pending(ring), 3);
	take_text(ring, &cursor, "one");
	take_text(ring, &cursor, "");
	take_text(ring, &cursor, "three");
	assert_empty(ring, cursor);
	ring_release(ring, cursor);
	assert_int_equal(ring_pending(ring), 0);
	assert_empty(ring, 0);
	ring_close(ring);
}

static void reserved_but_not_committed_is_not_there(void **state)
{
	(void)state;
	struct ring *ring = open_ring(SIZE);
	memset(ring_reserve(ring, 9), 'x', 9);
	assert_empty(ring, 0);
	ring_close(ring);
	ring = open_ring(SIZE);
	assert_empty(ring, 0);
	assert_false(file_holds(path, "xxx"));
	ring_close(ring);
}

static void full_ring_refuses_and_takes_again_after_release(void **state)
{
	(void)state;
	struct ring *ring = open_ring(4096);
	uint64_t cursor = 0, sequence, damaged = 0;
	size_t len;

	assert_null(ring_reserve(ring, 4096));
	assert_null(ring_reserve(ring, SIZE_MAX));
	for (int i = 0; i < 32; i++) {
		assert_int_equal(ring_is_half_full(ring), i > 16);
		assert_non_null(ring_reserve(ring, 112));
		ring_commit(ring);
	}
	assert_null(ring_reserve(ring, 0));
	assert_non_null(ring_next(ring, &cursor, &len, &sequence, &damaged));
	assert_null(ring_reserve(ring, 112));
	ring_release(ring, cursor);
	assert_int_equal(ring_pending(ring), 31);
	assert_non_null(ring_reserve(ring, 112));
	ring_close(ring);
}

static void records_across_the_end_are_whole(void **state)
{
	(void)state;
	struct ring *ring = open_ring(4096);
	uint64_t cursor = 0, expected = 0;
	char data[500];

	for (unsigned i = 0; i < 5000; i++) {
		size_t want = (i * 37) % sizeof data, len;
		uint64_t sequence, damaged = 0;
		memset(data, (int)i, want);
		put(ring, data, want);
		const char *got = ring_next(ring, &cursor, &len, &sequence, &damaged);
		assert_non_null(got);
		assert_int_equal(sequence, ++expected);
		assert_int_equal(len, want);
		assert_memory_equal(got, data, want);
		ring_release(ring, cursor);
	}
	ring_close(ring);
}

static void released_octets_are_gone_from_the_file(void **state)
{
	(void)state;
	struct ring *ring = open_ring(SIZE);
	uint64_t cursor = 0;

	put_text(ring, "secret.example");
	put_text(ring, "later.example");
	assert_true(file_holds(path, "secret"));
	take_text(ring, &cursor, "secret.example");
	ring_release(ring, cursor);
	assert_false(file_holds(path, "secret"));
	assert_true(file_holds(path, "later"));
	ring_close(ring);
}

static void release_that_was_killed_half_way_is_finished(void **state)
{
	(void)state;
	struct ring *ring = open_ring(SIZE);
	uint64_t tail = 40;

	put_text(ring, "secret.example.test");
	put_text(ring, "stays");
	ring_close(ring);
	poke(TAIL_AT, &tail, sizeof tail);
	ring = open_ring(SIZE);
	assert_false(file_holds(path, "secret"));
	uint64_t cursor = 0;
	take_text(ring, &cursor, "stays");
	ring_close(ring);
}

static void records_and_numbers_survive_reopening(void **state)
{
	(void)state;
	struct ring *ring = open_ring(SIZE);
	uint64_t cursor = 0, id = ring_id(ring);

	put_text(ring, "one");
	put_text(ring, "two");
	take_text(ring, &cursor, "one");
	ring_release(ring, cursor);
	ring_close(ring);
	ring = open_ring(SIZE);
	assert_int_equal(ring_id(ring), id);
	assert_int_equal(ring_pending(ring), 1);
	cursor = 0;
	take_text(ring, &cursor, "two");
	ring_release(ring, cursor);
	assert_int_equal(put_text(ring, "three"), 3);
	ring_sequence_after(ring, 100);
	ring_sequence_after(ring, 50);
	assert_int_equal(put_text(ring, "four"), 101);
	ring_close(ring);
}

static void size_changes_only_when_empty(void **state)
{
	(void)state;
	struct ring *ring = open_ring(4096);
	uint64_t cursor = 0;

	put_text(ring, "kept");
	ring_close(ring);
	ring = open_ring(SIZE);
	assert_null(ring_reserve(ring, 5000));
	take_text(ring, &cursor, "kept");
	ring_release(ring, cursor);
	ring_close(ring);
	ring = open_ring(SIZE);
	assert_non_null(ring_reserve(ring, 5000));
	ring_close(ring);
}

static void flipped_bit_ends_the_ring_there(void **state)
{
	(void)state;
	struct ring *ring = open_ring(SIZE);
	uint64_t cursor = 0, sequence, damaged = 0;
	size_t len;

	put_text(ring, "first...");
	put_text(ring, "second..");
	put_text(ring, "third...");
	poke(4096 + 24 + 16, "S", 1);
	take_text(ring, &cursor, "first...");
	assert_null(ring_next(ring, &cursor, &len, &sequence, &damaged));
	assert_int_equal(damaged, 1);
	assert_null(ring_next(ring, &cursor, &len, &sequence, &damaged));
	assert_int_equal(damaged, 1);
	ring_release(ring, cursor);
	assert_int_equal(ring_pending(ring), 0);
	assert_int_equal(put_text(ring, "fourth"), 4);
	take_text(ring, &cursor, "fourth");
	ring_close(ring);
}

static void absurd_length_ends_the_ring_there(void **state)
{
	(void)state;
	struct ring *ring = open_ring(SIZE);
	uint64_t cursor = 0, sequence, damaged = 0;
	size_t len;

	put_text(ring, "first...");
	poke(4096, "\xff\xff\xff\xff", 4);
	assert_null(ring_next(ring, &cursor, &len, &sequence, &damaged));
	assert_int_equal(damaged, 1);
	ring_release(ring, cursor);
	ring_close(ring);
}

static void assert_moved_aside(void)
{
	struct ring *ring;
	assert_int_equal(ring_open(&ring, path, SIZE), RING_REPLACED);
	assert_int_equal(access(aside, F_OK), 0);
	assert_int_equal(put_text(ring, "new"), 1);
	ring_close(ring);
}

static void foreign_file_is_moved_aside(void **state)
{
	(void)state;
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(fd, "listen: 53\n", 11), 11);
	close(fd);
	assert_moved_aside();
	assert_true(file_holds(aside, "listen"));
}

static void truncated_ring_is_moved_aside(void **state)
{
	(void)state;
	ring_close(open_ring(SIZE));
	assert_int_equal(truncate(path, 8192), 0);
	assert_moved_aside();
}

static void head_beyond_the_ring_is_moved_aside(void **state)
{
	(void)state;
	uint64_t head = 1 << 30;
	ring_close(open_ring(SIZE));
	poke(HEAD_AT, &head, sizeof head);
	assert_moved_aside();
}

static void ring_killed_while_being_made_is_made_again(void **state)
{
	(void)state;
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, 5000), 0);
	close(fd);
	struct ring *ring = open_ring(SIZE);
	put_text(ring, "new");
	ring_close(ring);
}

static void only_its_owner_may_read_it(void **state)
{
	(void)state;
	struct stat st;
	ring_close(open_ring(SIZE));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void links_and_folders_are_refused(void **state)
{
	(void)state;
	struct ring *ring;
	assert_int_equal(symlink("elsewhere", path), 0);
	assert_int_equal(ring_open(&ring, path, SIZE), -ELOOP);
	assert_null(ring);
	assert_int_equal(ring_open(&ring, dir, SIZE), -EISDIR);
}

/* ---- kill -9 ------------------------------------------------------------------------------------------- */

struct progress {
	_Atomic uint64_t committed; /* ring_commit() returned this */
	_Atomic uint64_t taken;     /* set before the release */
};

static void fill(uint64_t *record, uint64_t sequence, size_t words)
{
	for (size_t i = 0; i < words; i++)
		record[i] = sequence * 0x9e3779b97f4a7c15u + i;
}

/* Writes and releases for ever, checking nothing. */
static _Noreturn void write_until_killed(struct progress *progress)
{
	struct ring *ring;
	uint64_t cursor = 0, sequence, damaged = 0, last = progress->committed;
	size_t len;

	if (ring_open(&ring, path, 8192) != 0)
		_exit(1);
	for (;;) {
		size_t words = 2 + (last + 1) % 20;
		uint64_t *record = ring_reserve(ring, words * 8);
		if (record) {
			fill(record, last + 1, words);
			last = ring_commit(ring);
			progress->committed = last;
			continue;
		}
		for (unsigned i = 0; i < 1 + last % 60 && ring_next(ring, &cursor, &len, &sequence, &damaged);
		        i++)
			progress->taken = sequence;
		ring_release(ring, cursor);
	}
}

/* What is left after a kill: no gap between what was taken and what was committed, and nothing torn. */
static void check_after_kill(struct progress *progress)
{
	struct ring *ring = open_ring(8192);
	uint64_t cursor = 0, sequence, damaged = 0, want = 0, expected[24];
	size_t len;
	const void *data;

	while ((data = ring_next(ring, &cursor, &len, &sequence, &damaged)) != NULL) {
		assert_true(want == 0 ? sequence <= progress->taken + 1 : sequence == want);
		fill(expected, sequence, 2 + sequence % 20);
		assert_int_equal(len, 8 * (2 + sequence % 20));
		assert_memory_equal(data, expected, len);
		want = sequence + 1;
	}
	assert_int_equal(damaged, 0);
	if (want == 0)
		want = progress->taken + 1;
	assert_true(want - 1 >= progress->committed);
	progress->committed = want - 1;
	ring_close(ring);
}

static void kill_9_at_any_moment_loses_and_tears_nothing(void **state)
{
	(void)state;
	struct progress *progress =
	        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ring_close(open_ring(8192));
	srandom(7);
	for (int round = 0; round < 150; round++) {
		pid_t child = fork();
		if (child == 0)
			write_until_killed(progress);
		struct timespec pause = { .tv_nsec = 300000 + random() % 3000000 };
		nanosleep(&pause, NULL);
		kill(child, SIGKILL);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		check_after_kill(progress);
	}
	assert_true(progress->committed > 1000);
	munmap(progress, sizeof *progress);
}

/* ---- two threads ---- */

#define MANY 200000

static void *write_many(void *arg)
{
	struct ring *ring = arg;
	for (uint64_t i = 1; i <= MANY;) {
		uint64_t *room = ring_reserve(ring, 8 + i % 100);
		if (!room)
			continue;
		*room = i;
		i = ring_commit(ring) + 1;
	}
	return NULL;
}

static void reader_follows_a_writer_on_another_thread(void **state)
{
	(void)state;
	struct ring *ring = open_ring(SIZE);
	uint64_t cursor = 0, sequence, damaged = 0, seen = 0;
	size_t len;
	pthread_t writer;

	assert_int_equal(pthread_create(&writer, NULL, write_many, ring), 0);
	while (seen < MANY) {
		const uint64_t *data = ring_next(ring, &cursor, &len, &sequence, &damaged);
		if (!data) {
			ring_release(ring, cursor);
			continue;
		}
		assert_int_equal(*data, ++seen);
		assert_int_equal(sequence, seen);
	}
	pthread_join(writer, NULL);
	assert_int_equal(damaged, 0);
	ring_close(ring);
}

#define TEST(name) cmocka_unit_test_teardown(name, remove_files)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(record_comes_back_as_written),
		TEST(reserved_but_not_committed_is_not_there),
		TEST(full_ring_refuses_and_takes_again_after_release),
		TEST(records_across_the_end_are_whole),
		TEST(released_octets_are_gone_from_the_file),
		TEST(release_that_was_killed_half_way_is_finished),
		TEST(records_and_numbers_survive_reopening),
		TEST(size_changes_only_when_empty),
		TEST(flipped_bit_ends_the_ring_there),
		TEST(absurd_length_ends_the_ring_there),
		TEST(foreign_file_is_moved_aside),
		TEST(truncated_ring_is_moved_aside),
		TEST(head_beyond_the_ring_is_moved_aside),
		TEST(ring_killed_while_being_made_is_made_again),
		TEST(only_its_owner_may_read_it),
		TEST(links_and_folders_are_refused),
		TEST(kill_9_at_any_moment_loses_and_tears_nothing),
		TEST(reader_follows_a_writer_on_another_thread),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
