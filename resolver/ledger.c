/*
 * The hash stands at the end of the line, over all octets before `,"hash":"`; the hash of the line before
 * stands just before it. So both are found by counting from the end, and the chain is checked without reading
 * JSON.
 */
#include "ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/fetch.h"
#include "utc.h"

#define FILE_NAME "ledger.jsonl"
#define HEAD_NAME "ledger.head"
#define HEAD_FORMAT "%020" PRIu64 " %s\n"
#define HEAD_LEN (20 + 1 + HEX + 1)
#define DETAIL_MAX (32 << 10)
#define LINE_MAX_LEN (64 << 10)
#define HEX 64
#define HASH_TAIL "\"}"
#define HASH_KEY ",\"hash\":\""
#define PREV_KEY ",\"prev\":\""
#define BROKEN "ledger.broken"
static const char no_hash[HEX + 1] = "0000000000000000000000000000000000000000000000000000000000000000";

struct entry {
	uint64_t seq;
	char prev[HEX + 1], hash[HEX + 1];
};

static int open_file(const char *dir, const char *name, int flags)
{
	char path[4096];

	if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
		return -ENAMETOOLONG;
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

/* Takes a line (without newline) apart; false if it is no entry, or its hash is wrong. */
static bool entry_read(struct entry *entry, const char *line, size_t len)
{
	const size_t hash_len = strlen(HASH_KEY) + HEX + strlen(HASH_TAIL),
	             prev_len = strlen(PREV_KEY) + HEX + 1;
	char hash[FETCH_SHA256_TEXT];
	int seq_len = 0;

	if (len < hash_len + prev_len ||
	        sscanf(line, "{\"seq\":%" SCNu64 ",%n", &entry->seq, &seq_len) != 1 || !seq_len)
		return false;
	const char *hash_at = line + len - hash_len, *prev_at = hash_at - prev_len;
	if (memcmp(hash_at, HASH_KEY, strlen(HASH_KEY)) != 0 ||
	        memcmp(prev_at, PREV_KEY, strlen(PREV_KEY)) != 0)
		return false;
	memcpy(entry->prev, prev_at + strlen(PREV_KEY), HEX);
	memcpy(entry->hash, hash_at + strlen(HASH_KEY), HEX);
	entry->prev[HEX] = entry->hash[HEX] = 0;
	return fetch_sha256(line, len - hash_len, hash) == 0 && memcmp(hash, entry->hash, HEX) == 0;
}

/* ---- the head: number and hash of the newest entry, read and written under the ledger's lock ---- */

struct head {
	bool known;
	uint64_t seq;
	char hash[HEX + 1];
};

static int head_read(const char *dir, struct head *head)
{
	char text[HEAD_LEN + 1] = "";
	int fd = open_file(dir, HEAD_NAME, O_RDONLY);

	*head = (struct head){ 0 };
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	ssize_t got = pread(fd, text, HEAD_LEN, 0);
	int ret = got < 0 ? -errno : 0;
	close(fd);
	head->known = got == HEAD_LEN &&
	              sscanf(text, "%20" SCNu64 " %64[0-9a-f]", &head->seq, head->hash) == 2 &&
	              strlen(head->hash) == HEX;
	return ret;
}

/* In place: less than a sector, so that it is on disk as a whole. */
static int head_write(const char *dir, const struct entry *entry)
{
	char text[HEAD_LEN + 1];
	int fd = open_file(dir, HEAD_NAME, O_WRONLY | O_CREAT);

	if (fd < 0)
		return fd;
	snprintf(text, sizeof text, HEAD_FORMAT, entry->seq, entry->hash);
	int ret = pwrite(fd, text, HEAD_LEN, 0) == HEAD_LEN ? 0 : errno != 0 ? -errno : -EIO;
	if (ret == 0 && fdatasync(fd) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Whether the newest entry is the one that the head knows, or the one that a killed process wrote after it.
 */
static bool head_fits(const struct head *head, const struct entry *newest)
{
	if (!head->known)
		return newest->seq == 0;
	if (newest->seq == head->seq)
		return strcmp(newest->hash, head->hash) == 0;
	return newest->seq == head->seq + 1 && strcmp(newest->prev, head->hash) == 0;
}

/* ---- appending ---- */

/* Cuts off a last line that has no end. Sets *size to what is left. */
static int cut_torn_line(int fd, char *tail, size_t *tail_len, off_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*size = st.st_size;
	off_t from = st.st_size > LINE_MAX_LEN ? st.st_size - LINE_MAX_LEN : 0;
	ssize_t got = pread(fd, tail, (size_t)(st.st_size - from), from);
	if (got != st.st_size - from)
		return got < 0 ? -errno : -EIO;
	const char *end = memrchr(tail, '\n', (size_t)got);
	if (!end && from > 0)
		return -EBADMSG;
	*tail_len = end ? (size_t)(end - tail) + 1 : 0;
	if ((ssize_t)*tail_len == got)
		return 0;
	*size = from + (off_t)*tail_len;
	return ftruncate(fd, *size) < 0 ? -errno : 0;
}

/* The newest entry; all zeros in an empty ledger. */
static int read_newest(int fd, struct entry *entry, off_t *size)
{
	size_t len = 0;
	char *tail = malloc(LINE_MAX_LEN + 1);
	if (!tail)
		return -ENOMEM;

	*entry = (struct entry){ 0 };
	memcpy(entry->hash, no_hash, sizeof entry->hash);
	int ret = cut_torn_line(fd, tail, &len, size);
	if (ret == 0 && len > 0) {
		const char *before = memrchr(tail, '\n', len - 1);
		const char *line = before ? before + 1 : tail;
		tail[len] = 0;
		if (!entry_read(entry, line, (size_t)(tail + len - 1 - line)))
			ret = -EBADMSG;
	}
	free(tail);
	return ret;
}

/* The line with its newline, malloc()ed; newest becomes the entry that it holds. */
static char *entry_line(struct entry *newest, uid_t uid, const char *what, const char *detail)
{
	char time_text[UTC_TEXT_LEN], uid_text[16] = "null", hash[FETCH_SHA256_TEXT], *head, *line;
	json_t *what_json = json_string(what);
	char *what_text = what_json ? json_dumps(what_json, JSON_ENCODE_ANY) : NULL;

	utc_text(time(NULL), time_text);
	if (uid != (uid_t)-1)
		snprintf(uid_text, sizeof uid_text, "%u", uid);
	int len = asprintf(&head,
	        "{\"seq\":%" PRIu64 ",\"time\":\"%s\",\"uid\":%s,\"what\":%s,\"detail\":%s" PREV_KEY "%s\"",
	        newest->seq + 1, time_text, uid_text, what_text ? what_text : "null", detail, newest->hash);
	json_decref(what_json);
	free(what_text);
	if (len < 0)
		return NULL;
	if (fetch_sha256(head, (size_t)len, hash) < 0 ||
	        asprintf(&line, "%s" HASH_KEY "%s" HASH_TAIL "\n", head, hash) < 0)
		line = NULL;
	free(head);
	newest->seq++;
	memcpy(newest->prev, newest->hash, sizeof newest->prev);
	memcpy(newest->hash, hash, sizeof newest->hash);
	return line;
}

/* A line that did not go to disk whole is taken back. */
static int write_line(int fd, const char *line, off_t size)
{
	size_t len = strlen(line);
	ssize_t wrote = pwrite(fd, line, len, size);
	int error = wrote < 0 ? errno : ENOSPC;

	if (wrote == (ssize_t)len && fdatasync(fd) == 0)
		return 0;
	if (wrote == (ssize_t)len)
		error = errno;
	return ftruncate(fd, size) < 0 ? -EIO : -error;
}

/* One entry behind newest, which it becomes. */
static int append_one(const char *dir, int fd, struct entry *newest, off_t *size, uid_t uid, const char *what,
        const char *detail)
{
	char *line = entry_line(newest, uid, what, detail);

	if (!line)
		return -ENOMEM;
	int ret = write_line(fd, line, *size);
	if (ret == 0) {
		ret = head_write(dir, newest);
		if (ret < 0 && ftruncate(fd, *size) < 0)
			ret = -EIO;
	}
	*size += (off_t)strlen(line);
	free(line);
	return ret;
}

static int append(const char *dir, int fd, uid_t uid, const char *what, const char *detail)
{
	struct entry newest;
	struct head head;
	char found[96];
	off_t size = 0;

	int ret = read_newest(fd, &newest, &size);
	if (ret == 0)
		ret = head_read(dir, &head);
	if (ret == 0 && !head_fits(&head, &newest)) {
		snprintf(found, sizeof found, "{\"known\":%" PRId64 ",\"found\":%" PRIu64 "}",
		        head.known ? (int64_t)head.seq : -1, newest.seq);
		ret = append_one(dir, fd, &newest, &size, (uid_t)-1, BROKEN, found);
	}
	return ret < 0 ? ret : append_one(dir, fd, &newest, &size, uid, what, detail);
}

int ledger_append(const char *dir, uid_t uid, const char *what, json_t *detail)
{
	char *text = detail ? json_dumps(detail, JSON_COMPACT) : strdup("{}");
	if (!text)
		return -ENOMEM;
	if (strlen(text) > DETAIL_MAX || strlen(what) > DETAIL_MAX / 8) {
		free(text);
		return -E2BIG;
	}
	mkdir(dir, 0700);
	int fd = open_file(dir, FILE_NAME, O_RDWR | O_CREAT);
	int ret = fd < 0 ? fd : 0;
	if (ret == 0) {
		do
			ret = flock(fd, LOCK_EX) < 0 ? -errno : 0;
		while (ret == -EINTR);
		if (ret == 0)
			ret = append(dir, fd, uid, what, text);
		close(fd);
	}
	free(text);
	return ret;
}

/* ---- reading ---- */

/* What is read: the file as it was at one moment, up to an entry's end if no process was killed while it
 * wrote. */
struct view {
	FILE *file;
	off_t size;
	struct head head;
};

/* The lock is held for the look at size and head only: what stands before does not change. -ENOENT without a
 * ledger. */
static int view_open(struct view *view, const char *dir)
{
	struct stat st;
	int fd = open_file(dir, FILE_NAME, O_RDONLY);

	if (fd < 0)
		return fd;
	int ret = flock(fd, LOCK_SH) < 0 || fstat(fd, &st) < 0 ? -errno : head_read(dir, &view->head);
	flock(fd, LOCK_UN);
	view->file = ret == 0 ? fdopen(fd, "r") : NULL;
	if (!view->file) {
		close(fd);
		return ret < 0 ? ret : -ENOMEM;
	}
	view->size = st.st_size;
	return 0;
}

/* The next line with its newline. Returns its length, 0 at the end of what was there, or negative errno. */
static ssize_t view_line(struct view *view, char **line, size_t *room)
{
	if (view->size <= 0)
		return 0;
	ssize_t len = getline(line, room, view->file);
	if (len < 0)
		return ferror(view->file) ? -EIO : 0;
	view->size -= len;
	return len;
}

int ledger_walk(const char *dir, bool (*got)(void *arg, const char *line, size_t len), void *arg)
{
	struct view view;
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	int ret = view_open(&view, dir);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((len = view_line(&view, &line, &room)) > 0)
		if (line[len - 1] == '\n' && !got(arg, line, (size_t)len - 1))
			break;
	free(line);
	fclose(view.file);
	return len < 0 ? (int)len : 0;
}

static bool entry_is_broken(const char *line)
{
	return strstr(line, ",\"what\":\"" BROKEN "\",\"detail\":{\"known\":") != NULL;
}

/* What is wrong with the end: before is the last whole entry. NULL: nothing. */
static const char *fault_at_end(const struct head *head, const struct entry *before, bool head_met)
{
	if (!head->known)
		return before->seq > 0 ? HEAD_NAME " is gone: entries after it may be missing" : NULL;
	if (before->seq < head->seq)
		return "is the last one, but there were more: entries were removed at the end";
	if (head->seq > 0 && !head_met)
		return "is not the one that " HEAD_NAME " knows: entries were rewritten";
	return before->seq > head->seq + 1 ? "was not appended by usher" : NULL;
}

static int64_t verify(struct view *view, char why[LEDGER_WHY_MAX])
{
	struct entry entry = { 0 }, before = { 0 };
	char *line = NULL;
	const char *fault = NULL;
	bool head_met = false;
	size_t room = 0;
	ssize_t len = 0;

	memcpy(before.hash, no_hash, sizeof before.hash);
	while (!fault && (len = view_line(view, &line, &room)) > 0) {
		if (line[len - 1] != '\n') {
			if (before.seq < view->head.seq) /* else nobody was told that it is written */
				fault = "has no end";
			break;
		}
		if (!entry_read(&entry, line, (size_t)len - 1))
			fault = "was altered";
		else if (entry.seq != before.seq + 1 || strcmp(entry.prev, before.hash) != 0)
			fault = "does not follow the one before: entries were removed or added";
		else if (entry_is_broken(line))
			fault = "was made when entries before it were found missing";
		if (fault)
			break;
		before = entry;
		head_met |= entry.seq == view->head.seq && strcmp(entry.hash, view->head.hash) == 0;
	}
	free(line);
	uint64_t at = before.seq + 1;
	if (!fault && len >= 0 && (fault = fault_at_end(&view->head, &before, head_met)) != NULL)
		at = before.seq;
	if (!fault)
		return len < 0 ? len : (int64_t)before.seq;
	snprintf(why, LEDGER_WHY_MAX, FILE_NAME ":%" PRIu64 ": entry %s", at, fault);
	return -EBADMSG;
}

/* Without a ledger there must be no head. */
static int64_t verify_nothing(const char *dir, char why[LEDGER_WHY_MAX])
{
	struct head head;
	int ret = head_read(dir, &head);

	if (ret < 0 || !head.known)
		return ret == -ENOENT ? 0 : ret;
	snprintf(
	        why, LEDGER_WHY_MAX, FILE_NAME " is gone; " HEAD_NAME " knows %" PRIu64 " entries", head.seq);
	return -EBADMSG;
}

int64_t ledger_verify(const char *dir, char why[LEDGER_WHY_MAX])
{
	struct view view;

	*why = 0;
	int ret = view_open(&view, dir);
	if (ret == -ENOENT)
		return verify_nothing(dir, why);
	if (ret < 0)
		return ret;
	int64_t count = verify(&view, why);
	fclose(view.file);
	return count;
}
