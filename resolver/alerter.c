/*
 * usherd: alerter, the process that tells people what cannot wait. It follows the block log, evaluates the
 * signals (signal.h), adds usherd's own troubles, and keeps what is to be sent in STATE-DIR/alerts until it
 * has arrived (alert_queue.h). Where that cannot be written it works from memory, and writes when it can
 * again: its lock, the troubles and what usherd tells of it are in RUN-DIR/alerts, which is memory. It runs
 * as `user`, and is neither the process that answers lookups nor the one that reads for people: a mail server
 * that hangs, or a sendmail that is not what it should be, holds up nobody.
 *
 * A record is evaluated when it is known whose it is, or DEVICE_WAIT_S old: what a device does before its
 * lease is read, or its neighbour's entry written, is its own too.
 *
 * After a start it looks back: the records before the saved position are fed to the evaluator without telling
 * anybody, so that windows and weeks are what they were; those after it are what happened while we were not
 * there.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/manifest.h"
#include "alert_queue.h"
#include "alert_text.h"
#include "block_log.h"
#include "courier.h"
#include "erasure.h"
#include "event_query.h"
#include "http.h"
#include "keeper.h"
#include "log.h"
#include "log_query.h"
#include "page_guard.h"
#include "sandbox.h"
#include "signal.h"

#define SOCKET_FD 4
#define LOOK_MS 500
#define LOOK_MOST 20000         /* records a look evaluates */
#define LOOK_BACK_S (8 * 86400) /* all records; of severity danger SIGNAL_LEAD_S */
#define DEVICE_WAIT_S 5         /* leases are read every second, neighbours noted after three */
#define WAIT_MOST_S 50          /* of alerts.wait then: within a minute all the same */
#define FIRST_S 60
#define TOO_OLD_S 86400 /* what was so long ago is no alert any more */
#define POSITION_S 10   /* how often a position alone is saved */
#define TEST_PREFIX "test-"
#define TESTS_MAX 160
#define MEMORY_MAX (UINT64_C(1) << 30) /* signals and devices at their limits take less */

struct test {
	char id[COURIER_ID_MAX];
	bool is_away;
	char *line; /* what came of it; NULL: nothing yet */
	enum courier_channel channel;
	char *to;
};

struct alerter {
	struct config *config;
	char dir[PATH_MAX], run_dir[PATH_MAX], log_dir[PATH_MAX], host[256], from[300];
	struct event_base *base;
	struct event *look, *arrived;
	struct http_server *server;
	struct alert_queue *queue;
	struct courier *courier;
	struct signals *signals;
	struct devices *devices;
	bool knows_devices; /* there is a history to wait for */
	bool muted;         /* looking back */
	struct live {       /* alerts that gather, and the evaluator's signal behind each */
		char id[20];
		const struct signal *signal;
	} live[ALERT_OPEN_MAX];
	size_t live_count;
	uint64_t position;
	int64_t position_saved_s;
	json_t *health; /* as last written */
	struct http_request *test_request;
	struct test tests[TESTS_MAX];
	size_t test_count;
	bool has_failed, is_blind, is_unseen; /* to save, to read the log, to write health: said once */
};

static int64_t now_s(void)
{
	return (int64_t)time(NULL);
}

static void id_text(const struct signal *signal, char text[20])
{
	snprintf(text, 20, "%016" PRIx64, signal->id);
}

static json_t *signal_object(const struct alerter *alerter, const struct signal *signal)
{
	char *text = signal_with_device(alerter->devices, signal);
	json_t *object = text ? json_loads(text, 0, NULL) : NULL;

	free(text);
	return object;
}

/* ---- signals become alerts ---- */

static struct live *live_find(struct alerter *alerter, const char *id)
{
	for (size_t i = 0; i < alerter->live_count; i++)
		if (strcmp(alerter->live[i].id, id) == 0)
			return &alerter->live[i];
	return NULL;
}

static void live_add(struct alerter *alerter, const char *id, const struct signal *signal)
{
	if (alerter->live_count == ALERT_OPEN_MAX || live_find(alerter, id))
		return;
	struct live *live = &alerter->live[alerter->live_count++];
	snprintf(live->id, sizeof live->id, "%s", id);
	live->signal = signal;
}

static void live_drop(struct alerter *alerter, const char *id)
{
	struct live *live = live_find(alerter, id);

	if (live)
		*live = alerter->live[--alerter->live_count];
}

