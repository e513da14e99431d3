/* The known word that is nearest to one that a person mistyped: try all, then best is it, or NULL. */
#ifndef USHER_NEAREST_H
#define USHER_NEAREST_H

struct nearest {
	const char *word, *best;
	unsigned distance; /* of best: single mistakes */
};
void nearest_try(struct nearest *nearest, const char *candidate);

#endif
