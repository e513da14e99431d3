#include "source_account.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const struct source source_starter = {
	.name = "starter",
	.url = "built in",
	.licence = "BSD-2-Clause",
	.sha256 = "",
	.format = PARSE_DOMAINS,
	.category = -1,
};

static json_t *folders_json(const struct source_folders *folders)
{
	json_t *json = json_array();

	for (size_t i = 0; i < folders->count; i++) {
		json_t *name = json_string(folders->name[i]);
		/* A name that is not UTF-8 cannot be said in JSON. */
		json_array_append_new(json, name != NULL ? name : json_string("?"));
	}
	return json;
}

static json_t *samples_json(const struct source_counts *counts)
{
	json_t *json = json_array();

	for (unsigned i = 0; i < counts->sample_count; i++) {
		const struct source_sample *sample = &counts->samples[i];
		json_t *entry = json_string(sample->entry);
		json_array_append_new(
		        json, json_pack("{s:o, s:I, s:s}", "entry", entry != NULL ? entry : json_string("?"),
		                      "line", (json_int_t)sample->line, "reason",
		                      parse_reason_key(sample->reason)));
	}
	return json;
}

json_t *source_account_new(const struct source *source, const struct source_content *content,
        const char *const *categories, size_t category_count)
{
	const struct source_counts *counts = &content->counts;
	json_t *skipped = json_object(), *by_category = json_object();
	char settings[FETCH_SHA256_TEXT];

	if (source_account_settings(source, categories, settings) < 0)
		settings[0] = '\0';
	for (unsigned i = 0; i < PARSE_REASON_COUNT; i++)
		json_object_set_new(
		        skipped, parse_reason_key(i), json_integer((json_int_t)counts->skipped[i]));
	for (size_t i = 0; i < category_count; i++)
		if (counts->category[i] > 0)
			json_object_set_new(
			        by_category, categories[i], json_integer((json_int_t)counts->category[i]));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:o, "
	                 "s:o, s:o, s:o, s:o, s:n}",
	        "name", source->name, "url", source->url, "format", parse_format_name(content->format),
	        "licence", source->licence, "sha256", "", "size", 0, "etag", "", "last_modified", "",
	        "fetched_at", (json_int_t)time(NULL), "changed_at", (json_int_t)time(NULL), "settings",
	        settings, "read", (json_int_t)counts->read, "taken", (json_int_t)counts->taken, "duplicate",
	        (json_int_t)counts->duplicate, "covered", (json_int_t)counts->covered, "skipped", skipped,
	        "categories", by_category, "ignored", folders_json(&content->ignored), "missing",
	        folders_json(&content->missing), "left_out", content->forbidden, "samples",
	        samples_json(counts), "accepted");
}

static void set_text(json_t *account, const char *key, const char *text)
{
	json_t *value = json_string(text);

	/* A header may hold what is not UTF-8; then the next run asks without it. */
	json_object_set_new(account, key, value != NULL ? value : json_string(""));
}

void source_account_fetched(json_t *account, const struct fetch_result *result)
{
	set_text(account, "etag", result->etag);
	set_text(account, "last_modified", result->last_modified);
	set_text(account, "sha256", result->sha256);
	json_object_set_new(account, "size", json_integer((json_int_t)result->size));
}

int source_account_settings(
        const struct source *source, const char *const *categories, char hex[FETCH_SHA256_TEXT])
{
	char *text = NULL;
	size_t len = 0;
	FILE *memory = open_memstream(&text, &len);

	if (memory == NULL)
		return -ENOMEM;
	fprintf(memory, "%s\n%s\n", parse_format_name(source->format),
	        source->category >= 0 ? categories[source->category] : "");
	for (size_t i = 0; i < source->map_count; i++)
		fprintf(memory, "%s=%s\n", source->map[i].folder, categories[source->map[i].category]);
	int ret = fclose(memory) == 0 ? fetch_sha256(text, len, hex) : -ENOMEM;
	free(text);
	return ret;
}
