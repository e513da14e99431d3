#include "parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libpsl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * What lines mean. x is taken as a name with all below it unless said otherwise; IDNs become A-labels, a
 * trailing dot and upper case go, # (and in some formats ! or ;) begins a comment.
 *
 *   hosts      0.0.0.0 x y z         taken, for the addresses 0.0.0.0, 127/8, :: and ::1; any other address
 * is a rule we cannot honour 127.0.0.1 localhost   the machine's own names are ignored domains    x, .x, *.x
 * taken; x/ and http://x/ too, x/path is not wildcard   *.x, x                taken adblock    ||x^ taken;
 * ||*.x^ what lies below; @@||x^ exception; $important honoured, other modifiers, cosmetic rules, patterns
 * and regular expressions are rules we cannot honour dnsmasq    address=/x/y/ server=/x/ local=/x/   taken,
 * where they end in nothing, # or an address as in hosts server=/x/#           exception: asks the usual
 * servers unbound    local-zone: "x" T     taken for T that denies or redirects; always_transparent is an
 * exception local-data: "x A y"   the name alone, for addresses as in hosts rpz        x CNAME . (or *. or
 * rpz-drop. or another name), x A y   the name alone
 *              *.x …                 what lies below
 *              x CNAME rpz-passthru. exception
 *              x.rpz-ip, rpz-client-ip, rpz-nsdname, rpz-nsip          rules we cannot honour
 */

#define HEAD_MAX (64 * 1024) /* what is looked at before anything is read */
#define BINARY_PERCENT 10

struct text {
	const char *at;
	size_t len;
};

struct parser {
	struct parse_sink sink;
	enum parse_format format;
	const char *why;
	uint64_t line;
	char head[HEAD_MAX];
	size_t head_len;
	bool reading;              /* the head was looked at, lines are being read */
	char held[PARSE_LINE_MAX]; /* the begun line that the next piece continues */
	size_t held_len;
	bool skipping;      /* inside a line that is too long */
	struct text origin; /* RPZ: without dots at its ends; in origin_text */
	char origin_text[NAME_TEXT_MAX];
	char owner_text[NAME_TEXT_MAX]; /* RPZ: of the last record, for lines that begin with a space */
	unsigned parentheses;           /* RPZ: depth */
};

static const char *const reason_keys[] = {
#define X(name, key, words) key,
	PARSE_REASONS(X)
#undef X
};
static const char *const reason_words[] = {
#define X(name, key, words) words,
	PARSE_REASONS(X)
#undef X
};

const char *parse_reason_key(enum parse_reason reason)
{
	return reason_keys[reason];
}

const char *parse_reason_words(enum parse_reason reason)
{
	return reason_words[reason];
}

/* ---- words of a line ---- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static struct text text_trim(struct text text)
{
	while (text.len > 0 && is_space(text.at[0]))
		text = (struct text){ text.at + 1, text.len - 1 };
	while (text.len > 0 && is_space(text.at[text.len - 1]))
		text.len--;
	return text;
}

static bool text_is(struct text text, const char *word)
{
	return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

static bool text_begins(struct text text, const char *word)
{
	size_t len = strlen(word);

	return text.len >= len && strncasecmp(text.at, word, len) == 0;
}

static bool text_ends(struct text text, const char *word)
{
	size_t len = strlen(word);

	return text.len >= len && strncasecmp(text.at + text.len - len, word, len) == 0;
}

static struct text text_skip(struct text text, size_t len)
{
	return (struct text){ text.at + len, text.len - len };
}

/* Up to the first of the characters, all of it if there is none. */
static struct text text_until(struct text text, const char *characters)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] != '\0' && strchr(characters, text.at[i]) != NULL)
			return (struct text){ text.at, i };
	return text;
}

/* Takes the first word off. Returns it, empty at the end. */
static struct text text_word(struct text *rest)
{
	*rest = text_trim(*rest);
	size_t len = 0;
	while (len < rest->len && !is_space(rest->at[len]))
		len++;
	struct text word = { rest->at, len };
	*rest = text_skip(*rest, len);
	return word;
}