static void heard(void *arg, const struct signal *signal, enum signal_stage stage)
{
	struct alerter *alerter = arg;
	char id[20];

	if (!signal->is_sent)
		return;
	id_text(signal, id);
	if (stage == SIGNAL_NEW && !alerter->muted && signal->fired_us / 1000000 > now_s() - TOO_OLD_S) {
		json_t *object = signal_object(alerter, signal);
		if (object && alert_queue_add(alerter->queue, id, signal->rule->name, object, now_s()))
			live_add(alerter, id, signal);
	} else if (stage == SIGNAL_NEW && alert_queue_is_open(alerter->queue, id)) {
		live_add(alerter, id, signal);
	} else if (stage == SIGNAL_MORE && !alerter->muted && live_find(alerter, id)) {
		alert_queue_update(alerter->queue, id, NULL, now_s());
	} else if (stage == SIGNAL_OVER && live_find(alerter, id)) {
		alert_queue_update(alerter->queue, id, signal_object(alerter, signal), now_s());
		live_drop(alerter, id);
	}
}

/* The last state of an alert that is about to be told. */
static json_t *refreshed(void *arg, const char *id)
{
	struct live *live = live_find(arg, id);
	json_t *object = live ? signal_object(arg, live->signal) : NULL;

	live_drop(arg, id);
	return object;
}

/* ---- the block log ---- */

static void evaluate_record(struct alerter *alerter, const struct block_record *record)
{
	if (signals_feed(alerter->signals, record) < 0)
		log_fatal("out of memory");
}

/* Whose it is may be known in a moment. */
static bool is_too_early(const struct alerter *alerter, const struct block_record *record)
{
	enum device_confidence known = record->device->confidence;

	if (!alerter->knows_devices || !record->client ||
	        (known != DEVICE_UNKNOWN && known != DEVICE_EXPIRED))
		return false;
	int64_t age_s = now_s() - record->time_us / 1000000;
	return age_s >= 0 && age_s < DEVICE_WAIT_S;
}

static bool feed(void *arg, const struct block_record *found)
{
	struct alerter *alerter = arg;
	struct block_record record = *found;
	struct device room;

	log_query_join(alerter->devices, &record, &room);
	if (is_too_early(alerter, &record))
		return false;
	alerter->position = record.id;
	evaluate_record(alerter, &record);
	return true;
}

static bool feed_back(void *arg, const struct block_record *found)
{
	struct alerter *alerter = arg;
	struct block_record record = *found;
	struct device room;

	if (record.id > alerter->position)
		return false;
	log_query_join(alerter->devices, &record, &room);
	evaluate_record(alerter, &record);
	return true;
}

static int64_t scan_back(struct alerter *alerter, int64_t since_us, int64_t until_us, int severity)
{
	struct block_filter filter = { .severity = severity,
		.since_us = since_us > 0 ? since_us : 1,
		.until_us = until_us,
		.after_id = since_us > 0 ? (uint64_t)since_us : 1 };

	return block_log_scan(alerter->log_dir, &filter, feed_back, alerter);
}

/* What was before the position, for windows and weeks. */
static void look_back(struct alerter *alerter)
{
	int64_t now_us = now_s() * INT64_C(1000000), near_us = now_us - LOOK_BACK_S * INT64_C(1000000);

	alerter->muted = true;
	if (scan_back(alerter, now_us - SIGNAL_LEAD_S * INT64_C(1000000), near_us, SEVERITY_DANGER) < 0 ||
	        scan_back(alerter, near_us, 0, -1) < 0)
		log_error("alerts: the log cannot be looked back on");
	alerter->muted = false;
}

static void begin(struct alerter *alerter)
{
	alerter->position = alert_queue_position(alerter->queue);
	if (alerter->position ==
	        0) { /* the first start: what came while usherd started is told, what was before is not */
		alerter->position = (uint64_t)(now_s() - FIRST_S) * 1000000; /* ids are times: block_log.h */
		alert_queue_set_position(alerter->queue, alerter->position);
	}
	look_back(alerter);
}

/* Returns whether there may be more. */
static bool evaluate(struct alerter *alerter)
{
	struct block_filter filter = { .severity = -1, .limit = LOOK_MOST, .after_id = alerter->position };
	int64_t ret = block_log_scan(alerter->log_dir, &filter, feed, alerter);

	if (ret < 0 && !alerter->is_blind)
		log_error("alerts: the log cannot be followed: %s", strerror((int)-ret));
	alerter->is_blind = ret < 0;
	return ret == LOOK_MOST;
}

/* ---- usherd's own troubles ---- */

