#include "unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LINKS_MAX 8 /* that are followed one after the other */
#define READ_BLOCK (64 * 1024)

struct unpack {
	char file[PATH_MAX];
	uint64_t file_size;
	bool is_archive;
	struct unpack_entry *entries;
	size_t count, room;
};

/* Tar, zip and "one text", through any compression; no format that describes files instead of holding them.
 */
static int archive_begin(struct archive **out, const char *path, char why[LISTS_WHY_MAX])
{
	struct archive *archive = archive_read_new();

	if (archive == NULL)
		return -ENOMEM;
	archive_read_support_filter_gzip(archive);
	archive_read_support_filter_bzip2(archive);
	archive_read_support_filter_xz(archive);
	archive_read_support_filter_zstd(archive);
	archive_read_support_format_tar(archive);
	archive_read_support_format_zip(archive);
	archive_read_support_format_raw(archive);
	archive_read_support_format_empty(archive);
	if (archive_read_open_filename(archive, path, READ_BLOCK) != ARCHIVE_OK) {
		snprintf(why, LISTS_WHY_MAX, "cannot be read: %s", archive_error_string(archive));
		archive_read_free(archive);
		return -EBADMSG;
	}
	/* The filters, and the file itself as the last. Inside another, what is no content is not counted. */
	if (archive_filter_count(archive) > 2) {
		snprintf(why, LISTS_WHY_MAX, "refused: compressed more than once");
		archive_read_free(archive);
		return -EBADMSG;
	}
	*out = archive;
	return 0;
}

/* The next entry. A warning (a name that this process's locale cannot write) is none of ours. */
static int archive_next(struct archive *archive, struct archive_entry **entry)
{
	int status = archive_read_next_header(archive, entry);

	return status == ARCHIVE_WARN ? ARCHIVE_OK : status;
}

static int archive_failed(struct archive *archive, char why[LISTS_WHY_MAX])
{
	const char *text = archive_error_string(archive);

	snprintf(why, LISTS_WHY_MAX, "damaged archive: %s", text != NULL ? text : "unknown error");
	return -EBADMSG;
}

/*
 * Joins and normalises: base is a folder inside the archive, "" its top. Returns a malloc()ed path without .
 * and .., or NULL if it is absolute, climbs out, or memory is short.
 */
static char *path_inside(const char *base, const char *path)
{
	size_t size = strlen(base) + strlen(path) + 2;
	char *joined = malloc(size), *out = malloc(size);
	size_t len = 0;

	if (joined == NULL || out == NULL || path[0] == '/')
		goto refused;
	snprintf(joined, size, "%s/%s", base, path);
	for (char *rest = joined, *part; (part = strsep(&rest, "/")) != NULL;) {
		if (*part == '\0' || strcmp(part, ".") == 0)
			continue;
		if (strcmp(part, "..") == 0) {
			if (len == 0)
				goto refused;
			while (len > 0 && out[--len] != '/')
				;
			continue;
		}
		if (len > 0)
			out[len++] = '/';
		memcpy(out + len, part, strlen(part));
		len += strlen(part);
	}
	out[len] = '\0';
	free(joined);
	return out;
refused:
	free(joined);
	free(out);
	return NULL;
}

static bool path_climbs(const char *path)
{
	for (const char *part = path; part != NULL;
	        part = strchr(part, '/'), part = part != NULL ? part + 1 : NULL)
		if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
			return true;
	return path[0] == '/';
}

static int refuse(char why[LISTS_WHY_MAX], const char *what, const char *path)
{
	snprintf(why, LISTS_WHY_MAX, "refused: %s: %.200s", what, path);
	return -EBADMSG;
}

