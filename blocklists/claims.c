#include "claims.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tempfile.h"

/* A record: length of the key, which of the four masks follow, the key, the masks that are not zero. */
struct claims {
	FILE *file;
	uint64_t size;
};

int claims_new(struct claims **out, const char *dir)
{
	struct claims *claims = calloc(1, sizeof *claims);

	if (claims == NULL)
		return -ENOMEM;
	int ret = tempfile_open(&claims->file, dir);
	if (ret < 0) {
		free(claims);
		return ret;
	}
	*out = claims;
	return 0;
}

void claims_free(struct claims *claims)
{
	if (claims == NULL)
		return;
	fclose(claims->file);
	free(claims);
}

int claims_append(struct claims *claims, const uint8_t *key, size_t len, const struct claim *claim)
{
	const uint64_t masks[4] = { claim->at, claim->below, claim->except_at, claim->except_below };
	uint8_t record[2 + NAME_KEY_MAX + sizeof masks];
	size_t at = 2 + len;

	record[0] = (uint8_t)len;
	record[1] = 0;
	memcpy(record + 2, key, len);
	for (unsigned i = 0; i < 4; i++) {
		if (masks[i] == 0)
			continue;
		record[1] |= (uint8_t)(1u << i);
		memcpy(record + at, &masks[i], sizeof masks[i]);
		at += sizeof masks[i];
	}
	claims->size += at;
	return fwrite_unlocked(record, at, 1, claims->file) == 1 ? 0 : -errno;
}

uint64_t claims_size(const struct claims *claims)
{
	return claims->size;
}

int claims_rewind(struct claims *claims)
{
	if (fflush(claims->file) != 0 || fseeko(claims->file, 0, SEEK_SET) != 0)
		return -errno;
	return 0;
}

int claims_next(struct claims *claims, uint8_t key[NAME_KEY_MAX], size_t *len, struct claim *claim)
{
	uint64_t masks[4] = { 0 };
	uint8_t head[2];

	if (fread_unlocked(head, sizeof head, 1, claims->file) != 1)
		return feof(claims->file) ? 0 : -EIO;
	*len = head[0];
	if (*len > 0 && fread_unlocked(key, *len, 1, claims->file) != 1)
		return -EIO;
	for (unsigned i = 0; i < 4; i++)
		if ((head[1] >> i & 1) && fread_unlocked(&masks[i], sizeof masks[i], 1, claims->file) != 1)
			return -EIO;
	*claim = (struct claim){ masks[0], masks[1], masks[2], masks[3] };
	return 1;
}

int claims_key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}
