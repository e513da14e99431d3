/*
 * The automaton is complete: every state has a next one for every octet, so that a scan never steps back.
 * Octets that are in no word share one class, which keeps a state's row as short as the words' alphabet.
 *
 * States are numbered in the order in which they were made, the root is 0. A state's words are those that end
 * there; those that end there as well but are shorter are found by `shorter`.
 */
#include "keywords.h"

#include <stdlib.h>
#include <string.h>

struct word {
	uint32_t keyword; /* index in config->keywords */
	uint32_t next;    /* another word that ends in this state: index + 1, or 0 */
	uint8_t len;
	bool starts, ends; /* nothing goes on there */
};

struct keywords {
	const struct config_keyword *rows;
	struct word *words;
	size_t word_count;
	uint8_t class_of[256]; /* 0: in no word */
	unsigned class_count;
	uint32_t *next;    /* next[state * class_count + class] */
	uint32_t *first;   /* of the words that end here: index + 1, or 0 */
	uint32_t *shorter; /* the state of the longest proper suffix in which words end, or 0 */
	uint32_t state_count;
};

/* A match, given to the caller's function; false ends the scan. */
typedef bool keyword_found(void *arg, const struct config_keyword *keyword);

/* The word without its stars; returns its length. */
static size_t keywords_word(const struct config_keyword *keyword, const char **word)
{
	size_t len = strlen(keyword->match);

	*word = keyword->match;
	if (len > 0 && keyword->match[0] == '*') {
		++*word;
		len--;
	}
	if (len > 0 && (*word)[len - 1] == '*')
		len--;
	return len;
}

/* ---- making ---- */

static void classes_take(struct keywords *keywords, const char *word, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t *class = &keywords->class_of[(uint8_t)word[i]];
		if (*class == 0)
			*class = (uint8_t)keywords->class_count++;
	}
}

static void word_add(struct keywords *keywords, uint32_t index)
{
	struct word *word = &keywords->words[keywords->word_count++];
	const char *text;
	size_t len = keywords_word(&keywords->rows[index], &text);
	uint32_t state = 0;

	for (size_t i = 0; i < len; i++) {
		uint32_t *next =
		        &keywords->next[state * keywords->class_count + keywords->class_of[(uint8_t)text[i]]];
		if (*next == 0)
			*next = keywords->state_count++;
		state = *next;
	}
	*word = (struct word){
		.keyword = index,
		.next = keywords->first[state],
		.len = (uint8_t)len,
		.starts = keywords->rows[index].match[0] != '*',
		.ends = text[len] != '*',
	};
	keywords->first[state] = (uint32_t)keywords->word_count;
}

/*
 * Breadth first, so that the state of a suffix, which is shorter, is complete before it is needed. queue and
 * suffix have room for every state.
 */
static void complete(struct keywords *keywords, uint32_t *queue, uint32_t *suffix)
{
	uint32_t taken = 0, put = 0;

	queue[put++] = 0;
	while (taken < put) {
		uint32_t state = queue[taken++];
		uint32_t *row = &keywords->next[state * keywords->class_count];
		const uint32_t *fallback = &keywords->next[suffix[state] * keywords->class_count];
		for (unsigned class = 1; class < keywords->class_count; class ++) {
			uint32_t child = row[class];
			if (child == 0) {
				row[class] = state == 0 ? 0 : fallback[class];
				continue;
			}
			suffix[child] = state == 0 ? 0 : fallback[class];
			uint32_t of = suffix[child];
			keywords->shorter[child] = keywords->first[of] != 0 ? of : keywords->shorter[of];
			queue[put++] = child;
		}
	}
}

static bool tables_new(struct keywords *keywords, size_t states)
{
	keywords->next = calloc(states * keywords->class_count, sizeof *keywords->next);
	keywords->first = calloc(states, sizeof *keywords->first);
	keywords->shorter = calloc(states, sizeof *keywords->shorter);
	return keywords->next && keywords->first && keywords->shorter;
}

struct keywords *keywords_new(const struct config *config)
{
	struct keywords *keywords = calloc(1, sizeof *keywords);
	size_t states = 1;
	const char *word;

