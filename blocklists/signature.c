/*
 * A public key is base64 of: "Ed", 8 octets of identity, 32 of key. A .minisig has four lines:
 *   untrusted comment: <text that nothing vouches for>
 *   base64 of: "Ed" or "ED", 8 octets of identity, 64 of signature
 *   trusted comment: <text>
 *   base64 of 64 octets: the signature of the 64 above and the text after "trusted comment: "
 */
#include "signature.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNTRUSTED "untrusted comment: "
#define TRUSTED "trusted comment: "
#define ID_LEN 8
#define HASH_LEN crypto_generichash_BYTES_MAX
#define READ_BLOCK 65536

_Static_assert(crypto_sign_BYTES == 64 && crypto_sign_PUBLICKEYBYTES == 32 && HASH_LEN == 64,
        "libsodium's Ed25519 and BLAKE2b-512 have the sizes of the format");

struct blob_key {
	uint8_t algorithm[2], id[ID_LEN], key[crypto_sign_PUBLICKEYBYTES];
};

struct blob_signature {
	uint8_t algorithm[2], id[ID_LEN], signature[crypto_sign_BYTES];
};

struct minisig {
	struct blob_signature blob;
	const char *comment; /* the caller's text */
	size_t comment_len;
	uint8_t over_comment[crypto_sign_BYTES];
};

/* Exactly size octets, or it is none. */
static bool decode(void *to, size_t size, const char *text, size_t len)
{
	size_t got;

	return sodium_base642bin(to, size, text, len, NULL, &got, NULL, sodium_base64_VARIANT_ORIGINAL) ==
	               0 &&
	       got == size;
}

int signature_key_parse(struct signature_key *key, const char *text)
{
	struct blob_key blob;

	if (!decode(&blob, sizeof blob, text, strlen(text)) || memcmp(blob.algorithm, "Ed", 2) != 0)
		return -EINVAL;
	memcpy(key->id, blob.id, sizeof key->id);
	memcpy(key->key, blob.key, sizeof key->key);
	return 0;
}

/* The next line without its end; NULL after the last. */
static const char *next_line(const char **at, const char *end, size_t *len)
{
	const char *line = *at, *stop;

	if (line >= end)
		return NULL;
	stop = memchr(line, '\n', (size_t)(end - line));
	if (stop == NULL)
		stop = end;
	*at = stop + 1;
	*len = (size_t)(stop - line);
	if (*len > 0 && line[*len - 1] == '\r')
		--*len;
	return line;
}

static bool begins(const char *line, size_t len, const char *with)
{
	return line != NULL && len >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

static bool minisig_parse(struct minisig *minisig, const char *text, size_t text_len)
{
	const char *at = text, *end = text + text_len, *line;
	size_t len = 0;

	line = next_line(&at, end, &len);
	if (!begins(line, len, UNTRUSTED))
		return false;
	line = next_line(&at, end, &len);
	if (line == NULL || !decode(&minisig->blob, sizeof minisig->blob, line, len))
		return false;
	line = next_line(&at, end, &len);
	if (!begins(line, len, TRUSTED))
		return false;
	minisig->comment = line + strlen(TRUSTED);
	minisig->comment_len = len - strlen(TRUSTED);
	line = next_line(&at, end, &len);
	return line != NULL && decode(minisig->over_comment, sizeof minisig->over_comment, line, len);
}

/* BLAKE2b-512 of an open file. */
static int hash_file(int fd, uint8_t hash[HASH_LEN])
{
	crypto_generichash_state state;
	uint8_t data[READ_BLOCK];
	ssize_t got;

	crypto_generichash_init(&state, NULL, 0, HASH_LEN);
	while ((got = read(fd, data, sizeof data)) > 0)
		crypto_generichash_update(&state, data, (size_t)got);
	crypto_generichash_final(&state, hash, HASH_LEN);
	return got < 0 ? -errno : 0;
}

/* Returns 1 if it is the signature of what the file holds, 0 if not, negative errno. */
static int matches_whole(const struct minisig *minisig, const struct signature_key *key, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	size_t size = (size_t)st.st_size;
	void *content = size > 0 ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
	if (content == MAP_FAILED)
		return -errno;
	int bad = crypto_sign_verify_detached(minisig->blob.signature, content, size, key->key);
	if (content != NULL)
		munmap(content, size);
	return bad == 0;
}

static int matches_hashed(const struct minisig *minisig, const struct signature_key *key, int fd)
{
	uint8_t hash[HASH_LEN];
	int ret = hash_file(fd, hash);

	if (ret < 0)
		return ret;
	return crypto_sign_verify_detached(minisig->blob.signature, hash, sizeof hash, key->key) == 0;
}

static int matches(const struct minisig *minisig, const struct signature_key *key, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int ret = minisig->blob.algorithm[1] == 'D' ? matches_hashed(minisig, key, fd)
	                                            : matches_whole(minisig, key, fd);
	close(fd);
	return ret;
}

static bool comment_matches(const struct minisig *minisig, const struct signature_key *key)
{
	uint8_t message[crypto_sign_BYTES + SIGNATURE_FILE_MAX];

	if (minisig->comment_len > SIGNATURE_FILE_MAX)
		return false;
	memcpy(message, minisig->blob.signature, crypto_sign_BYTES);
	memcpy(message + crypto_sign_BYTES, minisig->comment, minisig->comment_len);
	return crypto_sign_verify_detached(minisig->over_comment, message,
	               crypto_sign_BYTES + minisig->comment_len, key->key) == 0;
}

static int refuse(char why[LISTS_WHY_MAX], const char *words)
{
	snprintf(why, LISTS_WHY_MAX, "%s", words);
	return -EBADMSG;
}

int signature_verify(const struct signature_key *key, const char *path, const char *text, size_t len,
        char comment[SIGNATURE_COMMENT_MAX], char why[LISTS_WHY_MAX])
{
	struct minisig minisig;

	comment[0] = '\0';
	if (sodium_init() < 0)
		return -EIO;
	if (!minisig_parse(&minisig, text, len))
		return refuse(why, "its signature is not a file of minisign");
	if (memcmp(minisig.blob.algorithm, "Ed", 2) != 0 && memcmp(minisig.blob.algorithm, "ED", 2) != 0)
		return refuse(why, "its signature is of a kind that is not known");
	if (memcmp(minisig.blob.id, key->id, ID_LEN) != 0)
		return refuse(why, "it is signed with another key than the one configured");
	int ret = matches(&minisig, key, path);
	if (ret < 0)
		return ret;
	if (ret == 0)
		return refuse(why, "its signature is wrong: the content is not what was signed");
	if (!comment_matches(&minisig, key))
		return refuse(why, "its signature is wrong: the trusted comment is not what was signed");
	size_t room =
	        minisig.comment_len < SIGNATURE_COMMENT_MAX ? minisig.comment_len : SIGNATURE_COMMENT_MAX - 1;
	for (size_t i = 0; i < room; i++)
		comment[i] =
		        minisig.comment[i] >= ' ' && minisig.comment[i] <= '~' ? minisig.comment[i] : '?';
	comment[room] = '\0';
	return 0;
}
