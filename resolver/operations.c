#include "operations.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/manifest.h"
#include "blocklists/member.h"
#include "daemon.h"
#include "log.h"

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
		snprintf(id, sizeof id, "source:%.150s", member_text(account, "name"));
		trouble(troubles, id, "the list %s is held back: %s; its last good content stays in use",
		        member_text(account, "name"), member_text(held, "why"));
	}
}

static void troubles_of_lists(json_t *troubles, struct daemon *daemon)
{
	const struct config *config = daemon->config;
	char id[200];

	if (daemon->lists == NULL)
		return;
	for (size_t i = 0; i < config->category_count; i++) {
		if (!config->categories[i].sealed || lists_info(daemon->lists)->category_names[i] > 0)
			continue;
		snprintf(id, sizeof id, "sealed:%.150s", config->categories[i].name);
		trouble(troubles, id, "no source feeds the sealed category %s: nothing is blocked by it",
		        config->categories[i].name);
	}
	troubles_of_sources(troubles, daemon);
}

void operations_look(struct operations *operations, struct daemon *daemon)
{
	json_t *troubles = json_object();
	char path[PATH_MAX];

	for (unsigned i = 0; i < FAULT_COUNT; i++)
		if (daemon->faults.text[i][0] != '\0')
			trouble(troubles, fault_rows[i].key, "%s", daemon->faults.text[i]);
	troubles_of_lists(troubles, daemon);
	snprintf(path, sizeof path, "%.4000s/alerts/troubles.json", daemon->config->run_dir);
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
