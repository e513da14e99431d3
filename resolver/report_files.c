/*
 * A report shows names as text, in HTML with its entities: those are read back, then words are looked for
 * whole and in any case, and whatever looks like an address is read as one.
 */
#include "report_files.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "address.h"
#include "devices.h"

#define FILE_MAX (256 << 20)
#define ADDRESS_LETTERS "0123456789abcdefABCDEF:."

/* What names the person in a text. */
struct marks {
	const struct erasure *erasure;
	struct devices *devices;
	json_t *words; /* as keys: names and MACs */
};

/* ---- the person ---- */

static void word_add(struct marks *marks, const char *word)
{
	if (*word)
		json_object_set_new(marks->words, word, json_true());
}

/* What the rows show as the device. */
static bool row_found(void *arg, const struct block_item *item)
{
	struct marks *marks = arg;
	const char *wanted = marks->erasure->device;
	struct device device;

	if (!item->client)
		return true;
	devices_find(marks->devices, item->client, item->time_us, &device);
	if (*wanted && !device_is(&device, wanted))
		return true;
	word_add(marks, device.name);
	word_add(marks, device.mac);
	return true;
}

static void marks_clear(struct marks *marks)
{
	devices_free(marks->devices);
	json_decref(marks->words);
}

static int marks_make(struct marks *marks, const struct erasure *erasure, const char *log_dir)
{
	uint8_t mac[6];
	char text[18];

	*marks = (struct marks){ erasure, devices_beside(log_dir), json_object() };
	if (!marks->devices || !marks->words) {
		marks_clear(marks);
		return -ENOMEM;
	}
	word_add(marks, erasure->device);
	if (lease_mac_parse(mac, erasure->device) == 0) {
		lease_mac_text(mac, text);
		word_add(marks, text);
	}
	int64_t ret = block_scan_items(log_dir, &erasure->filter, true, row_found, marks);
	if (ret < 0)
		marks_clear(marks);
	return ret < 0 ? (int)ret : 0;
}

/* ---- a text ---- */

static bool is_inside_word(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strcasestr(at, word)); at++)
		if ((at == text || !is_inside_word(at[-1])) && !is_inside_word(at[len]))
			return true;
	return false;
}

static bool client_is_meant(const struct erasure *erasure, const uint8_t client[16])
{
	const struct config_network *network = &erasure->filter.client;

	for (size_t i = 0; i < erasure->span_count; i++)
		if (memcmp(erasure->spans[i].client, client, 16) == 0)
			return true;
	return !*erasure->device && erasure->filter.has_client && address_is_in(client, network);
}

/* Letters that may be an address, but for the full stop or colon behind one in a sentence. */
static bool names_client(const char *at, size_t len, const struct erasure *erasure)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t client[16] = { [10] = 0xff, 0xff };

	while (len > 1 && (at[len - 1] == '.' || (at[len - 1] == ':' && at[len - 2] != ':')))
		len--;
	if (len < 2 || len >= sizeof text)
		return false;
	memcpy(text, at, len);
	text[len] = '\0';
	if (inet_pton(AF_INET, text, client + 12) != 1 && inet_pton(AF_INET6, text, client) != 1)
		return false;
	return client_is_meant(erasure, client);
}

static bool names_person(const char *text, const struct marks *marks)
{
	const char *word;
	json_t *value;

	for (const char *at = text; *at;) {
		size_t len = strspn(at, ADDRESS_LETTERS);
		if (len > 1 && names_client(at, len, marks->erasure))
			return true;
		at += len > 0 ? len : strcspn(at, ADDRESS_LETTERS);
	}
	json_object_foreach(marks->words, word, value) if (has_word(text, word)) return true;
	return false;
}

