/*
 * Whether new content of a source is fit to be published. A judgement compares what was read now with the
 * account of the last good content; it reads no file and changes nothing. What fails it is held back until a
 * person accepts it, or the source is itself again.
 */
#ifndef USHER_JUDGE_H
#define USHER_JUDGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "source.h"

struct judge_rules {
	uint32_t max_shrink_percent;
};

struct judge_case {
	const struct source_content *content;
	const json_t *now;    /* its account */
	const json_t *before; /* the last good content's, counted under today's rules; NULL: there is none */
};

/* Returns true if the content may be published; else false, with why. */
bool judge(const struct judge_rules *rules, const struct judge_case *judged, char why[LISTS_WHY_MAX]);

#endif
