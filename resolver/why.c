/*
 * A name may hold the word `why` itself, so the form with `why` at the end goes first: no top-level domain is
 * called so, and `why.NAME` never ends in it.
 *
 * What a rule of the school gives as its reason is for those who read the ledger: it may speak of a person,
 * and is not told here. The reference holds what `usher log` needs to find the lookups that are meant: the
 * time, and the client where its profile logs it.
 */
#include "why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "address.h"
#include "block_log.h"
#include "config_value.h"
#include "leases.h"
#include "utc.h"

#define STRING_MAX 255

static const uint8_t label_filter[] = "\6filter", label_why[] = "\3why", label_me[] = "\2me";

static bool label_is(const struct name *name, unsigned label, const uint8_t *text)
{
	return memcmp(name->wire + name->offset[label], text, text[0] + 1u) == 0;
}

/* Labels [first, end) of a name. Returns false if there are none. */
static bool name_part(const struct name *name, unsigned first, unsigned end, struct name *part)
{
	uint8_t wire[NAME_WIRE_MAX];

	if (first >= end)
		return false;
	size_t len = (size_t)(name->offset[end] - name->offset[first]);
	memcpy(wire, name->wire + name->offset[first], len);
	wire[len] = 0;
	return name_from_wire(part, wire, len + 1) > 0;
}

void why_tree(struct name *tree, const struct config *config)
{
	const struct name *zone = &config->dns.why_zone;
	uint8_t wire[NAME_WIRE_MAX + sizeof label_filter];

	*tree = *zone;
	if (zone->labels > 0 && label_is(zone, 0, label_filter))
		return;
	memcpy(wire, label_filter, sizeof label_filter - 1);
	memcpy(wire + sizeof label_filter - 1, zone->wire, zone->len);
	/* Too long by a label: the zone itself. */
	if (name_from_wire(tree, wire, sizeof label_filter - 1 + zone->len) < 0)
		*tree = *zone;
}

void why_root(struct name *root, const struct config *config)
{
	if (config->dns.why_zone.labels == 1)
		*root = config->dns.why_zone;
	else
		why_tree(root, config);
}

enum why_subject why_read(const struct name *asked, const struct name *tree, struct name *name)
{
	if (!name_is_below(asked, tree))
		return name_is_below(tree, asked) ? WHY_EMPTY : WHY_NONE;
	unsigned labels = asked->labels - tree->labels;
	if (labels == 0)
		return WHY_USAGE;
	if (labels == 1 && label_is(asked, 0, label_me))
		return WHY_ME;
	if (labels == 1)
		return label_is(asked, 0, label_why) ? WHY_EMPTY : WHY_NONE;
	if (label_is(asked, labels - 1, label_why))
		return name_part(asked, 0, labels - 1, name) ? WHY_NAME : WHY_NONE;
	if (label_is(asked, 0, label_why))
		return name_part(asked, 1, labels, name) ? WHY_NAME : WHY_NONE;
	return WHY_NONE;
}

