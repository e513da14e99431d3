/*
 * Networks lie in each other or apart, so a sweep from the lowest address up with a stack of those that are
 * open makes the ranges: one begins where a network begins, and one behind where it ends.
 */
#include "networks.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"

#define DEPTH_MAX 129 /* networks in each other, one a length */

/* An address as a number. */
struct number {
	uint64_t high, low;
};

struct range {
	struct number first; /* up to the next range */
	uint64_t categories;
};

struct networks {
	struct range *ranges;
	size_t count;
};

/* A network on its way into the ranges. */
struct span {
	struct number first, last;
	uint64_t categories;
};

struct sweep {
	struct networks *networks;
	struct span open[DEPTH_MAX];
	unsigned depth;
};

static struct number number_of(const uint8_t address[16])
{
	uint64_t half[2];

	memcpy(half, address, sizeof half);
	return (struct number){ be64toh(half[0]), be64toh(half[1]) };
}

static int number_compare(struct number a, struct number b)
{
	if (a.high != b.high)
		return a.high < b.high ? -1 : 1;
	return a.low < b.low ? -1 : a.low > b.low;
}

static struct number number_next(struct number n)
{
	n.low++;
	n.high += n.low == 0;
	return n;
}

static struct span span_of(const struct config_network *network, unsigned category)
{
	struct number first = number_of(network->address), last = first;
	unsigned length = network->length;

	last.high |= length >= 64 ? 0 : UINT64_MAX >> length;
	last.low |= length >= 128 ? 0 : length <= 64 ? UINT64_MAX : UINT64_MAX >> (length - 64);
	return (struct span){ first, last, UINT64_C(1) << category };
}

/* By beginning, the wider one first. */
static int span_compare(const void *left, const void *right)
{
	const struct span *a = left, *b = right;
	int order = number_compare(a->first, b->first);

	return order != 0 ? order : number_compare(b->last, a->last);
}

/* A range begins here; one that began at the same address is no more. */
static void sweep_begin(struct sweep *sweep, struct number first)
{
	struct networks *networks = sweep->networks;
	uint64_t categories = sweep->depth > 0 ? sweep->open[sweep->depth - 1].categories : 0;

	if (networks->count > 0 && number_compare(networks->ranges[networks->count - 1].first, first) == 0)
		networks->count--;
	networks->ranges[networks->count++] = (struct range){ first, categories };
}

/* Ends the open networks that end before this address. */
static void sweep_close(struct sweep *sweep, struct number before)
{
	while (sweep->depth > 0 && number_compare(sweep->open[sweep->depth - 1].last, before) < 0)
		sweep_begin(sweep, number_next(sweep->open[--sweep->depth].last));
}

static void sweep_open(struct sweep *sweep, const struct span *span)
{
	sweep_close(sweep, span->first);
	struct span *top = sweep->depth > 0 ? &sweep->open[sweep->depth - 1] : NULL;
	bool same = top != NULL && span_compare(top, span) == 0;
	uint64_t categories = span->categories | (top != NULL ? top->categories : 0);

	if (!same)
		sweep->open[sweep->depth++] = *span;
	sweep->open[sweep->depth - 1].categories = categories;
	sweep_begin(sweep, span->first);
}

static void sweep_end(struct sweep *sweep)
{
	static const struct number all = { UINT64_MAX, UINT64_MAX };

	/* One that ends with the last address of all has nothing behind it. */
	while (sweep->depth > 0 && number_compare(sweep->open[sweep->depth - 1].last, all) == 0)
		sweep->depth--;
	sweep_close(sweep, all);
}

/* Networks of one category, from the configuration or a file that it names. */
typedef void networks_visit(
        void *arg, unsigned category, const struct config_network *networks, size_t count);

static void visit_all(const struct config *config, networks_visit *visit, void *arg)
{
	for (size_t i = 0; i < config->dns.blocked_networks_count; i++) {
		const struct config_blocked_networks *row = &config->dns.blocked_networks[i];
		visit(arg, row->category, row->networks, row->network_count);
	}
	for (size_t i = 0; i < config->dns.blocked_files_count; i++) {
		const struct config_blocked_files *row = &config->dns.blocked_files[i];
		for (size_t k = 0; k < row->file_count; k++)
			visit(arg, row->category, row->files[k].networks, row->files[k].count);
	}
}

