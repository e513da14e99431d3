/*
 * A TCP connection to a primary: messages with their length before them (RFC 1035 4.2.2), within a time for
 * the whole and a patience for each octet, and up to a size.
 */
#ifndef USHER_ZONE_LINK_H
#define USHER_ZONE_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "lists.h"

#define ZONE_LINK_MESSAGE_MAX 65535
#define ZONE_LINK_CONNECT_SECONDS 20
#define ZONE_LINK_SLOW_SECONDS 60 /* without an octet, and the primary is as good as silent */

struct zone_link {
	char host[256], port[8];
	uint32_t seconds_max; /* for all connections together */
	uint64_t size_max;    /* of what arrives */
	char *why;            /* the caller's, LISTS_WHY_MAX: filled by whatever returns -EIO */

	int fd; /* -1: not connected */
	int64_t deadline;
	uint64_t got;
};

/* Host, port, limits and why are filled in; no connection is made yet. */
void zone_link_init(struct zone_link *link);
void zone_link_close(struct zone_link *link);

/* Connects, anew if it was connected. Returns 0 or -EIO. */
int zone_link_connect(struct zone_link *link);

/* Sends a message of len octets, which stands two octets behind data: they are filled with its length.
 * Returns 0 or -EIO. */
int zone_link_send(struct zone_link *link, uint8_t *data, size_t len);

/* Receives a message. Returns its length, or -EIO. */
long zone_link_receive(struct zone_link *link, uint8_t message[ZONE_LINK_MESSAGE_MAX]);

#endif
