/*
 * A notice of the kernel only says "look": the whole table is read again, which is a few thousand entries at
 * most (gc_thresh3), rather than keeping a second truth by notices, of which some may be lost.
 *
 * Sources: rtnetlink(7), linux/neighbour.h; ndm_confirmed counts in ticks of USER_HZ.
 */
#include "neighbours.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <xxhash.h>

#include "config.h"

#define BUFFER_LEN 32768
#define ENTRIES_MAX 200000
#define CONFIRMED_S 600
#define TABLE_LIFE_US UINT64_C(120000000)
#define USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT)

/* ---- the kernel's table ---- */

struct reading {
	struct neighbour *list;
	size_t count, room;
	bool done;
};

static int reading_add(struct reading *reading, const struct neighbour *neighbour)
{
	if (reading->count == reading->room) {
		size_t room = reading->room * 2 + 256;
		struct neighbour *list =
		        room > ENTRIES_MAX ? NULL : realloc(reading->list, room * sizeof *list);
		if (list == NULL)
			return -ENOMEM;
		reading->list = list;
		reading->room = room;
	}
	reading->list[reading->count++] = *neighbour;
	return 0;
}

static uint32_t age_of(const struct ndmsg *entry, const struct rtattr *info)
{
	long ticks = sysconf(_SC_CLK_TCK);
	struct nda_cacheinfo cache;

	if ((entry->ndm_state & (NUD_PERMANENT | NUD_REACHABLE)) != 0)
		return 0;
	if (info == NULL || RTA_PAYLOAD(info) < sizeof cache)
		return UINT32_MAX;
	memcpy(&cache, RTA_DATA(info), sizeof cache);
	return cache.ndm_confirmed / (uint32_t)(ticks > 0 ? ticks : 100);
}

/* One entry of the kernel's. Those without a card's address, or of other families, are passed over. */
static int entry_read(struct reading *reading, const struct nlmsghdr *header)
{
	const struct ndmsg *entry = NLMSG_DATA(header);
	const struct rtattr *parts[NDA_MAX + 1] = { NULL };
	struct neighbour neighbour = { .address = { [10] = 0xff, [11] = 0xff } };
	size_t address_len = entry->ndm_family == AF_INET ? 4 : 16;
	int len = (int)NLMSG_PAYLOAD(header, sizeof *entry);

	if (NLMSG_PAYLOAD(header, 0) < sizeof *entry || (entry->ndm_state & USABLE) == 0 ||
	        (entry->ndm_family != AF_INET && entry->ndm_family != AF_INET6))
		return 0;
	for (const struct rtattr *part = (const void *)((const char *)entry + NLMSG_ALIGN(sizeof *entry));
	        RTA_OK(part, len); part = RTA_NEXT(part, len))
		if (part->rta_type <= NDA_MAX)
			parts[part->rta_type] = part;
	if (parts[NDA_DST] == NULL || RTA_PAYLOAD(parts[NDA_DST]) != address_len ||
	        parts[NDA_LLADDR] == NULL || RTA_PAYLOAD(parts[NDA_LLADDR]) != sizeof neighbour.mac)
		return 0;
	memcpy(neighbour.address + 16 - address_len, RTA_DATA(parts[NDA_DST]), address_len);
	memcpy(neighbour.mac, RTA_DATA(parts[NDA_LLADDR]), sizeof neighbour.mac);
	neighbour.age_s = age_of(entry, parts[NDA_CACHEINFO]);
	return reading_add(reading, &neighbour);
}

static int dump_receive(struct reading *reading, int fd)
{
	_Alignas(struct nlmsghdr) char buffer[BUFFER_LEN];
	ssize_t got = recv(fd, buffer, sizeof buffer, 0);
	int ret = 0;

	if (got < 0)
		return errno == EINTR ? 0 : -errno;
	size_t len = (size_t)got;
	for (const struct nlmsghdr *header = (const void *)buffer; NLMSG_OK(header, len) && ret == 0;
	        header = NLMSG_NEXT(header, len)) {
		if (header->nlmsg_type == NLMSG_DONE)
			reading->done = true;
		else if (header->nlmsg_type == NLMSG_ERROR)
			ret = -EIO;
		else if (header->nlmsg_type == RTM_NEWNEIGH)
			ret = entry_read(reading, header);
	}
	return ret;
}

static int dump(struct reading *reading)
{
	const struct {
		struct nlmsghdr header;
		struct ndmsg entry;
	} request = { .header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ndmsg)),
		              .nlmsg_type = RTM_GETNEIGH,
		              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	const struct timeval patience = { .tv_sec = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), ret = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0)
		ret = -errno;
	while (ret == 0 && !reading->done)
		ret = dump_receive(reading, fd);
	close(fd);
	return ret;
}

static int address_compare(const void *left, const void *right)
{
	return memcmp(
	        ((const struct neighbour *)left)->address, ((const struct neighbour *)right)->address, 16);
}

/* Of entries of one address with one card the youngest stays; with several cards none does. */
static size_t list_tidy(struct neighbour *list, size_t count)
{
	size_t kept = 0;

	qsort(list, count, sizeof *list, address_compare);
	for (size_t i = 0, end; i < count; i = end) {
		bool in_doubt = false;
		struct neighbour one = list[i];
		for (end = i + 1; end < count && address_compare(&list[i], &list[end]) == 0; end++) {
			in_doubt |= memcmp(list[end].mac, one.mac, sizeof one.mac) != 0;
			one.age_s = list[end].age_s < one.age_s ? list[end].age_s : one.age_s;
		}
		if (!in_doubt)
			list[kept++] = one;
	}
	return kept;
}

