#include "utc.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define FORMAT "%Y-%m-%dT%H:%M:%S"

const char *utc_text(int64_t s, char text[UTC_TEXT_LEN])
{
	time_t at = (time_t)s;
	struct tm tm;

	if (!gmtime_r(&at, &tm) || strftime(text, UTC_TEXT_LEN, FORMAT "Z", &tm) == 0)
		text[0] = '\0';
	return text;
}

const char *utc_text_us(int64_t us, char text[UTC_TEXT_LEN])
{
	int64_t rest = us % 1000000;
	time_t at = (time_t)(us / 1000000 - (rest < 0));
	struct tm tm;

	text[0] = '\0';
	if (!gmtime_r(&at, &tm))
		return text;
	size_t len = strftime(text, UTC_TEXT_LEN, FORMAT, &tm);
	snprintf(text + len, UTC_TEXT_LEN - len, ".%06" PRId64 "Z", rest < 0 ? rest + 1000000 : rest);
	return text;
}

bool utc_read(const char *text, int64_t *s)
{
	struct tm tm = { 0 };

	if (!strptime(text, FORMAT, &tm))
		return false;
	*s = (int64_t)timegm(&tm);
	return true;
}
