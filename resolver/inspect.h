/* Where an answer leads: CNAME and DNAME hops and HTTPS/SVCB targets, each to be judged like an asked name; and addresses. */
#ifndef USHER_INSPECT_H
#define USHER_INSPECT_H

#include "answer.h"

/*
 * Calls judge for every hop in order; a judge that returns true ends the walk. Returns 1 if a judge ended it, 0 if none did, -EBADMSG.
 * The targets of HTTPS/SVCB records: AliasMode and ServiceMode alike (RFC 9460 2.4), "." is the owner and no hop.
 */
int inspect_hops(const struct answer_stored *stored, bool (*judge)(void *arg, const struct name *hop), void *arg);

/*
 * The same for every address: of A and AAAA records, and hints of HTTPS/SVCB records; 16 octets, IPv4 mapped.
 */
int inspect_addresses(const struct answer_stored *stored, bool (*judge)(void *arg, const uint8_t address[16]), void *arg);

#endif
