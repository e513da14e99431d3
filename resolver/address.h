/* Addresses of clients and in answers: one space of 16 octets, IPv4 mapped (RFC 4291 2.5.5.2). */
#ifndef USHER_ADDRESS_H
#define USHER_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct config_network;

/* From an AF_INET or AF_INET6 socket address. */
void address_from_socket(uint8_t address[16], const struct sockaddr *socket);

/* Returns text; IPv4 as such. */
const char *address_text(const uint8_t address[16], char text[INET6_ADDRSTRLEN]);

/* 127.0.0.0/8, also mapped, and ::1. */
bool address_is_loopback(const uint8_t address[16]);

bool address_is_in(const uint8_t address[16], const struct config_network *network);

/* Keyed; all bits are good. */
uint64_t address_hash(const uint8_t address[16], uint64_t seed);

/*
 * The same of the client behind an address: the address of IPv4, the /64 of IPv6, where a device has as many
 * addresses as it likes (RFC 8981).
 */
uint64_t address_client_hash(const uint8_t address[16], uint64_t seed);

#endif
