#include "control.h"

#include <event2/event.h>
#include <jansson.h>
#include <limits.h>
#include <ldns/ldns.h>
#include <limits.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unbound.h>
#include <unistd.h>

#include "blocklists/manifest.h"
#include "blocklists/member.h"
#include "alert_queue.h"
#include "children.h"
#include "daemon.h"
#include "probe_control.h"
#include "rules_control.h"
#include "scope.h"
#include "utc.h"

#define SELFTEST_OLD_S 86400
#define UNBOUND_FIXED "1.25.2" /* the first libunbound without the faults DESIGN.md 8 names */

static int64_t monotonic_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* ---- stats.sock ---- */

/* Sources that were confirmed at some time, and how many are held. Returns their ages, malloc()ed; the names
 * are the accounts'. NULL without memory. */
static struct stats_source_age *gauges_of_sources(struct stats_gauges *gauges, const json_t *accounts)
{
	struct stats_source_age *ages = calloc(json_array_size(accounts) + 1, sizeof *ages);
	int64_t now = time(NULL);
	size_t i;
	json_t *account;

	if (ages == NULL)
		return NULL;
	json_array_foreach(accounts, i, account)
	{
		int64_t at = member_number(account, "fetched_at");
		gauges->sources_held += json_is_object(json_object_get(account, "held"));
		if (at > 0)
			ages[gauges->source_count++] =
			        (struct stats_source_age){ member_text(account, "name"),
				        now > at ? now - at : 0 };
	}
	gauges->sources = ages;
	return ages;
}

/* How the alerter does, as it wrote last; NULL: nothing yet. */
static json_t *alerts_health(const struct daemon *daemon)
{
	char path[PATH_MAX];
	json_t *health;

	snprintf(path, sizeof path, "%.4000s/alerts/health.json", daemon->config->run_dir);
	return manifest_read(path, &health) < 0 ? NULL : health;
}

static void gauges_of_alerts(struct stats_gauges *gauges, const struct daemon *daemon)
{
	json_t *health = alerts_health(daemon);

	gauges->alerts_waiting = (uint64_t)member_number(health, "waiting");
	gauges->alerts_failing = (uint64_t)member_number(health, "failing");
	json_decref(health);
}

static void gauges_of_lists(struct stats_gauges *gauges, const struct daemon *daemon)
{
	int64_t now = time(NULL);

	gauges->generation_age_s = -1;
	gauges->generation_hash = "";
	if (daemon->lists == NULL)
		return;
	const struct lists_info *info = lists_info(daemon->lists);
	gauges->generation_id = info->id;
	gauges->generation_names = info->names;
	gauges->generation_age_s = now > info->published_at ? now - info->published_at : 0;
	gauges->generation_hash = info->hash;
	for (size_t i = 0; i < daemon->config->category_count; i++)
		gauges->sealed_unfed += daemon->config->categories[i].sealed && info->category_names[i] == 0;
}

/* JSON or OpenMetrics from the same numbers. The caller frees. */
static char *stats_text(
        struct daemon *daemon, char *(*print)(const struct stats_sum *, const struct stats_gauges *))
{
	const json_t *accounts = source_watch_read(&daemon->source_watch, daemon->config, daemon->lists);
	struct stats_source_age *ages = NULL;
	struct stats_sum *sum = calloc(1, sizeof *sum);
	struct cache_figures cache = cache_figures(daemon->cache);
	char *text = NULL;

	if (sum == NULL)
		goto out;
	for (unsigned i = 0; i < daemon->worker_count; i++)
		stats_sum_add(sum, &daemon->workers[i]->stats);
	sum->counter[STATS_LOG_LOST] += block_log_lost(daemon->log);
	struct stats_fault faults[FAULT_COUNT];
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		faults[i] = (struct stats_fault){ fault_rows[i].key, daemon->faults.text[i][0] != '\0' };
	struct stats_gauges gauges = {
		.version = USHER_VERSION,
		.uptime_s = (uint64_t)(monotonic_s() - daemon->started_s),
		.cache_entries = cache.entries,
		.cache_bytes = cache.bytes,
		.recursion_in_flight = atomic_load(&daemon->slots->taken),
		.tcp_clients = atomic_load(&daemon->tcp_limits->open),
		.recursor_restarts = keeper_recursor_restarts(daemon->keeper),
		.faults = faults,
		.fault_count = FAULT_COUNT,
	};
	for (unsigned i = 0; i < daemon->ring_count; i++)
		gauges.log_pending += ring_pending(daemon->rings[i]);
	gauges_of_lists(&gauges, daemon);
	gauges_of_alerts(&gauges, daemon);
	ages = gauges_of_sources(&gauges, accounts);
	if (ages == NULL)
		goto out;
	text = print(sum, &gauges);
out:
	free(ages);
	free(sum);
	return text;
}

