/* The routes of stats.sock and control.sock (DESIGN.md 6). */
#ifndef USHER_CONTROL_H
#define USHER_CONTROL_H

#include "http.h"

/* Route tables for http_serve(); arg is the struct daemon. */
extern const struct http_route control_stats_routes[];
extern const struct http_route control_routes[];

#endif
