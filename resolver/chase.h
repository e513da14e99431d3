/*
 * From a block to ways around it: whether what one client was seen at (signal_watch.h) tells that. A chase
 * begins with a block, may go on with another site of the same category (a mirror), and goes to sites of
 * category bypass. What the client was at before the window is habit, and begins nothing. Pure.
 */
#ifndef USHER_CHASE_H
#define USHER_CHASE_H

#include "signal_watch.h"

/* The block that the first way around since then followed: the latest that had a mirror, else the latest.
 * NULL if there is none. */
const struct step *chase_block(const struct watch *watch, int64_t since_us);

/* How many steps a chase that began with that block has. One mirror counts: apps ask for many names of their
 * kind. */
uint32_t chase_length(const struct watch *watch, const struct step *block);

/* What a step is to that chase: "block", "mirror", "proxy" or "vpn"; NULL: nothing. */
const char *chase_label(const struct step *step, const struct step *block);

#endif
