/*
 * usherd: reader, the process that serves log.sock: it reads the block log for people, so that no long scan
 * runs on a loop that answers lookups. It scans one request at a time. Followers share one look at the store,
 * five times a second.
 *
 * Every read goes into the ledger before it is answered; one that cannot be recorded is refused.
 */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block_log.h"
#include "http.h"
#include "keeper.h"
#include "ledger.h"
#include "log.h"
#include "log_query.h"

#define CONFIG_FD 3
#define SOCKET_FD 4
#define FOLLOW_MS 200
#define PARAMETERS_MAX 64 /* more than there are: of so many, one is unknown or there twice */
#define FOLLOW_BATCH 1000 /* events a look passes on: less than a client may leave untaken (http.h) */
#define FOLLOW_NEXT_MS 10 /* from a full look to the next */
#define GROUPS_MAX 256

/* The profiles somebody may read of. */
struct scope {
	const char *profiles[CONFIG_PROFILES_MAX];
	size_t count;
	bool all;
};

struct follower {
	LIST_ENTRY(follower) link;
	struct reader *reader;
	struct http_stream *stream;
	struct block_filter filter;
	struct scope scope; /* filter points into it */
};

struct reader {
	struct config *config;
	char log_dir[PATH_MAX], ledger_dir[PATH_MAX];
	struct event_base *base;
	struct event *look;
	LIST_HEAD(, follower) followers;
	uint64_t last_id; /* all followers have been told up to here */
};

/* ---- who may read what ---- */

