/* Times as files and JSON have them: RFC 3339 in UTC. */
#ifndef USHER_UTC_H
#define USHER_UTC_H

#include <stdbool.h>
#include <stdint.h>

#define UTC_TEXT_LEN 32

/* Of seconds, or microseconds, since 1970. They return text; "" for a time that no calendar has. */
const char *utc_text(int64_t s, char text[UTC_TEXT_LEN]);
const char *utc_text_us(int64_t us, char text[UTC_TEXT_LEN]);

/* Seconds since 1970; a fraction, and what else follows, is passed over. False if text begins with no time. */
bool utc_read(const char *text, int64_t *s);

#endif
