/*
 * Names are found again by their length first, then by comparison: of all parents of a name only one has a
 * place's length, so that a name costs at most PACK_PLACES comparisons, whatever a hostile server sent.
 */
#include "pack.h"

#include <errno.h>
#include <string.h>

#include "message.h"

#define POINTER 0xc000
#define POINTER_MAX 0x3fff
#define LABEL_MAX 63

static inline uint8_t lower(uint8_t c)
{
	return c - 'A' < 26u ? (uint8_t)(c | 0x20) : c;
}

/* Length octets are below 'A', so that whole names may be compared as text is. */
static bool octets_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

int pack_name_read(struct pack_name *name, const uint8_t *message, size_t len, size_t pos)
{
	size_t begin = pos;
	size_t name_len = 0;
	int taken = 0;

	for (;;) {
		if (pos >= len)
			return -EBADMSG;
		size_t label = message[pos];
		if (label >= POINTER >> 8) {
			if (pos + 2 > len)
				return -EBADMSG;
			size_t target = wire_read16(message + pos) & POINTER_MAX;
			if (target >= begin)
				return -EBADMSG;
			if (taken == 0)
				taken = (int)(pos + 2 - begin);
			/* Each piece begins before the one that pointed to it, so the walk ends. */
			begin = pos = target;
			continue;
		}
		if (label > LABEL_MAX || pos + 1 + label > len || name_len + 1 + label > NAME_WIRE_MAX)
			return -EBADMSG;
		memcpy(name->octets + name_len, message + pos, 1 + label);
		name_len += 1 + label;
		pos += 1 + label;
		if (label == 0)
			break;
	}
	name->len = (uint8_t)name_len;
	return taken > 0 ? taken : (int)(pos - begin);
}

bool pack_name_equal(const struct pack_name *a, const struct pack_name *b)
{
	return a->len == b->len && octets_equal(a->octets, b->octets, a->len);
}

bool pack_name_below(const struct pack_name *name, const struct pack_name *parent)
{
	for (size_t at = 0; name->len - at >= parent->len; at += 1u + name->octets[at]) {
		if (name->len - at == parent->len)
			return octets_equal(name->octets + at, parent->octets, parent->len);
	}
	return false;
}

/* Is the name at a place of our own message this one? Our pointers lead to names we wrote, so they need no
 * guard. */
static bool place_holds(const struct pack *pack, size_t at, const uint8_t *name)
{
	for (;;) {
		const uint8_t *p = pack->out + at;
		if (p[0] > LABEL_MAX) {
			at = wire_read16(p) & POINTER_MAX;
			continue;
		}
		if (!octets_equal(p, name, 1u + p[0]))
			return false;
		if (p[0] == 0)
			return true;
		at += 1u + p[0];
		name += 1u + name[0];
	}
}

/* Where a name was written before, or 0. */
static size_t place_find(const struct pack *pack, const uint8_t *name, size_t name_len)
{
	for (unsigned i = 0; i < pack->place_count; i++) {
		const struct pack_place *place = &pack->places[i];
		if (place->name_len == name_len && place_holds(pack, place->at, name))
			return place->at;
	}
	return 0;
}

static void place_add(struct pack *pack, size_t at, size_t name_len)
{
	if (pack->place_count < PACK_PLACES && at <= POINTER_MAX)
		pack->places[pack->place_count++] =
		        (struct pack_place){ .at = (uint16_t)at, .name_len = (uint8_t)name_len };
}

static size_t name_length(const uint8_t *name)
{
	size_t len = 0;

	while (name[len] != 0)
		len += 1u + name[len];
	return len + 1;
}

void pack_known(struct pack *pack, size_t at)
{
	size_t len = name_length(pack->out + at);

	for (size_t i = 0; pack->out[at + i] != 0; i += 1u + pack->out[at + i])
		place_add(pack, at + i, len - i);
}

static int put(struct pack *pack, const void *octets, size_t len)
{
	if (len > pack->limit - pack->len)
		return -EMSGSIZE;
	memcpy(pack->out + pack->len, octets, len);
	pack->len += len;
	return 0;
}

static int put16(struct pack *pack, uint16_t value)
{
	uint8_t octets[2];

	wire_write16(octets, value);
	return put(pack, octets, sizeof octets);
}

static int put_name(struct pack *pack, const uint8_t *name, bool compress)
{
	size_t len = name_length(name), own = 0, target = 0;
	size_t begin = pack->len;

	/* Labels that are new here, then a pointer to what was written before. */
	for (; compress && name[own] != 0; own += 1u + name[own]) {
		target = place_find(pack, name + own, len - own);
		if (target != 0)
			break;
	}
	if (target == 0)
		own = len;
	int ret = put(pack, name, own);
	if (ret == 0 && target != 0)
		ret = put16(pack, (uint16_t)(POINTER | target));
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < own && name[i] != 0; i += 1u + name[i])
		place_add(pack, begin + i, len - i);
	return 0;
}

/*
 * Rdata with names in it: RFC 1035's types, which may be compressed, and those that RFC 3597 4 bids us
 * decompress. All others, among them the DNSSEC types and SVCB, never hold pointers and are copied as they
 * are.
 */
