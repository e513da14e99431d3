/*
 * Whether new content of a source is fit to be published. A judgement compares what was read now with the
 * account of the last good content; it changes nothing. What fails is held back until a person accepts it, or
 * until the source is itself again:
 *
 *   names what is the school's own, or a target of safe search, more often than the last good content (new:
 * at all) names more protected names than the last good content (new: those are left out, and the rest is
 * taken) has no name left for a sealed category that it fed shrinks by more than max-shrink, as a whole or in
 * a category of 100 names and more grows beyond ten times, to 100 names and more lists a name of must-pass,
 * or does not list one of must-block
 *
 * What is no list at all (source.h: -EBADMSG) does not come this far, and nobody can accept it.
 */
#ifndef USHER_JUDGE_H
#define USHER_JUDGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "source.h"

struct judge_rules {
	const char *const *categories; /* names of the bits */
	uint64_t sealed;
	uint32_t max_shrink_percent;
	const struct name *must_pass; /* beside the source's own */
	size_t must_pass_count;
};

struct judge_case {
	const struct source *source;
	const struct source_content *content; /* its claims are read to the end; rewind them */
	const json_t *now;                    /* its account */
	const json_t *before; /* the last good content's, counted under today's rules; NULL: there is none */
};

/* Returns 1 if the content may be published, 0 if not, with why, or negative errno. */
int judge(const struct judge_rules *rules, const struct judge_case *judged, char why[LISTS_WHY_MAX]);

#endif
