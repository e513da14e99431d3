/* Fetching from a small server on loopback that answers as it is told, and from files. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "blocklists/fetch.h"

#define REQUEST_MAX 4096

static struct server {
	int fd;
	uint16_t port;
	pthread_t thread;
	char folder[64], file[96];
	char request[REQUEST_MAX]; /* the last one, lower case as it came */
	const char *answer;        /* what is sent, whatever is asked */
	unsigned repeat;           /* so many times its last line again, slowly if `slow` */
	bool slow;
} server;

static void serve_one(int fd)
{
	ssize_t len = recv(fd, server.request, sizeof server.request - 1, 0);

	server.request[len > 0 ? len : 0] = '\0';
	if (send(fd, server.answer, strlen(server.answer), MSG_NOSIGNAL) < 0)
		return;
	for (unsigned i = 0; i < server.repeat; i++) {
		if (server.slow)
			usleep(100000);
		if (send(fd, "name.example.com\n", 17, MSG_NOSIGNAL) < 0)
			return;
	}
}

static void *serve(void *arg)
{
	(void)arg;
	for (int fd; (fd = accept(server.fd, NULL, NULL)) >= 0;) {
		serve_one(fd);
		close(fd);
	}
	return NULL;
}

static int setup(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;

	(void)state;
	fetch_init();
	snprintf(server.folder, sizeof server.folder, "/tmp/usher-test-XXXXXX");
	if (mkdtemp(server.folder) == NULL)
		return -1;
	snprintf(server.file, sizeof server.file, "%s/fetched", server.folder);
	server.fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(server.fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(server.fd, 8) != 0 ||
	        getsockname(server.fd, (struct sockaddr *)&address, &len) != 0)
		return -1;
	server.port = ntohs(address.sin_port);
	return pthread_create(&server.thread, NULL, serve, NULL);
}

