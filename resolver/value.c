#include "value.h"

#include "address.h"
#include "utc.h"

json_t *value_text(const char *text)
{
	json_t *json = text ? json_string(text) : NULL;

	return json ? json : json_null();
}

json_t *value_client(const uint8_t *client)
{
	char text[INET6_ADDRSTRLEN];

	return client ? json_string(address_text(client, text)) : json_null();
}

json_t *value_time(int64_t s)
{
	char text[UTC_TEXT_LEN];

	return s != 0 ? json_string(utc_text(s, text)) : json_null();
}

json_t *value_time_us(int64_t us)
{
	char text[UTC_TEXT_LEN];

	return json_string(utc_text_us(us, text));
}
