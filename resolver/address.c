#include "address.h"

#include <arpa/inet.h>
#include <string.h>
#include <xxhash.h>

#include "config.h"

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

void address_from_socket(uint8_t address[16], const struct sockaddr *socket)
{
	if (socket->sa_family == AF_INET6) {
		memcpy(address, &((const struct sockaddr_in6 *)socket)->sin6_addr, 16);
		return;
	}
	memcpy(address, mapped, sizeof mapped);
	memcpy(address + sizeof mapped, &((const struct sockaddr_in *)socket)->sin_addr, 4);
}

const char *address_text(const uint8_t address[16], char text[INET6_ADDRSTRLEN])
{
	bool is_v4 = memcmp(address, mapped, sizeof mapped) == 0;

	return inet_ntop(
	        is_v4 ? AF_INET : AF_INET6, address + (is_v4 ? sizeof mapped : 0), text, INET6_ADDRSTRLEN);
}

bool address_is_loopback(const uint8_t address[16])
{
	static const uint8_t one[16] = { [15] = 1 };

	return memcmp(address, one, sizeof one) == 0 ||
	       (memcmp(address, mapped, sizeof mapped) == 0 && address[12] == 127);
}

bool address_is_in(const uint8_t address[16], const struct config_network *network)
{
	unsigned whole = network->length / 8, rest = network->length % 8;

	if (memcmp(network->address, address, whole) != 0)
		return false;
	return rest == 0 || (network->address[whole] ^ address[whole]) >> (8 - rest) == 0;
}

uint64_t address_hash(const uint8_t address[16], uint64_t seed)
{
	return XXH3_64bits_withSeed(address, 16, seed);
}

uint64_t address_client_hash(const uint8_t address[16], uint64_t seed)
{
	return XXH3_64bits_withSeed(address, memcmp(address, mapped, sizeof mapped) == 0 ? 16 : 8, seed);
}
