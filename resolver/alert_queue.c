#include "alert_queue.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <xxhash.h>

#include "blocklists/manifest.h"
#include "blocklists/member.h"
#include "block_item.h"
#include "utc.h"

#define TOLD_MAX 5000
#define MESSAGES_MAX 500
#define TROUBLE_AGAIN_S (6 * 3600)
#define RETRY_FIRST_S 30
#define RETRY_MOST_S 3600

struct alert_queue {
	char dir[PATH_MAX];
	json_t *root;
	bool is_changed;
	uint64_t sent; /* since the start */
};

static json_t *part(const struct alert_queue *queue, const char *key)
{
	return json_object_get(queue->root, key);
}

static json_t *find(const json_t *array, const char *id)
{
	size_t i;
	json_t *item;

	json_array_foreach(array, i, item) if (strcmp(member_text(item, "id"), id) == 0) return item;
	return NULL;
}

/* ---- the file ---- */

static void queue_path(const struct alert_queue *queue, const char *suffix, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.4000s/queue.json%s", queue->dir, suffix);
}

static bool is_whole(const json_t *root)
{
	static const char *const arrays[] = { "told", "open", "messages" };

	for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
		if (!json_is_array(json_object_get(root, arrays[i])))
			return false;
	return json_is_object(json_object_get(root, "troubles"));
}

/* What was on its way when we were killed is to be sent again. */
static void messages_rest(struct alert_queue *queue)
{
	size_t i;
	json_t *message;

	json_array_foreach(part(queue, "messages"), i,
	        message) if (strcmp(member_text(message, "state"), "sending") == 0)
	        json_object_set_new(message, "state", json_string("waiting"));
}

int alert_queue_open(struct alert_queue **out, const char *dir)
{
	struct alert_queue *queue = calloc(1, sizeof *queue);
	char path[PATH_MAX], damaged[PATH_MAX];
	int ret = 0;

	if (!queue)
		return -ENOMEM;
	snprintf(queue->dir, sizeof queue->dir, "%s", dir);
	queue_path(queue, "", path);
	queue_path(queue, ".damaged", damaged);
	if (manifest_read(path, &queue->root) < 0)
		queue->root = NULL;
	if (!is_whole(queue->root)) {
		json_decref(queue->root);
		queue->root = json_pack("{s:I, s:[], s:[], s:{}, s:I, s:[]}", "position", (json_int_t)0,
		        "told", "open", "troubles", "left_out", (json_int_t)0, "messages");
		ret = rename(path, damaged) == 0;
	}
	if (!queue->root) {
		free(queue);
		return -ENOMEM;
	}
	messages_rest(queue);
	*out = queue;
	return ret;
}

void alert_queue_free(struct alert_queue *queue)
{
	if (!queue)
		return;
	json_decref(queue->root);
	free(queue);
}

int alert_queue_save(struct alert_queue *queue)
{
	char path[PATH_MAX];

	if (!queue->is_changed)
		return 0;
	queue_path(queue, "", path);
	int ret = manifest_write(path, queue->root);
	if (ret == 0)
		queue->is_changed = false;
	return ret;
}

uint64_t alert_queue_position(const struct alert_queue *queue)
{
	return (uint64_t)member_number(queue->root, "position");
}

void alert_queue_set_position(struct alert_queue *queue, uint64_t id)
{
	if (id == alert_queue_position(queue))
		return;
	json_object_set_new(queue->root, "position", json_integer((json_int_t)id));
	queue->is_changed = true;
}

/* ---- alerts ---- */

bool alert_queue_is_open(const struct alert_queue *queue, const char *id)
{
	return find(part(queue, "open"), id) != NULL;
}

bool alert_queue_add(
        struct alert_queue *queue, const char *id, const char *rule, json_t *signal, int64_t now_s)
{
	json_t *open = part(queue, "open");
	bool is_known = find(open, id) || find(part(queue, "told"), id);

	if (is_known || json_array_size(open) >= ALERT_OPEN_MAX) {
		if (!is_known)
			json_object_set_new(queue->root, "left_out",
			        json_integer(member_number(queue->root, "left_out") + 1));
		queue->is_changed |= !is_known;
		json_decref(signal);
		return false;
	}
	json_array_append_new(
	        open, json_pack("{s:s, s:s, s:I, s:I, s:o}", "id", id, "rule", rule, "at", (json_int_t)now_s,
	                      "changed", (json_int_t)now_s, "signal", signal));
	queue->is_changed = true;
	return true;
}

