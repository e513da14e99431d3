#include "tools/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolver/character.h"
#include "resolver/http.h"

/* ---- what a call prints ---- */

static char printed[16384];
static int real_fd = -1, capture_fd = -1, captured_fd = -1;

static void capture(int fd)
{
	fflush(NULL);
	captured_fd = fd;
	real_fd = dup(fd);
	capture_fd = memfd_create("captured", 0);
	dup2(capture_fd, fd);
}

static const char *captured(void)
{
	fflush(NULL);
	dup2(real_fd, captured_fd);
	close(real_fd);
	ssize_t len = pread(capture_fd, printed, sizeof printed - 1, 0);
	printed[len < 0 ? 0 : len] = '\0';
	close(capture_fd);
	return printed;
}

#define assert_contains(text, part)                                                                          \
	do {                                                                                                 \
		if (!strstr(text, part))                                                                     \
			fail_msg("%s not in: %s", part, text);                                               \
	} while (0)

/* ---- options ---- */

static const char *client, *follow;

static int parse(const char *line, struct command_context *context)
{
	static char words[256];
	static char *argv[17];
	char *rest = words;
	const struct command_option options[] = { { "client", true, &client }, { "follow", false, &follow } };

	client = follow = NULL;
	snprintf(words, sizeof words, "%s", line);
	*context = (struct command_context){ .argv = argv };
	while (rest && *rest != '\0')
		argv[context->argc++] = strsep(&rest, " ");
	argv[context->argc] = NULL;
	return command_options(context, "log", options, 2);
}

static void options_are_taken_from_anywhere(void **state)
{
	struct command_context context;

	assert_int_equal(parse("a --client 10.1.2.3 b --follow c", &context), 0);
	assert_string_equal(client, "10.1.2.3");
	assert_string_equal(follow, "");
	assert_int_equal(context.argc, 3);
	assert_string_equal(context.argv[0], "a");
	assert_string_equal(context.argv[2], "c");
	assert_null(context.argv[3]);
	assert_int_equal(parse("--client=x=y", &context), 0);
	assert_string_equal(client, "x=y");
	assert_null(follow);
	assert_int_equal(context.argc, 0);
}

static void words_after_two_dashes_are_operands(void **state)
{
	struct command_context context;

	assert_int_equal(parse("--follow -- --client -x", &context), 0);
	assert_int_equal(context.argc, 2);
	assert_string_equal(context.argv[0], "--client");
	assert_null(client);
}

static void wrong_options_are_named(void **state)
{
	static const char *const wrong[][2] = { { "--clients x", "log has no option --clients" },
		{ "--cli=x", "log has no option --cli" }, { "-c", "log has no option -c" },
		{ "--client", "--client needs a value" }, { "--client --follow", "--client needs a value" },
		{ "--follow=yes", "--follow takes no value" }, { "--=", "log has no option --" } };
	struct command_context context;

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		capture(STDERR_FILENO);
		int ret = parse(wrong[i][0], &context);
		captured();
		assert_int_equal(ret, COMMAND_USAGE);
		assert_contains(printed, wrong[i][1]);
		assert_contains(printed, "`usher help log`");
	}
}

/* ---- text ---- */

static void assert_safe(const char *text, const char *want)
{
	char *safe = command_safe_text(text);
	assert_string_equal(safe, want);
	free(safe);
}

static void unsafe_characters_become_question_marks(void **state)
{
	assert_safe(
	        "school.example caf\xc3\xa9 \xf0\x9f\x98\x80", "school.example caf\xc3\xa9 \xf0\x9f\x98\x80");
	assert_safe("a\x1b[2J\n\tb\x7f", "a?[2J??b?");
	assert_safe("\xc2\x9b"
	            "31m",
	        "?31m"); /* CSI as one C1 character */
	assert_safe("\xe2\x80\xae"
	            "gpj.exe",
	        "?gpj.exe"); /* right to left override */
	assert_safe("\xff\xc3-\xe2\x82\xed\xa0\x80\xc0\xaf", "\?\?-\?\?\?\?\?\?\?");
	assert_safe("pay\xc2\xadpal \xe1\xa0\x8e \xef\xbf\xb9 \xf3\xa0\x81\xa1 \xe2\x9d\xa4\xef\xb8\x8f",
	        "pay?pal ? ? ? \xe2\x9d\xa4?"); /* soft hyphen, vowel separator, annotation, tag, variation */
	assert_safe("", "");
	assert_safe("\xf0\x9f", "??");
}

