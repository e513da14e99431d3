/*
 * Server cookies (RFC 7873) in the interoperable form of RFC 9018: SipHash-2-4 over client cookie, time and
 * address.
 *
 * Servers that share an address (anycast, a pair behind one name) are given the same secrets by
 * configuration: the first makes cookies, all are accepted, so that a new one is added behind, then moved to
 * the front, then left alone (RFC 9018 5). Without any, each day has a secret of its own, derived from one
 * that the process made at its start. The time in a cookie says which day's it is, so yesterday's are good
 * until they expire.
 */
#ifndef USHER_COOKIE_H
#define USHER_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COOKIE_LEN 24 /* client cookie 8, server cookie 16 */

struct cookie_secret {
	uint8_t key[16];
};

struct cookie_secrets {
	struct cookie_secret own;          /* of this process */
	const struct cookie_secret *given; /* by configuration */
	size_t given_count;                /* 0: own is used */
};

int cookie_secret_make(struct cookie_secret *secret); /* random; 0 or negative errno */

/* The cookie to send: client's 8 octets and ours. address: 16 octets. now_s: seconds since 1970. */
void cookie_make(const struct cookie_secrets *secrets, const uint8_t client[8], const uint8_t address[16],
        uint32_t now_s, uint8_t cookie[COOKIE_LEN]);

/* True if cookie is one of ours for that address, made within the last hour (and at most 5 minutes ahead),
 * RFC 9018 4.3. */
bool cookie_is_valid(const struct cookie_secrets *secrets, const uint8_t *cookie, unsigned len,
        const uint8_t address[16], uint32_t now_s);

#endif
