/*
 * SVCB and HTTPS rdata (RFC 9460): a walk over the parameters, and a copy without what a profile must not get. rdata is
 * hostile: keys must rise, lengths must fit.
 */
#ifndef USHER_SVCB_H
#define USHER_SVCB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blocklists/name.h"

#define SVCB_TARGET 2 /* where TargetName begins in rdata */

enum svcb_key { SVCB_MANDATORY = 0, SVCB_IPV4HINT = 4, SVCB_ECH = 5, SVCB_IPV6HINT = 6 };

struct svcb_walk {
	const uint8_t *rdata;
	size_t len, pos;
	bool target_is_owner;           /* TargetName is "." */
	int last_key;
};

struct svcb_param {
	uint16_t key;
	uint16_t len;
	const uint8_t *value;
};

/* Reads priority and target. Returns 0 or -EBADMSG. */
int svcb_walk_start(struct svcb_walk *walk, const uint8_t *rdata, size_t len);

/* Steps to the next parameter. Returns 1, 0 at the end, -EBADMSG. */
int svcb_walk_next(struct svcb_walk *walk, struct svcb_param *param);

/* Octets of one address in a hint: 4, 16, or 0 for a key that is no hint. */
size_t svcb_hint_size(uint16_t key);

struct svcb_edit {
	bool strip_ech;
	bool (*unwanted)(void *arg, const uint8_t *address, size_t address_len); /* takes a hint's address away */
	void *arg;
};

/*
 * Copies rdata to out (room for len octets) without ech and unwanted addresses; a hint that has none left goes, and what went is no longer
 * mandatory (RFC 9460 8). Returns the new length, equal to len if nothing changed, or -EBADMSG.
 */
int svcb_copy(uint8_t *out, const uint8_t *rdata, size_t len, const struct svcb_edit *edit);

#endif
