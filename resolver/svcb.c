#include "svcb.h"

#include <errno.h>
#include <string.h>

#include "message.h"

#define PARAM_HEADER_LEN 4

int svcb_walk_start(struct svcb_walk *walk, const uint8_t *rdata, size_t len)
{
	struct name target;

	if (len < SVCB_TARGET)
		return -EBADMSG;
	/* RFC 9460 2.2: the target is not compressed. */
	int target_len = name_from_wire(&target, rdata + SVCB_TARGET, len - SVCB_TARGET);
	if (target_len < 0)
		return -EBADMSG;
	*walk = (struct svcb_walk){ .rdata = rdata,
		.len = len,
		.pos = SVCB_TARGET + (size_t)target_len,
		.target_is_owner = target.labels == 0,
		.last_key = -1 };
	return 0;
}

size_t svcb_hint_size(uint16_t key)
{
	return key == SVCB_IPV4HINT ? 4 : key == SVCB_IPV6HINT ? 16 : 0;
}

/* What RFC 9460 7.3 and 8 say of the values that we take apart. */
static bool param_is_sound(const struct svcb_param *param)
{
	size_t unit = param->key == SVCB_MANDATORY ? 2 : svcb_hint_size(param->key);

	return unit == 0 || (param->len > 0 && param->len % unit == 0);
}

int svcb_walk_next(struct svcb_walk *walk, struct svcb_param *param)
{
	if (walk->pos == walk->len)
		return 0;
	if (walk->len - walk->pos < PARAM_HEADER_LEN)
		return -EBADMSG;
	const uint8_t *p = walk->rdata + walk->pos;
	*param = (struct svcb_param){
		.key = wire_read16(p), .len = wire_read16(p + 2), .value = p + PARAM_HEADER_LEN
	};
	if (walk->len - walk->pos - PARAM_HEADER_LEN < param->len)
		return -EBADMSG;
	/* RFC 9460 2.2: keys in strictly increasing order. */
	if (param->key <= walk->last_key || !param_is_sound(param))
		return -EBADMSG;
	walk->last_key = param->key;
	walk->pos += PARAM_HEADER_LEN + param->len;
	return 1;
}

/* Copies the units of a value that stay. Returns their length. */
static size_t copy_hint(uint8_t *out, const struct svcb_param *param, const struct svcb_edit *edit)
{
	size_t unit = svcb_hint_size(param->key), len = 0;

	for (size_t at = 0; at < param->len; at += unit) {
		if (edit->unwanted(edit->arg, param->value + at, unit))
			continue;
		memcpy(out + len, param->value + at, unit);
		len += unit;
	}
	return len;
}

static size_t copy_mandatory(uint8_t *out, const struct svcb_param *param, unsigned gone)
{
	size_t len = 0;

	for (size_t at = 0; at < param->len; at += 2) {
		uint16_t key = wire_read16(param->value + at);
		if (key <= SVCB_IPV6HINT && (gone & 1u << key))
			continue;
		wire_write16(out + len, key);
		len += 2;
	}
	return len;
}

static size_t copy_value(
        uint8_t *out, const struct svcb_param *param, const struct svcb_edit *edit, unsigned gone)
{
	if (param->key == SVCB_MANDATORY)
		return copy_mandatory(out, param, gone);
	if (svcb_hint_size(param->key) > 0)
		return copy_hint(out, param, edit);
	memcpy(out, param->value, param->len);
	return param->len;
}

/* Bits of the keys that go as a whole; mandatory comes first on the wire and must know them. Or -EBADMSG. */
static int keys_gone(const struct svcb_walk *start, uint8_t *scratch, const struct svcb_edit *edit)
{
	struct svcb_walk walk = *start;
	struct svcb_param param;
	int gone = 0, ret;

	while ((ret = svcb_walk_next(&walk, &param)) > 0) {
		if (param.key == SVCB_ECH && edit->strip_ech)
			gone |= 1 << SVCB_ECH;
		if (svcb_hint_size(param.key) > 0 && copy_hint(scratch, &param, edit) == 0)
			gone |= 1 << param.key;
	}
	return ret < 0 ? ret : gone;
}

int svcb_copy(uint8_t *out, const uint8_t *rdata, size_t len, const struct svcb_edit *edit)
{
	struct svcb_walk walk;
	struct svcb_param param;

	int ret = svcb_walk_start(&walk, rdata, len);
	if (ret < 0)
		return ret;
	int gone = keys_gone(&walk, out, edit);
	if (gone < 0)
		return gone;
	memcpy(out, rdata, walk.pos);
	size_t out_len = walk.pos;
	while (svcb_walk_next(&walk, &param) > 0) {
		if (param.key <= SVCB_IPV6HINT && (gone & 1 << param.key))
			continue;
		size_t value_len = copy_value(out + out_len + PARAM_HEADER_LEN, &param, edit, (unsigned)gone);
		/* What was mandatory is all gone: an empty list would be malformed. */
		if (value_len == 0 && param.key == SVCB_MANDATORY)
			continue;
		wire_write16(out + out_len, param.key);
		wire_write16(out + out_len + 2, (uint16_t)value_len);
		out_len += PARAM_HEADER_LEN + value_len;
	}
	return (int)out_len;
}
