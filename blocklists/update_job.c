#include "update_job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "judge.h"
#include "manifest.h"
#include "member.h"
#include "source_account.h"
#include "source_folder.h"

int update_job_init(struct update_job *job, const struct source *source, char why[LISTS_WHY_MAX])
{
	const struct update_options *options = job->options;

	job->source = source;
	int ret = source_folder_make(options->dir, source->name);
	if (ret < 0) {
		snprintf(why, LISTS_WHY_MAX, "%.100s: its folder cannot be made: %s", source->name,
		        strerror(-ret));
		return ret;
	}
	ret = source_folder(job->dir, options->dir, source->name);
	if (ret == 0)
		ret = source_account_settings(source, options->categories, job->settings);
	job->good = source_folder_read(job->dir, "good.json");
	job->trouble = source_folder_read(job->dir, "state.json");
	return ret;
}

void update_job_clear(struct update_job *job)
{
	source_content_clear(&job->content);
	json_decref(job->good);
	json_decref(job->trouble);
}

bool update_job_is_starter(const struct update_job *job)
{
	return job->source == &source_starter;
}

/* ---- trouble: held and failed, since when and why ---- */

static int64_t trouble_since(const struct update_job *job, const char *key, const char *sha256)
{
	const json_t *before = json_object_get(job->trouble, key);

	if (!json_is_object(before) || strcmp(member_text(before, "sha256"), sha256) != 0)
		return time(NULL);
	return member_number(before, "since");
}

/* Notes what is the matter now; what is no longer the matter is forgotten. */
static int trouble_write(struct update_job *job, const char *key, const char *sha256, bool acceptable)
{
	json_t *trouble = json_pack("{s:n, s:n}", "held", "failed");

	if (trouble == NULL)
		return -ENOMEM;
	if (key != NULL)
		json_object_set_new(trouble, key,
		        json_pack("{s:I, s:s, s:s, s:b}", "since",
		                (json_int_t)trouble_since(job, key, sha256), "why", job->why, "sha256",
		                sha256, "acceptable", acceptable));
	int ret = source_folder_write(job->dir, "state.json", trouble);
	json_decref(job->trouble);
	job->trouble = trouble;
	return ret;
}

/* A fetch that failed: a candidate that is held meanwhile stays so. */
static int job_failed(struct update_job *job)
{
	job->state = UPDATE_FAILED;
	const json_t *held = json_object_get(job->trouble, "held");
	json_t *kept = json_is_object(held) ? json_deep_copy(held) : NULL;
	int ret = trouble_write(job, "failed", "", false);
	if (ret == 0 && kept != NULL) {
		json_object_set_new(job->trouble, "held", kept);
		ret = source_folder_write(job->dir, "state.json", job->trouble);
	}
	return ret;
}

static void candidate_drop(struct update_job *job)
{
	source_folder_remove(job->dir, "candidate");
	source_folder_remove(job->dir, "candidate.json");
}

static int job_held(struct update_job *job, const struct fetch_result *fetched, json_t *account)
{
	job->state = UPDATE_HELD;
	candidate_drop(job);
	if (account == NULL) {
		source_folder_remove(job->dir, "incoming");
		return trouble_write(job, "held", fetched->sha256, false);
	}
	int ret = source_folder_move(job->dir, "incoming", "candidate");
	if (ret == 0)
		ret = source_folder_write(job->dir, "candidate.json", account);
	json_decref(account);
	return ret < 0 ? ret : trouble_write(job, "held", fetched->sha256, true);
}

/* ---- one source ---- */

static struct source_reading reading_of(const struct update_job *job)
{
	return (struct source_reading){ .work = job->work,
		.memory = job->options->memory,
		.guards = job->options->guards,
		.guard_count = job->options->guard_count,
		.sealed = job->options->sealed };
}

static int read_in(struct update_job *job, const char *file, struct source_content *content)
{
	const struct source_reading reading = reading_of(job);
	char path[PATH_MAX];
	int ret = source_folder_path(path, job->dir, file);

	return ret < 0 ? ret : source_read(job->source, path, &reading, content, job->why);
}

static json_t *account_new(const struct update_job *job, const struct source_content *content)
{
	json_t *account = source_account_new(
	        job->source, content, job->options->categories, job->options->category_count);

	json_object_set_new(account, "guards", json_string(job->guards));
	return account;
}

/* The account to compare with: the last good one, counted anew if the source was read in another way then and
 * still can be. */
static json_t *comparable_account(struct update_job *job)
{
	struct source_content before;

	if (job->good == NULL || (strcmp(member_text(job->good, "settings"), job->settings) == 0 &&
	                                 strcmp(member_text(job->good, "guards"), job->guards) == 0))
		return json_incref(job->good);
	if (read_in(job, "good", &before) < 0)
		return json_incref(job->good);
	json_t *account = account_new(job, &before);
	source_content_clear(&before);
	return account != NULL ? account : json_incref(job->good);
}