static void entities_decode(char *text)
{
	static const struct {
		const char *entity;
		char c;
	} entities[] = { { "&lt;", '<' }, { "&gt;", '>' }, { "&amp;", '&' }, { "&quot;", '"' },
		{ "&#39;", '\'' } };
	char *to = text;

	for (const char *at = text; *at; to++) {
		*to = *at;
		size_t len = 1;
		for (size_t i = 0; *at == '&' && i < sizeof entities / sizeof *entities; i++)
			if (strncmp(at, entities[i].entity, strlen(entities[i].entity)) == 0) {
				*to = entities[i].c;
				len = strlen(entities[i].entity);
			}
		at += len;
	}
	*to = '\0';
}

/* ---- files ---- */

static int file_read(int dir, const char *name, const struct stat *st, char **text)
{
	if (st->st_size > FILE_MAX)
		return -EFBIG;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	*text = calloc(1, (size_t)st->st_size + 1);
	ssize_t got = *text ? read(fd, *text, (size_t)st->st_size) : -1;
	int ret = !*text ? -ENOMEM : got < 0 ? -errno : 0;
	for (ssize_t i = 0; i < got; i++)
		if ((*text)[i] == '\0')
			(*text)[i] = ' ';
	close(fd);
	return ret;
}

/* Returns 1 if it names the person, 0 or negative errno. */
static int file_names_person(int dir, const char *name, const struct marks *marks)
{
	struct stat st;
	char *text = NULL;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode) || st.st_mtime < marks->erasure->filter.since_us / 1000000)
		return 0;
	if (names_person(name, marks))
		return 1;
	int ret = file_read(dir, name, &st, &text);
	if (ret == 0) {
		entities_decode(text);
		ret = names_person(text, marks);
	}
	free(text);
	return ret == -ENOENT ? 0 : ret;
}

static int find_in(DIR *dir, const struct marks *marks, json_t *names, char unread[NAME_MAX + 1])
{
	struct dirent *entry;
	int ret = 0;

	while (ret >= 0 && (entry = readdir(dir)) != NULL) {
		ret = file_names_person(dirfd(dir), entry->d_name, marks);
		if (ret > 0 && json_array_append_new(names, json_string(entry->d_name)) < 0)
			ret = -EILSEQ;
		if (ret < 0)
			snprintf(unread, NAME_MAX + 1, "%s", entry->d_name);
	}
	return ret < 0 ? ret : 0;
}

int report_files_find(json_t **names, const char *dir_path, const struct erasure *erasure,
        const char *log_dir, char unread[NAME_MAX + 1])
{
	struct marks marks;
	DIR *dir = opendir(dir_path);
	int ret = dir || errno == ENOENT ? 0 : -errno;

	unread[0] = '\0';
	*names = ret == 0 ? json_array() : NULL;
	if (!dir)
		return ret;
	ret = *names ? marks_make(&marks, erasure, log_dir) : -ENOMEM;
	if (ret == 0) {
		ret = find_in(dir, &marks, *names, unread);
		marks_clear(&marks);
	}
	closedir(dir);
	if (ret < 0) {
		json_decref(*names);
		*names = NULL;
	}
	return ret;
}

json_t *report_files_remove(const char *dir_path, const json_t *names)
{
	int dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *left = json_array(), *name;
	size_t i;

	json_array_foreach(names, i, name) if (unlinkat(dir, json_string_value(name), 0) < 0 &&
	                                       errno != ENOENT) json_array_append(left, name);
	if (dir >= 0)
		close(dir);
	return left;
}

json_t *report_files_unnamed(const json_t *names, const struct erasure *erasure, const char *log_dir)
{
	struct marks marks;
	json_t *unnamed = json_array(), *name;
	size_t i;

	if (!unnamed || marks_make(&marks, erasure, log_dir) < 0) {
		json_decref(unnamed);
		return NULL;
	}
	json_array_foreach(names, i, name)
	{
		const char *text = json_string_value(name);
		json_array_append_new(unnamed, json_string(names_person(text, &marks) ? "…" : text));
	}
	marks_clear(&marks);
	return unnamed;
}
