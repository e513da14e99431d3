#include "cookie.h"

#include <errno.h>
#include <sodium/crypto_shorthash_siphash24.h>
#include <sodium/utils.h>
#include <string.h>
#include <sys/random.h>

#include "message.h"

#define VERSION 1
#define LIFE_S 3600
#define AHEAD_S 300
#define DAY_S 86400

int cookie_secret_make(struct cookie_secret *secret)
{
	return getrandom(secret->key, sizeof secret->key, 0) == sizeof secret->key ? 0 : -errno;
}

/* RFC 9018 4.4: hash of client cookie, version, reserved, timestamp, client address (4 octets for IPv4). */
static void cookie_hash(const struct cookie_secret *secret, const uint8_t cookie[16],
        const uint8_t address[16], uint8_t hash[8])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint8_t in[16 + 16];
	size_t skip = memcmp(address, mapped, sizeof mapped) == 0 ? 12 : 0;

	memcpy(in, cookie, 16);
	memcpy(in + 16, address + skip, 16 - skip);
	crypto_shorthash_siphash24(hash, in, 32 - skip, secret->key);
}

/* The secret of the day on which a cookie was made. */
static struct cookie_secret day_secret(const struct cookie_secret *own, uint32_t made_s)
{
	struct cookie_secret secret;
	uint8_t day[4];

	wire_write32(day, made_s / DAY_S);
	crypto_shorthash_siphashx24(secret.key, day, sizeof day, own->key);
	return secret;
}

void cookie_make(const struct cookie_secrets *secrets, const uint8_t client[8], const uint8_t address[16],
        uint32_t now_s, uint8_t cookie[COOKIE_LEN])
{
	struct cookie_secret secret =
	        secrets->given_count > 0 ? secrets->given[0] : day_secret(&secrets->own, now_s);

	memcpy(cookie, client, 8);
	memset(cookie + 8, 0, 4);
	cookie[8] = VERSION;
	wire_write32(cookie + 12, now_s);
	cookie_hash(&secret, cookie, address, cookie + 16);
}

static bool cookie_is_of(const struct cookie_secret *secret, const uint8_t *cookie, const uint8_t address[16])
{
	uint8_t hash[8];

	cookie_hash(secret, cookie, address, hash);
	return sodium_memcmp(hash, cookie + 16, sizeof hash) == 0;
}

bool cookie_is_valid(const struct cookie_secrets *secrets, const uint8_t *cookie, unsigned len,
        const uint8_t address[16], uint32_t now_s)
{
	if (len != COOKIE_LEN || cookie[8] != VERSION)
		return false;
	uint32_t made_s = wire_read32(cookie + 12);
	int32_t age = (int32_t)(now_s - made_s); /* serial arithmetic, RFC 1982 */
	if (age > LIFE_S || age < -AHEAD_S)
		return false;
	if (secrets->given_count == 0) {
		struct cookie_secret secret = day_secret(&secrets->own, made_s);
		return cookie_is_of(&secret, cookie, address);
	}
	for (size_t i = 0; i < secrets->given_count; i++)
		if (cookie_is_of(&secrets->given[i], cookie, address))
			return true;
	return false;
}
