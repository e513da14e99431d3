#include "transfer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loopback.h"
#include "partial.h"

#define CONNECT_SECONDS 20L
#define CLOCK_MS 50 /* that curl's reading of a deadline and ours may differ by */

struct transfer {
	const struct fetch_options *options;
	struct fetch *fetch;
	struct partial partial;
	CURL *curl;
	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE];
	char *url; /* of this hop */
	uint64_t size_max, deadline_ms;
	unsigned hops, attempts;

	/* of the request that runs */
	uint64_t from;  /* octets that were there when it began: it asks for the rest */
	uint64_t total; /* of the whole, 0: not known */
	uint64_t range; /* where the server says that its part begins */
	bool begun;     /* its body did */
	bool too_big, not_the_rest, to_itself;
	int disk; /* negative errno of writing */
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint32_t seconds_max(const struct fetch_options *options)
{
	return options->seconds_max > 0 ? options->seconds_max : FETCH_SECONDS_MAX;
}

static long status_of(const struct transfer *transfer)
{
	long status = 0;

	curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static bool by_proxy(const struct transfer *transfer)
{
	const char *proxy = transfer->options->proxy;

	return proxy != NULL && proxy[0] != '\0' && !loopback_url(transfer->url);
}

/*
 * Asked for each connection, so that a name that resolves to this machine is caught as well as an address.
 * What goes by a proxy is resolved there, and this is the proxy's address.
 */
static curl_socket_t socket_wanted(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *transfer = arg;

	(void)purpose;
	if (transfer->hops > 0 && !by_proxy(transfer) && loopback_address(&address->addr)) {
		transfer->to_itself = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- a response arrives ---- */

/* Copies the value of a header of that name. */
static void header_value(const char *line, size_t len, const char *name, char to[FETCH_TAG_MAX])
{
	size_t at = strlen(name);

	if (len <= at || strncasecmp(line, name, at) != 0)
		return;
	while (at < len && (line[at] == ' ' || line[at] == '\t'))
		at++;
	while (len > at && (unsigned char)line[len - 1] <= ' ')
		len--;
	if (len - at >= FETCH_TAG_MAX)
		return;
	memcpy(to, line + at, len - at);
	to[len - at] = '\0';
}

static size_t header_arrived(char *line, size_t size, size_t count, void *arg)
{
	struct transfer *transfer = arg;
	struct fetch_result *result = &transfer->fetch->result;
	char range[FETCH_TAG_MAX] = "";
	size_t len = size * count;

	if (len > 5 && memcmp(line, "HTTP/", 5) == 0) { /* another response: the one before was provisional */
		result->etag[0] = result->last_modified[0] = '\0';
		transfer->range = UINT64_MAX;
	}
	header_value(line, len, "etag:", result->etag);
	header_value(line, len, "last-modified:", result->last_modified);
	header_value(line, len, "content-range:", range);
	if (strncasecmp(range, "bytes ", 6) == 0)
		transfer->range = strtoull(range + 6, NULL, 10);
	return len;
}

/* What the content can be asked for by, later, to go on with it: RFC 9110, 13.1.5. */
static const char *validator_of(const struct fetch_result *result)
{
	if (result->etag[0] == '"')
		return result->etag;
	return result->etag[0] == '\0' ? result->last_modified : "";
}

/* The first octets: the whole anew, or the rest of what is here. Returns 0 or negative errno. */
static int body_begins(struct transfer *transfer)
{
	const struct fetch_result *result = &transfer->fetch->result;
	curl_off_t length = -1;

	transfer->begun = true;
	curl_easy_getinfo(transfer->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	transfer->total = length > 0 ? (uint64_t)length : 0;
	if (status_of(transfer) != 206)
		return partial_restart(&transfer->partial, validator_of(result));
	if (transfer->from == 0 || transfer->range != transfer->from ||
	        (result->etag[0] != '\0' && transfer->partial.validator[0] == '"' &&
	                strcmp(result->etag, transfer->partial.validator) != 0)) {
		transfer->not_the_rest = true;
		return -EBADMSG;
	}
	if (transfer->total > 0)
		transfer->total += transfer->from;
	return 0;
}

static bool is_content(long status)
{
	return status == 200 || status == 206 || status == 0; /* file: has none */
}

static size_t body_arrived(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *transfer = arg;
	size_t len = size * count;

	if (!is_content(status_of(transfer))) /* an error page is not kept */
		return len;
	if (!transfer->begun) {
		transfer->disk = body_begins(transfer);
		if (transfer->disk < 0)
			return 0;
	}
	if (transfer->partial.size + len > transfer->size_max) {
		transfer->too_big = true;
		return 0;
	}
	transfer->disk = partial_write(&transfer->partial, data, len);
	transfer->fetch->result.size = transfer->partial.size;
	return transfer->disk == 0 ? len : 0;
}

/* ---- a request ---- */

static void header_add(struct transfer *transfer, const char *name, const char *value)
{
	char line[FETCH_TAG_MAX + 32];

	snprintf(line, sizeof line, "%s: %s", name, value);
	struct curl_slist *longer = curl_slist_append(transfer->headers, line);
	if (longer != NULL)
		transfer->headers = longer;
}

static void prepare_headers(struct transfer *transfer)
{
	const struct fetch *fetch = transfer->fetch;
	char range[48];

	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	if (fetch->etag[0] != '\0')
		header_add(transfer, "If-None-Match", fetch->etag);
	else if (fetch->last_modified[0] != '\0')
		header_add(transfer, "If-Modified-Since", fetch->last_modified);
	if (transfer->from == 0)
		return;
	snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)transfer->from);
	header_add(transfer, "Range", range);
	header_add(transfer, "If-Range", transfer->partial.validator);
}

static void prepare_limits(struct transfer *transfer)
{
	const struct fetch_options *options = transfer->options;
	uint64_t now = now_ms();
	long left = transfer->deadline_ms > now ? (long)(transfer->deadline_ms - now) : 1;

	curl_easy_setopt(transfer->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	curl_easy_setopt(transfer->curl, CURLOPT_TIMEOUT_MS, left);
	curl_easy_setopt(transfer->curl, CURLOPT_LOW_SPEED_LIMIT, (long)FETCH_SLOW_OCTETS);
	curl_easy_setopt(transfer->curl, CURLOPT_LOW_SPEED_TIME,
	        options->slow_seconds > 0 ? (long)options->slow_seconds : (long)FETCH_SLOW_SECONDS);
	curl_easy_setopt(transfer->curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)transfer->size_max);
}

static void prepare_way(struct transfer *transfer)
{
	CURL *curl = transfer->curl;
	const char *ca_file = transfer->options->ca_file;

	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,file");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* each hop is judged here */
	curl_easy_setopt(curl, CURLOPT_PROXY, by_proxy(transfer) ? transfer->options->proxy : "");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
	curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	if (transfer->hops > 0) /* a connection of another source would not be judged */
		curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
	if (ca_file != NULL && ca_file[0] != '\0') {
		curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
		curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, ca_file);
	}
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, socket_wanted);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, transfer);
}

