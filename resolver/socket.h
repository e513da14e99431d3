/* The sockets that usherd listens on, made while it may still bind port 53: one of each kind a worker and
 * address. */
#ifndef USHER_SOCKET_H
#define USHER_SOCKET_H

#include <stdbool.h>

#include "config.h"

/* A bound UDP socket, or a listening TCP one: non-blocking, close-on-exec, SO_REUSEPORT. Returns the fd or
 * negative errno. */
int socket_bind_udp(const struct config_address *address);
int socket_listen_tcp(const struct config_address *address);

bool socket_is_wildcard(const struct config_address *address);

#endif
