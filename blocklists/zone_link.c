#include "zone_link.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Told in words, -EIO. */
static int failed(struct zone_link *link, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int failed(struct zone_link *link, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(link->why, LISTS_WHY_MAX, format, arguments);
	va_end(arguments);
	return -EIO;
}

static int64_t clock_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

void zone_link_init(struct zone_link *link)
{
	link->fd = -1;
	link->got = 0;
	link->deadline = clock_s() + link->seconds_max;
}

/* Waits until the socket is ready. Returns 0 or -EIO. */
static int link_wait(struct zone_link *link, short what, int64_t patience_s)
{
	int64_t left = link->deadline - clock_s();
	struct pollfd fd = { .fd = link->fd, .events = what };

	if (left <= 0)
		return failed(link, "it takes longer than %" PRIu32 " s", link->seconds_max);
	int ret = poll(&fd, 1, (int)(left < patience_s ? left : patience_s) * 1000);
	if (ret > 0)
		return 0;
	return failed(link, "%s is silent", link->host);
}

static int link_connect_to(struct zone_link *link, const struct addrinfo *address)
{
	int error = 0;
	socklen_t len = sizeof error;

	link->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->fd < 0)
		return failed(link, "%s", strerror(errno));
	if (connect(link->fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS)
		return failed(link, "%s: %s", link->host, strerror(errno));
	int ret = link_wait(link, POLLOUT, ZONE_LINK_CONNECT_SECONDS);
	if (ret < 0)
		return ret;
	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
		return failed(link, "%s: %s", link->host, strerror(error));
	return 0;
}

void zone_link_close(struct zone_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
}

int zone_link_connect(struct zone_link *link)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *addresses;
	int ret = getaddrinfo(link->host, link->port, &hints, &addresses);

	if (ret != 0)
		return failed(link, "%s: %s", link->host, gai_strerror(ret));
	ret = -EIO;
	for (const struct addrinfo *address = addresses; address != NULL && ret < 0;
	        address = address->ai_next) {
		zone_link_close(link);
		ret = link_connect_to(link, address);
	}
	freeaddrinfo(addresses);
	return ret;
}

static int link_send(struct zone_link *link, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		int ret = link_wait(link, POLLOUT, ZONE_LINK_SLOW_SECONDS);
		if (ret < 0)
			return ret;
		ssize_t sent = send(link->fd, data + at, len - at, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return failed(link, "%s: %s", link->host, strerror(errno));
		at += sent > 0 ? (size_t)sent : 0;
	}
	return 0;
}

static int link_receive(struct zone_link *link, uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		int ret = link_wait(link, POLLIN, ZONE_LINK_SLOW_SECONDS);
		if (ret < 0)
			return ret;
		ssize_t got = recv(link->fd, data + at, len - at, 0);
		if (got == 0)
			return failed(link, "broke off after %" PRIu64 " octets", link->got);
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return failed(link, "%s: %s", link->host, strerror(errno));
		at += got > 0 ? (size_t)got : 0;
		link->got += got > 0 ? (uint64_t)got : 0;
	}
	if (link->got > link->size_max)
		return failed(link, "larger than %" PRIu64 " MiB", link->size_max >> 20);
	return 0;
}

int zone_link_send(struct zone_link *link, uint8_t *data, size_t len)
{
	data[0] = (uint8_t)(len >> 8);
	data[1] = (uint8_t)len;
	return link_send(link, data, len + 2);
}

long zone_link_receive(struct zone_link *link, uint8_t message[ZONE_LINK_MESSAGE_MAX])
{
	uint8_t prefix[2] = { 0 };
	int ret = link_receive(link, prefix, sizeof prefix);
	size_t len = (size_t)(prefix[0] << 8 | prefix[1]);

	if (ret == 0)
		ret = link_receive(link, message, len);
	return ret < 0 ? ret : (long)len;
}
