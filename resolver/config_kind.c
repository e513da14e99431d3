#include "calendar.h"
#include "config_kind.h"

#include <inttypes.h>
#include <sodium/utils.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blocklists/signature.h"
#include "blocklists/tsig.h"
#include "blocklists/zone.h"
#include "config_value.h"
#include "leases.h"

#define TEXT_MAX 1000
#define WORKERS_MAX 256
#define KEYWORD_MAX 40

void config_keep_text(struct config_reader *reader, const char *text, const char **at)
{
	size_t len = strlen(text) + 1;
	char *copy = config_reader_alloc(reader, len);

	if (copy == NULL)
		return;
	memcpy(copy, text, len);
	*at = copy;
}

static const char *text_at(const void *at)
{
	const char *text = *(const char *const *)at;
	return text == NULL ? "" : text;
}

/* ---- texts and words ---- */

/*
 * A character at *at of valid UTF-8, behind which *at moves, that YAML takes as it is and that does not end a
 * line (YAML 1.1 5.1): no control characters, U+2028, U+2029, U+FEFF, U+FFFE, U+FFFF.
 */
static bool is_plain_character(const char **at)
{
	unsigned char first = (unsigned char)*(*at)++;
	uint32_t character = first < 0x80   ? first
	                     : first < 0xe0 ? first & 0x1f
	                     : first < 0xf0 ? first & 0x0f
	                                    : first & 0x07;

	while (((unsigned char)**at & 0xc0) == 0x80)
		character = character << 6 | ((unsigned char)*(*at)++ & 0x3f);
	if (character < 0x20 || (character >= 0x7f && character < 0xa0))
		return false;
	return character != 0x2028 && character != 0x2029 && character != 0xfeff && (character | 1) != 0xffff;
}

READ(text)
{
	uint64_t longest = option->max > 0 ? option->max : TEXT_MAX;
	bool good = node->len <= longest && (node->len > 0 || config_may_be_empty(option));

	for (const char *next = node->text; good && *next != '\0';)
		good = is_plain_character(&next);
	if (good)
		config_keep_text(reader, node->text, at);
	else
		config_wrong(reader, node, "text of one line, of 1 to %" PRIu64 " octets", longest);
}

PRINT(text)
{
	config_print_scalar(printer->to, text_at(at));
}

KIND(text, .example = "text");

/* Names of profiles, categories and the like: they become file names, labels of metrics and group names. */
READ(word_free)
{
	bool good = node->len > 0 && node->len < 64 && node->text[0] != '-' && node->text[0] != '.';

	for (size_t i = 0; i < node->len && good; i++)
		good = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.",
		               node->text[i]) != NULL;
	if (!good && !(node->len == 0 && config_may_be_empty(option))) {
		config_wrong(reader, node, "a name of at most 63 letters, digits, '-', '_' and '.'");
		return;
	}
	config_keep_text(reader, node->text, at);
}

#define print_word_free print_text
KIND(word_free, .example = "name");

/* "*word*", as name_to_unicode() writes names: for other scripts the way there is by the A-label. */
READ(keyword)
{
	char word[NAME_TEXT_MAX], text[NAME_TEXT_MAX + 2];
	bool before = node->len > 0 && node->text[0] == '*';
	bool after = node->len > 1 && node->text[node->len - 1] == '*';
	size_t len = node->len - before - after;
	struct name name;

	bool good = len >= 2 && len <= KEYWORD_MAX && memchr(node->text + before, '*', len) == NULL &&
	            name_from_user_text(&name, node->text + before, len) == 0;
	for (size_t i = 0; i < len && good; i++) {
		char c = node->text[before + i];
		good = c < 0 || c - '0' < 10u || c - 'a' < 26u || c - 'A' < 26u || c == '-' || c == '_' ||
		       c == '.';
	}
	if (!good) {
		config_wrong(reader, node,
		        "a word of 2 to %d letters and digits, with `*` before or behind it where it may go "
		        "on",
		        KEYWORD_MAX);
		return;
	}
	name_to_unicode(&name, word);
	snprintf(text, sizeof text, "%s%s%s", before ? "*" : "", word, after ? "*" : "");
	config_keep_text(reader, text, at);
}