void alert_queue_update(struct alert_queue *queue, const char *id, json_t *signal, int64_t now_s)
{
	json_t *alert = find(part(queue, "open"), id);

	if (!alert) {
		json_decref(signal);
		return;
	}
	json_object_set_new(alert, "changed", json_integer((json_int_t)now_s));
	if (signal)
		json_object_set_new(alert, "signal", signal);
	queue->is_changed = true;
}

static void trouble_add(struct alert_queue *queue, const struct config_alert_rule *rule, const char *id,
        const char *sentence, int64_t now_s)
{
	char text[17], at[UTC_TEXT_LEN];

	snprintf(text, sizeof text, "%016" PRIx64,
	        XXH3_64bits_withSeed(id, strlen(id), (uint64_t)now_s) ^
	                XXH3_64bits(rule->name, strlen(rule->name)));
	alert_queue_add(queue, text, rule->name,
	        json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", text, "rule", rule->name, "kind", "operations",
	                "text", sentence, "first", utc_text(now_s, at)),
	        now_s);
}

void alert_queue_troubles(
        struct alert_queue *queue, const struct config_alerts *alerts, const json_t *troubles, int64_t now_s)
{
	json_t *known = part(queue, "troubles"), *sentence;
	const char *id;
	void *next;

	json_object_foreach_safe(known, next, id, sentence)
	{
		if (json_object_get(troubles, id) || now_s - json_integer_value(sentence) < TROUBLE_AGAIN_S)
			continue;
		json_object_del(known, id);
		queue->is_changed = true;
	}
	json_object_foreach((json_t *)troubles, id, sentence)
	{
		if (json_object_get(known, id) || !json_is_string(sentence))
			continue;
		json_object_set_new(known, id, json_integer((json_int_t)now_s));
		queue->is_changed = true;
		for (size_t i = 0; i < alerts->rule_count; i++)
			if (alerts->rules[i].kind == ALERT_OPERATIONS)
				trouble_add(queue, &alerts->rules[i], id, json_string_value(sentence), now_s);
	}
}

/* ---- recipients ---- */

static bool has_own_recipients(const struct config_alert_rule *rule)
{
	return rule->mail_to_count > 0 || rule->webhook[0] != '\0';
}

/* A rule with recipients of its own has no others. rule NULL: those of all. */
static void rule_each_recipient(const struct config_alerts *alerts, const struct config_alert_rule *rule,
        void (*each)(void *arg, enum courier_channel channel, const char *to), void *arg)
{
	bool own = rule && has_own_recipients(rule);
	const char *const *mail = (const char *const *)(own ? rule->mail_to : alerts->mail_to);
	size_t count = own ? rule->mail_to_count : alerts->mail_to_count;
	const char *webhook = own ? rule->webhook : alerts->webhook;

	for (size_t i = 0; i < count; i++)
		each(arg, COURIER_MAIL, mail[i]);
	if (*webhook)
		each(arg, COURIER_WEBHOOK, webhook);
	if (alerts->syslog)
		each(arg, COURIER_SYSLOG, "syslog");
}

struct once {
	void (*each)(void *arg, enum courier_channel channel, const char *to);
	void *arg;
	json_t *seen;
};

static void each_once(void *arg, enum courier_channel channel, const char *to)
{
	struct once *once = arg;

	if (json_object_get(once->seen, to))
		return;
	json_object_set_new(once->seen, to, json_true());
	once->each(once->arg, channel, to);
}

void alerts_each_recipient(const struct config_alerts *alerts,
        void (*each)(void *arg, enum courier_channel channel, const char *to), void *arg)
{
	struct once once = { each, arg, json_object() };

	rule_each_recipient(alerts, NULL, each_once, &once);
	for (size_t i = 0; i < alerts->rule_count; i++)
		rule_each_recipient(alerts, &alerts->rules[i], each_once, &once);
	json_decref(once.seen);
}

bool alerts_have_recipients(const struct config_alerts *alerts)
{
	bool have = alerts->mail_to_count > 0 || alerts->webhook[0] || alerts->syslog;

	for (size_t i = 0; i < alerts->rule_count; i++)
		have |= has_own_recipients(&alerts->rules[i]);
	return have;
}

