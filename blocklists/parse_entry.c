#include "parse_line.h"

#include <errno.h>
#include <libpsl.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

void parse_count(struct parse_reading *reading, int outcome)
{
	if (outcome != PARSE_DONE)
		reading->sink.skipped(reading->sink.arg, (enum parse_reason)outcome, reading->line);
}

static pthread_once_t suffixes_once = PTHREAD_ONCE_INIT;
static psl_ctx_t *suffixes;

static void suffixes_load(void)
{
	suffixes = psl_latest(NULL);
}

enum suffix {
	SUFFIX_NONE,
	SUFFIX_SHARED, /* a company's, "github.io": its names have many owners */
	SUFFIX_PUBLIC  /* a top-level domain or registry, "com", "co.uk": no list may take it */
};

/* The longest suffixes have four labels or few more that matter. */
static enum suffix suffix_of(const struct name *name)
{
	char text[NAME_TEXT_MAX];

	if (name->labels <= 1)
		return SUFFIX_PUBLIC;
	if (name->labels > 4)
		return SUFFIX_NONE;
	pthread_once(&suffixes_once, suffixes_load);
	if (suffixes == NULL)
		return SUFFIX_NONE;
	name_to_text(name, text);
	if (psl_is_public_suffix2(suffixes, text, PSL_TYPE_ANY | PSL_TYPE_NO_STAR_RULE) == 0)
		return SUFFIX_NONE;
	return psl_is_public_suffix2(suffixes, text, PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) != 0
	               ? SUFFIX_PUBLIC
	               : SUFFIX_SHARED;
}

bool parse_is_registry(const struct name *name)
{
	char text[NAME_TEXT_MAX];

	pthread_once(&suffixes_once, suffixes_load);
	if (name->labels == 0 || suffixes == NULL)
		return name->labels == 0;
	name_to_text(name, text);
	return psl_is_public_suffix2(suffixes, text, PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) != 0;
}

/* The name as libpsl takes it: what is no letter or digit, dots in labels too, is a hyphen. */
static void plain_text(const struct name *name, char text[NAME_WIRE_MAX + 1])
{
	size_t len = 0;

	for (unsigned i = 0; i < name->labels; i++) {
		const uint8_t *label = name->wire + name->offset[i];
		if (i > 0)
			text[len++] = '.';
		for (unsigned k = 1; k <= label[0]; k++)
			text[len++] = label[k] - 'a' < 26u || label[k] - '0' < 10u ? (char)label[k] : '-';
	}
	text[len] = '\0';
}

unsigned parse_zone_labels(const struct name *name)
{
	static const uint8_t arpa[] = "\4arpa";
	char text[NAME_WIRE_MAX + 1];
	unsigned labels = 1;

	pthread_once(&suffixes_once, suffixes_load);
	if (name->labels < 2 || memcmp(name->wire + name->offset[name->labels - 1], arpa, sizeof arpa) == 0)
		return 0;
	if (suffixes == NULL)
		return 2;
	plain_text(name, text);
	const char *zone = psl_registrable_domain(suffixes, text);
	if (zone == NULL)
		return 0;
	for (; *zone != '\0'; zone++)
		labels += *zone == '.';
	return labels;
}

bool parse_is_local(struct text text)
{
	static const char *const names[] = { "localhost", "localhost.localdomain", "local", "broadcasthost",
		"localhost4", "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback",
		"ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts",
		"0.0.0.0" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (text_is(text, names[i]))
			return true;
	return false;
}

/* Letters, digits, hyphen, underscore and dots; beyond ASCII libidn2 judges. */
static bool is_name_text(struct text text, bool *bad_octet)
{
	*bad_octet = false;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];
		bool fine = (c | 0x20) - 'a' < 26u || c - '0' < 10u || c == '-' || c == '_' || c == '.' ||
		            c >= 0x80;
		if (!fine) {
			*bad_octet = c < 0x20 || c == 0x7f;
			return false;
		}
	}
	return text.len > 0;
}

static bool last_label_is_number(const struct name *name)
{
	const uint8_t *label = name->wire + name->offset[name->labels - 1];

	for (unsigned i = 1; i <= label[0]; i++)
		if (label[i] - '0' >= 10u)
			return false;
	return true;
}

/* A top-level domain begins with a letter, RFC 1123 2.1; "xn--…" does. */
static bool last_label_is_word(const struct name *name)
{
	return name->wire[name->offset[name->labels - 1] + 1] - 'a' < 26u;
}

int parse_take(struct parse_reading *reading, struct text text, unsigned scope, bool exception)
{
	struct name name;
	bool bad_octet;

	if (parse_is_local(text))
		return PARSE_LOCAL;
	if (text_is_address(text) || (text.len > 0 && text.at[0] == '['))
		return PARSE_ADDRESS;
	if (!is_name_text(text, &bad_octet))
		return bad_octet ? PARSE_BAD_OCTETS : PARSE_BAD_NAME;
	int ret = name_from_user_text(&name, text.at, text.len);
	if (ret == -ENAMETOOLONG)
		return PARSE_TOO_LONG;
	if (ret == -EILSEQ)
		return PARSE_BAD_TEXT;
	if (ret < 0 || name.labels == 0)
		return PARSE_BAD_NAME;
	if (last_label_is_number(&name))
		return PARSE_ADDRESS;
	if (!last_label_is_word(&name))
		return PARSE_BAD_NAME;
	enum suffix suffix = suffix_of(&name);
	if (suffix == SUFFIX_PUBLIC)
		return PARSE_SUFFIX;
	if (suffix == SUFFIX_SHARED)
		scope |= PARSE_SHARED;
	reading->sink.taken(reading->sink.arg, &name, scope, exception);
	return PARSE_DONE;
}

int parse_take_name(struct parse_reading *reading, struct text text)
{
	return parse_take(reading, text, PARSE_AT | PARSE_BELOW, false);
}