static void count_networks(void *arg, unsigned category, const struct config_network *networks, size_t count)
{
	*(size_t *)arg += count;
}

struct spans {
	struct span *span;
	size_t count;
};

static void take_spans(void *arg, unsigned category, const struct config_network *networks, size_t count)
{
	struct spans *spans = arg;

	for (size_t i = 0; i < count; i++)
		spans->span[spans->count++] = span_of(&networks[i], category);
}

struct networks *networks_new(const struct config *config)
{
	struct networks *networks = calloc(1, sizeof *networks);
	struct sweep sweep = { .networks = networks };
	struct spans spans = { 0 };
	size_t total = 0;

	if (networks == NULL)
		return NULL;
	visit_all(config, count_networks, &total);
	spans.span = calloc(total + 1, sizeof *spans.span);
	networks->ranges = calloc(2 * total + 1, sizeof *networks->ranges);
	if (spans.span == NULL || networks->ranges == NULL) {
		free(spans.span);
		networks_free(networks);
		return NULL;
	}
	visit_all(config, take_spans, &spans);
	qsort(spans.span, spans.count, sizeof *spans.span, span_compare);
	for (size_t i = 0; i < spans.count; i++)
		sweep_open(&sweep, &spans.span[i]);
	sweep_end(&sweep);
	free(spans.span);
	return networks;
}

void networks_free(struct networks *networks)
{
	if (networks == NULL)
		return;
	free(networks->ranges);
	free(networks);
}

bool networks_hold_any(const struct networks *networks)
{
	return networks->count > 0;
}

/* The IPv4 address, mapped, that an IPv6 one stands for where it is translated or tunnelled: NAT64's
 * well-known prefix (RFC 6052 2.1), 6to4 (RFC 3056 2). Any other is itself. */
static const uint8_t *address_meant(const uint8_t address[16], uint8_t room[16])
{
	static const uint8_t nat64[12] = { 0, 0x64, 0xff, 0x9b }, mapped[12] = { [10] = 0xff, 0xff };
	static const uint8_t six_to_four[2] = { 0x20, 0x02 };
	const uint8_t *inside = NULL;

	if (memcmp(address, nat64, sizeof nat64) == 0)
		inside = address + 12;
	else if (memcmp(address, six_to_four, sizeof six_to_four) == 0)
		inside = address + 2;
	if (inside == NULL)
		return address;
	memcpy(room, mapped, sizeof mapped);
	memcpy(room + 12, inside, 4);
	return room;
}

static uint64_t find_range(const struct networks *networks, const uint8_t address[16])
{
	struct number wanted = number_of(address);
	size_t low = 0, high = networks->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (number_compare(networks->ranges[middle].first, wanted) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? networks->ranges[low - 1].categories : 0;
}

uint64_t networks_find(const struct networks *networks, const uint8_t address[16])
{
	uint8_t room[16];
	const uint8_t *meant = address_meant(address, room);
	uint64_t found = find_range(networks, address);

	return meant == address ? found : found | find_range(networks, meant);
}

struct explanation {
	unsigned category;
	const uint8_t *address;
	const struct config_network *best;
};

static void explain(void *arg, unsigned category, const struct config_network *networks, size_t count)
{
	struct explanation *wanted = arg;

	for (size_t i = 0; i < count && category == wanted->category; i++)
		if (address_is_in(wanted->address, &networks[i]) &&
		        (wanted->best == NULL || networks[i].length > wanted->best->length))
			wanted->best = &networks[i];
}

const struct config_network *networks_explain(
        const struct config *config, unsigned category, const uint8_t address[16])
{
	uint8_t room[16];
	struct explanation wanted = { .category = category, .address = address };

	visit_all(config, explain, &wanted);
	wanted.address = address_meant(address, room);
	if (wanted.best == NULL && wanted.address != address)
		visit_all(config, explain, &wanted);
	return wanted.best;
}
