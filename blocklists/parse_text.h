/*
 * A piece of a list's line, and what its readers ask of it: words, beginnings, ends. Points into the line;
 * nothing is copied or allocated. Letters compare without regard to case.
 */
#ifndef USHER_PARSE_TEXT_H
#define USHER_PARSE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
	const char *at;
	size_t len;
};

bool text_is_space(char c); /* a line's end is none */
bool text_is(struct text text, const char *word);
bool text_begins(struct text text, const char *word);
bool text_ends(struct text text, const char *word);

struct text text_trim(struct text text);
struct text text_skip(struct text text, size_t len);

/* Up to the first of the characters, all of it if there is none. */
struct text text_until(struct text text, const char *characters);

/* Takes the first word off. Returns it, empty at the end. */
struct text text_word(struct text *rest);

/* Without that beginning and that end, where it has them. */
struct text text_without(struct text text, const char *begin, const char *end);

/* A C string in the room given. Returns false if it is too long. */
bool text_to_c(struct text text, char *to, size_t size);

bool text_is_address(struct text text);
/* An address that block lists use for "nowhere": 0.0.0.0, 127/8, :: and ::1. */
bool text_is_sink(struct text text);

#endif
