#include "resolver/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* A server on its own thread, as usherd's main loop is; the tests are its clients, with plain sockets. */
struct fixture {
	char dir[64], path[96];
	struct event_base *base;
	struct http_server *server;
	struct http_stream *stream;
	struct event *tick;
	_Atomic unsigned closed, handled;
	bool endless;
	pthread_t thread;
};

static struct fixture the;

static void handle_hello(struct http_request *request, void *arg)
{
	the.handled++;
	http_reply_json(request, 200, "{\"hello\":1}");
}

static void handle_echo(struct http_request *request, void *arg)
{
	const char *value = http_parameter(request, "v");
	http_reply(request, 200, "text/plain", value ? value : "(none)", strlen(value ? value : "(none)"));
}

static void handle_body(struct http_request *request, void *arg)
{
	size_t len;
	char text[64];
	const char *body = http_body(request, &len);

	the.handled++;
	snprintf(text, sizeof text, "%zu:%.8s", len, body);
	http_reply(request, 200, "text/plain", text, strlen(text));
}

static void handle_uid(struct http_request *request, void *arg)
{
	char text[32];
	snprintf(text, sizeof text, "uid %d.", (int)http_peer_uid(request));
	http_reply(request, 200, "text/plain", text, strlen(text));
}

static void handle_error(struct http_request *request, void *arg)
{
	http_reply_error(request, 400, "%s", http_parameter(request, "v"));
}

static void stream_gone(void *arg)
{
	the.closed++;
	the.stream = NULL;
	event_del(the.tick);
}

static void stream_tick(evutil_socket_t fd, short what, void *arg)
{
	static char block[64 << 10];

	if (!the.stream)
		return;
	memset(block, 'x', sizeof block);
	if (the.endless) {
		http_stream_send(the.stream, block, sizeof block);
		return;
	}
	http_stream_send(the.stream, "{\"n\":2}\n", 8);
	http_stream_end(the.stream);
	the.stream = NULL;
	event_del(the.tick);
}

static void handle_follow(struct http_request *request, void *arg)
{
	the.endless = http_parameter(request, "endless") != NULL;
	the.stream = http_stream_start(request, "application/x-ndjson", stream_gone, NULL);
	http_stream_send(the.stream, "{\"n\":1}\n", 8);
	event_add(the.tick, &(struct timeval){ .tv_usec = the.endless ? 2000 : 50000 });
}

/* Starts a stream that nobody feeds. */
static void handle_quiet(struct http_request *request, void *arg)
{
	the.stream = http_stream_start(request, "text/plain", stream_gone, NULL);
}

static void handle_stop(struct http_request *request, void *arg)
{
	http_reply_json(request, 200, "{}");
	event_base_loopexit(the.base, &(struct timeval){ .tv_usec = 10000 });
}

static const struct http_route routes[] = {
	{ "GET", "/hello", handle_hello },
	{ "GET", "/echo", handle_echo },
	{ "POST", "/body", handle_body },
	{ "GET", "/uid", handle_uid },
	{ "GET", "/error", handle_error },
	{ "GET", "/follow", handle_follow },
	{ "GET", "/quiet", handle_quiet },
	{ "GET", "/stop", handle_stop },
	{ 0 },
};

static void *serve(void *arg)
{
	event_base_dispatch(the.base);
	http_server_free(the.server);
	event_free(the.tick);
	event_base_free(the.base);
	return NULL;
}

static void start_on(int fd)
{
	assert_true(fd >= 0);
	the.base = event_base_new();
	the.tick = event_new(the.base, -1, EV_PERSIST, stream_tick, NULL);
	the.server = http_serve(the.base, fd, routes, NULL);
	assert_non_null(the.server);
	assert_int_equal(pthread_create(&the.thread, NULL, serve, NULL), 0);
}

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	memset(&the, 0, sizeof the);
	snprintf(the.dir, sizeof the.dir, "%s/usher-http-XXXXXX", tmp && strlen(tmp) < 32 ? tmp : "/tmp");
	assert_non_null(mkdtemp(the.dir));
	snprintf(the.path, sizeof the.path, "%s/s.sock", the.dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(the.path);
	return rmdir(the.dir);
}

