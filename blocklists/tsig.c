#include "tsig.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TYPE_TSIG 250
#define CLASS_ANY 255
#define HEADER 12
#define FUDGE_S 300
#define UNSIGNED_MAX 99 /* RFC 8945 5.3.1: at least every hundredth message is signed */
#define TIMERS 8        /* octets of time signed and fudge */

static const struct algorithm {
	const char *name, *digest;
} algorithms[] = {
	{ "hmac-sha256", "SHA256" },
	{ "hmac-sha384", "SHA384" },
	{ "hmac-sha512", "SHA512" },
	{ "hmac-sha224", "SHA224" },
	{ "hmac-sha1", "SHA1" },
};

/* The record as it came; offsets into its message. */
struct record {
	size_t begin; /* of the record: the end of what is signed */
	struct name name, algorithm;
	const uint8_t *timers, *mac, *other;
	size_t mac_len, other_len;
	uint16_t id, error;
};

static const struct algorithm *algorithm_find(const char *name)
{
	for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
		if (strcasecmp(algorithms[i].name, name) == 0)
			return &algorithms[i];
	return NULL;
}

/* Returns its length, 0 if the text is not base64 or too long. */
static size_t secret_read(const char *text, uint8_t secret[TSIG_SECRET_MAX])
{
	ldns_rdf *rdf = NULL;
	size_t len = 0;

	if (ldns_str2rdf_b64(&rdf, text) == LDNS_STATUS_OK && ldns_rdf_size(rdf) <= TSIG_SECRET_MAX) {
		len = ldns_rdf_size(rdf);
		memcpy(secret, ldns_rdf_data(rdf), len);
	}
	ldns_rdf_deep_free(rdf);
	return len;
}

const char *tsig_key_wrong(const struct tsig_key *key)
{
	uint8_t secret[TSIG_SECRET_MAX];
	struct name name;

	if (key->name == NULL || key->name[0] == '\0')
		return NULL;
	if (name_from_text(&name, key->name, strlen(key->name)) < 0)
		return "its name is no domain name";
	if (algorithm_find(key->algorithm) == NULL)
		return "its algorithm is not known";
	size_t len = secret_read(key->secret, secret);
	OPENSSL_cleanse(secret, sizeof secret);
	return len == 0 ? "its secret is not base64" : NULL;
}

void tsig_init(struct tsig *tsig, const struct tsig_key *key)
{
	const struct algorithm *algorithm = algorithm_find(key->algorithm);

	memset(tsig, 0, sizeof *tsig);
	name_from_text(&tsig->name, key->name, strlen(key->name));
	name_from_text(&tsig->algorithm, algorithm->name, strlen(algorithm->name));
	tsig->digest = algorithm->digest;
	tsig->secret_len = secret_read(key->secret, tsig->secret);
}

void tsig_clear(struct tsig *tsig)
{
	EVP_MAC_CTX_free(tsig->running);
	OPENSSL_cleanse(tsig, sizeof *tsig);
}

static void put16(uint8_t *to, unsigned value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *at)
{
	return (unsigned)(at[0] << 8 | at[1]);
}

/* ---- digests ---- */

static void digest(struct tsig *tsig, const void *data, size_t len)
{
	EVP_MAC_update(tsig->running, data, len);
}

/* A new digest, which begins with the MAC before, if there was one. */
static bool digest_begin(struct tsig *tsig)
{
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	char name[16];
	uint8_t len[2];

	snprintf(name, sizeof name, "%s", tsig->digest);
	const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_end() };
	EVP_MAC_CTX_free(tsig->running);
	tsig->running = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL;
	EVP_MAC_free(hmac);
	if (tsig->running == NULL || EVP_MAC_init(tsig->running, tsig->secret, tsig->secret_len, params) != 1)
		return false;
	if (tsig->mac_len > 0) {
		put16(len, (unsigned)tsig->mac_len);
		digest(tsig, len, sizeof len);
		digest(tsig, tsig->mac, tsig->mac_len);
	}
	return true;
}