static struct text text_without(struct text text, const char *begin, const char *end)
{
	if (text_begins(text, begin))
		text = text_skip(text, strlen(begin));
	if (text_ends(text, end))
		text.len -= strlen(end);
	return text;
}

static bool text_to_c(struct text text, char *to, size_t size)
{
	if (text.len >= size)
		return false;
	memcpy(to, text.at, text.len);
	to[text.len] = '\0';
	return true;
}

static bool is_address(struct text text)
{
	char address[64];
	uint8_t binary[16];

	if (!text_to_c(text_until(text, "%"), address, sizeof address))
		return false;
	return inet_pton(AF_INET, address, binary) == 1 || inet_pton(AF_INET6, address, binary) == 1;
}

/* An address that block lists use for "nowhere". */
static bool is_sink(struct text text)
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

/* ---- entries ---- */

/* What reading a line or an entry returns: DONE, or the parse_reason why it was not taken. */
#define DONE (-1)

static void count(struct parser *parser, int outcome)
{
	if (outcome != DONE)
		parser->sink.skipped(parser->sink.arg, (enum parse_reason)outcome, parser->line);
}

static pthread_once_t suffixes_once = PTHREAD_ONCE_INIT;
static psl_ctx_t *suffixes;

static void suffixes_load(void)
{
	suffixes = psl_latest(NULL);
}

/* No list may take a whole top-level domain or registry: "com", "co.uk". ICANN's longest suffixes have four
 * labels. */
static bool is_public_suffix(const struct name *name)
{
	char text[NAME_TEXT_MAX];

	if (name->labels <= 1)
		return true;
	if (name->labels > 4)
		return false;
	pthread_once(&suffixes_once, suffixes_load);
	if (suffixes == NULL)
		return false;
	name_to_text(name, text);
	return psl_is_public_suffix2(suffixes, text, PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) != 0;
}

/* The names that hosts files give to the machine itself. */
static bool is_local(struct text text)
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

/* Turns text into an entry. Returns DONE or why not. */
static int take(struct parser *parser, struct text text, unsigned scope, bool exception)
{
	struct name name;
	bool bad_octet;

	if (is_local(text))
		return PARSE_LOCAL;
	if (is_address(text) || (text.len > 0 && text.at[0] == '['))
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
	if (is_public_suffix(&name))
		return PARSE_SUFFIX;
	parser->sink.taken(parser->sink.arg, &name, scope, exception);
	return DONE;
}

static int take_name(struct parser *parser, struct text text)
{
	return take(parser, text, PARSE_AT | PARSE_BELOW, false);
}

/* ---- formats, one function a line ---- */

/* x, .x, *.x, x/ or http://x/ */
static int take_host(struct parser *parser, struct text word)
{
	word = text_without(word, "http://", "");
	word = text_without(word, "https://", "");
	struct text host = text_until(word, "/:?");
	if (host.len + 1 < word.len || (host.len < word.len && word.at[host.len] != '/')) {
		if (is_address(word))
			return PARSE_ADDRESS;
		return PARSE_PATH;
	}
	host = text_without(host, "*", "");
	host = text_without(host, host.len > 1 ? "." : "", "");
	return take_name(parser, host);
}

static int read_domains(struct parser *parser, struct text line)
{
	struct text rest = text_until(line, "#");
	struct text word = text_word(&rest);

	if (word.len == 0)
		return DONE;
	if (text_trim(rest).len > 0)
		return PARSE_BAD_NAME;
	return take_host(parser, word);
}

static int read_hosts(struct parser *parser, struct text line)
{
	struct text rest = text_until(line, "#");
	struct text word = text_word(&rest);
	bool sink = is_sink(word);

	if (word.len == 0)
		return DONE;
	if (!is_address(word))
		return read_domains(parser, line);
	word = text_word(&rest);
	if (word.len == 0)
		return PARSE_ADDRESS;
	for (; word.len > 0; word = text_word(&rest))
		count(parser, sink || is_local(word) ? take_name(parser, word) : PARSE_RULE);
	return DONE;
}

