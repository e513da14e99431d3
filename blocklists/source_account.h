/*
 * The account of a source: what a manifest and `usher lists status` say of it, as JSON. Every key is always
 * there: name url format licence sha256 size etag last_modified signed (the trusted comment, "" if not
 * signed) fetched_at changed_at settings read taken duplicate covered own shared shared_first left_out guards
 * skipped{reason: n} categories{name: n} ignored[folder] missing[folder] samples[{entry, line, reason}]
 * accepted
 */
#ifndef USHER_SOURCE_ACCOUNT_H
#define USHER_SOURCE_ACCOUNT_H

#include <jansson.h>

#include "fetch.h"
#include "source.h"

/* The built-in starter list, described like any other source. */
extern const struct source source_starter;

/* A new account of content that was read now; of where it came from it says nothing yet. NULL without memory.
 */
json_t *source_account_new(const struct source *source, const struct source_content *content,
        const char *const *categories, size_t category_count);

/* Adds what is known of the file it was read from. */
void source_account_fetched(json_t *account, const struct fetch_result *result);

/*
 * A fingerprint of how the configuration has a source read: what was read in another way must be read again.
 * Returns 0 or -ENOMEM.
 */
int source_account_settings(
        const struct source *source, const char *const *categories, char hex[FETCH_SHA256_TEXT]);

#endif
