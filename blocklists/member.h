/* A member of a JSON object, for readers to whom one that is missing or of another type is none. */
#ifndef USHER_MEMBER_H
#define USHER_MEMBER_H

#include <jansson.h>
#include <stdint.h>

/* "" or 0 if there is none. The text is the object's. */
const char *member_text(const json_t *object, const char *key);
int64_t member_number(const json_t *object, const char *key);

#endif
