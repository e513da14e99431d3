/* An episode for people and programs outside: the JSON of DESIGN.md 5. */
#include "episode.h"

#include "identity.h"

#include "value.h"

static json_t *names_json(const struct episode *episode)
{
	json_t *names = json_array();
	char text[NAME_TEXT_MAX];
	struct name name;

	for (size_t i = 0; i < episode->name_count; i++) {
		if (name_from_wire(&name, episode->names[i].wire, episode->names[i].len) < 0)
			continue;
		name_to_text(&name, text);
		json_array_append_new(names, value_text(text));
	}
	return names;
}

char *episode_json(const struct episode *episode, const struct device *device)
{
	json_t *json = json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:I, s:o, s:I, s:I, s:b, s:b}",
	        "client", value_client(episode->has_client ? episode->client : NULL), "device", json_null(),
	        "profile", value_text(episode->profile), "severity", config_severity_text(episode->severity),
	        "category", value_text(episode->category), "first", value_time_us(episode->first_us), "last",
	        value_time_us(episode->last_us), "count", (json_int_t)episode->count, "names",
	        names_json(episode), "more", (json_int_t)episode->more, "watched",
	        (json_int_t)episode->watched, "bypass", episode->bypass, "background", episode->background);
	const uint8_t *client = episode->has_client ? episode->client : NULL;
	char *text =
	        json && identity_add_to(json, client, device) == 0 ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}
