#include "device_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "believed_clock.h"
#include "devices.h"
#include "erasure.h"
#include "lease_watch.h"
#include "log.h"

#define PRUNE_EVERY_S 600
#define READ_EVERY_S 30 /* the kernel's table, where it says nothing */
#define NOTE_EVERY_S 60
#define NOTE_SOON_S 3 /* for who has just come */
#define SOON_MS 50    /* between two readings */

struct device_watch {
	char dir[PATH_MAX];
	struct devices *devices;
	struct lease_watch *leases;
	int erase_error;             /* said once */
	struct believed_clock clock; /* as of the last prune */
	int64_t pruned_s, noted_s;   /* since 1970 */
	uint32_t keep_s;
	bool is_used;     /* somebody wants to know the neighbours */
	bool has_changed; /* since the history was written */

	int notices; /* a socket, -1 none */
	struct event *noticed, *soon;
	uint64_t read_us;
	struct macs *macs;
	struct neighbour_table *table; /* as published last */
	void (*publish)(void *arg, struct neighbour_table *table);
	void *arg;
	char trouble[128]; /* of the neighbour table */
};

static uint64_t monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
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

/* ---- neighbours ---- */

/* Hands over a table that differs from the last one; one that does not makes the last one live longer. */
static void table_publish(struct device_watch *watch, struct neighbour_table *table, uint64_t now_us)
{
	if (table == NULL)
		return;
	if (watch->table != NULL && neighbour_table_equal(table, watch->table)) {
		neighbour_table_renew(watch->table, now_us);
		neighbour_table_free(table);
		return;
	}
	neighbour_table_free(watch->table);
	watch->table = table;
	watch->publish(watch->arg, table);
}

static void neighbours_note(struct device_watch *watch, const struct neighbour *list, size_t count,
        uint32_t keep_s, int64_t now_s)
{
	for (size_t i = 0; i < count; i++) {
		struct lease seen = { .has_mac = true, .start_s = now_s - list[i].age_s };
		if (list[i].age_s > NOTE_EVERY_S)
			continue;
		memcpy(seen.address, list[i].address, sizeof seen.address);
		memcpy(seen.mac, list[i].mac, sizeof seen.mac);
		seen.end_s = seen.start_s + 1;
		if (devices_note(watch->devices, DEVICE_FROM_NEIGHBOUR, &seen, now_s, keep_s) < 0)
			return;
	}
}

/* keep_s 0: nothing goes into the history. */
static void neighbours_look(struct device_watch *watch, uint32_t keep_s, int64_t now_s)
{
	struct neighbour *list;
	size_t count;
	uint64_t now_us = monotonic_us();
	int ret = neighbours_read(&list, &count);

	watch->read_us = now_us;
	if (ret < 0) {
		if (watch->trouble[0] == '\0')
			log_warn("devices: the kernel's neighbour table cannot be read: %s", strerror(-ret));
		snprintf(watch->trouble, sizeof watch->trouble,
		        "the kernel's neighbour table cannot be read: %s", strerror(-ret));
		return;
	}
	watch->trouble[0] = '\0';
	table_publish(watch, neighbour_table_new(list, count, watch->macs, now_us), now_us);
	if (keep_s > 0)
		neighbours_note(watch, list, count, keep_s, now_s);
	free(list);
}

/* A device that appears is known at once; more that changes right then, soon. The history is a second's work
 * for the disk and waits for the next look. */
static void notice_follow(struct device_watch *watch)
{
	static const struct timeval soon = { .tv_usec = SOON_MS * 1000 };

	if (!watch->is_used || event_pending(watch->soon, EV_TIMEOUT, NULL))
		return;
	watch->has_changed = true;
	if (monotonic_us() - watch->read_us < SOON_MS * 1000)
		event_add(watch->soon, &soon);
	else
		neighbours_look(watch, 0, 0);
}

static void neighbours_noticed(evutil_socket_t fd, short what, void *arg)
{
	neighbours_drain(fd);
	notice_follow(arg);
}

static void soon_due(evutil_socket_t fd, short what, void *arg)
{
	notice_follow(arg);
}