/* As the daemon wrote them last (operations.h); none where there is no file. */
static void look_at_troubles(struct alerter *alerter)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof path, "%s/troubles.json", alerter->run_dir);
	json_t *troubles;
	if (manifest_read(path, &troubles) < 0)
		return;
	alert_queue_troubles(alerter->queue, &alerter->config->alerts, troubles, now_s());
	json_decref(troubles);
}

/* ---- sending ---- */

static enum courier_channel channel_of(const char *text)
{
	enum courier_channel channel = COURIER_MAIL;

	while (channel < COURIER_SYSLOG && strcmp(courier_channel_text(channel), text) != 0)
		channel++;
	return channel;
}

static int send_letter(struct alerter *alerter, const char *id, enum courier_channel channel, const char *to,
        const json_t *alerts)
{
	static char *(*const writers[])(
	        const struct alert_letter *letter) = { alert_mail, alert_post, alert_line };
	struct alert_letter letter = { .id = id,
		.to = to,
		.from = alerter->from,
		.host = alerter->host,
		.detail = alerter->config->alerts.detail,
		.now_s = now_s(),
		.alerts = alerts };
	struct courier_job job = { .channel = channel, .to = to, .text = writers[channel](&letter) };

	snprintf(job.id, sizeof job.id, "%s", id);
	int ret = job.text ? courier_send(alerter->courier, &job) : -ENOMEM;
	free((char *)job.text);
	return ret;
}

static void send_due(struct alerter *alerter)
{
	json_t *message;

	while (courier_busy(alerter->courier) < 4 &&
	        (message = alert_queue_next(alerter->queue, now_s())) != NULL) {
		const char *id = json_string_value(json_object_get(message, "id"));
		int ret = send_letter(alerter, id,
		        channel_of(json_string_value(json_object_get(message, "channel"))),
		        json_string_value(json_object_get(message, "to")),
		        json_object_get(message, "alerts"));
		if (ret < 0)
			alert_queue_result(alerter->queue, id, false, strerror(-ret), now_s());
	}
}

/* ---- what the daemon tells of us ---- */

static void write_health(struct alerter *alerter)
{
	json_t *health = alert_queue_health(alerter->queue);
	char path[PATH_MAX + 32];

	if (!health || json_equal(health, alerter->health)) {
		json_decref(health);
		return;
	}
	snprintf(path, sizeof path, "%s/health.json", alerter->run_dir);
	int ret = manifest_write(path, health);
	if (ret < 0 && !alerter->is_unseen)
		log_error("alerts: %s cannot be written: %s", path, strerror(-ret));
	alerter->is_unseen = ret < 0;
	if (ret < 0) { /* it is tried again next time */
		json_decref(health);
		return;
	}
	json_decref(alerter->health);
	alerter->health = health;
}

/* A position by itself need not be on disk at once: what is evaluated again is known by its id. */
static void save(struct alerter *alerter, bool position_too)
{
	if (position_too || now_s() - alerter->position_saved_s >= POSITION_S) {
		alert_queue_set_position(alerter->queue, alerter->position);
		alerter->position_saved_s = now_s();
	}
	int ret = alert_queue_save(alerter->queue);
	if (ret < 0 && !alerter->has_failed)
		log_error("alerts: the queue cannot be saved and is in memory until it can: %s",
		        strerror(-ret));
	alerter->has_failed = ret < 0;
	write_health(alerter);
}

/* ---- erasures ---- */

/* The last part of one: see erasure.h. */
static void erase(struct alerter *alerter)
{
	struct erasure *erasure;

	if (erasure_read(alerter->dir, &erasure) < 0 || erasure == NULL)
		return;
	if (!erasure->rows_only)
		alert_queue_forget(alerter->queue,
		        erasure->filter.has_client ? &erasure->filter.client : NULL, erasure->device);
	erasure_free(erasure);
	int ret = alert_queue_save(alerter->queue);
	if (ret == 0)
		ret = erasure_pass_on(alerter->dir, NULL);
	if (ret < 0 && !alerter->has_failed)
		log_error("alerts: an erasure cannot be ended: %s", strerror(-ret));
	alerter->has_failed = ret < 0;
}

/* ---- the loop ---- */

/* Returns whether there may be more to evaluate. */
static bool tell(struct alerter *alerter)
{
	struct moment now = moment_at(now_s());

	devices_refresh(alerter->devices);
	bool more = evaluate(alerter);
	look_at_troubles(alerter);
	alert_queue_make_messages(alerter->queue, alerter->config, &now, refreshed, alerter);
	save(alerter,
	        alerter->live_count > 0); /* with the position: nothing is told twice, nothing is left out */
	send_due(alerter);
	return more;
}

