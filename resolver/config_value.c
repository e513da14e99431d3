#include "config_value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Largest last: a value is printed in the largest unit that takes it whole. */
struct unit {
	const char *text;
	uint64_t factor;
};

static const struct unit durations[] = {
	{ "ms", 1 },
	{ "s", 1000 },
	{ "m", 60 * 1000 },
	{ "h", 60 * 60 * 1000 },
	{ "d", 24 * 60 * 60 * 1000 },
	{ NULL, 0 },
};

static const struct unit sizes[] = {
	{ "KiB", UINT64_C(1) << 10 },
	{ "MiB", UINT64_C(1) << 20 },
	{ "GiB", UINT64_C(1) << 30 },
	{ "TiB", UINT64_C(1) << 40 },
	{ NULL, 0 },
};

/* Reads digits at *text and moves behind them. */
static int digits(const char **text, uint64_t *number)
{
	const char *at = *text;

	*number = 0;
	for (; *at >= '0' && *at <= '9'; at++) {
		unsigned digit = (unsigned)(*at - '0');
		if (*number > (UINT64_MAX - digit) / 10)
			return -EINVAL;
		*number = *number * 10 + digit;
	}
	if (at == *text)
		return -EINVAL;
	*text = at;
	return 0;
}

int config_number_parse(const char *text, uint64_t *number)
{
	return digits(&text, number) < 0 || *text != '\0' ? -EINVAL : 0;
}

static int unit_parse(const char *text, const struct unit *units, uint64_t *value)
{
	uint64_t number;

	if (digits(&text, &number) < 0)
		return -EINVAL;
	for (const struct unit *unit = units; unit->text != NULL; unit++) {
		if (strcmp(text, unit->text) != 0)
			continue;
		if (number > UINT64_MAX / unit->factor)
			return -EINVAL;
		*value = number * unit->factor;
		return 0;
	}
	return -EINVAL;
}

static void unit_text(uint64_t value, const struct unit *units, char text[CONFIG_VALUE_TEXT_MAX])
{
	const struct unit *best = units;

	for (const struct unit *unit = units; unit->text != NULL; unit++)
		if (value > 0 && value % unit->factor == 0)
			best = unit;
	snprintf(text, CONFIG_VALUE_TEXT_MAX, "%" PRIu64 "%s", value / best->factor, best->text);
}

int config_duration_parse(const char *text, uint64_t *ms)
{
	return unit_parse(text, durations, ms);
}

int config_size_parse(const char *text, uint64_t *size)
{
	return unit_parse(text, sizes, size);
}

void config_duration_text(uint64_t ms, char text[CONFIG_VALUE_TEXT_MAX])
{
	/* "0s" reads better than "0ms". */
	unit_text(ms, ms == 0 ? durations + 1 : durations, text);
}

void config_size_text(uint64_t size, char text[CONFIG_VALUE_TEXT_MAX])
{
	unit_text(size, sizes, text);
}

/* ---- addresses and networks ---- */

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

int config_socket_parse(
        struct sockaddr_storage *socket, socklen_t *len, const char *text, uint16_t default_port)
{
	char address[INET6_ADDRSTRLEN];
	const char *at = strchr(text, '@');
	size_t address_len = at == NULL ? strlen(text) : (size_t)(at - text);
	uint64_t port = default_port;
	struct sockaddr_in *v4 = (struct sockaddr_in *)socket;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)socket;

	if (address_len >= sizeof address)
		return -EINVAL;
	memcpy(address, text, address_len);
	address[address_len] = '\0';
	memset(socket, 0, sizeof *socket);
	bool is_v4 = inet_pton(AF_INET, address, &v4->sin_addr) == 1;
	if (!is_v4 && inet_pton(AF_INET6, address, &v6->sin6_addr) != 1)
		return -EINVAL;
	if (at != NULL && config_number_parse(at + 1, &port) < 0)
		return -ERANGE;
	if (port < 1 || port > UINT16_MAX)
		return -ERANGE;
	if (is_v4) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*len = sizeof *v4;
	} else {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*len = sizeof *v6;
	}
	return 0;
}

