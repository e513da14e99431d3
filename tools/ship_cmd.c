/*
 * `usher ship`: the block log on its way to a system outside. Where it has got to is kept in STATE-DIR/ship,
 * one file a target, written when the other has taken a batch: what is sent again after a crash is at most
 * that.
 */
#include "ship.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/manifest.h"
#include "blocklists/member.h"
#include "log_follow.h"
#include "resolver/builtin.h"

#define SCHEMA "clickhouse.sql"
#define PACE_MS 1000 /* a batch so often at most: a store of columns wants few large ones */
#define WAIT_LEAST_S 1
#define WAIT_MOST_S 300

static const struct ship_target *const targets[] = { &ship_clickhouse, &ship_syslog };
#define TARGETS (sizeof targets / sizeof *targets)

struct shipping {
	const struct ship_target *target;
	const struct config *config;
	char position[PATH_MAX];
	json_int_t after; /* the other has all up to here */
	json_t *batch;
	int64_t sent_ms; /* when the last batch went */
	uint64_t count;
	bool patient; /* waits until the other takes it */
	bool failed;
};

/* ---- the position ---- */

static int position_open(struct shipping *shipping)
{
	char dir[PATH_MAX];
	json_t *json = NULL;

	if (snprintf(dir, sizeof dir, "%s/ship", shipping->config->state_dir) >= (int)sizeof dir ||
	        snprintf(shipping->position, sizeof shipping->position, "%s/%s.json", dir,
	                shipping->target->name) >= (int)sizeof shipping->position)
		return -ENAMETOOLONG;
	if (mkdir(dir, 0750) < 0 && errno != EEXIST)
		return -errno;
	int ret = manifest_read(shipping->position, &json);
	if (ret == 0)
		shipping->after = member_number(json, "after");
	json_decref(json);
	return ret == -ENOENT ? 0 : ret;
}

static int position_save(struct shipping *shipping, json_int_t after)
{
	json_t *json = json_pack("{s:I}", "after", after);
	int ret = json ? manifest_write(shipping->position, json) : -ENOMEM;

	json_decref(json);
	if (ret == 0)
		shipping->after = after;
	return ret;
}