static bool digest_end(struct tsig *tsig)
{
	return EVP_MAC_final(tsig->running, tsig->mac, &tsig->mac_len, sizeof tsig->mac) == 1;
}

/* RFC 8945 4.3.3: the variables, all of them but for the messages after the first, where timers are enough.
 */
static void digest_variables(struct tsig *tsig, const uint8_t timers[TIMERS], bool all, const uint8_t *error,
        const uint8_t *other, size_t other_len)
{
	static const uint8_t class_and_ttl[6] = { 0, CLASS_ANY, 0, 0, 0, 0 };

	if (all) {
		digest(tsig, tsig->name.wire, tsig->name.len);
		digest(tsig, class_and_ttl, sizeof class_and_ttl);
		digest(tsig, tsig->algorithm.wire, tsig->algorithm.len);
	}
	digest(tsig, timers, TIMERS);
	if (all) {
		digest(tsig, error, 4); /* with the length of what is other */
		digest(tsig, other, other_len);
	}
}

/* ---- signing ---- */

size_t tsig_sign(struct tsig *tsig, uint8_t *message, size_t len, size_t room, int64_t now)
{
	static const uint8_t no_error[4];
	uint8_t timers[TIMERS];

	if (room < len + TSIG_RECORD_MAX || !digest_begin(tsig))
		return 0;
	put16(timers, (unsigned)(now >> 32));
	put16(timers + 2, (unsigned)(now >> 16));
	put16(timers + 4, (unsigned)now);
	put16(timers + 6, FUDGE_S);
	digest(tsig, message, len);
	digest_variables(tsig, timers, true, no_error, NULL, 0);
	if (!digest_end(tsig))
		return 0;

	uint8_t *at = message + len;
	memcpy(at, tsig->name.wire, tsig->name.len);
	at += tsig->name.len;
	put16(at, TYPE_TSIG);
	put16(at + 2, CLASS_ANY);
	memset(at + 4, 0, 4);
	put16(at + 8, (unsigned)(tsig->algorithm.len + TIMERS + 2 + tsig->mac_len + 6));
	at += 10;
	memcpy(at, tsig->algorithm.wire, tsig->algorithm.len);
	at += tsig->algorithm.len;
	memcpy(at, timers, TIMERS);
	put16(at + TIMERS, (unsigned)tsig->mac_len);
	at += TIMERS + 2;
	memcpy(at, tsig->mac, tsig->mac_len);
	at += tsig->mac_len;
	memcpy(at, message, 2); /* the original ID */
	memset(at + 2, 0, 4);
	at += 6;
	put16(message + 10, get16(message + 10) + 1);
	tsig->first = true;
	tsig->unsigned_messages = 0;
	return (size_t)(at - message);
}

/* ---- verifying ---- */

/* Where the record at pos ends, 0 if it does not. */
static size_t record_end(const uint8_t *message, size_t len, size_t pos, bool question, unsigned *type)
{
	struct name name;
	int taken = name_from_message(&name, message, len, pos);

	if (taken < 0)
		return 0;
	pos += (size_t)taken;
	size_t fixed = question ? 4 : 10;
	if (len - pos < fixed)
		return 0;
	*type = get16(message + pos);
	if (question)
		return pos + fixed;
	size_t data = get16(message + pos + 8);
	return len - pos - fixed < data ? 0 : pos + fixed + data;
}

