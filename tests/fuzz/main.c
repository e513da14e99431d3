/* Replays a corpus: runs the fuzz target on each file of the folders given. Without libFuzzer, so that every
 * build can. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input has exactly its own size in memory, so that the sanitizer sees one octet too far. */
static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");

	if (file == NULL)
		return -errno;
	fseek(file, 0, SEEK_END);
	size_t size = (size_t)ftell(file);
	rewind(file);
	uint8_t *data = malloc(size > 0 ? size : 1);
	int ret = data != NULL && fread(data, 1, size, file) == size ? 0 : -EIO;
	fclose(file);
	if (ret == 0)
		LLVMFuzzerTestOneInput(data, size);
	free(data);
	return ret;
}

static int replay_folder(const char *folder, unsigned *count)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int ret = 0;

	if (dir == NULL)
		return -errno;
	while (ret == 0 && (entry = readdir(dir)) != NULL) {
		char path[PATH_MAX];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		fprintf(stderr, "%s\n", path);
		ret = replay_file(path);
		(*count)++;
	}
	closedir(dir);
	return ret;
}

int main(int argc, char **argv)
{
	unsigned count = 0;

	for (int i = 1; i < argc; i++) {
		int ret = replay_folder(argv[i], &count);
		if (ret < 0) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(-ret));
			return 1;
		}
	}
	/* An empty corpus proves nothing. */
	return count > 0 ? 0 : 1;
}
