/* A list's text, in the format that the first octet chooses, in two pieces. */
#include <stdlib.h>
#include <string.h>

#include "blocklists/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A name that was taken is one that may be stored: it goes to a key and back. */
static void taken(void *arg, const struct name *name, unsigned scope, bool exception)
{
	uint8_t key[NAME_KEY_MAX];
	struct name back;

	(void)arg;
	(void)exception;
	size_t len = name_to_key(name, key);
	if (scope == 0 || scope > (PARSE_AT | PARSE_BELOW) || name->labels < 2 ||
	        name_from_key(&back, key, len) < 0 || !name_equal(name, &back))
		abort();
}

static void skipped(void *arg, enum parse_reason reason, uint64_t line)
{
	(void)arg;
	if (reason >= PARSE_REASON_COUNT || line == 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct parse_sink sink = { NULL, taken, skipped };

	if (size == 0)
		return 0;
	struct parser *parser = parser_new((enum parse_format)(data[0] % PARSE_FORMAT_COUNT), &sink);
	const char *text = (const char *)data + 1;
	size_t len = size - 1, half = len / 2;
	if (parser_feed(parser, text, half) == 0 && parser_feed(parser, text + half, len - half) == 0)
		parser_end(parser);
	parser_free(parser);
	return 0;
}
