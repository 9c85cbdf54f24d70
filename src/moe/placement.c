/* placement.c - which rank owns which full expert */

#include "moe/placement.h"

#include <stdlib.h>

enum ce_status ce_placement_contiguous(struct ce_placement *placement,
                                       size_t layers,
                                       size_t experts,
                                       int ranks,
                                       struct ce_error *err)
{
    *placement =
        (struct ce_placement){.layers = layers, .experts = experts, .ranks = ranks};
    placement->owner = calloc(layers * experts, sizeof(placement->owner[0]));
    if (placement->owner == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "placement: no memory");
    }
    for (size_t layer = 0; layer < layers; layer++) {
        uint16_t *owner = placement->owner + layer * experts;

        for (int rank = 0; rank < ranks; rank++) {
            size_t end = (size_t)(rank + 1) * experts / (size_t)ranks;

            for (size_t e = (size_t)rank * experts / (size_t)ranks; e < end; e++) {
                owner[e] = (uint16_t)rank;
            }
        }
    }
    return CE_OK;
}

void ce_placement_destroy(struct ce_placement *placement)
{
    free(placement->owner);
    *placement = (struct ce_placement){0};
}

void ce_placement_mask(const struct ce_placement *placement,
                       int rank,
                       unsigned char *owned)
{
    for (size_t i = 0; i < placement->layers * placement->experts; i++) {
        owned[i] = placement->owner[i] == rank;
    }
}

static size_t shard_size(const uint16_t *owner, size_t experts, int rank)
{
    size_t count = 0;

    for (size_t e = 0; e < experts; e++) {
        count += owner[e] == rank;
    }
    return count;
}

size_t ce_placement_largest_shard(const struct ce_placement *placement)
{
    size_t largest = 0;

    for (size_t layer = 0; layer < placement->layers; layer++) {
        for (int rank = 0; rank < placement->ranks; rank++) {
            size_t size = shard_size(placement->owner + layer * placement->experts,
                                     placement->experts,
                                     rank);

            largest = size > largest ? size : largest;
        }
    }
    return largest;
}