static void handle_stats(struct http_request *request, void *arg)
{
	char *text = stats_text(arg, stats_json);

	if (text != NULL)
		http_reply_json(request, 200, text);
	else
		http_reply_error(request, 500, "out of memory");
	free(text);
}

static void handle_metrics(struct http_request *request, void *arg)
{
	char *text = stats_text(arg, stats_metrics);

	if (text != NULL)
		http_reply(request, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text,
		        strlen(text));
	else
		http_reply_error(request, 500, "out of memory");
	free(text);
}

const struct http_route control_stats_routes[] = {
	{ "GET", "/v1/stats", handle_stats },
	{ "GET", "/metrics", handle_metrics },
	{ NULL },
};

/* ---- control.sock: status ---- */

/* One part of usherd and how it is. */
static void part_add(json_t *parts, const char *part, const char *state, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

static void part_add(json_t *parts, const char *part, const char *state, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	json_array_append_new(
	        parts, json_pack("{s:s, s:s, s:s}", "part", part, "state", state, "text", text));
}

static void status_source(json_t *parts, const json_t *account)
{
	const json_t *held = json_object_get(account, "held"), *failed = json_object_get(account, "failed");
	const char *name = member_text(account, "name");
	int64_t at = member_number(account, "fetched_at");

	if (json_is_object(held))
		part_add(parts, "source", "warning",
		        "%s is held back: %s; its last good content stays in use (`usher lists status`)",
		        name, member_text(held, "why"));
	if (at == 0)
		part_add(parts, "source", "warning", "%s was never fetched%s%s", name,
		        json_is_object(failed) ? ": " : "", member_text(failed, "why"));
	else if (time(NULL) - at > SOURCE_OLD_S)
		part_add(parts, "source", "warning", "%s was last confirmed %lld days ago%s%s", name,
		        (long long)(time(NULL) - at) / 86400, json_is_object(failed) ? ": " : "",
		        member_text(failed, "why"));
}

static void status_sources(json_t *parts, struct daemon *daemon)
{
	size_t i;
	json_t *account;

	json_array_foreach(
	        source_watch_read(&daemon->source_watch, daemon->config, daemon->lists), i, account)
	{
		if (strcmp(member_text(account, "name"), "starter") != 0)
			status_source(parts, account);
	}
}

static void status_lists(json_t *parts, const struct daemon *daemon)
{
	if (daemon->lists == NULL) {
		part_add(parts, "lists", "failed", "%s", daemon->lists_trouble);
		return;
	}
	const struct lists_info *info = lists_info(daemon->lists);
	const char *state = daemon->lists_trouble[0] != '\0' || info->starter ? "warning" : "ok";
	part_add(parts, "lists", state, "generation %llu, %llu names%s%s%s", (unsigned long long)info->id,
	        (unsigned long long)info->names,
	        info->starter ? "; the starter list alone: run `usher lists update`" : "",
	        daemon->lists_trouble[0] != '\0' ? "; " : "", daemon->lists_trouble);
	for (size_t i = 0; i < daemon->config->category_count; i++)
		if (daemon->config->categories[i].sealed && info->category_names[i] == 0)
			part_add(parts, "sealed", "warning",
			        "no source feeds the sealed category %s: nothing is blocked by it",
			        daemon->config->categories[i].name);
}

static void status_rules(json_t *parts, const struct daemon *daemon)
{
	char trouble[1024];

	rules_control_trouble(daemon, trouble);
	part_add(parts, "rules", *trouble == '\0' ? "ok" : "warning",
	        "%zu of the school's own, revision %llu%s%s", rules_count(daemon->rules),
	        (unsigned long long)rules_revision(daemon->rules), *trouble != '\0' ? "; " : "", trouble);
}

/* Of a school that never ran one nothing is said. */
static void status_selftest(json_t *parts, const struct daemon *daemon)
{
	const struct config *config = daemon->config;
	char path[PATH_MAX];
	json_t *record = NULL;
	int64_t at_s;

	for (size_t i = 0; i < config->engine_count; i++)
		if (daemon->engines_failed >> i & 1)
			part_add(parts, "safe-search", "warning",
			        "%s is blocked: its safe name failed the last selftest",
			        config->engines[i].name);
	snprintf(path, sizeof path, "%s/selftest/last.json", config->state_dir);
	if (manifest_read(path, &record) < 0)
		return;
	long long failed = member_number(record, "failed"), passed = member_number(record, "passed");
	const char *at = member_text(record, "time");
	bool old = !utc_read(at, &at_s) || time(NULL) - at_s > SELFTEST_OLD_S;
	part_add(parts, "selftest", failed > 0 || old ? "warning" : "ok",
	        "%lld of %lld names got what they should, at %s%s", passed, passed + failed, at,
	        old ? ": it has not run for a day" : "");
	json_decref(record);
}

static bool version_is_below(const char *version, const char *other)
{
	unsigned a[3] = { 0 }, b[3] = { 0 };

	sscanf(version, "%u.%u.%u", &a[0], &a[1], &a[2]);
	sscanf(other, "%u.%u.%u", &b[0], &b[1], &b[2]);
	for (unsigned i = 0; i < 3; i++)
		if (a[i] != b[i])
			return a[i] < b[i];
	return false;
}

static void status_recursor(json_t *parts, const struct daemon *daemon)
{
	const char *trouble = daemon->faults.text[FAULT_RECURSOR];

	if (!daemon->recursor_runs)
		part_add(parts, "recursor", "failed", "not running; it is being started again");
	else if (*trouble != '\0')
		part_add(parts, "recursor", "warning", "%s", trouble);
	else
		part_add(parts, "recursor", "ok", "process %d, started again %u times",
		        (int)keeper_recursor_pid(daemon->keeper), keeper_recursor_restarts(daemon->keeper));
	if (version_is_below(ub_version(), UNBOUND_FIXED))
		part_add(parts, "libunbound", "warning",
		        "version %s is below %s, which mends known faults: the recursor is kept in a sandbox "
		        "of its own",
		        ub_version(), UNBOUND_FIXED);
}

static void status_log(json_t *parts, const struct daemon *daemon)
{
	const char *trouble = block_log_trouble(daemon->log);

	part_add(parts, "log", *trouble == '\0' ? "ok" : "failed", "%s",
	        *trouble == '\0' ? "written to disk" : trouble);
}

/* Without them the log goes on, but nobody can tell whose device it was. */
static void status_devices(json_t *parts, const struct daemon *daemon)
{
	const char *trouble = device_watch_trouble(daemon->devices);

	if (*trouble != '\0')
		part_add(parts, "devices", "warning", "%s", trouble);
	else if (daemon->config->lease_count > 0)
		part_add(parts, "devices", "ok", "%zu lease files are followed", daemon->config->lease_count);
}

static void status_alerts(json_t *parts, const struct daemon *daemon)
{
	json_t *health = alerts_health(daemon);
	long long failing = member_number(health, "failing");

	if (!alerts_have_recipients(&daemon->config->alerts))
		part_add(parts, "alerts", "ok", "off: no mail-to, webhook or syslog is configured");
	else if (failing > 0)
		part_add(parts, "alerts", "failed",
		        "%lld messages could not be sent yet: %s (`usher alert list`)", failing,
		        member_text(health, "why"));
	else
		part_add(parts, "alerts", "ok", "%lld waiting", (long long)member_number(health, "waiting"));
	json_decref(health);
}

static void status_access(json_t *parts, const struct config *config)
{
	char text[SCOPE_TEXT_MAX];

	for (size_t i = 0; i < config->access_count; i++)
		if (scope_lacks_group(&config->access[i], text))
			part_add(parts, "access", "warning", "%s", text);
}

/* Those that have no part of their own. */
static void status_faults(json_t *parts, const struct faults *faults)
{
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		bool is_on = faults->text[i][0] != '\0';
		if (fault_rows[i].well != NULL)
			part_add(parts, fault_rows[i].key, is_on ? fault_rows[i].state : "ok", "%s",
			        is_on ? faults->text[i] : fault_rows[i].well);
	}
}