static bool in_group(const gid_t *groups, int count, gid_t gid)
{
	for (int i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/* The profiles of an entry of `access`, if uid is in its group, usher-SUFFIX. */
static void scope_add(struct scope *scope, const struct config *config, const struct config_access *access,
        const gid_t *groups, int group_count)
{
	char name[128];

	snprintf(name, sizeof name, "usher-%s", access->group);
	const struct group *group = getgrnam(name);
	if (!group || !in_group(groups, group_count, group->gr_gid))
		return;
	for (size_t i = 0; i < access->profile_count && scope->count < CONFIG_PROFILES_MAX; i++)
		scope->profiles[scope->count++] = config->profiles[access->profiles[i]].name;
}

/*
 * Root, usherd's own user, and where `access` says nothing everybody whom the socket lets in, read all; the
 * others what their groups may.
 */
static void scope_of(struct scope *scope, const struct config *config, uid_t uid)
{
	gid_t groups[GROUPS_MAX];
	int count = GROUPS_MAX;

	*scope = (struct scope){ .all = uid == 0 || uid == geteuid() || config->access_count == 0 };
	if (scope->all)
		return;
	const struct passwd *user = getpwuid(uid);
	if (!user || getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
		return;
	for (size_t i = 0; i < config->access_count; i++)
		scope_add(scope, config, &config->access[i], groups, count);
}

static void scope_apply(const struct scope *scope, struct block_filter *filter)
{
	filter->profiles = scope->all ? NULL : scope->profiles;
	filter->profile_count = scope->count;
}

/* A profile that is asked for by name but may not be read is an error, not an empty answer. */
static bool scope_allows(const struct scope *scope, const struct block_filter *filter)
{
	if (scope->all)
		return true;
	for (size_t i = 0; i < scope->count; i++)
		if (!filter->profile || strcmp(scope->profiles[i], filter->profile) == 0)
			return true;
	return false;
}

/* ---- a request, up to where it may be answered ---- */

static const char *request_parameter(void *arg, const char *name)
{
	return http_parameter(arg, name);
}

/* Who asked what; the values as they came. */
static int record_read(const struct reader *reader, struct http_request *request, const char *what)
{
	json_t *detail = json_object();

	for (size_t i = 0; detail && log_query_parameters[i]; i++) {
		const char *value = http_parameter(request, log_query_parameters[i]);
		if (value)
			json_object_set_new(detail, log_query_parameters[i], json_string(value));
	}
	int ret = detail ? ledger_append(reader->ledger_dir, http_peer_uid(request), what, detail) : -ENOMEM;
	json_decref(detail);
	return ret;
}

/* Returns false when the request has been answered. What is refused is recorded too. */
static bool request_admit(const struct reader *reader, struct http_request *request, const char *what,
        struct log_query *query, struct scope *scope)
{
	char why[LOG_QUERY_WHY_MAX];
	const char *names[PARAMETERS_MAX];
	size_t count = http_parameter_names(request, names, PARAMETERS_MAX);

	if (log_query_check_names(names, count, why) < 0 ||
	        log_query_read(query, reader->config, request_parameter, request, why) < 0) {
		http_reply_error(request, 400, "%s", why);
		return false;
	}
	scope_of(scope, reader->config, http_peer_uid(request));
	scope_apply(scope, &query->filter);
	bool allowed = scope_allows(scope, &query->filter);
	int ret = record_read(reader, request, allowed ? what : "log.refused");
	if (ret < 0) {
		log_error("ledger: a read of the log could not be recorded and was refused: %s",
		        strerror(-ret));
		http_reply_error(
		        request, 503, "the read could not be recorded in the ledger: %s", strerror(-ret));
		return false;
	}
	if (!allowed)
		http_reply_error(request, 403, "your groups may not read the log of %s",
		        query->filter.profile ? query->filter.profile : "any profile");
	return allowed;
}

/* ---- /v1/log ---- */

static void log_asked(struct http_request *request, void *arg)
{
	struct reader *reader = arg;
	struct log_query query;
	struct scope scope;
	char *text = NULL;
	size_t len = 0;

	if (!request_admit(reader, request, "log.read", &query, &scope))
		return;
	FILE *out = open_memstream(&text, &len);
	int64_t ret = out ? log_query_run(&query, reader->log_dir, out) : -ENOMEM;
	if (out && fclose(out) != 0)
		ret = -ENOMEM;
	if (ret == -E2BIG)
		http_reply_error(request, 400,
		        "count-by: too many different ones, choose fewer by since, until or client");
	else if (ret < 0)
		http_reply_error(request, 503, "the log cannot be read: %s", strerror((int)-ret));
	else
		http_reply(request, 200, "application/x-ndjson", text, len);
	free(text);
}

/* ---- /v1/log/follow ---- */

static void follower_closed(void *arg)
{
	struct follower *follower = arg;

	LIST_REMOVE(follower, link);
	free(follower);
}

/* The stream cuts off a client that does not take what it is sent (http.h). */
static bool tell_followers(void *arg, const struct block_record *record)
{
	struct reader *reader = arg;
	struct follower *follower;
	char *line = NULL;
	size_t len = 0;

	reader->last_id = record->id;
	LIST_FOREACH(follower, &reader->followers, link)
	{
		if (!block_log_passes(record, &follower->filter))
			continue;
		if (!line) {
			char *json = block_record_json(record);
			int ret = json ? asprintf(&line, "%s\n", json) : -1;
			free(json);
			if (ret < 0)
				return true;
			len = (size_t)ret;
		}
		http_stream_send(follower->stream, line, len);
	}
	free(line);
	return true;
}

static void look_after(struct reader *reader, int ms)
{
	evtimer_add(reader->look, &(struct timeval){ .tv_usec = ms * 1000 });
}

static void look_now(struct reader *reader)
{
	struct block_filter filter = { .severity = -1, .limit = FOLLOW_BATCH, .after_id = reader->last_id };
	int64_t ret = block_log_scan(reader->log_dir, &filter, tell_followers, reader);

	if (ret < 0)
		log_error("log: cannot be followed: %s", strerror((int)-ret));
	look_after(reader, ret == FOLLOW_BATCH ? FOLLOW_NEXT_MS : FOLLOW_MS);
}

static void look_due(evutil_socket_t fd, short what, void *arg)
{
	struct reader *reader = arg;

	(void)fd;
	(void)what;
	if (!LIST_EMPTY(&reader->followers))
		look_now(reader);
}

static void follow_asked(struct http_request *request, void *arg)
{
	struct reader *reader = arg;
	struct log_query query;
	struct follower *follower = calloc(1, sizeof *follower);

	if (!follower) {
		http_reply_error(request, 503, "out of memory");
		return;
	}
	if (!request_admit(reader, request, "log.follow", &query, &follower->scope)) {
		free(follower);
		return;
	}
	if (query.count_by != LOG_COUNT_NONE) {
		http_reply_error(request, 400, "count-by: cannot be followed");
		free(follower);
		return;
	}
	follower->filter = query.filter;
	follower->stream = http_stream_start(request, "application/x-ndjson", follower_closed, follower);
	if (!follower->stream) {
		free(follower);
		return;
	}
	if (LIST_EMPTY(&reader->followers)) {
		uint64_t last = block_log_last_id(reader->log_dir);
		reader->last_id = last ? last : 1;
		look_after(reader, FOLLOW_MS);
	}
	LIST_INSERT_HEAD(&reader->followers, follower, link);
}

/* ---- the process ---- */

static const struct http_route routes[] = {
	{ "GET", "/v1/log", log_asked },
	{ "GET", "/v1/log/follow", follow_asked },
	{ 0 },
};

/* What keeper_reader() passed: a memfd, so its size is known. */
static struct config *read_config(void)
{
	static char why[CONFIG_WHY_MAX];
	struct config *config;
	struct stat st;

	if (fstat(CONFIG_FD, &st) < 0 || st.st_size <= 0)
		log_fatal("the configuration was not passed");
	size_t len = (size_t)st.st_size;
	char *text = mmap(NULL, len, PROT_READ, MAP_PRIVATE, CONFIG_FD, 0);
	if (text == MAP_FAILED)
		log_fatal("the configuration cannot be read: %s", strerror(errno));
	if (config_parse(&config, text, len, "configuration", why) < 0)
		log_fatal("%s", why);
	munmap(text, len);
	close(CONFIG_FD);
	return config;
}

static void ended(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

static void reader_serve(struct reader *reader)
{
	reader->base = event_base_new();
	if (!reader->base)
		log_fatal("out of memory");
	struct event *end = evsignal_new(reader->base, SIGTERM, ended, reader->base);
	reader->look = evtimer_new(reader->base, look_due, reader);
	struct http_server *server = http_serve(reader->base, SOCKET_FD, routes, reader);
	if (!end || !reader->look || !server || evsignal_add(end, NULL) < 0)
		log_fatal("out of memory");
	event_base_dispatch(reader->base);
	http_server_free(server);
	event_free(end);
	event_free(reader->look);
	event_base_free(reader->base);
}

_Noreturn void reader_main(int argc, char **argv)
{
	static struct reader reader;

	(void)argc;
	(void)argv;
	log_start("usherd: reader", false);
	prctl(PR_SET_NAME, "usherd: reader");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	reader.config = read_config();
	snprintf(reader.log_dir, sizeof reader.log_dir, "%s/log", reader.config->state_dir);
	snprintf(reader.ledger_dir, sizeof reader.ledger_dir, "%s/ledger", reader.config->state_dir);
	LIST_INIT(&reader.followers);
	reader_serve(&reader);
	config_free(reader.config);
	exit(0);
}