/* Returns as judge(). */
static int job_passes_guards(struct update_job *job, const json_t *account)
{
	const struct update_options *options = job->options;
	const struct judge_rules rules = { .categories = options->categories,
		.sealed = options->sealed,
		.max_shrink_percent = options->max_shrink_percent,
		.must_pass = options->must_pass,
		.must_pass_count = options->must_pass_count };
	json_t *before = comparable_account(job);
	const struct judge_case judged = { job->source, &job->content, account, before };

	int ret = judge(&rules, &judged, job->why);
	json_decref(before);
	return ret;
}

/* Makes what was fetched the last good content. */
static int job_take(struct update_job *job, json_t *account)
{
	int ret = source_folder_move(job->dir, "incoming", "good");

	if (ret == 0)
		ret = source_folder_write(job->dir, "good.json", account);
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
static int job_confirmed(struct update_job *job, const struct fetch_result *fetched)
{
	source_folder_remove(job->dir, "incoming");
	candidate_drop(job);
	json_object_set_new(job->good, "fetched_at", json_integer((json_int_t)time(NULL)));
	if (!fetched->unchanged)
		source_account_fetched(job->good, fetched);
	int ret = source_folder_write(job->dir, "good.json", job->good);
	return ret < 0 ? ret : trouble_write(job, NULL, "", false);
}

/* New content: read, judged, taken or held. */
static int job_judge(struct update_job *job, const struct fetch_result *fetched)
{
	int ret = read_in(job, "incoming", &job->content);

	if (ret == -EBADMSG)
		return job_held(job, fetched, NULL);
	if (ret < 0)
		return ret;
	json_t *account = account_new(job, &job->content);
	if (account == NULL)
		return -ENOMEM;
	source_account_fetched(account, fetched);
	json_object_set_new(account, "signed", json_string(job->download->signed_comment));
	ret = job_passes_guards(job, account);
	if (ret > 0)
		return job_take(job, account);
	source_content_clear(&job->content);
	if (ret == 0)
		return job_held(job, fetched, account);
	json_decref(account);
	return ret;
}

/* True if the content held is what the configuration asks for now, so that the server may say "unchanged". */
static bool good_is_of_this_source(const struct update_job *job)
{
	return job->good != NULL && strcmp(member_text(job->good, "url"), job->source->url) == 0 &&
	       strcmp(member_text(job->good, "settings"), job->settings) == 0;
}

int update_job_ask(struct update_job *job, struct download *download)
{
	bool conditional = good_is_of_this_source(job) && !job->options->force;

	job->download = download;
	download->source = job->source;
	download->etag = conditional ? member_text(job->good, "etag") : "";
	download->last_modified = conditional ? member_text(job->good, "last_modified") : "";
	int ret = source_folder_path(download->path, job->dir, "incoming");
	return ret < 0 ? ret : source_folder_path(download->held, job->dir, "good");
}

int update_job_go_on(struct update_job *job)
{
	const struct fetch_result *fetched = &job->download->result;
	int ret = job->download->status;

	if (ret == 0) {
		bool same = fetched->unchanged ||
		            (good_is_of_this_source(job) &&
		                    strcmp(fetched->sha256, member_text(job->good, "sha256")) == 0);
		ret = same ? job_confirmed(job, fetched) : job_judge(job, fetched);
	} else {
		memcpy(job->why, job->download->why, sizeof job->why);
	}
	if (ret == 0)
		return 0;
	/* What goes wrong with one source, a full disk included, is that source's failure: the others go
	 * ahead. */
	if (job->why[0] == '\0')
		snprintf(job->why, sizeof job->why, "%s", strerror(-ret));
	source_folder_remove(job->dir, "incoming");
	source_content_clear(&job->content);
	job_failed(job);
	return 0;
}

/* The starter list comes with the program: always there, always good. */
int update_job_starter(struct update_job *job)
{
	const struct update_options *options = job->options;
	const struct source_reading reading = reading_of(job);
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
	return source_folder_write(job->dir, "good.json", job->good);
}

/* Reads the last good content for the compile, if this run has not read it already. */
int update_job_claims(struct update_job *job, char why[LISTS_WHY_MAX])
{
	const struct update_options *options = job->options;
	char said[LISTS_WHY_MAX];
	int ret;

	if (job->content.claims != NULL)
		return 0;
	memcpy(said, job->why, sizeof said);
	if (update_job_is_starter(job)) {
		const struct source_reading reading = reading_of(job);
		ret = source_read_starter(options->starter, options->starter_len, options->categories,
		        options->category_count, &reading, &job->content, job->why);
	} else {
		ret = read_in(job, "good", &job->content);
	}
	if (ret < 0) {
		snprintf(
		        why, LISTS_WHY_MAX, "%s: its last good content: %.400s", job->source->name, job->why);
		/* Asked for without conditions, the next run brings it anew. */
		json_object_set_new(job->good, "settings", json_string(""));
		source_folder_write(job->dir, "good.json", job->good);
		return ret;
	}
	memcpy(job->why, said, sizeof said);
	return 0;
}