static void handle_status(struct http_request *request, void *arg)
{
	struct daemon *daemon = arg;
	json_t *parts = json_array();

	source_watch_clear(&daemon->source_watch); /* who asks has perhaps just updated */
	faults_look(&daemon->faults, daemon);
	part_add(parts, "workers", "ok", "%u, on %zu addresses", daemon->worker_count,
	        daemon->config->listen_count);
	status_lists(parts, daemon);
	status_sources(parts, daemon);
	status_rules(parts, daemon);
	status_selftest(parts, daemon);
	status_recursor(parts, daemon);
	status_log(parts, daemon);
	status_devices(parts, daemon);
	status_alerts(parts, daemon);
	part_add(parts, "ledger", daemon->ledger_trouble[0] == '\0' ? "ok" : "failed", "%s",
	        daemon->ledger_trouble[0] == '\0' ? "every change and every read is written down"
	                                          : daemon->ledger_trouble);
	status_faults(parts, &daemon->faults);
	status_access(parts, daemon->config);
	for (size_t i = 0; i < daemon->config->warning_count; i++)
		part_add(parts, "configuration", "warning", "%s", daemon->config->warnings[i]);
	json_t *status =
	        json_pack("{s:s, s:i, s:I, s:s, s:o, s:{s:s, s:s, s:s, s:s, s:s}}", "version", USHER_VERSION,
	                "pid", (int)getpid(), "uptime_s", (json_int_t)(monotonic_s() - daemon->started_s),
	                "config", daemon->config_file, "parts", parts, "libraries", "libunbound",
	                ub_version(), "ldns", ldns_version(), "lmdb", mdb_version(NULL, NULL, NULL),
	                "libevent", event_get_version(), "jansson", jansson_version_str());
	char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;
	if (text != NULL)
		http_reply_json(request, 200, text);
	else
		http_reply_error(request, 500, "out of memory");
	free(text);
	json_decref(status);
}