int neighbours_read(struct neighbour **list, size_t *count)
{
	struct reading reading = { .list = NULL };
	int ret = dump(&reading);

	if (ret < 0) {
		free(reading.list);
		return ret;
	}
	*list = reading.list;
	*count = reading.count > 0 ? list_tidy(reading.list, reading.count) : 0;
	return 0;
}

int neighbours_listen(void)
{
	const struct sockaddr_nl groups = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_NEIGH };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&groups, sizeof groups) == 0)
		return fd;
	int ret = -errno;
	close(fd);
	return ret;
}

void neighbours_drain(int fd)
{
	char buffer[BUFFER_LEN];

	/* ENOBUFS: notices were lost, and this is a notice too. */
	while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0 || errno == ENOBUFS)
		;
}

/* ---- tables: open addressing, at most half full ---- */

static size_t table_size(size_t count)
{
	size_t size = 8;

	while (size < 2 * count + 1)
		size *= 2;
	return size;
}

static uint64_t random_seed(void)
{
	uint64_t seed = 0;

	return getrandom(&seed, sizeof seed, 0) == sizeof seed ? seed : 1;
}

struct macs {
	uint64_t seed;
	size_t size, count;
	struct mac_profile {
		uint8_t mac[6];
		int16_t profile; /* -1: a free place */
	} places[];
};

static struct mac_profile *mac_place(const struct macs *macs, const uint8_t mac[6])
{
	size_t at = XXH3_64bits_withSeed(mac, 6, macs->seed) & (macs->size - 1);

	while (macs->places[at].profile >= 0 && memcmp(macs->places[at].mac, mac, 6) != 0)
		at = (at + 1) & (macs->size - 1);
	return (struct mac_profile *)&macs->places[at];
}

struct macs *macs_new(const struct config *config)
{
	size_t count = 0;

	for (size_t i = 0; i < config->profile_count; i++)
		count += config->profiles[i].device_count;
	size_t size = table_size(count);
	struct macs *macs = malloc(sizeof *macs + size * sizeof macs->places[0]);
	if (macs == NULL)
		return NULL;
	*macs = (struct macs){ .seed = random_seed(), .size = size, .count = count };
	for (size_t i = 0; i < size; i++)
		macs->places[i].profile = -1;
	for (size_t i = 0; i < config->profile_count; i++)
		for (size_t k = 0; k < config->profiles[i].device_count; k++) {
			struct mac_profile *place = mac_place(macs, config->profiles[i].devices[k].mac);
			memcpy(place->mac, config->profiles[i].devices[k].mac, sizeof place->mac);
			place->profile = (int16_t)i;
		}
	return macs;
}

void macs_free(struct macs *macs)
{
	free(macs);
}

size_t macs_count(const struct macs *macs)
{
	return macs->count;
}

int macs_find(const struct macs *macs, const uint8_t mac[6])
{
	return mac_place(macs, mac)->profile;
}

struct neighbour_table {
	_Atomic unsigned references;
	_Atomic uint64_t until_us; /* it holds nothing from then on */
	uint64_t seed;
	size_t size, count;
	struct neighbour places[]; /* age_s UINT32_MAX: a free place */
};

static struct neighbour *table_place(const struct neighbour_table *table, const uint8_t address[16])
{
	size_t at = XXH3_64bits_withSeed(address, 16, table->seed) & (table->size - 1);

	while (table->places[at].age_s != UINT32_MAX && memcmp(table->places[at].address, address, 16) != 0)
		at = (at + 1) & (table->size - 1);
	return (struct neighbour *)&table->places[at];
}

static bool is_named(const struct neighbour *neighbour, const struct macs *macs)
{
	return neighbour->age_s <= CONFIRMED_S && macs_find(macs, neighbour->mac) >= 0;
}

struct neighbour_table *neighbour_table_new(
        const struct neighbour *list, size_t count, const struct macs *macs, uint64_t now_us)
{
	size_t named = 0;

	for (size_t i = 0; i < count; i++)
		named += is_named(&list[i], macs);
	size_t size = table_size(named);
	struct neighbour_table *table = malloc(sizeof *table + size * sizeof table->places[0]);
	if (table == NULL)
		return NULL;
	*table = (struct neighbour_table){
		.references = 1, .seed = random_seed(), .size = size, .count = named
	};
	neighbour_table_renew(table, now_us);
	for (size_t i = 0; i < size; i++)
		table->places[i].age_s = UINT32_MAX;
	for (size_t i = 0; i < count; i++) {
		if (!is_named(&list[i], macs))
			continue;
		struct neighbour *place = table_place(table, list[i].address);
		*place = list[i];
		place->age_s = 0;
	}
	return table;
}

struct neighbour_table *neighbour_table_ref(struct neighbour_table *table)
{
	atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
	return table;
}

void neighbour_table_free(struct neighbour_table *table)
{
	if (table != NULL && atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) == 1)
		free(table);
}

bool neighbour_table_equal(const struct neighbour_table *a, const struct neighbour_table *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->size; i++) {
		const struct neighbour *one = &a->places[i];
		if (one->age_s == UINT32_MAX)
			continue;
		const struct neighbour *other = table_place(b, one->address);
		if (other->age_s == UINT32_MAX || memcmp(one->mac, other->mac, sizeof one->mac) != 0)
			return false;
	}
	return true;
}

void neighbour_table_renew(struct neighbour_table *table, uint64_t now_us)
{
	atomic_store_explicit(&table->until_us, now_us + TABLE_LIFE_US, memory_order_relaxed);
}

const uint8_t *neighbour_table_find(
        const struct neighbour_table *table, const uint8_t address[16], uint64_t now_us)
{
	if (table->count == 0 || now_us > atomic_load_explicit(&table->until_us, memory_order_relaxed))
		return NULL;
	const struct neighbour *place = table_place(table, address);
	return place->age_s != UINT32_MAX ? place->mac : NULL;
}
