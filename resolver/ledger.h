/*
 * The ledger: who did what, when, with which details; every change and every read of personal data.
 * Append-only JSON lines in DIR/ledger.jsonl, each with the SHA-256 of itself and of the line before, so that
 * a removed or altered line shows. Any number of processes append, one at a time (flock). DIR/ledger.head
 * keeps the number and hash of the newest entry, synced with each, so that entries that are missing at the
 * end show too; where an append finds them missing it says so in an entry of its own ("ledger.broken"), which
 * stays. Whoever can write both files can forge both: copy the head elsewhere, or print it, where that
 * matters.
 *
 *   {"seq":7,"time":"2026-11-23T10:15:02Z","uid":1000,"what":"log.read","detail":{…},"prev":"<64
 * hex>","hash":"<64 hex>"}
 */
#ifndef USHER_LEDGER_H
#define USHER_LEDGER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LEDGER_WHY_MAX 256

/*
 * Appends an entry and waits until it is on disk. uid (uid_t)-1: nobody known (null). detail is borrowed,
 * NULL for none ({}). What a killed process left half written at the end is taken away first: it was never
 * acknowledged. Returns 0 or negative errno: -EBADMSG if the end is no entry of ours, -E2BIG for a detail
 * above 32 KiB.
 */
int ledger_append(const char *dir, uid_t uid, const char *what, json_t *detail);

/*
 * Calls got for each line (without its newline; not NUL-terminated) that was there at the time of the call,
 * until it returns false. Appends go on meanwhile. Returns 0 (also where there is no ledger) or negative
 * errno.
 */
int ledger_walk(const char *dir, bool (*got)(void *arg, const char *line, size_t len), void *arg);

/*
 * Checks every entry, the chain and its end. Appends wait for a moment only. Returns the number of entries (0
 * where there is no ledger), or -EBADMSG with a sentence in why that names the first wrong line, or another
 * negative errno.
 */
int64_t ledger_verify(const char *dir, char why[LEDGER_WHY_MAX]);

#endif
