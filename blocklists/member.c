#include "member.h"

const char *member_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

int64_t member_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}
