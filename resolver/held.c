#include "held.h"

#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 64

struct held {
	size_t size;       /* of octets[] */
	size_t begin, end; /* what is held */
	uint8_t octets[];
};

/* Twice as large as before, or as large as it takes. */
static size_t size_for(const struct held *held, size_t need)
{
	size_t size = held != NULL ? held->size : SIZE_MIN;

	while (size < need)
		size *= 2;
	return size;
}

static bool held_grow(struct held **held, struct held_budget *budget, size_t need)
{
	size_t before = *held != NULL ? (*held)->size : 0, size = size_for(*held, need);

	if (size > HELD_SMALL && budget->used - before + size > budget->most)
		return false;
	struct held *larger = realloc(*held, sizeof *larger + size);
	if (larger == NULL)
		return false;
	if (*held == NULL)
		larger->begin = larger->end = 0;
	larger->size = size;
	budget->used += size - before;
	*held = larger;
	return true;
}

/* Moves what is held to the front. Returns how much that is. */
static size_t held_compact(struct held *held)
{
	if (held == NULL)
		return 0;
	held->end -= held->begin;
	if (held->begin > 0)
		memmove(held->octets, held->octets + held->begin, held->end);
	held->begin = 0;
	return held->end;
}

bool held_add(struct held **held, struct held_budget *budget, const void *data, size_t len)
{
	size_t kept = held_compact(*held);

	if (len == 0)
		return true;
	if ((*held == NULL || (*held)->size < kept + len) && !held_grow(held, budget, kept + len))
		return false;
	memcpy((*held)->octets + kept, data, len);
	(*held)->end = kept + len;
	return true;
}

const uint8_t *held_data(const struct held *held, size_t *len)
{
	*len = held != NULL ? held->end - held->begin : 0;
	return held != NULL ? held->octets + held->begin : NULL;
}

void held_skip(struct held **held, struct held_budget *budget, size_t len)
{
	if (*held == NULL)
		return;
	(*held)->begin += len;
	if ((*held)->begin >= (*held)->end)
		held_drop(held, budget);
}

void held_drop(struct held **held, struct held_budget *budget)
{
	if (*held != NULL)
		budget->used -= (*held)->size;
	free(*held);
	*held = NULL;
}