static int entry_link(struct unpack_entry *to, struct archive_entry *entry, char why[LISTS_WHY_MAX])
{
	const char *symlink = archive_entry_symlink(entry), *hardlink = archive_entry_hardlink(entry);
	char folder[PATH_MAX] = "";

	if ((hardlink != NULL && strlen(hardlink) >= PATH_MAX) ||
	        (symlink != NULL && strlen(symlink) >= PATH_MAX))
		return refuse(why, "a link to too long a name", to->path);
	if (hardlink != NULL) {
		to->target = path_climbs(hardlink) ? NULL : path_inside("", hardlink);
	} else if (symlink != NULL) {
		const char *slash = strrchr(to->path, '/');
		if (slash != NULL)
			snprintf(folder, sizeof folder, "%.*s", (int)(slash - to->path), to->path);
		to->target = path_inside(folder, symlink);
	} else {
		return 0;
	}
	return to->target != NULL ? 0 : refuse(why, "a link to outside the archive", to->path);
}

static int survey_entry(struct unpack *unpack, struct archive_entry *entry, char why[LISTS_WHY_MAX])
{
	const char *path = archive_entry_pathname(entry);

	if (path == NULL) /* no text in this process's locale */
		path = archive_entry_pathname_utf8(entry);
	if (path == NULL)
		return refuse(why, "an entry without a name", "?");
	if (strlen(path) >= PATH_MAX)
		return refuse(why, "an entry with too long a name", path);
	if (unpack->is_archive && path_climbs(path))
		return refuse(why, "an entry outside the archive", path);
	if (unpack->count == UNPACK_ENTRIES_MAX)
		return refuse(why, "more than 10,000 entries", path);
	if (unpack->count == unpack->room) {
		size_t room = unpack->room * 2 + 64;
		struct unpack_entry *entries = realloc(unpack->entries, room * sizeof *entries);
		if (entries == NULL)
			return -ENOMEM;
		unpack->entries = entries;
		unpack->room = room;
	}
	struct unpack_entry *to = &unpack->entries[unpack->count];
	*to = (struct unpack_entry){ .path = path_inside("", path) };
	if (to->path == NULL)
		return -ENOMEM;
	unpack->count++;
	int ret = entry_link(to, entry, why);
	to->is_file =
	        to->target == NULL && (!unpack->is_archive || archive_entry_filetype(entry) == AE_IFREG);
	return ret;
}

/* Unpacks an entry's data to nowhere, to see how much it is. */
static int survey_data(
        struct unpack *unpack, struct archive *archive, uint64_t *total, char why[LISTS_WHY_MAX])
{
	char data[READ_BLOCK];
	la_ssize_t got;

	while ((got = archive_read_data(archive, data, sizeof data)) > 0) {
		*total += (uint64_t)got;
		if (*total > UNPACK_SIZE_MAX)
			return refuse(why, "unpacks to more than 4 GiB", "a bomb");
		if (*total > UNPACK_RATIO_FREE && *total / UNPACK_RATIO_MAX > unpack->file_size)
			return refuse(why, "unpacks to more than 50 times its size", "a bomb");
	}
	return got < 0 ? archive_failed(archive, why) : 0;
}

static int survey(struct unpack *unpack, char why[LISTS_WHY_MAX])
{
	struct archive *archive;
	struct archive_entry *entry;
	uint64_t total = 0;

	int ret = archive_begin(&archive, unpack->file, why), status;
	if (ret < 0)
		return ret;
	while ((status = archive_next(archive, &entry)) == ARCHIVE_OK) {
		int format = archive_format(archive) & ARCHIVE_FORMAT_BASE_MASK;
		unpack->is_archive = format == ARCHIVE_FORMAT_TAR || format == ARCHIVE_FORMAT_ZIP;
		ret = survey_entry(unpack, entry, why);
		if (ret == 0)
			ret = survey_data(unpack, archive, &total, why);
		if (ret < 0)
			break;
	}
	if (ret == 0 && status != ARCHIVE_EOF)
		ret = archive_failed(archive, why);
	archive_read_free(archive);
	return ret;
}