#define print_keyword print_text
KIND(keyword, .example = "word");

READ(path)
{
	size_t longest = option->max > 0 ? option->max : 4000;

	if (node->len == 0 && config_may_be_empty(option)) {
		config_keep_text(reader, "", at);
		return;
	}
	if (node->len == 0 || node->text[0] != '/' || node->len > longest) {
		config_wrong(reader, node, "an absolute path of at most %zu octets such as /var/lib/usher",
		        longest);
		return;
	}
	read_text(reader, &(const struct config_option){ .max = longest }, node, at);
}

#define print_path print_text
KIND(path, .example = "/var/lib/usher");

int config_word_place(
        struct config_reader *reader, const struct config_option *option, const struct config_node *node)
{
	char words[200];
	size_t len = 0;

	words[0] = '\0';
	for (int i = 0; option->words[i] != NULL; i++) {
		if (strcmp(node->text, option->words[i]) == 0)
			return i;
		if (len < sizeof words)
			len += (size_t)snprintf(
			        words + len, sizeof words - len, "%s%s", i > 0 ? ", " : "", option->words[i]);
	}
	config_wrong(reader, node, "one of %s", words);
	return -1;
}

/* An enum whose values are the words' places. */
READ(word)
{
	int place = config_word_place(reader, option, node);

	if (place >= 0)
		*(unsigned *)at = (unsigned)place;
}

PRINT(word)
{
	fputs(option->words[*(const unsigned *)at], printer->to);
}

KIND(word, .example = "word");

/* Two words that stand for false and true. */
READ(word_bool)
{
	int place = config_word_place(reader, option, node);

	if (place >= 0)
		*(bool *)at = place == 1;
}

PRINT(word_bool)
{
	fputs(option->words[*(const bool *)at], printer->to);
}

KIND(word_bool, .example = "word");

READ(word_text)
{
	int place = config_word_place(reader, option, node);

	if (place >= 0)
		config_keep_text(reader, option->words[place], at);
}

#define print_word_text print_text
KIND(word_text, .example = "word");

READ(bool)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on", NULL };

	for (unsigned i = 0; words[i] != NULL; i++)
		if (strcmp(node->text, words[i]) == 0) {
			*(bool *)at = i % 2 == 1;
			return;
		}
	config_wrong(reader, node, "true or false");
}

PRINT(bool)
{
	fputs(*(const bool *)at ? "true" : "false", printer->to);
}

KIND(bool, .example = "true");

READ(url)
{
	static const char *const schemes[] = { "https://", "http://", "file:///", NULL };
	bool good = node->len < 2000;

	if (node->len == 0 && config_may_be_empty(option)) {
		config_keep_text(reader, "", at);
		return;
	}
	for (size_t i = 0; i < node->len && good; i++)
		good = (unsigned char)node->text[i] > 0x20 && (unsigned char)node->text[i] < 0x7f;
	for (unsigned i = 0; schemes[i] != NULL && good; i++) {
		size_t len = strlen(schemes[i]);
		if (strncmp(node->text, schemes[i], len) == 0 && node->len > len) {
			config_keep_text(reader, node->text, at);
			return;
		}
	}
	config_wrong(reader, node, "a URL that begins with https://, http:// or file:///");
}

#define print_url print_text
KIND(url, .example = "https://lists.example/drugs.txt");

READ(source_url)
{
	if (!zone_is_url(node->text))
		read_url(reader, option, node, at);
	else if (zone_url_wrong(node->text) != NULL)
		config_wrong(reader, node, "%s", zone_url_wrong(node->text));
	else
		config_keep_text(reader, node->text, at);
}

#define print_source_url print_text
KIND(source_url, .example = "https://lists.example/drugs.txt");

