/*
 * Lines of plain names, with an address before them (hosts) or without (domains, wildcard, UT1).
 *
 *   0.0.0.0 x y z          taken; for the addresses 0.0.0.0, 127/8, :: and ::1
 *   127.0.0.1 localhost    the machine's own names are ignored
 *   192.0.2.1 x            a rule we cannot honour: it says where x is
 *   x   .x   *.x           taken
 *   x/   http://x/         taken
 *   x/path  x:80  x?q      part of a site, not taken
 *   # ...                  a comment, at the end of a line too
 */

#include "parse_line.h"

#include <string.h>

/* x, .x, *.x, x/ or http://x/ */
static int take_host(struct parse_reading *reading, struct text word)
{
	word = text_without(word, "http://", "");
	word = text_without(word, "https://", "");
	struct text host = text_until(word, "/:?");
	if (host.len + 1 < word.len || (host.len < word.len && word.at[host.len] != '/')) {
		if (text_is_address(word))
			return PARSE_ADDRESS;
		return PARSE_PATH;
	}
	host = text_without(host, "*", "");
	host = text_without(host, host.len > 1 ? "." : "", "");
	return parse_take_name(reading, host);
}

int parse_domains(struct parse_reading *reading, struct text line)
{
	struct text rest = text_until(line, "#");
	struct text word = text_word(&rest);

	if (word.len == 0)
		return PARSE_DONE;
	if (text_trim(rest).len > 0)
		return PARSE_BAD_NAME;
	return take_host(reading, word);
}

int parse_hosts(struct parse_reading *reading, struct text line)
{
	struct text rest = text_until(line, "#");
	struct text word = text_word(&rest);
	bool sink = text_is_sink(word);

	if (word.len == 0)
		return PARSE_DONE;
	if (!text_is_address(word))
		return parse_domains(reading, line);
	word = text_word(&rest);
	if (word.len == 0)
		return PARSE_ADDRESS;
	for (; word.len > 0; word = text_word(&rest))
		parse_count(
		        reading, sink || parse_is_local(word) ? parse_take_name(reading, word) : PARSE_RULE);
	return PARSE_DONE;
}

bool parse_looks_hosts(struct text line)
{
	struct text rest = line;
	return text_is_address(text_word(&rest)) && text_trim(rest).len > 0;
}

bool parse_looks_wildcard(struct text line)
{
	return text_begins(line, "*.") && text_until(line, " \t").len == line.len;
}

bool parse_looks_domains(struct text line)
{
	return text_until(line, " \t=|$^").len == line.len && memchr(line.at, '.', line.len) != NULL;
}
