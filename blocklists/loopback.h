/*
 * What is this machine itself, or on its wire alone: loopback, unspecified and link-local addresses, and
 * localhost. No redirect may lead there, and no proxy is asked for it.
 */
#ifndef USHER_LOOPBACK_H
#define USHER_LOOPBACK_H

#include <stdbool.h>
#include <sys/socket.h>

/* True also for what is neither IPv4 nor IPv6. */
bool loopback_address(const struct sockaddr *address);

/* Of a URL's host, if it is an address in any way of writing, or localhost. Nothing is looked up. */
bool loopback_url(const char *url);

#endif
