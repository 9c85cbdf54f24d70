/* threads.h - ranks that are threads of one process: for tests, and studies on one host
 *
 * What runs on several ranks can so be run, and watched by a debugger or a sanitizer,
 * without a launcher: every rank has its own transport, engine and memory, as in a
 * process of its own, and shares no more with the others than the transport.
 */

#ifndef CE_COMM_THREADS_H
#define CE_COMM_THREADS_H

#include "comm/transport.h"

/* What one rank does, on its own thread. `transport` is its own until it returns; it
 * may abort but not destroy it. `context` is the same on all ranks. */
typedef enum ce_status ce_threads_function(struct ce_transport *transport,
                                           void *context,
                                           struct ce_error *err);

/* How a rank has ended. */
struct ce_threads_outcome {
    enum ce_status status;
    struct ce_error err; /* when it failed */
};

/* Runs `run` on `ranks` ranks, each a new thread, and returns when all have ended.
 * outcome[rank] tells how each has; NULL: nobody wants to know. A rank that returns
 * CE_OK parts from the others in order, which waits for them up to the deadline; one
 * that fails or aborts is gone at once, and the others' next wait for it fails and
 * names it. Errors: those of the rank that was the first to fail; CE_ERR_ARG,
 * CE_ERR_NOMEM. */
CE_MUST_CHECK enum ce_status ce_threads_run(int ranks,
                                            uint64_t deadline_ms,
                                            ce_threads_function *run,
                                            void *context,
                                            struct ce_threads_outcome *outcome,
                                            struct ce_error *err);

#endif
