#include "case_device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block_item.h"
#include "value.h"

#define MAC_TEXT_LEN 18

static bool has_mac(const struct case_device *device, const uint8_t mac[6])
{
	for (size_t i = 0; i < device->mac_count; i++)
		if (memcmp(device->macs[i], mac, sizeof device->macs[i]) == 0)
			return true;
	return false;
}

static void add_mac(struct case_device *device, const uint8_t mac[6])
{
	if (device->mac_count < CASE_MACS_MAX && !has_mac(device, mac))
		memcpy(device->macs[device->mac_count++], mac, sizeof device->macs[0]);
}

bool case_device_has(const struct case_device *device, const struct device *at)
{
	if (*device->wanted == '\0')
		return false;
	if (device_is(at, device->wanted))
		return true;
	return at->has_mac && device_is_sure(at) && has_mac(device, at->mac_octets);
}

/* ---- finding ---- */

struct learning {
	struct case_device *device;
	struct devices *devices;
};

static bool learn(void *arg, const struct block_item *item)
{
	struct learning *learning = arg;
	struct case_device *device = learning->device;
	struct device at;

	if (!item->client)
		return true;
	devices_find(learning->devices, item->client, item->time_us, &at);
	bool is_users = at.confidence == DEVICE_RADIUS && *device->wanted != '\0';
	if (at.has_mac && device_is_sure(&at) && !is_users && device_is(&at, device->wanted))
		add_mac(device, at.mac_octets);
	return true;
}

int case_device_find(struct case_device *device, const char *log_dir, const struct block_filter *filter,
        const char *wanted)
{
	struct learning learning = { device, devices_beside(log_dir) };

	*device = (struct case_device){ 0 };
	snprintf(device->wanted, sizeof device->wanted, "%s", wanted);
	int64_t ret = learning.devices ? block_scan_items(log_dir, filter, true, learn, &learning) : -ENOMEM;
	devices_free(learning.devices);
	bool is_one_address = filter->has_client && filter->client.length == 128;
	if (*wanted == '\0' && is_one_address && device->mac_count == 1)
		lease_mac_text(device->macs[0], device->wanted);
	return ret < 0 ? (int)ret : 0;
}

/* ---- in a case's file ---- */

int case_device_write(const struct case_device *device, json_t *json)
{
	json_t *macs = json_array();
	char text[MAC_TEXT_LEN];
	int ret = 0;

	for (size_t i = 0; i < device->mac_count; i++) {
		lease_mac_text(device->macs[i], text);
		ret |= json_array_append_new(macs, json_string(text));
	}
	ret |= json_object_set_new(
	        json, "device", *device->wanted ? value_text(device->wanted) : json_null());
	return ret | json_object_set_new(json, "macs", macs);
}

int case_device_read(struct case_device *device, const json_t *json)
{
	const char *wanted = json_string_value(json_object_get(json, "device"));
	const json_t *macs = json_object_get(json, "macs"), *one;
	uint8_t mac[6];
	size_t i;

	*device = (struct case_device){ 0 };
	snprintf(device->wanted, sizeof device->wanted, "%s", wanted ? wanted : "");
	json_array_foreach(macs, i, one)
	{
		if (!json_is_string(one) || lease_mac_parse(mac, json_string_value(one)) < 0)
			return -1;
		add_mac(device, mac);
	}
	return 0;
}
