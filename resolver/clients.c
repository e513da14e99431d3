/*
 * All networks lie in one space of 128-bit addresses (IPv4 is ::ffff:0:0/96) and nest or are apart, so a
 * sweep over them sorted by begin, wider first, with a stack of those that are open cuts the space into
 * disjoint ranges. Only the begin of a range is kept: it ends where the next begins. A look-up is one binary
 * search, whatever the nesting.
 */
#include "clients.h"

#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 address_int;

#define NO_PROFILE (-1)

/* A network of `serve` or of a profile, before the sweep. */
struct net {
	address_int first, last;
	int profile;    /* NO_PROFILE: of serve */
	unsigned order; /* among equals the one written first wins */
};

/* What holds inside a network: what it says itself, and what those around it say. */
struct open_net {
	address_int last;
	int profile;
	bool served;
};

struct clients {
	size_t count;
	address_int *first; /* ascending; first[0] is 0 */
	int16_t *value;     /* profile or CLIENTS_UNSERVED */
};

static address_int address_read(const uint8_t address[16])
{
	uint64_t half[2];

	memcpy(half, address, sizeof half);
	return (address_int)be64toh(half[0]) << 64 | be64toh(half[1]);
}

static struct net net_make(const struct config_network *network, int profile, unsigned order)
{
	address_int host =
	        network->length == 0 ? ~(address_int)0 : ((address_int)1 << (128 - network->length)) - 1;
	address_int first = address_read(network->address) & ~host;

	return (struct net){ .first = first, .last = first | host, .profile = profile, .order = order };
}

/* Begin, then the wider, then the one written later, which the one written first lies upon. */
static int net_compare(const void *left, const void *right)
{
	const struct net *a = left, *b = right;

	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	if (a->last != b->last)
		return a->last > b->last ? -1 : 1;
	return a->order > b->order ? -1 : 1;
}

static struct net *nets_gather(const struct config *config, size_t *count)
{
	size_t n = config->serve_count, at = 0;

	for (size_t i = 0; i < config->profile_count; i++)
		n += config->profiles[i].network_count;
	struct net *nets = calloc(n + 1, sizeof *nets);
	if (nets == NULL)
		return NULL;
	for (size_t i = 0; i < config->serve_count; i++, at++)
		nets[at] = net_make(&config->serve[i], NO_PROFILE, (unsigned)at);
	for (size_t i = 0; i < config->profile_count; i++)
		for (size_t k = 0; k < config->profiles[i].network_count; k++, at++)
			nets[at] = net_make(&config->profiles[i].networks[k], (int)i, (unsigned)at);
	qsort(nets, n, sizeof *nets, net_compare);
	*count = n;
	return nets;
}

/* From first on, what `open` says holds. A range that would be empty is replaced, one that changes nothing is
 * left out. */
static void clients_cut(
        struct clients *clients, address_int first, const struct open_net *open, int default_profile)
{
	int value = open->served ? open->profile : CLIENTS_UNSERVED;

	if (open->served && open->profile == NO_PROFILE)
		value = default_profile;
	if (clients->count > 0 && clients->first[clients->count - 1] == first)
		clients->count--;
	if (clients->count > 0 && clients->value[clients->count - 1] == value)
		return;
	clients->first[clients->count] = first;
	clients->value[clients->count++] = (int16_t)value;
}

static void clients_sweep(struct clients *clients, const struct net *nets, size_t count,
        struct open_net *stack, int default_profile)
{
	size_t top = 0;

	stack[0] = (struct open_net){ .last = ~(address_int)0, .profile = NO_PROFILE, .served = false };
	clients_cut(clients, 0, &stack[0], default_profile);
	for (size_t i = 0; i <= count; i++) {
		while (top > 0 && (i == count || stack[top].last < nets[i].first)) {
			address_int after = stack[top--].last + 1;
			if (after != 0) /* 0: past the end of the space */
				clients_cut(clients, after, &stack[top], default_profile);
		}
		if (i == count)
			break;
		stack[top + 1] = (struct open_net){ .last = nets[i].last,
			.profile = nets[i].profile == NO_PROFILE ? stack[top].profile : nets[i].profile,
			.served = stack[top].served || nets[i].profile == NO_PROFILE };
		clients_cut(clients, nets[i].first, &stack[++top], default_profile);
	}
}

struct clients *clients_new(const struct config *config)
{
	size_t count = 0;
	struct net *nets = nets_gather(config, &count);
	struct open_net *stack = calloc(count + 1, sizeof *stack);
	struct clients *clients = calloc(1, sizeof *clients);

	if (clients != NULL) { /* each network begins and ends at most one range */
		clients->first = calloc(2 * count + 1, sizeof *clients->first);
		clients->value = calloc(2 * count + 1, sizeof *clients->value);
	}
	if (nets == NULL || stack == NULL || clients == NULL || clients->first == NULL ||
	        clients->value == NULL) {
		clients_free(clients);
		clients = NULL;
	} else {
		clients_sweep(clients, nets, count, stack, (int)config->default_profile);
	}
	free(nets);
	free(stack);
	return clients;
}

void clients_free(struct clients *clients)
{
	if (clients == NULL)
		return;
	free(clients->first);
	free(clients->value);
	free(clients);
}

int clients_find(const struct clients *clients, const uint8_t address[16])
{
	address_int wanted = address_read(address);
	size_t low = 0, count = clients->count;

	while (count > 1) {
		size_t half = count / 2;
		low = clients->first[low + half] <= wanted ? low + half : low;
		count -= half;
	}
	return clients->value[low];
}