/* The next request. Begins from nothing, so that no hop sees what another was given. */
static void prepare(struct transfer *transfer)
{
	CURL *curl = transfer->curl;

	transfer->from = transfer->partial.validator[0] != '\0' ? transfer->partial.size : 0;
	transfer->total = 0;
	transfer->range = UINT64_MAX;
	transfer->begun = transfer->too_big = transfer->not_the_rest = false;
	transfer->disk = 0;
	transfer->error[0] = '\0';
	transfer->fetch->result.etag[0] = transfer->fetch->result.last_modified[0] = '\0';
	curl_easy_reset(curl);
	prepare_headers(transfer);
	prepare_limits(transfer);
	prepare_way(transfer);
	curl_easy_setopt(curl, CURLOPT_URL, transfer->url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "usher/" USHER_VERSION);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_arrived);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, header_arrived);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
}

/* ---- its end ---- */

static bool fail(struct transfer *transfer, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct transfer *transfer, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(transfer->fetch->why, LISTS_WHY_MAX, format, args);
	va_end(args);
	transfer->fetch->status = -EIO;
	partial_drop(&transfer->partial);
	return false;
}

/* Fails for now: what came is kept, if the rest can be asked for. */
static bool fail_for_now(struct transfer *transfer, const char *what)
{
	uint64_t size = transfer->partial.size;
	char came[100] = "", of[40] = "";

	if (transfer->total > 0)
		snprintf(of, sizeof of, " of %llu", (unsigned long long)transfer->total);
	if (size > 0)
		snprintf(came, sizeof came, " after %llu%s octets%s", (unsigned long long)size, of,
		        partial_keep(&transfer->partial) ? ", the next fetch goes on from there" : "");
	return fail(transfer, "%s%s", what, came);
}