/* ---- messages ---- */

static const struct config_alert_rule *rule_named(const struct config_alerts *alerts, const char *name)
{
	for (size_t i = 0; i < alerts->rule_count; i++)
		if (strcmp(alerts->rules[i].name, name) == 0)
			return &alerts->rules[i];
	return NULL;
}

struct telling {
	struct alert_queue *queue;
	const struct config_alerts *alerts;
	const json_t *alert; /* that is being told */
	size_t first;        /* messages made before now are closed */
	int64_t now_s;
};

/* Puts the alert into this moment's message to that recipient. */
static void tell(void *arg, enum courier_channel channel, const char *to)
{
	struct telling *telling = arg;
	json_t *messages = part(telling->queue, "messages"), *message = NULL;
	const char *rule = member_text(telling->alert, "rule"), *id = member_text(telling->alert, "id");
	char text[17];

	for (size_t i = telling->first; i < json_array_size(messages) && !message; i++) {
		json_t *open = json_array_get(messages, i);
		if (strcmp(member_text(open, "to"), to) == 0)
			message = open;
	}
	if (!message) {
		snprintf(text, sizeof text, "%016" PRIx64,
		        XXH3_64bits(id, strlen(id)) ^ XXH3_64bits_withSeed(to, strlen(to), 1));
		message = json_pack("{s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:s, s:[], s:[]}", "id", text, "at",
		        (json_int_t)telling->now_s, "channel", courier_channel_text(channel), "to", to,
		        "state", "waiting", "attempts", (json_int_t)0, "next", (json_int_t)telling->now_s,
		        "why", "", "rules", "alerts");
		json_array_append_new(messages, message);
	}
	json_t *rules = json_object_get(message, "rules");
	bool named = false;
	for (size_t i = 0; i < json_array_size(rules); i++)
		named |= strcmp(json_string_value(json_array_get(rules, i)), rule) == 0;
	if (!named)
		json_array_append_new(rules, json_string(rule));
	json_array_append(json_object_get(message, "alerts"), json_object_get(telling->alert, "signal"));
}

static bool is_quiet(
        const struct config *config, const struct config_alert_rule *rule, const struct moment *now)
{
	for (size_t i = 0; rule && i < rule->quiet_count; i++)
		if (timetable_is_in(config, &config->periods[rule->quiet[i]], now))
			return true;
	return false;
}

/* The rule may be gone since: who looks after all is told then, but not of a profile that has rules of its
 * own. */
static bool may_tell(const struct config *config, const struct config_alert_rule *rule, const json_t *alert)
{
	const char *name = json_string_value(json_object_get(json_object_get(alert, "signal"), "profile"));
	int profile = name ? config_profile(config, name) : -1;

	return rule || profile < 0 || !config->alerts.own[profile];
}

static bool is_due(const struct config_alerts *alerts, const json_t *alert, int64_t now_s)
{
	int64_t wait = alerts->wait_s;

	return now_s - member_number(alert, "at") >= wait ||
	       now_s - member_number(alert, "changed") >= (wait + 3) / 4 ||
	       now_s < member_number(alert, "at");
}

static void told_add(struct alert_queue *queue, const json_t *alert, int64_t now_s)
{
	json_t *told = part(queue, "told");

	json_array_append_new(told, json_pack("{s:s, s:s, s:I}", "id", member_text(alert, "id"), "rule",
	                                    member_text(alert, "rule"), "at", (json_int_t)now_s));
	while (json_array_size(told) > TOLD_MAX)
		json_array_remove(told, 0);
}

/* The oldest that are over. */
static void messages_prune(struct alert_queue *queue)
{
	json_t *messages = part(queue, "messages");

	for (size_t i = 0; i < json_array_size(messages) && json_array_size(messages) > MESSAGES_MAX;) {
		const char *state = member_text(json_array_get(messages, i), "state");
		if (strcmp(state, "sent") == 0 || strcmp(state, "failed") == 0)
			json_array_remove(messages, i);
		else
			i++;
	}
}

