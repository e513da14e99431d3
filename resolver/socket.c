#include "socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Some five thousand small queries: 25 ms at full speed, which bridges what holds up a worker, and a bound on
 * what is read only to be dropped when it is slow (udp.h).
 */
#define UDP_BUFFER (2 * 1024 * 1024)
#define TCP_BACKLOG 1024
/* What the kernel may hold for one connection, for thousands that never read (it doubles these). */
#define TCP_SEND_BUFFER (64 * 1024)
#define TCP_RECEIVE_BUFFER (32 * 1024)

bool socket_is_wildcard(const struct config_address *address)
{
	if (address->socket.ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&address->socket)->sin6_addr);
	return ((const struct sockaddr_in *)&address->socket)->sin_addr.s_addr == htonl(INADDR_ANY);
}

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

/* Options that must hold are checked; those that only help (buffers, path MTU) may fail. */
static int udp_options(int fd, const struct config_address *address)
{
	bool v6 = address->socket.ss_family == AF_INET6;

	if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUFFER) < 0)
		set(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER);
	if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, UDP_BUFFER) < 0)
		set(fd, SOL_SOCKET, SO_SNDBUF, UDP_BUFFER);
	/* Never fragment by rumour: forged ICMP could shrink the path MTU (RFC 9715 3.1). */
	if (v6)
		set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT);
	else
		set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
	if (!socket_is_wildcard(address))
		return 0;
	return v6 ? set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : set(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

/* Connections have them from the listening socket. */
static void tcp_options(int fd)
{
	set(fd, SOL_SOCKET, SO_SNDBUF, TCP_SEND_BUFFER);
	set(fd, SOL_SOCKET, SO_RCVBUF, TCP_RECEIVE_BUFFER);
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

static int socket_open(const struct config_address *address, int type)
{
	int fd = socket(address->socket.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	ret = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (ret == 0)
		ret = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	/* 0.0.0.0 and :: side by side. */
	if (ret == 0 && address->socket.ss_family == AF_INET6)
		ret = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	/* An address that DHCP or IPv6 duplicate detection has not finished yet at boot may be bound already.
	 */
	if (ret == 0)
		set(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (ret == 0 && type == SOCK_DGRAM)
		ret = udp_options(fd, address);
	if (ret == 0 && type == SOCK_STREAM)
		tcp_options(fd);
	if (ret == 0 && bind(fd, (const struct sockaddr *)&address->socket, address->socket_len) < 0)
		ret = -errno;
	if (ret == 0 && type == SOCK_STREAM && listen(fd, TCP_BACKLOG) < 0)
		ret = -errno;
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

bool socket_is_taken(const struct config_address *address, int type)
{
	int fd = socket(address->socket.ss_family, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	if (address->socket.ss_family == AF_INET6)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	set(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (type == SOCK_STREAM)
		set(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* connections in TIME_WAIT are no listener */
	bool taken = bind(fd, (const struct sockaddr *)&address->socket, address->socket_len) < 0 &&
	             errno == EADDRINUSE;
	close(fd);
	return taken;
}

int socket_bind_udp(const struct config_address *address)
{
	return socket_open(address, SOCK_DGRAM);
}

int socket_listen_tcp(const struct config_address *address)
{
	return socket_open(address, SOCK_STREAM);
}