static int read_adblock(struct parser *parser, struct text line)
{
	if (line.at[0] == '!' || line.at[0] == '[')
		return DONE;
	struct text first = line;
	if (line.at[0] == '#' && !text_begins(line, "##") && !text_begins(line, "#@") &&
	        !text_begins(line, "#?"))
		return DONE;
	if (is_address(text_word(&first)))
		return read_hosts(parser, line);
	bool exception = text_begins(line, "@@");
	if (exception)
		line = text_skip(line, 2);
	if (!text_begins(line, "||"))
		return PARSE_RULE;
	line = text_skip(line, 2);
	struct text host = text_until(line, "^/$|");
	struct text rest = text_skip(line, host.len);
	if (text_begins(rest, "/"))
		return PARSE_PATH;
	if (!text_begins(rest, "^"))
		return PARSE_RULE;
	rest = text_without(text_skip(rest, 1), "|", "");
	if (rest.len > 0 && !text_is(rest, "$important"))
		return PARSE_RULE;
	if (text_begins(host, "*."))
		return take(parser, text_skip(host, 2), PARSE_BELOW, exception);
	if (memchr(host.at, '*', host.len) != NULL)
		return PARSE_RULE;
	return take(parser, host, PARSE_AT | PARSE_BELOW, exception);
}

static int read_dnsmasq(struct parser *parser, struct text line)
{
	if (line.at[0] == '#')
		return DONE;
	struct text key = text_until(line, "=");
	bool is_server = text_is(text_trim(key), "server") || text_is(text_trim(key), "local");
	if ((!is_server && !text_is(text_trim(key), "address")) || key.len == line.len)
		return PARSE_RULE;
	struct text value = text_trim(text_skip(line, key.len + 1));
	size_t last = value.len;
	while (last > 0 && value.at[last - 1] != '/')
		last--;
	struct text target = text_trim(text_until(text_skip(value, last), " "));
	if (last < 3 || value.at[0] != '/')
		return PARSE_RULE;

	bool exception = is_server && text_is(target, "#");
	bool nowhere = target.len == 0 || (!is_server && (text_is(target, "#") || is_sink(target)));
	struct text names = { value.at + 1, last - 2 };
	for (size_t at = 0; at <= names.len;) {
		struct text name = text_until(text_skip(names, at), "/");
		at += name.len + 1;
		bool honoured = (nowhere || exception) && !text_is(name, "#");
		name = text_without(name, name.len > 1 ? "." : "", "");
		count(parser, honoured ? take(parser, name, PARSE_AT | PARSE_BELOW, exception) : PARSE_RULE);
	}
	return DONE;
}

static bool text_is_one_of(struct text text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (text_is(text, *words))
			return true;
	return false;
}

static struct text text_unquoted(struct text text)
{
	return text_without(text_without(text, "\"", "\""), "'", "'");
}

static int read_unbound_data(struct parser *parser, struct text record)
{
	record = text_unquoted(text_trim(record));
	struct text name = text_word(&record), word = text_word(&record);

	while (word.len > 0 && (text_is(word, "IN") || word.at[0] - '0' < 10u))
		word = text_word(&record);
	if (!(text_is(word, "A") || text_is(word, "AAAA")) || !is_sink(text_word(&record)))
		return PARSE_RULE;
	return take(parser, text_without(name, "", "."), PARSE_AT, false);
}

static int read_unbound(struct parser *parser, struct text line)
{
	static const char *const denying[] = { "deny", "refuse", "static", "redirect", "inform_deny",
		"inform_redirect", "always_refuse", "always_nxdomain", "always_nodata", "always_deny",
		"always_null", NULL };

	line = text_trim(text_until(line, "#"));
	struct text key = text_until(line, ":");
	if (line.len == 0 || text_is(line, "server:"))
		return DONE;
	if (key.len == line.len)
		return PARSE_RULE;
	struct text value = text_skip(line, key.len + 1);
	if (text_is(key, "local-data"))
		return read_unbound_data(parser, value);
	if (!text_is(key, "local-zone"))
		return PARSE_RULE;
	struct text name = text_unquoted(text_word(&value));
	struct text type = text_unquoted(text_word(&value));
	bool exception = text_is(type, "always_transparent");
	if (!exception && !text_is_one_of(type, denying))
		return PARSE_RULE;
	return take(parser, name, PARSE_AT | PARSE_BELOW, exception);
}

