/*
 * A domain name: wire form (RFC 1035 3.1), lower case (RFC 4343), with the place of each label, so that its
 * suffixes can be walked, hashed and used as database keys without another pass over the octets.
 *
 * A struct name owns its octets and may be copied by assignment. Nothing here allocates.
 */
#ifndef USHER_NAME_H
#define USHER_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_WIRE_MAX 255  /* octets with the root label, RFC 1035 2.3.4 */
#define NAME_LABELS_MAX 127 /* labels without the root */
#define NAME_TEXT_MAX 1024 /* characters with NUL: every octet may need \DDD */
#define NAME_KEY_MAX 255

struct name {
	uint8_t len;                           /* octets in wire with the root label, 1 to 255; 0: no name */
	uint8_t labels;                        /* labels without the root; 0 is the root name */
	uint8_t wire[NAME_WIRE_MAX];           /* lower case, ends with the root label */
	uint8_t offset[NAME_LABELS_MAX];       /* where label i begins in wire; label 0 is the leftmost */
};

/*
 * Reads an uncompressed name from wire (a compression pointer is an error).
 * Returns the octets read, or -EBADMSG (truncated, pointer, longer than 255 octets).
 */
int name_from_wire(struct name *name, const uint8_t *wire, size_t len);

/*
 * Reads a name at pos of a DNS message, following compression pointers (RFC 1035 4.1.4), each of which must point
 * before the labels it continues, so loops cannot be made.
 * Returns the octets the name takes at pos, or -EBADMSG.
 */
int name_from_message(struct name *name, const uint8_t *message, size_t len, size_t pos);

/*
 * Reads presentation form: \. and \DDD escapes (RFC 1035 5.1), trailing dot optional, "." is the root. len is the
 * length of text. Octets above 127 are refused: see name_from_user_text().
 * Returns 0, or -EINVAL (empty label, bad escape, octet out of range), -ENAMETOOLONG (label > 63, name > 255).
 */
int name_from_text(struct name *name, const char *text, size_t len);

/*
 * The same for text that a person or a list wrote: UTF-8 is turned into A-labels (IDNA2008 with UTS 46 mapping,
 * libidn2). Returns 0, -EINVAL, -ENAMETOOLONG, or -EILSEQ (not UTF-8, or not allowed by IDNA).
 */
int name_from_user_text(struct name *name, const char *text, size_t len);

/* Writes presentation form without trailing dot ("." for the root), special and odd octets escaped. Returns its length. */
size_t name_to_text(const struct name *name, char text[NAME_TEXT_MAX]);

/*
 * The name as people read it: UTF-8, A-labels as the U-labels they stand for (those that stand for none as they are), labels parted by
 * dots, nothing escaped: for looking at, not for reading back. It ends with NUL, and may hold others. Returns its length; 0 for the root.
 */
size_t name_to_unicode(const struct name *name, char text[NAME_TEXT_MAX]);

/* True if a label is an A-label (RFC 5890 2.3.1), or looks like one. */
bool name_has_alabel(const struct name *name);

bool name_equal(const struct name *a, const struct name *b);

/* True if name is parent or lies below it, on label boundaries. The root is parent of all. */
bool name_is_below(const struct name *name, const struct name *parent);

/* Makes *parent the suffix of name that begins at label; label == name->labels gives the root. */
void name_suffix(const struct name *name, unsigned label, struct name *parent);

/*
 * Database key: the labels in reverse order in wire form, without the root ("www.example.com" is \3com\7example\3www),
 * so that a name's key begins with its parent's. Returns the length of the key (0 for the root).
 */
size_t name_to_key(const struct name *name, uint8_t key[NAME_KEY_MAX]);

/* The other way. Returns 0 or -EBADMSG. */
int name_from_key(struct name *name, const uint8_t *key, size_t len);

/*
 * Keyed hashes of every suffix, from one pass from the right: hash[i] is that of the suffix that begins at label i
 * (hash[0] the whole name, hash[name->labels] the root: room for labels + 1). XXH3 chained by label; the same seed gives the same hashes on
 * every machine, so they may be stored.
 */
void name_hash_suffixes(const struct name *name, uint64_t seed, uint64_t *hash);

/* A keyed hash of the whole name in one step (not equal to hash[0] above), and of its suffix that begins at label. */
uint64_t name_hash(const struct name *name, uint64_t seed);
uint64_t name_hash_suffix(const struct name *name, unsigned label, uint64_t seed);

#endif
