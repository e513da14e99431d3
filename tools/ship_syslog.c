/*
 * Syslog, RFC 5424, with the event as structured data. Over TCP a message is counted in octets (RFC
 * 6587 3.4.1) and a batch is a connection that the collector ends after us, so that we know it has read it
 * all; UDP (RFC 5426) is as sure as UDP is.
 */
#include "ship.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "blocklists/member.h"
#include "commands.h"

#define FACILITY_LOCAL0 16
#define TIMEOUT_S 10
/* RFC 5612: the enterprise number of documentation; usher has none of its own. */
#define SD_ID "usher@32473"

static const char *syslog_lacks(const struct config *config)
{
	return config->ship.syslog_to.socket_len == 0 ? "ship.syslog.to" : NULL;
}

/* RFC 5424 6.2.1: warning, notice, informational. */
static unsigned priority(const json_t *record)
{
	const char *severity = member_text(record, "severity");

	return FACILITY_LOCAL0 * 8 + (strcmp(severity, "danger") == 0           ? 4
	                                     : strcmp(severity, "caution") == 0 ? 5
	                                                                        : 6);
}

/* RFC 5424 6.3.3: what a value may not hold bare. */
static void print_param(FILE *out, const char *key, const char *value)
{
	char *safe = command_safe_text(value);

	fprintf(out, " %s=\"", key);
	for (const char *p = safe; *p != '\0'; p++) {
		if (strchr("\"\\]", *p))
			fputc('\\', out);
		fputc(*p, out);
	}
	fputc('"', out);
	free(safe);
}

static void print_message(FILE *out, const char *host, const json_t *record)
{
	static const char *const keys[] = { "client", "device", "profile", "name", "type", "category",
		"severity", "rule", "source", "matched", "action" };
	char number[32];

	fprintf(out, "<%u>1 %s %s usher - block [" SD_ID, priority(record), member_text(record, "time"),
	        host);
	snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
	        json_integer_value(json_object_get(record, "id")));
	print_param(out, "id", number);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (member_text(record, keys[i])[0] != '\0')
			print_param(out, keys[i], member_text(record, keys[i]));
	snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
	        json_integer_value(json_object_get(record, "generation")));
	print_param(out, "generation", number);
	char *name = command_safe_text(member_text(record, "name"));
	fprintf(out, "] %s %s", member_text(record, "action"), name);
	free(name);
}

/* RFC 5424 6: printable ASCII without spaces. */
static void host_name(const struct config *config, char host[256])
{
	snprintf(host, 256, "%s", config->ship.site);
	for (char *p = host; *p != '\0'; p++)
		if (*p <= ' ' || *p > '~')
			*p = '-';
}

/* ---- sending ---- */

static int send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		data += sent;
		len -= (size_t)sent;
	}
	return 0;
}

/* The collector has read everything when it ends the connection that we have ended. */
static int await_end(int fd)
{
	struct pollfd end = { .fd = fd, .events = POLLIN };
	char rest[256];

	if (shutdown(fd, SHUT_WR) < 0)
		return -errno;
	for (;;) {
		int ready = poll(&end, 1, TIMEOUT_S * 1000);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return ready < 0 ? -errno : -ETIMEDOUT;
		ssize_t got = recv(fd, rest, sizeof rest, 0);
		if (got <= 0)
			return got < 0 ? -errno : 0;
	}
}

static int send_one(int fd, bool tcp, const char *host, const json_t *record)
{
	char *message = NULL, count[32];
	size_t len = 0;
	FILE *out = open_memstream(&message, &len);

	if (!out)
		return -ENOMEM;
	print_message(out, host, record);
	if (fclose(out) != 0) {
		free(message);
		return -ENOMEM;
	}
	int ret = 0;
	if (tcp)
		ret = send_all(fd, count, (size_t)snprintf(count, sizeof count, "%zu ", len));
	if (ret == 0)
		ret = send_all(fd, message, len);
	free(message);
	return ret;
}

static int connected(const struct config_address *to, bool tcp)
{
	const struct timeval timeout = { .tv_sec = TIMEOUT_S };
	int fd = socket(to->socket.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	if (connect(fd, (const struct sockaddr *)&to->socket, to->socket_len) == 0)
		return fd;
	int ret = -errno;
	close(fd);
	return ret;
}

static int syslog_send(const struct config *config, const json_t *records, char why[SHIP_WHY_MAX])
{
	bool tcp = strcmp(config->ship.syslog_protocol, "tcp") == 0;
	const json_t *record;
	char host[256];
	size_t i;
	int ret = 0, fd = connected(&config->ship.syslog_to, tcp);

	if (fd >= 0) {
		host_name(config, host);
		json_array_foreach(records, i, record) if (ret == 0) ret = send_one(fd, tcp, host, record);
		if (ret == 0 && tcp)
			ret = await_end(fd);
		close(fd);
	} else {
		ret = fd;
	}
	if (ret < 0)
		snprintf(why, SHIP_WHY_MAX, "%s: %s", config->ship.syslog_to.text, strerror(-ret));
	return ret;
}

const struct ship_target ship_syslog = { "syslog", syslog_lacks, syslog_send };