/* An owner relative to the zone's origin. */
static struct text rpz_relative(const struct parser *parser, struct text owner)
{
	if (!text_ends(owner, "."))
		return owner;
	owner.len--;
	struct text origin = parser->origin;
	if (origin.len == 0 || owner.len < origin.len ||
	        strncasecmp(owner.at + owner.len - origin.len, origin.at, origin.len) != 0)
		return owner;
	size_t left = owner.len - origin.len;
	if (left == 0)
		return (struct text){ "@", 1 };
	if (owner.at[left - 1] == '.')
		owner.len = left - 1;
	return owner;
}

static void rpz_origin(struct parser *parser, struct text origin)
{
	origin = text_without(origin, "", ".");
	if (!text_to_c(origin, parser->origin_text, sizeof parser->origin_text))
		return;
	parser->origin = (struct text){ parser->origin_text, origin.len };
}

static bool rpz_is_other_trigger(struct text owner)
{
	return text_ends(owner, ".rpz-ip") || text_ends(owner, ".rpz-client-ip") ||
	       text_ends(owner, ".rpz-nsip") || text_ends(owner, ".rpz-nsdname");
}

/* One record of which the type is known. */
static int read_rpz_record(struct parser *parser, struct text owner, struct text type, struct text data)
{
	if (text_is(type, "SOA") && text_ends(owner, ".") && parser->origin.len == 0)
		rpz_origin(parser, owner);
	if (text_is(type, "SOA") || text_is(type, "NS"))
		return DONE;
	owner = rpz_relative(parser, owner);
	struct text target = text_word(&data);
	if (rpz_is_other_trigger(owner) || text_is(owner, "@"))
		return PARSE_RULE;
	if (!text_is(type, "CNAME") && !text_is(type, "A") && !text_is(type, "AAAA"))
		return PARSE_RULE;
	if (text_is(target, "rpz-tcp-only."))
		return PARSE_RULE;
	bool exception = text_is(target, "rpz-passthru.");
	if (text_begins(owner, "*."))
		return take(parser, text_skip(owner, 2), PARSE_BELOW, exception);
	return take(parser, owner, PARSE_AT, exception);
}

static int read_rpz(struct parser *parser, struct text whole)
{
	struct text line = text_until(whole, ";");
	bool continued = parser->parentheses > 0;

	for (size_t i = 0; i < line.len; i++) {
		if (line.at[i] == '(')
			parser->parentheses++;
		else if (line.at[i] == ')' && parser->parentheses > 0)
			parser->parentheses--;
	}
	if (continued || text_trim(line).len == 0)
		return DONE;
	struct text rest = line, word;
	if (text_begins(line, "$")) {
		word = text_word(&rest);
		if (text_is(word, "$ORIGIN"))
			rpz_origin(parser, text_word(&rest));
		return DONE;
	}
	if (!is_space(line.at[0])) {
		word = text_word(&rest);
		if (!text_to_c(word, parser->owner_text, sizeof parser->owner_text))
			return PARSE_TOO_LONG;
	}
	struct text owner = { parser->owner_text, strlen(parser->owner_text) };
	/* TTL and class in any order before the type, RFC 1035 5.1 */
	do
		word = text_word(&rest);
	while (word.len > 0 && (word.at[0] - '0' < 10u || text_is(word, "IN")));
	if (word.len == 0)
		return PARSE_BAD_NAME;
	return read_rpz_record(parser, owner, word, rest);
}

/* ---- which format ---- */

static bool looks_hosts(struct text line)
{
	struct text rest = line;
	return is_address(text_word(&rest)) && text_trim(rest).len > 0;
}

