/*
 * The workers' side of recursion: questions to the recursor process and answers from it, one struct recursion
 * a worker. It joins equal questions, keeps the deadline, asks again when the recursor died and was started
 * anew, and never calls back before recursion_ask() returned.
 *
 * The format of the socket's packets (SOCK_SEQPACKET, host byte order) is at the end.
 */
#ifndef USHER_RECURSION_H
#define USHER_RECURSION_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blocklists/name.h"
#include "message.h"
#include "slots.h"

struct recursion;

enum recursion_status {
	RECURSION_ANSWERED, /* wire holds a message (NOERROR, NXDOMAIN, …) */
	RECURSION_BOGUS,    /* DNSSEC validation failed; ede and why say how */
	RECURSION_FAILED,   /* no answer to be had: ede is 22 or 23 */
	RECURSION_TIMEOUT,  /* the deadline passed: ede 22 */
	RECURSION_BUSY,     /* the recursor refused: too many questions in flight */
};

struct recursion_result {
	enum recursion_status status;
	bool secure;         /* validated */
	int ede;             /* enum dns_ede or EDE_NONE */
	const char *why;     /* text for the EDE, "" none */
	const uint8_t *wire; /* valid inside the callback; NULL unless ANSWERED, or BOGUS asked with CD */
	size_t wire_len;
};

struct recursion_question {
	struct name name;
	uint16_t type;
	bool checking_disabled;
	bool own;       /* usherd's own pulse, no client's: neither counted nor stored */
	bool dnssec_ok; /* the store is to keep signatures; the recursor's answer has them always */
};

/* One who waits; the caller embeds it, zeroed, in its query. It lives until answered() or recursion_cancel().
 */
struct recursion_waiter {
	struct recursion_waiter *next;
	struct recursion_flight *flight;
	struct slots_client charged; /* if another began the flight */
	void (*answered)(struct recursion_waiter *waiter, const struct recursion_result *result);
};

/*
 * What happens to every answer once, before the waiters hear of it: the worker stores it in the cache.
 * Failures and timeouts are told too (RFC 9520: they are to be remembered for some seconds); RECURSION_BUSY
 * and recursion_free() are not, since they say nothing of the name.
 */
typedef void (*recursion_store)(
        void *arg, const struct recursion_question *question, const struct recursion_result *result);

struct stats;

/* slots: outlive it. deadline_ms: 5000, at least 1. store may be NULL. Returns NULL without memory. */
struct recursion *recursion_new(struct event_base *base, struct slots *slots, unsigned deadline_ms,
        struct stats *stats, recursion_store store, void *store_arg);
void recursion_free(struct recursion *recursion); /* waiters are told RECURSION_FAILED; NULL is fine; never
                                                     from inside answered() or store() */

/*
 * A socket to a new recursor (owned from here on): what is in flight is asked again there. The one before is
 * closed. fd -1: there is no recursor now; questions wait. Must be called on the worker's thread.
 */
void recursion_connect(struct recursion *recursion, int fd);

/*
 * Asks. waiter may be NULL (prefetch: only the store hears). client NULL: nobody's question. Returns 0
 * (answered() will come), or -EDQUOT (the client has its share), -EBUSY (all slots are taken), -ENOMEM: then
 * it will not.
 *
 * A client is charged for a question it began until that ends, also when it went away meanwhile, and for each
 * it joined until it is told or cancels.
 */
int recursion_ask(struct recursion *recursion, const struct recursion_question *question,
        struct recursion_waiter *waiter, const struct slots_client *client);

/* The client is gone, or was given a stale answer: forget the waiter, the question goes on. */
void recursion_cancel(struct recursion_waiter *waiter);

unsigned recursion_in_flight(const struct recursion *recursion);

/* ---- the packets ---- */

/*
 * A packet holds questions, or answers, one after the other without gaps: what one turn of a loop brings
 * crosses together, since a packet costs each side about a microsecond. The largest question and the largest
 * answer fit into one alone.
 */
#define RECURSOR_QUESTIONS_MAX 16384 /* octets */
#define RECURSOR_ANSWER_WHY_MAX 255
#define RECURSOR_ANSWERS_MAX (sizeof(struct recursor_answer) + RECURSOR_ANSWER_WHY_MAX + MESSAGE_MAX)

struct recursor_question { /* followed by name_len octets of name in wire form */
	uint64_t id;       /* random */
	uint16_t type;
	uint8_t checking_disabled;
	uint8_t name_len;
	uint32_t reserved;
};

struct recursor_answer { /* followed by why_len octets of text, then wire_len octets of message */
	uint64_t id;
	uint8_t status; /* enum recursion_status */
	uint8_t secure;
	int16_t ede;
	uint16_t why_len;
	uint16_t wire_len;
};

#endif
