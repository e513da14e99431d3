/*
 * usherd: reader, the process that serves log.sock: it reads the block log for people, so that no long scan
 * runs on a loop that answers lookups. Its own loop only takes requests, records them and hands out answers;
 * each is worked on in a child (job.h). Followers share one look at the store (follow.h).
 *
 * Every read goes into the ledger before it is answered; one that cannot be recorded is refused.
 */
#include "reader.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"
#include "event_query.h"
#include "follow.h"
#include "http.h"
#include "keeper.h"
#include "ledger.h"
#include "log.h"
#include "log_query.h"
#include "page_guard.h"
#include "refusals.h"
#include "rights.h"

#define SOCKET_FD 4
#define PARAMETERS_MAX 64 /* more than there are: of so many, one is unknown or there twice */
#define REFUSED "log.refused"
#define REFUSED_VALUE_MAX 300
#define REFUSED_LOOK_S 10
#define GROW_FIRST_S 5 /* after the start, which has other work */
#define GROW_S 3600
#define GROW_AGAIN_S 600 /* where it failed */
#define END_LOOK_MS 50
#define END_MS 4000 /* for what is being answered when we are replaced; the keeper kills after 5 s */

struct reader {
	struct config *config;
	char log_dir[PATH_MAX], ledger_dir[PATH_MAX];
	struct event_base *base;
	struct http_server *server;
	struct jobs *jobs;
	struct follow *follow;
	struct refusals refusals;
	struct event *refused; /* looks whether counts of them are due */
	struct event *grow;    /* cases take what has come */
	unsigned grown_s_ago;  /* 0: it is time */
	struct event *end;     /* looks whether all is answered */
	unsigned end_ms;
};

/* One request, as its child gets it. */
struct asked {
	struct reader_ask ask;
	struct scope scope;
	const struct reader_route *route;
	struct http_request *request;
	json_t *body; /* of a POST */
};

/* ---- /v1/log ---- */

static int log_answer(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX])
{
	struct log_query query;

	if (log_query_read(&query, ask->config, ask->parameter, ask->arg, why) < 0)
		return 400;
	bool counts_only = log_query_is_numbers(&query);
	if (!scope_allows(ask->scope, query.filter.profile, counts_only)) {
		snprintf(why, JOB_WHY_MAX,
		        "your groups may read numbers only: count-by category, severity or hour, without "
		        "client and name");
		return 403;
	}
	scope_apply(ask->scope, &query.filter, counts_only);
	int64_t ret = log_query_run(&query, ask->log_dir, out);
	if (ret >= 0)
		return 0;
	snprintf(why, JOB_WHY_MAX,
	        ret == -E2BIG ? "count-by: too many different ones, choose fewer by since, until or client"
	                      : "the log cannot be read: %s",
	        strerror((int)-ret));
	return ret == -E2BIG ? 400 : 503;
}

/* ---- /v1/episodes, /v1/signals ---- */

static int events_answer(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX],
        int64_t (*run)(const struct config *, const struct log_query *, const char *, FILE *))
{
	struct log_query query;

	if (log_query_read(&query, ask->config, ask->parameter, ask->arg, why) < 0)
		return 400;
	if (!ask->parameter(ask->arg, "limit"))
		query.filter.limit = 0;
	scope_apply(ask->scope, &query.filter, false);
	int64_t ret = run(ask->config, &query, ask->log_dir, out);
	if (ret >= 0)
		return 0;
	snprintf(why, JOB_WHY_MAX, "the log cannot be read: %s", strerror((int)-ret));
	return 503;
}

static int episodes_answer(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX])
{
	return events_answer(ask, out, why, episodes_run);
}

static int signals_answer(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX])
{
	return events_answer(ask, out, why, signals_run);
}

/* ---- the routes ---- */

