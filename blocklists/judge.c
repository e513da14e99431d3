#include "judge.h"

#include <inttypes.h>
#include <stdio.h>

#include "manifest.h"

#define SHRINK_FLOOR 100 /* a category of fewer names may come and go as it likes */

static uint64_t percent_lost(uint64_t before, uint64_t now)
{
	return now >= before ? 0 : (before - now) * 100 / before;
}

/* As a whole, and category by category. */
static bool shrinks(const struct judge_rules *rules, const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	uint64_t taken = (uint64_t)manifest_number(judged->before, "taken"), lost;
	const json_t *categories = json_object_get(judged->now, "categories");
	const char *category;
	json_t *count;

	lost = percent_lost(taken, (uint64_t)manifest_number(judged->now, "taken"));
	if (lost > rules->max_shrink_percent) {
		snprintf(why, LISTS_WHY_MAX,
		        "%" PRIu64 " %% smaller than the last good content (%" PRIu64 " names)", lost, taken);
		return true;
	}
	json_object_foreach(json_object_get(judged->before, "categories"), category, count)
	{
		taken = (uint64_t)json_integer_value(count);
		lost = percent_lost(taken, (uint64_t)manifest_number(categories, category));
		if (taken >= SHRINK_FLOOR && lost > rules->max_shrink_percent) {
			snprintf(why, LISTS_WHY_MAX,
			        "%s is %" PRIu64 " %% smaller than before (%" PRIu64 " names)", category,
			        lost, taken);
			return true;
		}
	}
	return false;
}

/* A source that begins to name what no list may block is not what it was, though those entries are left out
 * anyway. */
static bool names_protected(const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	const json_t *skipped = json_object_get(judged->before, "skipped");
	uint64_t known = (uint64_t)manifest_number(skipped, parse_reason_key(PARSE_PROTECTED));

	if (judged->content->counts.skipped[PARSE_PROTECTED] <= known)
		return false;
	snprintf(why, LISTS_WHY_MAX, "newly lists %.400s, which no list may block",
	        judged->content->forbidden);
	return true;
}

bool judge(const struct judge_rules *rules, const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	why[0] = '\0';
	if (judged->before == NULL)
		return true;
	return !names_protected(judged, why) && !shrinks(rules, judged, why);
}
