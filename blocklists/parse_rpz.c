/*
 * Records of a response policy zone, draft-vixie-dnsop-dns-rpz.
 */

#include "parse_line.h"

#include <string.h>
#include <strings.h>

/* An owner relative to the zone's origin. */
static struct text rpz_relative(const struct parse_reading *reading, struct text owner)
{
	if (!text_ends(owner, "."))
		return owner;
	owner.len--;
	struct text origin = reading->origin;
	if (origin.len == 0 || owner.len < origin.len ||
	        strncasecmp(owner.at + owner.len - origin.len, origin.at, origin.len) != 0)
		return owner;
	size_t left = owner.len - origin.len;
	if (left == 0)
		return (struct text){ "@", 1 };
	if (owner.at[left - 1] == '.')
		owner.len = left - 1;
	return owner;
}

static void rpz_origin(struct parse_reading *reading, struct text origin)
{
	origin = text_without(origin, "", ".");
	if (!text_to_c(origin, reading->origin_text, sizeof reading->origin_text))
		return;
	reading->origin = (struct text){ reading->origin_text, origin.len };
}

static bool rpz_is_other_trigger(struct text owner)
{
	return text_ends(owner, ".rpz-ip") || text_ends(owner, ".rpz-client-ip") ||
	       text_ends(owner, ".rpz-nsip") || text_ends(owner, ".rpz-nsdname");
}

/* One record of which the type is known. */
static int read_rpz_record(
        struct parse_reading *reading, struct text owner, struct text type, struct text data)
{
	if (text_is(type, "SOA") && text_ends(owner, ".") && reading->origin.len == 0)
		rpz_origin(reading, owner);
	if (text_is(type, "SOA") || text_is(type, "NS"))
		return PARSE_DONE;
	owner = rpz_relative(reading, owner);
	struct text target = text_word(&data);
	if (rpz_is_other_trigger(owner) || text_is(owner, "@"))
		return PARSE_RULE;
	if (!text_is(type, "CNAME") && !text_is(type, "A") && !text_is(type, "AAAA"))
		return PARSE_RULE;
	if (text_is(target, "rpz-tcp-only."))
		return PARSE_RULE;
	bool exception = text_is(target, "rpz-passthru.");
	if (text_begins(owner, "*."))
		return parse_take(reading, text_skip(owner, 2), PARSE_BELOW, exception);
	return parse_take(reading, owner, PARSE_AT, exception);
}

int parse_rpz(struct parse_reading *reading, struct text whole)
{
	struct text line = text_until(whole, ";");
	bool continued = reading->parentheses > 0;

	for (size_t i = 0; i < line.len; i++) {
		if (line.at[i] == '(')
			reading->parentheses++;
		else if (line.at[i] == ')' && reading->parentheses > 0)
			reading->parentheses--;
	}
	if (continued || text_trim(line).len == 0)
		return PARSE_DONE;
	struct text rest = line, word;
	if (text_begins(line, "$")) {
		word = text_word(&rest);
		if (text_is(word, "$ORIGIN"))
			rpz_origin(reading, text_word(&rest));
		return PARSE_DONE;
	}
	if (!text_is_space(line.at[0])) {
		word = text_word(&rest);
		if (!text_to_c(word, reading->owner_text, sizeof reading->owner_text))
			return PARSE_TOO_LONG;
	}
	struct text owner = { reading->owner_text, strlen(reading->owner_text) };
	/* TTL and class in any order before the type, RFC 1035 5.1 */
	do
		word = text_word(&rest);
	while (word.len > 0 && (word.at[0] - '0' < 10u || text_is(word, "IN")));
	if (word.len == 0)
		return PARSE_BAD_NAME;
	return read_rpz_record(reading, owner, word, rest);
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