static int teardown(void **state)
{
	(void)state;
	shutdown(server.fd, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	close(server.fd);
	unlink(server.file);
	return rmdir(server.folder);
}

static struct fetch_result result;
static char why[LISTS_WHY_MAX];

/* Fetches from the server, which gives this answer. */
static int fetch_answer(const char *answer, struct fetch_request request)
{
	char url[64];

	snprintf(url, sizeof url, "http://127.0.0.1:%u/list", server.port);
	request.url = url;
	server.answer = answer;
	int ret = fetch(&request, server.file, &result, why);
	server.repeat = 0;
	server.slow = false;
	return ret;
}

static void assert_failed(int ret, const char *words)
{
	assert_int_equal(ret, -EIO);
	assert_non_null(strstr(why, words));
	assert_int_equal(access(server.file, F_OK), -1);
}

static void content_comes_with_its_tags_and_sha256(void **state)
{
	char content[32] = "";

	(void)state;
	assert_int_equal(
	        fetch_answer(
	                "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nLast-Modified: Sun, 22 Nov 2026 06:00:00 GMT\r\n"
	                "Content-Length: 4\r\n\r\nabc\n",
	                (struct fetch_request){ 0 }),
	        0);
	assert_false(result.unchanged);
	assert_string_equal(result.etag, "\"one\"");
	assert_string_equal(result.last_modified, "Sun, 22 Nov 2026 06:00:00 GMT");
	assert_string_equal(
	        result.sha256, "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb");
	assert_int_equal(result.size, 4);
	FILE *file = fopen(server.file, "r");
	assert_non_null(file);
	assert_int_equal(fread(content, 1, sizeof content, file), 4);
	fclose(file);
	assert_string_equal(content, "abc\n");
	assert_null(strstr(server.request, "If-"));
}

static void unchanged_content_is_not_sent_again(void **state)
{
	(void)state;
	assert_int_equal(fetch_answer("HTTP/1.1 304 Not Modified\r\n\r\n",
	                         (struct fetch_request){ .etag = "\"one\"" }),
	        0);
	assert_true(result.unchanged);
	assert_non_null(strstr(server.request, "If-None-Match: \"one\"\r\n"));
	assert_int_equal(access(server.file, F_OK), -1);
	assert_int_equal(fetch_answer("HTTP/1.1 304 Not Modified\r\n\r\n",
	                         (struct fetch_request){
	                                 .etag = "", .last_modified = "Sun, 22 Nov 2026 06:00:00 GMT" }),
	        0);
	assert_non_null(strstr(server.request, "If-Modified-Since: Sun, 22 Nov 2026 06:00:00 GMT\r\n"));
}

static void error_page_is_an_error(void **state)
{
	(void)state;
	assert_failed(fetch_answer("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nabc\n",
	                      (struct fetch_request){ 0 }),
	        "404");
	assert_failed(fetch_answer("HTTP/1.1 500 Oops\r\n\r\n", (struct fetch_request){ 0 }), "500");
	assert_failed(fetch_answer("", (struct fetch_request){ 0 }), "");
}

static void half_a_body_is_an_error(void **state)
{
	(void)state;
	assert_failed(fetch_answer("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nabc\n",
	                      (struct fetch_request){ 0 }),
	        "broke off");
}

static void too_much_is_an_error_told_or_not(void **state)
{
	const struct fetch_request request = { .size_max = 1 << 20 };

	(void)state;
	assert_failed(fetch_answer("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n", request),
	        "larger than 1 MiB");
	server.repeat = 100000;
	assert_failed(fetch_answer("HTTP/1.1 200 OK\r\n\r\n", request), "larger than 1 MiB");
}

static void slow_drip_ends(void **state)
{
	(void)state;
	server.repeat = 100;
	server.slow = true;
	assert_failed(
	        fetch_answer("HTTP/1.1 200 OK\r\n\r\n", (struct fetch_request){ .seconds_max = 1 }), "");
}

static void redirect_never_leads_to_a_file_or_this_machine(void **state)
{
	static const char *const targets[] = { "file:///etc/passwd", "ftp://192.0.2.1/x",
		"http://127.0.0.1:%u/x", "http://localhost:%u/x", "http://[::1]:%u/x", "http://0.0.0.0:%u/x",
		"http://[::ffff:127.0.0.1]:%u/x", "/list" };
	char target[64], answer[160];

	(void)state;
	for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(target, sizeof target, targets[i], server.port);
#pragma GCC diagnostic pop
		snprintf(answer, sizeof answer,
		        "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", target);
		assert_failed(fetch_answer(answer, (struct fetch_request){ 0 }), "redirected");
	}
	assert_failed(fetch_answer("HTTP/1.1 302 Found\r\n\r\n", (struct fetch_request){ 0 }), "redirected");
}

static void file_is_fetched_by_its_url(void **state)
{
	struct fetch_request request = { 0 };
	char path[128], url[160];

	(void)state;
	snprintf(path, sizeof path, "%s/list", server.folder);
	snprintf(url, sizeof url, "file://%s", path);
	FILE *file = fopen(path, "w");
	fputs("abc\n", file);
	fclose(file);
	request.url = url;
	assert_int_equal(fetch(&request, server.file, &result, why), 0);
	assert_int_equal(result.size, 4);
	unlink(path);
	assert_failed(fetch(&request, server.file, &result, why), "");
	request.url = "gopher://127.0.0.1/x";
	assert_failed(fetch(&request, server.file, &result, why), "");
}

static void place_that_cannot_be_written_is_named(void **state)
{
	struct fetch_request request = { .url = "file:///dev/null" };

	(void)state;
	assert_int_equal(fetch(&request, "/nonexistent/file", &result, why), -EIO);
	assert_non_null(strstr(why, "/nonexistent/file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_comes_with_its_tags_and_sha256),
		cmocka_unit_test(unchanged_content_is_not_sent_again),
		cmocka_unit_test(error_page_is_an_error),
		cmocka_unit_test(half_a_body_is_an_error),
		cmocka_unit_test(too_much_is_an_error_told_or_not),
		cmocka_unit_test(slow_drip_ends),
		cmocka_unit_test(redirect_never_leads_to_a_file_or_this_machine),
		cmocka_unit_test(file_is_fetched_by_its_url),
		cmocka_unit_test(place_that_cannot_be_written_is_named),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
