/* The daemon's side of the school's own rules: opened at start, listed, added to and removed from over
 * control.sock. */
#ifndef USHER_RULES_CONTROL_H
#define USHER_RULES_CONTROL_H

#include "daemon.h"
#include "http.h"

/* Reads the store into daemon->rules, and says what is wrong with it. Ends the process only without memory.
 */
void rules_control_open(struct daemon *daemon);

/* A sentence for `usher status` on what the administrator must see to, or "". */
void rules_control_trouble(const struct daemon *daemon, char text[1024]);

/* Routes of control.sock, arg is the daemon. GET: {"revision", "rules": […]}. */
void rules_control_list(struct http_request *request, void *arg);
/*
 * POST {"name", "action", "reason"} and, if wanted, {"exact", "profile", "client", "for_s", "by"}. Replies
 * with {"rule", "replaced", "note"}; then the rule is on disk, in the ledger and in effect. A rule that could
 * have no effect is refused (409) with a sentence that says why.
 */
void rules_control_add(struct http_request *request, void *arg);
/* DELETE ?name=&reason= and, if wanted, &profile=&client=&exact=1&by=. Replies with {"removed": […]}. */
void rules_control_remove(struct http_request *request, void *arg);

#endif
