/*
 * Sources: Kea's src/lib/dhcpsrv/csv_lease_file4.cc and 6.cc (columns by name; expire = last transmission +
 * lifetime; a lease that is deleted is a row with lifetime 0), dhcpd.leases(5), dnsmasq's lease.c
 * (expiry, MAC, address, name, client id; behind a line `duid` the second field is an IAID).
 */
#include "leases.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIELDS_MAX 24
#define LINE_MAX_LEN 4096
#define DUID_MAX 130 /* RFC 8415 11.1 */

struct lease_sink {
	struct lease_reader *reader;
	void (*found)(void *arg, const struct lease *lease);
	void *arg;
};

/* ---- parts of lines ---- */

int lease_mac_parse(uint8_t mac[6], const char *text)
{
	unsigned b[6];
	char separator;
	int end = 0;

	if (sscanf(text, "%2x%c", &b[0], &separator) != 2 || (separator != ':' && separator != '-') ||
	        strlen(text) != 17)
		return -EINVAL;
	const char *format = separator == ':' ? "%2x:%2x:%2x:%2x:%2x:%2x%n" : "%2x-%2x-%2x-%2x-%2x-%2x%n";
	if (sscanf(text, format, &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6 || end != 17)
		return -EINVAL;
	for (unsigned i = 0; i < 6; i++) {
		if (!isxdigit((unsigned char)text[3 * i]) || !isxdigit((unsigned char)text[3 * i + 1]))
			return -EINVAL;
		mac[i] = (uint8_t)b[i];
	}
	return 0;
}

void lease_mac_text(const uint8_t mac[6], char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static bool address_parse(uint8_t address[16], const char *text)
{
	memset(address, 0, 16);
	address[10] = address[11] = 0xff;
	if (inet_pton(AF_INET, text, address + 12) == 1)
		return true;
	return inet_pton(AF_INET6, text, address) == 1;
}

/* A name as a device gave it: printable ASCII without spaces, no dot at its end. */
static void name_keep(struct lease *lease, const char *text)
{
	size_t len = strnlen(text, LEASE_NAME_MAX);

	for (size_t i = 0; i < len; i++)
		lease->name[i] = text[i] > ' ' && text[i] < 0x7f ? text[i] : '?';
	while (len > 0 && lease->name[len - 1] == '.')
		len--;
	lease->name[len] = '\0';
}

static bool number_parse(const char *text, int64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoll(text, &end, 10);
	return isdigit((unsigned char)*text) && *end == '\0' && errno == 0;
}

/* A DUID that holds a link-layer address of Ethernet: DUID-LLT and DUID-LL (RFC 8415 11.2, 11.4). */
static void mac_from_duid(struct lease *lease, const uint8_t *duid, size_t len)
{
	size_t at = 0;

	if (len == 14 && memcmp(duid, "\0\1\0\1", 4) == 0)
		at = 8;
	else if (len == 10 && memcmp(duid, "\0\3\0\1", 4) == 0)
		at = 4;
	if (at == 0)
		return;
	memcpy(lease->mac, duid + at, 6);
	lease->has_mac = true;
}

/* "00:01:00:01:…" */
static void mac_from_duid_text(struct lease *lease, const char *text)
{
	uint8_t duid[DUID_MAX];
	unsigned octet;
	size_t len = 0;
	int used;

	while (len < sizeof duid && sscanf(text, "%2x%n", &octet, &used) == 1) {
		duid[len++] = (uint8_t)octet;
		text += used;
		if (*text++ != ':')
			break;
	}
	mac_from_duid(lease, duid, len);
}

static void tell(struct lease_sink *sink, const struct lease *lease)
{
	if (lease->end_s >= lease->start_s)
		sink->found(sink->arg, lease);
	else
		sink->reader->bad++;
}

/* ---- Kea ---- */

static unsigned split(char *line, char separator, char *fields[FIELDS_MAX])
{
	unsigned count = 0;

	for (char *at = line; at != NULL && count < FIELDS_MAX; count++) {
		fields[count] = at;
		at = strchr(at, separator);
		if (at != NULL)
			*at++ = '\0';
	}
	return count;
}

static void kea_columns(struct lease_reader *reader, char *line)
{
	struct lease_columns *columns = &reader->columns;
	const struct {
		const char *name;
		int *place;
	} names[] = { { "address", &columns->address }, { "hwaddr", &columns->mac },
		{ "duid", &columns->duid }, { "valid_lifetime", &columns->lifetime },
		{ "expire", &columns->expire }, { "hostname", &columns->hostname },
		{ "state", &columns->state }, { "lease_type", &columns->type } };
	char *fields[FIELDS_MAX];
	unsigned count = split(line, ',', fields);

	for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
		*names[k].place = -1;
		for (unsigned i = 0; i < count; i++)
			if (strcmp(fields[i], names[k].name) == 0)
				*names[k].place = (int)i;
	}
	reader->has_columns = true;
}

static const char *kea_field(char *const fields[], unsigned count, int place)
{
	return place >= 0 && (unsigned)place < count ? fields[place] : "";
}

/* Kea writes a comma in a name as &#x2c. */
static void kea_name(struct lease *lease, const char *text)
{
	const char *comma = strstr(text, "&#x2c");
	char plain[LEASE_NAME_MAX + 1];

	if (comma == NULL) {
		name_keep(lease, text);
		return;
	}
	snprintf(plain, sizeof plain, "%.*s,%s", (int)(comma - text), text, comma + 5);
	name_keep(lease, plain);
}

enum kea_state { KEA_ASSIGNED = 0, KEA_DECLINED = 1, KEA_RECLAIMED = 2, KEA_RELEASED = 3 };

static bool kea_lease(
        struct lease *lease, const struct lease_columns *columns, char *fields[], unsigned count)
{
	int64_t lifetime, state = KEA_ASSIGNED;
	const char *mac = kea_field(fields, count, columns->mac);

	if (!address_parse(lease->address, kea_field(fields, count, columns->address)) ||
	        !number_parse(kea_field(fields, count, columns->expire), &lease->end_s) ||
	        !number_parse(kea_field(fields, count, columns->lifetime), &lifetime))
		return false;
	number_parse(kea_field(fields, count, columns->state), &state);
	lease->has_mac = lease_mac_parse(lease->mac, mac) == 0;
	if (!lease->has_mac)
		mac_from_duid_text(lease, kea_field(fields, count, columns->duid));
	kea_name(lease, kea_field(fields, count, columns->hostname));
	if (lifetime == UINT32_MAX) {
		lease->start_s = lease->end_s > lifetime ? lease->end_s - lifetime : 1;
		lease->end_s = LEASE_FOREVER;
	} else {
		lease->start_s = lease->end_s - lifetime;
	}
	if (lifetime == 0 || state == KEA_RELEASED) {
		lease->ended = true;
		lease->start_s = lease->end_s = 0;
	} else if (state == KEA_RECLAIMED) {
		lease->ended = true;
		lease->start_s = lease->end_s;
	} else if (state != KEA_ASSIGNED) {
		return false;
	}
	return lease->start_s >= 0;
}

static void kea_line(struct lease_sink *sink, char *line)
{
	struct lease_reader *reader = sink->reader;
	struct lease lease = { .has_mac = false };
	char *fields[FIELDS_MAX];

	if (strncmp(line, "address,", 8) == 0) {
		kea_columns(reader, line);
		return;
	}
	unsigned count = split(line, ',', fields);
	/* lease_type 2 is a prefix handed to a router, no device's address */
	if (reader->has_columns && strcmp(kea_field(fields, count, reader->columns.type), "2") == 0)
		return;
	if (reader->has_columns && kea_lease(&lease, &reader->columns, fields, count))
		tell(sink, &lease);
	else
		reader->bad++;
}

/* ---- dnsmasq ---- */

static void dnsmasq_line(struct lease_sink *sink, char *line)
{
	struct lease lease = { .has_mac = false };
	char *fields[FIELDS_MAX];
	unsigned count = split(line, ' ', fields);

	if (count == 2 && strcmp(fields[0], "duid") == 0)
		return;
	if (count < 4 || !number_parse(fields[0], &lease.end_s) || !address_parse(lease.address, fields[2])) {
		sink->reader->bad++;
		return;
	}
	if (lease.end_s == 0)
		lease.end_s = LEASE_FOREVER;
	lease.has_mac = lease_mac_parse(lease.mac, fields[1]) == 0;
	if (!lease.has_mac && count > 4)
		mac_from_duid_text(&lease, fields[4]);
	if (strcmp(fields[3], "*") != 0)
		name_keep(&lease, fields[3]);
	tell(sink, &lease);
}

/* ---- ISC ---- */

/* "4 2026/11/19 08:00:00" (UTC), "epoch 1763539200", "never". */
static bool isc_time(const char *text, int64_t *time_s)
{
	struct tm tm = { 0 };
	long long epoch;

	if (strncmp(text, "never", 5) == 0) {
		*time_s = LEASE_FOREVER;
		return true;
	}
	if (sscanf(text, "epoch %lld", &epoch) == 1) {
		*time_s = epoch;
		return epoch >= 0;
	}
	if (sscanf(text, "%*d %d/%d/%d %d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
	            &tm.tm_min, &tm.tm_sec) != 6)
		return false;
	if (tm.tm_year < 1970 || tm.tm_year > 9999 || tm.tm_mon < 1 || tm.tm_mon > 12)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*time_s = timegm(&tm);
	return true;
}

/* One statement inside of `lease ADDRESS { … }`. */
static void isc_statement(struct lease *lease, char *text, bool *active)
{
	char mac[18], name[LEASE_NAME_MAX + 1];

	if (strncmp(text, "starts ", 7) == 0)
		isc_time(text + 7, &lease->start_s);
	else if (strncmp(text, "ends ", 5) == 0)
		isc_time(text + 5, &lease->end_s);
	else if (strncmp(text, "binding state ", 14) == 0)
		*active = strncmp(text + 14, "active", 6) == 0;
	else if (sscanf(text, "hardware ethernet %17[0-9a-fA-F:]", mac) == 1)
		lease->has_mac = lease_mac_parse(lease->mac, mac) == 0;
	else if (sscanf(text, "client-hostname \"%63[^\"]", name) == 1)
		name_keep(lease, name);
}

static void isc_lease(struct lease_sink *sink, char *text)
{
	struct lease lease = { .end_s = -1 };
	bool active = true;
	char *save = NULL, address[INET6_ADDRSTRLEN];

	if (sscanf(text, "lease %45s", address) != 1 || !address_parse(lease.address, address)) {
		sink->reader->bad++;
		return;
	}
	strtok_r(text, "{", &save);
	for (char *line = strtok_r(NULL, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		isc_statement(&lease, line + strspn(line, " \t"), &active);
	if (!active && lease.end_s >= 0) {
		lease.ended = true;
		lease.start_s = lease.end_s;
	}
	tell(sink, &lease);
}

/* ---- the file ---- */

static enum lease_format format_of(const char *text, size_t len)
{
	if (len >= 8 && memcmp(text, "address,", 8) == 0)
		return LEASE_KEA;
	if (memmem(text, len, "\nlease ", 7) != NULL || (len >= 6 && memcmp(text, "lease ", 6) == 0) ||
	        memmem(text, len, "dhcpd.leases", 12) != NULL)
		return LEASE_ISC;
	return isdigit((unsigned char)*text) || (len >= 5 && memcmp(text, "duid ", 5) == 0) ? LEASE_DNSMASQ
	                                                                                    : LEASE_AUTO;
}

enum lease_format lease_format_named(const char *name)
{
	static const char *const names[] = { "auto", "kea", "isc", "dnsmasq", "radius" };

	for (unsigned i = LEASE_KEA; i <= LEASE_RADIUS; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum lease_format)i;
	return LEASE_AUTO;
}

/* Whole lines, each copied to where it may be cut up. */
static size_t lines_read(struct lease_sink *sink, const char *text, size_t len)
{
	char line[LINE_MAX_LEN];
	size_t pos = 0;
	const char *end;

	while (pos < len && (end = memchr(text + pos, '\n', len - pos)) != NULL) {
		size_t line_len = (size_t)(end - text) - pos;
		const char *at = text + pos;
		pos += line_len + 1;
		while (line_len > 0 && at[line_len - 1] == '\r')
			line_len--;
		if (line_len == 0)
			continue;
		if (line_len >= sizeof line) {
			sink->reader->bad++;
			continue;
		}
		memcpy(line, at, line_len);
		line[line_len] = '\0';
		if (sink->reader->format == LEASE_KEA)
			kea_line(sink, line);
		else
			dnsmasq_line(sink, line);
	}
	return pos;
}

/* Leases of ISC: what stands between them (failover states, the server's DUID, hosts) is passed over. */
static size_t blocks_read(struct lease_sink *sink, const char *text, size_t len)
{
	char block[LINE_MAX_LEN];
	size_t pos = 0;

	for (;;) {
		const char *line_end = memchr(text + pos, '\n', len - pos);
		if (line_end == NULL)
			return pos;
		size_t block_len = (size_t)(line_end - text) + 1 - pos;
		if (len - pos >= 6 && memcmp(text + pos, "lease ", 6) == 0) {
			const char *end = memmem(text + pos, len - pos, "\n}\n", 3);
			if (end == NULL)
				return pos;
			block_len = (size_t)(end - text) + 3 - pos;
			if (block_len < sizeof block) {
				memcpy(block, text + pos, block_len);
				block[block_len] = '\0';
				isc_lease(sink, block);
			} else {
				sink->reader->bad++;
			}
		}
		pos += block_len;
	}
}

size_t leases_read(struct lease_reader *reader, const char *text, size_t len,
        void (*found)(void *arg, const struct lease *lease), void *arg)
{
	struct lease_sink sink = { reader, found, arg };

	if (len == 0)
		return 0;
	if (reader->format == LEASE_AUTO)
		reader->format = format_of(text, len);
	if (reader->format == LEASE_AUTO) {
		reader->bad++;
		return len;
	}
	return reader->format == LEASE_ISC ? blocks_read(&sink, text, len) : lines_read(&sink, text, len);
}