/* ---- a batch ---- */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_ms(int64_t ms)
{
	if (ms > 0)
		nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

/* Until the other has it, or will never have it. */
static int batch_send(const struct shipping *shipping)
{
	char why[SHIP_WHY_MAX];
	unsigned wait_s = WAIT_LEAST_S;

	for (;;) {
		int ret = shipping->target->send(shipping->config, shipping->batch, why);
		if (ret == 0)
			return 0;
		fprintf(stderr, "usher: %s does not take %zu events: %s%s\n", shipping->target->name,
		        json_array_size(shipping->batch), why,
		        shipping->patient && ret != -EBADMSG ? "; trying again" : "");
		if (!shipping->patient || ret == -EBADMSG)
			return ret;
		wait_ms(wait_s * 1000);
		wait_s = wait_s * 2 < WAIT_MOST_S ? wait_s * 2 : WAIT_MOST_S;
	}
}

/* Sends what has come and moves the position behind it. Returns false when there is no going on. */
static bool batch_ship(struct shipping *shipping, json_int_t last_id)
{
	size_t count = json_array_size(shipping->batch);

	if (count > 0 && batch_send(shipping) < 0)
		return false;
	int ret = last_id > shipping->after ? position_save(shipping, last_id) : 0;
	if (ret < 0)
		fprintf(stderr, "usher: %s: %s\n", shipping->position, strerror(-ret));
	shipping->count += count;
	json_array_clear(shipping->batch);
	shipping->sent_ms = now_ms();
	return ret == 0;
}

static void record_came(void *arg, const char *line, const json_t *record)
{
	struct shipping *shipping = arg;

	(void)line;
	json_array_append(shipping->batch, (json_t *)(uintptr_t)record);
}

/* What comes while we wait is in the next batch: the stream holds it, or is taken up again behind what was
 * sent. */
static bool piece_came(void *arg, json_int_t last_id)
{
	struct shipping *shipping = arg;

	if (json_array_size(shipping->batch) == 0)
		return true;
	wait_ms(shipping->sent_ms + PACE_MS - now_ms());
	shipping->failed = !batch_ship(shipping, last_id);
	return !shipping->failed;
}

/* ---- the command ---- */

static void ask_begin(struct shipping *shipping, struct log_ask *ask, char after[32])
{
	snprintf(after, 32, "%" JSON_INTEGER_FORMAT, shipping->after);
	log_ask_set(ask, "after", after);
	log_ask_set(ask, "ids", "yes");
}

/* All there is up to now. */
static int ship_once(struct shipping *shipping, struct log_ask *ask)
{
	char after[32], limit[32], path[LOG_ASK_PATH_LEN], *text;
	size_t came = SHIP_BATCH_MAX;

	snprintf(limit, sizeof limit, "%d", SHIP_BATCH_MAX);
	log_ask_set(ask, "limit", limit);
	while (came == SHIP_BATCH_MAX) {
		ask_begin(shipping, ask, after);
		int ret = log_ask_path(ask, "/v1/log", path);
		int status = ret == COMMAND_OK ? command_http(shipping->config, "log.sock", path, NULL, &text)
		                               : -EINVAL;
		if (status != 200) {
			if (status > 0)
				command_http_failed(status, text);
			return COMMAND_FAILED;
		}
		came = log_each_line(text, record_came, shipping);
		free(text);
		json_t *last = came > 0 ? json_array_get(shipping->batch, came - 1) : NULL;
		if (last && !batch_ship(shipping, json_integer_value(json_object_get(last, "id"))))
			return COMMAND_FAILED;
	}
	fprintf(stderr, "usher: %s has %llu more events\n", shipping->target->name,
	        (unsigned long long)shipping->count);
	return COMMAND_OK;
}

static int ship_on(struct shipping *shipping, struct log_ask *ask)
{
	char after[32];

	shipping->patient = true;
	ask_begin(shipping, ask, after);
	log_follow(ask, record_came, piece_came, shipping);
	return COMMAND_FAILED; /* it ends when it must */
}

static int ship(struct command_context *context, const struct ship_target *target, bool once)
{
	struct log_ask ask = { .context = context, .command = "ship", .parameters = log_query_parameters };
	struct shipping shipping = {
		.target = target, .config = command_config(context), .batch = json_array()
	};
	const char *lacks = target->lacks(shipping.config);

	if (lacks) {
		fprintf(stderr, "usher: %s of %s says where to ship to, and is empty\n", lacks,
		        shipping.config->file);
		json_decref(shipping.batch);
		return COMMAND_FAILED;
	}
	ask.config = shipping.config;
	command_become_user(shipping.config);
	int ret = position_open(&shipping);
	if (ret < 0)
		fprintf(stderr, "usher: %s: %s\n", shipping.position, strerror(-ret));
	ret = ret < 0 ? COMMAND_FAILED : once ? ship_once(&shipping, &ask) : ship_on(&shipping, &ask);
	json_decref(shipping.batch);
	return ret;
}

static const struct ship_target *target_find(const char *name)
{
	for (size_t i = 0; i < TARGETS; i++)
		if (strcmp(targets[i]->name, name) == 0)
			return targets[i];
	return NULL;
}

int ship_command(struct command_context *context)
{
	const char *once = NULL, *schema = NULL;
	const struct command_option options[] = { { "once", false, &once }, { "schema", false, &schema } };

	int ret = command_options(context, "ship", options, sizeof options / sizeof *options);
	if (ret != COMMAND_OK)
		return ret;
	const struct ship_target *target = context->argc == 1 ? target_find(context->argv[0]) : NULL;
	if (!target)
		return command_usage_error("ship", "expected where to: clickhouse or syslog");
	if (!schema)
		return ship(context, target, once != NULL);
	if (target != &ship_clickhouse)
		return command_usage_error("ship", "--schema is for clickhouse");
	fputs(builtin_file(SCHEMA)->text, stdout);
	return COMMAND_OK;
}
