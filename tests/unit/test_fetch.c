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
#include "blocklists/loopback.h"

#define REQUEST_MAX 4096
#define TURNS 8

static struct server {
	int fd;
	uint16_t port;
	pthread_t thread;
	char folder[64], file[96];
	char request[TURNS][REQUEST_MAX]; /* as they came */
	const char *answer[TURNS];        /* what is sent, whatever is asked; after the last the last again */
	unsigned turn;
	unsigned repeat; /* so many times its last line again, slowly if `slow` */
	bool slow;
} server;

static void serve_one(int fd)
{
	unsigned turn = server.turn < TURNS ? server.turn++ : TURNS - 1;
	ssize_t len = recv(fd, server.request[turn], REQUEST_MAX - 1, 0);

	server.request[turn][len > 0 ? len : 0] = '\0';
	while (turn > 0 && server.answer[turn] == NULL)
		turn--;
	if (send(fd, server.answer[turn], strlen(server.answer[turn]), MSG_NOSIGNAL) < 0)
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

/* Fetches a URL into the file. */
static int fetch_url(const char *url, const char *etag, const struct fetch_options *options)
{
	struct fetch fetch = { .name = "list", .url = url, .etag = etag, .last_modified = "" };

	snprintf(fetch.path, sizeof fetch.path, "%s", server.file);
	fetch_all(options, &fetch, 1);
	result = fetch.result;
	memcpy(why, fetch.why, sizeof why);
	return fetch.status;
}

/* Fetches from the server, which gives these answers in turn. */
static int fetch_answers(const char *const answers[], size_t count, const struct fetch_options *options)
{
	char url[64];

	snprintf(url, sizeof url, "http://127.0.0.1:%u/list", server.port);
	memset(server.answer, 0, sizeof server.answer);
	memcpy(server.answer, answers, count * sizeof answers[0]);
	server.turn = 0;
	int ret = fetch_url(url, "", options);
	server.repeat = 0;
	server.slow = false;
	return ret;
}

static int fetch_answer(const char *answer, struct fetch_options options)
{
	return fetch_answers(&answer, 1, &options);
}

static bool is_left(const char *suffix)
{
	char path[128];

	snprintf(path, sizeof path, "%s%s", server.file, suffix);
	return access(path, F_OK) == 0;
}

static void assert_failed(int ret, const char *words)
{
	assert_int_equal(ret, -EIO);
	assert_non_null(strstr(why, words));
	assert_false(is_left(""));
	assert_false(is_left(".part"));
	assert_false(is_left(".from"));
}

/* It broke off, and what came is kept. */
static void assert_kept(int ret, const char *words)
{
	assert_int_equal(ret, -EIO);
	assert_non_null(strstr(why, words));
	assert_false(is_left(""));
	assert_true(is_left(".part"));
	assert_true(is_left(".from"));
}

static void assert_content(const char *expected)
{
	char content[100] = "", hex[FETCH_SHA256_TEXT];
	FILE *file = fopen(server.file, "r");

	assert_non_null(file);
	assert_true(fread(content, 1, sizeof content - 1, file) <= sizeof content);
	fclose(file);
	assert_string_equal(content, expected);
	assert_int_equal(fetch_sha256(expected, strlen(expected), hex), 0);
	assert_string_equal(result.sha256, hex);
	assert_int_equal(result.size, strlen(expected));
	assert_false(is_left(".part"));
	assert_false(is_left(".from"));
}

static void content_comes_with_its_tags_and_sha256(void **state)
{
	(void)state;
	assert_int_equal(
	        fetch_answer(
	                "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nLast-Modified: Sun, 22 Nov 2026 06:00:00 GMT\r\n"
	                "Content-Length: 4\r\n\r\nabc\n",
	                (struct fetch_options){ 0 }),
	        0);
	assert_false(result.unchanged);
	assert_string_equal(result.etag, "\"one\"");
	assert_string_equal(result.last_modified, "Sun, 22 Nov 2026 06:00:00 GMT");
	assert_string_equal(
	        result.sha256, "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb");
	assert_content("abc\n");
	assert_null(strstr(server.request[0], "If-"));
}

static void unchanged_content_is_not_sent_again(void **state)
{
	struct fetch fetches[] = { { .etag = "\"one\"", .last_modified = "" },
		{ .etag = "", .last_modified = "Sun, 22 Nov 2026 06:00:00 GMT" } };
	char url[64];

	(void)state;
	snprintf(url, sizeof url, "http://127.0.0.1:%u/list", server.port);
	server.answer[0] = "HTTP/1.1 304 Not Modified\r\n\r\n";
	server.answer[1] = NULL;
	for (size_t i = 0; i < 2; i++) {
		server.turn = 0;
		fetches[i].name = fetches[i].url = url;
		snprintf(fetches[i].path, sizeof fetches[i].path, "%s", server.file);
		fetch_all(&(struct fetch_options){ 0 }, &fetches[i], 1);
		assert_int_equal(fetches[i].status, 0);
		assert_true(fetches[i].result.unchanged);
		assert_false(is_left(""));
		assert_false(is_left(".part"));
		assert_non_null(strstr(
		        server.request[0], i == 0 ? "If-None-Match: \"one\"\r\n"
		                                  : "If-Modified-Since: Sun, 22 Nov 2026 06:00:00 GMT\r\n"));
	}
}

static void error_page_is_an_error(void **state)
{
	(void)state;
	assert_failed(fetch_answer("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nabc\n",
	                      (struct fetch_options){ 0 }),
	        "404");
	assert_failed(fetch_answer("HTTP/1.1 500 Oops\r\n\r\n", (struct fetch_options){ 0 }), "500");
	assert_failed(fetch_answer("", (struct fetch_options){ 0 }), "");
}

static void half_a_body_is_an_error(void **state)
{
	(void)state;
	assert_failed(fetch_answer("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nabc\n",
	                      (struct fetch_options){ 0 }),
	        "broke off");
}

#define HALF                                                                                                 \
	"HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 8\r\n\r\n"                                      \
	"abc\n"
#define REST                                                                                                 \
	"HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes 4-7/8\r\nContent-Length: "    \
	"4\r\n\r\ndef\n"
#define WHOLE                                                                                                \
	"HTTP/1.1 200 OK\r\nETag: \"two\"\r\nContent-Length: 8\r\n\r\n"                                      \
	"uvw\nxyz\n"

static void broken_transfer_asks_for_the_rest(void **state)
{
	static const char *const answers[] = { HALF, REST };

	(void)state;
	assert_int_equal(fetch_answers(answers, 2, &(struct fetch_options){ 0 }), 0);
	assert_content("abc\ndef\n");
	assert_string_equal(result.etag, "\"one\"");
	assert_null(strstr(server.request[0], "Range"));
	assert_non_null(strstr(server.request[1], "\r\nRange: bytes=4-\r\n"));
	assert_non_null(strstr(server.request[1], "\r\nIf-Range: \"one\"\r\n"));
}

static void server_that_sends_all_again_is_believed(void **state)
{
	static const char *const answers[] = { HALF, WHOLE };

	(void)state;
	assert_int_equal(fetch_answers(answers, 2, &(struct fetch_options){ 0 }), 0);
	assert_content("uvw\nxyz\n");
	assert_string_equal(result.etag, "\"two\"");
}

static void another_part_than_the_rest_starts_over(void **state)
{
	static const char *const others[] = {
		"HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes 0-3/8\r\n\r\nabc\n",
		"HTTP/1.1 206 Partial Content\r\nETag: \"two\"\r\nContent-Range: bytes 4-7/8\r\n\r\nxyz\n",
		"HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\n\r\nxyz\n",
		"HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 4\r\n\r\nno!\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		const char *const answers[] = { HALF, others[i], WHOLE };
		assert_int_equal(fetch_answers(answers, 3, &(struct fetch_options){ 0 }), 0);
		assert_content("uvw\nxyz\n");
		assert_null(strstr(server.request[2], "Range"));
		const char *const stubborn[] = { HALF, others[i], others[i] };
		assert_failed(fetch_answers(stubborn, 3, &(struct fetch_options){ 0 }), "");
	}
}

static void part_that_nobody_asked_for_is_no_content(void **state)
{
	(void)state;
	assert_failed(fetch_answer(REST, (struct fetch_options){ 0 }), "another part");
}

static void content_without_a_strong_validator_is_not_gone_on_with(void **state)
{
	(void)state;
	assert_failed(fetch_answer("HTTP/1.1 200 OK\r\nETag: W/\"one\"\r\nContent-Length: 8\r\n\r\nabc\n",
	                      (struct fetch_options){ 0 }),
	        "broke off after 4 of 8 octets");
	assert_int_equal(server.turn, 1);
}

static void attempts_are_bounded_and_the_next_run_goes_on(void **state)
{
	static const char *const answers[] = { HALF, "HTTP/1.1 503 Busy\r\n\r\n" }, *const rest[] = { REST };

	(void)state;
	assert_kept(
	        fetch_answers((const char *const[]){ HALF }, 1, &(struct fetch_options){ 0 }), "next fetch");
	assert_true(server.turn <= FETCH_ATTEMPTS_MAX);
	assert_int_equal(fetch_answers(rest, 1, &(struct fetch_options){ 0 }), 0);
	assert_content("abc\ndef\n");
	assert_kept(fetch_answers(answers, 2, &(struct fetch_options){ 0 }), "503");
	assert_int_equal(fetch_answers(rest, 1, &(struct fetch_options){ 0 }), 0);
	assert_content("abc\ndef\n");
	assert_kept(fetch_answers(answers, 2, &(struct fetch_options){ 0 }), "503");
	assert_failed(fetch_url("file:///nonexistent", "", &(struct fetch_options){ 0 }), "");
}

static void too_much_is_an_error_told_or_not(void **state)
{
	const struct fetch_options request = { .size_max = 1 << 20 };

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
	assert_failed(fetch_answer("HTTP/1.1 200 OK\r\n\r\n", (struct fetch_options){ .seconds_max = 1 }),
	        "not done within 1 s");
}

static void silent_server_is_left(void **state)
{
	(void)state;
	server.repeat = 100;
	server.slow = true;
	assert_failed(fetch_answer("HTTP/1.1 200 OK\r\n\r\n", (struct fetch_options){ .slow_seconds = 1 }),
	        "slower than 256 octets a second");
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
		assert_failed(fetch_answer(answer, (struct fetch_options){ 0 }), "redirected");
	}
	assert_failed(fetch_answer("HTTP/1.1 302 Found\r\n\r\n", (struct fetch_options){ 0 }), "redirected");
}

