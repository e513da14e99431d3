#include "partial.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_LEN 4096

/* Reads a line of at most size octets with its end. */
static bool read_line(FILE *file, char *line, size_t size)
{
	if (fgets(line, (int)size, file) == NULL)
		return false;
	size_t len = strlen(line);
	if (len == 0 || line[len - 1] != '\n')
		return false;
	line[len - 1] = '\0';
	return true;
}

/* Takes up what PATH.from describes, if that is of this URL. */
static void take_up(struct partial *partial)
{
	char url[LINE_LEN], validator[FETCH_TAG_MAX];
	struct stat st;
	FILE *from = fopen(partial->from, "re");

	if (from == NULL)
		return;
	bool known = read_line(from, url, sizeof url) && read_line(from, validator, sizeof validator) &&
	             strcmp(url, partial->url) == 0 && fstat(fileno(partial->file), &st) == 0;
	fclose(from);
	unlink(partial->from);
	if (!known || st.st_size <= 0)
		return;
	partial->size = (uint64_t)st.st_size;
	memcpy(partial->validator, validator, sizeof validator);
}

int partial_open(struct partial *partial, const char *path, const char *url)
{
	*partial = (struct partial){ .path = path, .url = url };
	snprintf(partial->part, sizeof partial->part, "%s.part", path);
	snprintf(partial->from, sizeof partial->from, "%s.from", path);
	partial->file = fopen(partial->part, "ae");
	if (partial->file == NULL)
		return -errno;
	take_up(partial);
	return 0;
}

int partial_restart(struct partial *partial, const char *validator)
{
	partial->size = 0;
	snprintf(partial->validator, sizeof partial->validator, "%s", validator);
	if (fflush(partial->file) != 0 || ftruncate(fileno(partial->file), 0) != 0)
		return -errno;
	return 0;
}

int partial_write(struct partial *partial, const void *data, size_t len)
{
	if (fwrite(data, 1, len, partial->file) != len)
		return errno != 0 ? -errno : -EIO;
	partial->size += len;
	return 0;
}

static int partial_sync(struct partial *partial)
{
	return fflush(partial->file) == 0 && fsync(fileno(partial->file)) == 0 ? 0 : -errno;
}

static void partial_close(struct partial *partial)
{
	if (partial->file != NULL)
		fclose(partial->file);
	partial->file = NULL;
}

int partial_finish(struct partial *partial)
{
	int ret = partial_sync(partial);

	if (ret == 0 && rename(partial->part, partial->path) != 0)
		ret = -errno;
	if (ret == 0)
		partial_close(partial);
	return ret;
}

bool partial_keep(struct partial *partial)
{
	if (partial->file == NULL || partial->size == 0 || partial->validator[0] == '\0' ||
	        partial_sync(partial) < 0)
		return false;
	FILE *from = fopen(partial->from, "we");
	if (from == NULL)
		return false;
	fprintf(from, "%s\n%s\n", partial->url, partial->validator);
	if (fclose(from) != 0)
		return false;
	partial_close(partial);
	return true;
}

void partial_drop(struct partial *partial)
{
	if (partial->file == NULL)
		return;
	unlink(partial->from);
	unlink(partial->part);
	partial_close(partial);
}