static int dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, the.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Reads until the other side closes or nothing came for some time. */
static bool hear(int fd, char *text, size_t size, int quiet_ms)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	bool closed = false;

	while (len < size - 1 && !closed && poll(&poller, 1, quiet_ms) == 1) {
		ssize_t got = read(fd, text + len, size - 1 - len);
		closed = got <= 0;
		len += got > 0 ? (size_t)got : 0;
	}
	text[len] = '\0';
	return closed;
}

static char reply[8192];

static const char *ask(const char *request)
{
	int fd = dial();

	say(fd, request);
	hear(fd, reply, sizeof reply, 5000);
	close(fd);
	return reply;
}

#define CLOSE "Connection: close\r\n\r\n"

static void stop(void)
{
	ask("GET /stop HTTP/1.1\r\n" CLOSE);
	pthread_join(the.thread, NULL);
}

#define assert_contains(text, part)                                                                          \
	do {                                                                                                 \
		if (!strstr(text, part))                                                                     \
			fail_msg("%s not in: %s", part, text);                                               \
	} while (0)

static void routes_answer_whatever_the_host(void **state)
{
	start_on(http_unix_socket(the.path, (gid_t)-1));
	assert_contains(ask("GET /hello HTTP/1.1\r\nHost: localhost\r\n" CLOSE), "HTTP/1.1 200 ");
	assert_contains(reply, "Content-Type: application/json\r\n");
	assert_contains(reply, "\r\n\r\n{\"hello\":1}");
	assert_contains(ask("GET /hello HTTP/1.1\r\nHost: a b;../%00\r\n" CLOSE), " 200 ");
	assert_contains(ask("GET /hello HTTP/1.1\r\n" CLOSE), " 200 ");
	assert_contains(ask("GET /hello HTTP/1.0\r\n\r\n"), " 200 ");
	stop();
}

static void unknown_path_or_method_gets_json(void **state)
{
	start_on(http_unix_socket(the.path, (gid_t)-1));
	assert_contains(ask("GET /nothing HTTP/1.1\r\n" CLOSE), " 404 ");
	assert_contains(reply, "{\"error\":\"no such path\"}");
	assert_contains(ask("POST /hello HTTP/1.1\r\nContent-Length: 0\r\n" CLOSE), " 405 ");
	assert_contains(reply, "Allow: GET\r\n");
	assert_contains(reply, "{\"error\":\"this path takes GET\"}");
	assert_contains(ask("DELETE /body HTTP/1.1\r\n" CLOSE), "{\"error\":\"this path takes POST\"}");
	assert_contains(ask("HEAD /hello HTTP/1.1\r\n" CLOSE), " 405 ");
	assert_int_equal(the.handled, 0);
	stop();
}

static void parameters_are_decoded(void **state)
{
	start_on(http_unix_socket(the.path, (gid_t)-1));
	assert_contains(ask("GET /echo?x=1&v=10.20.0.0%2F16+%C3%A9 HTTP/1.1\r\n" CLOSE),
	        "\r\n\r\n10.20.0.0/16 \xc3\xa9");
	assert_contains(ask("GET /echo?x=1 HTTP/1.1\r\n" CLOSE), "\r\n\r\n(none)");
	assert_contains(ask("GET /echo HTTP/1.1\r\n" CLOSE), "\r\n\r\n(none)");
	stop();
}

static void body_arrives_up_to_64_kib(void **state)
{
	static char request[80 << 10];
	int len = snprintf(
	        request, sizeof request, "POST /body HTTP/1.1\r\nContent-Length: %d\r\n" CLOSE, 64 << 10);

	start_on(http_unix_socket(the.path, (gid_t)-1));
	memset(request + len, 'b', 64 << 10);
	assert_contains(ask(request), "\r\n\r\n65536:bbbbbbbb");
	assert_int_equal(the.handled, 1);
	assert_contains(ask("POST /body HTTP/1.1\r\nContent-Length: 65537\r\n" CLOSE), " 413 ");
	ask("POST /body HTTP/1.1\r\nContent-Length: -1\r\n" CLOSE);
	ask("POST /body HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n" CLOSE);
	assert_int_equal(the.handled, 1);
	stop();
}

