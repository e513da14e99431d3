/*
 * Long work beside threads that answer, in small steps. To run as the lowest class is not enough: a kernel
 * that is not preemptible finishes what it does first, and a thread that had to wait long is given all that
 * it is owed at once, up to the timer's next tick, whoever wakes (Linux' EEVDF). So the work naps on its way:
 * who waits for the processor has it before the next step, and nothing is owed to who sleeps.
 */
#ifndef USHER_PACE_H
#define USHER_PACE_H

/* From now on this thread naps in its long work. A thread that was never told so does not. */
void pace_begin(void);

/*
 * Between two steps of long work, each of some ten microseconds: naps where this thread does so and has
 * worked for a while. It costs a comparison elsewhere.
 */
void pace_step(void);

#endif