/* ---- control.sock: acts ---- */

static void handle_reload(struct http_request *request, void *arg)
{
	char why[CONFIG_WHY_MAX], note[256];

	struct daemon_asker asker = { .uid = http_peer_uid(request) };

	if (daemon_reload(arg, &asker, why, note) < 0) {
		http_reply_error(request, 400, "%s", why);
		return;
	}
	json_t *reply = json_pack("{s:b, s:s}", "reloaded", true, "note", note);
	char *text = json_dumps(reply, JSON_COMPACT);
	http_reply_json(request, 200, text);
	free(text);
	json_decref(reply);
}

static void handle_flush(struct http_request *request, void *arg)
{
	size_t len;
	const char *body = http_body(request, &len);
	json_t *in = json_loadb(body, len, 0, NULL);
	const char *text = json_string_value(json_object_get(in, "name"));
	struct name name;
	char reply[64];
	unsigned flushed;

	if (text == NULL || name_from_user_text(&name, text, strlen(text)) < 0) {
		http_reply_error(request, 400, "expected {\"name\": \"a.domain.name\"}, found '%.*s'",
		        (int)(len < 200 ? len : 200), body);
	} else if (daemon_flush(arg, &name, &flushed) < 0) {
		http_reply_error(request, 500, "the recursor could not be started anew");
	} else {
		daemon_note(arg, http_peer_uid(request), "flush", json_pack("{s:s}", "name", text));
		snprintf(reply, sizeof reply, "{\"flushed\":%u}", flushed);
		http_reply_json(request, 200, reply);
	}
	json_decref(in);
}

const struct http_route control_routes[] = {
	{ "GET", "/v1/status", handle_status },
	{ "POST", "/v1/reload", handle_reload },
	{ "POST", "/v1/flush", handle_flush },
	{ "POST", "/v1/probe", probe_control_ask },
	{ "POST", "/v1/engines", probe_control_engines },
	{ "GET", "/v1/rules", rules_control_list },
	{ "POST", "/v1/rules", rules_control_add },
	{ "DELETE", "/v1/rules", rules_control_remove },
	{ NULL },
};
