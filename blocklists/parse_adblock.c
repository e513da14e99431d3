/*
 * Rules of ad blockers.
 *
 *   ||x^                   taken; $important and a closing | change nothing
 *   ||*.x^                 what lies below
 *   @@||x^                 exception
 *   ||x/path               part of a site, not taken
 *   0.0.0.0 x              as in a hosts file
 *   ||x^$third-party       other modifiers, cosmetic rules (##), patterns and regular expressions: rules we
 *                          cannot honour
 *   ! ...   [Adblock]      comments
 */

#include "parse_line.h"

#include <string.h>

int parse_adblock(struct parse_reading *reading, struct text line)
{
	if (line.at[0] == '!' || line.at[0] == '[')
		return PARSE_DONE;
	struct text first = line;
	if (line.at[0] == '#' && !text_begins(line, "##") && !text_begins(line, "#@") &&
	        !text_begins(line, "#?"))
		return PARSE_DONE;
	if (text_is_address(text_word(&first)))
		return parse_hosts(reading, line);
	bool exception = text_begins(line, "@@");
	if (exception)
		line = text_skip(line, 2);
	if (!text_begins(line, "||"))
		return PARSE_RULE;
	line = text_skip(line, 2);
	struct text host = text_until(line, "^/$|");
	struct text rest = text_skip(line, host.len);
	if (text_begins(rest, "/"))
		return PARSE_PATH;
	if (!text_begins(rest, "^"))
		return PARSE_RULE;
	rest = text_without(text_skip(rest, 1), "|", "");
	if (rest.len > 0 && !text_is(rest, "$important"))
		return PARSE_RULE;
	if (text_begins(host, "*."))
		return parse_take(reading, text_skip(host, 2), PARSE_BELOW, exception);
	if (memchr(host.at, '*', host.len) != NULL)
		return PARSE_RULE;
	return parse_take(reading, host, PARSE_AT | PARSE_BELOW, exception);
}

bool parse_looks_adblock(struct text line)
{
	return text_begins(line, "||") || text_begins(line, "@@||") || text_begins(line, "[Adblock") ||
	       text_begins(line, "! ") || text_begins(line, "##");
}
