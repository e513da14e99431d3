/*
 * The keywords of the configuration, all looked for in one pass over a name (Aho and Corasick, CACM 18(6),
 * 1975). Read only once made; a scan allocates nothing and costs a table look-up an octet.
 *
 * A keyword is a word: it matches where letters do not go on at either end, so that "sex" is found in
 * sex.com, free-sex-now.com and sex123.com and not in essex.ac.uk. Digits go on digits in the same way. A `*`
 * at an end lets the word go on there:
 * "*porn*" is found anywhere, "casino*" in casinos.com. Letters of all scripts are compared as people read
 * them (U-labels).
 */
#ifndef USHER_KEYWORDS_H
#define USHER_KEYWORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

struct keywords;

/* Keeps pointers into config, which must outlive it. NULL without memory. */
struct keywords *keywords_new(const struct config *config);
void keywords_free(struct keywords *keywords);

/* False: there is none, and no name needs a scan. */
bool keywords_any(const struct keywords *keywords);

/* Categories of the keywords that were found, by their action. */
struct keywords_found {
	uint64_t block, watch;
};

/* Adds to *found what is in text: a name as name_to_unicode() writes it. */
void keywords_scan(
        const struct keywords *keywords, const char *text, size_t len, struct keywords_found *found);

/* A keyword of this category and action that is in text, or NULL. */
const struct config_keyword *keywords_explain(
        const struct keywords *keywords, const char *text, size_t len, unsigned category, bool watch);

#endif
