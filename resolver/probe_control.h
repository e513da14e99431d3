/* The routes of control.sock that `usher selftest` asks. */
#ifndef USHER_PROBE_CONTROL_H
#define USHER_PROBE_CONTROL_H

#include "http.h"

/*
 * POST {"client": "10.20.0.5", "name": "www.example.com", "type": "A", "raw": false}: what that client gets,
 * and with raw what the name itself is, past the policy. Replies with {"answer": "<the DNS message in
 * hexadecimal digits>"}, null if there is none. probe.h.
 */
void probe_control_ask(struct http_request *request, void *arg);

/* POST {"failed": ["google"]}: these engines, and no others, are blocked instead of rewritten. engines.h. */
void probe_control_engines(struct http_request *request, void *arg);

#endif
