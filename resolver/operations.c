#include "operations.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/manifest.h"
#include "daemon.h"
#include "log.h"

#define RESTARTS 3     /* of the recursor … */
#define RESTARTS_S 600 /* … within this time */
#define LOST_S 3600    /* so long lost events are a trouble */

__attribute__((format(printf, 3, 4))) static void trouble(
        json_t *troubles, const char *id, const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	json_object_set_new(troubles, id, json_string(text));
}

static void troubles_of_log(
        json_t *troubles, struct operations *operations, const struct daemon *daemon, int64_t now)
{
	const char *sentence = block_log_trouble(daemon->log);
	uint64_t lost = block_log_lost(daemon->log);

	if (*sentence != '\0')
		trouble(troubles, "log", "the block log: %s", sentence);
	for (unsigned i = 0; i < daemon->worker_count; i++)
		lost += atomic_load_explicit(
		        &daemon->workers[i]->stats.counter[STATS_LOG_LOST], memory_order_relaxed);
	if (lost > operations->lost)
		operations->lost_at_s = now;
	operations->lost = lost;
	if (operations->lost_at_s != 0 && now - operations->lost_at_s < LOST_S)
		trouble(troubles, "log-lost", "%llu events of the block log were lost",
		        (unsigned long long)lost);
}

static void troubles_of_sources(json_t *troubles, struct daemon *daemon)
{
	json_t *account;
	size_t i;
	char id[200];

	json_array_foreach(
	        source_watch_read(&daemon->source_watch, daemon->config, daemon->lists), i, account)
	{
		const json_t *held = json_object_get(account, "held");
		if (!json_is_object(held))
			continue;
		snprintf(id, sizeof id, "source:%.150s", manifest_text(account, "name"));
		trouble(troubles, id, "the list %s is held back: %s; its last good content stays in use",
		        manifest_text(account, "name"), manifest_text(held, "why"));
	}
}

static void troubles_of_lists(json_t *troubles, struct daemon *daemon)
{
	const struct config *config = daemon->config;
	char id[200];

	if (daemon->lists == NULL) {
		trouble(troubles, "lists", "the lists cannot be read: %s", daemon->lists_trouble);
		return;
	}
	if (daemon->lists_trouble[0] != '\0')
		trouble(troubles, "lists",
		        "a generation of the lists was refused, the one before goes on: %s",
		        daemon->lists_trouble);
	for (size_t i = 0; i < config->category_count; i++) {
		if (!config->categories[i].sealed || lists_info(daemon->lists)->category_names[i] > 0)
			continue;
		snprintf(id, sizeof id, "sealed:%.150s", config->categories[i].name);
		trouble(troubles, id, "no source feeds the sealed category %s: nothing is blocked by it",
		        config->categories[i].name);
	}
	troubles_of_sources(troubles, daemon);
}

static void troubles_of_recursor(
        json_t *troubles, struct operations *operations, const struct daemon *daemon, int64_t now)
{
	unsigned restarts = keeper_recursor_restarts(daemon->keeper);

	if (now - operations->restarts_since_s > RESTARTS_S || now < operations->restarts_since_s) {
		operations->restarts = restarts;
		operations->restarts_since_s = now;
	}
	if (restarts - operations->restarts >= RESTARTS)
		trouble(troubles, "recursor",
		        "the recursor keeps dying: it was started again %u times in ten minutes",
		        restarts - operations->restarts);
}

void operations_look(struct operations *operations, struct daemon *daemon)
{
	json_t *troubles = json_object();
	char path[PATH_MAX];
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	troubles_of_log(troubles, operations, daemon, now.tv_sec);
	troubles_of_lists(troubles, daemon);
	troubles_of_recursor(troubles, operations, daemon, now.tv_sec);
	snprintf(path, sizeof path, "%.4000s/alerts/troubles.json", daemon->config->state_dir);
	if (json_equal(troubles, operations->written) || manifest_write(path, troubles) < 0) {
		json_decref(troubles); /* where it could not be written, it is tried again next time */
		return;
	}
	json_decref(operations->written);
	operations->written = troubles;
}

void operations_clear(struct operations *operations)
{
	json_decref(operations->written);
	*operations = (struct operations){ 0 };
}