static bool looks_adblock(struct text line)
{
	return text_begins(line, "||") || text_begins(line, "@@||") || text_begins(line, "[Adblock") ||
	       text_begins(line, "! ") || text_begins(line, "##");
}

static bool looks_dnsmasq(struct text line)
{
	return text_begins(line, "server=/") || text_begins(line, "address=/") ||
	       text_begins(line, "local=/");
}

static bool looks_unbound(struct text line)
{
	return text_begins(line, "local-zone:") || text_begins(line, "local-data:") ||
	       text_is(line, "server:");
}

static bool looks_rpz(struct text line)
{
	struct text rest = line;

	if (text_begins(line, "$TTL") || text_begins(line, "$ORIGIN"))
		return true;
	text_word(&rest);
	for (struct text word = text_word(&rest); word.len > 0; word = text_word(&rest))
		if (text_is(word, "CNAME") || text_is(word, "SOA"))
			return true;
	return false;
}

static bool looks_wildcard(struct text line)
{
	return text_begins(line, "*.") && text_until(line, " \t").len == line.len;
}

static bool looks_domains(struct text line)
{
	return text_until(line, " \t=|$^").len == line.len && memchr(line.at, '.', line.len) != NULL;
}

/* One line a format. A table's order decides between formats that as many lines look like. */
static const struct format {
	const char *name;
	int (*read)(struct parser *parser, struct text line);
	bool (*looks)(struct text line);
} formats[PARSE_FORMAT_COUNT] = {
	[PARSE_AUTO] = { "auto", NULL, NULL },
	[PARSE_UT1] = { "ut1", read_domains, NULL },
	[PARSE_HOSTS] = { "hosts", read_hosts, looks_hosts },
	[PARSE_DOMAINS] = { "domains", read_domains, looks_domains },
	[PARSE_WILDCARD] = { "wildcard", read_domains, looks_wildcard },
	[PARSE_ADBLOCK] = { "adblock", read_adblock, looks_adblock },
	[PARSE_DNSMASQ] = { "dnsmasq", read_dnsmasq, looks_dnsmasq },
	[PARSE_UNBOUND] = { "unbound", read_unbound, looks_unbound },
	[PARSE_RPZ] = { "rpz", read_rpz, looks_rpz },
};

int parse_format_by_name(const char *name)
{
	for (int i = 0; i < PARSE_FORMAT_COUNT; i++)
		if (strcmp(formats[i].name, name) == 0)
			return i;
	return -1;
}

const char *parse_format_name(enum parse_format format)
{
	return formats[format].name;
}

/* The format that most lines of the head look like; PARSE_AUTO if none does. */
static enum parse_format head_format(const char *head, size_t len)
{
	unsigned votes[PARSE_FORMAT_COUNT] = { 0 };
	enum parse_format best = PARSE_AUTO;

	for (size_t at = 0; at < len;) {
		struct text line = text_until((struct text){ head + at, len - at }, "\n");
		at += line.len + 1;
		line = text_trim(line);
		if (line.len == 0 || (line.at[0] == '#' && !text_begins(line, "##")) || line.at[0] == ';')
			continue;
		for (unsigned i = 0; i < PARSE_FORMAT_COUNT; i++)
			if (formats[i].looks != NULL && formats[i].looks(line))
				votes[i]++;
	}
	for (unsigned i = 0; i < PARSE_FORMAT_COUNT; i++)
		if (votes[i] > votes[best] ||
		        (votes[i] > 0 && votes[i] == votes[best] && i == PARSE_WILDCARD))
			best = i;
	return best;
}

/* What the text is instead of a list, NULL if it may be one. */
static const char *head_not_a_list(const char *head, size_t len)
{
	struct text text = { head, len };
	size_t odd = 0;

	while (text.len > 0 && (is_space(text.at[0]) || text.at[0] == '\n'))
		text = text_skip(text, 1);
	if (text_begins(text, "<"))
		return "HTML or XML, not a list";
	if (text_begins(text, "{"))
		return "JSON, not a list";
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)head[i];
		odd += (c < 0x20 && c != '\n' && !is_space((char)c)) || c == 0x7f;
	}
	return odd * 100 > len * BINARY_PERCENT ? "binary, not a list" : NULL;
}

