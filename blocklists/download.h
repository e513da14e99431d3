/*
 * The files of a run's sources, side by side, then the signatures of those that have a key. What is not as the configuration pins it (sha256, key) is refused.
 */
#ifndef USHER_DOWNLOAD_H
#define USHER_DOWNLOAD_H

#include "fetch.h"
#include "signature.h"
#include "source.h"

struct download {
	const struct source *source;
	char path[PATH_MAX];              /* where its file goes; its signature beside it, for a moment */
	char held[PATH_MAX];              /* file with the content held */
	const char *etag, *last_modified; /* of the content held, "" for all of it anew */

	int status; /* 0, or -EIO with `why`; then there is no file at path */
	struct fetch_result result;
	char signed_comment[SIGNATURE_COMMENT_MAX]; /* trusted, "" without a key */
	char why[LISTS_WHY_MAX];
};

/* Each has its own status. Returns 0 or -ENOMEM. */
int download_all(const struct fetch_options *options, struct download *downloads, size_t count);

#endif
