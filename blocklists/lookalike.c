#include "lookalike.h"

#include <stdint.h>
#include <string.h>

#define BAD_UTF8 UINT32_MAX

/* The alphabets that look alike, as bits; all other scripts are 0. */
enum alphabet { LATIN = 1, GREEK = 2, CYRILLIC = 4, ARMENIAN = 8, CHEROKEE = 16 };

static const struct script_range {
	uint32_t first, last;
	enum alphabet alphabet;
} ranges[] = {
	{ 'A', 'Z', LATIN },
	{ 'a', 'z', LATIN },
	{ 0xaa, 0xaa, LATIN },
	{ 0xba, 0xba, LATIN },
	{ 0xc0, 0x2b8, LATIN },
	{ 0x370, 0x3e1, GREEK }, /* 3e2 to 3ef are Coptic */
	{ 0x3f0, 0x3ff, GREEK },
	{ 0x400, 0x52f, CYRILLIC },
	{ 0x531, 0x58f, ARMENIAN },
	{ 0x13a0, 0x13fd, CHEROKEE },
	{ 0x1c80, 0x1c8f, CYRILLIC },
	{ 0x1d00, 0x1d25, LATIN },
	{ 0x1e00, 0x1eff, LATIN },
	{ 0x1f00, 0x1fff, GREEK },
	{ 0x2c60, 0x2c7f, LATIN },
	{ 0x2de0, 0x2dff, CYRILLIC },
	{ 0xa640, 0xa69f, CYRILLIC },
	{ 0xa722, 0xa7ff, LATIN },
	{ 0xab70, 0xabbf, CHEROKEE },
};

/* Plain letters of Latin ones, by code point; a space: none that it could be taken for. */
static const char latin_c0[] =
        "aaaaaa ceeeeiiii nooooo  uuuuy  aaaaaa ceeeeiiiidnooooo ouuuuypyaaaaaaccccccccdd deeeeeeeeeegggg"
        "gggghh hiiiiiiiiii  jjkkkllllll   lnnnnnn  noooooo  rrrrrrsssssssstttt tuuuuuuuuuuuuwwyyyzzzzzzs"
        "b  b b  c   d     f      kl   n oo   p     t t uu   y z         l            aaiioouuuuuuuuuu aa"
        "aa   gggkkoooo  j   gg  nnaa    aaaaeeeeiiiioooorrrruuuusstt  hh d   zaaeeooooooooyylntj    c  s"
        "z      e j q r y";
static const char latin_250[] =
        " a bc  d   e    ggg   h iiil   w mn no      r r r s     tu v   yz        b  h  l";
static const char latin_1e00[] =
        "aabbbbbbccddddddddddeeeeeeeeeeffgghhhhhhhhhhiiiikkkkkkllllllllmmmmmmnnnnnnnnoooooooopppprrrrrrrr"
        "ssssssssssttttttttuuuuuuuuuuvvvvwwwwwwwwwwxxxxyyzzzzzzhtwy   s daaaaaaaaaaaaaaaaaaaaaaaaeeeeeeee"
        "eeeeeeeeiiiioooooooooooooooooooooooouuuuuuuuuuuuuuyyyyyyyy   v y";

