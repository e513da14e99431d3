/*
 * Words that are kept once: names of profiles and categories, as records of the block log bring them. There
 * are few; what comes after a thousand of them is all kept as "other", so that nothing grows without bound.
 */
#ifndef USHER_WORDS_H
#define USHER_WORDS_H

struct word;

struct words {
	struct word *first, *last; /* all zero: none; last: the one asked for last */
	unsigned count;
};

/* The kept one, the same pointer for the same text; it lives until words_clear(). NULL for NULL, and without
 * memory. */
const char *words_keep(struct words *words, const char *text);
void words_clear(struct words *words);

#endif
