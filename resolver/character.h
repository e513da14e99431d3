/* Characters of text that a stranger may have written, before it is shown. */
#ifndef USHER_CHARACTER_H
#define USHER_CHARACTER_H

#include <stdbool.h>
#include <stdint.h>

/* Reads the one that text, of at least one octet and an end, begins with. Returns its octets, or 0 if these
 * are not UTF-8 (RFC 3629). */
unsigned character_read(const char *text, uint32_t *character);

/* Controls (C0, DEL, C1), line and paragraph separators, marks that turn the direction of what follows, and
 * those that nobody sees: joiners, soft hyphens, fillers, tags, variation selectors. */
bool character_is_unsafe(uint32_t character);

#endif
