/*
 * What RADIUS accounting says of sessions, as FreeRADIUS writes it into its detail files (rlm_detail): blocks
 * of `attribute = value` lines, each ended by an empty line. Text in, sessions out; following the files is
 * accounting_watch.h's business.
 *
 * Values are what a device or a person typed, so hostile: they come out printable and short.
 */
#ifndef USHER_ACCOUNTING_H
#define USHER_ACCOUNTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leases.h"

#define ACCOUNTING_ADDRESSES_MAX 8
#define ACCOUNTING_USER_MAX LEASE_NAME_MAX

enum accounting_status { ACCOUNTING_OTHER, ACCOUNTING_START, ACCOUNTING_STOP, ACCOUNTING_INTERIM };

struct accounting { /* one block */
	enum accounting_status status;
	int64_t time_s; /* when it happened, since 1970, by the server's clock where the block has its time */
	uint64_t session;  /* hash of Acct-Session-Id; 0: it has none */
	int64_t session_s; /* how long the session lasts by then, -1: it does not say */
	int64_t timeout_s; /* Session-Timeout, from its start; 0: it does not say */
	bool has_mac;
	uint8_t mac[6];
	uint8_t addresses[ACCOUNTING_ADDRESSES_MAX][16]; /* IPv4 mapped */
	size_t address_count;
	char user[ACCOUNTING_USER_MAX + 1]; /* accounting_user(); "" none, or no more than the MAC */
};

/*
 * Reads the whole blocks of text and calls found for each that starts, goes on with or stops a session of a
 * known device or address. Returns the octets read, up to where the next call must begin; a block longer than
 * any is passed over. *bad counts blocks that make no sense.
 */
size_t accounting_read(const char *text, size_t len, unsigned *bad,
        void (*found)(void *arg, const struct accounting *block), void *arg);

/*
 * A user's name as it is kept and asked for: printable ASCII; one that is longer or has other octets is cut
 * or has question marks, and a hash of all of it at its end, so that it stays another's.
 */
void accounting_user(const char *name, size_t len, char user[ACCOUNTING_USER_MAX + 1]);

/* Calling-Station-Id: six octets in hexadecimal, however parted. Returns whether it is one device's MAC. */
bool accounting_mac(const char *text, uint8_t mac[6]);

#endif
