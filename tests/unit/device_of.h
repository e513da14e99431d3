/* A device for tests of what goes by devices. */
#ifndef USHER_TEST_DEVICE_OF_H
#define USHER_TEST_DEVICE_OF_H

#include "resolver/identity.h"

/* Its MAC address, one that a maker gave, ends in number. */
static inline struct device device_of(enum device_confidence confidence, uint8_t number)
{
	struct device device = {
		.confidence = confidence, .has_mac = true, .mac_octets = { 0xa8, [5] = number }
	};

	lease_mac_text(device.mac_octets, device.mac);
	return device;
}

#endif