static const struct shape {
	uint16_t type;
	uint8_t before;  /* octets before the names */
	uint8_t strings; /* character-strings behind those */
	uint8_t names;
	int8_t after; /* octets behind the names, -1: any */
	bool compress;
} shapes[] = {
	{ TYPE_CNAME, 0, 0, 1, 0, true }, { TYPE_NS, 0, 0, 1, 0, true }, { TYPE_SOA, 0, 0, 2, 20, true },
	{ TYPE_PTR, 0, 0, 1, 0, true }, { TYPE_MX, 2, 0, 1, 0, true }, { TYPE_SRV, 6, 0, 1, 0, false },
	{ TYPE_DNAME, 0, 0, 1, 0, false }, { 3, 0, 0, 1, 0, true }, /* MD */
	{ 4, 0, 0, 1, 0, true },                                    /* MF */
	{ 7, 0, 0, 1, 0, true },                                    /* MB */
	{ 8, 0, 0, 1, 0, true },                                    /* MG */
	{ 9, 0, 0, 1, 0, true },                                    /* MR */
	{ 14, 0, 0, 2, 0, true },                                   /* MINFO */
	{ 17, 0, 0, 2, 0, false },                                  /* RP */
	{ 18, 2, 0, 1, 0, false },                                  /* AFSDB */
	{ 21, 2, 0, 1, 0, false },                                  /* RT */
	{ 24, 18, 0, 1, -1, false },                                /* SIG */
	{ 26, 2, 0, 2, 0, false },                                  /* PX */
	{ 30, 0, 0, 1, -1, false },                                 /* NXT */
	{ 35, 4, 3, 1, 0, false },                                  /* NAPTR */
	{ 36, 2, 0, 1, 0, false },                                  /* KX */
};

static const struct shape *shape_of(uint16_t type)
{
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
		if (shapes[i].type == type)
			return &shapes[i];
	return NULL;
}

/* Octets before the first name, character-strings included, or -EBADMSG. */
static int shape_before(const struct shape *shape, const uint8_t *rdata, size_t len)
{
	size_t at = shape->before;

	for (unsigned i = 0; i < shape->strings; i++) {
		if (at >= len)
			return -EBADMSG;
		at += 1u + rdata[at];
	}
	return at <= len ? (int)at : -EBADMSG;
}

static int put_shaped(struct pack *pack, const struct shape *shape, const struct pack_rdata *rdata)
{
	/* Names end inside the rdata; their pointers lead backwards, where the whole message is. */
	size_t end = rdata->pos + rdata->len;
	struct pack_name name;

	int ret = shape_before(shape, rdata->wire + rdata->pos, rdata->len);
	if (ret < 0)
		return ret;
	size_t pos = rdata->pos + (size_t)ret;
	ret = put(pack, rdata->wire + rdata->pos, (size_t)ret);
	for (unsigned i = 0; ret == 0 && i < shape->names; i++) {
		int taken = pack_name_read(&name, rdata->wire, end, pos);
		if (taken < 0)
			return taken;
		pos += (size_t)taken;
		ret = put_name(pack, name.octets, shape->compress);
	}
	if (ret < 0)
		return ret;
	if (shape->after >= 0 && end - pos != (size_t)shape->after)
		return -EBADMSG;
	return put(pack, rdata->wire + pos, end - pos);
}

static int put_rdata(struct pack *pack, uint16_t type, const struct pack_rdata *rdata)
{
	const struct shape *shape = shape_of(type);
	size_t length_at = pack->len;

	int ret = put16(pack, 0);
	if (ret < 0)
		return ret;
	ret = shape == NULL ? put(pack, rdata->wire + rdata->pos, rdata->len)
	                    : put_shaped(pack, shape, rdata);
	if (ret < 0)
		return ret;
	/* Decompressed rdata of a hostile message may be longer than it was, but not longer than two names
	 * more. */
	if (pack->len - length_at - 2 > UINT16_MAX)
		return -EMSGSIZE;
	wire_write16(pack->out + length_at, (uint16_t)(pack->len - length_at - 2));
	return 0;
}

int pack_record(struct pack *pack, const uint8_t *owner, uint16_t type, uint16_t class, uint32_t ttl_s,
        const struct pack_rdata *rdata)
{
	size_t begin = pack->len;
	uint8_t place_count = pack->place_count;
	uint8_t fixed[8];

	wire_write16(fixed, type);
	wire_write16(fixed + 2, class);
	wire_write32(fixed + 4, ttl_s);
	int ret = owner == NULL ? put16(pack, POINTER | MESSAGE_HEADER_LEN) : put_name(pack, owner, true);
	if (ret == 0)
		ret = put(pack, fixed, sizeof fixed);
	int ttl_at = (int)pack->len - 4;
	if (ret == 0)
		ret = put_rdata(pack, type, rdata);
	if (ret < 0) {
		pack->len = begin;
		pack->place_count = place_count;
		return ret;
	}
	return ttl_at;
}