READ(folder_url)
{
	if (node->text[0] == '/')
		read_path(reader, option, node, at);
	else
		read_url(reader, option, node, at);
}

#define print_folder_url print_text
KIND(folder_url, .example = "https://dns1.school.example/usher/");

/* Told neither where it is wrong nor anywhere but in what `usherd -p` prints. */
READ(secret)
{
	const struct tsig_key key = { "key", "hmac-sha256", node->text };

	if (node->len > 0 && tsig_key_wrong(&key) != NULL) {
		config_problem(&reader->tree->problems, node->file, node->line,
		        "%s: found what is no base64, expected a secret such as tsig-keygen makes",
		        reader->path);
		return;
	}
	config_keep_text(reader, node->text, at);
}

#define print_secret print_text
KIND(secret, .example = "c2VjcmV0");

/* What is wrong with it is told without its text: that may hold a password. */
READ(proxy)
{
	const char *host = strstr(node->text, "://");
	bool good = node->len < TEXT_MAX && host != NULL &&
	            (strncmp(node->text, "http://", 7) == 0 || strncmp(node->text, "https://", 8) == 0);

	if (node->len == 0 && config_may_be_empty(option)) {
		config_keep_text(reader, "", at);
		return;
	}
	for (size_t i = 0; i < node->len && good; i++)
		good = (unsigned char)node->text[i] > 0x20 && (unsigned char)node->text[i] < 0x7f;
	/* nothing behind the port, so that a / or @ in a password is not taken for its end */
	const char *rest = good ? strrchr(node->text, '@') : NULL;
	rest = rest != NULL ? rest + 1 : good ? host + 3 : "";
	size_t host_len = strcspn(rest, "/?#");
	if (!good || host_len == 0 || (rest[host_len] != '\0' && strcmp(rest + host_len, "/") != 0)) {
		config_problem(&reader->tree->problems, node->file, node->line,
		        "%s: found what is no such URL, expected http://[user:password@]host:port",
		        reader->path);
		return;
	}
	config_keep_text(reader, node->text, at);
}

#define print_proxy print_text
KIND(proxy, .example = "http://proxy.school.example:3128");

READ(minisign_key)
{
	struct signature_key key;

	if ((node->len > 0 || !config_may_be_empty(option)) && signature_key_parse(&key, node->text) < 0) {
		config_wrong(reader, node, "a public key of minisign: 56 characters that begin with RW");
		return;
	}
	config_keep_text(reader, node->text, at);
}

#define print_minisign_key print_text
KIND(minisign_key, .example = "RWQ...");

READ(sha256)
{
	bool good = node->len == 64 || (node->len == 0 && config_may_be_empty(option));

	for (size_t i = 0; i < node->len && good; i++)
		good = strchr("0123456789abcdef", node->text[i]) != NULL;
	if (!good) {
		config_wrong(reader, node, "64 hexadecimal digits in lower case");
		return;
	}
	config_keep_text(reader, node->text, at);
}

#define print_sha256 print_text
KIND(sha256, .example = "64 hexadecimal digits");

/* What was found is not told: it may be a secret but for one digit. */
READ(cookie_secret)
{
	struct cookie_secret secret;
	size_t len;

	if (node->len == 2 * sizeof secret.key &&
	        sodium_hex2bin(secret.key, sizeof secret.key, node->text, node->len, NULL, &len, NULL) == 0 &&
	        len == sizeof secret.key) {
		*(struct cookie_secret *)at = secret;
		return;
	}
	config_problem(&reader->tree->problems, node->file, node->line,
	        "%s: found something else, expected 32 hexadecimal digits, as `openssl rand -hex 16` prints",
	        reader->path);
}

PRINT(cookie_secret)
{
	const struct cookie_secret *secret = at;
	char text[2 * sizeof secret->key + 1];

	sodium_bin2hex(text, sizeof text, secret->key, sizeof secret->key);
	fprintf(printer->to, "\"%s\"", text);
}

