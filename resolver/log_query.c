#include "log_query.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log_count.h"

/* Places by enum log_count_by. */
static const char *const count_keys[] = { NULL, "client", "device", "category", "name", "severity", "hour" };

/* ---- parameters ---- */

struct reading {
	struct log_query *query;
	const struct config *config;
	char *why;
};

__attribute__((format(printf, 2, 3))) static int wrong(struct reading *reading, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reading->why, LOG_QUERY_WHY_MAX, format, args);
	va_end(args);
	return -EINVAL;
}

/* Adds ", name" to a sentence, as far as there is room. */
static void list_add(char *sentence, bool first, const char *name)
{
	size_t len = strlen(sentence);
	snprintf(sentence + len, LOG_QUERY_WHY_MAX - len, "%s%s", first ? "" : ", ", name);
}

static int read_client(struct reading *reading, const char *text)
{
	reading->query->filter.has_client = true;
	if (config_network_parse(&reading->query->filter.client, text) < 0)
		return wrong(reading,
		        "client: found '%s', expected an address or a network such as 10.20.0.0/16", text);
	return 0;
}

static int read_device(struct reading *reading, const char *text)
{
	struct log_query *query = reading->query;
	uint8_t mac[6];

	if (*text == '\0' || strlen(text) > LEASE_NAME_MAX)
		return wrong(
		        reading, "device: found '%.100s', expected a device's name or MAC address", text);
	if (lease_mac_parse(mac, text) == 0)
		lease_mac_text(mac, query->device);
	else
		strcpy(query->device, text);
	return 0;
}

static int read_profile(struct reading *reading, const char *text)
{
	const struct config *config = reading->config;
	int profile = config_profile(config, text);

	if (profile >= 0) {
		reading->query->filter.profile = config->profiles[profile].name;
		return 0;
	}
	wrong(reading, "profile: there is no '%s'; known are: ", text);
	for (size_t i = 0; i < config->profile_count; i++)
		list_add(reading->why, i == 0, config->profiles[i].name);
	return -EINVAL;
}

static int read_category(struct reading *reading, const char *text)
{
	const struct config *config = reading->config;
	int category = config_category(config, text);

	if (category >= 0) {
		reading->query->filter.category = config->categories[category].name;
		return 0;
	}
	wrong(reading, "category: there is no '%s'; known are: ", text);
	for (size_t i = 0; i < config->category_count; i++)
		list_add(reading->why, i == 0, config->categories[i].name);
	return -EINVAL;
}

static int read_severity(struct reading *reading, const char *text)
{
	for (int severity = SEVERITY_ADVISORY; severity <= SEVERITY_DANGER; severity++)
		if (strcmp(config_severity_text(severity), text) == 0) {
			reading->query->filter.severity = severity;
			return 0;
		}
	return wrong(reading, "severity: found '%s', expected danger, caution or advisory", text);
}

static int read_name(struct reading *reading, const char *text)
{
	if (name_from_user_text(&reading->query->filter.name, text, strlen(text)) < 0)
		return wrong(reading, "name: found '%s', expected a domain name", text);
	return 0;
}

/* "Z", "+01:00"; a plus comes as a space where a client did not encode it. Seconds east of UTC. */
static bool offset_parse(const char *text, int *offset_s)
{
	unsigned hours, minutes;
	int len = 0;

	*offset_s = 0;
	if (strcmp(text, "Z") == 0)
		return true;
	if (!strchr("+- ", *text) || sscanf(text + 1, "%2u:%2u%n", &hours, &minutes, &len) != 2 ||
	        text[1 + len] != 0)
		return false;
	*offset_s = (int)(hours * 3600 + minutes * 60) * (*text == '-' ? -1 : 1);
	return hours < 24 && minutes < 60;
}

/* RFC 3339 5.6 */
static bool date_parse(const char *text, int64_t *us)
{
	struct tm tm = { 0 };
	int offset_s;
	int64_t fraction = 0, unit = 100000;
	const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!at)
		return false;
	if (*at == '.')
		for (at++; isdigit((unsigned char)*at); at++, unit /= 10)
			fraction += (*at - '0') * unit;
	if (!offset_parse(at, &offset_s))
		return false;
	*us = ((int64_t)timegm(&tm) - offset_s) * 1000000 + fraction;
	return true;
}

static int read_time(struct reading *reading, const char *key, const char *text, int64_t *us)
{
	uint64_t ms;
	char *end;

	if (date_parse(text, us))
		return 0;
	if (config_duration_parse(text, &ms) == 0 && ms < INT64_MAX / 1000) {
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		*us = now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000 - (int64_t)ms * 1000;
		return 0;
	}
	errno = 0;
	long long s = strtoll(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || s > INT64_MAX / 1000000)
		return wrong(reading, "%s: found '%s', expected a time such as 2026-11-23T10:15:00Z, or 1h",
		        key, text);
	*us = s * 1000000;
	return 0;
}

static int read_since(struct reading *reading, const char *text)
{
	return read_time(reading, "since", text, &reading->query->filter.since_us);
}

static int read_until(struct reading *reading, const char *text)
{
	int64_t *until_us = &reading->query->filter.until_us;
	int ret = read_time(reading, "until", text, until_us);

	/* 0 would be no end at all; nothing was logged before 1970 */
	if (ret == 0 && *until_us < 1)
		*until_us = 1;
	return ret;
}

static int read_limit(struct reading *reading, const char *text)
{
	char *end;
	unsigned long limit = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || limit < 1 || limit > LOG_QUERY_LIMIT_MAX)
		return wrong(reading, "limit: found '%s', expected 1 to %d", text, LOG_QUERY_LIMIT_MAX);
	reading->query->filter.limit = limit;
	return 0;
}

