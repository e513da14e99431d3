#include "event_query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "episode.h"

#define CLOCK_SLACK_US                                                                                       \
	INT64_C(60000000) /* an id is the time of its commit, which is later, but for a clock set back */

const char *const event_query_parameters[] = { "client", "device", "profile", "category", "severity", "name",
	"since", "until", "limit", "format", NULL };

/* Oldest first, from a time on, as many as there are. */
static struct block_filter oldest_first(const struct block_filter *filter, int64_t since_us)
{
	struct block_filter scan = *filter;

	scan.limit = 0;
	scan.since_us = since_us > 0 ? since_us : 0;
	scan.after_id = scan.since_us > CLOCK_SLACK_US ? (uint64_t)(scan.since_us - CLOCK_SLACK_US) : 1;
	return scan;
}

static int64_t write_line(char *json, FILE *out)
{
	int64_t ret = json && fputs(json, out) != EOF && putc('\n', out) != EOF ? 0 : -ENOMEM;

	free(json);
	return ret;
}

/* A record with its device, as it was then. */
struct joined {
	struct block_record record;
	struct device device;
};

/* Returns whether it is of the device that is asked for. */
static bool join(struct joined *joined, const struct log_query *query, struct devices *devices,
        const struct block_record *record)
{
	joined->record = *record;
	log_query_join(devices, &joined->record, &joined->device);
	return device_is(&joined->device, query->device);
}

/* ---- episodes ---- */

struct gathering {
	const struct log_query *query;
	struct episodes *episodes;
	struct devices *devices;
	struct episode **kept;
	size_t count, room, limit;
	int error;
};

/* The worst are kept: half of the room is given up when it is full. */
static int gathering_make_room(struct gathering *gathering)
{
	if (gathering->count < gathering->room)
		return 0;
	if (gathering->room >= 2 * gathering->limit) {
		qsort(gathering->kept, gathering->count, sizeof *gathering->kept, episode_compare);
		while (gathering->count > gathering->limit)
			episode_free(gathering->kept[--gathering->count]);
		return 0;
	}
	size_t room = gathering->room ? 2 * gathering->room : 64;
	struct episode **kept = realloc(gathering->kept, room * sizeof(struct episode *));
	if (!kept)
		return -ENOMEM;
	gathering->kept = kept;
	gathering->room = room;
	return 0;
}

static void gather(void *arg, const struct episode *episode)
{
	struct gathering *gathering = arg;

	if (gathering->error < 0)
		return;
	gathering->error = gathering_make_room(gathering);
	if (gathering->error < 0)
		return;
	struct episode *copy = episode_copy(episode);
	if (copy)
		gathering->kept[gathering->count++] = copy;
	else
		gathering->error = -ENOMEM;
}

static bool feed_episodes(void *arg, const struct block_record *record)
{
	struct gathering *gathering = arg;
	struct joined joined;
	int ret = 0;

	if (join(&joined, gathering->query, gathering->devices, record))
		ret = episodes_feed(gathering->episodes, &joined.record);
	if (ret < 0)
		gathering->error = ret;
	return gathering->error == 0;
}

static char *episode_with_device(struct devices *devices, const struct episode *episode)
{
	struct device room = { .confidence = DEVICE_UNKNOWN };

	if (episode->has_client)
		devices_find(devices, episode->client, episode->last_us, &room);
	return episode_json(episode, &room);
}

static int64_t write_episodes(struct gathering *gathering, FILE *out)
{
	int64_t ret = 0;

	if (gathering->count > 0)
		qsort(gathering->kept, gathering->count, sizeof *gathering->kept, episode_compare);
	size_t count = gathering->count < gathering->limit ? gathering->count : gathering->limit;
	for (size_t i = 0; i < count && ret == 0; i++)
		ret = write_line(episode_with_device(gathering->devices, gathering->kept[i]), out);
	return ret < 0 ? ret : (int64_t)count;
}

