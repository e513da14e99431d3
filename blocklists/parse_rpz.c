/*
 * Records of a response policy zone, draft-vixie-dnsop-dns-rpz.
 *
 *   x CNAME .   *.   rpz-drop.     the name alone; how a block is answered is the profile's to say
 *   x A y,  x AAAA y               the same, for addresses as in a hosts file
 *   *.x ...                        what lies below
 *   x CNAME rpz-passthru.  x.      exception
 *   x CNAME y.  rpz-tcp-only.      rules we cannot honour, as are other local data, $INCLUDE and $GENERATE
 *   x.rpz-ip  rpz-client-ip  rpz-nsip  rpz-nsdname     triggers that are no names
 *
 * Names are relative to the zone, which is the SOA's owner; those outside of it are none.
 */
#include "parse_line.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Cuts the comment off and keeps count of parentheses, both outside quotes alone, RFC 1035 5.1. */
static struct text rpz_line(struct parse_reading *reading, struct text line)
{
	bool quoted = false;

	for (size_t i = 0; i < line.len; i++) {
		char c = line.at[i];
		if (c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && c == ';')
			return (struct text){ line.at, i };
		else if (!quoted && c == '(')
			reading->parentheses++;
		else if (!quoted && c == ')' && reading->parentheses > 0)
			reading->parentheses--;
	}
	return line;
}

/* The owner without a trailing dot, made absolute by the origin as far as that is known. False: too long. */
static bool rpz_absolute(const struct parse_reading *reading, struct text owner, char to[NAME_TEXT_MAX])
{
	const char *origin = reading->origin;
	int len;

	if (text_ends(owner, "."))
		return text_to_c((struct text){ owner.at, owner.len - 1 }, to, NAME_TEXT_MAX);
	if (text_is(owner, "@"))
		return text_to_c((struct text){ origin, strlen(origin) }, to, NAME_TEXT_MAX);
	len = snprintf(to, NAME_TEXT_MAX, "%.*s%s%s", (int)owner.len, owner.at, origin[0] != '\0' ? "." : "",
	        origin);
	return len >= 0 && len < NAME_TEXT_MAX;
}

/* Takes the zone's name off an absolute owner, in place. False: it is the zone's own, or outside of it. */
static bool rpz_relative(const struct parse_reading *reading, char *owner)
{
	size_t len = strlen(owner), zone_len = strlen(reading->zone);

	if (zone_len == 0)
		return len > 0;
	if (len <= zone_len || strcasecmp(owner + len - zone_len, reading->zone) != 0 ||
	        owner[len - zone_len - 1] != '.')
		return false;
	owner[len - zone_len - 1] = '\0';
	return true;
}

static bool rpz_is_other_trigger(const char *owner)
{
	static const char *const labels[] = { ".rpz-ip", ".rpz-client-ip", ".rpz-nsip", ".rpz-nsdname" };

	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
		const char *at = strcasestr(owner, labels[i]);
		char next = at != NULL ? at[strlen(labels[i])] : 'x';
		if (next == '\0' || next == '.')
			return true;
	}
	return false;
}

enum rpz_action { RPZ_BLOCK, RPZ_PASS, RPZ_OTHER };

static enum rpz_action rpz_action(const char *owner, struct text type, struct text target)
{
	static const char *const blocks[] = { ".", "*.", "rpz-drop." };

	if (text_is(type, "A") || text_is(type, "AAAA"))
		return text_is_sink(target) ? RPZ_BLOCK : RPZ_OTHER;
	if (!text_is(type, "CNAME"))
		return RPZ_OTHER;
	for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
		if (text_is(target, blocks[i]))
			return RPZ_BLOCK;
	/* A name sent to itself is how passthru was said first. */
	bool itself = text_ends(target, ".") && text_is((struct text){ target.at, target.len - 1 }, owner);
	return itself || text_is(target, "rpz-passthru.") ? RPZ_PASS : RPZ_OTHER;
}

/* One record of which the type is known. */
static int rpz_record(struct parse_reading *reading, struct text type, struct text data)
{
	const struct text given = { reading->owner, strlen(reading->owner) };
	char owner[NAME_TEXT_MAX];

	if (!rpz_absolute(reading, given, owner))
		return PARSE_TOO_LONG;
	if (text_is(type, "SOA") && reading->zone[0] == '\0') {
		strcpy(reading->zone, owner);
		if (reading->origin[0] == '\0')
			strcpy(reading->origin, owner);
	}
	if (text_is(type, "SOA") || text_is(type, "NS"))
		return PARSE_DONE;
	if (strcasecmp(owner, reading->zone) == 0)
		return PARSE_RULE;
	if (!rpz_relative(reading, owner))
		return PARSE_BAD_NAME;
	if (rpz_is_other_trigger(owner))
		return PARSE_TRIGGER;
	enum rpz_action action = rpz_action(owner, type, text_word(&data));
	const struct text name = { owner, strlen(owner) };
	if (action == RPZ_OTHER)
		return PARSE_RULE;
	if (text_is(name, "*"))
		return PARSE_SUFFIX;
	if (text_begins(name, "*."))
		return parse_take(reading, text_skip(name, 2), PARSE_BELOW, action == RPZ_PASS);
	return parse_take(reading, name, PARSE_AT, action == RPZ_PASS);
}

static int rpz_directive(struct parse_reading *reading, struct text rest)
{
	struct text directive = text_word(&rest);
	char origin[NAME_TEXT_MAX];

	if (text_is(directive, "$TTL"))
		return PARSE_DONE;
	if (!text_is(directive, "$ORIGIN"))
		return PARSE_RULE;
	if (!rpz_absolute(reading, text_word(&rest), origin))
		return PARSE_TOO_LONG;
	strcpy(reading->origin, origin);
	return PARSE_DONE;
}

int parse_rpz(struct parse_reading *reading, struct text whole)
{
	bool continued = reading->parentheses > 0;
	struct text rest = rpz_line(reading, whole), word;

	if (continued || text_trim(rest).len == 0)
		return PARSE_DONE;
	if (text_begins(rest, "$"))
		return rpz_directive(reading, rest);
	if (!text_is_space(rest.at[0]) &&
	        !text_to_c(text_word(&rest), reading->owner, sizeof reading->owner)) {
		reading->owner[0] = '\0';
		return PARSE_TOO_LONG;
	}
	/* TTL and class in any order before the type, RFC 1035 5.1 */
	do
		word = text_word(&rest);
	while (word.len > 0 && (word.at[0] - '0' < 10u || text_is(word, "IN")));
	if (word.len == 0 || reading->owner[0] == '\0')
		return PARSE_BAD_NAME;
	return rpz_record(reading, word, rest);
}

bool parse_looks_rpz(struct text line)
{
	struct text rest = line;

	if (text_begins(line, "$TTL") || text_begins(line, "$ORIGIN"))
		return true;
	text_word(&rest);
	for (struct text word = text_word(&rest); word.len > 0; word = text_word(&rest))
		if (text_is(word, "CNAME") || text_is(word, "SOA"))
			return true;
	return false;
}
