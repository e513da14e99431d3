/*
 * A table of eight-way sets. A place is one client's use of one zone: how many of its coded names were
 * different (a bit a hash of the name, so that asking again is not counted; two names in one bit are one,
 * which costs a tenth at the hundredth). Who has the fewest names gives his place to a newcomer, so a flood
 * of zones pushes out no tunnel.
 */
#include "tunnel.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "address.h"
#include "blocklists/parse.h"
#include "message.h"

#define WAYS 8
#define SETS 512
#define SEEN_WORDS 8 /* 512 bits */
#define WINDOW_S 3600
#define SHORT_MIN 16  /* octets before the zone, for a type that brings data down */
#define NULL_WEIGHT 4 /* names that one NULL lookup stands for */

struct use {
	uint64_t key; /* of client and zone, 0: free */
	uint32_t began_s;
	uint32_t blocked_until_s; /* 0: not found yet */
	uint32_t names;           /* different coded ones */
	uint32_t weight;          /* the same, NULL counted for more */
	uint32_t octets;          /* of them all, before the zone */
	float bits;               /* of them all, a letter each */
	uint64_t seen[SEEN_WORDS];
};

struct tunnel {
	pthread_mutex_t lock;
	uint64_t seed;
	_Atomic uint32_t blocked_until_s; /* the last block ends: before the first, and after, nothing needs
	                                     the lock */
	float count_bits[NAME_WIRE_MAX + 1]; /* n * log2(n) */
	struct use sets[SETS][WAYS];
};

struct tunnel *tunnel_new(void)
{
	static const struct name nobody = { .len = 1 };
	struct tunnel *tunnel = calloc(1, sizeof *tunnel);

	if (tunnel == NULL)
		return NULL;
	if (getrandom(&tunnel->seed, sizeof tunnel->seed, 0) != sizeof tunnel->seed) {
		free(tunnel);
		return NULL;
	}
	pthread_mutex_init(&tunnel->lock, NULL);
	for (unsigned n = 1; n <= NAME_WIRE_MAX; n++)
		tunnel->count_bits[n] = (float)n * log2f((float)n);
	parse_zone_labels(&nobody); /* reads the public suffixes now, not in a worker's turn */
	return tunnel;
}

void tunnel_free(struct tunnel *tunnel)
{
	if (tunnel == NULL)
		return;
	pthread_mutex_destroy(&tunnel->lock);
	free(tunnel);
}

/* ---- what a name looks like ---- */

/* What stands before the zone: its octets without the lengths, and how many bits of information one has
 * (Shannon's entropy). */
struct payload {
	unsigned octets;
	float bits;
};

static struct payload payload_of(const struct tunnel *tunnel, const struct name *name, unsigned zone_labels)
{
	uint8_t count[256] = { 0 };
	struct payload payload = { 0 };
	float sum = 0;

	for (unsigned i = 0; i + zone_labels < name->labels; i++) {
		const uint8_t *label = name->wire + name->offset[i];
		payload.octets += label[0];
		for (unsigned k = 1; k <= label[0]; k++)
			count[label[k]]++;
	}
	if (payload.octets == 0)
		return payload;
	for (unsigned c = 0; c < 256; c++)
		sum += tunnel->count_bits[count[c]];
	payload.bits = (tunnel->count_bits[payload.octets] - sum) / (float)payload.octets;
	return payload;
}

/* Types with room for data in their answer, but not what browsers and systems ask all day. */
static bool type_brings_data(uint16_t type)
{
	switch (type) {
	case TYPE_CNAME:
	case TYPE_MX:
	case TYPE_TXT:
	case TYPE_SRV:
	case 25: /* KEY */
		return true;
	default:
		return type >= 65280; /* for private use, RFC 6895 3.1 */
	}
}

static bool looks_coded(const struct config_tunnelling *limits, const struct payload *payload, uint16_t type)
{
	float bits = (float)limits->entropy / 1000;

	if (type == TYPE_NULL)
		return payload->octets > 0;
	if (payload->octets >= limits->length && payload->bits >= bits)
		return true;
	/* So few octets cannot show the same evenness. */
	return type_brings_data(type) && payload->octets >= SHORT_MIN && payload->bits >= bits * 0.8f;
}

/* ---- counting ---- */

/* Of two uses, which is the one to give up? */
static bool is_less_worth(const struct use *a, const struct use *b, uint32_t now_s)
{
	bool a_blocked = a->blocked_until_s > now_s, b_blocked = b->blocked_until_s > now_s;

	return a_blocked != b_blocked ? b_blocked : a->names < b->names;
}

