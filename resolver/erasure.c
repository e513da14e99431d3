#include "erasure.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block_file.h"

#define PATH_LEN 4096
#define DIR_LEN (PATH_LEN - 32)
#define CLIENT_TEXT 32

static void erasure_path(const char *dir, const char *end, char path[PATH_LEN])
{
	snprintf(path, PATH_LEN, "%.4063s/erase.json%s", dir, end);
}

/* ---- writing ---- */

static json_t *profiles_json(const struct block_filter *filter)
{
	json_t *profiles = filter->profile || filter->profiles ? json_array() : json_null();

	if (filter->profile)
		json_array_append_new(profiles, json_string(filter->profile));
	for (size_t i = 0; filter->profiles && !filter->profile && i < filter->profile_count; i++)
		json_array_append_new(profiles, json_string(filter->profiles[i]));
	return profiles;
}

static void hex(const uint8_t client[16], char text[CLIENT_TEXT + 1])
{
	for (int i = 0; i < 16; i++)
		sprintf(text + 2 * i, "%02x", client[i]);
}

static json_t *spans_json(const struct erasure *erasure)
{
	json_t *spans = json_array();
	char client[CLIENT_TEXT + 1];

	for (size_t i = 0; i < erasure->span_count; i++) {
		const struct erasure_span *span = &erasure->spans[i];
		hex(span->client, client);
		json_array_append_new(spans, json_pack("[s, I, I]", client, (json_int_t)span->since_us,
		                                     (json_int_t)span->until_us));
	}
	return spans;
}

static json_t *erasure_json(const struct erasure *erasure)
{
	const struct block_filter *filter = &erasure->filter;
	char client[CLIENT_TEXT + 1], name[NAME_TEXT_MAX] = "";

	hex(filter->client.address, client);
	if (filter->name.len)
		name_to_text(&filter->name, name);
	return json_pack("{s:s?, s:i, s:s?, s:o, s:I, s:I, s:b, s:s, s:o}", "client",
	        filter->has_client ? client : NULL, "length", (int)filter->client.length, "name",
	        *name ? name : NULL, "profiles", profiles_json(filter), "since_us",
	        (json_int_t)filter->since_us, "until_us", (json_int_t)filter->until_us, "rows_only",
	        erasure->rows_only, "device", erasure->device, "spans", spans_json(erasure));
}

static int write_synced(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	ssize_t wrote = write(fd, text, strlen(text));
	int ret = wrote < 0 ? -errno : wrote < (ssize_t)strlen(text) ? -ENOSPC : fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

int erasure_begin(const char *dir, const struct erasure *erasure)
{
	char path[PATH_LEN], new[PATH_LEN];
	json_t *json = erasure_json(erasure);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	erasure_path(dir, "", path);
	erasure_path(dir, ".new", new);
	int ret = text ? write_synced(new, text) : -ENOMEM;
	free(text);
	if (ret == 0 && rename(new, path) < 0)
		ret = -errno;
	if (ret < 0)
		unlink(new);
	return ret < 0 ? ret : block_file_sync_folder(dir);
}

/* ---- reading ---- */

static bool read_hex(uint8_t client[16], const char *text)
{
	if (!text || strlen(text) != CLIENT_TEXT)
		return false;
	for (int i = 0; i < 16; i++) {
		unsigned octet;
		if (sscanf(text + 2 * i, "%2x", &octet) != 1)
			return false;
		client[i] = (uint8_t)octet;
	}
	return true;
}

static bool read_client(struct block_filter *filter, const json_t *json)
{
	const char *text = json_string_value(json_object_get(json, "client"));
	json_int_t length = json_integer_value(json_object_get(json, "length"));

	if (!text)
		return json_is_null(json_object_get(json, "client"));
	if (length < 0 || length > 128 || !read_hex(filter->client.address, text))
		return false;
	filter->has_client = true;
	filter->client.length = (uint8_t)length;
	return true;
}

static bool read_profiles(struct erasure *erasure, const json_t *json)
{
	const json_t *profiles = json_object_get(json, "profiles");
	size_t i;
	json_t *profile;

	if (!json_is_array(profiles))
		return json_is_null(profiles);
	if (json_array_size(profiles) > CONFIG_PROFILES_MAX)
		return false;
	json_array_foreach(profiles, i, profile)
	{
		if (!json_is_string(profile))
			return false;
		snprintf(erasure->profile[i], sizeof erasure->profile[i], "%s", json_string_value(profile));
		erasure->profiles[i] = erasure->profile[i];
	}
	erasure->filter.profiles = erasure->profiles;
	erasure->filter.profile_count = json_array_size(profiles);
	return true;
}

static bool read_device(struct erasure *erasure, const json_t *json)
{
	const json_t *spans = json_object_get(json, "spans"), *one;
	const char *device = json_string_value(json_object_get(json, "device"));
	size_t i;

	erasure->rows_only = json_is_true(json_object_get(json, "rows_only"));
	snprintf(erasure->device, sizeof erasure->device, "%s", device ? device : "");
	erasure->spans = calloc(json_array_size(spans) + 1, sizeof *erasure->spans);
	if (!erasure->spans)
		return false;
	json_array_foreach(spans, i, one)
	{
		struct erasure_span *span = &erasure->spans[i];
		span->since_us = json_integer_value(json_array_get(one, 1));
		span->until_us = json_integer_value(json_array_get(one, 2));
		if (!read_hex(span->client, json_string_value(json_array_get(one, 0))))
			return false;
	}
	erasure->span_count = json_array_size(spans);
	return true;
}

static bool read_all(struct erasure *erasure, const json_t *json)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	const json_t *since = json_object_get(json, "since_us"), *until = json_object_get(json, "until_us");

	erasure->filter.severity = -1;
	if (!json_is_integer(since) || !json_is_integer(until) || !read_client(&erasure->filter, json) ||
	        !read_profiles(erasure, json) || !read_device(erasure, json))
		return false;
	erasure->filter.since_us = json_integer_value(since);
	erasure->filter.until_us = json_integer_value(until);
	return !name || name_from_text(&erasure->filter.name, name, strlen(name)) == 0;
}

