/*
 * Which thread goes first where there are fewer processors than threads: a worker, whose every answer takes
 * microseconds, before all that has time.
 */
#ifndef USHER_THREAD_CLASS_H
#define USHER_THREAD_CLASS_H

#include <pthread.h>
#include <stdbool.h>

/*
 * This thread gives way to every other one at once (SCHED_IDLE). Where it could not come back from that, for
 * want of RLIMIT_NICE 20 (the unit sets it) and of CAP_SYS_NICE, it has a low priority instead.
 */
void thread_give_way(void);

/* That thread, which gave way, gets its share again. */
void thread_take_share(pthread_t thread);

/*
 * This thread goes before every one of the classes above (SCHED_RR), until it takes short turns again.
 * Returns whether it may: by RLIMIT_RTPRIO, or CAP_SYS_NICE, which need not be effective.
 */
bool thread_go_first(void);

/*
 * This thread works in short turns: when it wakes it need not wait until another one's longer slice is over.
 * Linux 6.12 and later know slices of a thread's own; earlier ones let who slept go first anyway.
 */
void thread_take_short_turns(void);

#endif
