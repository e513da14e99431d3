#include "judge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "member.h"

#define FLOOR 100 /* fewer names may come and go as they like */
#define GROWTH_MAX 10

static uint64_t count_of(const json_t *account, const char *key)
{
	return (uint64_t)member_number(account, key);
}

/* ---- names that no list may block: left out in any case, but a source that begins to name them is not what
 * it was
 * ---- */

static bool names_own(const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	if (judged->content->counts.own <= count_of(judged->before, "own"))
		return false;
	snprintf(why, LISTS_WHY_MAX, "lists %.400s: the school's own, or a target of safe search",
	        judged->content->own);
	return true;
}

static bool names_protected(const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	const char *key = parse_reason_key(PARSE_PROTECTED);

	if (judged->before == NULL || judged->content->counts.skipped[PARSE_PROTECTED] <=
	                                      count_of(json_object_get(judged->before, "skipped"), key))
		return false;
	snprintf(why, LISTS_WHY_MAX, "newly lists %.400s, which no list may block",
	        judged->content->forbidden);
	return true;
}

/* ---- numbers ---- */

static bool empties_sealed(
        const struct judge_rules *rules, const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	const json_t *now = json_object_get(judged->now, "categories");
	const json_t *before = json_object_get(judged->before, "categories");

	for (uint64_t left = rules->sealed; left != 0; left &= left - 1) {
		const char *category = rules->categories[__builtin_ctzll(left)];
		uint64_t names = count_of(before, category);
		if (names == 0 || count_of(now, category) != 0)
			continue;
		snprintf(why, LISTS_WHY_MAX,
		        "has no name for the sealed category %.100s any more (%" PRIu64 " before)", category,
		        names);
		return true;
	}
	return false;
}

static uint64_t percent_lost(uint64_t before, uint64_t now)
{
	return now >= before ? 0 : (before - now) * 100 / before;
}

/* As a whole, and category by category. */
static bool shrinks(const struct judge_rules *rules, const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	uint64_t taken = count_of(judged->before, "taken"), lost;
	const json_t *categories = json_object_get(judged->now, "categories");
	const char *category;
	json_t *count;

	lost = percent_lost(taken, count_of(judged->now, "taken"));
	if (lost > rules->max_shrink_percent) {
		snprintf(why, LISTS_WHY_MAX,
		        "%" PRIu64 " %% smaller than the last good content (%" PRIu64 " names)", lost, taken);
		return true;
	}
	json_object_foreach(json_object_get(judged->before, "categories"), category, count)
	{
		taken = (uint64_t)json_integer_value(count);
		lost = percent_lost(taken, count_of(categories, category));
		if (taken >= FLOOR && lost > rules->max_shrink_percent) {
			snprintf(why, LISTS_WHY_MAX,
			        "%.100s is %" PRIu64 " %% smaller than before (%" PRIu64 " names)", category,
			        lost, taken);
			return true;
		}
	}
	return false;
}

static bool grows(const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	uint64_t before = count_of(judged->before, "taken"), now = count_of(judged->now, "taken");

	if (judged->before == NULL || now < FLOOR || now <= before * GROWTH_MAX)
		return false;
	snprintf(why, LISTS_WHY_MAX,
	        "more than ten times as large as the last good content: %" PRIu64 " names, before %" PRIu64,
	        now, before);
	return true;
}

/* ---- canaries ---- */

struct canary {
	const struct name *name;
	bool must_block;
	uint64_t claimed, excepted; /* categories, by it or a parent */
};

/* A canary or a parent of one, as a key. */
struct probe {
	struct canary *canary;
	bool whole;
	uint8_t len, key[NAME_KEY_MAX];
};

static int by_key(const void *a, const void *b)
{
	const struct probe *x = a, *y = b;

	return claims_key_compare(x->key, x->len, y->key, y->len);
}

static size_t canary_add(
        struct canary *canaries, size_t count, const struct name *names, size_t name_count, bool must_block)
{
	for (size_t i = 0; i < name_count; i++)
		canaries[count++] = (struct canary){ .name = &names[i], .must_block = must_block };
	return count;
}