	if (keywords == NULL)
		return NULL;
	keywords->rows = config->keywords;
	keywords->class_count = 1;
	keywords->state_count = 1;
	for (size_t i = 0; i < config->keyword_count; i++) {
		size_t len = keywords_word(&config->keywords[i], &word);
		classes_take(keywords, word, len);
		states += len;
	}
	keywords->words = calloc(config->keyword_count + 1, sizeof *keywords->words);
	uint32_t *queue = calloc(states, sizeof *queue), *suffix = calloc(states, sizeof *suffix);
	bool done = keywords->words && queue && suffix && tables_new(keywords, states);
	if (done) {
		for (size_t i = 0; i < config->keyword_count; i++)
			word_add(keywords, (uint32_t)i);
		complete(keywords, queue, suffix);
	}
	free(queue);
	free(suffix);
	if (done)
		return keywords;
	keywords_free(keywords);
	return NULL;
}

void keywords_free(struct keywords *keywords)
{
	if (keywords == NULL)
		return;
	free(keywords->words);
	free(keywords->next);
	free(keywords->first);
	free(keywords->shorter);
	free(keywords);
}

/* ---- looking ---- */

/* Does what stands left of a place go on at the right of it? Letters go on letters and digits on digits;
 * octets above 127 are parts of letters. */
static bool goes_on(char left, char right)
{
	uint8_t a = (uint8_t)left, b = (uint8_t)right;
	bool letters = (a - 'a' < 26u || a >= 0x80) && (b - 'a' < 26u || b >= 0x80);

	return letters || (a - '0' < 10u && b - '0' < 10u);
}

/* end: behind its last octet. */
static bool word_stands(const struct word *word, const char *text, size_t len, size_t end)
{
	size_t begin = end - word->len;

	if (word->starts && begin > 0 && goes_on(text[begin - 1], text[begin]))
		return false;
	return !word->ends || end == len || !goes_on(text[end - 1], text[end]);
}

static bool words_of_state(const struct keywords *keywords, uint32_t state, const char *text, size_t len,
        size_t end, keyword_found *found, void *arg)
{
	for (; state != 0; state = keywords->shorter[state])
		for (uint32_t i = keywords->first[state]; i != 0; i = keywords->words[i - 1].next) {
			const struct word *word = &keywords->words[i - 1];
			if (word_stands(word, text, len, end) && !found(arg, &keywords->rows[word->keyword]))
				return false;
		}
	return true;
}

static void scan(
        const struct keywords *keywords, const char *text, size_t len, keyword_found *found, void *arg)
{
	uint32_t state = 0;

	for (size_t i = 0; i < len; i++) {
		state = keywords->next[state * keywords->class_count + keywords->class_of[(uint8_t)text[i]]];
		if ((keywords->first[state] | keywords->shorter[state]) != 0 &&
		        !words_of_state(keywords, state, text, len, i + 1, found, arg))
			return;
	}
}

static bool note(void *arg, const struct config_keyword *keyword)
{
	struct keywords_found *found = arg;
	uint64_t bit = UINT64_C(1) << keyword->category;

	if (keyword->watch)
		found->watch |= bit;
	else
		found->block |= bit;
	return true;
}

bool keywords_any(const struct keywords *keywords)
{
	return keywords->word_count > 0;
}

void keywords_scan(
        const struct keywords *keywords, const char *text, size_t len, struct keywords_found *found)
{
	if (keywords->word_count > 0)
		scan(keywords, text, len, note, found);
}

struct wanted {
	unsigned category;
	bool watch;
	const struct config_keyword *keyword;
};

static bool is_wanted(void *arg, const struct config_keyword *keyword)
{
	struct wanted *wanted = arg;

	if ((unsigned)keyword->category != wanted->category || keyword->watch != wanted->watch)
		return true;
	wanted->keyword = keyword;
	return false;
}

const struct config_keyword *keywords_explain(
        const struct keywords *keywords, const char *text, size_t len, unsigned category, bool watch)
{
	struct wanted wanted = { .category = category, .watch = watch };

	if (keywords->word_count > 0)
		scan(keywords, text, len, is_wanted, &wanted);
	return wanted.keyword;
}
