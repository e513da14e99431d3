/*
 * What a disk that fails, or fills, does to a file that is written through a map: the kernel finds no room
 * for the changed page and sends SIGBUS, which would end the process and with it DNS. LMDB keeps its lock in
 * such a map, and neither blocks that were allocated nor a look beforehand help on every file system (btrfs
 * asks for room anew after each write-back, XFS and ext4 refuse after an error). With this guard the page is
 * replaced by a copy in memory, and the one that wrote goes on and learns by the count that nobody else sees
 * what it wrote.
 */
#ifndef USHER_PAGE_GUARD_H
#define USHER_PAGE_GUARD_H

#include <stdint.h>

/* For this process and those it forks. A page that cannot even be read still ends it: there is no truth to go
 * on with. */
void page_guard_start(void);

/* Pages replaced in this process up to now. One that changed while a map was used: close it, it is a copy. */
uint64_t page_guard_count(void);

#endif
