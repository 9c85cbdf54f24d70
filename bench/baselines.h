/* baselines.h - the same bytes without an exchange: what there is to beat, and the
 * limit
 *
 *   alltoallv    plain MPI_Alltoallv of messages that are already packed
 *   memcpy       each rank copies its messages into the window of the other, all at
 *                once: what the memory of one host allows
 *   memcpy+own   the same, and each rank copies its message to itself as well, which
 *                dispatch and combine do too
 *
 * In all of them a receiver reads every byte that came from other ranks, and nothing is
 * warm: sources, targets and windows are pools (see harness.h). Phases are numbered,
 * each with its own sizes.
 */

#ifndef CE_BENCH_BASELINES_H
#define CE_BENCH_BASELINES_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

#define BASELINE_PHASES 2

struct baseline_sizes {
    const size_t *send;    /* [ranks] multiples of 4 bytes; the own included */
    const size_t *receive; /* [ranks] */
};

struct baselines;

/* Bytes of memory this rank takes. */
size_t baselines_bytes(const struct baseline_sizes *sizes /* [BASELINE_PHASES] */,
                       int ranks);

/* Takes memory; not collective. `sizes` is borrowed until destroy, which is to be
 * called also after a failure. */
CE_MUST_CHECK enum ce_status baselines_create(struct baselines **baselines,
                                              const struct baseline_sizes *sizes,
                                              struct ce_error *err);
/* Opens the windows. Collective, after all ranks have created theirs. */
CE_MUST_CHECK enum ce_status baselines_connect(struct baselines *baselines,
                                               struct ce_error *err);
/* Accepts NULL; collective once connected. */
void baselines_destroy(struct baselines *baselines);

/* True when all ranks are on one host, without which there is no memcpy. */
bool baselines_share_memory(const struct baselines *baselines);
/* False where sizes exceed what MPI can count. */
bool baselines_can_count(const struct baselines *baselines);

/* As bench_lane.run; the context is a struct baselines. Collective. */
CE_MUST_CHECK enum ce_status
baseline_alltoallv(void *baselines, size_t phase, struct ce_error *err);
CE_MUST_CHECK enum ce_status
baseline_memcpy(void *baselines, size_t phase, struct ce_error *err);
CE_MUST_CHECK enum ce_status
baseline_memcpy_own(void *baselines, size_t phase, struct ce_error *err);

#endif
