/*
 * Sources: FreeRADIUS 3's src/modules/rlm_detail/rlm_detail.c (a line of the time, a tab before each
 * attribute, `Timestamp` as the last: by the server's clock, for an access point's may be anything; an empty
 * line) and fr_prints() (strings in double quotes with \", \\, \n, \r, \t and \ooo), RFC 2865 5.8, 5.27
 * and 5.31, RFC 2866 5.1, RFC 3162, RFC 3580 3.21, RFC 6911.
 */
#include "accounting.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#define BLOCK_MAX                                                                                            \
	32768 /* a packet has at most 4096 octets (RFC 2865 3); as text, four times that and the names */
#define VALUE_MAX 1024 /* 253 octets, each \ooo */
#define HASH_LEN 9     /* "~" and eight digits */

struct reading {
	struct accounting block;
	int64_t received_s, event_s, delay_s, head_s;
	bool is_broken;        /* a value without its end: what follows may be part of it */
	char value[VALUE_MAX]; /* of the attribute at hand, unquoted */
	size_t value_len;
};

void accounting_user(const char *name, size_t len, char user[ACCOUNTING_USER_MAX + 1])
{
	bool whole = len <= ACCOUNTING_USER_MAX;
	size_t kept = whole ? len : ACCOUNTING_USER_MAX;

	for (size_t i = 0; i < kept; i++) {
		bool plain = name[i] >= ' ' && name[i] < 0x7f;
		user[i] = plain ? name[i] : '?';
		whole &= plain;
	}
	user[kept] = '\0';
	if (whole)
		return;
	if (kept > ACCOUNTING_USER_MAX - HASH_LEN)
		kept = ACCOUNTING_USER_MAX - HASH_LEN;
	snprintf(user + kept, HASH_LEN + 1, "~%08x", (unsigned)XXH3_64bits(name, len));
}

bool accounting_mac(const char *text, uint8_t mac[6])
{
	unsigned digits = 0;

	memset(mac, 0, 6);
	for (; *text != '\0' && digits < 12; text++) {
		if (strchr("-:.", *text) != NULL)
			continue;
		if (!isxdigit((unsigned char)*text))
			return false;
		unsigned digit = isdigit((unsigned char)*text)
		                         ? (unsigned)(*text - '0')
		                         : (unsigned)(tolower((unsigned char)*text) - 'a') + 10;
		mac[digits / 2] = (uint8_t)(mac[digits / 2] << 4 | digit);
		digits++;
	}
	static const uint8_t none[6];
	bool ends = *text == '\0' || strchr("-:. ", *text) != NULL;
	return digits == 12 && ends && (mac[0] & 1) == 0 && memcmp(mac, none, sizeof none) != 0;
}

/* ---- values ---- */

static bool is_octal(const char *text)
{
	return text[0] >= '0' && text[0] <= '3' && text[1] >= '0' && text[1] <= '7' && text[2] >= '0' &&
	       text[2] <= '7';
}

/* What stands in double quotes, or the rest of the line. text ends with NUL. */
static void value_read(struct reading *reading, const char *text)
{
	bool quoted = *text == '"';
	size_t len = 0;

	for (text += quoted; *text != '\0' && len + 1 < VALUE_MAX && !(quoted && *text == '"'); text++) {
		char octet = *text;
		if (quoted && octet == '\\' && is_octal(text + 1)) {
			octet = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
			text += 3;
		} else if (quoted && octet == '\\' && text[1] != '\0') {
			octet = *++text;
			octet = octet == 'n' ? '\n' : octet == 'r' ? '\r' : octet == 't' ? '\t' : octet;
		}
		reading->value[len++] = octet;
	}
	reading->value[len] = '\0';
	reading->value_len = len;
	reading->is_broken |= quoted && *text != '"';
}

static bool number_read(const char *text, int64_t *number)
{
	char *end;

	errno = 0;
	long long read = strtoll(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 || read >= INT64_C(1) << 40)
		return false;
	*number = read;
	return true;
}

static void status_take(struct reading *reading)
{
	static const struct {
		const char *text, *number;
		enum accounting_status status;
	} known[] = { { "Start", "1", ACCOUNTING_START }, { "Stop", "2", ACCOUNTING_STOP },
		{ "Interim-Update", "3", ACCOUNTING_INTERIM }, { "Alive", "3", ACCOUNTING_INTERIM } };

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(reading->value, known[i].text) == 0 ||
		        strcmp(reading->value, known[i].number) == 0)
			reading->block.status = known[i].status;
}

static void user_take(struct reading *reading)
{
	accounting_user(reading->value, reading->value_len, reading->block.user);
}

static void mac_take(struct reading *reading)
{
	reading->block.has_mac = accounting_mac(reading->value, reading->block.mac);
}

static void address_add(struct reading *reading, const uint8_t address[16])
{
	struct accounting *block = &reading->block;

	if (block->address_count < ACCOUNTING_ADDRESSES_MAX)
		memcpy(block->addresses[block->address_count++], address, 16);
}

/* 255.255.255.254 and 255 ask for a choice, and are nobody's: RFC 2865 5.8. */
static void v4_take(struct reading *reading)
{
	uint8_t address[16] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET, reading->value, address + 12) == 1 && address[12] != 0 && address[12] < 224)
		address_add(reading, address);
}