static void look(struct alerter *alerter)
{
	erase(alerter);
	bool more = alerts_have_recipients(&alerter->config->alerts) && tell(alerter);
	evtimer_add(alerter->look, &(struct timeval){ .tv_usec = more ? 1000 : LOOK_MS * 1000 });
}

static void look_due(evutil_socket_t fd, short what, void *arg)
{
	look(arg);
}

/* ---- POST /v1/alerts/test ---- */

static void test_reply(struct alerter *alerter)
{
	char *text = NULL;
	size_t len;

	for (size_t i = 0; i < alerter->test_count; i++)
		if (!alerter->tests[i].line)
			return;
	FILE *out = open_memstream(&text, &len);
	for (size_t i = 0; i < alerter->test_count; i++) {
		struct test *test = &alerter->tests[i];
		if (out)
			fprintf(out, "%s\n", test->line);
		free(test->line);
		free(test->to);
	}
	alerter->test_count = 0;
	if (out && fclose(out) == 0)
		http_reply(alerter->test_request, 200, "application/x-ndjson", text, len);
	else
		http_reply_error(alerter->test_request, 503, "out of memory");
	free(text);
	alerter->test_request = NULL;
}

static void test_result(struct alerter *alerter, const char *id, bool is_done, const char *why)
{
	for (size_t i = 0; i < alerter->test_count; i++) {
		struct test *test = &alerter->tests[i];
		if (strcmp(test->id, id) != 0 || test->line)
			continue;
		json_t *line = json_pack("{s:s, s:s, s:b, s:o}", "channel",
		        courier_channel_text(test->channel), "to", test->to, "sent", is_done, "why",
		        is_done ? json_null() : json_string(why));
		test->line = line ? json_dumps(line, JSON_COMPACT) : NULL;
		json_decref(line);
		if (!test->line)
			test->line = strdup("{}");
	}
}

static void test_each(void *arg, enum courier_channel channel, const char *to)
{
	struct alerter *alerter = arg;

	if (alerter->test_count == TESTS_MAX)
		return;
	struct test *test = &alerter->tests[alerter->test_count];
	*test = (struct test){ .channel = channel, .to = strdup(to) };
	snprintf(test->id, sizeof test->id, TEST_PREFIX "%" PRId64 "-%zu", now_s(), alerter->test_count);
	if (test->to)
		alerter->test_count++;
}

/* As many as may be on their way; the rest when some have come back. */
static void test_go_on(struct alerter *alerter)
{
	json_t *alerts = json_pack("[{s:s, s:s, s:s}]", "rule", "test", "kind", "operations", "text",
	        "a test of the way that alerts take; nothing has happened");

	for (size_t i = 0; i < alerter->test_count; i++) {
		struct test *test = &alerter->tests[i];
		if (test->line || test->is_away)
			continue;
		int ret = send_letter(alerter, test->id, test->channel, test->to, alerts);
		if (ret == -EAGAIN)
			break;
		if (ret < 0)
			test_result(alerter, test->id, false, strerror(-ret));
		test->is_away = ret == 0;
	}
	json_decref(alerts);
}

static void test_asked(struct http_request *request, void *arg)
{
	struct alerter *alerter = arg;

	if (alerter->test_request) {
		http_reply_error(request, 503, "a test is under way already");
		return;
	}
	if (!alerts_have_recipients(&alerter->config->alerts)) {
		http_reply_error(request, 400,
		        "alerts: no mail-to, webhook or syslog is configured: nobody would be told");
		return;
	}
	alerter->test_request = request;
	alerts_each_recipient(&alerter->config->alerts, test_each, alerter);
	test_go_on(alerter);
	test_reply(alerter);
}

static void list_asked(struct http_request *request, void *arg)
{
	struct alerter *alerter = arg;
	char *text = alert_queue_list(alerter->queue);

	if (text)
		http_reply(request, 200, "application/x-ndjson", text, strlen(text));
	else
		http_reply_error(request, 503, "out of memory");
	free(text);
}

/* ---- results ---- */

static void arrived(evutil_socket_t fd, short what, void *arg)
{
	struct alerter *alerter = arg;
	struct courier_result result;

	while (courier_take(alerter->courier, &result)) {
		if (strncmp(result.id, TEST_PREFIX, strlen(TEST_PREFIX)) == 0) {
			test_result(alerter, result.id, result.is_done, result.why);
			continue;
		}
		alert_queue_result(alerter->queue, result.id, result.is_done, result.why, now_s());
		if (!result.is_done)
			log_warn("alerts: message %s could not be sent and is tried again: %s", result.id,
			        result.why);
	}
	save(alerter, false);
	if (alerter->test_request) {
		test_go_on(alerter);
		test_reply(alerter);
	}
	send_due(alerter);
}

