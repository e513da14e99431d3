/*
 * What usherd says by itself: blocks, local records, canaries, rewrites, errors. Each function writes one
 * reply into the query's out buffer and returns its length; sending, counting and logging are query.c's.
 */
#ifndef USHER_REPLY_H
#define USHER_REPLY_H

#include "answer.h"
#include "query.h"

/* Header and question alone. rcode may be extended (BADVERS). */
size_t reply_error(struct query *query, unsigned rcode, int ede, const char *text);

/* Truncated: come again over TCP. */
size_t reply_truncated(struct query *query);

/* The profile's block answer (DESIGN.md 4 block-answer) with EDE and text. */
size_t reply_blocked(struct query *query, int ede, const char *text);

/* NXDOMAIN or NODATA with our SOA. */
size_t reply_negative(struct query *query, unsigned rcode, uint32_t ttl_s, int ede, const char *text);

/*
 * Local records: those of the type, all for ANY, NODATA if there is none. A CNAME is followed through local
 * records; where its chain leaves them, 0 is returned and *target is the name to look up (the snapshot's);
 * then reply_local_chain() writes the whole.
 */
size_t reply_local(struct query *query, const struct name **target);
size_t reply_local_chain(struct query *query, const struct answer_stored *stored, uint32_t age_s);

/* What the client asks of usherd itself (why.h): TXT, else NODATA or NXDOMAIN. */
size_t reply_why(struct query *query);

/* CH TXT version.bind and kin (RFC 4892), by configuration. */
size_t reply_chaos(struct query *query);

/* ANY gets one made-up HINFO (RFC 8482 4.2). */
size_t reply_any(struct query *query);

/* Safe search: our CNAME, then the target's own records from stored; or the engine's fixed addresses. */
size_t reply_rewritten(struct query *query, const struct config_engine *engine,
        const struct answer_stored *stored, uint32_t age_s, int ede, const char *text);
size_t reply_fixed_addresses(struct query *query, const struct config_engine *engine);

/* A stored answer; stale: expired, with EDE 3 or 19. */
size_t reply_stored(struct query *query, const struct answer_stored *stored, uint32_t age_s, bool stale,
        int ede, const char *text);

#endif
