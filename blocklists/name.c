#include "name.h"

#include <errno.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define LABEL_MAX 63
#define POINTER 0xc0

static inline uint8_t lower(uint8_t c)
{
	return c - 'A' < 26u ? (uint8_t)(c | 0x20) : c;
}

/* Appends a label; the root label is added by name_end(). Returns 0 or -ENAMETOOLONG. */
static int name_add_label(struct name *name, const uint8_t *label, size_t len)
{
	if (len > LABEL_MAX || name->len + 1 + len + 1 > NAME_WIRE_MAX)
		return -ENAMETOOLONG;
	name->offset[name->labels++] = name->len;
	name->wire[name->len++] = (uint8_t)len;
	for (size_t i = 0; i < len; i++)
		name->wire[name->len++] = lower(label[i]);
	return 0;
}

static void name_begin(struct name *name)
{
	name->len = 0;
	name->labels = 0;
}

static void name_end(struct name *name)
{
	name->wire[name->len++] = 0;
}

/* Copies octets in lower case, eight at a time. Length octets are below 'A' and stay as they are. */
static void copy_lower(uint8_t *to, const uint8_t *from, size_t len)
{
	static const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
	size_t at = 0;

	for (; len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
		uint64_t eight, low;
		memcpy(&eight, from + at, sizeof eight);
		low = eight & ~high;
		uint64_t upper = (low + ones * (0x80 - 'A')) & ~(low + ones * (0x7f - 'Z')) & ~eight & high;
		eight |= upper >> 2;
		memcpy(to + at, &eight, sizeof eight);
	}
	for (; at < len; at++)
		to[at] = lower(from[at]);
}

int name_from_wire(struct name *name, const uint8_t *wire, size_t len)
{
	size_t pos = 0;

	name_begin(name);
	for (;;) {
		if (pos >= len || wire[pos] > LABEL_MAX)
			return -EBADMSG;
		size_t label = wire[pos];
		if (label == 0)
			break;
		if (pos + 1 + label >= len || pos + 1 + label + 1 > NAME_WIRE_MAX)
			return -EBADMSG;
		name->offset[name->labels++] = (uint8_t)pos;
		pos += 1 + label;
	}
	copy_lower(name->wire, wire, pos + 1);
	name->len = (uint8_t)(pos + 1);
	return (int)name->len;
}

int name_from_message(struct name *name, const uint8_t *message, size_t len, size_t pos)
{
	size_t begin = pos;
	int taken = 0;

	name_begin(name);
	for (;;) {
		if (pos >= len)
			return -EBADMSG;
		size_t label = message[pos];
		if (label >= POINTER) {
			if (pos + 2 > len)
				return -EBADMSG;
			size_t target = (label & 0x3f) << 8 | message[pos + 1];
			if (target >= begin)
				return -EBADMSG;
			if (taken == 0)
				taken = (int)(pos + 2 - begin);
			/* Each piece begins before the one that pointed to it, so the walk ends. */
			begin = pos = target;
			continue;
		}
		if (label > LABEL_MAX)
			return -EBADMSG;
		if (label == 0) {
			if (taken == 0)
				taken = (int)(pos + 1 - begin);
			break;
		}
		if (pos + 1 + label >= len || name_add_label(name, message + pos + 1, label) < 0)
			return -EBADMSG;
		pos += 1 + label;
	}
	name_end(name);
	return taken;
}

/* One character of presentation form at text[*at], escapes resolved. Returns the octet or -EINVAL. */
static int text_octet(const char *text, size_t len, size_t *at)
{
	unsigned char c = (unsigned char)text[(*at)++];

	if (c != '\\')
		return c >= 0x80 ? -EINVAL : c;
	if (*at >= len)
		return -EINVAL;
	c = (unsigned char)text[(*at)++];
	if (c - '0' >= 10u)
		return c >= 0x80 ? -EINVAL : c;
	if (*at + 2 > len || text[*at] - '0' >= 10u || text[*at + 1] - '0' >= 10u)
		return -EINVAL;
	int value = (c - '0') * 100 + (text[*at] - '0') * 10 + (text[*at + 1] - '0');
	*at += 2;
	return value > 255 ? -EINVAL : value;
}

int name_from_text(struct name *name, const char *text, size_t len)
{
	uint8_t label[LABEL_MAX + 1];
	size_t label_len = 0, at = 0;

	name_begin(name);
	if (len == 0)
		return -EINVAL;
	if (len == 1 && text[0] == '.') {
		name_end(name);
		return 0;
	}
	while (at < len) {
		bool is_dot = text[at] == '.';
		int octet = text_octet(text, len, &at);
		if (octet < 0)
			return octet;
		if (!is_dot) {
			if (label_len == LABEL_MAX)
				return -ENAMETOOLONG;
			label[label_len++] = (uint8_t)octet;
			if (at < len)
				continue;
		}
		if (label_len == 0)
			return -EINVAL;
		int ret = name_add_label(name, label, label_len);
		if (ret < 0)
			return ret;
		label_len = 0;
	}
	name_end(name);
	return 0;
}

int name_from_user_text(struct name *name, const char *text, size_t len)
{
	bool ascii = true;
	char in[NAME_TEXT_MAX];
	char *out = NULL;

	for (size_t i = 0; i < len && ascii; i++)
		ascii = (unsigned char)text[i] < 0x80;
	if (ascii)
		return name_from_text(name, text, len);
	if (len >= sizeof in)
		return -ENAMETOOLONG;
	if (memchr(text, 0, len) != NULL)
		return -EILSEQ;
	memcpy(in, text, len);
	in[len] = '\0';
	int ret = idn2_to_ascii_8z(in, &out, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL | IDN2_ALLOW_UNASSIGNED);
	if (ret == IDN2_TOO_BIG_DOMAIN || ret == IDN2_TOO_BIG_LABEL)
		return -ENAMETOOLONG;
	if (ret != IDN2_OK)
		return -EILSEQ;
	ret = name_from_text(name, out, strlen(out));
	idn2_free(out);
	return ret;
}

