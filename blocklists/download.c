#include "download.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "zone.h"

#define SIGNATURE_SUFFIX ".minisig"
#define ZONES_AT_ONCE 8

static bool is_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

static void refuse(struct download *download, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void refuse(struct download *download, const char *format, ...)
{
	char why[LISTS_WHY_MAX]; /* the arguments may lie where it goes */
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof why, format, args);
	va_end(args);
	memcpy(download->why, why, sizeof why);
	download->status = -EIO;
	unlink(download->path);
}

static void check_pin(struct download *download)
{
	const char *pin = download->source->sha256;

	if (is_given(pin) && strcasecmp(pin, download->result.sha256) != 0)
		refuse(download, "its sha256 is %s, not the one configured", download->result.sha256);
}

static bool is_new(const struct download *download)
{
	return download->status == 0 && !download->result.unchanged;
}

static void download_begin(const struct download *download, struct fetch *fetch)
{
	*fetch = (struct fetch){ .name = download->source->name,
		.url = download->source->url,
		.etag = download->etag,
		.last_modified = download->last_modified };
	memcpy(fetch->path, download->path, sizeof download->path);
}

static void download_end(struct download *download, const struct fetch *fetch)
{
	download->status = fetch->status;
	download->result = fetch->result;
	memcpy(download->why, fetch->why, sizeof download->why);
	if (is_new(download))
		check_pin(download);
}

/* ---- zones: each by a thread, since a primary that is slow to answer is waited for ---- */

struct zones {
	const struct fetch_options *options;
	struct download *downloads;
	size_t count;
	atomic_size_t next; /* nobody has taken it yet */
	pthread_t threads[ZONES_AT_ONCE];
	unsigned thread_count;
};

static void fetch_zone(const struct fetch_options *options, struct download *download)
{
	struct fetch fetch;
	const struct zone_options zone = { .key = download->source->tsig,
		.held = download->etag[0] != '\0' ? download->held : NULL,
		.size_max = options->size_max,
		.seconds_max = options->seconds_max };

	download_begin(download, &fetch);
	zone_fetch(&zone, &fetch);
	download_end(download, &fetch);
}

static void *fetch_zones(void *arg)
{
	struct zones *zones = arg;
	size_t i;

	while ((i = atomic_fetch_add(&zones->next, 1)) < zones->count)
		if (zone_is_url(zones->downloads[i].source->url))
			fetch_zone(zones->options, &zones->downloads[i]);
	return NULL;
}

static void zones_start(
        struct zones *zones, const struct fetch_options *options, struct download *downloads, size_t count)
{
	size_t wanted = 0;

	*zones = (struct zones){ .options = options, .downloads = downloads, .count = count };
	for (size_t i = 0; i < count; i++)
		wanted += zone_is_url(downloads[i].source->url);
	while (zones->thread_count < wanted && zones->thread_count < ZONES_AT_ONCE &&
	        pthread_create(&zones->threads[zones->thread_count], NULL, fetch_zones, zones) == 0)
		zones->thread_count++;
}

/* What no thread could be had for is fetched here. */
static void zones_end(struct zones *zones)
{
	fetch_zones(zones);
	for (unsigned i = 0; i < zones->thread_count; i++)
		pthread_join(zones->threads[i], NULL);
}

/* ---- lists ---- */

static void fetch_lists(const struct fetch_options *options, struct download *downloads,
        struct fetch *fetches, struct download **owner, size_t count)
{
	size_t lists = 0;

	for (size_t i = 0; i < count; i++) {
		if (zone_is_url(downloads[i].source->url))
			continue;
		download_begin(&downloads[i], &fetches[lists]);
		owner[lists++] = &downloads[i];
	}
	fetch_all(options, fetches, lists);
	for (size_t i = 0; i < lists; i++)
		download_end(owner[i], &fetches[i]);
}

/* ---- signatures ---- */

/* The file at path, at most size octets; -1 if it cannot be read. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return -1;
	size_t len = fread(text, 1, size, file);
	bool bad = ferror(file) != 0;
	fclose(file);
	return bad ? -1 : (ssize_t)len;
}

static void check_signature(struct download *download, const struct fetch *fetched)
{
	char text[SIGNATURE_FILE_MAX], why[LISTS_WHY_MAX] = "";
	struct signature_key key;

	if (fetched->status < 0) {
		refuse(download, "its signature was not fetched: %.300s", fetched->why);
		return;
	}
	ssize_t len = read_file(fetched->path, text, sizeof text);
	unlink(fetched->path);
	int ret = len < 0 ? -EIO : signature_key_parse(&key, download->source->key);
	if (ret == 0)
		ret = signature_verify(
		        &key, download->path, text, (size_t)len, download->signed_comment, why);
	if (ret < 0)
		refuse(download, "%s", why[0] != '\0' ? why : strerror(-ret));
}

/* Fills in what is to be fetched; owner says whose it is. Returns how many, or -ENOMEM. */
static ssize_t signatures_of(
        struct download *downloads, struct fetch *fetches, struct download **owner, size_t count)
{
	size_t wanted = 0;

	for (size_t i = 0; i < count; i++) {
		const struct source *source = downloads[i].source;
		struct fetch *fetch = &fetches[wanted];
		char *url;
		if (!is_given(source->key) || !is_new(&downloads[i]))
			continue;
		*fetch = (struct fetch){ .name = source->name, .etag = "", .last_modified = "" };
		owner[wanted++] = &downloads[i];
		if (asprintf(&url, "%s%s", is_given(source->signature) ? source->signature : source->url,
		            is_given(source->signature) ? "" : SIGNATURE_SUFFIX) < 0)
			return -ENOMEM;
		fetch->url = url;
		if (snprintf(fetch->path, sizeof fetch->path, "%s" SIGNATURE_SUFFIX, downloads[i].path) >=
		        (int)sizeof fetch->path)
			return -ENOMEM;
	}
	return (ssize_t)wanted;
}

static int fetch_signatures(const struct fetch_options *lists_options, struct download *downloads,
        struct fetch *fetches, struct download **owner, size_t count)
{
	struct fetch_options options = *lists_options;
	ssize_t wanted = signatures_of(downloads, fetches, owner, count);

	if (wanted < 0)
		return (int)wanted;
	options.size_max = SIGNATURE_FILE_MAX;
	options.progress = NULL;
	fetch_all(&options, fetches, (size_t)wanted);
	for (ssize_t i = 0; i < wanted; i++)
		check_signature(owner[i], &fetches[i]);
	return 0;
}

int download_all(const struct fetch_options *options, struct download *downloads, size_t count)
{
	struct fetch *fetches = calloc(count + 1, sizeof *fetches);
	struct fetch *signatures = calloc(count + 1, sizeof *signatures);
	struct download **owner = calloc(count + 1, sizeof *owner);
	struct zones zones;
	int ret = fetches != NULL && signatures != NULL && owner != NULL ? 0 : -ENOMEM;

	if (ret == 0) {
		zones_start(&zones, options, downloads, count);
		fetch_lists(options, downloads, fetches, owner, count);
		zones_end(&zones);
		ret = fetch_signatures(options, downloads, signatures, owner, count);
	}
	for (size_t i = 0; signatures != NULL && i < count; i++)
		free((void *)(uintptr_t)signatures[i].url);
	free(fetches);
	free(signatures);
	free(owner);
	return ret;
}