static struct use *use_find(struct tunnel *tunnel, uint64_t key, uint32_t now_s, bool make)
{
	struct use *set = tunnel->sets[(key >> 32) % SETS], *least = &set[0];

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (is_less_worth(&set[i], least, now_s))
			least = &set[i];
	}
	if (!make)
		return NULL;
	*least = (struct use){ .key = key, .began_s = now_s };
	return least;
}

/* True if the name had not been seen in this hour. */
static bool use_add(struct use *use, const struct payload *payload, uint64_t name_hash, unsigned weight)
{
	uint64_t *word = &use->seen[name_hash / 64 % SEEN_WORDS], bit = UINT64_C(1) << name_hash % 64;

	if ((*word & bit) != 0)
		return false;
	*word |= bit;
	use->names++;
	use->weight += weight;
	use->octets += payload->octets;
	use->bits += payload->bits;
	return true;
}

static void zone_text(const struct name *name, unsigned zone_labels, char text[NAME_TEXT_MAX])
{
	struct name zone;

	name_suffix(name, name->labels - zone_labels, &zone);
	name_to_text(&zone, text);
}

static void use_block(struct tunnel *tunnel, struct use *use, uint32_t block_s, uint32_t now_s)
{
	use->blocked_until_s = now_s + block_s;
	if (use->blocked_until_s > atomic_load_explicit(&tunnel->blocked_until_s, memory_order_relaxed))
		atomic_store_explicit(&tunnel->blocked_until_s, use->blocked_until_s, memory_order_relaxed);
}

static enum tunnel_finding use_judge(struct tunnel *tunnel, struct use *use,
        const struct config_tunnelling *limits, uint32_t now_s, const char *zone, char rule[TUNNEL_RULE_MAX])
{
	if (use->blocked_until_s > now_s) {
		snprintf(rule, TUNNEL_RULE_MAX, "%.255s", zone);
		return TUNNEL_BLOCKED;
	}
	if (use->weight < limits->names)
		return TUNNEL_NONE;
	snprintf(rule, TUNNEL_RULE_MAX, "%.255s (%u names, %u octets, %.1f bits)", zone, use->names,
	        use->octets / use->names, (double)(use->bits / (float)use->names));
	use_block(tunnel, use, limits->block_s, now_s);
	return TUNNEL_FOUND;
}

/* An hour that is over begins anew; so does one whose block has ended, with a clean sheet. */
static void use_renew(struct use *use, uint32_t now_s)
{
	bool served = use->blocked_until_s != 0 && use->blocked_until_s <= now_s;

	if (served || (use->blocked_until_s == 0 && now_s - use->began_s >= WINDOW_S))
		*use = (struct use){ .key = use->key, .began_s = now_s };
}

enum tunnel_finding tunnel_note(struct tunnel *tunnel, const struct config_tunnelling *limits,
        const uint8_t client[16], const struct name *name, uint16_t type, uint32_t now_s,
        char rule[TUNNEL_RULE_MAX])
{
	enum tunnel_finding found = TUNNEL_NONE;
	char zone[NAME_TEXT_MAX];

	unsigned zone_labels = parse_zone_labels(name);
	if (zone_labels == 0 || zone_labels >= name->labels)
		return TUNNEL_NONE;
	struct payload payload = payload_of(tunnel, name, zone_labels);
	bool coded = looks_coded(limits, &payload, type);
	if (!coded && atomic_load_explicit(&tunnel->blocked_until_s, memory_order_relaxed) <= now_s)
		return TUNNEL_NONE;
	const uint8_t *zone_wire = name->wire + name->offset[name->labels - zone_labels];
	uint64_t key = XXH3_64bits_withSeed(zone_wire, (size_t)(name->wire + name->len - zone_wire),
	                       address_client_hash(client, tunnel->seed)) |
	               1;
	zone_text(name, zone_labels, zone);

	pthread_mutex_lock(&tunnel->lock);
	struct use *use = use_find(tunnel, key, now_s, coded);
	if (use != NULL) {
		use_renew(use, now_s);
		if (coded)
			use_add(use, &payload, name_hash(name, tunnel->seed),
			        type == TYPE_NULL ? NULL_WEIGHT : 1);
		found = use_judge(tunnel, use, limits, now_s, zone, rule);
	}
	pthread_mutex_unlock(&tunnel->lock);
	return found;
}