void why_add(struct why_text *text, const char *format, ...)
{
	char line[WHY_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	size_t left = strlen(line);
	const char *at = line;
	do {
		size_t len = left < STRING_MAX ? left : STRING_MAX;
		if (text->len + 1 + len > sizeof text->rdata)
			return;
		text->rdata[text->len++] = (uint8_t)len;
		memcpy(text->rdata + text->len, at, len);
		text->len += len;
		at += len;
		left -= len;
	} while (left > 0);
}

/* For whoever does not read the rest. */
static void tell_sentence(struct why_text *text, const struct config *config, const struct verdict *verdict,
        const char *name, const char *profile)
{
	if (verdict->action == VERDICT_BLOCK && verdict->category >= 0)
		why_add(text, "%s is blocked for %s: %s", name, profile,
		        config->categories[verdict->category].title);
	else if (verdict->action == VERDICT_BLOCK)
		why_add(text, "%s is blocked for %s: %s", name, profile,
		        verdict->tier == TIER_RULE ? "a rule of the school"
		                                   : "not on the list of what is allowed");
	else if (verdict->action == VERDICT_FAIL)
		why_add(text, "%s gets no answer: the block lists cannot be read", name);
	else if (verdict->action == VERDICT_REWRITE)
		why_add(text, "%s is answered with its safe search for %s", name, profile);
	else if (verdict->action == VERDICT_LOCAL && verdict->tier == TIER_INTERNAL)
		why_add(text, "%s does not exist for %s: it is one of the school's own names", name, profile);
	else if (verdict->action == VERDICT_LOCAL)
		why_add(text, "%s is answered by the school itself, as for all %s", name, profile);
	else
		why_add(text, "%s is not blocked for %s; where it leads to is looked at with each answer",
		        name, profile);
}

static const char *decided_text(const struct policy_steps *steps)
{
	for (unsigned i = 0; i < steps->count; i++)
		if (steps->step[i].decided)
			return steps->step[i].text;
	return "";
}

static void tell_reference(struct why_text *text, const struct config_profile *profile,
        const struct policy_asker *asker, const struct moment *now)
{
	char client[INET6_ADDRSTRLEN] = "", at[UTC_TEXT_LEN];

	utc_text(now->utc_s, at);
	if (profile->log == LOG_FULL && asker->address != NULL)
		address_text(asker->address, client);
	why_add(text, "reference=%s%s%s", at, client[0] != '\0' ? "/" : "", client);
}

void why_tell_name(struct why_text *text, const struct config *config, const struct facts_table *table,
        const struct policy_asker *asker, const struct name *name, const struct facts *facts,
        const struct moment *now)
{
	const struct config_profile *profile = &config->profiles[asker->profile];
	struct policy_steps steps;
	struct verdict verdict = policy_decide(config, table, asker, facts, now, &steps);
	char name_text[NAME_TEXT_MAX];

	name_to_text(name, name_text);
	tell_sentence(text, config, &verdict, name_text, profile->name);
	why_add(text, "verdict=%s", policy_action_text(verdict.action));
	if (verdict.category >= 0)
		why_add(text, "category=%s", config->categories[verdict.category].name);
	why_add(text, "reason=%s: %s", policy_tier_text(verdict.tier), decided_text(&steps));
	why_add(text, "profile=%s", profile->name);
	tell_reference(text, profile, asker, now);
}

static bool is_user_named(const struct config *config)
{
	for (size_t i = 0; i < config->lease_count; i++)
		if (lease_format_named(config->leases[i].format) == LEASE_RADIUS)
			return true;
	return false;
}

void why_tell_me(struct why_text *text, const struct config *config, const struct policy_asker *asker)
{
	static const char *const log_texts[] = {
		[LOG_OFF] = "off", [LOG_NO_CLIENT] = "no-client", [LOG_FULL] = "full"
	};
	const struct config_profile *profile = &config->profiles[asker->profile];
	char keep[CONFIG_VALUE_TEXT_MAX], client[INET6_ADDRSTRLEN];

	config_duration_text(profile->keep_s * UINT64_C(1000), keep);
	address_text(asker->address, client);
	const char *named = is_user_named(config)     ? " and its user's name"
	                    : config->lease_count > 0 ? " and its name"
	                                              : "";
	why_add(text, "This device has the profile %s", profile->name);
	if (profile->log == LOG_FULL)
		why_add(text, "What is blocked for it is logged with its address%s and kept for %s", named,
		        keep);
	else if (profile->log == LOG_NO_CLIENT)
		why_add(text, "What is blocked is logged without saying for which device, and kept for %s",
		        keep);
	else
		why_add(text,
		        "What is blocked is not logged, but for illegal content, which is, without the "
		        "device, and kept for %s",
		        keep);
	why_add(text, "What is not blocked is not logged for any device%s",
	        config->names.enabled ? "; names that several devices ask for are counted for all together"
	                              : "");
	why_add(text, "profile=%s", profile->name);
	why_add(text, "client=%s", client);
	why_add(text, "log=%s", log_texts[profile->log]);
	why_add(text, "keep=%s", keep);
}

void why_tell_usage(struct why_text *text, const struct name *tree)
{
	char tree_text[NAME_TEXT_MAX];

	name_to_text(tree, tree_text);
	why_add(text, "why.NAME.%s tells why a name is blocked", tree_text);
	why_add(text, "me.%s tells what is logged about you", tree_text);
}
