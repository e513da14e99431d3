/* Values as JSON has them: null for what there is not. */
#ifndef USHER_VALUE_H
#define USHER_VALUE_H

#include <jansson.h>
#include <stdint.h>

/* null also for what is not UTF-8. */
json_t *value_text(const char *text);

/* Of 16 octets, IPv4 mapped. */
json_t *value_client(const uint8_t *client);

/* RFC 3339 in UTC, of seconds (0: null) or microseconds since 1970. */
json_t *value_time(int64_t s);
json_t *value_time_us(int64_t us);

#endif
