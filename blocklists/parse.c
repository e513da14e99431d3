#include "parse_line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The text of a list to lines, and which format they are in. What a line of each format means stands at the
 * head of its own file. For all of them: a name stands for itself with all below it unless said otherwise;
 * IDNs become A-labels; a byte order mark, CR, a trailing dot and upper case go.
 */

#define HEAD_MAX (64 * 1024) /* what is looked at before anything is read */
#define BINARY_PERCENT 10

struct parser {
	struct parse_reading reading;
	enum parse_format format;
	const char *why;
	char head[HEAD_MAX];
	size_t head_len;
	bool begun;                /* the head was looked at, lines are being read */
	char held[PARSE_LINE_MAX]; /* the begun line that the next piece continues */
	size_t held_len;
	bool skipping; /* inside a line that is too long */
};

static const char *const reason_keys[] = {
#define X(name, key, words) key,
	PARSE_REASONS(X)
#undef X
};
static const char *const reason_words[] = {
#define X(name, key, words) words,
	PARSE_REASONS(X)
#undef X
};

const char *parse_reason_key(enum parse_reason reason)
{
	return reason_keys[reason];
}

const char *parse_reason_words(enum parse_reason reason)
{
	return reason_words[reason];
}

int parse_reason_by_key(const char *key)
{
	for (int i = 0; i < PARSE_REASON_COUNT; i++)
		if (strcmp(reason_keys[i], key) == 0)
			return i;
	return -1;
}

/* ---- which format ---- */

/* One line a format. A table's order decides between formats that as many lines look like. */
static const struct format {
	const char *name;
	int (*read)(struct parse_reading *reading, struct text line);
	bool (*looks)(struct text line);
} formats[PARSE_FORMAT_COUNT] = {
	[PARSE_AUTO] = { "auto", NULL, NULL },
	[PARSE_UT1] = { "ut1", parse_domains, NULL },
	[PARSE_HOSTS] = { "hosts", parse_hosts, parse_looks_hosts },
	[PARSE_DOMAINS] = { "domains", parse_domains, parse_looks_domains },
	[PARSE_WILDCARD] = { "wildcard", parse_domains, parse_looks_wildcard },
	[PARSE_ADBLOCK] = { "adblock", parse_adblock, parse_looks_adblock },
	[PARSE_DNSMASQ] = { "dnsmasq", parse_dnsmasq, parse_looks_dnsmasq },
	[PARSE_UNBOUND] = { "unbound", parse_unbound, parse_looks_unbound },
	[PARSE_RPZ] = { "rpz", parse_rpz, parse_looks_rpz },
};

int parse_format_by_name(const char *name)
{
	for (int i = 0; i < PARSE_FORMAT_COUNT; i++)
		if (strcmp(formats[i].name, name) == 0)
			return i;
	return -1;
}

const char *parse_format_name(enum parse_format format)
{
	return formats[format].name;
}

/* The format that most lines of the head look like; PARSE_AUTO if none does. */
static enum parse_format head_format(const char *head, size_t len)
{
	unsigned votes[PARSE_FORMAT_COUNT] = { 0 };
	enum parse_format best = PARSE_AUTO;

	for (size_t at = 0; at < len;) {
		struct text line = text_until((struct text){ head + at, len - at }, "\n");
		at += line.len + 1;
		line = text_trim(line);
		if (line.len == 0 || (line.at[0] == '#' && !text_begins(line, "##")) || line.at[0] == ';')
			continue;
		for (unsigned i = 0; i < PARSE_FORMAT_COUNT; i++)
			if (formats[i].looks != NULL && formats[i].looks(line))
				votes[i]++;
	}
	for (unsigned i = 0; i < PARSE_FORMAT_COUNT; i++)
		if (votes[i] > votes[best] ||
		        (votes[i] > 0 && votes[i] == votes[best] && i == PARSE_WILDCARD))
			best = i;
	return best;
}

/* What the text is instead of a list, NULL if it may be one. */
static const char *head_not_a_list(const char *head, size_t len)
{
	struct text text = { head, len };
	size_t odd = 0;

	while (text.len > 0 && (text_is_space(text.at[0]) || text.at[0] == '\n'))
		text = text_skip(text, 1);
	if (text_begins(text, "<"))
		return "HTML or XML, not a list";
	if (text_begins(text, "{"))
		return "JSON, not a list";
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)head[i];
		odd += (c < 0x20 && c != '\n' && !text_is_space((char)c)) || c == 0x7f;
	}
	return odd * 100 > len * BINARY_PERCENT ? "binary, not a list" : NULL;
}

