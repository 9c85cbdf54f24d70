/* window.h - memory that all ranks of one host see
 *
 *   | counters, a cache line per rank | of[0]: part of rank 0 | of[1] | ...
 *
 * For what ranks of a host read of each other too often for messages. Every rank may
 * write and read every part; who writes what when is the callers' agreement, and
 * ce_window_meet what makes it hold: after it a rank sees all that any rank wrote
 * before it.
 *
 * The memory is an anonymous file of rank 0, which the others open by way of /proc. So
 * it needs no file system, has no name that could be left behind, and is given back
 * when the last process that maps it has ended, however it ended.
 */

#ifndef CE_COMM_WINDOW_H
#define CE_COMM_WINDOW_H

#include "comm/transport.h"

#include <stddef.h>
#include <stdint.h>

struct ce_window {
    struct ce_transport *transport;
    unsigned char **of;  /* [ranks] the parts, zeroed, aligned to pages */
    uint64_t round;      /* meetings so far */
    uint64_t wait_ns;    /* total time in them */
    unsigned char *seen; /* [ranks] 1: that rank is at the meeting */
    unsigned char *memory;
    size_t bytes;
};

/* What a window takes beyond the parts themselves, at most. */
size_t ce_window_overhead(int ranks);

/* Makes a window with a part of `bytes` bytes for this rank; ranks may want different
 * ones. Errors: CE_ERR_UNSUPPORTED naming a rank that cannot reach rank 0's memory,
 * because it is on another host or because the system keeps their processes apart.
 * Collective. */
CE_MUST_CHECK enum ce_status ce_window_create(struct ce_window **window,
                                              struct ce_transport *transport,
                                              size_t bytes,
                                              struct ce_error *err);
void ce_window_destroy(struct ce_window *window); /* not collective; accepts NULL */

/* Returns when all ranks have called it as often as this one. Errors: CE_ERR_TIMEOUT
 * after the transport's deadline, naming who is missing; the transport has then failed
 * as after any wait. */
CE_MUST_CHECK enum ce_status ce_window_meet(struct ce_window *window,
                                            struct ce_error *err);

#endif
