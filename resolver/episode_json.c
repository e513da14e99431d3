/* An episode for people and programs outside: the JSON of DESIGN.md 5. */
#include "episode.h"

#include <jansson.h>

static json_t *text_json(const char *text)
{
	json_t *json = text ? json_string(text) : NULL;
	return json ? json : json_null();
}

static json_t *client_json(const struct episode *episode)
{
	char text[INET6_ADDRSTRLEN];

	if (!episode->has_client)
		return json_null();
	block_client_text(episode->client, text);
	return json_string(text);
}

static json_t *time_json(int64_t time_us)
{
	char text[BLOCK_TIME_LEN];

	block_time_text(time_us, text);
	return json_string(text);
}

static json_t *names_json(const struct episode *episode)
{
	json_t *names = json_array();
	char text[NAME_TEXT_MAX];
	struct name name;

	for (size_t i = 0; i < episode->name_count; i++) {
		if (name_from_wire(&name, episode->names[i].wire, episode->names[i].len) < 0)
			continue;
		name_to_text(&name, text);
		json_array_append_new(names, text_json(text));
	}
	return names;
}

char *episode_json(const struct episode *episode, const char *device)
{
	json_t *json = json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:I, s:o, s:I, s:I, s:b, s:b}",
	        "client", client_json(episode), "device", text_json(device), "profile",
	        text_json(episode->profile), "severity", config_severity_text(episode->severity), "category",
	        text_json(episode->category), "first", time_json(episode->first_us), "last",
	        time_json(episode->last_us), "count", (json_int_t)episode->count, "names",
	        names_json(episode), "more", (json_int_t)episode->more, "watched",
	        (json_int_t)episode->watched, "bypass", episode->bypass, "background", episode->background);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}
