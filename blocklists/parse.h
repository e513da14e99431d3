/*
 * The text of a blocklist, in any of the formats that are about, to names and what they mean, or a reason why
 * not. Works on pieces as they come, holds one line of bounded length, and never fails for a line: a bad line
 * is counted and the next one read. A whole text is refused only where it cannot be a list at all (HTML,
 * binary, nothing).
 *
 * What each format's lines mean stands at the head of its own file, parse_*.c.
 */
#ifndef USHER_PARSE_H
#define USHER_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "name.h"

#define PARSE_LINE_MAX 4096 /* octets; a longer line is skipped, whatever it holds */

enum parse_format {
	PARSE_AUTO,
	PARSE_UT1, /* a tree in an archive; each of its files is read as PARSE_DOMAINS */
	PARSE_HOSTS,
	PARSE_DOMAINS,
	PARSE_WILDCARD,
	PARSE_ADBLOCK,
	PARSE_DNSMASQ,
	PARSE_UNBOUND,
	PARSE_RPZ,
	PARSE_FORMAT_COUNT
};

/* Why an entry was not taken: key in JSON and the manifest, words for people. The first ones are signs of a
 * broken list. */
#define PARSE_REASONS(X)                                                                                     \
	X(BAD_NAME, "bad_name", "not a domain name")                                                         \
	X(BAD_TEXT, "bad_text", "not UTF-8, or not allowed in a name")                                       \
	X(BAD_OCTETS, "bad_octets", "control characters")                                                    \
	X(TOO_LONG, "too_long", "a label over 63 or a name over 255 octets")                                 \
	X(LINE_TOO_LONG, "line_too_long", "a line over 4096 octets")                                         \
	X(ADDRESS, "address", "an address, not a name")                                                      \
	X(SUFFIX, "public_suffix", "a top-level domain or public suffix")                                    \
	X(PATH, "path", "part of a site: DNS sees whole hosts only")                                         \
	X(RULE, "rule", "a rule that DNS cannot honour")                                                     \
	X(TRIGGER, "trigger", "an RPZ trigger that is no name: DNS answers are judged by names")             \
	X(LOCAL, "local", "a name of the machine itself")                                                    \
	X(CATEGORY, "category", "a category that the configuration does not have")                           \
	X(PROTECTED, "protected", "a name that no list may block")

enum parse_reason {
#define X(name, key, words) PARSE_##name,
	PARSE_REASONS(X)
#undef X
	        PARSE_REASON_COUNT
};
#define PARSE_BROKEN_MAX                                                                                     \
	PARSE_LINE_TOO_LONG /* reasons up to here say that the text is no list of this format */

const char *parse_reason_key(enum parse_reason reason);
const char *parse_reason_words(enum parse_reason reason);
int parse_reason_by_key(const char *key); /* -1: none */

/* What an entry applies to: the name, what lies below it, or (in most lists) both. */
#define PARSE_AT 1
#define PARSE_BELOW 2
#define PARSE_SHARED                                                                                         \
	4 /* beside these: below the name many owners have theirs (github.io), yet a list may take it */

struct parse_sink {
	void *arg;
	void (*taken)(void *arg, const struct name *name, unsigned scope, bool exception);
	void (*skipped)(void *arg, enum parse_reason reason, uint64_t line);
};

struct parser;

/* Returns NULL without memory. */
struct parser *parser_new(enum parse_format format, const struct parse_sink *sink);
void parser_free(struct parser *parser); /* NULL is fine */

/*
 * Takes the next piece of the text. Returns 0, or -EBADMSG once the text turned out not to be a list; then
 * parser_why() says what it is instead, and nothing more is read.
 */
int parser_feed(struct parser *parser, const char *data, size_t len);

/* The end of the text: takes what the last piece left. Returns as parser_feed(). */
int parser_end(struct parser *parser);

const char *parser_why(const struct parser *parser);

/* The format that is being read: for PARSE_AUTO the one found, known once parser_end() was called at the
 * latest. */
enum parse_format parser_format(const struct parser *parser);

/* The format of that name, or -1. */
int parse_format_by_name(const char *name);
const char *parse_format_name(enum parse_format format);

/*
 * A top-level domain or a registry's suffix such as co.uk: under it are names of everybody. Not so single labels that the
 * public suffix list does not know (local, lan, corp), which are private.
 */
bool parse_is_registry(const struct name *name);

/*
 * How many labels the name has that somebody registered: 2 for www.example.com, 3 for www.example.co.uk and me.github.io. 0: it is a
 * suffix itself, or has no dot. Names under arpa have none.
 */
unsigned parse_zone_labels(const struct name *name);

#endif