static void garbage_is_no_request(void **state)
{
	static char line[40 << 10];

	start_on(http_unix_socket(the.path, (gid_t)-1));
	ask("\x16\x03\x01 TLS?\r\n\r\n");
	ask("GET\r\n\r\n");
	ask("GET /echo?v=%zz&&=&% HTTP/1.1\r\n" CLOSE);
	memcpy(line, "GET /hello HTTP/1.1\r\nX: ", 24);
	memset(line + 24, 'a', sizeof line - 25);
	int fd = dial();
	assert_true(write(fd, line, sizeof line - 1) > 0);
	hear(fd, reply, sizeof reply, 1000);
	close(fd);
	assert_int_equal(the.handled, 0);
	assert_contains(ask("GET /hello HTTP/1.1\r\n" CLOSE), " 200 ");
	stop();
}

static void peer_uid_is_told_on_a_unix_socket_only(void **state)
{
	char want[32];
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;

	start_on(http_unix_socket(the.path, (gid_t)-1));
	snprintf(want, sizeof want, "\r\n\r\nuid %d.", (int)getuid());
	assert_contains(ask("GET /uid HTTP/1.1\r\n" CLOSE), want);
	stop();

	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	start_on(fd);
	for (unsigned i = 0; i < 2; i++) {
		int client = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
		say(client, i == 0 ? "GET /uid HTTP/1.1\r\n" CLOSE : "GET /stop HTTP/1.1\r\n" CLOSE);
		hear(client, reply, sizeof reply, 5000);
		if (i == 0)
			assert_contains(reply, "\r\n\r\nuid -1.");
		close(client);
	}
	pthread_join(the.thread, NULL);
}

static void error_text_is_always_json(void **state)
{
	start_on(http_unix_socket(the.path, (gid_t)-1));
	assert_contains(ask("GET /error?v=a%22b%0a HTTP/1.1\r\n" CLOSE), "{\"error\":\"a\\\"b\\n\"}");
	assert_contains(
	        ask("GET /error?v=%ff HTTP/1.1\r\n" CLOSE), "{\"error\":\"the reason is not valid UTF-8\"}");
	stop();
}

