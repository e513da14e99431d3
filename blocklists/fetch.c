#include "fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_SECONDS 20L
#define SLOW_OCTETS 256L /* a second … */
#define SLOW_SECONDS 60L /* … for so long: the server is as good as silent */
#define SHA256_LEN 32

/* One transfer, from its first hop to its last. */
struct transfer {
	const struct fetch_request *request;
	struct fetch_result *result;
	CURL *curl;
	FILE *file;
	EVP_MD_CTX *hash;
	uint64_t size_max;
	bool redirected; /* by now an address that a server chose */
	bool too_big, to_itself;
};

void fetch_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

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

static size_t body_arrived(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *transfer = arg;
	size_t len = size * count;
	long status = 0;

	curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200 && status != 0) /* file: has no status; an error page is not kept */
		return len;
	transfer->result->size += len;
	if (transfer->result->size > transfer->size_max) {
		transfer->too_big = true;
		return 0;
	}
	EVP_DigestUpdate(transfer->hash, data, len);
	return fwrite(data, 1, len, transfer->file);
}

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

	header_value(line, size * count, "etag:", transfer->result->etag);
	header_value(line, size * count, "last-modified:", transfer->result->last_modified);
	return size * count;
}

/* This machine and what is on its wire alone. */
static bool is_this_machine(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		const uint8_t *v4 = (const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr;
		return v4[0] == 127 || v4[0] == 0 || (v4[0] == 169 && v4[1] == 254);
	}
	if (address->sa_family != AF_INET6)
		return true;
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
	if (IN6_IS_ADDR_V4MAPPED(v6))
		return v6->s6_addr[12] == 127 || v6->s6_addr[12] == 0;
	return IN6_IS_ADDR_LOOPBACK(v6) || IN6_IS_ADDR_UNSPECIFIED(v6) || IN6_IS_ADDR_LINKLOCAL(v6);
}

/* Asked for each connection, so a name that resolves to this machine is caught as well as an address. */
static curl_socket_t socket_wanted(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *transfer = arg;

	(void)purpose;
	if (transfer->redirected && is_this_machine(&address->addr)) {
		transfer->to_itself = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int progressed(void *arg, curl_off_t total, curl_off_t got, curl_off_t up_total, curl_off_t up)
{
	struct transfer *transfer = arg;

	(void)up_total;
	(void)up;
	if (transfer->request->progress != NULL)
		transfer->request->progress(transfer->request->progress_arg, (uint64_t)got, (uint64_t)total);
	return 0;
}

static struct curl_slist *conditions(const struct fetch_request *request)
{
	char line[FETCH_TAG_MAX + 32];
	struct curl_slist *list = NULL;

	if (request->etag != NULL && request->etag[0] != '\0') {
		snprintf(line, sizeof line, "If-None-Match: %s", request->etag);
		list = curl_slist_append(list, line);
	} else if (request->last_modified != NULL && request->last_modified[0] != '\0') {
		snprintf(line, sizeof line, "If-Modified-Since: %s", request->last_modified);
		list = curl_slist_append(list, line);
	}
	return list;
}

static void transfer_options(struct transfer *transfer, struct curl_slist *headers)
{
	CURL *curl = transfer->curl;
	uint32_t seconds =
	        transfer->request->seconds_max > 0 ? transfer->request->seconds_max : FETCH_SECONDS_MAX;

	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,file");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* each hop is judged here */
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)seconds);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, SLOW_OCTETS);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SLOW_SECONDS);
	curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)transfer->size_max);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "usher/" USHER_VERSION);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_arrived);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, header_arrived);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, socket_wanted);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, transfer);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, progressed);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
}

static int failed(const struct transfer *transfer, CURLcode code, const char *text, char why[LISTS_WHY_MAX])
{
	if (transfer->to_itself)
		snprintf(why, LISTS_WHY_MAX, "redirected to this machine: refused");
	else if (transfer->too_big || code == CURLE_FILESIZE_EXCEEDED)
		snprintf(why, LISTS_WHY_MAX, "larger than %llu MiB",
		        (unsigned long long)(transfer->size_max >> 20));
	else if (code == CURLE_PARTIAL_FILE)
		snprintf(why, LISTS_WHY_MAX, "broke off after %llu octets",
		        (unsigned long long)transfer->result->size);
	else
		snprintf(why, LISTS_WHY_MAX, "%.200s", text[0] != '\0' ? text : curl_easy_strerror(code));
	return -EIO;
}

