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

#define FILE_NAME "ledger.jsonl"
#define DETAIL_MAX (32 << 10)
#define LINE_MAX_LEN (64 << 10)
#define HEX 64
#define HASH_TAIL "\"}"
#define HASH_KEY ",\"hash\":\""
#define PREV_KEY ",\"prev\":\""
static const char no_hash[HEX + 1] = "0000000000000000000000000000000000000000000000000000000000000000";

struct entry {
	uint64_t seq;
	char prev[HEX + 1], hash[HEX + 1];
};

static int open_ledger(const char *dir, int flags)
{
	char path[4096];

	if ((size_t)snprintf(path, sizeof path, "%s/" FILE_NAME, dir) >= sizeof path)
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

/* The line with its newline, malloc()ed. */
static char *entry_line(const struct entry *newest, uid_t uid, const char *what, const char *detail)
{
	char time_text[32], uid_text[16] = "null", hash[FETCH_SHA256_TEXT], *head, *line;
	time_t now = time(NULL);
	struct tm tm;
	json_t *what_json = json_string(what);
	char *what_text = what_json ? json_dumps(what_json, JSON_ENCODE_ANY) : NULL;

	strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
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

static int append(int fd, uid_t uid, const char *what, const char *detail)
{
	struct entry newest;
	off_t size = 0;

	int ret = read_newest(fd, &newest, &size);
	if (ret < 0)
		return ret;
	char *line = entry_line(&newest, uid, what, detail);
	if (!line)
		return -ENOMEM;
	ret = write_line(fd, line, size);
	free(line);
	return ret;
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
	int fd = open_ledger(dir, O_RDWR | O_CREAT);
	int ret = fd < 0 ? fd : 0;
	if (ret == 0) {
		do
			ret = flock(fd, LOCK_EX) < 0 ? -errno : 0;
		while (ret == -EINTR);
		if (ret == 0)
			ret = append(fd, uid, what, text);
		close(fd);
	}
	free(text);
	return ret;
}

/* ---- verifying ---- */

static int64_t verify(FILE *file, char why[LEDGER_WHY_MAX])
{
	struct entry entry = { 0 }, before = { 0 };
	char *line = NULL;
	const char *fault = NULL;
	size_t room = 0;
	ssize_t len;

	memcpy(before.hash, no_hash, sizeof before.hash);
	while (!fault && (len = getline(&line, &room, file)) > 0) {
		if (line[len - 1] != '\n')
			fault = "has no end";
		else if (!entry_read(&entry, line, (size_t)len - 1))
			fault = "was altered";
		else if (entry.seq != before.seq + 1 || strcmp(entry.prev, before.hash) != 0)
			fault = "does not follow the one before: entries were removed or added";
		else
			before = entry;
	}
	free(line);
	if (!fault)
		return ferror(file) ? -EIO : (int64_t)before.seq;
	snprintf(why, LEDGER_WHY_MAX, FILE_NAME ":%" PRIu64 ": entry %s", before.seq + 1, fault);
	return -EBADMSG;
}

int64_t ledger_verify(const char *dir, char why[LEDGER_WHY_MAX])
{
	*why = 0;
	int fd = open_ledger(dir, O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	flock(fd, LOCK_SH);
	FILE *file = fdopen(fd, "r");
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	int64_t ret = verify(file, why);
	fclose(file);
	return ret;
}
