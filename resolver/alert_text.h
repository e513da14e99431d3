/*
 * What a message about alerts says, by channel and `detail`. An alert is the JSON object of a signal
 * (signal.h), or of usherd's own trouble, which has kind "operations", rule, text and first.
 */
#ifndef USHER_ALERT_TEXT_H
#define USHER_ALERT_TEXT_H

#include <jansson.h>
#include <stdint.h>

#include "config.h"

struct alert_letter {
	const char *id;        /* of the message */
	const char *to, *from; /* checked addresses */
	const char *host;      /* this machine's name */
	enum config_alert_detail detail;
	int64_t now_s;
	const json_t *alerts; /* array, at least one */
};

/*
 * A mail of RFC 5322, header and body, lines end in \n. Whatever the alerts hold, a value ends no header line
 * and forges no other. malloc()ed; NULL without memory.
 */
char *alert_mail(const struct alert_letter *letter);

/* The same for a webhook, one JSON object: {"id","host","time","alerts":[…]}. */
char *alert_post(const struct alert_letter *letter);

/* One line for the system's log: never names or clients. */
char *alert_line(const struct alert_letter *letter);

#endif
