/*
 * One source during an update: asked for, read, judged; then its content is taken, held back, or stays what
 * it was. What goes wrong with one source is that source's failure.
 */
#ifndef USHER_UPDATE_JOB_H
#define USHER_UPDATE_JOB_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>

#include "download.h"
#include "update.h"

struct update_job {
	/* the update's, set before update_job_init() */
	const struct update_options *options;
	const char *work;   /* a folder for what is passing */
	const char *guards; /* fingerprint of the names that no list may block */

	const struct source *source;
	char dir[PATH_MAX]; /* its folder */
	json_t *good;       /* account of the last good content, NULL if there is none */
	json_t *trouble;    /* state.json: held and failed */
	char settings[FETCH_SHA256_TEXT];
	enum update_state state;
	char why[LISTS_WHY_MAX];
	struct download *download;     /* the update's, NULL: not asked for */
	struct source_content content; /* with claims once it was read */
};

/* 0 or negative errno. job is zeroed but for the first three; update_job_clear() it whatever comes back. */
int update_job_init(struct update_job *job, const struct source *source, char why[LISTS_WHY_MAX]);
void update_job_clear(struct update_job *job);

/* The starter list comes with the program: always there, always good, never downloaded. */
bool update_job_is_starter(const struct update_job *job);

/* Prepares the download, which asks for what is newer than the good content. 0 or negative errno. */
int update_job_ask(struct update_job *job, struct download *download);

/* Goes on with what was downloaded, or for the starter list with what the options bring. Returns 0 with the
 * state, or negative errno, which is not the source's fault. */
int update_job_go_on(struct update_job *job);
int update_job_starter(struct update_job *job);

/* Reads the last good content for the compile, if it is not read already. 0 or negative errno with `why`. */
int update_job_claims(struct update_job *job, char why[LISTS_WHY_MAX]);

#endif
