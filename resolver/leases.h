/*
 * What DHCP servers write of their leases: Kea's memfile (CSV, DHCPv4 and DHCPv6), ISC dhcpd's dhcpd.leases,
 * dnsmasq's dnsmasq.leases. Text in, leases out; following the files is lease_watch.h's business.
 *
 * Kea and ISC append to their file, so a reader may go on where it stopped; dnsmasq writes it anew each time.
 * Input is other programs' but names in it are devices', so hostile: they come out printable and short.
 */
#ifndef USHER_LEASES_H
#define USHER_LEASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_NAME_MAX 63
#define LEASE_FOREVER INT64_MAX

struct lease {
	uint8_t address[16]; /* IPv4 mapped */
	bool has_mac;
	uint8_t mac[6];
	int64_t start_s; /* seconds since 1970; 0: the file does not say */
	int64_t end_s;
	bool ended; /* given back or taken away: start_s and end_s are when, or 0 */
	char name[LEASE_NAME_MAX + 1]; /* "" none */
};

enum lease_format { LEASE_AUTO, LEASE_KEA, LEASE_ISC, LEASE_DNSMASQ, LEASE_RADIUS };

/* Where the columns are that a Kea file's first line names; -1: not there. */
struct lease_columns {
	int address, mac, duid, lifetime, expire, hostname, state, type;
};

/* The state of reading one file: zero to begin, and again when the file is another. */
struct lease_reader {
	enum lease_format format; /* LEASE_AUTO: told by the first lines */
	struct lease_columns columns;
	bool has_columns;
	unsigned bad; /* lines or leases that could not be read */
};

/* "kea", "isc", "dnsmasq", "radius" (none of leases_read()'s: accounting.h); all others are LEASE_AUTO. */
enum lease_format lease_format_named(const char *name);

/*
 * Reads whole lines (or whole leases) of text and calls found for each lease. Returns the octets read, up to
 * where the next call must begin. A text of unknown format is read to its end, and all of it is bad.
 */
size_t leases_read(struct lease_reader *reader, const char *text, size_t len,
        void (*found)(void *arg, const struct lease *lease), void *arg);

/* "aa:bb:cc:dd:ee:ff" or with dashes, nothing behind it. Returns 0 or -EINVAL. */
int lease_mac_parse(uint8_t mac[6], const char *text);
void lease_mac_text(const uint8_t mac[6], char text[18]);

#endif