/* ---- the process ---- */

static const struct http_route routes[] = {
	{ "GET", "/v1/alerts", list_asked },
	{ "POST", "/v1/alerts/test", test_asked },
	{ 0 },
};

/* No more than a fence: sendmail is a program, and reads and writes what it wants to. The keeper has taken
 * the capabilities, and the rights of a setuid sendmail: conf/usher.yaml.5 says which ones work. */
static void enter_fence(void)
{
	int ret = sandbox_fence(MEMORY_MAX);

	if (ret < 0)
		log_warn("alerts: running without a system call filter: %s", strerror(-ret));
}

/* The one that we replace still writes what it sends: it ends first. */
static void lock_folder(const struct alerter *alerter)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof path, "%s/lock", alerter->run_dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		log_fatal("alerts: %s cannot be locked: %s", path, strerror(errno));
}

/* A name that may stand in a header. */
static void find_host(struct alerter *alerter)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";

	if (gethostname(alerter->host, sizeof alerter->host - 1) < 0 || alerter->host[0] == '\0' ||
	        alerter->host[strspn(alerter->host, allowed)] != '\0')
		snprintf(alerter->host, sizeof alerter->host, "localhost");
	if (alerter->config->alerts.mail_from[0] != '\0')
		snprintf(alerter->from, sizeof alerter->from, "%s", alerter->config->alerts.mail_from);
	else
		snprintf(alerter->from, sizeof alerter->from, "usher@%s", alerter->host);
}

static void ended(evutil_socket_t fd, short what, void *arg)
{
	event_base_loopbreak(arg);
}

static void open_queue(struct alerter *alerter)
{
	int ret = alert_queue_open(&alerter->queue, alerter->dir);

	if (ret < 0)
		log_fatal("alerts: the queue in %s cannot be opened: %s", alerter->dir, strerror(-ret));
	if (ret > 0)
		log_error("alerts: queue.json was damaged; it is kept beside as queue.json.damaged, and a "
		          "new one begun");
}

static void serve(struct alerter *alerter)
{
	struct event *end = evsignal_new(alerter->base, SIGTERM, ended, alerter->base);

	alerter->look = evtimer_new(alerter->base, look_due, alerter);
	alerter->arrived = event_new(
	        alerter->base, courier_fd(alerter->courier), EV_READ | EV_PERSIST, arrived, alerter);
	alerter->server = http_serve(alerter->base, SOCKET_FD, routes, alerter);
	if (!end || !alerter->look || !alerter->arrived || !alerter->server || evsignal_add(end, NULL) < 0 ||
	        event_add(alerter->arrived, NULL) < 0)
		log_fatal("out of memory");
	if (alerts_have_recipients(&alerter->config->alerts))
		begin(alerter);
	else
		write_health(alerter);
	look(alerter);
	event_base_dispatch(alerter->base);
	http_server_free(alerter->server);
	event_free(alerter->look);
	event_free(alerter->arrived);
	event_free(end);
}

_Noreturn void alerter_main(int argc, char **argv)
{
	static struct alerter alerter;

	(void)argc;
	(void)argv;
	log_start("usherd: alerter");
	prctl(PR_SET_NAME, "usherd: alerter");
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	page_guard_start();
	umask(0077);
	enter_fence();
	alerter.config = keeper_take_config();
	snprintf(alerter.dir, sizeof alerter.dir, "%.4000s/alerts", alerter.config->state_dir);
	snprintf(alerter.run_dir, sizeof alerter.run_dir, "%.4000s/alerts", alerter.config->run_dir);
	snprintf(alerter.log_dir, sizeof alerter.log_dir, "%.4000s/log", alerter.config->state_dir);
	alerter.knows_devices = config_knows_devices(alerter.config);
	if (alerter.knows_devices && alerter.config->alerts.wait_s > WAIT_MOST_S)
		alerter.config->alerts.wait_s = WAIT_MOST_S;
	find_host(&alerter);
	fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC); /* not for a sendmail */
	lock_folder(&alerter);
	open_queue(&alerter);
	alerter.base = event_base_new();
	alerter.courier = courier_new(&alerter.config->alerts);
	alerter.signals = signals_new(alerter.config, heard, &alerter);
	alerter.devices = devices_beside(alerter.log_dir);
	if (!alerter.base || !alerter.courier || !alerter.signals || !alerter.devices)
		log_fatal("out of memory");
	serve(&alerter);
	save(&alerter, alerter.position != 0);
	_exit(0); /* what is on its way is sent again by the next, under the same id */
}