KIND(cookie_secret, .example = "\"00112233445566778899aabbccddeeff\"");

READ(mac)
{
	struct config_device *device = at;

	/* A group's address is no device's (IEEE 802). */
	if (lease_mac_parse(device->mac, node->text) < 0 || (device->mac[0] & 1) != 0)
		config_wrong(reader, node, "a device's MAC address such as aa:bb:cc:dd:ee:ff");
}

PRINT(mac)
{
	char text[18];

	lease_mac_text(((const struct config_device *)at)->mac, text);
	fprintf(printer->to, "\"%s\"", text);
}

KIND(mac, .example = "aa:bb:cc:dd:ee:ff");

READ(holiday)
{
	struct calendar calendar = { 0 };
	int ret = node->text[0] == '/' ? 0 : calendar_add_dates(&calendar, node->text);

	calendar_clear(&calendar);
	if (ret < 0) {
		config_wrong(reader, node,
		        "a date such as 2026-12-21, 2026-12-21..2027-01-03, or the path of an ICS file");
		return;
	}
	read_text(reader, option, node, at);
}

#define print_holiday print_text
KIND(holiday, .example = "2026-12-21..2027-01-03");

/* ---- numbers ---- */

READ(number)
{
	uint64_t number, max = option->max > 0 ? option->max : UINT32_MAX;

	if (config_number_parse(node->text, &number) < 0 || number < option->min || number > max) {
		config_wrong(reader, node, "a number from %" PRIu64 " to %" PRIu64, option->min, max);
		return;
	}
	*(uint32_t *)at = (uint32_t)number;
}

PRINT(number)
{
	fprintf(printer->to, "%" PRIu32, *(const uint32_t *)at);
}

KIND(number, .example = "1");

READ(workers)
{
	uint64_t number;

	if (config_number_parse(node->text, &number) < 0 || number > WORKERS_MAX) {
		config_wrong(reader, node, "a number from 0 (one per processor) to %d", WORKERS_MAX);
		return;
	}
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	if (number == 0)
		number = processors < 1 ? 1 : processors > WORKERS_MAX ? WORKERS_MAX : (uint64_t)processors;
	*(unsigned *)at = (unsigned)number;
}

#define print_workers print_number
KIND(workers, .example = "0");

/* Thousandths; as many of its figures as a person writes. */
READ(decimal)
{
	char *end = NULL;
	double number = node->len > 0 && node->len < 8 && strspn(node->text, "0123456789.") == node->len
	                        ? strtod(node->text, &end)
	                        : -1;
	double thousandths = number * 1000 + 0.5;

	if (end == NULL || *end != '\0' || thousandths < (double)option->min ||
	        thousandths > (double)option->max + 0.5) {
		config_wrong(reader, node, "a number from %g to %g such as %s", (double)option->min / 1000,
		        (double)option->max / 1000, option->fallback);
		return;
	}
	*(uint32_t *)at = (uint32_t)thousandths;
}

PRINT(decimal)
{
	fprintf(printer->to, "%g", (double)*(const uint32_t *)at / 1000);
}

KIND(decimal, .example = "3.5");

READ(percent)
{
	char digits[8] = "";
	uint64_t number = 101;

	if (node->len > 1 && node->len < sizeof digits && node->text[node->len - 1] == '%') {
		memcpy(digits, node->text, node->len - 1);
		if (config_number_parse(digits, &number) < 0)
			number = 101;
	}
	if (number > 100) {
		config_wrong(reader, node, "a percentage from 0%% to 100%%, such as 30%%");
		return;
	}
	*(uint32_t *)at = (uint32_t)number;
}

PRINT(percent)
{
	fprintf(printer->to, "%" PRIu32 "%%", *(const uint32_t *)at);
}

KIND(percent, .example = "30%");

