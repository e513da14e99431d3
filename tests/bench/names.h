/* Names for benchmarks: the same for the same number on every machine, in form and length like those of real
 * lists. */
#ifndef USHER_BENCH_NAMES_H
#define USHER_BENCH_NAMES_H

#include <stdint.h>

#define NAMES_TEXT_MAX 80

/* Writes name number i to text and returns it. All are different. */
const char *names_text(uint64_t i, char text[NAMES_TEXT_MAX]);

#endif