/* RFC 4632 3.1, RFC 4291 2.3. */
int config_network_read(struct config_network *network, const char *text)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t address_len = slash == NULL ? strlen(text) : (size_t)(slash - text);
	uint64_t length = 0;

	if (address_len >= sizeof address)
		return -EINVAL;
	memcpy(address, text, address_len);
	address[address_len] = '\0';
	memset(network, 0, sizeof *network);
	bool is_v4 = inet_pton(AF_INET, address, network->address + 12) == 1;
	if (is_v4)
		memcpy(network->address, mapped_prefix, sizeof mapped_prefix);
	else if (inet_pton(AF_INET6, address, network->address) != 1)
		return -EINVAL;
	uint64_t longest = is_v4 ? 32 : 128;
	if (slash == NULL)
		length = longest;
	else if (config_number_parse(slash + 1, &length) < 0 || length > longest)
		return -EINVAL;
	network->length = (uint8_t)(length + (is_v4 ? 96 : 0));
	bool host_bits = false;
	for (unsigned bit = network->length; bit < 128; bit++) {
		uint8_t mask = (uint8_t)(0x80 >> bit % 8);
		host_bits |= (network->address[bit / 8] & mask) != 0;
		network->address[bit / 8] &= (uint8_t)~mask;
	}
	return host_bits ? -ERANGE : 0;
}

int config_network_parse(struct config_network *network, const char *text)
{
	return config_network_read(network, text) < 0 ? -EINVAL : 0;
}

void config_network_text(const struct config_network *network, char text[INET6_ADDRSTRLEN + 4])
{
	bool is_v4 =
	        network->length >= 96 && memcmp(network->address, mapped_prefix, sizeof mapped_prefix) == 0;

	inet_ntop(is_v4 ? AF_INET : AF_INET6, network->address + (is_v4 ? 12 : 0), text, INET6_ADDRSTRLEN);
	size_t len = strlen(text);
	snprintf(text + len, INET6_ADDRSTRLEN + 4 - len, "/%d", network->length - (is_v4 ? 96 : 0));
}

/* ---- times ---- */

int config_time_parse(const char *text, uint16_t *minutes)
{
	uint64_t hour, minute;
	const char *at = text;

	if (digits(&at, &hour) < 0 || *at != ':' || at - text > 2)
		return -EINVAL;
	const char *colon = at++;
	if (digits(&at, &minute) < 0 || *at != '\0' || at - colon != 3)
		return -EINVAL;
	if (minute > 59 || hour * 60 + minute > 24 * 60)
		return -EINVAL;
	*minutes = (uint16_t)(hour * 60 + minute);
	return 0;
}

void config_time_text(uint16_t minutes, char text[CONFIG_VALUE_TEXT_MAX])
{
	snprintf(text, CONFIG_VALUE_TEXT_MAX, "%02u:%02u", minutes / 60u, minutes % 60u);
}

static const char *const day_names[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

static int day_parse(const char *text, size_t len)
{
	for (int day = 0; day < 7; day++)
		if (len == 3 && strncmp(text, day_names[day], 3) == 0)
			return day;
	return -EINVAL;
}

int config_days_parse(const char *text, uint8_t *days)
{
	*days = 0;
	if (strcmp(text, "daily") == 0) {
		*days = 0x7f;
		return 0;
	}
	for (;;) {
		text += strspn(text, " ");
		size_t len = strcspn(text, "-, ");
		int first = day_parse(text, len), last = first;
		text += len;
		if (*text == '-') {
			len = strcspn(++text, ", ");
			last = day_parse(text, len);
			text += len;
		}
		if (first < 0 || last < 0)
			return -EINVAL;
		for (int day = first;; day = (day + 1) % 7) {
			*days |= (uint8_t)(1 << day);
			if (day == last)
				break;
		}
		text += strspn(text, " ");
		if (*text == '\0')
			return 0;
		if (*text++ != ',')
			return -EINVAL;
	}
}

void config_days_text(uint8_t days, char text[CONFIG_VALUE_TEXT_MAX])
{
	size_t len = 0;

	text[0] = '\0';
	if (days == 0x7f) {
		snprintf(text, CONFIG_VALUE_TEXT_MAX, "daily");
		return;
	}
	for (unsigned day = 0; day < 7; day++) {
		unsigned last = day;
		if ((days & 1u << day) == 0)
			continue;
		while (last < 6 && (days & 1u << (last + 1)) != 0)
			last++;
		len += (size_t)snprintf(text + len, CONFIG_VALUE_TEXT_MAX - len, "%s%s%s%s",
		        len > 0 ? "," : "", day_names[day], last > day ? "-" : "",
		        last > day ? day_names[last] : "");
		day = last;
	}
}
