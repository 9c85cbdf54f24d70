/* placement.h - which rank owns which full expert */

#ifndef CE_MOE_PLACEMENT_H
#define CE_MOE_PLACEMENT_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

struct ce_placement {
    size_t layers;
    size_t experts;
    int ranks;
    uint16_t *owner; /* [layers][experts] */
};

/* Contiguous: rank r owns experts [r E / N, (r + 1) E / N) of every layer, so
 * shards differ by at most one expert and may be empty when N > E. */
CE_MUST_CHECK enum ce_status ce_placement_contiguous(struct ce_placement *placement,
                                                     size_t layers,
                                                     size_t experts,
                                                     int ranks,
                                                     struct ce_error *err);
void ce_placement_destroy(struct ce_placement *placement); /* accepts a zeroed object */

/* owned[layer * experts + e] = 1 where `rank` is the owner, else 0. */
void ce_placement_mask(const struct ce_placement *placement,
                       int rank,
                       unsigned char *owned);

/* The largest number of experts one rank owns in one layer. */
size_t ce_placement_largest_shard(const struct ce_placement *placement);

#endif