int unpack_open(struct unpack **out, const char *path, char why[LISTS_WHY_MAX])
{
	struct stat st;
	struct unpack *unpack = calloc(1, sizeof *unpack);

	why[0] = '\0';
	if (unpack == NULL)
		return -ENOMEM;
	if (stat(path, &st) != 0) {
		free(unpack);
		return -errno;
	}
	unpack->file_size = (uint64_t)st.st_size;
	int ret = snprintf(unpack->file, sizeof unpack->file, "%s", path) < (int)sizeof unpack->file
	                  ? 0
	                  : -ENAMETOOLONG;
	if (ret == 0)
		ret = survey(unpack, why);
	if (ret < 0) {
		unpack_close(unpack);
		return ret;
	}
	*out = unpack;
	return 0;
}

void unpack_close(struct unpack *unpack)
{
	if (unpack == NULL)
		return;
	for (size_t i = 0; i < unpack->count; i++) {
		free(unpack->entries[i].path);
		free(unpack->entries[i].target);
	}
	free(unpack->entries);
	free(unpack);
}

bool unpack_is_archive(const struct unpack *unpack)
{
	return unpack->is_archive;
}

size_t unpack_count(const struct unpack *unpack)
{
	return unpack->count;
}

const struct unpack_entry *unpack_entry(const struct unpack *unpack, size_t index)
{
	return &unpack->entries[index];
}

/* The last entry of a path wins, as it would on disk. */
static long entry_find(const struct unpack *unpack, const char *path, size_t len)
{
	for (size_t i = unpack->count; i-- > 0;) {
		const char *candidate = unpack->entries[i].path;
		if (strncmp(candidate, path, len) == 0 && candidate[len] == '\0')
			return (long)i;
	}
	return -1;
}

/* Replaces the first part of path that is a link by its target. Returns false if there is none; *path is
 * freed and made anew. */
static bool resolve_step(const struct unpack *unpack, char **path)
{
	for (size_t len = 1;; len++) {
		char end = (*path)[len];
		if (end != '/' && end != '\0')
			continue;
		long index = entry_find(unpack, *path, len);
		if (index >= 0 && unpack->entries[index].target != NULL) {
			char *moved = path_inside(unpack->entries[index].target, *path + len + (end == '/'));
			free(*path);
			*path = moved;
			return true;
		}
		if (end == '\0')
			return false;
	}
}

char *unpack_resolve(const struct unpack *unpack, const char *path)
{
	char *at = path_inside("", path);

	for (unsigned i = 0; at != NULL && at[0] != '\0' && i < LINKS_MAX; i++)
		if (!resolve_step(unpack, &at))
			return at;
	free(at);
	return NULL;
}

long unpack_find(const struct unpack *unpack, const char *path)
{
	return entry_find(unpack, path, strlen(path));
}

static int read_entry(
        struct archive *archive, const struct unpack_sink *sink, size_t index, char why[LISTS_WHY_MAX])
{
	char data[READ_BLOCK];
	la_ssize_t got;

	while ((got = archive_read_data(archive, data, sizeof data)) > 0) {
		int ret = sink->data(sink->arg, data, (size_t)got);
		if (ret < 0)
			return ret;
	}
	return got < 0 ? archive_failed(archive, why) : sink->end(sink->arg, index);
}

int unpack_read(struct unpack *unpack, const struct unpack_sink *sink, char why[LISTS_WHY_MAX])
{
	struct archive *archive;
	struct archive_entry *entry;

	int ret = archive_begin(&archive, unpack->file, why);
	if (ret < 0)
		return ret;
	for (size_t i = 0; ret == 0 && i < unpack->count; i++) {
		if (archive_next(archive, &entry) != ARCHIVE_OK)
			ret = archive_failed(archive, why);
		else if (unpack->entries[i].is_file && sink->begin(sink->arg, i))
			ret = read_entry(archive, sink, i, why);
	}
	archive_read_free(archive);
	return ret;
}
