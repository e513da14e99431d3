/*
 * Layout of the file: one page of header, then size octets of data. All offsets count octets since the file
 * was made and never go back; their place is the offset modulo size. The data is mapped twice in a row, so
 * that a record that crosses the end of the file is contiguous in memory and nothing here knows of a
 * wrap-around.
 *
 *     free <= tail <= head <= free + size
 *     [free, tail)  released, being zeroed      [tail, head)  records      the rest  zeros
 *
 * The producer writes a record behind head and then moves head. The consumer moves tail (the records are gone
 * now), zeroes them, and then moves free, which alone gives the room back. So a process may be killed between
 * any two instructions: what it left half done is either behind head, where nobody looks, or before tail,
 * where the next ring_open() zeroes it again.
 *
 * A record: struct ring_record, payload, zeros up to a multiple of 8.
 */
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC "ushring1"
#define CACHE_LINE 64

struct ring_header {
	char magic[8];
	uint64_t id;
	uint64_t size;
	_Alignas(CACHE_LINE) _Atomic uint64_t head; /* the producer's line */
	_Atomic uint64_t last;                      /* sequence number of the newest record */
	_Alignas(CACHE_LINE) _Atomic uint64_t tail; /* the consumer's line */
	_Atomic uint64_t free;
	_Atomic uint64_t released; /* sequence number of the newest record before tail */
};

struct ring_record {
	uint32_t len;   /* of the payload */
	uint32_t check; /* of the payload, keyed by the ring and the sequence number */
	uint64_t sequence;
};

struct ring {
	struct ring_header *header;
	uint8_t *data;
	uint64_t size;
	size_t map_len;
	_Alignas(CACHE_LINE) uint64_t known_free; /* the producer's last look at free */
	uint32_t reserved_len;
};

static uint64_t span(uint64_t len)
{
	return sizeof(struct ring_record) + ((len + 7) & ~(uint64_t)7);
}

static struct ring_record *record_at(const struct ring *ring, uint64_t offset)
{
	return (struct ring_record *)(ring->data + offset % ring->size);
}

static uint32_t record_check(const struct ring *ring, const struct ring_record *record)
{
	return (uint32_t)XXH3_64bits_withSeed(record + 1, record->len, ring->header->id + record->sequence);
}

static bool record_is_whole(const struct ring *ring, const struct ring_record *record, uint64_t room)
{
	return room >= sizeof *record && span(record->len) <= room &&
	       record->check == record_check(ring, record);
}

