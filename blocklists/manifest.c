#include "manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define HASH_BLOCK 32768 /* where the kernel is not preemptible, others wait for the end of a read */

int manifest_sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int ret = fsync(fd) == 0 ? 0 : -errno;
	close(fd);
	return ret;
}

int manifest_write(const char *path, const json_t *json)
{
	char temp[PATH_MAX];

	if (snprintf(temp, sizeof temp, "%s.new", path) >= (int)sizeof temp)
		return -ENAMETOOLONG;
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	int ret = 0;
	if (json_dumpfd(json, fd, JSON_INDENT(1)) != 0)
		ret = errno == ENOMEM ? -ENOMEM : -EIO;
	else if (write(fd, "\n", 1) != 1 || fsync(fd) != 0)
		ret = -errno;
	close(fd);
	if (ret == 0 && rename(temp, path) != 0)
		ret = -errno;
	if (ret < 0)
		unlink(temp);
	return ret;
}

int manifest_read(const char *path, json_t **out)
{
	if (access(path, R_OK) != 0)
		return -errno;
	json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(json)) {
		json_decref(json);
		return -EBADMSG;
	}
	*out = json;
	return 0;
}

static int fd_hash(int fd, char *block, XXH3_state_t *state, char hash[MANIFEST_HASH_TEXT])
{
	XXH128_canonical_t canonical;
	ssize_t got;

	XXH3_128bits_reset(state);
	while ((got = read(fd, block, HASH_BLOCK)) > 0)
		XXH3_128bits_update(state, block, (size_t)got);
	if (got < 0)
		return -errno;
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
	for (unsigned i = 0; i < sizeof canonical.digest; i++)
		snprintf(hash + 2 * i, 3, "%02x", canonical.digest[i]);
	return 0;
}

int manifest_file_hash(const char *file, uint64_t *size, char hash[MANIFEST_HASH_TEXT])
{
	struct stat st;
	char *block = malloc(HASH_BLOCK);
	XXH3_state_t *state = XXH3_createState();
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	int ret = block == NULL || state == NULL ? -ENOMEM : 0;
	if (ret == 0 && (fd < 0 || fstat(fd, &st) != 0))
		ret = -errno;
	if (ret == 0) {
		*size = (uint64_t)st.st_size;
		ret = fd_hash(fd, block, state, hash);
	}
	if (fd >= 0)
		close(fd);
	XXH3_freeState(state);
	free(block);
	return ret;
}
