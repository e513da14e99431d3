/*
 * Lines of unbound.conf.
 *
 *   local-zone: "x" T      taken for a T that denies or redirects; always_transparent is an exception
 *   local-data: "x A y"    the name alone, for addresses as in a hosts file
 *   server:                nothing
 *   other options          rules we cannot honour
 */

#include "parse_line.h"

static bool text_is_one_of(struct text text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (text_is(text, *words))
			return true;
	return false;
}

static struct text text_unquoted(struct text text)
{
	return text_without(text_without(text, "\"", "\""), "'", "'");
}

static int read_unbound_data(struct parse_reading *reading, struct text record)
{
	record = text_unquoted(text_trim(record));
	struct text name = text_word(&record), word = text_word(&record);

	while (word.len > 0 && (text_is(word, "IN") || word.at[0] - '0' < 10u))
		word = text_word(&record);
	if (!(text_is(word, "A") || text_is(word, "AAAA")) || !text_is_sink(text_word(&record)))
		return PARSE_RULE;
	return parse_take(reading, text_without(name, "", "."), PARSE_AT, false);
}

int parse_unbound(struct parse_reading *reading, struct text line)
{
	static const char *const denying[] = { "deny", "refuse", "static", "redirect", "inform_deny",
		"inform_redirect", "always_refuse", "always_nxdomain", "always_nodata", "always_deny",
		"always_null", NULL };

	line = text_trim(text_until(line, "#"));
	struct text key = text_until(line, ":");
	if (line.len == 0 || text_is(line, "server:"))
		return PARSE_DONE;
	if (key.len == line.len)
		return PARSE_RULE;
	struct text value = text_skip(line, key.len + 1);
	if (text_is(key, "local-data"))
		return read_unbound_data(reading, value);
	if (!text_is(key, "local-zone"))
		return PARSE_RULE;
	struct text name = text_unquoted(text_word(&value));
	struct text type = text_unquoted(text_word(&value));
	bool exception = text_is(type, "always_transparent");
	if (!exception && !text_is_one_of(type, denying))
		return PARSE_RULE;
	return parse_take(reading, name, PARSE_AT | PARSE_BELOW, exception);
}

bool parse_looks_unbound(struct text line)
{
	return text_begins(line, "local-zone:") || text_begins(line, "local-data:") ||
	       text_is(line, "server:");
}
