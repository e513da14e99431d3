/*
 * What compile.c writes and lists.c reads: names of keys and fixed sizes of a generation. The key table, with
 * what each value means, stands at the head of lists.c.
 */
#ifndef USHER_LAYOUT_H
#define USHER_LAYOUT_H

#include <stdint.h>

#define LAYOUT_VERSION 3 /* 3: the table of entries beside the tree */

/* No name's key begins with 0xff (a label has 63 octets at most), so these sort behind all names. */
#define LAYOUT_KEY_ENTRIES "\377entries"
#define LAYOUT_KEY_FILTER "\377filter"
#define LAYOUT_KEY_INFO "\377info"
#define LAYOUT_KEY_SETS "\377sets"
#define LAYOUT_KEYS 4

/*
 * Before the filter's blocks: magic, number of blocks (32 bits, little endian), fewest and most labels of a
 * name. LMDB puts a large value 16 octets into a page; with 48 more, no block straddles a cache line.
 */
#define LAYOUT_FILTER_HEAD 48
#define LAYOUT_FILTER_MAGIC "usherflt"
#define LAYOUT_FILTER_COUNT 8
#define LAYOUT_FILTER_LABELS 12

/* Before the entries' lines: magic, number of lines (32 bits, little endian), reach (the same). */
#define LAYOUT_ENTRIES_HEAD 48
#define LAYOUT_ENTRIES_MAGIC "usherent"
#define LAYOUT_ENTRIES_COUNT 8
#define LAYOUT_ENTRIES_REACH 12
/* The seed of an entry's check, from the generation's: name_hash() of the name with it. */
#define LAYOUT_ENTRIES_SEED(seed) ((seed) ^ UINT64_C(0xc2b2ae3d27d4eb4f))

/* A claim in a set: source (32 bits), then four masks of categories (64 bits each), little endian. */
#define LAYOUT_CLAIM (4 + 4 * 8)

#endif