int64_t episodes_run(const struct config *config, const struct log_query *query, const char *dir, FILE *out)
{
	struct gathering gathering = { .query = query,
		.limit = query->filter.limit ? query->filter.limit : EVENT_QUERY_LIMIT };
	struct block_filter scan = oldest_first(&query->filter, query->filter.since_us);

	gathering.episodes = episodes_new(config, gather, &gathering);
	gathering.devices = devices_beside(dir);
	if (!gathering.episodes || !gathering.devices) {
		episodes_free(gathering.episodes);
		devices_free(gathering.devices);
		return -ENOMEM;
	}
	int64_t ret = block_log_scan(dir, &scan, feed_episodes, &gathering);
	if (ret >= 0)
		episodes_finish(gathering.episodes);
	if (ret >= 0)
		ret = gathering.error < 0 ? gathering.error : write_episodes(&gathering, out);
	for (size_t i = 0; i < gathering.count; i++)
		episode_free(gathering.kept[i]);
	free(gathering.kept);
	episodes_free(gathering.episodes);
	devices_free(gathering.devices);
	return ret;
}

/* ---- signals ---- */

/* The last state of each signal, in the order in which they were made. */
struct hearing {
	const struct log_query *query;
	struct signals *signals;
	struct devices *devices;
	struct heard {
		uint64_t id;
		char *json;
	} * heard;
	size_t count, room;
	int64_t since_us;
	int error;
};

static struct heard *hearing_place(struct hearing *hearing, uint64_t id)
{
	for (size_t i = hearing->count; i-- > 0;)
		if (hearing->heard[i].id == id)
			return &hearing->heard[i];
	if (hearing->count == hearing->room) {
		size_t room = hearing->room ? 2 * hearing->room : 64;
		struct heard *heard = realloc(hearing->heard, room * sizeof *heard);
		if (!heard)
			return NULL;
		hearing->heard = heard;
		hearing->room = room;
	}
	hearing->heard[hearing->count] = (struct heard){ .id = id };
	return &hearing->heard[hearing->count++];
}

char *signal_with_device(struct devices *devices, const struct signal *signal)
{
	struct device room = { .confidence = DEVICE_UNKNOWN };

	if (signal->has_client)
		devices_find(devices, signal->client, signal->last_us, &room);
	return signal_json(signal, &room);
}

/* Its place is where it was made, its text what it was in the end. */
static void hear(void *arg, const struct signal *signal, enum signal_stage stage)
{
	struct hearing *hearing = arg;

	if (stage == SIGNAL_MORE || signal->fired_us < hearing->since_us || hearing->error < 0)
		return;
	struct heard *heard = hearing_place(hearing, signal->id);
	if (heard && stage == SIGNAL_OVER)
		heard->json = signal_with_device(hearing->devices, signal);
	if (!heard || (stage == SIGNAL_OVER && !heard->json))
		hearing->error = -ENOMEM;
}

static bool feed_signals(void *arg, const struct block_record *record)
{
	struct hearing *hearing = arg;
	struct joined joined;
	int ret = 0;

	if (join(&joined, hearing->query, hearing->devices, record))
		ret = signals_feed(hearing->signals, &joined.record);
	if (ret < 0)
		hearing->error = ret;
	return hearing->error == 0;
}

int64_t signals_run(const struct config *config, const struct log_query *query, const char *dir, FILE *out)
{
	struct hearing hearing = { .query = query, .since_us = query->filter.since_us };
	struct block_filter scan =
	        oldest_first(&query->filter, query->filter.since_us - SIGNAL_LEAD_S * INT64_C(1000000));
	uint64_t limit = query->filter.limit ? query->filter.limit : EVENT_QUERY_LIMIT;
	int64_t lines = 0;

	hearing.signals = signals_new(config, hear, &hearing);
	hearing.devices = devices_beside(dir);
	if (!hearing.signals || !hearing.devices) {
		signals_free(hearing.signals);
		devices_free(hearing.devices);
		return -ENOMEM;
	}
	int64_t ret = block_log_scan(dir, &scan, feed_signals, &hearing);
	signals_finish(hearing.signals);
	if (hearing.error < 0)
		ret = hearing.error;
	for (size_t i = hearing.count; i-- > 0;) {
		if (ret >= 0 && (uint64_t)lines < limit) {
			ret = write_line(hearing.heard[i].json, out);
			lines++;
		} else {
			free(hearing.heard[i].json);
		}
	}
	free(hearing.heard);
	signals_free(hearing.signals);
	devices_free(hearing.devices);
	return ret < 0 ? ret : lines;
}
