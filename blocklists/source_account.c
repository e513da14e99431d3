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

/* A list or a header may hold what is not UTF-8 and cannot be said in JSON. */
static json_t *text_json(const char *text, const char *instead)
{
	json_t *json = json_string(text);

	return json != NULL ? json : json_string(instead);
}

static void set_text(json_t *account, const char *key, const char *text)
{
	json_object_set_new(account, key, text_json(text, ""));
}

static void set_number(json_t *account, const char *key, uint64_t number)
{
	json_object_set_new(account, key, json_integer((json_int_t)number));
}

static json_t *folders_json(const struct source_folders *folders)
{
	json_t *json = json_array();

	for (size_t i = 0; i < folders->count; i++)
		json_array_append_new(json, text_json(folders->name[i], "?"));
	return json;
}

static json_t *samples_json(const struct source_counts *counts)
{
	json_t *json = json_array();

	for (unsigned i = 0; i < counts->sample_count; i++) {
		const struct source_sample *sample = &counts->samples[i];
		json_t *entry = json_object();
		json_object_set_new(entry, "entry", text_json(sample->entry, "?"));
		set_number(entry, "line", sample->line);
		set_text(entry, "reason", parse_reason_key(sample->reason));
		json_array_append_new(json, entry);
	}
	return json;
}

static void set_counts(json_t *account, const struct source_counts *counts, const char *const *categories,
        size_t category_count)
{
	json_t *skipped = json_object(), *by_category = json_object();

	for (unsigned i = 0; i < PARSE_REASON_COUNT; i++)
		set_number(skipped, parse_reason_key(i), counts->skipped[i]);
	for (size_t i = 0; i < category_count; i++)
		if (counts->category[i] > 0)
			set_number(by_category, categories[i], counts->category[i]);
	set_number(account, "read", counts->read);
	set_number(account, "taken", counts->taken);
	set_number(account, "duplicate", counts->duplicate);
	set_number(account, "covered", counts->covered);
	set_number(account, "own", counts->own);
	set_number(account, "shared", counts->shared);
	json_object_set_new(account, "skipped", skipped);
	json_object_set_new(account, "categories", by_category);
}

json_t *source_account_new(const struct source *source, const struct source_content *content,
        const char *const *categories, size_t category_count)
{
	const struct fetch_result unknown = { .size = 0 };
	char settings[FETCH_SHA256_TEXT];
	json_t *account = json_object();

	if (account == NULL || source_account_settings(source, categories, settings) < 0) {
		json_decref(account);
		return NULL;
	}
	set_text(account, "name", source->name);
	set_text(account, "url", source->url);
	set_text(account, "format", parse_format_name(content->format));
	set_text(account, "licence", source->licence);
	source_account_fetched(account, &unknown);
	set_number(account, "fetched_at", (uint64_t)time(NULL));
	set_number(account, "changed_at", (uint64_t)time(NULL));
	set_text(account, "settings", settings);
	set_text(account, "signed", "");
	set_counts(account, &content->counts, categories, category_count);
	json_object_set_new(account, "ignored", folders_json(&content->ignored));
	json_object_set_new(account, "missing", folders_json(&content->missing));
	set_text(account, "left_out", content->forbidden);
	set_text(account, "shared_first", content->shared);
	json_object_set_new(account, "samples", samples_json(&content->counts));
	json_object_set_new(account, "accepted", json_null());
	return account;
}

void source_account_fetched(json_t *account, const struct fetch_result *result)
{
	set_text(account, "etag", result->etag);
	set_text(account, "last_modified", result->last_modified);
	set_text(account, "sha256", result->sha256);
	set_number(account, "size", result->size);
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
	if (source->key != NULL && source->key[0] != '\0')
		fprintf(memory, "key %s\n", source->key);
	int ret = fclose(memory) == 0 ? fetch_sha256(text, len, hex) : -ENOMEM;
	free(text);
	return ret;
}
