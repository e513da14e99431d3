#include "chase.h"

#include <string.h>

static bool same_category(const struct step *a, const struct step *b)
{
	return a->category == b->category; /* kept words */
}

/* A step that begins a chase, or goes on with it, is no habit: the client was not there before the window. */
static bool is_fresh(const struct step *step, int64_t since_us)
{
	return step->first_us >= since_us;
}

/* Another site of the block's category after it, and before what ends at `end`. */
static bool has_mirror(const struct step *block, const struct step *end)
{
	for (const struct step *step = block + 1; step < end; step++)
		if (!step->bypass && same_category(step, block))
			return true;
	return false;
}

const struct step *chase_block(const struct watch *watch, int64_t since_us)
{
	const struct step *end = watch->steps + watch->step_count, *around = watch->steps, *block = NULL;

	while (around < end && !(around->bypass && is_fresh(around, since_us)))
		around++;
	if (around == end)
		return NULL;
	for (const struct step *step = watch->steps; step < around; step++) {
		if (step->bypass || !is_fresh(step, since_us))
			continue;
		if (!block || !has_mirror(block, around) ||
		        (has_mirror(step, around) && !same_category(step, block)))
			block = step;
	}
	return block;
}

const char *chase_label(const struct step *step, const struct step *block)
{
	if (step < block)
		return NULL;
	if (step == block)
		return "block";
	if (!step->bypass)
		return same_category(step, block) ? "mirror" : NULL;
	return strstr(step->name, "vpn") ? "vpn" : "proxy";
}

uint32_t chase_length(const struct watch *watch, const struct step *block)
{
	uint32_t count = 1, mirrors = 0;

	for (const struct step *step = block + 1; step < watch->steps + watch->step_count; step++)
		if (step->bypass)
			count++;
		else
			mirrors |= same_category(step, block);
	return count + mirrors;
}