static int read_count_by(struct reading *reading, const char *text)
{
	for (int key = LOG_COUNT_CLIENT; key <= LOG_COUNT_HOUR; key++)
		if (strcmp(count_keys[key], text) == 0) {
			reading->query->count_by = (enum log_count_by)key;
			return 0;
		}
	return wrong(reading,
	        "count-by: found '%s', expected client, device, category, name, severity or hour", text);
}

static int read_format(struct reading *reading, const char *text)
{
	return strcmp(text, "json") == 0 ? 0 : wrong(reading, "format: found '%s', expected json", text);
}

/* Ids are greater than 1: from 0 on is from the first. */
static int read_after(struct reading *reading, const char *text)
{
	char *end;

	errno = 0;
	unsigned long long id = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || id > INT64_MAX)
		return wrong(reading, "after: found '%s', expected the id of a record", text);
	reading->query->filter.after_id = id ? id : 1;
	return 0;
}

static int read_ids(struct reading *reading, const char *text)
{
	reading->query->ids = strcmp(text, "yes") == 0;
	return reading->query->ids || strcmp(text, "no") == 0
	               ? 0
	               : wrong(reading, "ids: found '%s', expected yes or no", text);
}

const char *const log_query_parameters[] = { "client", "device", "profile", "category", "severity", "name",
	"since", "until", "limit", "count-by", "format", "after", "ids", NULL };
/* In the order of the names above. */
static int (*const readers[])(struct reading *reading, const char *text) = { read_client, read_device,
	read_profile, read_category, read_severity, read_name, read_since, read_until, read_limit,
	read_count_by, read_format, read_after, read_ids };

int log_query_check_names(
        const char *const *all, const char *const *names, size_t count, char why[LOG_QUERY_WHY_MAX])
{
	struct reading reading = { .why = why };

	for (size_t i = 0; i < count; i++) {
		size_t known = 0;
		while (all[known] && strcmp(all[known], names[i]) != 0)
			known++;
		if (!all[known]) {
			wrong(&reading, "found the unknown parameter '%.100s'; known are: ", names[i]);
			for (known = 0; all[known]; known++)
				list_add(why, known == 0, all[known]);
			return -EINVAL;
		}
		for (size_t k = 0; k < i; k++)
			if (strcmp(names[i], names[k]) == 0)
				return wrong(&reading, "%s: found twice, expected once", names[i]);
	}
	return 0;
}

int log_query_read(struct log_query *query, const struct config *config,
        const char *(*parameter)(void *arg, const char *name), void *arg, char why[LOG_QUERY_WHY_MAX])
{
	struct reading reading = { query, config, why };

	*query = (struct log_query){ .filter.severity = -1 };
	for (size_t i = 0; log_query_parameters[i]; i++) {
		const char *text = parameter(arg, log_query_parameters[i]);
		int ret = text ? readers[i](&reading, text) : 0;
		if (ret < 0)
			return ret;
	}
	if (query->count_by == LOG_COUNT_NONE && query->filter.limit == 0)
		query->filter.limit = LOG_QUERY_LIMIT;
	return 0;
}

/* ---- rows ---- */

void log_query_join(struct devices *devices, struct block_record *record, struct device *room)
{
	*room = (struct device){ .confidence = DEVICE_UNKNOWN };
	if (record->client != NULL)
		devices_find(devices, record->client, record->time_us, room);
	record->device = room;
}

char *log_query_line(const struct block_record *record, bool with_id)
{
	char *json = block_record_json(record), *line = NULL;
	int ret = -1;

	if (json && with_id)
		ret = asprintf(&line, "{\"id\":%" PRIu64 ",%s\n", record->id, json + 1);
	else if (json)
		ret = asprintf(&line, "%s\n", json);
	free(json);
	return ret < 0 ? NULL : line;
}

struct rows {
	const struct log_query *query;
	struct devices *devices;
	FILE *out;
	uint64_t written;
};

static bool print_record(void *arg, const struct block_record *found)
{
	struct rows *rows = arg;
	struct block_record record = *found;
	struct device room;

	log_query_join(rows->devices, &record, &room);
	if (!device_is(&room, rows->query->device))
		return true;
	char *line = log_query_line(&record, rows->query->ids);
	bool printed = line && fputs(line, rows->out) != EOF;
	free(line);
	return printed && ++rows->written != rows->query->filter.limit;
}

/* A device is known only after the join, so with one the limit is counted here. */
static int64_t run_rows(const struct log_query *query, const char *dir, FILE *out)
{
	struct rows rows = { .query = query, .devices = devices_beside(dir), .out = out };
	struct block_filter filter = query->filter;

	if (!rows.devices)
		return -ENOMEM;
	if (query->device[0] != '\0')
		filter.limit = 0;
	int64_t ret = block_log_scan(dir, &filter, print_record, &rows);
	devices_free(rows.devices);
	return ret < 0 ? ret : ferror(out) ? -EIO : (int64_t)rows.written;
}

bool log_query_is_numbers(const struct log_query *query)
{
	bool numbers = query->count_by == LOG_COUNT_CATEGORY || query->count_by == LOG_COUNT_SEVERITY ||
	               query->count_by == LOG_COUNT_HOUR;

	return numbers && !query->filter.has_client && query->filter.name.len == 0 &&
	       query->device[0] == '\0';
}

int64_t log_query_run(const struct log_query *query, const char *dir, FILE *out)
{
	return query->count_by != LOG_COUNT_NONE ? log_count_run(query, dir, out) : run_rows(query, dir, out);
}
