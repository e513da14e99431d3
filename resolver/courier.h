/*
 * Carries one message to one recipient: by mail (the sendmail interface, or a mail server), to a webhook, to
 * the system's log. Each runs on a thread of its own and has a deadline; what came of it is collected on the
 * caller's.
 */
#ifndef USHER_COURIER_H
#define USHER_COURIER_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"

#define COURIER_WHY_MAX 300
#define COURIER_ID_MAX 40

enum courier_channel { COURIER_MAIL, COURIER_WEBHOOK, COURIER_SYSLOG, COURIER_CHANNELS };

struct courier_job {
	enum courier_channel channel;
	char id[COURIER_ID_MAX]; /* of the message: the same at every attempt */
	const char *to;          /* address or URL */
	const char *text;        /* mail: header and body, lines end in \n; webhook: JSON; syslog: one line */
};

struct courier_result {
	char id[COURIER_ID_MAX];
	bool is_done;
	char why[COURIER_WHY_MAX]; /* not done: a sentence without personal data */
};

struct courier;

/* For as long as the process lives, and alerts, which are borrowed, too. */
struct courier *courier_new(const struct config_alerts *alerts);

int courier_fd(const struct courier *courier); /* readable when there is a result */

/* Sends it; the job is copied. Returns 0, -EAGAIN if as many as may are on their way, or negative errno. */
int courier_send(struct courier *courier, const struct courier_job *job);

/* Takes a result. Returns false if there is none. */
bool courier_take(struct courier *courier, struct courier_result *result);
unsigned courier_busy(const struct courier *courier); /* on their way, or not yet taken */

/* The words for a channel: "mail". */
const char *courier_channel_text(enum courier_channel channel);

/* HMAC-SHA256 (RFC 2104) in hex, 65 octets with NUL. */
void courier_sign(const char *secret, size_t secret_len, const char *body, char hex[65]);

#endif