/* An address, or a prefix of all its bits; in a shorter one the device is known by its MAC. */
static void v6_take(struct reading *reading)
{
	uint8_t address[16];
	char *slash = strchr(reading->value, '/');

	if (slash != NULL && strcmp(slash, "/128") != 0)
		return;
	if (slash != NULL)
		*slash = '\0';
	if (inet_pton(AF_INET6, reading->value, address) == 1 && address[0] != 0xff && address[0] != 0)
		address_add(reading, address);
}

static void session_take(struct reading *reading)
{
	reading->block.session = XXH3_64bits(reading->value, reading->value_len);
}

static void received_take(struct reading *reading)
{
	number_read(reading->value, &reading->received_s);
}

/* "Nov 22 2026 10:15:02 UTC", or a number; in another zone than UTC the machine's. */
static void event_take(struct reading *reading)
{
	struct tm tm = { .tm_isdst = -1 };

	if (number_read(reading->value, &reading->event_s))
		return;
	const char *zone = strptime(reading->value, "%b %d %Y %H:%M:%S", &tm);
	if (zone == NULL)
		return;
	bool utc = strstr(zone, "UTC") != NULL || strstr(zone, "GMT") != NULL;
	reading->event_s = utc ? timegm(&tm) : mktime(&tm);
}

static void delay_take(struct reading *reading)
{
	if (!number_read(reading->value, &reading->delay_s) || reading->delay_s > 86400)
		reading->delay_s = 0;
}

static void lasted_take(struct reading *reading)
{
	if (!number_read(reading->value, &reading->block.session_s))
		reading->block.session_s = -1;
}

static void timeout_take(struct reading *reading)
{
	if (!number_read(reading->value, &reading->block.timeout_s))
		reading->block.timeout_s = 0;
}

static const struct {
	const char *name;
	void (*take)(struct reading *reading);
} attributes[] = {
	{ "Acct-Status-Type", status_take },
	{ "User-Name", user_take },
	{ "Calling-Station-Id", mac_take },
	{ "Framed-IP-Address", v4_take },
	{ "Framed-IPv6-Address", v6_take },
	{ "Framed-IPv6-Prefix", v6_take },
	{ "Timestamp", received_take },
	{ "Event-Timestamp", event_take },
	{ "Acct-Delay-Time", delay_take },
	{ "Acct-Session-Id", session_take },
	{ "Acct-Session-Time", lasted_take },
	{ "Session-Timeout", timeout_take },
};

/* ---- blocks ---- */

/* "Sun Nov 22 10:15:02 2026", in the machine's zone. */
static void head_read(struct reading *reading, const char *line)
{
	struct tm tm = { .tm_isdst = -1 };

	if (strptime(line, "%a %b %d %H:%M:%S %Y", &tm) != NULL)
		reading->head_s = mktime(&tm);
}

/* "\tUser-Name = \"jane\"": what is none is passed over. */
static void line_read(struct reading *reading, char *line)
{
	char *equals = strstr(line, " = ");

	if (*line != '\t')
		head_read(reading, line);
	if (*line != '\t' || equals == NULL)
		return;
	*equals = '\0';
	for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
		if (strcmp(line + 1, attributes[i].name) == 0) {
			value_read(reading, equals + 3);
			attributes[i].take(reading);
		}
}

/* A device that has no login is let in by its MAC: that is nobody's name. */
static void user_check(struct accounting *block)
{
	uint8_t mac[6];

	if (block->has_mac && accounting_mac(block->user, mac) && memcmp(mac, block->mac, sizeof mac) == 0)
		block->user[0] = '\0';
}

/* Returns whether it is one that makes sense. */
static bool block_read(struct accounting *block, char *text)
{
	struct reading reading = { .block = { .session_s = -1 } };
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		line_read(&reading, line);
	*block = reading.block;
	user_check(block);
	block->time_s = reading.received_s > 0 ? reading.received_s - reading.delay_s
	                : reading.event_s > 0  ? reading.event_s
	                                       : reading.head_s;
	return block->time_s > 0 && !reading.is_broken && (block->has_mac || block->address_count > 0);
}

size_t accounting_read(const char *text, size_t len, unsigned *bad,
        void (*found)(void *arg, const struct accounting *block), void *arg)
{
	char copy[BLOCK_MAX];
	size_t pos = 0;
	const char *end;

	while (pos < len && (end = memmem(text + pos, len - pos, "\n\n", 2)) != NULL) {
		size_t block_len = (size_t)(end - text) + 1 - pos;
		struct accounting block = { .status = ACCOUNTING_OTHER };
		if (block_len < sizeof copy) {
			memcpy(copy, text + pos, block_len);
			copy[block_len] = '\0';
			bool good = block_read(&block, copy);
			if (good && block.status != ACCOUNTING_OTHER)
				found(arg, &block);
			*bad += !good && block.status != ACCOUNTING_OTHER;
		} else {
			(*bad)++;
		}
		pos += block_len + 1;
	}
	if (len - pos >= 2 * BLOCK_MAX) { /* no end in sight: what it is, it is no block */
		(*bad)++;
		pos = len - BLOCK_MAX;
	}
	return pos;
}
