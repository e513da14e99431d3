#include "identity.h"

#include <string.h>
#include <xxhash.h>

#include "address.h"

_Static_assert(sizeof(struct identity) == 17, "compared and hashed as a whole");

struct identity identity_of(const uint8_t *client, const struct device *device)
{
	struct identity identity = { .kind = IDENTITY_NONE };

	if (client == NULL)
		return identity;
	if (device != NULL && device_is_sure(device) && device->has_mac) {
		identity.kind = IDENTITY_MAC;
		memcpy(identity.octets, device->mac_octets, sizeof device->mac_octets);
		return identity;
	}
	identity.kind = IDENTITY_ADDRESS;
	memcpy(identity.octets, client, sizeof identity.octets);
	return identity;
}

bool identity_is_same(const struct identity *a, const struct identity *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

uint64_t identity_hash(const struct identity *identity, uint64_t seed)
{
	return XXH3_64bits_withSeed(identity, sizeof *identity, seed);
}

const char *identity_text(const struct identity *identity, char text[IDENTITY_TEXT_LEN])
{
	if (identity->kind == IDENTITY_NONE)
		return NULL;
	if (identity->kind == IDENTITY_MAC)
		lease_mac_text(identity->octets, text);
	else
		address_text(identity->octets, text);
	return text;
}
