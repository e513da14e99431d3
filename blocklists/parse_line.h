/*
 * What parse.c and the readers of single lines share: one file a format reads a line, parse_entry.c judges
 * each name in it. For these files alone.
 */
#ifndef USHER_PARSE_LINE_H
#define USHER_PARSE_LINE_H

#include "parse.h"
#include "parse_text.h"

/* What is kept between a list's lines. */
struct parse_reading {
	struct parse_sink sink;
	uint64_t line;
	char zone[NAME_TEXT_MAX],
	        origin[NAME_TEXT_MAX]; /* RPZ: without trailing dot; "" as long as unknown */
	char owner[NAME_TEXT_MAX];     /* RPZ: of the last record, as written */
	unsigned parentheses;          /* RPZ: depth */
};

/* What reading a line or an entry returns: this, or the parse_reason why it was not taken. */
#define PARSE_DONE (-1)

/* Tells the sink of an entry that was not taken; for lines that hold several. */
void parse_count(struct parse_reading *reading, int outcome);

/* Turns text into an entry. Returns PARSE_DONE or why not. */
int parse_take(struct parse_reading *reading, struct text text, unsigned scope, bool exception);
int parse_take_name(struct parse_reading *reading, struct text text); /* with all below */

/* The names that hosts files give to the machine itself. */
bool parse_is_local(struct text text);

/* A format each: what one line of it says, and whether a line looks like one of it. */
int parse_domains(struct parse_reading *reading, struct text line);
int parse_hosts(struct parse_reading *reading, struct text line);
int parse_adblock(struct parse_reading *reading, struct text line);
int parse_dnsmasq(struct parse_reading *reading, struct text line);
int parse_unbound(struct parse_reading *reading, struct text line);
int parse_rpz(struct parse_reading *reading, struct text line);

bool parse_looks_hosts(struct text line);
bool parse_looks_domains(struct text line);
bool parse_looks_wildcard(struct text line);
bool parse_looks_adblock(struct text line);
bool parse_looks_dnsmasq(struct text line);
bool parse_looks_unbound(struct text line);
bool parse_looks_rpz(struct text line);

#endif
