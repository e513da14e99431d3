/* Questions to usherd over its Unix sockets: libcurl, and no proxy whatever the environment says. */
#include "commands.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_S 5L
#define REPLY_TIMEOUT_S 60L
#define REPLY_MAX (256u << 20)

struct exchange {
	CURL *curl;
	char path[PATH_MAX]; /* of the socket */
	struct curl_slist *headers;
	bool (*got)(void *arg, const char *data, size_t len); /* NULL: everything into text */
	void *arg;
	bool stopped; /* by got */
	char *text;
	size_t text_len;
};

static size_t text_add(struct exchange *exchange, const char *data, size_t len)
{
	if (exchange->text_len + len > REPLY_MAX)
		return 0;
	char *longer = realloc(exchange->text, exchange->text_len + len + 1);
	if (!longer)
		return 0;
	memcpy(longer + exchange->text_len, data, len);
	exchange->text = longer;
	exchange->text_len += len;
	longer[exchange->text_len] = '\0';
	return len;
}

static long exchange_status(const struct exchange *exchange)
{
	long status = 0;

	curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static size_t piece_arrived(char *data, size_t size, size_t count, void *arg)
{
	struct exchange *exchange = arg;
	size_t len = size * count;

	if (!exchange->got || exchange_status(exchange) != 200)
		return text_add(exchange, data, len);
	if (exchange->got(exchange->arg, data, len))
		return len;
	exchange->stopped = true;
	return len + 1; /* any other number than len ends the transfer */
}

static int exchange_open(struct exchange *exchange, const struct config *config, const char *socket,
        const char *path, const char *body)
{
	char url[4096];

	if (snprintf(exchange->path, sizeof exchange->path, "%s/%s", config->run_dir, socket) >=
	                (int)sizeof exchange->path ||
	        snprintf(url, sizeof url, "http://usherd%s", path) >= (int)sizeof url)
		return -ENAMETOOLONG;
	exchange->curl = curl_easy_init();
	if (!exchange->curl)
		return -ENOMEM;
	curl_easy_setopt(exchange->curl, CURLOPT_URL, url);
	curl_easy_setopt(exchange->curl, CURLOPT_UNIX_SOCKET_PATH, exchange->path);
	curl_easy_setopt(exchange->curl, CURLOPT_PROXY, "");
	curl_easy_setopt(exchange->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(exchange->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	curl_easy_setopt(exchange->curl, CURLOPT_WRITEFUNCTION, piece_arrived);
	curl_easy_setopt(exchange->curl, CURLOPT_WRITEDATA, exchange);
	if (body) {
		exchange->headers = curl_slist_append(NULL, "Content-Type: application/json");
		curl_easy_setopt(exchange->curl, CURLOPT_HTTPHEADER, exchange->headers);
		curl_easy_setopt(exchange->curl, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(exchange->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
	}
	return 0;
}

static void exchange_close(struct exchange *exchange)
{
	curl_slist_free_all(exchange->headers);
	curl_easy_cleanup(exchange->curl);
}

/* Says in the reader's words why there is no reply. */
static int exchange_failed(const struct exchange *exchange, CURLcode code)
{
	long system_error = 0;

	curl_easy_getinfo(exchange->curl, CURLINFO_OS_ERRNO, &system_error);
	if (code == CURLE_COULDNT_CONNECT && (system_error == EACCES || system_error == EPERM)) {
		fprintf(stderr,
		        "usher: you may not ask usherd at %s: only members of the socket's group may\n",
		        exchange->path);
		return -EACCES;
	}
	if (code == CURLE_COULDNT_CONNECT) {
		fprintf(stderr, "usher: usherd does not run (nobody answers at %s)\n", exchange->path);
		return -ECONNREFUSED;
	}
	if (code == CURLE_OPERATION_TIMEDOUT) {
		fprintf(stderr, "usher: usherd at %s did not answer in time\n", exchange->path);
		return -ETIMEDOUT;
	}
	fprintf(stderr, "usher: usherd at %s: %s\n", exchange->path, curl_easy_strerror(code));
	return -EIO;
}

static int exchange_perform(struct exchange *exchange)
{
	CURLcode code = curl_easy_perform(exchange->curl);

	if (code != CURLE_OK && !exchange->stopped)
		return exchange_failed(exchange, code);
	return (int)exchange_status(exchange);
}

static int exchange_not_opened(int ret)
{
	fprintf(stderr, "usher: %s\n", strerror(-ret));
	return ret;
}

int command_http(
        const struct config *config, const char *socket, const char *path, const char *body, char **reply)
{
	return command_http_method(config, socket, body ? "POST" : "GET", path, body, reply);
}

int command_http_method(const struct config *config, const char *socket, const char *method, const char *path,
        const char *body, char **reply)
{
	struct exchange exchange = { .text = NULL };
	int ret = exchange_open(&exchange, config, socket, path, body);

	*reply = NULL;
	if (ret < 0)
		return exchange_not_opened(ret);
	curl_easy_setopt(exchange.curl, CURLOPT_TIMEOUT, REPLY_TIMEOUT_S);
	curl_easy_setopt(exchange.curl, CURLOPT_CUSTOMREQUEST, method);
	ret = exchange_perform(&exchange);
	if (ret >= 0 && !exchange.text)
		exchange.text = calloc(1, 1);
	if (ret >= 0)
		*reply = exchange.text;
	else
		free(exchange.text);
	exchange_close(&exchange);
	return ret;
}

static bool is_broken_off(CURLcode code)
{
	return code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING || code == CURLE_PARTIAL_FILE ||
	       code == CURLE_SEND_ERROR;
}

int command_http_stream(const struct config *config, const char *socket, const char *path,
        bool (*got)(void *arg, const char *data, size_t len), void *arg)
{
	struct exchange exchange = { .got = got, .arg = arg };
	int ret = exchange_open(&exchange, config, socket, path, NULL);

	if (ret < 0)
		return exchange_not_opened(ret);
	CURLcode code = curl_easy_perform(exchange.curl);
	ret = (int)exchange_status(&exchange);
	if (code != CURLE_OK && !exchange.stopped)
		ret = is_broken_off(code) ? -EPIPE : exchange_failed(&exchange, code);
	if (ret >= 0 && ret != 200)
		command_http_failed(ret, exchange.text ? exchange.text : "");
	free(exchange.text);
	exchange_close(&exchange);
	return ret;
}

int command_http_failed(int status, const char *reply)
{
	json_t *object = json_loads(reply, 0, NULL);
	const char *sentence = json_string_value(json_object_get(object, "error"));

	if (sentence)
		command_say(sentence);
	else
		fprintf(stderr, "usher: usherd answered with status %d\n", status);
	json_decref(object);
	return COMMAND_FAILED;
}
