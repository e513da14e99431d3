/*
 * A list that is published as a DNS zone, the way response policy zones are: fetched from any primary by
 * transfer over TCP, AXFR (RFC 5936) or, where there is earlier content, IXFR (RFC 1995), signed or not.
 * The SOA is asked for first, so a zone that did not change costs one query. What is kept is its text, the
 * SOA first, one record a line.
 *
 * URL: axfr://HOST[@PORT]/ZONE, HOST being a name or an address of either family.
 */
#ifndef USHER_ZONE_H
#define USHER_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "fetch.h"
#include "tsig.h"

#define ZONE_SCHEME "axfr://"

struct zone_options {
	struct tsig_key key;
	const char *held;     /* file with the content held, NULL: none */
	uint64_t size_max;    /* octets that arrive, and of the text; 0: FETCH_SIZE_MAX */
	uint32_t seconds_max; /* 0: FETCH_SECONDS_MAX */
};

bool zone_is_url(const char *url);

/* What is wrong with such a URL, NULL if nothing is. */
const char *zone_url_wrong(const char *url);

/*
 * Fetches to fetch->path, as fetch_all() does one file. fetch->etag is the content's serial ("serial 42"):
 * the same one is `unchanged`, an earlier one (RFC 1982) a failure. "" asks for all of it anew.
 */
void zone_fetch(const struct zone_options *options, struct fetch *fetch);

#endif
