#include "case_places.h"

#include <stdio.h>
#include <string.h>

#include "blocklists/member.h"
#include "config.h"
#include "utc.h"
#include "value.h"

#define SECOND INT64_C(1000000)

static struct case_place *place_of(struct case_places *places, const uint8_t client[16], const char *device)
{
	for (size_t i = 0; i < places->count; i++)
		if (memcmp(places->place[i].client, client, 16) == 0 &&
		        strcmp(places->place[i].device, device) == 0)
			return &places->place[i];
	if (places->count == CASE_PLACES_MAX)
		return NULL;
	struct case_place *place = &places->place[places->count++];
	*place = (struct case_place){ .first_us = INT64_MAX, .last_us = INT64_MIN };
	memcpy(place->client, client, sizeof place->client);
	snprintf(place->device, sizeof place->device, "%s", device);
	return place;
}

void case_places_add(struct case_places *places, const struct block_item *item, const struct device *at)
{
	const char *label = device_label(at);
	struct case_place *place = place_of(places, item->client, label ? label : "");

	if (!place)
		return;
	place->rows++;
	place->first_us = item->time_us < place->first_us ? item->time_us : place->first_us;
	place->last_us = item->time_us > place->last_us ? item->time_us : place->last_us;
}

json_t *case_places_json(const struct case_places *places)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < places->count; i++) {
		const struct case_place *place = &places->place[i];
		json_array_append_new(
		        list, json_pack("{s:o, s:o, s:o, s:o, s:I}", "client", value_client(place->client),
		                      "device", *place->device ? value_text(place->device) : json_null(),
		                      "first", value_time(place->first_us / SECOND), "last",
		                      value_time(place->last_us / SECOND), "rows", (json_int_t)place->rows));
	}
	return list;
}

static int place_read(struct case_place *place, const json_t *json)
{
	const char *client = json_string_value(json_object_get(json, "client"));
	struct config_network network;
	int64_t first_s, last_s;

	if (!client || config_network_parse(&network, client) < 0 ||
	        !utc_read(member_text(json, "first"), &first_s) ||
	        !utc_read(member_text(json, "last"), &last_s))
		return -1;
	*place = (struct case_place){ .first_us = first_s * SECOND,
		.last_us = last_s * SECOND,
		.rows = (uint64_t)json_integer_value(json_object_get(json, "rows")) };
	memcpy(place->client, network.address, sizeof place->client);
	snprintf(place->device, sizeof place->device, "%s", member_text(json, "device"));
	return 0;
}

int case_places_read(struct case_places *places, const json_t *json)
{
	const json_t *one;
	size_t i;

	places->count = 0;
	json_array_foreach(json, i, one)
	{
		if (places->count == CASE_PLACES_MAX || place_read(&places->place[places->count], one) < 0)
			return -1;
		places->count++;
	}
	return 0;
}
