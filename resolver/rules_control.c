/*
 * A change is made in this order: the next revision is judged by the policy itself, written to disk, appended
 * to the ledger, put into effect, acknowledged. Where the ledger can't be written the revision is taken back.
 * Killed between disk and ledger, the next start finds the entry missing and appends it: the revision carries
 * it.
 */
#include "rules_control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/parse.h"
#include "ledger.h"
#include "log.h"
#include "policy.h"
#include "publish.h"

#define FOR_MAX_S (366 * 86400)
#define AUTHOR_MAX 100
#define REFUSAL_MAX 1024

/* Why a request is not carried out: the status and a sentence. */
struct refusal {
	int status; /* 0: none */
	char text[REFUSAL_MAX];
};

__attribute__((format(printf, 3, 4))) static bool refuse(
        struct refusal *refusal, int status, const char *format, ...)
{
	va_list args;

	refusal->status = status;
	va_start(args, format);
	vsnprintf(refusal->text, sizeof refusal->text, format, args);
	va_end(args);
	return false;
}

static void rules_path(const struct daemon *daemon, const char *folder, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", daemon->config->state_dir, folder);
}

/* ---- at start ---- */

/* Does the ledger have an entry with this detail? */
struct search {
	const char *detail;
	bool found;
};

static bool line_is_searched(void *arg, const char *line, size_t len)
{
	struct search *search = arg;

	search->found = memmem(line, len, search->detail, strlen(search->detail)) != NULL;
	return !search->found;
}

/* What was killed between disk and ledger is written down now; its author was told nothing. */
static void open_complete_ledger(struct daemon *daemon)
{
	const char *text = rules_change(daemon->rules);
	json_t *change = text != NULL ? json_loads(text, 0, NULL) : NULL,
	       *detail = json_object_get(change, "detail");
	const char *what = json_string_value(json_object_get(change, "what"));
	char *detail_text = detail != NULL ? json_dumps(detail, JSON_COMPACT) : NULL;
	struct search search = { .detail = detail_text };
	char dir[PATH_MAX];

	rules_path(daemon, "ledger", dir);
	if (what != NULL && detail_text != NULL && ledger_walk(dir, line_is_searched, &search) == 0 &&
	        !search.found)
		daemon_note(daemon, (uid_t)json_integer_value(json_object_get(change, "uid")), what,
		        json_incref(detail));
	free(detail_text);
	json_decref(change);
}

void rules_control_open(struct daemon *daemon)
{
	char dir[PATH_MAX];

	rules_path(daemon, "rules", dir);
	int ret = rules_open(&daemon->rules, dir, daemon->rules_trouble);
	if (daemon->rules == NULL)
		log_fatal("out of memory");
	if (ret == -EBADMSG)
		rules_put_aside(dir);
	daemon->rules_locked = ret < 0 && ret != -EBADMSG;
	if (ret < 0)
		log_error("rules: %s", daemon->rules_trouble);
	else
		open_complete_ledger(daemon);
}

void rules_control_trouble(const struct daemon *daemon, char text[1024])
{
	char dir[PATH_MAX];
	size_t lost = 0;

	rules_path(daemon, "rules", dir);
	text[0] = '\0';
	for (size_t i = 0; i < rules_count(daemon->rules); i++) {
		const char *profile = rules_get(daemon->rules, i)->profile;
		lost += profile != NULL && config_profile(daemon->config, profile) < 0;
	}
	if (rules_were_put_aside(dir))
		snprintf(text, 1024,
		        "%.600s; the damaged file is kept as rules.damaged: see in `usher ledger` what "
		        "changed last, "
		        "change it again, then remove that file",
		        daemon->rules_trouble[0] != '\0' ? daemon->rules_trouble
		                                         : "an earlier start found the rules damaged");
	else if (daemon->rules_trouble[0] != '\0')
		snprintf(text, 1024, "%s", daemon->rules_trouble);
	else if (lost > 0)
		snprintf(text, 1024,
		        "%zu of them name a profile that the configuration does not have, and have no effect",
		        lost);
}