static void this_machine_is_known_in_any_way_of_writing(void **state)
{
	static const char *const here[] = { "http://127.0.0.1/", "http://127.1:80/x", "http://0x7f.1/",
		"http://2130706433/", "http://0/", "http://[::1]/", "http://[::]:80/",
		"http://[::ffff:127.0.0.1]/", "http://[fe80::1%25eth0]/", "http://169.254.1.1/",
		"http://[::ffff:169.254.1.1]/", "http://localhost/", "http://LOCALHOST./",
		"http://a.localhost:80/", "http://user:password@localhost/" };
	static const char *const elsewhere[] = { "http://10.0.0.1/", "http://lists.example/localhost",
		"http://localhost@lists.example/", "http://notlocalhost/", "http://localhost.example/",
		"http://[fd00::1]/", "http://128.0.0.1/", "file:///etc/hosts", "", "http://" };

	(void)state;
	for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
		if (!loopback_url(here[i]))
			fail_msg("%s", here[i]);
	for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
		if (loopback_url(elsewhere[i]))
			fail_msg("%s", elsewhere[i]);
}

static void file_is_fetched_by_its_url(void **state)
{
	const struct fetch_options options = { 0 };
	char path[128], url[160];

	(void)state;
	snprintf(path, sizeof path, "%s/list", server.folder);
	snprintf(url, sizeof url, "file://%s", path);
	FILE *file = fopen(path, "w");
	fputs("abc\n", file);
	fclose(file);
	assert_int_equal(fetch_url(url, "", &options), 0);
	assert_content("abc\n");
	unlink(path);
	unlink(server.file);
	assert_failed(fetch_url(url, "", &options), "");
	assert_failed(fetch_url("gopher://127.0.0.1/x", "", &options), "");
}

