/*
 * A UDP socket of one worker: batches in (recvmmsg), the queries answered into the slots of a batch out
 * (sendmmsg). Answers that come later from recursion join the next batch, which leaves at the end of the
 * turn.
 *
 * When more comes than can be answered, what has waited for half a second is dropped unread, and what
 * the socket's buffer has no room for by the kernel: what is answered has not waited longer than that.
 */
#ifndef USHER_UDP_H
#define USHER_UDP_H

#include <stdbool.h>

struct udp;
struct worker;

/* fd is a bound, non-blocking socket (socket.h), owned from here on. wildcard: replies must name their local
 * address. NULL without memory. */
struct udp *udp_new(struct worker *worker, int fd, bool wildcard);
void udp_count(struct udp *udp); /* adds what the kernel dropped to the counters: now and then */
void udp_stop(struct udp *udp);  /* reads what has arrived, then nothing more; answers still go out */
void udp_free(struct udp *udp);  /* sends what waits; NULL is fine */

#endif
