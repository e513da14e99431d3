/*
 * Signatures of lists, in the form of minisign: Ed25519 over the file ("Ed") or over its BLAKE2b-512 ("ED",
 * what minisign makes since 0.10), and a second one over the first and the trusted comment.
 */
#ifndef USHER_SIGNATURE_H
#define USHER_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "lists.h"

#define SIGNATURE_FILE_MAX 16384 /* octets of a .minisig */
#define SIGNATURE_COMMENT_MAX 256

struct signature_key {
	uint8_t id[8];
	uint8_t key[32];
};

/* Reads a public key as minisign prints it, RWQ... Returns 0 or -EINVAL. */
int signature_key_parse(struct signature_key *key, const char *text);

/*
 * Looks whether the file at path is what the text of a .minisig says and this key signed. Returns 0, with the
 * trusted comment (cut to its room, nothing but printable characters), -EBADMSG with `why`, or other negative
 * errno.
 */
int signature_verify(const struct signature_key *key, const char *path, const char *text, size_t len,
        char comment[SIGNATURE_COMMENT_MAX], char why[LISTS_WHY_MAX]);

#endif
