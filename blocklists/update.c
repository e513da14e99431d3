#include "update.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "compile.h"
#include "download.h"
#include "fetch.h"
#include "generations.h"
#include "judge.h"
#include "manifest.h"
#include "member.h"
#include "source_account.h"

/* One source during a run. */
struct job {
	const struct source *source;
	char dir[PATH_MAX]; /* its folder */
	json_t *good;       /* account of the last good content, NULL if there is none */
	json_t *trouble;    /* state.json: held and failed */
	char settings[FETCH_SHA256_TEXT];
	enum update_state state;
	char why[LISTS_WHY_MAX];
	struct download *download;     /* update's, NULL: not asked for */
	struct source_content content; /* with claims once it was read */
};

struct update {
	const struct update_options *options;
	struct update_result *result;
	char *why;
	char work[PATH_MAX];
	struct job *jobs;
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

/* ---- a source's folder ---- */

static int path_in(char path[PATH_MAX], const char *dir, const char *name)
{
	int len = snprintf(path, PATH_MAX, "%s/%s", dir, name);

	return len < 0 || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* A source's name becomes a folder's: nothing that could be a path. */
static bool is_folder_name(const char *name)
{
	if (name[0] == '\0' || name[0] == '.' || strlen(name) > 100)
		return false;
	for (const char *at = name; *at != '\0'; at++)
		if (*at == '/' || (unsigned char)*at <= ' ')
			return false;
	return true;
}

static int folder_of(char path[PATH_MAX], const char *dir, const char *source)
{
	int len = snprintf(path, PATH_MAX, "%s/sources/%s", dir, source);

	if (!is_folder_name(source))
		return -EINVAL;
	return len < 0 || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int folder_make(const char *dir, const char *source)
{
	char path[PATH_MAX];

	int ret = path_in(path, dir, "sources");
	if (ret < 0)
		return ret;
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return -errno;
	ret = folder_of(path, dir, source);
	if (ret < 0)
		return ret;
	return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

static json_t *json_in(const char *dir, const char *name)
{
	char path[PATH_MAX];
	json_t *json = NULL;

	return path_in(path, dir, name) == 0 && manifest_read(path, &json) == 0 ? json : NULL;
}

static int json_to(const char *dir, const char *name, const json_t *json)
{
	char path[PATH_MAX];
	int ret = path_in(path, dir, name);

	return ret < 0 ? ret : manifest_write(path, json);
}

static int move_in(const char *dir, const char *from, const char *to)
{
	char from_path[PATH_MAX], to_path[PATH_MAX];

	if (path_in(from_path, dir, from) < 0 || path_in(to_path, dir, to) < 0)
		return -ENAMETOOLONG;
	return rename(from_path, to_path) == 0 ? manifest_sync_dir(dir) : -errno;
}

static void remove_in(const char *dir, const char *name)
{
	char path[PATH_MAX];

	if (path_in(path, dir, name) == 0)
		unlink(path);
}

/* ---- trouble: held and failed, since when and why ---- */

static int64_t trouble_since(const struct job *job, const char *key, const char *sha256)
{
	const json_t *before = json_object_get(job->trouble, key);

	if (!json_is_object(before) || strcmp(member_text(before, "sha256"), sha256) != 0)
		return time(NULL);
	return member_number(before, "since");
}

/* Notes what is the matter now; what is no longer the matter is forgotten. */
static int trouble_write(struct job *job, const char *key, const char *sha256, bool acceptable)
{
	json_t *trouble = json_pack("{s:n, s:n}", "held", "failed");

	if (trouble == NULL)
		return -ENOMEM;
	if (key != NULL)
		json_object_set_new(trouble, key,
		        json_pack("{s:I, s:s, s:s, s:b}", "since",
		                (json_int_t)trouble_since(job, key, sha256), "why", job->why, "sha256",
		                sha256, "acceptable", acceptable));
	int ret = json_to(job->dir, "state.json", trouble);
	json_decref(job->trouble);
	job->trouble = trouble;
	return ret;
}

/* A fetch that failed: a candidate that is held meanwhile stays so. */
static int job_failed(struct job *job)
{
	job->state = UPDATE_FAILED;
	const json_t *held = json_object_get(job->trouble, "held");
	json_t *kept = json_is_object(held) ? json_deep_copy(held) : NULL;
	int ret = trouble_write(job, "failed", "", false);
	if (ret == 0 && kept != NULL) {
		json_object_set_new(job->trouble, "held", kept);
		ret = json_to(job->dir, "state.json", job->trouble);
	}
	return ret;
}

static void candidate_drop(struct job *job)
{
	remove_in(job->dir, "candidate");
	remove_in(job->dir, "candidate.json");
}

static int job_held(struct job *job, const struct fetch_result *fetched, json_t *account)
{
	job->state = UPDATE_HELD;
	candidate_drop(job);
	if (account == NULL) {
		remove_in(job->dir, "incoming");
		return trouble_write(job, "held", fetched->sha256, false);
	}
	int ret = move_in(job->dir, "incoming", "candidate");
	if (ret == 0)
		ret = json_to(job->dir, "candidate.json", account);
	json_decref(account);
	return ret < 0 ? ret : trouble_write(job, "held", fetched->sha256, true);
}

/* ---- one source ---- */

static struct source_reading reading_of(const struct update *update)
{
	return (struct source_reading){ .work = update->work,
		.memory = update->options->memory,
		.guards = update->options->guards,
		.guard_count = update->options->guard_count,
		.sealed = update->options->sealed };
}

static int read_in(
        const struct update *update, struct job *job, const char *file, struct source_content *content)
{
	const struct source_reading reading = reading_of(update);
	char path[PATH_MAX];
	int ret = path_in(path, job->dir, file);

	return ret < 0 ? ret : source_read(job->source, path, &reading, content, job->why);
}

static json_t *account_new(
        const struct update *update, const struct job *job, const struct source_content *content)
{
	json_t *account = source_account_new(
	        job->source, content, update->options->categories, update->options->category_count);

	json_object_set_new(account, "guards", json_string(update->guards));
	return account;
}

/* The account to compare with: the last good one, counted anew if the source was read in another way then and
 * still can be. */
static json_t *comparable_account(const struct update *update, struct job *job)
{
	struct source_content before;

	if (job->good == NULL || (strcmp(member_text(job->good, "settings"), job->settings) == 0 &&
	                                 strcmp(member_text(job->good, "guards"), update->guards) == 0))
		return json_incref(job->good);
	if (read_in(update, job, "good", &before) < 0)
		return json_incref(job->good);
	json_t *account = account_new(update, job, &before);
	source_content_clear(&before);
	return account != NULL ? account : json_incref(job->good);
}

/* Returns as judge(). */
static int job_passes_guards(const struct update *update, struct job *job, const json_t *account)
{
	const struct update_options *options = update->options;
	const struct judge_rules rules = { .categories = options->categories,
		.sealed = options->sealed,
		.max_shrink_percent = options->max_shrink_percent,
		.must_pass = options->must_pass,
		.must_pass_count = options->must_pass_count };
	json_t *before = comparable_account(update, job);
	const struct judge_case judged = { job->source, &job->content, account, before };

	int ret = judge(&rules, &judged, job->why);
	json_decref(before);
	return ret;
}

/* Makes what was fetched the last good content. */
static int job_take(struct job *job, json_t *account)
{
	int ret = move_in(job->dir, "incoming", "good");

	if (ret == 0)
		ret = json_to(job->dir, "good.json", account);
	if (ret < 0) {
		json_decref(account);
		return ret;
	}
	json_decref(job->good);
	job->good = account;
	job->state = UPDATE_TAKEN;
	job->why[0] = '\0';
	candidate_drop(job);
	return trouble_write(job, NULL, "", false);
}

/* The content held is still the newest. */
static int job_confirmed(struct job *job, const struct fetch_result *fetched)
{
	remove_in(job->dir, "incoming");
	candidate_drop(job);
	json_object_set_new(job->good, "fetched_at", json_integer((json_int_t)time(NULL)));
	if (!fetched->unchanged)
		source_account_fetched(job->good, fetched);
	int ret = json_to(job->dir, "good.json", job->good);
	return ret < 0 ? ret : trouble_write(job, NULL, "", false);
}

/* New content: read, judged, taken or held. */
static int job_judge(const struct update *update, struct job *job, const struct fetch_result *fetched)
{
	int ret = read_in(update, job, "incoming", &job->content);

	if (ret == -EBADMSG)
		return job_held(job, fetched, NULL);
	if (ret < 0)
		return ret;
	json_t *account = account_new(update, job, &job->content);
	if (account == NULL)
		return -ENOMEM;
	source_account_fetched(account, fetched);
	json_object_set_new(account, "signed", json_string(job->download->signed_comment));
	ret = job_passes_guards(update, job, account);
	if (ret > 0)
		return job_take(job, account);
	source_content_clear(&job->content);
	if (ret == 0)
		return job_held(job, fetched, account);
	json_decref(account);
	return ret;
}

/* True if the content held is what the configuration asks for now, so that the server may say "unchanged". */
static bool good_is_of_this_source(const struct job *job)
{
	return job->good != NULL && strcmp(member_text(job->good, "url"), job->source->url) == 0 &&
	       strcmp(member_text(job->good, "settings"), job->settings) == 0;
}

/* Goes on with what was downloaded. */
static int job_update(const struct update *update, struct job *job)
{
	const struct fetch_result *fetched = &job->download->result;
	int ret = job->download->status;

	if (ret == 0) {
		bool same = fetched->unchanged ||
		            (good_is_of_this_source(job) &&
		                    strcmp(fetched->sha256, member_text(job->good, "sha256")) == 0);
		ret = same ? job_confirmed(job, fetched) : job_judge(update, job, fetched);
	} else {
		memcpy(job->why, job->download->why, sizeof job->why);
	}
	if (ret == 0)
		return 0;
	/* What goes wrong with one source, a full disk included, is that source's failure: the others go
	 * ahead. */
	if (job->why[0] == '\0')
		snprintf(job->why, sizeof job->why, "%s", strerror(-ret));
	remove_in(job->dir, "incoming");
	source_content_clear(&job->content);
	job_failed(job);
	return 0;
}

/* The starter list comes with the program: always there, always good. */
static int job_starter(const struct update *update, struct job *job)
{
	const struct update_options *options = update->options;
	const struct source_reading reading = reading_of(update);
	struct fetch_result fetched = { .size = options->starter_len };

	int ret = fetch_sha256(options->starter, options->starter_len, fetched.sha256);
	if (ret < 0)
		return ret;
	if (job->good != NULL && strcmp(member_text(job->good, "sha256"), fetched.sha256) == 0)
		return job_confirmed(job, &fetched);
	ret = source_read_starter(options->starter, options->starter_len, options->categories,
	        options->category_count, &reading, &job->content, job->why);
	if (ret < 0)
		return ret;
	json_decref(job->good);
	job->good =
	        source_account_new(job->source, &job->content, options->categories, options->category_count);
	if (job->good == NULL)
		return -ENOMEM;
	source_account_fetched(job->good, &fetched);
	job->state = UPDATE_TAKEN;
	return json_to(job->dir, "good.json", job->good);
}

static bool is_starter(const struct job *job)
{
	return job->source == &source_starter;
}

/* Reads the last good content for the compile, if this run has not read it already. */
static int job_claims(const struct update *update, struct job *job)
{
	const struct update_options *options = update->options;
	char why[LISTS_WHY_MAX];
	int ret;

	if (job->content.claims != NULL)
		return 0;
	memcpy(why, job->why, sizeof why);
	if (is_starter(job)) {
		const struct source_reading reading = reading_of(update);
		ret = source_read_starter(options->starter, options->starter_len, options->categories,
		        options->category_count, &reading, &job->content, job->why);
	} else {
		ret = read_in(update, job, "good", &job->content);
	}
	if (ret < 0) {
		snprintf(update->why, LISTS_WHY_MAX, "%s: its last good content: %.400s", job->source->name,
		        job->why);
		/* Asked for without conditions, the next run brings it anew. */
		json_object_set_new(job->good, "settings", json_string(""));
		json_to(job->dir, "good.json", job->good);
		return ret;
	}
	memcpy(job->why, why, sizeof why);
	return 0;
}

static int job_init(struct update *update, struct job *job, const struct source *source)
{
	job->source = source;
	int ret = folder_make(update->options->dir, source->name);
	if (ret < 0) {
		snprintf(update->why, LISTS_WHY_MAX, "%.100s: its folder cannot be made: %s", source->name,
		        strerror(-ret));
		return ret;
	}
	ret = folder_of(job->dir, update->options->dir, source->name);
	if (ret == 0)
		ret = source_account_settings(source, update->options->categories, job->settings);
	job->good = json_in(job->dir, "good.json");
	job->trouble = json_in(job->dir, "state.json");
	return ret;
}

static void job_clear(struct job *job)
{
	source_content_clear(&job->content);
	json_decref(job->good);
	json_decref(job->trouble);
}

/* ---- the run ---- */

static int jobs_init(struct update *update)
{
	const struct update_options *options = update->options;
	int ret = 0;

	update->jobs = calloc(options->source_count + 1, sizeof *update->jobs);
	if (update->jobs == NULL)
		return -ENOMEM;
	if (options->starter != NULL)
		ret = job_init(update, &update->jobs[update->job_count++], &source_starter);
	for (size_t i = 0; ret == 0 && i < options->source_count; i++) {
		if (options->starter != NULL && strcmp(options->sources[i].name, source_starter.name) == 0) {
			snprintf(update->why, LISTS_WHY_MAX, "a source is called %s, as the built-in one",
			        source_starter.name);
			return -EINVAL;
		}
		ret = job_init(update, &update->jobs[update->job_count++], &options->sources[i]);
	}
	return ret;
}

static bool is_wanted(const struct update *update, const struct job *job)
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
		struct job *job = &update->jobs[i];
		if (is_starter(job) || !is_wanted(update, job))
			continue;
		bool conditional = good_is_of_this_source(job) && !options->force;
		job->download = &update->downloads[count++];
		job->download->source = job->source;
		job->download->etag = conditional ? member_text(job->good, "etag") : "";
		job->download->last_modified = conditional ? member_text(job->good, "last_modified") : "";
		ret = path_in(job->download->path, job->dir, "incoming");
		if (ret == 0)
			ret = path_in(job->download->held, job->dir, "good");
	}
	return ret < 0 ? ret : download_all(&options->fetch, update->downloads, count);
}

static int jobs_update(struct update *update)
{
	const struct update_options *options = update->options;
	bool found = options->only == NULL;

	for (size_t i = 0; i < update->job_count; i++) {
		struct job *job = &update->jobs[i];
		bool wanted = is_wanted(update, job);
		int ret = 0;
		if (is_starter(job))
			ret = job_starter(update, job);
		else if (job->download != NULL)
			ret = job_update(update, job);
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
		struct job *job = &update->jobs[i];
		if (job->good == NULL)
			continue;
		ret = job_claims(update, job);
		claims[compile.source_count++] = job->content.claims;
		compile.starter = compile.starter && is_starter(job);
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

	int ret = generations_work(options->dir, update->work, sizeof update->work);
	if (ret == 0 && options->resume)
		ret = generations_unpin(options->dir);
	if (ret < 0)
		return ret;
	if (generations_pinned(options->dir) != 0 && !options->preview) {
		update->result->pinned = true;
		return 0;
	}
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
	int lock = generations_lock(options->dir, GENERATIONS_LOCK_WAIT_S);
	if (lock < 0) {
		snprintf(why, LISTS_WHY_MAX, "%.300s: %s", options->dir,
		        lock == -EBUSY ? "another update is running" : strerror(-lock));
		return lock;
	}
	int ret = run(&update);
	if (ret < 0 && why[0] == '\0')
		snprintf(why, LISTS_WHY_MAX, "%.300s: %s", options->dir, strerror(-ret));
	for (size_t i = 0; i < update.job_count; i++)
		job_clear(&update.jobs[i]);
	free(update.jobs);
	free(update.downloads);
	if (options->preview)
		generations_work(options->dir, update.work, sizeof update.work);
	result->id = lists_current_id(options->dir);
	close(lock);
	return ret;
}

/* ---- accounts, and a person's word ---- */

json_t *update_account(const char *dir, const char *source)
{
	char folder[PATH_MAX];

	if (folder_of(folder, dir, source) < 0)
		return NULL;
	json_t *trouble = json_in(folder, "state.json");
	json_t *account = json_in(folder, "good.json");
	if (trouble == NULL && account == NULL)
		return NULL;
	if (account == NULL)
		account = json_pack("{s:s}", "name", source);
	for (size_t i = 0; i < 2; i++) {
		const char *key = i == 0 ? "held" : "failed";
		json_t *value = json_object_get(trouble, key);
		json_object_set_new(account, key, value != NULL ? json_incref(value) : json_null());
	}
	json_decref(trouble);
	return account;
}

static int accept_candidate(const char *folder, const char *reason, const char *by, char why[LISTS_WHY_MAX])
{
	json_t *trouble = json_in(folder, "state.json"), *account = json_in(folder, "candidate.json");
	const json_t *held = json_object_get(trouble, "held");
	int ret = 0;

	if (!json_is_object(held)) {
		snprintf(why, LISTS_WHY_MAX, "is not held");
		ret = -ENOENT;
	} else if (account == NULL || !json_is_true(json_object_get(held, "acceptable"))) {
		snprintf(why, LISTS_WHY_MAX, "cannot be accepted: %.400s", member_text(held, "why"));
		ret = -EBADMSG;
	} else {
		json_object_set_new(account, "accepted",
		        json_pack(
		                "{s:s, s:s, s:I}", "reason", reason, "by", by, "at", (json_int_t)time(NULL)));
		ret = move_in(folder, "candidate", "good");
		if (ret == 0)
			ret = json_to(folder, "good.json", account);
		remove_in(folder, "candidate.json");
		remove_in(folder, "state.json");
	}
	json_decref(account);
	json_decref(trouble);
	return ret;
}

int update_accept(
        const char *dir, const char *source, const char *reason, const char *by, char why[LISTS_WHY_MAX])
{
	char folder[PATH_MAX];

	why[0] = '\0';
	int ret = folder_of(folder, dir, source);
	if (ret < 0) {
		snprintf(why, LISTS_WHY_MAX, "is no source");
		return ret;
	}
	int lock = generations_lock(dir, GENERATIONS_LOCK_WAIT_S);
	if (lock < 0) {
		snprintf(why, LISTS_WHY_MAX, "%.300s: %s", dir, strerror(-lock));
		return lock;
	}
	ret = accept_candidate(folder, reason, by, why);
	if (ret < 0 && why[0] == '\0')
		snprintf(why, LISTS_WHY_MAX, "%s", strerror(-ret));
	close(lock);
	return ret;
}
