/*
 * A subject access request: what is stored about one device, all of it and nothing about anybody else. Rows
 * are asked for by the reader's own filter. An address is handed on by DHCP, and a name is given to many
 * devices: where its rows are known to be of several devices there is no report, for it would tell one about
 * another.
 */
#include "report_fill.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "blocklists/member.h"

static void row_add(struct report *report, const struct report_request *request, const json_t *record)
{
	const char *name = member_text(record, "name"), *matched = member_text(record, "matched");
	char when[REPORT_WHEN_LEN];
	const char *cells[] = { when, name, strcmp(name, matched) == 0 ? "" : matched,
		member_text(record, "type"),
		report_category(request->config, member_text(record, "category")),
		member_text(record, "action") };
	const char *data[] = { member_text(record, "time"), member_text(record, "client"),
		member_text(record, "device"), member_text(record, "profile"), name,
		member_text(record, "type"), member_text(record, "category"), member_text(record, "severity"),
		matched, member_text(record, "action") };

	report_when(member_text(record, "time"), when);
	report_row(report, TONE_PLAIN, cells);
	report_data_row(report, data);
}

/* Whose rows they may be, sure or not: its MAC, for many devices go by one name; else its name; "" where
 * nobody knows. */
static const char *device_of(const json_t *record)
{
	const char *mac = member_text(record, "mac");

	return *mac ? mac : member_text(record, "device");
}

static void devices_say(const json_t *devices)
{
	const char *device;
	json_t *name;

	json_object_foreach((json_t *)(uintptr_t)devices, device, name)
	{
		char text[256];
		snprintf(text, sizeof text, "%s (%s)", json_string_value(name), device);
		command_say(strcmp(json_string_value(name), device) == 0 ? device : text);
	}
}

/* Whether the rows are of one device, as far as that is known; says which they are of, if not. */
static bool is_of_one(const struct report_request *request, const json_t *records)
{
	json_t *devices = json_object();
	const json_t *record;
	size_t i;

	json_array_foreach(records, i, record) if (*device_of(record))
	        json_object_set_new(devices, device_of(record), json_string(member_text(record, "device")));
	bool is_one = json_object_size(devices) <= 1;
	if (!is_one) {
		fprintf(stderr,
		        "usher: %s was of %zu devices in that time: choose one with --device and its MAC "
		        "address, or a time with --since and --until. They are:\n",
		        request->client ? request->client : request->device, json_object_size(devices));
		devices_say(devices);
	}
	json_decref(devices);
	return is_one;
}

/* Of which it is not sure that they are this device's. */
static size_t doubtful_count(const json_t *records)
{
	const json_t *record;
	size_t i, count = 0;

	json_array_foreach(records, i, record) count +=
	        strcmp(member_text(record, "confidence"), "expired") == 0 ||
	        strcmp(member_text(record, "confidence"), "disputed") == 0 ||
	        strcmp(member_text(record, "confidence"), "shared") == 0;
	return count;
}

static void rows(struct report *report, const struct report_request *request, json_t *records)
{
	static const char *const titles[] = { "When", "Name looked up", "Listed as", "Type", "Category",
		"Action" };
	static const char *const columns[] = { "time", "client", "device", "profile", "name", "type",
		"category", "severity", "matched", "action" };
	const json_t *record;
	size_t i;

	report_section(report, "What is stored");
	report_rows(report, records);
	report_data(report, columns, sizeof columns / sizeof *columns);
	report_sentence(report, TONE_PLAIN, "%zu blocked lookups are stored.", json_array_size(records));
	if (json_array_size(records) >= REPORT_ROWS_MAX)
		report_sentence(report, TONE_DANGER,
		        "There are more than %d: ask for a shorter time with --since and --until.",
		        REPORT_ROWS_MAX);
	if (doubtful_count(records) > 0)
		report_sentence(report, TONE_DANGER,
		        "%zu of them may be another device's: the lease of the address had ended, or another "
		        "device was seen at it. See `usher log --device` before you give them away.",
		        doubtful_count(records));
	if (json_array_size(records) == 0)
		return;
	report_table(report, titles, sizeof titles / sizeof *titles);
	json_array_foreach(records, i, record) row_add(report, request, record);
}

static void how_long(struct report *report, const struct config *config)
{
	static const char *const kept[] = { [LOG_FULL] = "with the device's address",
		[LOG_NO_CLIENT] = "without the device's address",
		[LOG_OFF] = "not at all, but for sealed categories" };

	report_section(report, "Why, and for how long");
	report_sentence(report, TONE_PLAIN,
	        "The school must keep its pupils from harm online and know where that fails. Lookups that "
	        "were answered are not "
	        "stored. Blocked ones are, for the designated safeguarding lead; each time somebody reads "
	        "them is itself recorded.");
	for (size_t i = 0; i < config->profile_count; i++)
		report_sentence(report, TONE_PLAIN, "%s: stored %s, deleted after %u days.",
		        config->profiles[i].name, kept[config->profiles[i].log],
		        config->profiles[i].keep_s / 86400);
}

int report_fill_person(struct report *report, const struct report_request *request)
{
	const struct report_whom whom = { .client = request->client, .device = request->device };
	json_t *records = report_ask_rows(request->context, report_records, &whom, &request->period);

	if (!records)
		return COMMAND_FAILED;
	if (!is_of_one(request, records)) {
		json_decref(records);
		return COMMAND_FAILED;
	}
	rows(report, request, records);
	how_long(report, request->config);
	report_limits(report);
	json_decref(records);
	return COMMAND_OK;
}
