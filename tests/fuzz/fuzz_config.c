/* A configuration's text. What is understood must print, and read back to the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct config *config, size_t *len)
{
	char *text;
	FILE *to = open_memstream(&text, len);

	if (to == NULL)
		abort();
	config_print(config, to);
	fclose(to);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *one, *two;
	char why[CONFIG_WHY_MAX];
	size_t first_len, second_len;

	/* Files are no part of the input. */
	if (size > 0 && memmem(data, size, "include", 7) != NULL)
		return 0;
	if (config_parse(&one, (const char *)data, size, "fuzz", why) < 0)
		return 0;
	char *first = print(one, &first_len);
	if (config_parse(&two, first, first_len, "printed", why) < 0) {
		fprintf(stderr, "%s\n%s\n", why, first);
		abort();
	}
	char *second = print(two, &second_len);
	if (first_len != second_len || memcmp(first, second, first_len) != 0)
		abort();
	free(first);
	free(second);
	config_free(one);
	config_free(two);
	return 0;
}
