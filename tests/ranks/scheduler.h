/* scheduler.h - a list of requests over all ranks, under one setting: see scheduler.c
 *
 * A setting is words as in "drain step-tokens=9":
 *
 *     drain, quit              the last rank asks for it before the fifth step
 *     step-tokens=N            instead of 64
 *     unshared                 no page of the cache is shared
 *     truncated                two experts are dropped
 *     tables=FILE other=FILE   the engine is made to compress with the first, takes the
 *                              second, then drops two experts
 */

#ifndef CE_TESTS_RANKS_SCHEDULER_H
#define CE_TESTS_RANKS_SCHEDULER_H

#include "engine/scheduler.h"

#include <stdint.h>

enum { SCHEDULER_REQUESTS = 68 };

/* Of a request; all 0 while it has not ended. */
struct scheduler_outcome {
    uint32_t results;
    uint32_t finish;
    uint64_t hash; /* of its results */
};

struct scheduler_results {
    struct scheduler_outcome outcome[SCHEDULER_REQUESTS];
    struct ce_schedule_summary summary;
};

/* The same on all ranks. What is not as it must be ends the program. Collective. */
void scheduler_run(struct ce_transport *transport,
                   const char *model,
                   const char *words,
                   struct scheduler_results *results);

#endif
