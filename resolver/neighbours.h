/*
 * Whose network card is behind an address: the kernel's neighbour table (ARP and IPv6 neighbour discovery), for clients on networks this
 * machine is connected to itself. A device that a profile names by its MAC address keeps that profile whatever address it takes
 * (RFC 8981 privacy addresses).
 *
 * The main thread reads the table when the kernel says that it has changed, and every half minute; workers find in a read-only
 * copy that holds the named devices alone. What is in doubt is not in it: entries that nobody has confirmed for ten
 * minutes, and addresses that two devices claim on different networks. Then the address's network decides, as for any
 * other client. A copy that was not renewed for two minutes (the main thread hangs) holds nothing.
 */
#ifndef USHER_NEIGHBOURS_H
#define USHER_NEIGHBOURS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct neighbour {
	uint8_t address[16]; /* IPv4 mapped */
	uint8_t mac[6];
	uint32_t age_s; /* since the kernel last heard that it is so */
};

/*
 * The table as it is now, sorted by address, each address once. *list is malloc()ed. Returns 0 or negative errno. Needs no rights; talks to
 * the kernel alone, for a few milliseconds.
 */
int neighbours_read(struct neighbour **list, size_t *count);

/* A socket that becomes readable when the table has changed; or negative errno. neighbours_drain() empties it. */
int neighbours_listen(void);
void neighbours_drain(int fd);

/* MAC address -> profile, of a configuration. */
struct config;
struct macs;
struct macs *macs_new(const struct config *config); /* NULL without memory */
void macs_free(struct macs *macs);
size_t macs_count(const struct macs *macs);
int macs_find(const struct macs *macs, const uint8_t mac[6]); /* the profile, -1: none; O(1) */

/* The workers' copy, counted. */
struct neighbour_table;

/* Those of the list that macs knows, with entries that are not in doubt. NULL without memory. */
struct neighbour_table *neighbour_table_new(const struct neighbour *list, size_t count, const struct macs *macs,
        uint64_t now_us);
struct neighbour_table *neighbour_table_ref(struct neighbour_table *table);
void neighbour_table_free(struct neighbour_table *table); /* drops a reference; NULL is fine; thread safe */
bool neighbour_table_equal(const struct neighbour_table *a, const struct neighbour_table *b);

/* It is still so: any thread. now_us: a monotonic clock. */
void neighbour_table_renew(struct neighbour_table *table, uint64_t now_us);

/* The MAC address behind a client's address, NULL: none that a profile names. O(1), no lock, no system call. */
const uint8_t *neighbour_table_find(const struct neighbour_table *table, const uint8_t address[16], uint64_t now_us);

#endif