/* ---- pieces to lines ---- */

static void read_line(struct parser *parser, const char *at, size_t len)
{
	struct text line = { at, len };

	parser->reading.line++;
	while (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	if (memchr(line.at, '\0', line.len) != NULL) {
		parse_count(&parser->reading, PARSE_BAD_OCTETS);
		return;
	}
	if (parser->format != PARSE_RPZ)
		line = text_trim(line);
	if (line.len > 0)
		parse_count(&parser->reading, formats[parser->format].read(&parser->reading, line));
}

static void line_too_long(struct parser *parser)
{
	parser->reading.line++;
	parser->held_len = 0;
	parse_count(&parser->reading, PARSE_LINE_TOO_LONG);
}

/* Lines of a piece; the last, begun one is held for the next piece. */
static void read_lines(struct parser *parser, const char *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		const char *end = memchr(data + at, '\n', len - at);
		size_t piece = end != NULL ? (size_t)(end - (data + at)) : len - at;

		if (!parser->skipping && parser->held_len + piece > PARSE_LINE_MAX) {
			line_too_long(parser);
			parser->skipping = true;
		}
		if (!parser->skipping && end != NULL && parser->held_len == 0) {
			read_line(parser, data + at, piece);
		} else if (!parser->skipping) {
			memcpy(parser->held + parser->held_len, data + at, piece);
			parser->held_len += piece;
			if (end != NULL) {
				size_t held = parser->held_len;
				parser->held_len = 0;
				read_line(parser, parser->held, held);
			}
		}
		if (end != NULL)
			parser->skipping = false;
		at += piece + (end != NULL);
	}
}

/* Looks at the head, finds the format, reads the head's lines. */
static int parser_begin(struct parser *parser)
{
	const char *head = parser->head;
	size_t len = parser->head_len;

	parser->begun = true;
	if (len >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0) {
		head += 3;
		len -= 3;
	}
	parser->why = head_not_a_list(head, len);
	if (parser->why != NULL)
		return -EBADMSG;
	if (parser->format == PARSE_AUTO)
		parser->format = head_format(head, len);
	if (parser->format == PARSE_AUTO) {
		parser->why = len == 0 ? "empty" : "no list format that is known";
		return -EBADMSG;
	}
	read_lines(parser, head, len);
	return 0;
}

struct parser *parser_new(enum parse_format format, const struct parse_sink *sink)
{
	struct parser *parser = malloc(sizeof *parser);

	if (parser == NULL)
		return NULL;
	parser->reading.sink = *sink;
	parser->format = format;
	parser->why = NULL;
	parser->reading.line = 0;
	parser->head_len = parser->held_len = 0;
	parser->begun = parser->skipping = false;
	parser->reading.zone[0] = parser->reading.origin[0] = parser->reading.owner[0] = '\0';
	parser->reading.parentheses = 0;
	return parser;
}

void parser_free(struct parser *parser)
{
	free(parser);
}

int parser_feed(struct parser *parser, const char *data, size_t len)
{
	if (parser->why != NULL)
		return -EBADMSG;
	if (!parser->begun) {
		size_t room = HEAD_MAX - parser->head_len;
		size_t piece = len < room ? len : room;
		memcpy(parser->head + parser->head_len, data, piece);
		parser->head_len += piece;
		if (parser->head_len < HEAD_MAX)
			return 0;
		int ret = parser_begin(parser);
		if (ret < 0)
			return ret;
		data += piece;
		len -= piece;
	}
	read_lines(parser, data, len);
	return 0;
}

int parser_end(struct parser *parser)
{
	if (parser->why != NULL)
		return -EBADMSG;
	if (!parser->begun) {
		int ret = parser_begin(parser);
		if (ret < 0)
			return ret;
	}
	if (parser->held_len > 0 && !parser->skipping) {
		size_t held = parser->held_len;
		parser->held_len = 0;
		read_line(parser, parser->held, held);
	}
	return 0;
}

const char *parser_why(const struct parser *parser)
{
	return parser->why;
}

enum parse_format parser_format(const struct parser *parser)
{
	return parser->format;
}