static struct probe *probes_new(struct canary *canaries, size_t canary_count, size_t *count)
{
	struct probe *probes;
	uint8_t key[NAME_KEY_MAX];
	size_t room = 0;

	for (size_t i = 0; i < canary_count; i++)
		room += canaries[i].name->labels;
	probes = calloc(room + 1, sizeof *probes);
	if (probes == NULL)
		return NULL;
	*count = 0;
	for (size_t i = 0; i < canary_count; i++) {
		const struct name *name = canaries[i].name;
		size_t len = name_to_key(name, key);
		for (unsigned label = 0; label < name->labels; label++) {
			struct probe *probe = &probes[(*count)++];
			probe->canary = &canaries[i];
			probe->whole = label == 0;
			probe->len = (uint8_t)(len - name->offset[label]);
			memcpy(probe->key, key, probe->len);
		}
	}
	qsort(probes, *count, sizeof *probes, by_key);
	return probes;
}

static void probe_claim(const struct probe *probe, const struct claim *claim)
{
	probe->canary->claimed |= probe->whole ? claim->at : claim->below;
	probe->canary->excepted |= probe->whole ? claim->except_at : claim->except_below;
}

/* Goes through claims and probes side by side: both are in order of their keys. */
static int probes_run(const struct probe *probes, size_t count, struct claims *claims)
{
	uint8_t key[NAME_KEY_MAX];
	struct claim claim;
	size_t len, next = 0;

	int ret = claims_rewind(claims);
	while (ret == 0 && next < count && (ret = claims_next(claims, key, &len, &claim)) > 0) {
		int order = 1;
		ret = 0;
		while (next < count &&
		        (order = claims_key_compare(probes[next].key, probes[next].len, key, len)) < 0)
			next++;
		for (; next < count && order == 0; next++) {
			probe_claim(&probes[next], &claim);
			if (next + 1 < count)
				order = claims_key_compare(
				        probes[next + 1].key, probes[next + 1].len, key, len);
		}
	}
	return ret < 0 ? ret : 0;
}

/* Returns as judge(). */
static int canaries_pass(const struct canary *canaries, size_t count, char why[LISTS_WHY_MAX])
{
	char text[NAME_TEXT_MAX];

	for (size_t i = 0; i < count; i++) {
		bool listed = (canaries[i].claimed & ~canaries[i].excepted) != 0;
		if (listed == canaries[i].must_block)
			continue;
		name_to_text(canaries[i].name, text);
		snprintf(why, LISTS_WHY_MAX,
		        listed ? "lists %.300s, which must pass" : "does not list %.300s", text);
		return 0;
	}
	return 1;
}

static int judge_canaries(
        const struct judge_rules *rules, const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	const struct source *source = judged->source;
	size_t room = source->must_block_count + source->must_pass_count + rules->must_pass_count, probes = 0;

	if (room == 0)
		return 1;
	struct canary *canaries = calloc(room, sizeof *canaries);
	if (canaries == NULL)
		return -ENOMEM;
	size_t count = canary_add(canaries, 0, source->must_block, source->must_block_count, true);
	count = canary_add(canaries, count, source->must_pass, source->must_pass_count, false);
	count = canary_add(canaries, count, rules->must_pass, rules->must_pass_count, false);
	struct probe *probe = probes_new(canaries, count, &probes);
	int ret = probe == NULL ? -ENOMEM : probes_run(probe, probes, judged->content->claims);
	if (ret == 0)
		ret = canaries_pass(canaries, count, why);
	free(probe);
	free(canaries);
	return ret;
}

int judge(const struct judge_rules *rules, const struct judge_case *judged, char why[LISTS_WHY_MAX])
{
	why[0] = '\0';
	if (names_own(judged, why) || names_protected(judged, why) || empties_sealed(rules, judged, why) ||
	        shrinks(rules, judged, why) || grows(judged, why))
		return 0;
	return judge_canaries(rules, judged, why);
}
