/*
 * Transaction signatures, RFC 8945: a message to a primary is signed with a shared secret, and what comes
 * back is taken only if it is signed with the same, as a stream of messages each of which depends on the one
 * before. ldns verifies single messages only, so the few lines of arithmetic are here.
 */
#ifndef USHER_TSIG_H
#define USHER_TSIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lists.h"
#include "name.h"

#define TSIG_MAC_MAX 64
#define TSIG_SECRET_MAX 512
#define TSIG_RECORD_MAX 700 /* octets that tsig_sign() adds */

/* As configured. */
struct tsig_key {
	const char *name;      /* "key.example"; "" or NULL: no key, nothing is signed */
	const char *algorithm; /* "hmac-sha256" */
	const char *secret;    /* in base64 */
};

/* One exchange: a query and its stream of answers. */
struct tsig {
	struct name name, algorithm;
	const char *digest; /* OpenSSL's name of the hash */
	uint8_t secret[TSIG_SECRET_MAX];
	size_t secret_len;
	uint8_t mac[TSIG_MAC_MAX]; /* of the last signed message */
	size_t mac_len;
	void *running;              /* the digest of what came since */
	unsigned unsigned_messages; /* since the last signed one */
	bool first;                 /* the next answer is the first */
};

/* What is wrong with a key, NULL if nothing is. */
const char *tsig_key_wrong(const struct tsig_key *key);

/* Begins an exchange with a key that is not wrong. */
void tsig_init(struct tsig *tsig, const struct tsig_key *key);
void tsig_clear(struct tsig *tsig);

/* Signs the query: appends the record to a message that has room octets. Returns the new length, 0 without
 * room or memory. */
size_t tsig_sign(struct tsig *tsig, uint8_t *message, size_t len, size_t room, int64_t now);

/* Takes the next message of the answer. Returns 0, or -EKEYREJECTED with `why`. */
int tsig_verify(struct tsig *tsig, const uint8_t *message, size_t len, int64_t now, char why[LISTS_WHY_MAX]);

/* True if nothing came after the last signed message: what ends a stream must be signed. */
bool tsig_is_complete(const struct tsig *tsig);

/* The error that a message's signature record tells (BADKEY 17, …), 0 if none. */
unsigned tsig_error(const uint8_t *message, size_t len);

#endif
