/* What programs outside are told of whose a record, an episode or a signal is. */
#include <jansson.h>

#include "identity.h"
#include "value.h"

const char *const identity_keys[] = { "device", "mac", "confidence", "randomised", "identity", NULL };

int identity_add_to(json_t *object, const uint8_t *client, const struct device *device)
{
	static const struct device nobody = { .confidence = DEVICE_UNKNOWN };
	const struct device *known = device ? device : &nobody;
	struct identity identity = identity_of(client, known);
	char text[IDENTITY_TEXT_LEN];
	json_t *values[] = { value_text(device_label(known)), value_text(known->has_mac ? known->mac : NULL),
		value_text(device_confidence_text(known->confidence)),
		known->has_mac ? json_boolean(device_is_randomised(known)) : json_null(),
		value_text(identity_text(&identity, text)) };
	int ret = 0;

	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		ret |= json_object_set_new(object, identity_keys[i], values[i]);
	return ret;
}
