/*
 * Lines of dnsmasq.conf.
 *
 *   address=/x/y/  server=/x/  local=/x/   taken, where they end in nothing; address= also with # or an
 *                                          address as in a hosts file
 *   server=/x/#                            exception: asks the usual servers
 *   server=/x/192.0.2.1  no-resolv  ...    rules we cannot honour
 */

#include "parse_line.h"

int parse_dnsmasq(struct parse_reading *reading, struct text line)
{
	if (line.at[0] == '#')
		return PARSE_DONE;
	struct text key = text_until(line, "=");
	bool is_server = text_is(text_trim(key), "server") || text_is(text_trim(key), "local");
	if ((!is_server && !text_is(text_trim(key), "address")) || key.len == line.len)
		return PARSE_RULE;
	struct text value = text_trim(text_skip(line, key.len + 1));
	size_t last = value.len;
	while (last > 0 && value.at[last - 1] != '/')
		last--;
	struct text target = text_trim(text_until(text_skip(value, last), " "));
	if (last < 3 || value.at[0] != '/')
		return PARSE_RULE;

	bool exception = is_server && text_is(target, "#");
	bool nowhere = target.len == 0 || (!is_server && (text_is(target, "#") || text_is_sink(target)));
	struct text names = { value.at + 1, last - 2 };
	for (size_t at = 0; at <= names.len;) {
		struct text name = text_until(text_skip(names, at), "/");
		at += name.len + 1;
		bool honoured = (nowhere || exception) && !text_is(name, "#");
		name = text_without(name, name.len > 1 ? "." : "", "");
		parse_count(reading,
		        honoured ? parse_take(reading, name, PARSE_AT | PARSE_BELOW, exception) : PARSE_RULE);
	}
	return PARSE_DONE;
}

bool parse_looks_dnsmasq(struct text line)
{
	return text_begins(line, "server=/") || text_begins(line, "address=/") ||
	       text_begins(line, "local=/");
}
