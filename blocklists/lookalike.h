/*
 * Names in other scripts that read like a Latin one: "раураl.com" with Cyrillic letters. Pure functions over
 * the name as people read it (name_to_unicode()). After Unicode Technical Standard 39, for the alphabets that
 * look alike: Latin, Greek, Cyrillic, Armenian, Cherokee.
 */
#ifndef USHER_LOOKALIKE_H
#define USHER_LOOKALIKE_H

#include <stdbool.h>
#include <stddef.h>

#include "name.h"

/*
 * True if one label mixes alphabets that look alike (UTS 39 5.2: less than moderately restrictive). Latin
 * beside Han, Hebrew, Arabic and the like is how people write.
 */
bool lookalike_mixes_scripts(const char *text, size_t len);

/*
 * The Latin name that every letter has a twin in. Returns false if there is none, or it is the name itself.
 * Diacritics of Latin letters count as twins of the plain letter: it is the caller's to know whether the twin
 * is a name worth imitating.
 */
bool lookalike_twin(const char *text, size_t len, struct name *twin);

/* True if no letter is of one of the other alphabets that look alike. */
bool lookalike_is_latin(const char *text, size_t len);

#endif