/* /v1/log/follow is no answer but a stream: see follow_asked(). */
static const struct reader_route routes[] = {
	{ "GET", "/v1/log", "log.read", log_query_parameters, log_answer, .counts = true },
	{ "GET", "/v1/episodes", "log.episodes", event_query_parameters, episodes_answer },
	{ "GET", "/v1/signals", "log.signals", event_query_parameters, signals_answer },
	{ "GET", "/v1/retention", "retention.read", rights_no_parameters, rights_retention, .counts = true },
	{ "GET", "/v1/case", "case.read", rights_no_parameters, rights_cases, .manages = true },
	{ "POST", "/v1/case/hold", NULL, rights_hold_parameters, rights_hold, .manages = true },
	{ "POST", "/v1/case/release", NULL, rights_release_parameters, rights_release, .manages = true },
	{ "POST", "/v1/forget", NULL, rights_forget_parameters, rights_forget, .manages = true },
};
static const struct reader_route follow_route = { "GET", "/v1/log/follow", "log.follow",
	log_query_parameters };
#define ROUTE_COUNT (sizeof routes / sizeof *routes)

/* ---- a request, up to where it may be answered ---- */

static const char *asked_parameter(void *arg, const char *name)
{
	const struct asked *asked = arg;

	if (asked->body)
		return json_string_value(json_object_get(asked->body, name));
	return http_parameter(asked->request, name);
}

/* A POST has its parameters in its body, an object of texts. */
static int read_body(struct asked *asked, char why[JOB_WHY_MAX])
{
	const char *key;
	json_t *value;
	size_t len;
	const char *text = http_body(asked->request, &len);

	asked->body = json_loadb(text, len, 0, NULL);
	if (!json_is_object(asked->body)) {
		snprintf(why, JOB_WHY_MAX, "the body: expected a JSON object");
		return -EINVAL;
	}
	json_object_foreach(asked->body, key, value) if (!json_is_string(value))
	{
		snprintf(why, JOB_WHY_MAX, "%.100s: expected a text", key);
		return -EINVAL;
	}
	return 0;
}

static size_t parameter_names(const struct asked *asked, const char *names[PARAMETERS_MAX])
{
	size_t count = 0;
	const char *key;
	json_t *value;

	if (!asked->body)
		return http_parameter_names(asked->request, names, PARAMETERS_MAX);
	json_object_foreach(asked->body, key, value) if (count < PARAMETERS_MAX) names[count++] = key;
	return count;
}

static int read_parameters(struct asked *asked, char why[JOB_WHY_MAX])
{
	const char *names[PARAMETERS_MAX];

	if (strcmp(asked->route->method, "POST") == 0 && read_body(asked, why) < 0)
		return -EINVAL;
	size_t count = parameter_names(asked, names);
	return log_query_check_names(asked->route->parameters, names, count, why);
}

/*
 * Who asked what; the values as they came. What an erasure is about does not stand here: the ledger would
 * keep what the log shall forget.
 */
static int record(const struct reader *reader, const struct asked *asked, bool allowed)
{
	const char *what = allowed ? asked->route->what : REFUSED;
	json_t *detail = json_object();
	const char *const *names = asked->route->parameters;

	for (size_t i = 0; detail && names[i] && !asked->route->manages; i++) {
		const char *value = asked_parameter((void *)asked, names[i]);
		bool is_cut = value && !allowed && strlen(value) > REFUSED_VALUE_MAX;
		if (value)
			json_object_set_new(detail, names[i], is_cut ? json_string("…") : json_string(value));
	}
	if (detail && !allowed)
		json_object_set_new(detail, "route", json_string(asked->route->path));
	int ret = detail ? ledger_append(reader->ledger_dir, asked->ask.uid, what, detail) : -ENOMEM;
	json_decref(detail);
	return ret;
}

static int64_t monotonic_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static bool record_refusals(void *arg, uid_t uid, uint64_t more)
{
	const struct reader *reader = arg;
	json_t *detail = json_pack("{s:I}", "more", (json_int_t)more);
	int ret = detail ? ledger_append(reader->ledger_dir, uid, REFUSED, detail) : -ENOMEM;

	json_decref(detail);
	return ret == 0;
}

/* What is refused is recorded too, but nobody fills the disk by it. */
static int record_refusal(struct reader *reader, const struct asked *asked)
{
	int64_t now_s = monotonic_s();

	refusals_tell(&reader->refusals, now_s, record_refusals, reader);
	return refusals_add(&reader->refusals, asked->ask.uid, now_s) ? record(reader, asked, false) : 0;
}

