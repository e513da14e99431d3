/*
 * The cage of a process that eats what strangers send: no capabilities, no core file, no tracing, a memory
 * limit, and a list of system calls: network of the Internet families, memory, time, its own descriptors. No
 * file can be opened, no program started, no process made.
 */
#ifndef USHER_SANDBOX_H
#define USHER_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

/*
 * For good. memory is the most data the process may have, in octets. Returns 0, or negative errno if the
 * kernel does not filter system calls (then the rest is in force). Built with sanitizers it does nothing:
 * sandbox_is_real() tells.
 */
int sandbox_enter(uint64_t memory);
bool sandbox_is_real(void);

#endif