static void place_that_cannot_be_written_is_named(void **state)
{
	struct fetch fetch = { .name = "list",
		.url = "file:///dev/null",
		.etag = "",
		.last_modified = "",
		.path = "/nonexistent/file" };

	(void)state;
	fetch_all(&(struct fetch_options){ 0 }, &fetch, 1);
	assert_int_equal(fetch.status, -EIO);
	assert_non_null(strstr(fetch.why, "/nonexistent/file"));
}

static void count_progress(void *arg, const struct fetch_progress *progress)
{
	struct fetch_progress *last = arg;

	assert_true(progress->done >= last->done && progress->permille <= 1000);
	*last = *progress;
}

static void each_of_many_has_its_own_end(void **state)
{
	struct fetch fetches[9];
	char url[9][160], path[128];
	struct fetch_progress last = { 0 };
	const struct fetch_options options = { .progress = count_progress, .progress_arg = &last };

	(void)state;
	snprintf(path, sizeof path, "%s/list", server.folder);
	FILE *file = fopen(path, "w");
	fputs("abc\n", file);
	fclose(file);
	for (size_t i = 0; i < 9; i++) {
		snprintf(url[i], sizeof url[i], "file://%s%s", path, i % 2 == 1 ? "-missing" : "");
		fetches[i] = (struct fetch){ .name = "list", .url = url[i], .etag = "", .last_modified = "" };
		snprintf(fetches[i].path, sizeof fetches[i].path, "%s%zu", server.file, i);
	}
	fetch_all(&options, fetches, 9);
	for (size_t i = 0; i < 9; i++) {
		assert_int_equal(fetches[i].status, i % 2 == 1 ? -EIO : 0);
		assert_int_equal(unlink(fetches[i].path), i % 2 == 1 ? -1 : 0);
	}
	unlink(path);
	assert_int_equal(last.done, 9);
	assert_int_equal(last.count, 9);
	assert_int_equal(last.permille, 1000);
	assert_null(last.name);
}

