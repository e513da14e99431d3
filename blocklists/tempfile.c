#include "tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER (256 * 1024)

int tempfile_open(FILE **out, const char *dir)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/temp-XXXXXX", dir) >= (int)sizeof path)
		return -ENAMETOOLONG;
	int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	*out = fdopen(fd, "w+");
	if (*out == NULL) {
		int ret = -errno;
		close(fd);
		return ret;
	}
	setvbuf(*out, NULL, _IOFBF, BUFFER);
	return 0;
}