/* ---- one entry from a request ---- */

/* What people type that is no domain name, and what they should type. */
static bool entry_read_name(struct rules_entry *entry, const char *text, struct refusal *refusal)
{
	uint8_t address[16];

	if (text == NULL || *text == '\0')
		return refuse(refusal, 400, "no name was given");
	if (strstr(text, "://") != NULL || strchr(text, '/') != NULL)
		return refuse(refusal, 400,
		        "'%.200s' is the address of a page, expected the name in it: DNS knows no pages",
		        text);
	if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1)
		return refuse(refusal, 400, "'%.200s' is an address, expected a domain name", text);
	if (strncmp(text, "*.", 2) == 0)
		return refuse(refusal, 400,
		        "'%.200s': write %.200s, which stands for all names below it too (--exact: for it "
		        "alone)",
		        text, text + 2);
	if (name_from_user_text(&entry->name, text, strlen(text)) < 0)
		return refuse(refusal, 400, "'%.200s' is no domain name", text);
	return true;
}

/* The name, once it is known whether it speaks for all below it. */
static bool entry_check_name(const struct rules_entry *entry, const char *text, struct refusal *refusal)
{
	if (entry->name.labels == 0)
		return refuse(refusal, 400,
		        "the root is every name there is: set `default: block` for a profile "
		        "that may see only what is allowed");
	if (!entry->exact && parse_is_registry(&entry->name))
		return refuse(refusal, 400,
		        "%.200s is a whole registry: a rule for it would %s every name below it; name the "
		        "site%s",
		        text, entry->allow ? "allow" : "block",
		        entry->allow ? "" : ", or put it into block-names of a profile if that is meant");
	return true;
}