static void refused_look_due(evutil_socket_t fd, short what, void *arg)
{
	struct reader *reader = arg;

	refusals_tell(&reader->refusals, monotonic_s(), record_refusals, reader);
}

/* Why the person may not ask this, or NULL. */
static const char *refusal(const struct asked *asked)
{
	const struct scope *scope = &asked->scope;
	const char *profile = asked_parameter((void *)asked, "profile");

	if (asked->route->manages && !scope->manages)
		return "only root and members of usher-dsl may do this";
	if (!scope_allows(scope, NULL, asked->route->counts))
		return "your groups may not read the log of any profile";
	if (profile && config_profile(asked->ask.config, profile) >= 0 &&
	        !scope_allows(scope, profile, asked->route->counts))
		return "your groups may not read the log of this profile";
	return NULL;
}

/* Returns false when the request has been answered. */
static bool admit(struct reader *reader, struct asked *asked)
{
	char why[JOB_WHY_MAX];

	if (read_parameters(asked, why) < 0) {
		http_reply_error(asked->request, 400, "%s", why);
		return false;
	}
	const char *refused = refusal(asked);
	int ret = refused              ? record_refusal(reader, asked)
	          : asked->route->what ? record(reader, asked, true)
	                               : 0;
	if (ret < 0) {
		log_error("ledger: a read of the log could not be recorded and was refused: %s",
		        strerror(-ret));
		http_reply_error(asked->request, 503, "the read could not be recorded in the ledger: %s",
		        strerror(-ret));
		return false;
	}
	if (refused)
		http_reply_error(asked->request, 403, "%s", refused);
	return !refused;
}

static void asked_free(void *arg)
{
	struct asked *asked = arg;

	json_decref(asked->body);
	free(asked);
}

/* NULL when the request has been answered. */
static struct asked *asked_new(
        struct reader *reader, struct http_request *request, const struct reader_route *route)
{
	struct asked *asked = calloc(1, sizeof *asked);

	if (!asked) {
		http_reply_error(request, 503, "out of memory");
		return NULL;
	}
	asked->route = route;
	asked->request = request;
	asked->ask = (struct reader_ask){ .config = reader->config,
		.scope = &asked->scope,
		.uid = http_peer_uid(request),
		.log_dir = reader->log_dir,
		.ledger_dir = reader->ledger_dir,
		.parameter = asked_parameter,
		.arg = asked };
	scope_of(&asked->scope, reader->config, asked->ask.uid);
	if (admit(reader, asked))
		return asked;
	asked_free(asked);
	return NULL;
}

/* ---- answers ---- */

static int asked_run(void *arg, FILE *out, char why[JOB_WHY_MAX])
{
	struct asked *asked = arg;

	return asked->route->answer(&asked->ask, out, why);
}

static void route_asked(struct http_request *request, void *arg)
{
	struct reader *reader = arg;
	const struct reader_route *route = http_route_more(request);
	struct asked *asked = asked_new(reader, request, route);

	if (!asked)
		return;
	jobs_add(reader->jobs, request,
	        &(struct job_work){ .run = asked_run,
	                .free = asked_free,
	                .arg = asked,
	                .content_type = route->content_type ? route->content_type : "application/x-ndjson",
	                .changes = route->manages });
}

static void follow_asked(struct http_request *request, void *arg)
{
	struct reader *reader = arg;
	struct log_query query;
	char why[LOG_QUERY_WHY_MAX];
	struct asked *asked = asked_new(reader, request, &follow_route);

	if (!asked)
		return;
	if (log_query_read(&query, reader->config, asked_parameter, asked, why) < 0)
		http_reply_error(request, 400, "%s", why);
	else if (query.count_by != LOG_COUNT_NONE)
		http_reply_error(request, 400, "count-by: cannot be followed");
	else
		follow_add(reader->follow, request, &query, &asked->scope);
	asked_free(asked);
}

/* ---- cases that go on ---- */

static int grow_run(void *arg, FILE *out, char why[JOB_WHY_MAX])
{
	const struct reader *reader = arg;

	(void)out;
	return rights_grow(reader->log_dir, why);
}