/* What found no place among the open alerts stands in the next message. */
static void tell_left_out(struct telling *telling)
{
	json_int_t count = member_number(telling->queue->root, "left_out");
	json_t *messages = part(telling->queue, "messages");
	char sentence[100];

	if (count == 0 || json_array_size(messages) == telling->first)
		return;
	snprintf(sentence, sizeof sentence, "%" JSON_INTEGER_FORMAT " more alerts at the same time", count);
	for (size_t i = telling->first; i < json_array_size(messages); i++)
		json_array_append_new(json_object_get(json_array_get(messages, i), "alerts"),
		        json_pack("{s:s, s:s, s:s}", "rule", "more", "kind", "operations", "text", sentence));
	json_object_set_new(telling->queue->root, "left_out", json_integer(0));
}

void alert_queue_make_messages(struct alert_queue *queue, const struct config *config,
        const struct moment *now, json_t *(*refresh)(void *arg, const char *id), void *arg)
{
	json_t *open = part(queue, "open");
	struct telling telling = { .queue = queue,
		.alerts = &config->alerts,
		.first = json_array_size(part(queue, "messages")),
		.now_s = now->utc_s };

	for (size_t i = 0; i < json_array_size(open);) {
		json_t *alert = json_array_get(open, i);
		const struct config_alert_rule *rule =
		        rule_named(&config->alerts, member_text(alert, "rule"));
		if (!is_due(&config->alerts, alert, now->utc_s) || is_quiet(config, rule, now)) {
			i++;
			continue;
		}
		json_t *last = refresh ? refresh(arg, member_text(alert, "id")) : NULL;
		if (last)
			json_object_set_new(alert, "signal", last);
		telling.alert = alert;
		if (may_tell(config, rule, alert))
			rule_each_recipient(&config->alerts, rule, tell, &telling);
		told_add(queue, alert, now->utc_s);
		json_array_remove(open, i);
		queue->is_changed = true;
	}
	tell_left_out(&telling);
	messages_prune(queue);
}

json_t *alert_queue_next(struct alert_queue *queue, int64_t now_s)
{
	size_t i;
	json_t *message;

	json_array_foreach(part(queue, "messages"), i, message)
	{
		if (strcmp(member_text(message, "state"), "waiting") != 0 ||
		        (member_number(message, "next") > now_s &&
		                member_number(message, "next") - now_s <= RETRY_MOST_S))
			continue;
		json_object_set_new(message, "state", json_string("sending"));
		return message;
	}
	return NULL;
}

static int64_t retry_s(int64_t attempts)
{
	int64_t wait = attempts > 8 ? RETRY_MOST_S : (int64_t)RETRY_FIRST_S << (attempts - 1);
	return wait < RETRY_MOST_S ? wait : RETRY_MOST_S;
}

void alert_queue_result(
        struct alert_queue *queue, const char *id, bool is_done, const char *why, int64_t now_s)
{
	json_t *message = find(part(queue, "messages"), id);
	bool is_over = message && now_s - member_number(message, "at") > ALERT_GIVE_UP_S;

	if (!message)
		return;
	int64_t attempts = member_number(message, "attempts") + 1;
	json_object_set_new(message, "attempts", json_integer(attempts));
	json_object_set_new(
	        message, "next", is_done || is_over ? json_null() : json_integer(now_s + retry_s(attempts)));
	json_object_set_new(message, "state", json_string(is_done ? "sent" : is_over ? "failed" : "waiting"));
	json_object_set_new(message, "why", json_string(is_done ? "" : why));
	if (is_done || is_over) { /* of what is over no names stay */
		json_object_set_new(message, "count",
		        json_integer((json_int_t)json_array_size(json_object_get(message, "alerts"))));
		json_object_set_new(message, "alerts", json_array());
	}
	queue->sent += is_done;
	queue->is_changed = true;
}

/* ---- for people ---- */

/* RFC 3339; null where there is none. */
static json_t *when(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	char text[UTC_TEXT_LEN];

	return json_is_integer(value) ? json_string(utc_text(json_integer_value(value), text)) : json_null();
}

static json_t *list_line(const json_t *message)
{
	const json_t *count = json_object_get(message, "count");
	const char *why = member_text(message, "why");

	return json_pack("{s:s, s:o, s:s, s:s, s:O, s:I, s:s, s:I, s:o, s:o}", "id",
	        member_text(message, "id"), "time", when(message, "at"), "channel",
	        member_text(message, "channel"), "to", member_text(message, "to"), "rules",
	        json_object_get(message, "rules"), "alerts",
	        count ? json_integer_value(count)
	              : (json_int_t)json_array_size(json_object_get(message, "alerts")),
	        "state", member_text(message, "state"), "attempts",
	        (json_int_t)member_number(message, "attempts"), "next", when(message, "next"), "why",
	        *why ? json_string(why) : json_null());
}