static bool text_is_plain(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static bool read_reason(const char **out, const char *reason, struct refusal *refusal)
{
	if (reason == NULL || strspn(reason, " \t") == strlen(reason))
		return refuse(refusal, 400,
		        "a reason is needed (--reason TEXT): who reads the ledger in a year must "
		        "understand why");
	if (strlen(reason) > RULES_REASON_MAX || !text_is_plain(reason))
		return refuse(
		        refusal, 400, "the reason must be one line of at most %d octets", RULES_REASON_MAX);
	*out = reason;
	return true;
}

static bool read_profile(
        struct rules_entry *entry, const struct config *config, const char *profile, struct refusal *refusal)
{
	if (profile != NULL && config_profile(config, profile) < 0)
		return refuse(refusal, 400, "there is no profile '%.100s'", profile);
	entry->profile = profile;
	return true;
}

static bool read_client(struct rules_entry *entry, const char *client, struct refusal *refusal)
{
	if (client == NULL)
		return true;
	if (config_network_parse(&entry->client, client) < 0)
		return refuse(refusal, 400,
		        "'%.100s' is no network, expected one such as 10.20.3.0/24, or an address", client);
	if (entry->client.length == 0)
		return refuse(refusal, 400, "%s is every client: leave --client out", client);
	return true;
}

/* Root may say for whom it acts (sudo); everybody else is who the kernel says. */
static const char *read_author(uid_t uid, const char *by, char text[AUTHOR_MAX + 16])
{
	const struct passwd *user = getpwuid(uid);

	if (uid == 0 && by != NULL && *by != '\0' && strlen(by) < AUTHOR_MAX && text_is_plain(by))
		snprintf(text, AUTHOR_MAX + 16, "%s (sudo)", by);
	else if (user != NULL)
		snprintf(text, AUTHOR_MAX + 16, "%.100s", user->pw_name);
	else
		snprintf(text, AUTHOR_MAX + 16, "uid %u", (unsigned)uid);
	return text;
}

static bool read_time(struct rules_entry *entry, const json_t *for_s, struct refusal *refusal)
{
	entry->added = (int64_t)time(NULL);
	if (for_s == NULL || json_is_null(for_s))
		return true;
	json_int_t seconds = json_integer_value(for_s);
	if (!json_is_integer(for_s) || seconds < 1 || seconds > FOR_MAX_S)
		return refuse(refusal, 400, "a rule is for 1 second to 366 days, or without an end");
	entry->until = entry->added + seconds;
	return true;
}

static bool body_has_only_keys(json_t *body, struct refusal *refusal)
{
	static const char *const keys[] = { "name", "action", "exact", "profile", "client", "for_s", "reason",
		"by" };
	const char *key;
	json_t *value;

	json_object_foreach(body, key, value)
	{
		bool known = false;
		for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
			known |= strcmp(key, keys[i]) == 0;
		if (!known)
			return refuse(refusal, 400, "there is no key '%.100s' in a rule", key);
	}
	return true;
}

/* A string, null or absent; false if it is something else. */
static bool body_text(const json_t *body, const char *key, const char **text, struct refusal *refusal)
{
	const json_t *value = json_object_get(body, key);

	*text = json_string_value(value);
	if (value == NULL || json_is_null(value) || json_is_string(value))
		return true;
	return refuse(refusal, 400, "%s: expected a text", key);
}

/* The strings belong to body and author. */
static bool entry_read(struct rules_entry *entry, const struct config *config, json_t *body, uid_t uid,
        char author[AUTHOR_MAX + 16], struct refusal *refusal)
{
	const char *name, *action, *profile, *client, *reason, *by;
	const json_t *exact = json_object_get(body, "exact");

	*entry = (struct rules_entry){ .uid = uid, .exact = json_is_true(exact) };
	if (!json_is_object(body))
		return refuse(refusal, 400,
		        "expected {\"name\": …, \"action\": \"allow\" or \"block\", \"reason\": …}");
	if (!body_has_only_keys(body, refusal) || !body_text(body, "name", &name, refusal) ||
	        !body_text(body, "action", &action, refusal) ||
	        !body_text(body, "profile", &profile, refusal) ||
	        !body_text(body, "client", &client, refusal) ||
	        !body_text(body, "reason", &reason, refusal) || !body_text(body, "by", &by, refusal))
		return false;
	entry->allow = action != NULL && strcmp(action, "allow") == 0;
	if (!entry->allow && (action == NULL || strcmp(action, "block") != 0))
		return refuse(refusal, 400, "action: expected allow or block");
	if (exact != NULL && !json_is_boolean(exact))
		return refuse(refusal, 400, "exact: expected true or false");
	entry->author = read_author(uid, by, author);
	return entry_read_name(entry, name, refusal) && entry_check_name(entry, name, refusal) &&
	       read_profile(entry, config, profile, refusal) && read_client(entry, client, refusal) &&
	       read_time(entry, json_object_get(body, "for_s"), refusal) &&
	       read_reason(&entry->reason, reason, refusal);
}

/* ---- would it have an effect? ---- */

/* Why the rule would not decide for a profile, as the policy sees it: the verdict of another tier. */
static void explain_verdict(const struct config *config, const struct rules_entry *entry,
        const struct facts *facts, unsigned profile, const struct verdict *verdict, const char *name,
        struct refusal *refusal)
{
	uint64_t danger = (facts->listed.categories | facts->signal_block) & config->danger;

	if (verdict->tier == TIER_SEALED)
		refuse(refusal, 409,
		        "%s is in the sealed category %s: blocked for everybody, and no rule lifts that",
		        name, config->categories[verdict->category].name);
	else if (verdict->tier == TIER_PROTECTED)
		refuse(refusal, 409, "%s is a protected name: it always resolves, whatever rules say", name);
	else if (verdict->tier == TIER_INTERNAL || verdict->tier == TIER_LOCAL_RECORD)
		refuse(refusal, 409,
		        "%s is one of the school's internal names: internal-zones and local-records go "
		        "before rules",
		        name);
	else if (verdict->tier == TIER_CANARY)
		refuse(refusal, 409,
		        "by %s devices ask whether they may go around the filter: its answer goes before "
		        "rules",
		        name);
	else if (entry->allow && entry->until != 0 && !config->profiles[profile].internal)
		refuse(refusal, 409,
		        "%s is a profile of guests (internal: false), for whom nothing is allowed for a time",
		        config->profiles[profile].name);
	else if (entry->allow && entry->until != 0 && (facts->flags & FACTS_LISTS_FAILED) != 0)
		refuse(refusal, 409,
		        "the lists can't be read, so nobody knows what an allow for a time would lift");
	else if (entry->allow && entry->until != 0 && danger != 0)
		refuse(refusal, 409,
		        "%s is in the category %s of severity danger, which an allow for a time never lifts "
		        "(one "
		        "without --for does)",
		        name, config->categories[__builtin_ctzll(danger)].name);
}

/* What was found out for the profiles that a rule is about. */
struct outlook {
	unsigned concerned, decides;
	char without[512];      /* profiles where it can't decide: "guest, exam" */
	char shadowed[512];     /* … where another rule goes before it, perhaps for a time */
	struct refusal refusal; /* why it can't, for the first of them */
};

static void add_profile(char list[512], const char *profile)
{
	size_t len = strlen(list);

	snprintf(list + len, 512 - len, "%s%s", len > 0 ? ", " : "", profile);
}

static void outlook_of_profile(struct outlook *outlook, const struct snapshot *snapshot,
        const struct rules_entry *entry, const struct facts *facts, unsigned profile, const char *name)
{
	const struct config *config = snapshot->config;
	struct moment now = moment_at((int64_t)time(NULL));
	struct policy_asker asker = { .profile = profile,
		.address = entry->client.length > 0 ? entry->client.address : NULL };
	struct verdict verdict = policy_decide(config, snapshot->table, &asker, facts, &now, NULL);
	struct refusal why = { 0 };

	outlook->concerned++;
	bool other =
	        verdict.rule == FACTS_NONE || facts_rule_get(snapshot->table, verdict.rule)->entry != entry;
	if (other)
		explain_verdict(config, entry, facts, profile, &verdict, name, &why);
	if (why.status == 0) {
		outlook->decides++;
		if (other)
			add_profile(outlook->shadowed, config->profiles[profile].name);
		return;
	}
	add_profile(outlook->without, config->profiles[profile].name);
	if (outlook->refusal.status == 0)
		outlook->refusal = why;
}

/*
 * Asks the policy with the rule in place, entry being the snapshot's. Returns false if the rule could decide
 * for nobody; note: what its author should know.
 */
static bool rule_has_effect(const struct snapshot *snapshot, const struct rules_entry *entry,
        char note[REFUSAL_MAX], struct refusal *refusal)
{
	const struct config *config = snapshot->config;
	struct lists_view *view = snapshot->lists != NULL ? lists_view_open(snapshot->lists) : NULL;
	int only = entry->profile != NULL ? config_profile(config, entry->profile) : -1;
	struct outlook outlook = { 0 };
	char name[NAME_TEXT_MAX];
	struct facts facts;

	facts_gather(&facts, snapshot->table, view, &entry->name);
	lists_view_close(view);
	name_to_text(&entry->name, name);
	if (only < 0 && entry->client.length > 0) {
		only = clients_find(snapshot->clients, entry->client.address);
		if (only == CLIENTS_UNSERVED)
			return refuse(refusal, 409,
			        "no network of `serve` holds that client: it gets no answers at all");
	}
	for (unsigned i = 0; i < config->profile_count; i++)
		if (only < 0 || (unsigned)only == i)
			outlook_of_profile(&outlook, snapshot, entry, &facts, i, name);
	*refusal = outlook.refusal;
	if (outlook.decides == 0)
		return false;
	note[0] = '\0';
	if (outlook.concerned > outlook.decides)
		snprintf(note, REFUSAL_MAX, "no effect for %.500s: %.450s", outlook.without,
		        outlook.refusal.text);
	else if (outlook.shadowed[0] != '\0')
		snprintf(note, REFUSAL_MAX, "for now another rule for this name goes before it, for %.500s",
		        outlook.shadowed);
	return true;
}

/* ---- making a change ---- */

/* {"what", "uid", "detail"} as one text; detail gets the revision. NULL without memory. */
static char *change_text(const struct daemon *daemon, const char *what, uid_t uid, json_t *detail)
{
	json_object_set_new(detail, "revision", json_integer((json_int_t)rules_revision(daemon->rules) + 1));
	json_t *change = json_pack("{s:s, s:I, s:O}", "what", what, "uid", (json_int_t)uid, "detail", detail);
	char *text = change != NULL ? json_dumps(change, JSON_COMPACT) : NULL;

	json_decref(change);
	return text;
}

/* Disk, then ledger; after a failure everything is as before. */
static bool change_keep(const struct daemon *daemon, const struct rules *next, const char *what, uid_t uid,
        json_t *detail, struct refusal *refusal)
{
	char dir[PATH_MAX], ledger[PATH_MAX];

	rules_path(daemon, "rules", dir);
	rules_path(daemon, "ledger", ledger);
	int ret = rules_save(next, dir);
	if (ret < 0)
		return refuse(
		        refusal, 500, "nothing has changed: %s cannot be written: %s", dir, strerror(-ret));
	ret = ledger_append(ledger, uid, what, detail);
	if (ret == 0)
		return true;
	int back = rules_revert(dir);
	if (back < 0)
		return refuse(refusal, 500,
		        "the ledger cannot be written (%s), and the rule cannot be taken from the disk (%s): "
		        "it is not in "
		        "effect now, but will be when usherd starts next",
		        strerror(-ret), strerror(-back));
	if (ret == -E2BIG)
		return refuse(refusal, 409,
		        "nothing has changed: these are too many rules at once; name --profile or "
		        "--client");
	return refuse(refusal, 500, "nothing has changed: the ledger cannot be written: %s", strerror(-ret));
}

static bool change_is_possible(const struct daemon *daemon, struct refusal *refusal)
{
	if (daemon->rules_locked)
		return refuse(refusal, 503, "nothing has changed: %s", daemon->rules_trouble);
	return true;
}

static void reply_refusal(struct http_request *request, const struct refusal *refusal)
{
	http_reply_error(request, refusal->status != 0 ? refusal->status : 500, "%s",
	        refusal->status != 0 ? refusal->text : "out of memory");
}

static void reply_object(struct http_request *request, json_t *object)
{
	char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;

	if (text != NULL)
		http_reply_json(request, 200, text);
	else
		http_reply_error(request, 500, "out of memory");
	free(text);
	json_decref(object);
}

/* ---- adding ---- */

static bool has_place_of(const void *added, const struct rules_entry *entry)
{
	return rules_same_place(added, entry);
}

static json_t *replaced_json(const struct rules *rules, const struct rules_entry *added)
{
	for (size_t i = 0; i < rules_count(rules); i++)
		if (rules_same_place(rules_get(rules, i), added))
			return rules_entry_json(rules_get(rules, i));
	return json_null();
}

/* Judges the next revision and, if it may be, keeps it and puts it into effect. */
static bool add_in_effect(struct daemon *daemon, struct rules *next, const char *what, uid_t uid,
        json_t *detail, char note[REFUSAL_MAX], struct refusal *refusal)
{
	const struct rules_entry *entry = rules_get(next, rules_count(next) - 1);
	struct snapshot *snapshot = daemon_snapshot(daemon, next);

	if (snapshot == NULL)
		return false;
	if (!rule_has_effect(snapshot, entry, note, refusal) ||
	        !change_keep(daemon, next, what, uid, detail, refusal)) {
		snapshot_free(snapshot);
		return false;
	}
	daemon_take_rules(daemon, rules_ref(next), snapshot);
	return true;
}

static json_t *add_rule(struct daemon *daemon, const struct rules_entry *entry, struct refusal *refusal)
{
	const char *what = entry->allow ? "rules.allow" : "rules.block";
	json_t *rule = rules_entry_json(entry), *replaced = replaced_json(daemon->rules, entry),
	       *reply = NULL;
	json_t *detail = json_copy(rule);
	char note[REFUSAL_MAX];

	json_object_set(detail, "replaced", replaced);
	char *change = change_text(daemon, what, entry->uid, detail);
	struct rules *next =
	        change == NULL ? NULL
	                       : rules_next(daemon->rules, entry->added, has_place_of, entry, entry, change);
	if (next != NULL && rules_count(next) > RULES_MAX)
		refuse(refusal, 409, "there are %d rules already: such a number belongs into a list",
		        RULES_MAX);
	else if (next != NULL && add_in_effect(daemon, next, what, entry->uid, detail, note, refusal))
		reply = json_pack("{s:O, s:O, s:s}", "rule", rule, "replaced", replaced, "note", note);
	rules_free(next);
	free(change);
	json_decref(detail);
	json_decref(rule);
	json_decref(replaced);
	return reply;
}

void rules_control_add(struct http_request *request, void *arg)
{
	struct daemon *daemon = arg;
	struct refusal refusal = { 0 };
	struct rules_entry entry;
	char author[AUTHOR_MAX + 16];
	json_t *reply = NULL;
	size_t len;
	const char *text = http_body(request, &len);
	json_t *body = json_loadb(text, len, 0, NULL);

	if (change_is_possible(daemon, &refusal) &&
	        entry_read(&entry, daemon->config, body, http_peer_uid(request), author, &refusal))
		reply = add_rule(daemon, &entry, &refusal);
	if (reply != NULL)
		reply_object(request, reply);
	else
		reply_refusal(request, &refusal);
	json_decref(body);
}

/* ---- removing ---- */

/* Which rules go: those of a name, or of them those with this profile, this client, this kind. */
struct removal {
	struct rules_entry like;
	bool only_exact;
};

static bool removal_takes(const void *arg, const struct rules_entry *entry)
{
	const struct removal *removal = arg;
	const struct rules_entry *like = &removal->like;

	if (!name_equal(&entry->name, &like->name) || (removal->only_exact && !entry->exact))
		return false;
	if (like->profile != NULL && (entry->profile == NULL || strcmp(entry->profile, like->profile) != 0))
		return false;
	return like->client.length == 0 ||
	       (entry->client.length == like->client.length &&
	               memcmp(entry->client.address, like->client.address, sizeof like->client.address) == 0);
}

/* Those in force that go. */
static json_t *removed_json(const struct rules *rules, const struct removal *removal, int64_t now)
{
	json_t *removed = json_array();

	for (size_t i = 0; i < rules_count(rules); i++) {
		const struct rules_entry *entry = rules_get(rules, i);
		if ((entry->until == 0 || entry->until > now) && removal_takes(removal, entry))
			json_array_append_new(removed, rules_entry_json(entry));
	}
	return removed;
}

/* Whether a profile's own lists in usher.yaml hold the name: what people look for here and don't find. */
static const char *profile_with_name(const struct config *config, const struct name *name)
{
	for (size_t p = 0; p < config->profile_count; p++) {
		const struct config_profile *profile = &config->profiles[p];
		for (size_t i = 0; i < profile->allow_count; i++)
			if (name_equal(&profile->allow_names[i], name))
				return profile->name;
		for (size_t i = 0; i < profile->block_count; i++)
			if (name_equal(&profile->block_names[i], name))
				return profile->name;
	}
	return NULL;
}

static bool refuse_nothing_removed(
        const struct daemon *daemon, const struct removal *removal, const char *name, struct refusal *refusal)
{
	const char *profile = profile_with_name(daemon->config, &removal->like.name);

	if (profile != NULL)
		return refuse(refusal, 404,
		        "there is no such rule for %.200s; it stands in the configuration, in allow-names or "
		        "block-names "
		        "of %s",
		        name, profile);
	return refuse(refusal, 404, "there is no such rule for %.200s (`usher rules list` shows all)", name);
}

static bool remove_rules(struct daemon *daemon, const struct removal *removal, uid_t uid, json_t *removed,
        struct refusal *refusal)
{
	json_t *detail = json_pack("{s:s, s:s, s:O}", "reason", removal->like.reason, "author",
	        removal->like.author, "removed", removed);
	char *change = change_text(daemon, "rules.remove", uid, detail);
	struct rules *next = change == NULL ? NULL
	                                    : rules_next(daemon->rules, (int64_t)time(NULL), removal_takes,
	                                              removal, NULL, change);
	struct snapshot *snapshot = next != NULL ? daemon_snapshot(daemon, next) : NULL;
	bool done = snapshot != NULL && change_keep(daemon, next, "rules.remove", uid, detail, refusal);

	if (done)
		daemon_take_rules(daemon, rules_ref(next), snapshot);
	else
		snapshot_free(snapshot);
	rules_free(next);
	free(change);
	json_decref(detail);
	return done;
}

static bool parameters_are_known(struct http_request *request, struct refusal *refusal)
{
	static const char *const known[] = { "name", "reason", "profile", "client", "exact", "by" };
	const char *names[16];
	size_t count = http_parameter_names(request, names, 16);

	for (size_t i = 0; i < count; i++) {
		bool found = false;
		for (size_t k = 0; k < sizeof known / sizeof *known; k++)
			found |= strcmp(names[i], known[k]) == 0;
		if (!found)
			return refuse(refusal, 400, "there is no parameter '%.100s'", names[i]);
	}
	return true;
}

/* A profile that the configuration no longer has may still be named: its rules can be removed. */
static bool removal_read(struct removal *removal, struct http_request *request, char author[AUTHOR_MAX + 16],
        struct refusal *refusal)
{
	struct rules_entry *like = &removal->like;

	*removal = (struct removal){ .only_exact = http_parameter(request, "exact") != NULL };
	like->author = read_author(http_peer_uid(request), http_parameter(request, "by"), author);
	if (!parameters_are_known(request, refusal) ||
	        !entry_read_name(like, http_parameter(request, "name"), refusal) ||
	        !read_reason(&like->reason, http_parameter(request, "reason"), refusal))
		return false;
	if (!read_client(like, http_parameter(request, "client"), refusal))
		return false;
	like->profile = http_parameter(request, "profile");
	return true;
}

void rules_control_remove(struct http_request *request, void *arg)
{
	struct daemon *daemon = arg;
	struct refusal refusal = { 0 };
	struct removal removal;
	char author[AUTHOR_MAX + 16];
	json_t *removed = NULL;
	bool done = false;

	if (change_is_possible(daemon, &refusal) && removal_read(&removal, request, author, &refusal)) {
		removed = removed_json(daemon->rules, &removal, (int64_t)time(NULL));
		done = json_array_size(removed) > 0
		               ? remove_rules(daemon, &removal, http_peer_uid(request), removed, &refusal)
		               : refuse_nothing_removed(
		                         daemon, &removal, http_parameter(request, "name"), &refusal);
	}
	if (done)
		reply_object(request, json_pack("{s:O}", "removed", removed));
	else
		reply_refusal(request, &refusal);
	json_decref(removed);
}

/* ---- listing ---- */

void rules_control_list(struct http_request *request, void *arg)
{
	const struct daemon *daemon = arg;
	int64_t now = (int64_t)time(NULL);
	json_t *list = json_array();

	for (size_t i = 0; i < rules_count(daemon->rules); i++) {
		const struct rules_entry *entry = rules_get(daemon->rules, i);
		if (entry->until == 0 || entry->until > now)
			json_array_append_new(list, rules_entry_json(entry));
	}
	reply_object(request, json_pack("{s:I, s:o}", "revision", (json_int_t)rules_revision(daemon->rules),
	                              "rules", list));
}
