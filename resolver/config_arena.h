/* Memory that is taken piece by piece and given back as a whole: a configuration's strings and arrays, and
 * the tree it was read from. */
#ifndef USHER_CONFIG_ARENA_H
#define USHER_CONFIG_ARENA_H

#include <stddef.h>

struct config_chunk;

struct config_arena { /* all zero: empty, ready for use */
	struct config_chunk *chunks;
};

/* size octets, zeroed and aligned for any type; NULL without memory. A size of 0 is fine and not NULL. */
void *config_arena_alloc(struct config_arena *arena, size_t size);

/* A NUL-terminated copy; NULL without memory. */
char *config_arena_text(struct config_arena *arena, const char *text, size_t len);

void config_arena_free(struct config_arena *arena);

#endif