/* Without notices the table is read every half minute. */
static int neighbours_start(struct device_watch *watch, struct event_base *base)
{
	watch->soon = evtimer_new(base, soon_due, watch);
	if (watch->soon == NULL)
		return -ENOMEM;
	watch->notices = neighbours_listen();
	if (watch->notices < 0) {
		log_warn("devices: the kernel tells no changes of its neighbour table: %s",
		        strerror(-watch->notices));
		return 0;
	}
	watch->noticed = event_new(base, watch->notices, EV_READ | EV_PERSIST, neighbours_noticed, watch);
	return watch->noticed != NULL && event_add(watch->noticed, NULL) == 0 ? 0 : -ENOMEM;
}

/* ---- the watch ---- */

int device_watch_start(struct device_watch **out, struct event_base *base, const struct config *config,
        void (*publish)(void *arg, struct neighbour_table *table), void *arg)
{
	struct device_watch *watch = calloc(1, sizeof *watch);

	if (watch == NULL)
		return -ENOMEM;
	snprintf(watch->dir, sizeof watch->dir, "%.4000s/devices", config->state_dir);
	watch->notices = -1;
	watch->publish = publish;
	watch->arg = arg;
	watch->devices = devices_new(watch->dir);
	watch->leases = lease_watch_new();
	if (watch->devices == NULL || watch->leases == NULL || neighbours_start(watch, base) < 0 ||
	        device_watch_configure(watch, config) < 0) {
		device_watch_stop(watch);
		return -ENOMEM;
	}
	believed_clock_begin(&watch->clock, devices_written_s(watch->devices));
	*out = watch;
	return 0;
}

void device_watch_stop(struct device_watch *watch)
{
	if (watch == NULL)
		return;
	if (watch->noticed != NULL)
		event_free(watch->noticed);
	if (watch->soon != NULL)
		event_free(watch->soon);
	if (watch->notices >= 0)
		close(watch->notices);
	neighbour_table_free(watch->table);
	macs_free(watch->macs);
	lease_watch_free(watch->leases);
	devices_free(watch->devices);
	free(watch);
}

int device_watch_configure(struct device_watch *watch, const struct config *config)
{
	struct macs *macs = macs_new(config);

	if (macs == NULL || lease_watch_configure(watch->leases, config) < 0) {
		macs_free(macs);
		return -ENOMEM;
	}
	macs_free(watch->macs);
	watch->macs = macs;
	watch->keep_s = longest_keep(config);
	watch->is_used = config_knows_devices(config);
	if (macs_count(macs) > 0 || watch->table != NULL)
		neighbours_look(watch, 0, 0);
	return 0;
}

/* The log's writer has done its part: now ours, and the alerts' (erasure.h). */
static void erase(struct device_watch *watch)
{
	struct erasure *erasure;
	int ret = erasure_read(watch->dir, &erasure);

	if (ret == 0 && erasure == NULL)
		return;
	if (ret == 0 && !erasure->rows_only) {
		const struct block_filter *filter = &erasure->filter;
		ret = devices_forget(watch->devices,
		        filter->has_client && *erasure->device == '\0' ? &filter->client : NULL,
		        erasure->device, filter->since_us / 1000000, filter->until_us / 1000000 + 1);
	}
	erasure_free(erasure);
	if (ret == 0)
		ret = erasure_pass_on(watch->dir, "alerts");
	if (ret < 0 && watch->erase_error == 0)
		log_error("devices: an erasure cannot go on: %s", strerror(-ret));
	watch->erase_error = ret;
}

static void trouble(const char *sentence)
{
	log_warn("%s", sentence);
}

void device_watch_look(struct device_watch *watch)
{
	int64_t now_s = time(NULL);

	erase(watch);
	lease_watch_look(watch->leases, watch->devices, now_s, watch->keep_s, trouble);
	int64_t note_after_s = watch->has_changed ? NOTE_SOON_S : NOTE_EVERY_S;
	if (watch->is_used && (now_s < watch->noted_s || now_s >= watch->noted_s + note_after_s)) {
		watch->noted_s = now_s;
		watch->has_changed = false;
		neighbours_look(watch, watch->keep_s, now_s);
	} else if (watch->is_used && monotonic_us() - watch->read_us >= READ_EVERY_S * UINT64_C(1000000)) {
		neighbours_look(watch, 0, 0);
	}
	if (now_s >= watch->pruned_s && now_s < watch->pruned_s + PRUNE_EVERY_S)
		return;
	watch->pruned_s = now_s;
	devices_prune(watch->devices, believed_clock_now(&watch->clock), watch->keep_s);
}

const char *device_watch_trouble(const struct device_watch *watch)
{
	return watch->trouble[0] != '\0' ? watch->trouble : lease_watch_trouble(watch->leases);
}