static void proxy_is_not_asked_for_this_machine_and_its_password_is_not_told(void **state)
{
	char proxy[64];
	struct fetch_options options = { .proxy = "http://127.0.0.1:1", .slow_seconds = 5 };

	(void)state;
	assert_int_equal(fetch_answer(WHOLE, options), 0);
	assert_content("uvw\nxyz\n");
	unlink(server.file);
	assert_failed(fetch_url("http://192.0.2.1/list", "", &options), "127.0.0.1 port 1");
	options.proxy = "http://boss:geheim@127.0.0.1:99999999";
	assert_failed(fetch_url("http://192.0.2.1/list", "", &options), "");
	assert_null(strstr(why, "geheim"));
	snprintf(proxy, sizeof proxy, "http://boss:geheim@127.0.0.1:%u", server.port);
	options.proxy = proxy;
	server.turn = 0;
	server.answer[0] = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
	assert_failed(fetch_url("http://192.0.2.1/list", "", &options), "407");
	assert_null(strstr(why, "geheim"));
	assert_non_null(strstr(server.request[0], "GET http://192.0.2.1/list"));
	assert_non_null(strstr(server.request[0], "Proxy-Authorization: Basic"));
	server.turn = 0;
	assert_failed(fetch_url("https://192.0.2.1/list", "", &options), "407");
	assert_null(strstr(why, "geheim"));
	assert_non_null(strstr(server.request[0], "CONNECT 192.0.2.1:443"));
}

static void redirect_by_a_proxy_never_leads_to_this_machine(void **state)
{
	char proxy[64], answer[160];
	struct fetch_options options = { .proxy = proxy };

	(void)state;
	snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", server.port);
	snprintf(answer, sizeof answer, "HTTP/1.1 302 Found\r\nLocation: http://127.1:%u/x\r\n\r\n",
	        server.port);
	server.turn = 0;
	server.answer[0] = answer;
	server.answer[1] = NULL;
	assert_failed(fetch_url("http://192.0.2.1/list", "", &options), "redirected to this machine");
	assert_int_equal(server.turn, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_comes_with_its_tags_and_sha256),
		cmocka_unit_test(unchanged_content_is_not_sent_again),
		cmocka_unit_test(error_page_is_an_error),
		cmocka_unit_test(half_a_body_is_an_error),
		cmocka_unit_test(broken_transfer_asks_for_the_rest),
		cmocka_unit_test(server_that_sends_all_again_is_believed),
		cmocka_unit_test(another_part_than_the_rest_starts_over),
		cmocka_unit_test(part_that_nobody_asked_for_is_no_content),
		cmocka_unit_test(content_without_a_strong_validator_is_not_gone_on_with),
		cmocka_unit_test(attempts_are_bounded_and_the_next_run_goes_on),
		cmocka_unit_test(too_much_is_an_error_told_or_not),
		cmocka_unit_test(slow_drip_ends),
		cmocka_unit_test(silent_server_is_left),
		cmocka_unit_test(redirect_never_leads_to_a_file_or_this_machine),
		cmocka_unit_test(this_machine_is_known_in_any_way_of_writing),
		cmocka_unit_test(file_is_fetched_by_its_url),
		cmocka_unit_test(place_that_cannot_be_written_is_named),
		cmocka_unit_test(each_of_many_has_its_own_end),
		cmocka_unit_test(proxy_is_not_asked_for_this_machine_and_its_password_is_not_told),
		cmocka_unit_test(redirect_by_a_proxy_never_leads_to_this_machine),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
