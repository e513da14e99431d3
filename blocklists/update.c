#include "update.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compile.h"
#include "download.h"
#include "fetch.h"
#include "generations.h"
#include "member.h"
#include "source_account.h"
#include "update_job.h"

struct update {
	const struct update_options *options;
	struct update_result *result;
	char *why;
	char work[PATH_MAX];
	struct update_job *jobs;
	size_t job_count;
	struct download *downloads;
	char inputs[FETCH_SHA256_TEXT];
	char guards[FETCH_SHA256_TEXT]; /* fingerprint of the names that no list may block */
};

const char *update_state_name(enum update_state state)
{
	static const char *const names[] = { "unchanged", "taken", "held", "failed" };

	return names[state];
}

/* ---- the run ---- */

static int job_add(struct update *update, const struct source *source)
{
	struct update_job *job = &update->jobs[update->job_count++];

	job->options = update->options;
	job->work = update->work;
	job->guards = update->guards;
	return update_job_init(job, source, update->why);
}

static int jobs_init(struct update *update)
{
	const struct update_options *options = update->options;
	int ret = 0;

	update->jobs = calloc(options->source_count + 1, sizeof *update->jobs);
	if (update->jobs == NULL)
		return -ENOMEM;
	if (options->starter != NULL)
		ret = job_add(update, &source_starter);
	for (size_t i = 0; ret == 0 && i < options->source_count; i++) {
		if (options->starter != NULL && strcmp(options->sources[i].name, source_starter.name) == 0) {
			snprintf(update->why, LISTS_WHY_MAX, "a source is called %s, as the built-in one",
			        source_starter.name);
			return -EINVAL;
		}
		ret = job_add(update, &options->sources[i]);
	}
	return ret;
}

static bool is_wanted(const struct update *update, const struct update_job *job)
{
	const char *only = update->options->only;

	return only == NULL || strcmp(only, job->source->name) == 0;
}

/* Downloads all that are asked for, side by side. */
static int jobs_download(struct update *update)
{
	const struct update_options *options = update->options;
	size_t count = 0;
	int ret = 0;

	update->downloads = calloc(update->job_count + 1, sizeof *update->downloads);
	if (update->downloads == NULL)
		return -ENOMEM;
	for (size_t i = 0; ret == 0 && i < update->job_count && !options->offline; i++) {
		struct update_job *job = &update->jobs[i];
		if (update_job_is_starter(job) || !is_wanted(update, job))
			continue;
		ret = update_job_ask(job, &update->downloads[count++]);
	}
	return ret < 0 ? ret : download_all(&options->fetch, update->downloads, count);
}

static int jobs_update(struct update *update)
{
	const struct update_options *options = update->options;
	bool found = options->only == NULL;

	for (size_t i = 0; i < update->job_count; i++) {
		struct update_job *job = &update->jobs[i];
		bool wanted = is_wanted(update, job);
		int ret = 0;
		if (update_job_is_starter(job))
			ret = update_job_starter(job);
		else if (job->download != NULL)
			ret = update_job_go_on(job);
		if (ret < 0)
			return ret;
		found = found || wanted;
		update->result->held += job->state == UPDATE_HELD;
		update->result->failed += job->state == UPDATE_FAILED;
		const struct update_report report = { job->source->name, job->state, job->why,
			job->good != NULL, job->good };
		if (options->report != NULL && wanted)
			options->report(options->arg, &report);
	}
	if (!found)
		snprintf(update->why, LISTS_WHY_MAX, "no source is called %.200s", options->only);
	return found ? 0 : -ENOENT;
}

static int guards_of(struct update *update)
{
	const struct update_options *options = update->options;
	char *text = NULL, name[NAME_TEXT_MAX];
	size_t len = 0;
	FILE *memory = open_memstream(&text, &len);

	if (memory == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < options->guard_count; i++) {
		name_to_text(&options->guards[i].name, name);
		fprintf(memory, "%s %d %d\n", name, options->guards[i].below, options->guards[i].own);
	}
	fprintf(memory, "%" PRIx64 "\n", options->sealed);
	int ret = fclose(memory) == 0 ? fetch_sha256(text, len, update->guards) : -ENOMEM;
	free(text);
	return ret;
}

/* A fingerprint of all that the generation is made from: what is the same again needs no new one. */
static int inputs_of(struct update *update)
{
	const struct update_options *options = update->options;
	char *text = NULL;
	size_t len = 0;
	FILE *memory = open_memstream(&text, &len);

	if (memory == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < options->category_count; i++)
		fprintf(memory, "%s\n", options->categories[i]);
	fprintf(memory, "%s\n", update->guards);
	for (size_t i = 0; i < update->job_count; i++)
		if (update->jobs[i].good != NULL)
			fprintf(memory, "%s %s %s\n", update->jobs[i].source->name, update->jobs[i].settings,
			        member_text(update->jobs[i].good, "sha256"));
	int ret = fclose(memory) == 0 ? fetch_sha256(text, len, update->inputs) : -ENOMEM;
	free(text);
	return ret;
}