/* One that gathers, or waits for the end of quiet hours. */
static json_t *open_line(const json_t *alert)
{
	return json_pack("{s:s, s:o, s:n, s:n, s:[s], s:i, s:s, s:i, s:n, s:n}", "id",
	        member_text(alert, "id"), "time", when(alert, "at"), "channel", "to", "rules",
	        member_text(alert, "rule"), "alerts", 1, "state", "gathering", "attempts", 0, "next", "why");
}

static void write_line(FILE *out, json_t *line)
{
	if (line)
		json_dumpf(line, out, JSON_COMPACT);
	putc('\n', out);
	json_decref(line);
}

char *alert_queue_list(const struct alert_queue *queue)
{
	char *text = NULL;
	size_t len, i;
	json_t *item;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	json_array_foreach(part(queue, "messages"), i, item) write_line(out, list_line(item));
	json_array_foreach(part(queue, "open"), i, item) write_line(out, open_line(item));
	return fclose(out) == 0 ? text : NULL;
}

json_t *alert_queue_health(const struct alert_queue *queue)
{
	json_int_t waiting = (json_int_t)json_array_size(part(queue, "open")), failing = 0;
	const char *why = "";
	size_t i;
	json_t *message;

	json_array_foreach(part(queue, "messages"), i, message)
	{
		const char *state = member_text(message, "state");
		bool is_waiting = strcmp(state, "waiting") == 0 || strcmp(state, "sending") == 0;
		waiting += is_waiting;
		if ((is_waiting && member_number(message, "attempts") > 0) || strcmp(state, "failed") == 0) {
			failing++;
			why = member_text(message, "why");
		}
	}
	return json_pack("{s:I, s:I, s:I, s:s}", "waiting", waiting, "sent", (json_int_t)queue->sent,
	        "failing", failing, "why", why);
}

/* ---- forgetting ---- */

struct wish {
	const struct config_network *client;
	const char *device;
};

static bool client_is_meant(const struct wish *wish, const json_t *json)
{
	const char *text = json_string_value(json_object_get(json, "client"));
	struct config_network client;

	if (wish->client == NULL || text == NULL || config_network_parse(&client, text) < 0)
		return false;
	return block_client_passes(
	        client.address, &(struct block_filter){ .has_client = true, .client = *wish->client });
}

static bool text_is_meant(const struct wish *wish, const json_t *signal, const char *key)
{
	const char *text = json_string_value(json_object_get(signal, key));

	return *wish->device != '\0' && text != NULL && strcasecmp(text, wish->device) == 0;
}

/* One of a trouble of usherd's own has no client. */
static bool signal_is_meant(const struct wish *wish, const json_t *signal)
{
	size_t i;
	json_t *evidence;

	if (client_is_meant(wish, signal) || text_is_meant(wish, signal, "device") ||
	        text_is_meant(wish, signal, "mac"))
		return true;
	json_array_foreach(json_object_get(signal, "evidence"), i,
	        evidence) if (client_is_meant(wish, evidence)) return true;
	return false;
}

/* key: where an item has its signal; NULL: it is one. Returns how many went. */
static size_t signals_forget(json_t *array, const char *key, const struct wish *wish)
{
	size_t gone = 0;

	for (size_t i = json_array_size(array); i-- > 0;) {
		const json_t *item = json_array_get(array, i);
		if (!signal_is_meant(wish, key != NULL ? json_object_get(item, key) : item))
			continue;
		json_array_remove(array, i);
		gone++;
	}
	return gone;
}

void alert_queue_forget(struct alert_queue *queue, const struct config_network *client, const char *device)
{
	struct wish wish = { client, device };
	json_t *messages = part(queue, "messages");
	size_t gone = signals_forget(part(queue, "open"), "signal", &wish);

	for (size_t i = json_array_size(messages); i-- > 0;) {
		json_t *alerts = json_object_get(json_array_get(messages, i), "alerts");
		size_t taken = signals_forget(alerts, NULL, &wish);
		if (taken > 0 && json_array_size(alerts) == 0)
			json_array_remove(messages, i);
		gone += taken;
	}
	queue->is_changed |= gone > 0;
}