/* ---- pieces to lines ---- */

static void read_line(struct parser *parser, const char *at, size_t len)
{
	struct text line = { at, len };

	parser->line++;
	while (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	if (memchr(line.at, '\0', line.len) != NULL) {
		count(parser, PARSE_BAD_OCTETS);
		return;
	}
	if (parser->format != PARSE_RPZ)
		line = text_trim(line);
	if (line.len > 0)
		count(parser, formats[parser->format].read(parser, line));
}

static void line_too_long(struct parser *parser)
{
	parser->line++;
	parser->held_len = 0;
	count(parser, PARSE_LINE_TOO_LONG);
}

/* Lines of a piece; the last, begun one is held for the next piece. */
static void read_lines(struct parser *parser, const char *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		const char *end = memchr(data + at, '\n', len - at);
		size_t piece = end != NULL ? (size_t)(end - (data + at)) : len - at;

		if (!parser->skipping && parser->held_len + piece > PARSE_LINE_MAX) {
			line_too_long(parser);
			parser->skipping = true;
		}
		if (!parser->skipping && end != NULL && parser->held_len == 0) {
			read_line(parser, data + at, piece);
		} else if (!parser->skipping) {
			memcpy(parser->held + parser->held_len, data + at, piece);
			parser->held_len += piece;
			if (end != NULL) {
				size_t held = parser->held_len;
				parser->held_len = 0;
				read_line(parser, parser->held, held);
			}
		}
		if (end != NULL)
			parser->skipping = false;
		at += piece + (end != NULL);
	}
}

/* Looks at the head, finds the format, reads the head's lines. */
static int parser_begin(struct parser *parser)
{
	const char *head = parser->head;
	size_t len = parser->head_len;

	parser->reading = true;
	if (len >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0) {
		head += 3;
		len -= 3;
	}
	parser->why = head_not_a_list(head, len);
	if (parser->why != NULL)
		return -EBADMSG;
	if (parser->format == PARSE_AUTO)
		parser->format = head_format(head, len);
	if (parser->format == PARSE_AUTO) {
		parser->why = len == 0 ? "empty" : "no list format that is known";
		return -EBADMSG;
	}
	read_lines(parser, head, len);
	return 0;
}

struct parser *parser_new(enum parse_format format, const struct parse_sink *sink)
{
	struct parser *parser = malloc(sizeof *parser);

	if (parser == NULL)
		return NULL;
	parser->sink = *sink;
	parser->format = format;
	parser->why = NULL;
	parser->line = 0;
	parser->head_len = parser->held_len = 0;
	parser->reading = parser->skipping = false;
	parser->origin = (struct text){ "", 0 };
	parser->owner_text[0] = '\0';
	parser->parentheses = 0;
	return parser;
}

void parser_free(struct parser *parser)
{
	free(parser);
}

int parser_feed(struct parser *parser, const char *data, size_t len)
{
	if (parser->why != NULL)
		return -EBADMSG;
	if (!parser->reading) {
		size_t room = HEAD_MAX - parser->head_len;
		size_t piece = len < room ? len : room;
		memcpy(parser->head + parser->head_len, data, piece);
		parser->head_len += piece;
		if (parser->head_len < HEAD_MAX)
			return 0;
		int ret = parser_begin(parser);
		if (ret < 0)
			return ret;
		data += piece;
		len -= piece;
	}
	read_lines(parser, data, len);
	return 0;
}

int parser_end(struct parser *parser)
{
	if (parser->why != NULL)
		return -EBADMSG;
	if (!parser->reading) {
		int ret = parser_begin(parser);
		if (ret < 0)
			return ret;
	}
	if (parser->held_len > 0 && !parser->skipping) {
		size_t held = parser->held_len;
		parser->held_len = 0;
		read_line(parser, parser->held, held);
	}
	return 0;
}

const char *parser_why(const struct parser *parser)
{
	return parser->why;
}

enum parse_format parser_format(const struct parser *parser)
{
	return parser->format;
}
