/* What a value's text means, and the text of a value: durations, sizes, addresses, days. No configuration in
 * it, no messages. */
#ifndef USHER_CONFIG_VALUE_H
#define USHER_CONFIG_VALUE_H

#include <stdint.h>
#include <sys/socket.h>

#include "config.h"

#define CONFIG_VALUE_TEXT_MAX 32

/* Digits only. Returns 0 or -EINVAL (also for what has no room in 64 bits). */
int config_number_parse(const char *text, uint64_t *number);

/* "64MiB" in octets: KiB MiB GiB TiB. Returns 0 or -EINVAL. config_duration_parse() is in config.h. */
int config_size_parse(const char *text, uint64_t *size);

/* "10.0.0.1", "10.0.0.1@5353", "::1@53". Returns 0, -EINVAL (no address) or -ERANGE (no port). */
int config_socket_parse(
        struct sockaddr_storage *socket, socklen_t *len, const char *text, uint16_t default_port);

/* As config_network_parse(), but host bits are cleared and told by -ERANGE. */
int config_network_read(struct config_network *network, const char *text);

/* "08:45" to "24:00" in minutes after midnight. Returns 0 or -EINVAL. */
int config_time_parse(const char *text, uint16_t *minutes);

/* "mon-fri", "sat,sun", "fri-mon", "daily": bit 0 is Monday. Returns 0 or -EINVAL. */
int config_days_parse(const char *text, uint8_t *days);

void config_duration_text(uint64_t ms, char text[CONFIG_VALUE_TEXT_MAX]);
void config_size_text(uint64_t size, char text[CONFIG_VALUE_TEXT_MAX]);
void config_time_text(uint16_t minutes, char text[CONFIG_VALUE_TEXT_MAX]);
void config_days_text(uint8_t days, char text[CONFIG_VALUE_TEXT_MAX]);

#endif
