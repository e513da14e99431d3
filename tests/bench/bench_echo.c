/*
 * What any resolver on this machine must cost: bench_echo PORT [LIST], on 127.0.0.1, until SIGTERM.
 *
 * Without LIST every datagram goes back with QR and RA set: the kernel alone. With LIST (a name a line) it is
 * the least that a filter can be: a query's suffixes are looked up in one flat table of 64-bit hashes, a
 * listed name is NXDOMAIN, every other has one fixed address. No EDNS, cache, policy, log, or defence against
 * chosen hashes.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <xxhash.h>

#define BATCH 32
#define HEADER_LEN 12
#define QUERY_MAX 480
#define NAME_MAX_LEN 255
#define SOCKET_BUFFER (4 << 20)
#define HUGE_PAGE (UINT64_C(1) << 21)

static struct mmsghdr batch[BATCH];
static struct iovec iov[BATCH];
static struct sockaddr_in peer[BATCH];
static uint8_t wire[BATCH][512];

static uint64_t *table, mask; /* 0: no entry */

/* ---- the list ---- */

static uint64_t *slot(uint64_t hash)
{
	uint64_t at = hash & mask;

	while (table[at] != 0 && table[at] != hash)
		at = (at + 1) & mask;
	return &table[at];
}

/* "example.com" -> 7 example 3 com; the root is left away. Returns the length. */
static size_t wire_of(const char *text, uint8_t *out)
{
	size_t len = 0;

	while (*text != '\0') {
		size_t label = strcspn(text, ".\n");
		out[len++] = (uint8_t)label;
		memcpy(out + len, text, label);
		len += label;
		text += label + (text[label] != '\0');
	}
	return len;
}

static void table_read(const char *path)
{
	char line[512];
	uint8_t name[512];
	uint64_t count = 0;
	FILE *file = fopen(path, "r");

	if (file == NULL)
		exit(EXIT_FAILURE);
	while (fgets(line, sizeof line, file) != NULL)
		count++;
	for (mask = HUGE_PAGE / sizeof *table; mask * 3 / 5 < count; mask *= 2)
		;
	table = aligned_alloc(HUGE_PAGE, mask * sizeof *table);
	if (table == NULL)
		exit(EXIT_FAILURE);
	madvise(table, mask * sizeof *table, MADV_HUGEPAGE);
	memset(table, 0, mask * sizeof *table);
	mask--;
	rewind(file);
	while (fgets(line, sizeof line, file) != NULL) {
		uint64_t hash = XXH3_64bits(name, wire_of(line, name));
		*slot(hash) = hash;
	}
	fclose(file);
}

static bool is_listed(const uint8_t *name, size_t len)
{
	while (len > 0) {
		if (*slot(XXH3_64bits(name, len)) != 0)
			return true;
		len -= 1u + name[0];
		name += 1 + name[0];
	}
	return false;
}

/* Returns the length of the reply, made in place. */
static size_t filter(uint8_t *query, size_t len)
{
	static const uint8_t address[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 51, 100, 1 };
	uint8_t name[NAME_MAX_LEN];
	size_t at = HEADER_LEN, name_len = 0;

	while (at < len && query[at] != 0 && query[at] < 64 && name_len + query[at] < sizeof name) {
		name[name_len++] = query[at];
		for (unsigned label = query[at++]; label > 0; label--)
			name[name_len++] = (uint8_t)tolower(query[at++]);
	}
	if (is_listed(name, name_len)) {
		query[3] |= 3;
		return len;
	}
	query[7] = 1;
	memcpy(query + len, address, sizeof address);
	return len + sizeof address;
}

/* ---- the socket ---- */

static void room_for_all(void)
{
	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ wire[i], QUERY_MAX };
		batch[i].msg_hdr = (struct msghdr){ .msg_name = &peer[i],
			.msg_namelen = sizeof peer[i],
			.msg_iov = &iov[i],
			.msg_iovlen = 1 };
	}
}

static void answer_batch(int fd)
{
	room_for_all();
	int count = recvmmsg(fd, batch, BATCH, MSG_WAITFORONE, NULL);
	for (int i = 0; i < count; i++) {
		iov[i].iov_len = batch[i].msg_len;
		if (batch[i].msg_len < HEADER_LEN)
			continue;
		wire[i][2] |= 0x80;
		wire[i][3] |= 0x80;
		if (table != NULL)
			iov[i].iov_len = filter(wire[i], batch[i].msg_len);
	}
	int n = 0;
	for (int sent = 0; sent<count; sent += n> 0 ? n : 1)
		n = sendmmsg(fd, batch + sent, (unsigned)(count - sent), 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = SOCKET_BUFFER;

	if (argc < 2 || argc > 3 || fd < 0)
		return EXIT_FAILURE;
	if (argc == 3)
		table_read(argv[2]);
	address.sin_port = htons((uint16_t)atoi(argv[1]));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return EXIT_FAILURE;
	for (;;)
		answer_batch(fd);
}
