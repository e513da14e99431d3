/*
 * The cage of a process that eats what strangers send: no capabilities, no core file, no tracing, a memory
 * limit, and a list of system calls: network of the Internet families, memory, time, its own descriptors. No
 * file can be opened, no program started, no process made.
 *
 * And a fence for a process that must open files and start programs (sendmail), and for what it starts: all
 * is let through but what no mail program needs and what attacks on the kernel and on other processes begin
 * with.
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

/*
 * The fence, as sandbox_enter(): no core file, the memory limit, few descriptors, no more rights by a program
 * (setuid), and the refused calls fail with EPERM. The programs it starts inherit all of it but that they may
 * be traced. No limit to processes: the kernel counts them by user, and usherd's threads are of the same one.
 */
int sandbox_fence(uint64_t memory);
bool sandbox_is_real(void);

#endif