static bool fail_of_curl(struct transfer *transfer, CURLcode code)
{
	const char *text = transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(code);
	const char *proxy = transfer->options->proxy;

	partial_keep(&transfer->partial);
	if (proxy != NULL && proxy[0] != '\0' &&
	        strstr(text, proxy) != NULL) /* its password is told to nobody */
		return fail(transfer, "the proxy cannot be used: %s", curl_easy_strerror(code));
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		return fail(transfer, "the server's certificate is not trusted: %.200s", text);
	return fail(transfer, "%.200s", text);
}

static bool fail_for_size(struct transfer *transfer)
{
	bool in_mib = transfer->size_max >= UINT64_C(1) << 20;

	return fail(transfer, "larger than %llu %s",
	        (unsigned long long)(transfer->size_max >> (in_mib ? 20 : 10)), in_mib ? "MiB" : "KiB");
}

static bool broke_off(CURLcode code)
{
	return code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING ||
	       code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM;
}

static bool again(struct transfer *transfer)
{
	prepare(transfer);
	return true;
}

/* Asked for once more, a bounded number of times. False: enough. */
static bool may_try_again(struct transfer *transfer)
{
	return ++transfer->attempts < FETCH_ATTEMPTS_MAX && now_ms() < transfer->deadline_ms;
}

static bool from_the_start(struct transfer *transfer)
{
	if (partial_restart(&transfer->partial, "") < 0 || !may_try_again(transfer))
		return fail(transfer, "the server gives another part of the file than was asked for");
	return again(transfer);
}

static bool ended_badly(struct transfer *transfer, CURLcode code)
{
	char what[160];

	if (transfer->to_itself)
		return fail(transfer, "redirected to this machine: refused");
	if (transfer->too_big || code == CURLE_FILESIZE_EXCEEDED)
		return fail_for_size(transfer);
	if (transfer->not_the_rest)
		return from_the_start(transfer);
	if (transfer->disk < 0)
		return fail(transfer, "%.300s: %s", transfer->fetch->path, strerror(-transfer->disk));
	if (code == CURLE_OPERATION_TIMEDOUT && now_ms() + CLOCK_MS >= transfer->deadline_ms) {
		snprintf(what, sizeof what, "not done within %u s", seconds_max(transfer->options));
		return fail_for_now(transfer, what);
	}
	if (code == CURLE_OPERATION_TIMEDOUT && transfer->begun) {
		snprintf(what, sizeof what, "slower than %d octets a second", FETCH_SLOW_OCTETS);
		return fail_for_now(transfer, what);
	}
	if (!broke_off(code))
		return fail_of_curl(transfer, code);
	if (transfer->partial.size > transfer->from && transfer->partial.validator[0] != '\0' &&
	        may_try_again(transfer))
		return again(transfer);
	return transfer->partial.size > 0 ? fail_for_now(transfer, "broke off")
	                                  : fail_of_curl(transfer, code);
}

