#include "parse_text.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

bool text_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

struct text text_trim(struct text text)
{
	while (text.len > 0 && text_is_space(text.at[0]))
		text = (struct text){ text.at + 1, text.len - 1 };
	while (text.len > 0 && text_is_space(text.at[text.len - 1]))
		text.len--;
	return text;
}

bool text_is(struct text text, const char *word)
{
	return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

bool text_begins(struct text text, const char *word)
{
	size_t len = strlen(word);

	return text.len >= len && strncasecmp(text.at, word, len) == 0;
}

bool text_ends(struct text text, const char *word)
{
	size_t len = strlen(word);

	return text.len >= len && strncasecmp(text.at + text.len - len, word, len) == 0;
}

struct text text_skip(struct text text, size_t len)
{
	return (struct text){ text.at + len, text.len - len };
}

struct text text_until(struct text text, const char *characters)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] != '\0' && strchr(characters, text.at[i]) != NULL)
			return (struct text){ text.at, i };
	return text;
}

struct text text_word(struct text *rest)
{
	*rest = text_trim(*rest);
	size_t len = 0;
	while (len < rest->len && !text_is_space(rest->at[len]))
		len++;
	struct text word = { rest->at, len };
	*rest = text_skip(*rest, len);
	return word;
}

struct text text_without(struct text text, const char *begin, const char *end)
{
	if (text_begins(text, begin))
		text = text_skip(text, strlen(begin));
	if (text_ends(text, end))
		text.len -= strlen(end);
	return text;
}

bool text_to_c(struct text text, char *to, size_t size)
{
	if (text.len >= size)
		return false;
	memcpy(to, text.at, text.len);
	to[text.len] = '\0';
	return true;
}

bool text_is_address(struct text text)
{
	char address[64];
	uint8_t binary[16];

	if (!text_to_c(text_until(text, "%"), address, sizeof address))
		return false;
	return inet_pton(AF_INET, address, binary) == 1 || inet_pton(AF_INET6, address, binary) == 1;
}

bool text_is_sink(struct text text)
{
	char address[64];
	uint8_t v4[4], v6[16];
	static const uint8_t zero[15];

	if (!text_to_c(text, address, sizeof address))
		return false;
	if (inet_pton(AF_INET, address, v4) == 1)
		return v4[0] == 127 || memcmp(v4, zero, sizeof v4) == 0;
	return inet_pton(AF_INET6, address, v6) == 1 && memcmp(v6, zero, 15) == 0 && v6[15] <= 1;
}
