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

/*
 * True if another program holds the address: SO_REUSEPORT would let us share it in silence, and a part of the questions would get another's
 * answers. To be asked before the first of our own sockets is bound.
 */
bool socket_is_taken(const struct config_address *address, int type);

bool socket_is_wildcard(const struct config_address *address);

#endif
