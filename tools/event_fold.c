#include "event_fold.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "blocklists/member.h"

#define KEY_LEN 1024

const char *event_identity(const json_t *event)
{
	return member_text(event, "identity");
}

static bool may_fold(const json_t *episode)
{
	return strcmp(member_text(episode, "severity"), "danger") != 0 &&
	       !json_is_true(json_object_get(episode, "bypass")) &&
	       !json_is_true(json_object_get(episode, "background"));
}

static void names_join(json_t *names, const json_t *more)
{
	const json_t *name, *known;
	size_t i, k;

	json_array_foreach(more, i, name)
	{
		bool is_known = false;
		json_array_foreach(names, k, known) is_known |= json_equal(known, name);
		if (!is_known)
			json_array_append(names, (json_t *)(uintptr_t)name);
	}
}

static void count_join(json_t *fold, const json_t *episode, const char *key)
{
	json_int_t sum = json_integer_value(json_object_get(fold, key)) +
	                 json_integer_value(json_object_get(episode, key));

	json_object_set_new(fold, key, json_integer(sum));
}

/* Times of one form and zone: the order of their texts is theirs. */
static void fold_join(json_t *fold, const json_t *episode)
{
	if (strcmp(member_text(episode, "first"), member_text(fold, "first")) < 0)
		json_object_set(fold, "first", json_object_get(episode, "first"));
	if (strcmp(member_text(episode, "last"), member_text(fold, "last")) > 0)
		json_object_set(fold, "last", json_object_get(episode, "last"));
	count_join(fold, episode, "count");
	count_join(fold, episode, "watched");
	count_join(fold, episode, "more");
	names_join(json_object_get(fold, "names"), json_object_get(episode, "names"));
}

/* The devices of a fold are counted, each once, by keys in `seen`. */
static void client_join(json_t *fold, const json_t *episode, const char *key, json_t *seen)
{
	char of[KEY_LEN + 64];

	snprintf(of, sizeof of, "%s %s", key, event_identity(episode));
	if (event_identity(episode)[0] == '\0' || json_object_get(seen, of))
		return;
	json_object_set_new(seen, of, json_true());
	json_object_set_new(
	        fold, "clients", json_integer(json_integer_value(json_object_get(fold, "clients")) + 1));
}

json_t *events_folded(const json_t *episodes)
{
	json_t *rows = json_array(), *folds = json_object(), *seen = json_object();
	const json_t *episode;
	size_t i;

	json_array_foreach(episodes, i, episode)
	{
		char key[KEY_LEN];
		const char *name = json_string_value(json_array_get(json_object_get(episode, "names"), 0));
		snprintf(key, sizeof key, "%s %s %s %s", member_text(episode, "profile"),
		        member_text(episode, "category"), member_text(episode, "severity"), name ? name : "");
		json_t *fold = may_fold(episode) ? json_object_get(folds, key) : NULL;
		if (fold) {
			fold_join(fold, episode);
		} else {
			fold = json_deep_copy(episode);
			json_array_append_new(rows, fold);
			if (may_fold(episode))
				json_object_set(folds, key, fold);
		}
		client_join(fold, episode, key, seen);
	}
	json_decref(folds);
	json_decref(seen);
	return rows;
}

bool event_clients_text(const json_t *event, char *text, size_t size)
{
	json_int_t clients = json_integer_value(json_object_get(event, "clients"));

	if (clients > 1)
		snprintf(text, size, "%" JSON_INTEGER_FORMAT " devices", clients);
	return clients > 1;
}

const char *event_let_through(const json_t *episode)
{
	json_int_t watched = json_integer_value(json_object_get(episode, "watched"));

	if (watched == 0)
		return "";
	return watched < json_integer_value(json_object_get(episode, "count")) ? ", let through in part"
	                                                                       : ", let through";
}

json_t *event_evidence_names(const json_t *signal)
{
	json_t *names = json_array(), *evidence;
	size_t i;

	json_array_foreach(json_object_get(signal, "evidence"), i, evidence)
	{
		json_t *name = json_object_get(evidence, "name");
		json_t *one = name ? json_pack("[O]", name) : NULL;
		names_join(names, one);
		json_decref(one);
	}
	return names;
}

bool event_is_told_by_episodes(const json_t *signal)
{
	return strcmp(member_text(signal, "kind"), "threshold") == 0 &&
	       strcmp(member_text(signal, "severity"), "danger") == 0;
}
