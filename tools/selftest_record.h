/*
 * The dated record of a selftest: STATE-DIR/selftest/2026-11-23T101500Z.json, and last.json, a link to the
 * newest. What it found is in the ledger too, so that a record that was altered or removed shows.
 */
#ifndef USHER_SELFTEST_RECORD_H
#define USHER_SELFTEST_RECORD_H

#include "report.h"
#include "selftest.h"

#define SELFTEST_KEEP_DAYS 400 /* a school year and the summer */
#define SELFTEST_WHOLE_DAYS 7  /* every one; then the first of a day, and those that failed */

/* Stores it and drops those that are too old. Returns 0 or negative errno. */
int selftest_record(const struct selftest *selftest, const char *generation_hash, uint64_t generation);

/* The page that a governor can read. */
void selftest_report(const struct selftest *selftest, struct report *report);

/* {"time","generation","hash","passed","failed","engines","notes":[…],"cases":[…]}; a new reference. */
json_t *selftest_json(const struct selftest *selftest, const char *generation_hash, uint64_t generation);

#endif
