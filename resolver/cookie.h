/* Server cookies (RFC 7873) in the interoperable form of RFC 9018: SipHash-2-4 over client cookie, time and
 * address. */
#ifndef USHER_COOKIE_H
#define USHER_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#define COOKIE_LEN 24 /* client cookie 8, server cookie 16 */

struct cookie_secret {
	uint8_t key[16];
};

int cookie_secret_make(struct cookie_secret *secret); /* random; 0 or negative errno */

/* The cookie to send: client's 8 octets and ours. address: 16 octets. now_s: seconds since 1970. */
void cookie_make(const struct cookie_secret *secret, const uint8_t client[8], const uint8_t address[16],
        uint32_t now_s, uint8_t cookie[COOKIE_LEN]);

/* True if cookie is one of ours for that address, made within the last hour (and at most 5 minutes ahead),
 * RFC 9018 4.3. */
bool cookie_is_valid(const struct cookie_secret *secret, const uint8_t *cookie, unsigned len,
        const uint8_t address[16], uint32_t now_s);

#endif
