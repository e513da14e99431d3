/*
 * One file's way from its server to its path: hop by hop along redirects, and again from where it broke off.
 * fetch_all() drives the handle; what happens between two requests is decided here.
 */
#ifndef USHER_TRANSFER_H
#define USHER_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>

#include "fetch.h"

struct transfer;

/* Ready to be performed. NULL: fetch->status and why say why not, or memory is short. */
struct transfer *transfer_new(const struct fetch_options *options, struct fetch *fetch);
void transfer_free(struct transfer *transfer); /* NULL is fine */

CURL *transfer_handle(const struct transfer *transfer);
struct fetch *transfer_fetch(const struct transfer *transfer);

/* How much of it is here, 0 while its size is not known. */
unsigned transfer_permille(const struct transfer *transfer);

/* The handle was performed. True: it must be once more. False: fetch->status and the rest are filled. */
bool transfer_ended(struct transfer *transfer, CURLcode code);

#endif
