#include "device_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "devices.h"
#include "lease_watch.h"
#include "log.h"

#define PRUNE_EVERY_S 600

struct device_watch {
	struct devices *devices;
	struct lease_watch *leases;
	int64_t pruned_s;
};

int device_watch_start(struct device_watch **out, const struct config *config)
{
	struct device_watch *watch = calloc(1, sizeof *watch);
	char dir[PATH_MAX];

	if (watch == NULL)
		return -ENOMEM;
	snprintf(dir, sizeof dir, "%s/devices", config->state_dir);
	watch->devices = devices_new(dir);
	watch->leases = lease_watch_new();
	if (watch->devices == NULL || watch->leases == NULL || device_watch_configure(watch, config) < 0) {
		device_watch_stop(watch);
		return -ENOMEM;
	}
	*out = watch;
	return 0;
}

void device_watch_stop(struct device_watch *watch)
{
	if (watch == NULL)
		return;
	lease_watch_free(watch->leases);
	devices_free(watch->devices);
	free(watch);
}

int device_watch_configure(struct device_watch *watch, const struct config *config)
{
	return lease_watch_configure(watch->leases, config);
}

/* As long as any record of the log could ask. */
static uint32_t longest_keep(const struct config *config)
{
	uint32_t keep_s = 0;

	for (size_t i = 0; i < config->profile_count; i++)
		if (config->profiles[i].keep_s > keep_s)
			keep_s = config->profiles[i].keep_s;
	return keep_s;
}

static void trouble(const char *sentence)
{
	log_warn("%s", sentence);
}

void device_watch_look(struct device_watch *watch, const struct config *config)
{
	int64_t now_s = time(NULL);
	uint32_t keep_s = longest_keep(config);

	lease_watch_look(watch->leases, watch->devices, now_s, keep_s, trouble);
	if (now_s >= watch->pruned_s && now_s < watch->pruned_s + PRUNE_EVERY_S)
		return;
	watch->pruned_s = now_s;
	devices_prune(watch->devices, now_s, keep_s);
}

const char *device_watch_trouble(const struct device_watch *watch)
{
	return lease_watch_trouble(watch->leases);
}