/* Takes the record at begin apart. False: it is none. */
static bool record_read(const uint8_t *message, size_t len, size_t begin, struct record *record)
{
	size_t pos = begin;
	int taken = name_from_message(&record->name, message, len, pos);

	record->begin = begin;
	pos += (size_t)taken + 10;
	taken = name_from_message(&record->algorithm, message, len, pos);
	if (taken < 0)
		return false;
	pos += (size_t)taken;
	if (len - pos < TIMERS + 2)
		return false;
	record->timers = message + pos;
	record->mac_len = get16(message + pos + TIMERS);
	record->mac = message + pos + TIMERS + 2;
	pos += TIMERS + 2;
	if (len - pos < record->mac_len || len - pos - record->mac_len < 6)
		return false;
	pos += record->mac_len;
	record->id = (uint16_t)get16(message + pos);
	record->error = (uint16_t)get16(message + pos + 2);
	record->other_len = get16(message + pos + 4);
	record->other = message + pos + 6;
	return len - pos - 6 == record->other_len;
}

/* The signature record, which is the last of all. Returns 1, 0 without one, -EBADMSG. */
static int record_find(const uint8_t *message, size_t len, struct record *record)
{
	size_t pos = HEADER, last = 0;
	unsigned type = 0;

	if (len < HEADER)
		return -EBADMSG;
	unsigned questions = get16(message + 4), additional = get16(message + 10);
	unsigned records = get16(message + 6) + get16(message + 8) + additional;
	for (unsigned i = 0; i < questions + records; i++) {
		last = pos;
		pos = record_end(message, len, pos, i < questions, &type);
		if (pos == 0)
			return -EBADMSG;
	}
	if (additional == 0 || type != TYPE_TSIG)
		return 0;
	return pos == len && record_read(message, len, last, record) ? 1 : -EBADMSG;
}

unsigned tsig_error(const uint8_t *message, size_t len)
{
	struct record record;

	return record_find(message, len, &record) == 1 ? record.error : 0;
}

static int rejected(char why[LISTS_WHY_MAX], const char *words)
{
	snprintf(why, LISTS_WHY_MAX, "%s", words);
	return -EKEYREJECTED;
}

static bool is_timely(const uint8_t timers[TIMERS], int64_t now)
{
	int64_t then = (int64_t)get16(timers) << 32 | (int64_t)get16(timers + 2) << 16 | get16(timers + 4);

	return llabs(now - then) <= get16(timers + 6);
}

static int verify_signed(struct tsig *tsig, const uint8_t *message, const struct record *record, int64_t now,
        char why[LISTS_WHY_MAX])
{
	uint8_t header[HEADER];

	if (!name_equal(&record->name, &tsig->name) || !name_equal(&record->algorithm, &tsig->algorithm))
		return rejected(why, "the answer is signed with another key");
	/* As it was before it was signed */
	memcpy(header, message, HEADER);
	put16(header, record->id);
	put16(header + 10, get16(header + 10) - 1);
	digest(tsig, header, HEADER);
	digest(tsig, message + HEADER, record->begin - HEADER);
	digest_variables(tsig, record->timers, tsig->first, record->mac + record->mac_len + 2, record->other,
	        record->other_len);
	if (!digest_end(tsig) || record->mac_len != tsig->mac_len ||
	        CRYPTO_memcmp(record->mac, tsig->mac, tsig->mac_len) != 0)
		return rejected(why, "the signature of the answer is wrong");
	if (!is_timely(record->timers, now))
		return rejected(why, "the answer was signed at another time: the clocks differ");
	tsig->first = false;
	tsig->unsigned_messages = 0;
	return digest_begin(tsig) ? 0 : -ENOMEM;
}

int tsig_verify(struct tsig *tsig, const uint8_t *message, size_t len, int64_t now, char why[LISTS_WHY_MAX])
{
	struct record record;
	int found = record_find(message, len, &record);

	if (found < 0)
		return rejected(why, "the answer is malformed");
	if (tsig->first && !digest_begin(tsig))
		return -ENOMEM;
	if (found == 1)
		return verify_signed(tsig, message, &record, now, why);
	if (tsig->first || ++tsig->unsigned_messages > UNSIGNED_MAX)
		return rejected(why, "the answer is not signed");
	digest(tsig, message, len);
	return 0;
}

bool tsig_is_complete(const struct tsig *tsig)
{
	return !tsig->first && tsig->unsigned_messages == 0;
}
