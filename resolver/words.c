#include "words.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 1000
#define OTHER "other"

struct word {
	struct word *next;
	char text[];
};

const char *words_keep(struct words *words, const char *text)
{
	struct word *word;

	if (!text)
		return NULL;
	if (words->last && strcmp(words->last->text, text) == 0)
		return words->last->text;
	for (word = words->first; word; word = word->next)
		if (strcmp(word->text, text) == 0) {
			words->last = word;
			return word->text;
		}
	if (words->count >= WORDS_MAX && strcmp(text, OTHER) != 0)
		return words_keep(words, OTHER);
	word = malloc(sizeof *word + strlen(text) + 1);
	if (!word)
		return NULL;
	strcpy(word->text, text);
	word->next = words->first;
	words->first = words->last = word;
	words->count++;
	return word->text;
}

void words_clear(struct words *words)
{
	struct word *next;

	for (struct word *word = words->first; word; word = next) {
		next = word->next;
		free(word);
	}
	*words = (struct words){ 0 };
}
