/*
 * The keeper: a small process forked from usherd before threads start and rights are dropped. It holds what
 * it takes to start children under their own uid (CAP_SETUID, CAP_SETGID, CAP_KILL and nothing else), execs
 * them, passes their sockets, and starts them again when they die. Children: the recursor (uid recursor-user,
 * one socket a worker), the reader (uid user, serves log.sock) and the alerter (uid user, serves
 * alerts.sock). All end with their parent: usherd killed
 * by -9 leaves no orphan.
 */
#ifndef USHER_KEEPER_H
#define USHER_KEEPER_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "config.h"

#define KEEPER_WORKERS_MAX 250 /* one message passes at most 253 descriptors, unix(7) */

struct keeper;

struct keeper_options {
	const char *program;            /* path of usherd, for exec: /proc/self/exe */
	unsigned workers;               /* sockets a recursor gets, at most KEEPER_WORKERS_MAX */
	uid_t recursor_uid, reader_uid; /* (uid_t)-1: not started as root, children keep ours */
	gid_t recursor_gid, reader_gid;
};

/*
 * Forks the keeper. Must be called before any thread exists. Returns 0 and *out with the daemon's end, or
 * negative errno.
 */
int keeper_start(struct keeper **out, const struct keeper_options *options);

/*
 * Attaches the daemon's end to the main loop. recursor_started is called with one socket a worker (owned by
 * the callee) each time a recursor runs; recursor_ended when it has died (restarted at once, with back-off up
 * to 1 s if it keeps dying). keeper_ended, which may be NULL, is called when the keeper itself has died and
 * its children with it: nothing will be started again, so the daemon had better end too and be restarted.
 */
struct keeper_events {
	void (*recursor_started)(void *arg, const int *fds, unsigned count);
	void (*recursor_ended)(void *arg);
	void *arg;
	void (*keeper_ended)(void *arg);
};
int keeper_attach(struct keeper *keeper, struct event_base *base, const struct keeper_events *events);

/*
 * Starts the recursor, or replaces it by one with a new configuration (the old one ends when its sockets are
 * closed). text: what config_print_recursion() wrote; passed in a sealed memfd, the child's fd 3.
 */
int keeper_recursor(struct keeper *keeper, const char *text, size_t len);

/*
 * The same for the reader: text is the whole configuration as config_print() wrote it; socket is the
 * listening log.sock (kept by the caller), the child's fd 4. The one before is sent SIGTERM, and SIGKILL 5 s
 * later.
 */
int keeper_reader(struct keeper *keeper, const char *text, size_t len, int socket);

/* The same for the alerter, whose socket is alerts.sock. */
int keeper_alerter(struct keeper *keeper, const char *text, size_t len, int socket);

/* In a child: the configuration that was passed to it, which is the caller's. Without one the process ends.
 */
struct config *keeper_take_config(void);

pid_t keeper_recursor_pid(const struct keeper *keeper); /* 0: not running */
unsigned keeper_recursor_restarts(const struct keeper *keeper);

/* Ends the children and the keeper. */
void keeper_stop(struct keeper *keeper);

/* Entry points of the children: `usherd` execs itself as "usherd: recursor" with argv[1] "--recursor",
 * "--reader" or "--alerter". They do not return. */
_Noreturn void recursor_main(int argc, char **argv);
_Noreturn void reader_main(int argc, char **argv);
_Noreturn void alerter_main(int argc, char **argv);

#endif