int erasure_read(const char *dir, struct erasure **out)
{
	char path[PATH_LEN];

	*out = NULL;
	erasure_path(dir, "", path);
	if (access(path, F_OK) < 0)
		return errno == ENOENT ? 0 : -errno;
	struct erasure *erasure = calloc(1, sizeof *erasure);
	if (!erasure)
		return -ENOMEM;
	json_t *json = json_load_file(path, 0, NULL);
	bool good = json && read_all(erasure, json);
	json_decref(json);
	if (good) {
		*out = erasure;
		return 0;
	}
	erasure_free(erasure);
	/* gone meanwhile, or somebody else's */
	return access(path, F_OK) < 0 ? 0 : -EBADMSG;
}

void erasure_free(struct erasure *erasure)
{
	if (!erasure)
		return;
	free(erasure->spans);
	free(erasure);
}

bool erasure_is_pending(const char *log_dir)
{
	static const char *const beside[] = { ".", "../devices", "../alerts" };
	char dir[DIR_LEN], path[PATH_LEN];

	for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
		snprintf(dir, sizeof dir, "%.4000s/%s", log_dir, beside[i]);
		erasure_path(dir, "", path);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

bool erasure_takes(const struct erasure *erasure, const struct block_item *item)
{
	if (!block_item_passes(item, &erasure->filter))
		return false;
	for (size_t i = 0; i < erasure->span_count && item->client; i++) {
		const struct erasure_span *span = &erasure->spans[i];
		if (item->time_us >= span->since_us && item->time_us < span->until_us &&
		        memcmp(item->client, span->client, sizeof span->client) == 0)
			return true;
	}
	return *erasure->device == '\0';
}

int erasure_pass_on(const char *dir, const char *next)
{
	char path[PATH_LEN], next_dir[DIR_LEN], next_path[PATH_LEN];

	erasure_path(dir, "", path);
	snprintf(next_dir, sizeof next_dir, "%.4000s/../%s", dir, next ? next : "");
	erasure_path(next_dir, "", next_path);
	if (next && rename(path, next_path) == 0) {
		int ret = block_file_sync_folder(next_dir);
		return ret < 0 ? ret : block_file_sync_folder(dir);
	}
	if (next && errno != ENOENT)
		return -errno;
	return unlink(path) < 0 && errno != ENOENT ? -errno : block_file_sync_folder(dir);
}