/* True if the current generation was made from the same, and is whole. */
static bool current_is_the_same(struct update *update)
{
	const struct update_options *options = update->options;
	uint64_t id = lists_current_id(options->dir);
	char why[LISTS_WHY_MAX];
	struct lists *lists;
	json_t *manifest;

	if (id == 0 || generations_manifest(options->dir, id, &manifest) < 0)
		return false;
	bool same = strcmp(member_text(manifest, "inputs"), update->inputs) == 0;
	json_decref(manifest);
	if (!same ||
	        lists_open(&lists, options->dir, NULL, options->categories, options->category_count, why) < 0)
		return false;
	lists_free(lists);
	return true;
}

/*
 * False if a source that the current generation has, and the configuration still has, is without content: its
 * files were lost. A generation without it would be a hole in the filter, so the current one stays.
 */
static bool nothing_was_lost(struct update *update)
{
	json_t *manifest, *source;
	size_t i;

	if (generations_manifest(update->options->dir, lists_current_id(update->options->dir), &manifest) < 0)
		return true;
	json_array_foreach(json_object_get(manifest, "sources"), i,
	        source) for (size_t k = 0; k < update->job_count;
	                     k++) if (update->jobs[k].good == NULL &&
	                              strcmp(update->jobs[k].source->name, member_text(source, "name")) == 0)
	        snprintf(update->why, LISTS_WHY_MAX,
	                "%s: the content kept of it is lost, and it was not fetched anew",
	                update->jobs[k].source->name);
	json_decref(manifest);
	return update->why[0] == '\0';
}

/* Shows the checked generation to who asks, and makes it current: for a preview, it ends there. */
static int publish(struct update *update, uint64_t id)
{
	const struct update_options *options = update->options;
	char path[PATH_MAX];

	int ret = generations_path(path, sizeof path, update->work, id, "mdb");
	if (ret == 0 && options->made != NULL)
		options->made(options->arg, path);
	if (ret < 0 || options->preview)
		return ret;
	ret = generations_publish(options->dir, update->work, id);
	if (ret == 0)
		ret = generations_prune(options->dir, options->keep_generations);
	update->result->published = ret == 0;
	return ret;
}

/* Compiles all sources that have content, and publishes. */
static int compile_and_publish(struct update *update)
{
	const struct update_options *options = update->options;
	struct claims **claims = calloc(update->job_count + 1, sizeof(struct claims *));
	struct compile_options compile = {
		.work = update->work,
		.id = generations_next(options->dir),
		.categories = options->categories,
		.category_count = options->category_count,
		.claims = claims,
		.sources = json_array(),
		.starter = true,
		.inputs = update->inputs,
	};
	int ret = claims == NULL || compile.sources == NULL ? -ENOMEM : 0;

	for (size_t i = 0; ret == 0 && i < update->job_count; i++) {
		struct update_job *job = &update->jobs[i];
		if (job->good == NULL)
			continue;
		ret = update_job_claims(job, update->why);
		claims[compile.source_count++] = job->content.claims;
		compile.starter = compile.starter && update_job_is_starter(job);
		json_array_append(compile.sources, job->good);
	}
	if (ret == 0 && compile.source_count == 0) {
		snprintf(update->why, LISTS_WHY_MAX, "no source has any content");
		ret = -ENODATA;
	}
	if (ret == 0)
		ret = compile_generation(&compile, &update->result->names, update->why);
	if (ret == 0)
		ret = publish(update, compile.id);
	json_decref(compile.sources);
	free(claims);
	return ret;
}

static int run(struct update *update)
{
	const struct update_options *options = update->options;

	int ret = generations_begin(options->dir, options->resume, update->work, sizeof update->work);
	if (ret < 0)
		return ret;
	update->result->pinned = ret > 0 && !options->preview;
	if (update->result->pinned)
		return 0;
	fetch_init();
	ret = guards_of(update);
	if (ret == 0)
		ret = jobs_init(update);
	if (ret == 0)
		ret = jobs_download(update);
	if (ret == 0)
		ret = jobs_update(update);
	if (ret == 0)
		ret = inputs_of(update);
	if (ret < 0 || (!options->force && current_is_the_same(update)))
		return ret;
	return nothing_was_lost(update) ? compile_and_publish(update) : -ENODATA;
}

int update_run(const struct update_options *options, struct update_result *result, char why[LISTS_WHY_MAX])
{
	struct update update = { .options = options, .result = result, .why = why };

	memset(result, 0, sizeof *result);
	why[0] = '\0';
	int lock = generations_lock(options->dir, GENERATIONS_LOCK_WAIT_S, why);
	if (lock < 0)
		return lock;
	int ret = run(&update);
	if (ret < 0 && why[0] == '\0')
		snprintf(why, LISTS_WHY_MAX, "%.300s: %s", options->dir, strerror(-ret));
	for (size_t i = 0; i < update.job_count; i++)
		update_job_clear(&update.jobs[i]);
	free(update.jobs);
	free(update.downloads);
	if (options->preview)
		generations_work(options->dir, update.work, sizeof update.work);
	result->id = lists_current_id(options->dir);
	close(lock);
	return ret;
}