static void socket_has_its_group_and_mode(void **state)
{
	struct stat status;
	int fd = http_unix_socket(the.path, (gid_t)-1);

	assert_true(fd >= 0);
	assert_int_equal(stat(the.path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	int second = http_unix_socket(the.path, getgid()); /* replaces the first */
	assert_true(second >= 0);
	assert_int_equal(stat(the.path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0660);
	assert_int_equal(status.st_gid, getgid());
	close(fd);
	close(second);
}

static void a_file_in_the_sockets_place_is_kept(void **state)
{
	char path[200];
	struct stat status;

	close(open(the.path, O_CREAT | O_WRONLY, 0644));
	assert_int_equal(http_unix_socket(the.path, (gid_t)-1), -EEXIST);
	assert_int_equal(stat(the.path, &status), 0);
	memset(path, 'p', sizeof path);
	path[199] = '\0';
	assert_int_equal(http_unix_socket(path, (gid_t)-1), -ENAMETOOLONG);
	snprintf(path, sizeof path, "%s/none/s.sock", the.dir);
	assert_int_equal(http_unix_socket(path, (gid_t)-1), -ENOENT);
}

static void stream_sends_pieces_and_ends(void **state)
{
	start_on(http_unix_socket(the.path, (gid_t)-1));
	assert_contains(ask("GET /follow HTTP/1.1\r\n" CLOSE), "Transfer-Encoding: chunked");
	assert_contains(reply, "8\r\n{\"n\":1}\n\r\n8\r\n{\"n\":2}\n\r\n0\r\n\r\n");
	assert_int_equal(the.closed, 0);
	stop();
}

static void stream_hears_that_its_client_left(void **state)
{
	start_on(http_unix_socket(the.path, (gid_t)-1));
	int fd = dial();
	say(fd, "GET /follow?endless=1 HTTP/1.1\r\n\r\n");
	char text[64];
	hear(fd, text, sizeof text, 2000);
	close(fd);
	for (unsigned i = 0; i < 200 && the.closed == 0; i++)
		usleep(10000);
	assert_int_equal(the.closed, 1);
	stop();
	assert_int_equal(the.closed, 1);
}

static void stream_that_nobody_reads_is_cut_off(void **state)
{
	start_on(http_unix_socket(the.path, (gid_t)-1));
	int fd = dial();
	say(fd, "GET /follow?endless=1 HTTP/1.1\r\n\r\n");
	for (unsigned i = 0; i < 500 && the.closed == 0; i++)
		usleep(10000);
	assert_int_equal(the.closed, 1);
	assert_contains(ask("GET /hello HTTP/1.1\r\n" CLOSE), " 200 ");
	close(fd);
	stop();
}

static void server_that_ends_closes_its_streams(void **state)
{
	start_on(http_unix_socket(the.path, (gid_t)-1));
	int fd = dial();
	say(fd, "GET /follow?endless=1 HTTP/1.1\r\n\r\n");
	char text[64];
	hear(fd, text, sizeof text, 2000);
	stop();
	assert_int_equal(the.closed, 1);
	close(fd);
}

static void many_idle_connections_leave_room_for_others(void **state)
{
	int fd[200];

	start_on(http_unix_socket(the.path, (gid_t)-1));
	for (unsigned i = 0; i < 60; i++)
		fd[i] = dial();
	assert_contains(ask("GET /hello HTTP/1.1\r\n" CLOSE), " 200 ");
	for (unsigned i = 60; i < 100; i++)
		fd[i] = dial();
	/* Over the bound: the next ones wait in the kernel's queue, and are served when others leave. */
	int late = dial();
	say(late, "GET /hello HTTP/1.1\r\n" CLOSE);
	assert_false(hear(late, reply, sizeof reply, 300));
	assert_string_equal(reply, "");
	for (unsigned i = 0; i < 100; i++)
		close(fd[i]);
	hear(late, reply, sizeof reply, 5000);
	assert_contains(reply, " 200 ");
	close(late);
	stop();
}

/* The one slow test: the timeout is 10 s. */
static void silent_and_half_finished_clients_are_closed(void **state)
{
	static char text[4096];

	start_on(http_unix_socket(the.path, (gid_t)-1));
	int silent = dial(), half = dial(), follower = dial(), trickling = dial();
	say(half, "POST /body HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
	say(follower, "GET /quiet HTTP/1.1\r\n\r\n");
	assert_false(hear(silent, text, sizeof text, 100));
	time_t start = time(NULL);
	/* An octet a second keeps no place. */
	for (unsigned i = 0; i < 14 && send(trickling, "G", 1, MSG_NOSIGNAL) == 1; i++)
		sleep(1);
	assert_true(hear(trickling, text, sizeof text, 1000));
	assert_true(hear(silent, text, sizeof text, 15000));
	assert_true(hear(half, text, sizeof text, 5000));
	assert_in_range(time(NULL) - start, 8, 18);
	/* A follower may be silent for as long as it likes. */
	assert_false(hear(follower, text, sizeof text, 2000));
	assert_int_equal(the.closed, 0);
	close(silent);
	close(trickling);
	close(half);
	close(follower);
	stop();
	assert_int_equal(the.closed, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(routes_answer_whatever_the_host, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_path_or_method_gets_json, setup, teardown),
		cmocka_unit_test_setup_teardown(parameters_are_decoded, setup, teardown),
		cmocka_unit_test_setup_teardown(body_arrives_up_to_64_kib, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage_is_no_request, setup, teardown),
		cmocka_unit_test_setup_teardown(peer_uid_is_told_on_a_unix_socket_only, setup, teardown),
		cmocka_unit_test_setup_teardown(error_text_is_always_json, setup, teardown),
		cmocka_unit_test_setup_teardown(socket_has_its_group_and_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_in_the_sockets_place_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(stream_sends_pieces_and_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(stream_hears_that_its_client_left, setup, teardown),
		cmocka_unit_test_setup_teardown(stream_that_nobody_reads_is_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(server_that_ends_closes_its_streams, setup, teardown),
		cmocka_unit_test_setup_teardown(many_idle_connections_leave_room_for_others, setup, teardown),
		cmocka_unit_test_setup_teardown(silent_and_half_finished_clients_are_closed, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