/* Goes on to where a redirect leads. */
static bool redirected(struct transfer *transfer)
{
	char *target = NULL;

	curl_easy_getinfo(transfer->curl, CURLINFO_REDIRECT_URL, &target);
	if (target == NULL)
		return fail(transfer, "redirected to nowhere");
	if (++transfer->hops > FETCH_REDIRECTS_MAX)
		return fail(transfer, "redirected more than %d times", FETCH_REDIRECTS_MAX);
	if (strncasecmp(target, "http://", 7) != 0 && strncasecmp(target, "https://", 8) != 0)
		return fail(transfer, "redirected to %.100s: refused", target);
	if (strncasecmp(transfer->fetch->url, "https://", 8) == 0 && strncasecmp(target, "http://", 7) == 0)
		return fail(transfer, "redirected from https to http: refused");
	if (loopback_url(target))
		return fail(transfer, "redirected to this machine: refused");
	free(transfer->url);
	transfer->url = strdup(target);
	return transfer->url != NULL ? again(transfer) : fail(transfer, "out of memory");
}

static bool arrived(struct transfer *transfer)
{
	struct fetch *fetch = transfer->fetch;
	int ret = 0;

	if (!transfer->begun) /* nothing at all is content too */
		ret = body_begins(transfer);
	if (transfer->not_the_rest)
		return from_the_start(transfer);
	if (ret == 0)
		ret = partial_finish(&transfer->partial);
	if (ret == 0)
		ret = fetch_sha256_file(fetch->path, fetch->result.sha256);
	if (ret < 0) {
		unlink(fetch->path);
		return fail(transfer, "%.300s: %s", fetch->path, strerror(-ret));
	}
	fetch->result.size = transfer->partial.size;
	return false;
}

bool transfer_ended(struct transfer *transfer, CURLcode code)
{
	if (code != CURLE_OK)
		return ended_badly(transfer, code);
	long status = status_of(transfer);
	if (is_content(status))
		return arrived(transfer);
	if (status == 304) {
		transfer->fetch->result.unchanged = true;
		transfer->fetch->result.size = 0;
		partial_drop(&transfer->partial);
		return false;
	}
	if (status == 416 && transfer->from > 0) /* what is here is no part of what there is now */
		return from_the_start(transfer);
	if (status >= 300 && status < 400)
		return redirected(transfer);
	if (status >= 500)
		partial_keep(&transfer->partial);
	return fail(transfer, "the server says HTTP %ld", status);
}

/* ---- life ---- */

struct transfer *transfer_new(const struct fetch_options *options, struct fetch *fetch)
{
	struct transfer *transfer = calloc(1, sizeof *transfer);

	if (transfer == NULL)
		return NULL;
	transfer->options = options;
	transfer->fetch = fetch;
	transfer->size_max = options->size_max > 0 ? options->size_max : FETCH_SIZE_MAX;
	transfer->deadline_ms = now_ms() + UINT64_C(1000) * seconds_max(options);
	unlink(fetch->path);
	transfer->url = strdup(fetch->url);
	transfer->curl = curl_easy_init();
	int ret = transfer->url != NULL && transfer->curl != NULL
	                  ? partial_open(&transfer->partial, fetch->path, fetch->url)
	                  : -ENOMEM;
	if (ret < 0) {
		fetch->status = -EIO;
		snprintf(fetch->why, sizeof fetch->why, "%.300s: %s", fetch->path, strerror(-ret));
		transfer_free(transfer);
		return NULL;
	}
	prepare(transfer);
	return transfer;
}

void transfer_free(struct transfer *transfer)
{
	if (transfer == NULL)
		return;
	curl_easy_cleanup(transfer->curl);
	curl_slist_free_all(transfer->headers);
	partial_drop(&transfer->partial);
	free(transfer->url);
	free(transfer);
}

CURL *transfer_handle(const struct transfer *transfer)
{
	return transfer->curl;
}

struct fetch *transfer_fetch(const struct transfer *transfer)
{
	return transfer->fetch;
}

unsigned transfer_permille(const struct transfer *transfer)
{
	uint64_t size = transfer->partial.size;

	if (transfer->total == 0)
		return 0;
	return size >= transfer->total ? 1000 : (unsigned)(size * 1000 / transfer->total);
}