/* clang-format off */
/* Letters of the other alphabets that pass for a Latin one in some font. */
static const struct twin {
	uint16_t letter;
	char latin;
} twins[] = {
	/* Greek */
	{ 0x3ac, 'a' }, { 0x3ad, 'e' }, { 0x3ae, 'n' }, { 0x3af, 'i' }, { 0x3b1, 'a' }, { 0x3b2, 'b' }, { 0x3b3, 'y' }, { 0x3b5, 'e' },
	{ 0x3b7, 'n' }, { 0x3b9, 'i' }, { 0x3ba, 'k' }, { 0x3bc, 'u' }, { 0x3bd, 'v' }, { 0x3bf, 'o' }, { 0x3c1, 'p' }, { 0x3c3, 'o' },
	{ 0x3c4, 't' }, { 0x3c5, 'u' }, { 0x3c7, 'x' }, { 0x3c9, 'w' }, { 0x3ca, 'i' }, { 0x3cc, 'o' }, { 0x3cd, 'u' }, { 0x3ce, 'w' },
	{ 0x3f2, 'c' }, { 0x3f3, 'j' },
	/* Cyrillic */
	{ 0x430, 'a' }, { 0x431, '6' }, { 0x432, 'b' }, { 0x433, 'r' }, { 0x435, 'e' }, { 0x437, '3' }, { 0x438, 'u' }, { 0x43a, 'k' },
	{ 0x43c, 'm' }, { 0x43d, 'h' }, { 0x43e, 'o' }, { 0x43f, 'n' }, { 0x440, 'p' }, { 0x441, 'c' }, { 0x442, 't' }, { 0x443, 'y' },
	{ 0x445, 'x' }, { 0x448, 'w' }, { 0x44c, 'b' }, { 0x450, 'e' }, { 0x451, 'e' }, { 0x454, 'e' }, { 0x455, 's' }, { 0x456, 'i' },
	{ 0x457, 'i' }, { 0x458, 'j' }, { 0x45b, 'h' }, { 0x45e, 'y' }, { 0x461, 'w' }, { 0x475, 'v' }, { 0x4bb, 'h' }, { 0x4cf, 'l' },
	{ 0x4d1, 'a' }, { 0x4d3, 'a' }, { 0x4d7, 'e' }, { 0x501, 'd' }, { 0x51b, 'q' }, { 0x51d, 'w' },
	/* Armenian */
	{ 0x563, 'q' }, { 0x566, 'q' }, { 0x570, 'h' }, { 0x575, 'j' }, { 0x578, 'n' }, { 0x57c, 'n' }, { 0x57d, 'u' }, { 0x581, 'g' },
	{ 0x584, 'p' }, { 0x585, 'o' },
	/* Cherokee's small letters */
	{ 0xab8e, 'g' }, { 0xab9f, 'l' }, { 0xaba9, 'v' }, { 0xabaa, 's' }, { 0xabb7, 'd' },
};
/* clang-format on */

/* The next code point of text at *at, or BAD_UTF8. */
static uint32_t read_utf8(const char *text, size_t len, size_t *at)
{
	uint8_t c = (uint8_t)text[(*at)++];
	unsigned more = c < 0x80 ? 0 : c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
	uint32_t code = more == 0 ? c : c & (0x3fu >> more);

	if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || *at + more > len)
		return BAD_UTF8;
	for (; more > 0; more--) {
		c = (uint8_t)text[(*at)++];
		if ((c & 0xc0) != 0x80)
			return BAD_UTF8;
		code = code << 6 | (c & 0x3f);
	}
	return code;
}

static unsigned alphabet_of(uint32_t code)
{
	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (code >= ranges[i].first && code <= ranges[i].last)
			return ranges[i].alphabet;
	return 0;
}

bool lookalike_mixes_scripts(const char *text, size_t len)
{
	unsigned seen = 0;

	for (size_t at = 0; at < len;) {
		uint32_t code = read_utf8(text, len, &at);
		if (code == BAD_UTF8)
			return false;
		seen = code == '.' ? 0 : seen | alphabet_of(code);
		if ((seen & (seen - 1)) != 0)
			return true;
	}
	return false;
}

bool lookalike_is_latin(const char *text, size_t len)
{
	for (size_t at = 0; at < len;) {
		uint32_t code = read_utf8(text, len, &at);
		if (code == BAD_UTF8 || (alphabet_of(code) & ~(unsigned)LATIN) != 0)
			return false;
	}
	return true;
}

static char latin_base(const char *table, size_t size, uint32_t first, uint32_t code)
{
	return code >= first && code - first < size - 1 && table[code - first] != ' ' ? table[code - first]
	                                                                              : '\0';
}

/* The Latin letter that this one passes for, or 0. */
static char twin_of(uint32_t code)
{
	if (code < 0x80)
		return (char)code;
	for (size_t i = 0; i < sizeof twins / sizeof *twins; i++)
		if (twins[i].letter == code)
			return twins[i].latin;
	if (code >= 0x1e00)
		return latin_base(latin_1e00, sizeof latin_1e00, 0x1e00, code);
	if (code >= 0x250)
		return latin_base(latin_250, sizeof latin_250, 0x250, code);
	return latin_base(latin_c0, sizeof latin_c0, 0xc0, code);
}

bool lookalike_twin(const char *text, size_t len, struct name *twin)
{
	char latin[NAME_WIRE_MAX];
	size_t out = 0;
	bool changed = false;

	for (size_t at = 0; at < len;) {
		uint32_t code = read_utf8(text, len, &at);
		char letter = code == BAD_UTF8 ? '\0' : twin_of(code);
		if (letter == '\0' || out == sizeof latin)
			return false;
		changed |= code >= 0x80;
		latin[out++] = letter;
	}
	return changed && name_from_text(twin, latin, out) == 0;
}
