#include "nearest.h"

#include <stddef.h>
#include <string.h>

#define WORD_MAX 64

/* Letters left out, put in, changed, or two in the wrong order, in rows of its first i letters to all of b.
 */
static unsigned word_distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > WORD_MAX || b_len > WORD_MAX)
		return WORD_MAX;
	for (unsigned k = 0; k <= b_len; k++)
		rows[0][k] = k;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
		row[0] = i;
		for (unsigned k = 1; k <= b_len; k++) {
			unsigned least = above[k - 1] + (a[i - 1] != b[k - 1]);
			least = above[k] + 1 < least ? above[k] + 1 : least;
			least = row[k - 1] + 1 < least ? row[k - 1] + 1 : least;
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
			        second[k - 2] + 1 < least)
				least = second[k - 2] + 1;
			row[k] = least;
		}
	}
	return rows[a_len % 3][b_len];
}

void nearest_try(struct nearest *nearest, const char *candidate)
{
	unsigned distance = word_distance(nearest->word, candidate);
	size_t len = strlen(candidate);

	if (distance > (len < 4          ? 1
	                       : len < 8 ? 2
	                                 : 3) ||
	        (nearest->best != NULL && distance >= nearest->distance))
		return;
	nearest->best = candidate;
	nearest->distance = distance;
}