static void grow_due(evutil_socket_t fd, short what, void *arg)
{
	struct reader *reader = arg;
	char why[CASES_TROUBLE_MAX];

	if (reader->grown_s_ago == 0 || cases_trouble(reader->log_dir, why))
		jobs_add(reader->jobs, NULL,
		        &(struct job_work){ .run = grow_run, .arg = reader, .changes = true });
	reader->grown_s_ago = (reader->grown_s_ago + GROW_AGAIN_S) % GROW_S;
	event_add(reader->grow, &(struct timeval){ .tv_sec = GROW_AGAIN_S });
}

/* ---- the process ---- */

static void end_look_due(evutil_socket_t fd, short what, void *arg)
{
	struct reader *reader = arg;

	reader->end_ms += END_LOOK_MS;
	if ((jobs_are_done(reader->jobs) && reader->end_ms > END_LOOK_MS) || reader->end_ms >= END_MS)
		event_base_loopbreak(reader->base);
}

/* We are being replaced: the next reader accepts now, what was asked of us is answered, streams end whole. */
static void end_signalled(evutil_socket_t fd, short what, void *arg)
{
	struct reader *reader = arg;

	if (evtimer_pending(reader->end, NULL))
		return;
	http_server_rest(reader->server);
	follow_end(reader->follow);
	event_add(reader->end, &(struct timeval){ .tv_usec = END_LOOK_MS * 1000 });
}

static void make_routes(struct http_route http[ROUTE_COUNT + 2])
{
	for (size_t i = 0; i < ROUTE_COUNT; i++)
		http[i] = (struct http_route){ routes[i].method, routes[i].path, route_asked, &routes[i] };
	http[ROUTE_COUNT] = (struct http_route){ "GET", follow_route.path, follow_asked };
}

static void reader_serve(struct reader *reader)
{
	static const struct timeval refused_look = { .tv_sec = REFUSED_LOOK_S };
	struct http_route http[ROUTE_COUNT + 2] = { 0 };

	reader->base = event_base_new();
	if (!reader->base)
		log_fatal("out of memory");
	make_routes(http);
	struct event *end = evsignal_new(reader->base, SIGTERM, end_signalled, reader);
	reader->end = event_new(reader->base, -1, EV_PERSIST, end_look_due, reader);
	reader->refused = event_new(reader->base, -1, EV_PERSIST, refused_look_due, reader);
	reader->grow = evtimer_new(reader->base, grow_due, reader);
	reader->jobs = jobs_new(reader->base);
	reader->follow = follow_new(reader->base, reader->log_dir);
	reader->server = http_serve(reader->base, SOCKET_FD, http, reader);
	if (!end || !reader->end || !reader->refused || !reader->grow || !reader->jobs || !reader->follow ||
	        !reader->server || evsignal_add(end, NULL) < 0 ||
	        event_add(reader->refused, &refused_look) < 0 ||
	        event_add(reader->grow, &(struct timeval){ .tv_sec = GROW_FIRST_S }) < 0)
		log_fatal("out of memory");
	event_base_dispatch(reader->base);
	refusals_tell(&reader->refusals, INT64_MAX, record_refusals, reader);
	jobs_stop(reader->jobs);
	http_server_free(reader->server);
	jobs_free(reader->jobs);
	follow_free(reader->follow);
	event_free(end);
	event_free(reader->end);
	event_free(reader->refused);
	event_free(reader->grow);
	event_base_free(reader->base);
}

_Noreturn void reader_main(int argc, char **argv)
{
	static struct reader reader;

	(void)argc;
	(void)argv;
	log_start("usherd: reader");
	prctl(PR_SET_NAME, "usherd: reader");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	page_guard_start();
	reader.config = keeper_take_config();
	snprintf(reader.log_dir, sizeof reader.log_dir, "%s/log", reader.config->state_dir);
	snprintf(reader.ledger_dir, sizeof reader.ledger_dir, "%s/ledger", reader.config->state_dir);
	reader_serve(&reader);
	config_free(reader.config);
	exit(0);
}
