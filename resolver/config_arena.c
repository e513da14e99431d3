#include "config_arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE 32768
#define ALIGN _Alignof(max_align_t)

struct config_chunk {
	struct config_chunk *next;
	size_t used, size;
	_Alignas(max_align_t) uint8_t octets[];
};

void *config_arena_alloc(struct config_arena *arena, size_t size)
{
	struct config_chunk *chunk = arena->chunks;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + ALIGN) / ALIGN * ALIGN;
	if (chunk == NULL || chunk->size - chunk->used < size) {
		size_t room = size > CHUNK_SIZE / 4 ? size : CHUNK_SIZE;
		struct config_chunk *fresh = calloc(1, sizeof *fresh + room);
		if (fresh == NULL)
			return NULL;
		fresh->size = room;
		/* A big piece fills its chunk: keep the one with room at the head. */
		if (chunk != NULL && room == size) {
			fresh->next = chunk->next;
			chunk->next = fresh;
		} else {
			fresh->next = chunk;
			arena->chunks = fresh;
		}
		chunk = fresh;
	}
	void *piece = chunk->octets + chunk->used;
	chunk->used += size;
	return piece;
}

char *config_arena_text(struct config_arena *arena, const char *text, size_t len)
{
	char *copy = config_arena_alloc(arena, len + 1);

	if (copy != NULL && len > 0)
		memcpy(copy, text, len);
	return copy;
}

void config_arena_free(struct config_arena *arena)
{
	struct config_chunk *next;

	for (struct config_chunk *chunk = arena->chunks; chunk != NULL; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	arena->chunks = NULL;
}
