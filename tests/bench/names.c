#include "names.h"

#include <stdio.h>
#include <xxhash.h>

#define SEED 2

const char *names_text(uint64_t i, char text[NAMES_TEXT_MAX])
{
	static const char *const tlds[] = { "com", "com", "com", "net", "org", "ru", "de", "info", "xyz",
		"co.uk", "fr" };
	uint64_t hash = XXH3_64bits_withSeed(&i, sizeof i, SEED);
	unsigned len = 4 + (unsigned)(hash % 9);
	char label[16];

	/* A pronounceable beginning, then the number, so that no two are the same. */
	for (unsigned k = 0; k < len; k++)
		label[k] = (char)('a' + (hash >> (k * 5)) % 26);
	label[len] = '\0';
	snprintf(text, NAMES_TEXT_MAX, "%s%s%llx.%s", hash >> 60 == 0 ? "www." : "", label,
	        (unsigned long long)i, tlds[(hash >> 32) % (sizeof tlds / sizeof tlds[0])]);
	return text;
}
