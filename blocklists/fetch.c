#include "fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "transfer.h"

#define SHA256_LEN 32
#define READ_BLOCK 65536
#define POLL_MS 200
#define PROGRESS_MS 100

/* All that run side by side. */
struct crowd {
	const struct fetch_options *options;
	struct fetch *fetches;
	size_t count, begun, done;
	CURLM *multi;
	struct transfer *running[FETCH_AT_ONCE]; /* NULL: a free place */
	uint64_t told_ms;                        /* when progress was told last */
};

void fetch_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- digests ---- */

static void hex_of(const uint8_t digest[SHA256_LEN], char hex[FETCH_SHA256_TEXT])
{
	for (unsigned i = 0; i < SHA256_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

int fetch_sha256(const void *data, size_t len, char hex[FETCH_SHA256_TEXT])
{
	uint8_t digest[SHA256_LEN];

	if (EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	hex_of(digest, hex);
	return 0;
}

static int hash_stream(FILE *file, EVP_MD_CTX *hash, uint8_t digest[SHA256_LEN])
{
	char data[READ_BLOCK];
	size_t got;

	if (EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	while ((got = fread(data, 1, sizeof data, file)) > 0)
		EVP_DigestUpdate(hash, data, got);
	if (ferror(file))
		return -EIO;
	return EVP_DigestFinal_ex(hash, digest, NULL) == 1 ? 0 : -ENOMEM;
}

int fetch_sha256_file(const char *path, char hex[FETCH_SHA256_TEXT])
{
	uint8_t digest[SHA256_LEN];
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return -errno;
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	int ret = hash != NULL ? hash_stream(file, hash, digest) : -ENOMEM;
	if (ret == 0)
		hex_of(digest, hex);
	EVP_MD_CTX_free(hash);
	fclose(file);
	return ret;
}

/* ---- several at once ---- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void crowd_tell(struct crowd *crowd)
{
	struct fetch_progress progress = { .done = crowd->done, .count = crowd->count };
	uint64_t now = now_ms(), parts = 1000 * crowd->done;

	if (crowd->options->progress == NULL ||
	        (now - crowd->told_ms < PROGRESS_MS && crowd->done < crowd->count))
		return;
	crowd->told_ms = now;
	for (size_t i = 0; i < crowd->begun; i++)
		progress.got += crowd->fetches[i].result.size;
	for (unsigned i = 0; i < FETCH_AT_ONCE; i++) {
		if (crowd->running[i] == NULL)
			continue;
		parts += transfer_permille(crowd->running[i]);
		if (progress.name == NULL)
			progress.name = transfer_fetch(crowd->running[i])->name;
	}
	progress.permille = (unsigned)(parts / crowd->count);
	crowd->options->progress(crowd->options->progress_arg, &progress);
}

static void fail_for_memory(struct fetch *fetch)
{
	fetch->status = -EIO;
	snprintf(fetch->why, sizeof fetch->why, "out of memory");
}

/* Begins the next one in a free place. */
static void crowd_begin(struct crowd *crowd, struct transfer **place)
{
	struct fetch *fetch = &crowd->fetches[crowd->begun++];

	*place = transfer_new(crowd->options, fetch);
	if (*place != NULL && curl_multi_add_handle(crowd->multi, transfer_handle(*place)) == CURLM_OK)
		return;
	if (fetch->status == 0)
		fail_for_memory(fetch);
	transfer_free(*place);
	*place = NULL;
	crowd->done++;
}

static void crowd_fill(struct crowd *crowd)
{
	for (unsigned i = 0; i < FETCH_AT_ONCE; i++)
		while (crowd->running[i] == NULL && crowd->begun < crowd->count)
			crowd_begin(crowd, &crowd->running[i]);
}

static void crowd_ended(struct crowd *crowd, CURL *curl, CURLcode code)
{
	unsigned place = 0;

	curl_multi_remove_handle(crowd->multi, curl);
	while (place < FETCH_AT_ONCE &&
	        (crowd->running[place] == NULL || transfer_handle(crowd->running[place]) != curl))
		place++;
	if (place == FETCH_AT_ONCE)
		return;
	if (transfer_ended(crowd->running[place], code)) {
		if (curl_multi_add_handle(crowd->multi, curl) == CURLM_OK)
			return;
		fail_for_memory(transfer_fetch(crowd->running[place]));
	}
	transfer_free(crowd->running[place]);
	crowd->running[place] = NULL;
	crowd->done++;
}

static void crowd_run(struct crowd *crowd)
{
	while (crowd->done < crowd->count) {
		CURLMsg *message;
		int running, left;

		crowd_fill(crowd);
		curl_multi_perform(crowd->multi, &running);
		while ((message = curl_multi_info_read(crowd->multi, &left)) != NULL)
			if (message->msg == CURLMSG_DONE)
				crowd_ended(crowd, message->easy_handle, message->data.result);
		crowd_tell(crowd);
		if (running > 0)
			curl_multi_poll(crowd->multi, NULL, 0, POLL_MS, NULL);
	}
}

void fetch_all(const struct fetch_options *options, struct fetch *fetches, size_t count)
{
	struct crowd crowd = {
		.options = options, .fetches = fetches, .count = count, .multi = curl_multi_init()
	};

	for (size_t i = 0; i < count; i++) {
		fetches[i].status = crowd.multi != NULL ? 0 : -EIO;
		fetches[i].result = (struct fetch_result){ .size = 0 };
		snprintf(fetches[i].why, sizeof fetches[i].why, "%s",
		        crowd.multi != NULL ? "" : "out of memory");
	}
	if (crowd.multi == NULL)
		return;
	crowd_run(&crowd);
	curl_multi_cleanup(crowd.multi);
}