/* Goes on to where a redirect leads. Returns 0 or -EIO. */
static int redirect(struct transfer *transfer, unsigned hop, char why[LISTS_WHY_MAX])
{
	char *target = NULL;

	curl_easy_getinfo(transfer->curl, CURLINFO_REDIRECT_URL, &target);
	if (target == NULL) {
		snprintf(why, LISTS_WHY_MAX, "redirected to nowhere");
		return -EIO;
	}
	if (hop == FETCH_REDIRECTS_MAX) {
		snprintf(why, LISTS_WHY_MAX, "redirected more than %d times", FETCH_REDIRECTS_MAX);
		return -EIO;
	}
	if (strncasecmp(target, "http://", 7) != 0 && strncasecmp(target, "https://", 8) != 0) {
		snprintf(why, LISTS_WHY_MAX, "redirected to %.100s: refused", target);
		return -EIO;
	}
	if (strncasecmp(transfer->request->url, "https://", 8) == 0 &&
	        strncasecmp(target, "http://", 7) == 0) {
		snprintf(why, LISTS_WHY_MAX, "redirected from https to http: refused");
		return -EIO;
	}
	transfer->redirected = true;
	curl_easy_setopt(transfer->curl, CURLOPT_FRESH_CONNECT, 1L);
	/* curl keeps a copy of the text, so it may be its own */
	return curl_easy_setopt(transfer->curl, CURLOPT_URL, target) == CURLE_OK ? 0 : -EIO;
}

static int transfer_run(struct transfer *transfer, char why[LISTS_WHY_MAX])
{
	char text[CURL_ERROR_SIZE] = "";
	long status = 0;

	curl_easy_setopt(transfer->curl, CURLOPT_ERRORBUFFER, text);
	curl_easy_setopt(transfer->curl, CURLOPT_URL, transfer->request->url);
	for (unsigned hop = 0;; hop++) {
		transfer->result->etag[0] = transfer->result->last_modified[0] = '\0';
		CURLcode code = curl_easy_perform(transfer->curl);
		if (code != CURLE_OK)
			return failed(transfer, code, text, why);
		curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
		if (status < 300 || status >= 400 || status == 304)
			break;
		int ret = redirect(transfer, hop, why);
		if (ret < 0)
			return ret;
	}
	if (status == 304) {
		transfer->result->unchanged = true;
		return 0;
	}
	if (status != 200 && status != 0) {
		snprintf(why, LISTS_WHY_MAX, "the server says HTTP %ld", status);
		return -EIO;
	}
	return 0;
}

static int transfer_finish(struct transfer *transfer, const char *path, char why[LISTS_WHY_MAX])
{
	uint8_t digest[SHA256_LEN];

	if (EVP_DigestFinal_ex(transfer->hash, digest, NULL) != 1)
		return -EIO;
	hex_of(digest, transfer->result->sha256);
	if (fflush(transfer->file) != 0 || fsync(fileno(transfer->file)) != 0) {
		snprintf(why, LISTS_WHY_MAX, "%s: %s", path, strerror(errno));
		return -EIO;
	}
	return 0;
}

int fetch(const struct fetch_request *request, const char *path, struct fetch_result *result,
        char why[LISTS_WHY_MAX])
{
	struct transfer transfer = {
		.request = request,
		.result = result,
		.size_max = request->size_max > 0 ? request->size_max : FETCH_SIZE_MAX,
		.curl = curl_easy_init(),
		.hash = EVP_MD_CTX_new(),
	};
	struct curl_slist *headers = conditions(request);
	int ret = -EIO;

	memset(result, 0, sizeof *result);
	snprintf(why, LISTS_WHY_MAX, "out of memory");
	if (transfer.curl == NULL || transfer.hash == NULL ||
	        EVP_DigestInit_ex(transfer.hash, EVP_sha256(), NULL) != 1)
		goto out;
	transfer.file = fopen(path, "we");
	if (transfer.file == NULL) {
		snprintf(why, LISTS_WHY_MAX, "%s: %s", path, strerror(errno));
		goto out;
	}
	transfer_options(&transfer, headers);
	ret = transfer_run(&transfer, why);
	if (ret == 0)
		ret = transfer_finish(&transfer, path, why);
	fclose(transfer.file);
	if (ret < 0 || result->unchanged)
		unlink(path);
	else
		why[0] = '\0';
out:
	curl_slist_free_all(headers);
	curl_easy_cleanup(transfer.curl);
	EVP_MD_CTX_free(transfer.hash);
	return ret;
}