/* A duration in its bounds, a multiple of step_ms. Returns false after saying what is wrong. */
static bool duration(struct config_reader *reader, const struct config_option *option,
        const struct config_node *node, uint64_t step_ms, uint64_t *ms)
{
	char least[CONFIG_VALUE_TEXT_MAX], most[CONFIG_VALUE_TEXT_MAX];

	if (config_duration_parse(node->text, ms) < 0) {
		config_wrong(reader, node, "a duration with its unit, such as 30s, 10m, 1h or 90d");
		return false;
	}
	if (*ms < option->min || *ms > option->max || *ms % step_ms != 0) {
		config_duration_text(option->min, least);
		config_duration_text(option->max, most);
		config_wrong(reader, node, "a duration from %s to %s%s", least, most,
		        step_ms > 1 ? " in whole seconds" : "");
		return false;
	}
	return true;
}

READ(seconds)
{
	uint64_t ms;

	if (duration(reader, option, node, 1000, &ms))
		*(uint32_t *)at = (uint32_t)(ms / 1000);
}

PRINT(seconds)
{
	char text[CONFIG_VALUE_TEXT_MAX];

	config_duration_text((uint64_t) * (const uint32_t *)at * 1000, text);
	fputs(text, printer->to);
}

KIND(seconds, .example = "30s");

READ(milliseconds)
{
	uint64_t ms;

	if (duration(reader, option, node, 1, &ms))
		*(uint32_t *)at = (uint32_t)ms;
}

PRINT(milliseconds)
{
	char text[CONFIG_VALUE_TEXT_MAX];

	config_duration_text(*(const uint32_t *)at, text);
	fputs(text, printer->to);
}

KIND(milliseconds, .example = "10s");

READ(size)
{
	uint64_t size;
	char least[CONFIG_VALUE_TEXT_MAX], most[CONFIG_VALUE_TEXT_MAX];

	if (config_size_parse(node->text, &size) < 0) {
		config_wrong(reader, node, "a size with its unit, such as 64MiB");
		return;
	}
	if (size < option->min || size > option->max) {
		config_size_text(option->min, least);
		config_size_text(option->max, most);
		config_wrong(reader, node, "a size from %s to %s", least, most);
		return;
	}
	*(uint64_t *)at = size;
}

PRINT(size)
{
	char text[CONFIG_VALUE_TEXT_MAX];

	config_size_text(*(const uint64_t *)at, text);
	fputs(text, printer->to);
}

KIND(size, .example = "64MiB");

/* ---- times of the week ---- */

READ(time)
{
	uint16_t minutes;

	if (config_time_parse(node->text, &minutes) < 0 || minutes > option->max) {
		config_wrong(reader, node, "a time from \"00:00\" to \"%s\"",
		        option->max == 1440 ? "24:00" : "23:59");
		return;
	}
	*(uint16_t *)at = minutes;
}

PRINT(time)
{
	char text[CONFIG_VALUE_TEXT_MAX];

	config_time_text(*(const uint16_t *)at, text);
	config_print_scalar(printer->to, text);
}

KIND(time, .example = "12:10");

static const char expected_days[] = "days such as mon-fri, \"sat,sun\" or daily";

READ(days)
{
	uint8_t all = 0, days;

	if (node->type == NODE_MAP || (node->type == NODE_LIST && node->count == 0)) {
		config_wrong(reader, node, "%s", expected_days);
		return;
	}
	for (const struct config_node *item = node->type == NODE_LIST ? node->first : node; item != NULL;
	        item = item->next) {
		if (item->type != NODE_SCALAR || config_days_parse(item->text, &days) < 0) {
			config_wrong(reader, item, "%s", expected_days);
			return;
		}
		all |= days;
		if (item == node)
			break;
	}
	*(uint8_t *)at = all;
}

PRINT(days)
{
	char text[CONFIG_VALUE_TEXT_MAX];

	config_days_text(*(const uint8_t *)at, text);
	config_print_scalar(printer->to, text);
}

KIND(days, .takes_lists = true, .example = "mon-fri");
