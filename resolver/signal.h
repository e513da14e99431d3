/*
 * Signals: what in the stream of blocked lookups somebody should be told of. Rules of `alerts.rules` are
 * evaluated over the records of the block log, fed in order of time; each signal names its evidence. Pure: no
 * clock, no I/O; the same records give the same signals with the same ids, so that they can be replayed over
 * the stored log.
 *
 * One device is one identity (identity.h), whatever addresses it had.
 *
 * threshold: `count` lookups of one device within `window` (to a thirtieth of it). While they go on they
 * belong to the same signal, for an hour or the window, whichever is longer.
 *
 * slow-burn: one device, in `count` different weeks of the last `window`: too few lookups for any threshold,
 * but again and again. At most one signal a week for a device.
 *
 * chase (chase.h): one device goes from a block to ways around it: `count` different sites within `window`, a
 * block first and one or more of category bypass after it that this device was not at before the block.
 *
 * swarm: a site that was never blocked here before is asked by `count` clients within `window` of its first
 * lookup. Nothing is new before a day of records was seen. A site that was let through and that nobody here
 * asked for before comes as one event of so many devices (newcomers.h), and is a swarm by itself.
 *
 * Which rules there are, and which records each looks at: signal_rules.h.
 *
 * Bounded: SIGNAL_WATCHES_MAX devices (signal_watch.h), a million sites.
 */
#ifndef USHER_SIGNAL_H
#define USHER_SIGNAL_H

#include "block_log.h"
#include "config.h"

#define SIGNAL_EVIDENCE_MAX 20
#define SIGNAL_LEAD_S (36 * 86400) /* so much before they are fed what the usual rules look back on */

struct signal_evidence {
	int64_t time_us;             /* the first of them */
	char *name;                  /* presentation form */
	const char *category, *step; /* NULL: none. step of a chase: block, mirror, proxy, vpn */
	uint64_t count;
	bool has_client;
	uint8_t client[16];
};

struct signal {
	uint64_t id;
	const struct config_alert_rule *rule;
	bool is_sent; /* the rule is configured, not the usual one */
	bool has_client;
	uint8_t client[16];             /* the newest of its addresses */
	const char *profile, *category; /* of the lookup that made it; NULL: none */
	enum config_severity severity;  /* the worst */
	int64_t first_us, last_us, fired_us;
	uint64_t count; /* lookups */
	unsigned clients;
	bool let_through; /* a swarm at a site that no list blocks: not known who asked */
	struct signal_evidence evidence[SIGNAL_EVIDENCE_MAX];
	size_t evidence_count;
	uint64_t more; /* lookups that found no place in the evidence */
};

struct signals;

enum signal_stage { SIGNAL_NEW, SIGNAL_MORE, SIGNAL_OVER }; /* made; a lookup was added; no more will be */

/*
 * told() is called at each stage of a signal, which is valid until told() returns. config: borrowed. Returns
 * NULL without memory.
 */
struct signals *signals_new(const struct config *config,
        void (*told)(void *arg, const struct signal *signal, enum signal_stage stage), void *arg);

/* A record, not older than those before (a few seconds of disorder do no harm). Returns 0 or -ENOMEM. */
int signals_feed(struct signals *signals, const struct block_record *record);

/* No more will come: all that are open are over. */
void signals_finish(struct signals *signals);
void signals_free(struct signals *signals); /* NULL is fine */

/* One JSON object. device: who had the client's address then, NULL unknown. malloc()ed; NULL without memory.
 */
char *signal_json(const struct signal *signal, const struct device *device);

#endif