size_t name_to_text(const struct name *name, char text[NAME_TEXT_MAX])
{
	size_t len = 0;

	for (unsigned i = 0; i < name->labels; i++) {
		const uint8_t *label = name->wire + name->offset[i];
		if (i > 0)
			text[len++] = '.';
		for (unsigned k = 1; k <= label[0]; k++) {
			uint8_t c = label[k];
			if (c <= 0x20 || c >= 0x7f) {
				text[len++] = '\\';
				text[len++] = (char)('0' + c / 100);
				text[len++] = (char)('0' + c / 10 % 10);
				text[len++] = (char)('0' + c % 10);
				continue;
			}
			if (strchr(".\\\"();@$", c) != NULL)
				text[len++] = '\\';
			text[len++] = (char)c;
		}
	}
	if (len == 0)
		text[len++] = '.';
	text[len] = '\0';
	return len;
}

static bool label_is_alabel(const uint8_t *label)
{
	return label[0] > 4 && memcmp(label + 1, "xn--", 4) == 0;
}

bool name_has_alabel(const struct name *name)
{
	for (unsigned i = 0; i < name->labels; i++)
		if (label_is_alabel(name->wire + name->offset[i]))
			return true;
	return false;
}

/* The U-label of an A-label. Returns its length, 0 if it has none or there is no room. */
static size_t label_to_unicode(const uint8_t *label, char *text, size_t room)
{
	char in[LABEL_MAX + 1], *out = NULL;
	size_t len = 0;

	memcpy(in, label + 1, label[0]);
	in[label[0]] = '\0';
	if (idn2_to_unicode_8z8z(in, &out, 0) == IDN2_OK)
		len = strlen(out);
	if (len > room)
		len = 0;
	if (len > 0)
		memcpy(text, out, len);
	idn2_free(out);
	return len;
}

size_t name_to_unicode(const struct name *name, char text[NAME_TEXT_MAX])
{
	size_t len = 0;

	for (unsigned i = 0; i < name->labels; i++) {
		const uint8_t *label = name->wire + name->offset[i];
		/* What the labels to come take at the least, and the NUL. */
		size_t room = NAME_TEXT_MAX - len - (size_t)(name->len - name->offset[i]);
		if (i > 0)
			text[len++] = '.';
		size_t taken = label_is_alabel(label) ? label_to_unicode(label, text + len, room) : 0;
		if (taken == 0) {
			memcpy(text + len, label + 1, label[0]);
			taken = label[0];
		}
		len += taken;
	}
	text[len] = '\0';
	return len;
}

bool name_equal(const struct name *a, const struct name *b)
{
	return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

bool name_is_below(const struct name *name, const struct name *parent)
{
	if (parent->labels > name->labels || parent->len > name->len)
		return false;
	unsigned skip = (unsigned)(name->labels - parent->labels);
	unsigned at = skip == name->labels ? name->len - 1u : name->offset[skip];
	return name->len - at == parent->len && memcmp(name->wire + at, parent->wire, parent->len) == 0;
}

void name_suffix(const struct name *name, unsigned label, struct name *parent)
{
	unsigned at = label >= name->labels ? name->len - 1u : name->offset[label];
	struct name whole = *name;

	parent->labels = (uint8_t)(label >= name->labels ? 0 : name->labels - label);
	parent->len = (uint8_t)(whole.len - at);
	memcpy(parent->wire, whole.wire + at, parent->len);
	for (unsigned i = 0; i < parent->labels; i++)
		parent->offset[i] = (uint8_t)(whole.offset[label + i] - at);
}

size_t name_to_key(const struct name *name, uint8_t key[NAME_KEY_MAX])
{
	size_t len = 0;

	for (unsigned i = name->labels; i-- > 0;) {
		const uint8_t *label = name->wire + name->offset[i];
		memcpy(key + len, label, 1u + label[0]);
		len += 1u + label[0];
	}
	return len;
}

int name_from_key(struct name *name, const uint8_t *key, size_t len)
{
	uint8_t at[NAME_LABELS_MAX];
	unsigned labels = 0;

	for (size_t pos = 0; pos < len; pos += 1u + key[pos]) {
		if (labels == NAME_LABELS_MAX || key[pos] == 0 || pos + 1 + key[pos] > len)
			return -EBADMSG;
		at[labels++] = (uint8_t)pos;
	}
	name_begin(name);
	while (labels-- > 0)
		if (name_add_label(name, key + at[labels] + 1, key[at[labels]]) < 0)
			return -EBADMSG;
	name_end(name);
	return 0;
}

void name_hash_suffixes(const struct name *name, uint64_t seed, uint64_t *hash)
{
	uint64_t h = seed;

	hash[name->labels] = h;
	for (unsigned i = name->labels; i-- > 0;) {
		const uint8_t *label = name->wire + name->offset[i];
		h = XXH3_64bits_withSeed(label, 1u + label[0], h);
		hash[i] = h;
	}
}

uint64_t name_hash(const struct name *name, uint64_t seed)
{
	return XXH3_64bits_withSeed(name->wire, name->len, seed);
}

uint64_t name_hash_suffix(const struct name *name, unsigned label, uint64_t seed)
{
	unsigned at = label < name->labels ? name->offset[label] : name->len - 1u;

	return XXH3_64bits_withSeed(name->wire + at, name->len - at, seed);
}