/* ---- opening ---- */

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Maps the header and twice the data. The room is taken in one piece first, so that both lie side by side. */
static int ring_map(struct ring *ring, int fd, uint64_t size)
{
	size_t page = page_size();
	size_t map_len = page + 2 * size;
	uint8_t *base = mmap(NULL, map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	if (mmap(base, page + size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	        mmap(base + page + size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
	                (off_t)page) == MAP_FAILED) {
		int ret = -errno;
		munmap(base, map_len);
		return ret;
	}
#ifdef MADV_POPULATE_WRITE
	/* So that the first records do not pay for page faults; nothing depends on it. */
	madvise(base, map_len, MADV_POPULATE_WRITE);
#endif
	ring->header = (struct ring_header *)base;
	ring->data = base + page;
	ring->size = size;
	ring->map_len = map_len;
	return 0;
}

static void ring_unmap(struct ring *ring)
{
	if (ring->header)
		munmap(ring->header, ring->map_len);
	ring->header = NULL;
}

static bool header_is_sound(const struct ring_header *header, uint64_t size)
{
	uint64_t head = header->head, tail = header->tail, free_to = header->free;

	return memcmp(header->magic, MAGIC, sizeof header->magic) == 0 && header->size == size &&
	       free_to <= tail && tail <= head && head - free_to <= size && (head | tail | free_to) % 8 == 0;
}

/* Every block is allocated now: a write to a hole of a full disk would be a SIGBUS later. */
static int file_allocate(int fd, uint64_t len)
{
	int ret;

	do
		ret = posix_fallocate(fd, 0, (off_t)len);
	while (ret == EINTR);
	return -ret;
}

/* The magic comes last: until then the file is empty, not damaged. */
static int ring_make(struct ring *ring, int fd, uint64_t size)
{
	int ret = ftruncate(fd, 0) < 0 ? -errno : file_allocate(fd, page_size() + size);
	if (ret == 0)
		ret = ring_map(ring, fd, size);
	if (ret < 0)
		return ret;
	if (getrandom(&ring->header->id, sizeof ring->header->id, 0) != sizeof ring->header->id)
		return -EIO;
	ring->header->size = size;
	atomic_signal_fence(memory_order_release); /* nobody else has it yet: only a kill could tell */
	memcpy(ring->header->magic, MAGIC, sizeof ring->header->magic);
	return 0;
}

/* Zeroes [free, tail), which a killed process may have left half done. */
static void zero_released(struct ring *ring)
{
	struct ring_header *header = ring->header;
	uint64_t from = atomic_load_explicit(&header->free, memory_order_relaxed);
	uint64_t to = atomic_load_explicit(&header->tail, memory_order_relaxed);

	memset(ring->data + from % ring->size, 0, to - from);
	atomic_store_explicit(&header->free, to, memory_order_release);
}

/* A producer killed between `last` and `head` leaves a number that no record has, and octets behind head. */
static void ring_recover(struct ring *ring)
{
	struct ring_header *header = ring->header;
	uint64_t head = header->head, at = header->tail, last = header->released;

	zero_released(ring);
	while (at < head && record_is_whole(ring, record_at(ring, at), head - at)) {
		last = record_at(ring, at)->sequence;
		at += span(record_at(ring, at)->len);
	}
	if (at == head)
		header->last = last;
	memset(ring->data + head % ring->size, 0, ring->size - (head - header->free));
	ring->known_free = header->free;
}

/* Maps what the file holds. Returns 0, 1 if it must be made anew (nothing in it, or another size is wanted),
 * -EBADMSG if it is no ring. */
static int ring_load(struct ring *ring, int fd, uint64_t size)
{
	struct stat st;
	char magic[8];
	int ret;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	ssize_t got = pread(fd, magic, sizeof magic, 0);
	if (got < 0)
		return -errno;
	if (got == 0 || (got == sizeof magic && memcmp(magic, "\0\0\0\0\0\0\0", sizeof magic) == 0))
		return 1;
	uint64_t file_size = (uint64_t)st.st_size, page = page_size();
	if (file_size < 2 * page || file_size % page != 0 || file_size > SIZE_MAX / 4)
		return -EBADMSG;
	ret = file_allocate(fd, file_size);
	if (ret == 0)
		ret = ring_map(ring, fd, file_size - page);
	if (ret < 0)
		return ret;
	if (!header_is_sound(ring->header, ring->size))
		return -EBADMSG;
	ring_recover(ring);
	return ring->size != size && ring->header->tail == ring->header->head;
}

static int ring_open_fd(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

/* One look at the file: 0, or -EBADMSG if it must be moved aside first. */
static int ring_try(struct ring *ring, const char *path, uint64_t size)
{
	int fd = ring_open_fd(path);
	if (fd < 0)
		return fd;
	int ret = ring_load(ring, fd, size);
	if (ret == 1) {
		ring_unmap(ring);
		ret = ring_make(ring, fd, size);
	}
	close(fd);
	return ret;
}

static uint64_t whole_pages(size_t size)
{
	uint64_t page = page_size();

	return size == 0 ? page : (size + page - 1) / page * page;
}

static struct ring *ring_alloc(void)
{
	struct ring *ring = aligned_alloc(CACHE_LINE, sizeof *ring);

	if (ring)
		memset(ring, 0, sizeof *ring);
	return ring;
}

int ring_open(struct ring **out, const char *path, size_t size)
{
	char aside[PATH_MAX];
	int replaced = 0;

	*out = NULL;
	if (size > SIZE_MAX / 4 || (size_t)snprintf(aside, sizeof aside, "%s.damaged", path) >= sizeof aside)
		return -EINVAL;
	struct ring *ring = ring_alloc();
	if (!ring)
		return -ENOMEM;
	int ret = ring_try(ring, path, whole_pages(size));
	if (ret == -EBADMSG) {
		ring_unmap(ring);
		replaced = RING_REPLACED;
		ret = rename(path, aside) < 0 ? -errno : ring_try(ring, path, whole_pages(size));
	}
	if (ret < 0) {
		ring_close(ring);
		return ret;
	}
	*out = ring;
	return replaced;
}

int ring_open_memory(struct ring **out, size_t size)
{
	*out = NULL;
	if (size > SIZE_MAX / 4)
		return -EINVAL;
	struct ring *ring = ring_alloc();
	int fd = ring ? memfd_create("ring", MFD_CLOEXEC) : -1;
	int ret = !ring ? -ENOMEM : fd < 0 ? -errno : ring_make(ring, fd, whole_pages(size));
	if (fd >= 0)
		close(fd);
	if (ret < 0) {
		ring_close(ring);
		return ret;
	}
	*out = ring;
	return 0;
}

void ring_close(struct ring *ring)
{
	if (!ring)
		return;
	ring_unmap(ring);
	free(ring);
}

uint64_t ring_id(const struct ring *ring)
{
	return ring->header->id;
}

void ring_sequence_after(struct ring *ring, uint64_t sequence)
{
	struct ring_header *header = ring->header;

	if (header->last >= sequence)
		return;
	if (header->tail == header->head)
		header->released = sequence;
	header->last = sequence;
}

/* ---- the producer ---- */

void *ring_reserve(struct ring *ring, size_t len)
{
	struct ring_header *header = ring->header;
	uint64_t head = atomic_load_explicit(&header->head, memory_order_relaxed);

	if (len > ring->size || span(len) > ring->size)
		return NULL;
	if (head + span(len) - ring->known_free > ring->size) {
		ring->known_free = atomic_load_explicit(&header->free, memory_order_acquire);
		if (head + span(len) - ring->known_free > ring->size)
			return NULL;
	}
	ring->reserved_len = (uint32_t)len;
	return record_at(ring, head) + 1;
}

uint64_t ring_commit(struct ring *ring)
{
	struct ring_header *header = ring->header;
	uint64_t head = atomic_load_explicit(&header->head, memory_order_relaxed);
	uint64_t sequence = atomic_load_explicit(&header->last, memory_order_relaxed) + 1;
	struct ring_record *record = record_at(ring, head);

	record->len = ring->reserved_len;
	record->sequence = sequence;
	record->check = record_check(ring, record);
	atomic_store_explicit(&header->last, sequence, memory_order_relaxed);
	atomic_store_explicit(&header->head, head + span(ring->reserved_len), memory_order_release);
	return sequence;
}

/* ---- the consumer ---- */

const void *ring_next(struct ring *ring, uint64_t *cursor, size_t *len, uint64_t *sequence, uint64_t *damaged)
{
	struct ring_header *header = ring->header;
	uint64_t head = atomic_load_explicit(&header->head, memory_order_acquire);
	uint64_t at = atomic_load_explicit(&header->tail, memory_order_relaxed);

	if (*cursor > at)
		at = *cursor;
	if (at >= head)
		return NULL;
	const struct ring_record *record = record_at(ring, at);
	if (!record_is_whole(ring, record, head - at)) {
		(*damaged)++;
		*cursor = head;
		return NULL;
	}
	*cursor = at + span(record->len);
	*len = record->len;
	*sequence = record->sequence;
	return record + 1;
}

/* The sequence number of the record that ends at cursor; the newest one if damage lies between. */
static uint64_t sequence_before(const struct ring *ring, uint64_t cursor)
{
	uint64_t at = ring->header->tail, sequence = 0;

	while (at < cursor && span(record_at(ring, at)->len) <= cursor - at) {
		sequence = record_at(ring, at)->sequence;
		at += span(record_at(ring, at)->len);
	}
	uint64_t last = atomic_load_explicit(&ring->header->last, memory_order_relaxed);
	return at == cursor && sequence < last ? sequence : last;
}

void ring_release(struct ring *ring, uint64_t cursor)
{
	struct ring_header *header = ring->header;

	if (cursor <= header->tail || cursor > atomic_load_explicit(&header->head, memory_order_acquire))
		return;
	atomic_store_explicit(&header->released, sequence_before(ring, cursor), memory_order_relaxed);
	atomic_store_explicit(&header->tail, cursor, memory_order_release);
	zero_released(ring);
}

uint64_t ring_pending(const struct ring *ring)
{
	uint64_t released = atomic_load_explicit(&ring->header->released, memory_order_relaxed);
	uint64_t last = atomic_load_explicit(&ring->header->last, memory_order_relaxed);

	return last > released ? last - released : 0;
}

bool ring_is_half_full(const struct ring *ring)
{
	uint64_t tail = atomic_load_explicit(&ring->header->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_relaxed);

	return head - tail > ring->size / 2;
}
