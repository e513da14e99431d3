/*
 * Whether a thread that answers goes before all others (SCHED_RR, sched(7)). An answer takes microseconds;
 * what else runs here (the log's writer, searches, a new generation of lists) takes milliseconds, and the
 * kernel's fair classes may let the one wait for the other up to the timer's next tick, whatever their
 * weights. Who goes first waits for nobody. So a thread does that only while it leaves a good part of its
 * processor to the others: in a flood of queries it is one among equals.
 */
#ifndef USHER_PRECEDENCE_H
#define USHER_PRECEDENCE_H

#include <stdbool.h>
#include <stdint.h>

/* All 0: precedence_turn() does nothing. */
struct precedence {
	int64_t share_max; /* of a processor, in percent */
	int64_t since_us, cpu_us;
	int64_t busy_us; /* when it last needed more than it may */
	bool first;
};

/*
 * Lets threads of this process go first, if it may. Called once, by root, before it becomes another user. A
 * thread that goes first for a second without ever waiting ends the process (RLIMIT_RTTIME). Returns the
 * capability that has to be kept for it, -1: none.
 */
int precedence_allow(void);

/*
 * Of this thread, one of so many that answer. It takes short turns (thread_class.h), and is among equals for
 * now. now_us: of CLOCK_MONOTONIC.
 */
void precedence_begin(struct precedence *precedence, unsigned threads, int64_t now_us);

/* A turn of its loop. Each fiftieth of a second it thinks over its class; else it costs a comparison. */
void precedence_turn(struct precedence *precedence, int64_t now_us);

/* The thread ends: turns that another one makes for it, to tidy up, do nothing. */
void precedence_end(struct precedence *precedence);

/* What that goes by: whether to be first from now on, having used so much of the processor's time in all. */
bool precedence_judge(struct precedence *precedence, int64_t now_us, int64_t cpu_us);

#endif