/* By Unicode's own names, the visible neighbours too. */
static void invisible_characters_are_unsafe_and_their_neighbours_not(void **state)
{
	static const struct {
		uint32_t character;
		bool unsafe;
		const char *name;
	} all[] = {
		{ 0x20, false, "SPACE" },
		{ 0x7e, false, "TILDE" },
		{ 0x7f, true, "control: DELETE" },
		{ 0x9b, true, "control: CONTROL SEQUENCE INTRODUCER" },
		{ 0xa1, false, "INVERTED EXCLAMATION MARK" },
		{ 0xac, false, "NOT SIGN" },
		{ 0xad, true, "SOFT HYPHEN" },
		{ 0xae, false, "REGISTERED SIGN" },
		{ 0x34e, false, "COMBINING UPWARDS ARROW BELOW" },
		{ 0x34f, true, "COMBINING GRAPHEME JOINER" },
		{ 0x350, false, "COMBINING RIGHT ARROWHEAD ABOVE" },
		{ 0x61b, false, "ARABIC SEMICOLON" },
		{ 0x61c, true, "ARABIC LETTER MARK" },
		{ 0x61e, false, "ARABIC TRIPLE DOT PUNCTUATION MARK" },
		{ 0x115e, false, "HANGUL CHOSEONG TIKEUT-RIEUL" },
		{ 0x115f, true, "HANGUL CHOSEONG FILLER" },
		{ 0x1160, true, "HANGUL JUNGSEONG FILLER" },
		{ 0x1161, false, "HANGUL JUNGSEONG A" },
		{ 0x17b3, false, "KHMER INDEPENDENT VOWEL QAU" },
		{ 0x17b4, true, "KHMER VOWEL INHERENT AQ" },
		{ 0x17b6, false, "KHMER VOWEL SIGN AA" },
		{ 0x180a, false, "MONGOLIAN NIRUGU" },
		{ 0x180b, true, "MONGOLIAN FREE VARIATION SELECTOR ONE" },
		{ 0x180e, true, "MONGOLIAN VOWEL SEPARATOR" },
		{ 0x1810, false, "MONGOLIAN DIGIT ZERO" },
		{ 0x200b, true, "ZERO WIDTH SPACE" },
		{ 0x200f, true, "RIGHT-TO-LEFT MARK" },
		{ 0x2010, false, "HYPHEN" },
		{ 0x2027, false, "HYPHENATION POINT" },
		{ 0x2028, true, "LINE SEPARATOR" },
		{ 0x202e, true, "RIGHT-TO-LEFT OVERRIDE" },
		{ 0x2030, false, "PER MILLE SIGN" },
		{ 0x205e, false, "VERTICAL FOUR DOTS" },
		{ 0x2060, true, "WORD JOINER" },
		{ 0x2066, true, "LEFT-TO-RIGHT ISOLATE" },
		{ 0x2070, false, "SUPERSCRIPT ZERO" },
		{ 0x3163, false, "HANGUL LETTER I" },
		{ 0x3164, true, "HANGUL FILLER" },
		{ 0x3165, false, "HANGUL LETTER SSANGNIEUN" },
		{ 0xfe00, true, "VARIATION SELECTOR-1" },
		{ 0xfe0f, true, "VARIATION SELECTOR-16" },
		{ 0xfe10, false, "PRESENTATION FORM FOR VERTICAL COMMA" },
		{ 0xfefc, false, "ARABIC LIGATURE LAM WITH ALEF FINAL FORM" },
		{ 0xfeff, true, "ZERO WIDTH NO-BREAK SPACE" },
		{ 0xff01, false, "FULLWIDTH EXCLAMATION MARK" },
		{ 0xff9f, false, "HALFWIDTH KATAKANA SEMI-VOICED SOUND MARK" },
		{ 0xffa0, true, "HALFWIDTH HANGUL FILLER" },
		{ 0xffa1, false, "HALFWIDTH HANGUL LETTER KIYEOK" },
		{ 0xffee, false, "HALFWIDTH WHITE CIRCLE" },
		{ 0xfff9, true, "INTERLINEAR ANNOTATION ANCHOR" },
		{ 0xfffc, false, "OBJECT REPLACEMENT CHARACTER" },
		{ 0xfffd, false, "REPLACEMENT CHARACTER" },
		{ 0x1bca0, true, "SHORTHAND FORMAT LETTER OVERLAP" },
		{ 0x1d172, false, "MUSICAL SYMBOL COMBINING FLAG-5" },
		{ 0x1d173, true, "MUSICAL SYMBOL BEGIN BEAM" },
		{ 0x1d17b, false, "MUSICAL SYMBOL COMBINING ACCENT" },
		{ 0x1f600, false, "GRINNING FACE" },
		{ 0x2f800, false, "CJK COMPATIBILITY IDEOGRAPH-2F800" },
		{ 0xe0001, true, "LANGUAGE TAG" },
		{ 0xe0041, true, "TAG LATIN CAPITAL LETTER A" },
		{ 0xe0100, true, "VARIATION SELECTOR-17" },
		{ 0xe01ef, true, "VARIATION SELECTOR-256" },
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (character_is_unsafe(all[i].character) != all[i].unsafe)
			fail_msg("U+%04X %s", (unsigned)all[i].character, all[i].name);
}

static void json_lines_escape_what_is_unsafe_and_keep_its_value(void **state)
{
	json_t *object = json_pack("{s:s}", "why",
	        "caf\xc3\xa9 \"\\ "
	        "\xf0\x9f\x98\x80\x1b\n\x7f\xc2\x9b\xe2\x80\x8b\xe2\x80\xae\xe2\x81\xa6\xef\xbb\xbf.");

	capture(STDOUT_FILENO);
	command_json(object);
	assert_string_equal(captured(),
	        "{\"why\":\"caf\xc3\xa9 \\\"\\\\ \xf0\x9f\x98\x80\\u001B\\n\\u007F\\u009B"
	        "\\u200B\\u202E\\u2066\\uFEFF.\"}\n");
	json_t *read = json_loads(printed, 0, NULL);
	assert_true(json_equal(read, object));
	json_decref(read);
	json_decref(object);
	capture(STDOUT_FILENO);
	command_json_line("\"\xc2\xad\xf3\xa0\x81\x81\xef\xb8\x8f\"");
	assert_string_equal(captured(), "\"\\u00AD\\uDB40\\uDC41\\uFE0F\"\n");
	read = json_loads(printed, JSON_DECODE_ANY, NULL);
	assert_string_equal(json_string_value(read), "\xc2\xad\xf3\xa0\x81\x81\xef\xb8\x8f");
	json_decref(read);
	capture(STDOUT_FILENO);
	command_json_line("\"\xff\xe2\x80\"");
	assert_string_equal(captured(), "\"\\uFFFD\\uFFFD\\uFFFD\"\n");
}

static void tables_align_and_neutralise(void **state)
{
	struct command_table *table = command_table_new((const char *const[]){ "NAME", "CATEGORY", "N" }, 3);

	command_table_row(table, (const char *const[]){ "caf\xc3\xa9.example", "games", "1" });
	command_table_row(table, (const char *const[]){ "x\x1b[31m", NULL, "22" });
	command_table_row(table, (const char *const[]){ "y", "drugs", "" });
	capture(STDOUT_FILENO);
	command_table_print(table);
	assert_string_equal(captured(), "NAME          CATEGORY  N\n"
	                                "caf\xc3\xa9.example  games     1\n"
	                                "x?[31m                  22\n"
	                                "y             drugs\n");
}

static void tables_are_cut_on_a_terminal_only(void **state)
{
	struct winsize size = { .ws_row = 24, .ws_col = 12 };
	struct command_table *table = command_table_new((const char *const[]){ "NAME", "N" }, 2);
	char text[256];
	int outer, inner;

	assert_int_equal(openpty(&outer, &inner, NULL, NULL, &size), 0);
	command_table_row(table, (const char *const[]){ "caf\xc3\xa9-aaaa.example", "1" });
	capture(STDOUT_FILENO);
	dup2(inner, STDOUT_FILENO);
	command_table_print(table);
	captured();
	ssize_t len = read(outer, text, sizeof text - 1);
	text[len > 0 ? len : 0] = '\0';
	assert_string_equal(text, "NAME        \r\ncaf\xc3\xa9-aaaa.e\xe2\x80\xa6\r\n" + 0);
	close(outer);
	close(inner);
}

static void csv_is_quoted_and_never_a_formula(void **state)
{
	capture(STDOUT_FILENO);
	command_csv(
	        (const char *const[]){ "plain", "a,b", "say \"hi\"", "two\nlines", NULL, "esc\x1b[0m" }, 6);
	command_csv((const char *const[]){ "=1+1", "+1", "-1", "@a", "\tx", "\rx", "1=1", "=a,b" }, 8);
	assert_string_equal(captured(), "plain,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",,esc?[0m\r\n"
	                                "'=1+1,'+1,'-1,'@a,'\tx,\"'\rx\",1=1,\"'=a,b\"\r\n");
}

/* ---- time ---- */

static int64_t time_of(const char *text)
{
	int64_t s;

	if (command_time(text, true, &s) < 0)
		fail_msg("not read: %s", text);
	return s;
}

static void calendar_times_are_read(void **state)
{
	setenv("TZ", "Europe/London", 1);
	tzset();
	assert_int_equal(time_of("2026-11-23T10:15:02Z"), 1795428902);
	assert_int_equal(time_of("2026-11-23T10:15:02.123456Z"), 1795428902);
	assert_int_equal(time_of("2026-11-23t11:15:02+01:00"), 1795428902);
	assert_int_equal(time_of("2026-11-23 05:15:02-05:00"), 1795428902);
	assert_int_equal(time_of("2026-11-23 10:15:02"), 1795428902);
	assert_int_equal(time_of("2026-11-23 10:15"), 1795428900);
	assert_int_equal(time_of("2026-11-23"), 1795392000);
	assert_int_equal(time_of("2026-06-23 10:15"), time_of("2026-06-23T09:15:00Z")); /* summer time */
	assert_int_equal(time_of("2024-02-29"), time_of("2024-02-29T00:00:00Z"));
}

static void durations_count_back_or_forward(void **state)
{
	int64_t now = time(NULL), s;

	assert_in_range(time_of("1h"), now - 3600, now - 3595);
	assert_in_range(time_of("90d"), now - 90 * 86400, now - 90 * 86400 + 5);
	assert_int_equal(command_time("40m", false, &s), 0);
	assert_in_range(s, now + 2400, now + 2405);
	assert_in_range(time_of("now"), now, now + 5);
}

static void days_begin_at_local_midnight(void **state)
{
	int64_t now = time(NULL), today = time_of("today"), yesterday = time_of("yesterday");
	time_t at = today;
	struct tm tm;

	localtime_r(&at, &tm);
	assert_int_equal(tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec, 0);
	assert_true(today <= now && now - today < 90000);
	assert_in_range(today - yesterday, 82800, 90000);
}

static void what_is_no_time_is_refused(void **state)
{
	static const char *const wrong[] = { "", "1", "h", "1x", "-1h", "2026", "2026-13-01", "2026-02-30",
		"2025-02-29", "2026-00-10", "2026-11-23 ", "2026-11-23 24:00", "2026-11-23 10:60",
		"2026-11-23 10:15:61", "2026-11-23 10", "2026-11-23T10:15:02+1", "2026-11-23T10:15:02+24:00",
		"2026-11-23T10:15:02Zx", "2026-11-23T10:15:02.Z", "26-11-23", "2026-11-23T10:15:02 Z",
		"tomorrow", "+026-11-23" };
	int64_t s;

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (command_time(wrong[i], true, &s) != -EINVAL)
			fail_msg("read: '%s'", wrong[i]);
}

/* ---- asking usherd ---- */

static char run_dir[64], stats_path[96]; /* one server behind both names */
static struct event_base *base;
static pthread_t server_thread;

#define STATUS                                                                                               \
	"{\"version\":\"1.2.3\",\"pid\":7,\"uptime_s\":90061,\"config\":\"/etc/usher/"                       \
	"usher.yaml\",\"parts\":["                                                                           \
	"{\"part\":\"lists\",\"state\":\"ok\",\"text\":\"generation 42\"},"                                  \
	"{\"part\":\"recursor\",\"state\":\"%s\",\"text\":\"pid 8\\u001b[2J\"}],"                            \
	"\"libraries\":{\"libunbound\":\"1.17.1\",\"ldns\":\"1.8.3\"}}"

static const char *recursor_state = "ok";
static _Atomic unsigned stats_asked, stats_last; /* after the last, usherd ends */

static void handle_status(struct http_request *request, void *arg)
{
	char text[1024];

	snprintf(text, sizeof text, STATUS, recursor_state);
	http_reply_json(request, 200, text);
}

/* Counts 1000 lookups between two questions. */
static void handle_stats(struct http_request *request, void *arg)
{
	char text[1024];

	snprintf(text, sizeof text,
	        "{\"version\":\"1.2.3\",\"uptime_s\":90061,\"generation\":{\"id\":42,\"names\":1000,\"age_"
	        "s\":3600,\"hash\":"
	        "\"ab\"},\"queries\":{\"udp\":%u,\"tcp\":5},\"blocked\":{\"gambling\":3,\"ads\":0},"
	        "\"profiles\":{"
	        "\"pupils\":{"
	        "\"queries\":9,\"blocked\":3}},\"cache\":{\"entries\":4},\"latency_us\":{\"le\":[8,16,null],"
	        "\"count\":[5,5,0],"
	        "\"sum\":99},\"recursor_restarts\":2}",
	        1000 * ++stats_asked);
	http_reply_json(request, 200, text);
	if (stats_asked == stats_last)
		event_base_loopexit(base, &(struct timeval){ .tv_usec = 10000 });
}

static char flushed[256];

static void handle_flush(struct http_request *request, void *arg)
{
	size_t len;

	snprintf(flushed, sizeof flushed, "%s", http_body(request, &len));
	http_reply_json(request, 200, "{\"flushed\":3}");
}

static void handle_reload(struct http_request *request, void *arg)
{
	http_reply_error(request, 400, "usher.yaml:3: port: found '70000'\nusher.yaml:4: \x1b[2J");
}

static void handle_follow(struct http_request *request, void *arg)
{
	struct http_stream *stream = http_stream_start(request, "application/x-ndjson", NULL, NULL);

	for (unsigned i = 0; i < 3; i++)
		http_stream_send(stream, "{}\n", 3);
	http_stream_end(stream);
}

static void handle_stop(struct http_request *request, void *arg)
{
	http_reply_json(request, 200, "{}");
	event_base_loopexit(base, &(struct timeval){ .tv_usec = 10000 });
}

static const struct http_route routes[] = {
	{ "GET", "/v1/status", handle_status },
	{ "GET", "/v1/stats", handle_stats },
	{ "POST", "/v1/flush", handle_flush },
	{ "POST", "/v1/reload", handle_reload },
	{ "GET", "/v1/follow", handle_follow },
	{ "POST", "/stop", handle_stop },
	{ 0 },
};

static void *serve(void *arg)
{
	struct http_server *server = arg;

	event_base_dispatch(base);
	http_server_free(server);
	event_base_free(base);
	return NULL;
}

static void start(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[96];

	snprintf(run_dir, sizeof run_dir, "%s/usher-command-XXXXXX", tmp && strlen(tmp) < 32 ? tmp : "/tmp");
	assert_non_null(mkdtemp(run_dir));
	snprintf(path, sizeof path, "%s/control.sock", run_dir);
	base = event_base_new();
	struct http_server *server = http_serve(base, http_unix_socket(path, (gid_t)-1), routes, NULL);
	snprintf(stats_path, sizeof stats_path, "%s/stats.sock", run_dir);
	assert_int_equal(symlink("control.sock", stats_path), 0);
	assert_non_null(server);
	assert_int_equal(pthread_create(&server_thread, NULL, serve, server), 0);
}

static void stopped(void)
{
	char path[96];

	pthread_join(server_thread, NULL);
	snprintf(path, sizeof path, "%s/control.sock", run_dir);
	unlink(path);
	unlink(stats_path);
	rmdir(run_dir);
}

static void stop(const struct config *config)
{
	char *reply;

	assert_int_equal(command_http(config, "control.sock", "/stop", "", &reply), 200);
	free(reply);
	stopped();
}

static bool count_octets(void *arg, const char *data, size_t len)
{
	*(size_t *)arg += len;
	return true;
}

static bool stop_at_once(void *arg, const char *data, size_t len)
{
	(*(size_t *)arg)++;
	return false;
}

static void usherd_is_asked_over_its_socket(void **state)
{
	struct config config = { .run_dir = run_dir };
	char *reply;
	size_t octets = 0, calls = 0;

	start();
	setenv("http_proxy", "http://127.0.0.1:1", 1); /* must not be used */
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	assert_int_equal(command_http(&config, "control.sock", "/v1/status", NULL, &reply), 200);
	assert_contains(reply, "\"pid\":7");
	free(reply);
	assert_int_equal(
	        command_http(&config, "control.sock", "/v1/flush", "{\"name\":\"a.b\"}", &reply), 200);
	assert_string_equal(reply, "{\"flushed\":3}");
	assert_string_equal(flushed, "{\"name\":\"a.b\"}");
	free(reply);
	assert_int_equal(command_http(&config, "control.sock", "/nothing", NULL, &reply), 404);
	free(reply);
	assert_int_equal(command_http(&config, "control.sock", "/v1/reload", "", &reply), 400);
	capture(STDERR_FILENO);
	assert_int_equal(command_http_failed(400, reply), COMMAND_FAILED);
	free(reply);
	assert_string_equal(
	        captured(), "usher: usher.yaml:3: port: found '70000'\nusher: usher.yaml:4: ?[2J\n");
	assert_int_equal(
	        command_http_stream(&config, "control.sock", "/v1/follow", count_octets, &octets), 200);
	assert_int_equal(octets, 9);
	assert_int_equal(
	        command_http_stream(&config, "control.sock", "/v1/follow", stop_at_once, &calls), 200);
	assert_int_equal(calls, 1);
	octets = 0;
	capture(STDERR_FILENO);
	assert_int_equal(
	        command_http_stream(&config, "control.sock", "/nothing", count_octets, &octets), 404);
	assert_string_equal(captured(), "usher: no such path\n");
	assert_int_equal(octets, 0);
	stop(&config);
}

static void nobody_at_the_socket_is_said(void **state)
{
	struct config config = { .run_dir = "/nonexistent/run" };
	char *reply;

	capture(STDERR_FILENO);
	int ret = command_http(&config, "control.sock", "/v1/status", NULL, &reply);
	captured();
	assert_int_equal(ret, -ECONNREFUSED);
	assert_null(reply);
	assert_contains(
	        printed, "usher: usherd does not run (nobody answers at /nonexistent/run/control.sock)\n");
}

/* Runs a command with its words; what it prints is in printed. */
static int run(
        int (*command)(struct command_context *context), const char *words, bool json, bool csv, int fd)
{
	struct config config = { .run_dir = run_dir };
	char copy[128], *rest = copy, *argv[8];
	struct command_context context = { .config = &config, .json = json, .csv = csv, .argv = argv };

	snprintf(copy, sizeof copy, "%s", words);
	while (rest && *rest != '\0')
		argv[context.argc++] = strsep(&rest, " ");
	argv[context.argc] = NULL;
	capture(fd);
	int ret = command(&context);
	captured();
	return ret;
}

static void stats_are_shown_for_people_and_programs(void **state)
{
	struct config config = { .run_dir = run_dir };

	start();
	assert_int_equal(run(stats_command, "", false, false, STDOUT_FILENO), COMMAND_OK);
	assert_contains(printed,
	        "usherd 1.2.3, up 1 d 1 h; lists: generation 42, 1000 names, published 1 h 0 min ago\n");
	assert_contains(printed, "half of the answers within 8 us, 99 of 100 within 16 us\n");
	assert_null(strstr(printed, "ads"));
	assert_contains(printed, "\nblocked   gambling           3\n");
	assert_contains(printed, "\nprofiles  pupils queries     9\n");
	assert_int_equal(run(stats_command, "", true, false, STDOUT_FILENO), COMMAND_OK);
	assert_ptr_equal(strstr(printed, "{\"version\":\"1.2.3\",\"uptime_s\":90061,"), printed);
	assert_int_equal(strcspn(printed, "\n"), strlen(printed) - 1);
	assert_int_equal(run(stats_command, "", false, true, STDOUT_FILENO), COMMAND_OK);
	assert_ptr_equal(strstr(printed, "section,key,value\r\n"), printed);
	assert_contains(printed, "\r\nqueries,tcp,5\r\n");
	assert_contains(printed, "\r\nblocked,ads,0\r\n");
	assert_int_equal(run(stats_command, "extra", false, false, STDERR_FILENO), COMMAND_USAGE);
	stop(&config);
}

static void watched_stats_show_rates_until_usherd_ends(void **state)
{
	float rate;

	start();
	stats_last = stats_asked + 2;
	assert_int_equal(run(stats_command, "--watch", false, false, STDOUT_FILENO), COMMAND_FAILED);
	stopped();
	assert_null(strchr(printed, '\033'));
	assert_contains(printed, "A SECOND\n");
	const char *line = strstr(strstr(printed, "A SECOND\n"), "\nqueries   udp");
	assert_non_null(line);
	assert_int_equal(sscanf(line, " queries udp %*d %f", &rate), 1);
	assert_true(rate > 500 && rate < 1010);
	assert_contains(line, "\ncache     entries            4\n"); /* goes up and down: no rate */
}

static void status_fails_when_a_part_has_failed(void **state)
{
	struct config config = { .run_dir = run_dir };

	start();
	assert_int_equal(run(status_command, "", false, false, STDOUT_FILENO), COMMAND_OK);
	assert_contains(
	        printed, "usherd 1.2.3, process 7, up 1 d 1 h, configuration /etc/usher/usher.yaml\n");
	assert_contains(printed, "recursor  ok     pid 8?[2J\n");
	assert_contains(printed, "libraries: libunbound 1.17.1, ldns 1.8.3\n");
	recursor_state = "warning";
	assert_int_equal(run(status_command, "", false, true, STDOUT_FILENO), COMMAND_OK);
	assert_contains(printed, "part,state,text\r\nlists,ok,generation 42\r\nrecursor,warning,");
	recursor_state = "failed";
	assert_int_equal(run(status_command, "", true, false, STDOUT_FILENO), COMMAND_FAILED);
	assert_contains(printed, "\"state\":\"failed\"");
	recursor_state = "ok";
	stop(&config);
	assert_int_equal(run(status_command, "", true, false, STDERR_FILENO), COMMAND_FAILED);
	assert_contains(printed, "usherd does not run");
}

static void reload_and_flush_tell_what_happened(void **state)
{
	struct config config = { .run_dir = run_dir };

	start();
	assert_int_equal(run(reload_command, "", false, false, STDERR_FILENO), COMMAND_FAILED);
	assert_contains(printed, "usher: usher.yaml:3: port: found '70000'\n");
	assert_int_equal(run(flush_command, "WWW.School.Example.", false, false, STDOUT_FILENO), COMMAND_OK);
	assert_string_equal(flushed, "{\"name\":\"www.school.example\"}");
	assert_string_equal(printed, "3 answers for www.school.example and names below it were forgotten\n");
	assert_int_equal(run(flush_command, "a..b", false, false, STDERR_FILENO), COMMAND_USAGE);
	assert_int_equal(run(flush_command, "a b", false, false, STDERR_FILENO), COMMAND_USAGE);
	assert_int_equal(run(flush_command, "", false, false, STDERR_FILENO), COMMAND_USAGE);
	stop(&config);
}

/* ---- configuration and user ---- */

static void wrong_configuration_ends_the_program(void **state)
{
	int status;

	fflush(NULL);
	capture(STDERR_FILENO);
	pid_t child = fork();
	if (child == 0) {
		struct command_context context = { .config_file = "/nonexistent/usher.yaml" };
		command_config(&context);
		_exit(77);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	captured();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), COMMAND_FAILED);
	assert_contains(printed, "usher: ");
	assert_contains(printed, "/nonexistent/usher.yaml");
}

/* Exit status of a child that becomes the user of a configuration; 0 if it then has that user's id
 * everywhere. */
static int become(const char *user, bool given)
{
	int status;

	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		struct config config = { .user = user, .user_given = given };
		command_become_user(&config);
		uid_t real, effective, saved;
		const struct passwd *entry = getpwnam(user);
		getresuid(&real, &effective, &saved);
		_exit(entry && real == entry->pw_uid && effective == real && saved == real ? 0 : 77);
	}
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

static void root_becomes_the_configured_user(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(become("nobody", true), 0);
	capture(STDERR_FILENO);
	int given = become("no-such-user", true), not_given = become("no-such-user", false);
	captured();
	assert_int_equal(given, COMMAND_FAILED);
	assert_int_equal(not_given, 77); /* goes on as root, and says so */
	assert_contains(printed, "cannot become user no-such-user: there is no such user\n");
	assert_contains(printed, "there is no user no-such-user: what is written now belongs to root\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_taken_from_anywhere),
		cmocka_unit_test(words_after_two_dashes_are_operands),
		cmocka_unit_test(wrong_options_are_named),
		cmocka_unit_test(unsafe_characters_become_question_marks),
		cmocka_unit_test(invisible_characters_are_unsafe_and_their_neighbours_not),
		cmocka_unit_test(json_lines_escape_what_is_unsafe_and_keep_its_value),
		cmocka_unit_test(tables_align_and_neutralise),
		cmocka_unit_test(tables_are_cut_on_a_terminal_only),
		cmocka_unit_test(csv_is_quoted_and_never_a_formula),
		cmocka_unit_test(calendar_times_are_read),
		cmocka_unit_test(durations_count_back_or_forward),
		cmocka_unit_test(days_begin_at_local_midnight),
		cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(usherd_is_asked_over_its_socket),
		cmocka_unit_test(nobody_at_the_socket_is_said),
		cmocka_unit_test(stats_are_shown_for_people_and_programs),
		cmocka_unit_test(watched_stats_show_rates_until_usherd_ends),
		cmocka_unit_test(status_fails_when_a_part_has_failed),
		cmocka_unit_test(reload_and_flush_tell_what_happened),
		cmocka_unit_test(wrong_configuration_ends_the_program),
		cmocka_unit_test(root_becomes_the_configured_user),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
