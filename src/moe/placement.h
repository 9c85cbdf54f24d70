/* placement.h - which ranks own which full expert
 *
 * Every expert of every layer has at least one owner. Where it has several, all of
 * them can run it and give the same bits; who asks chooses (see plan.h).
 */

#ifndef CE_MOE_PLACEMENT_H
#define CE_MOE_PLACEMENT_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the text that says how a placement was made, with its NUL. */
#define CE_PLACEMENT_NAME 64

struct ce_placement {
    size_t layers;
    size_t experts;
    int ranks; /* at most UINT16_MAX */
    char name[CE_PLACEMENT_NAME];
    size_t *begin;   /* [layers * experts + 1] into owner, which has begin[last] */
    uint16_t *owner; /* of each expert ascending, each rank once */
};

/* The owners of one expert. */
struct ce_owners {
    const uint16_t *rank; /* [count], ascending */
    size_t count;         /* >= 1 */
};

enum ce_placement_kind {
    CE_PLACEMENT_CONTIGUOUS = 0, /* rank r first owns [r E / N, (r + 1) E / N) */
    CE_PLACEMENT_STRIDED,        /* expert e is first on rank e mod N */
    CE_PLACEMENT_RANDOM,         /* any 1 to `replicas` ranks, differs by layer */
};

struct ce_placement_recipe {
    enum ce_placement_kind kind;
    size_t replicas; /* owners of an expert, 1 to N: N / replicas ranks apart */
    uint64_t seed;   /* of random */
};

/* Makes a placement by a recipe. Shards may be empty when N > E. Errors:
 * CE_ERR_ARG for more replicas than ranks. */
CE_MUST_CHECK enum ce_status ce_placement_make(struct ce_placement *placement,
                                               const struct ce_placement_recipe *recipe,
                                               size_t layers,
                                               size_t experts,
                                               int ranks,
                                               struct ce_error *err);

/* The contiguous one, one owner an expert: shards of a layer differ by at most one. */
CE_MUST_CHECK enum ce_status ce_placement_contiguous(struct ce_placement *placement,
                                                     size_t layers,
                                                     size_t experts,
                                                     int ranks,
                                                     struct ce_error *err);

/* Sets the sizes and takes zeroed memory for at most `owners` owners. */
CE_MUST_CHECK enum ce_status ce_placement_create(struct ce_placement *placement,
                                                 size_t layers,
                                                 size_t experts,
                                                 int ranks,
                                                 size_t owners,
                                                 struct ce_error *err);
void ce_placement_destroy(struct ce_placement *placement); /* accepts a zeroed object */

/* With layer 0 an expert beyond E counts on through the layers. */
struct ce_owners
ce_placement_owners(const struct ce_placement *placement, size_t layer, size_t expert);
bool ce_owners_include(struct ce_owners owners, size_t rank);

/* owned[layer * experts + e] = 1 where `rank` is an owner, else 0. */
void ce_placement_mask(const struct ce_placement *placement,
                       int rank,
                       unsigned char *owned);

/* The number of experts that `rank` owns in a layer, and the largest of all ranks
 * and layers. */
size_t
ce_placement_shard(const struct ce_placement *placement, size_t layer, size_t rank);
size_t ce_placement_largest_shard(const struct ce_placement *placement);

/* True when any expert has several owners. */
bool ce_placement_has_replicas(const struct ce_placement *placement);

/* Of sizes and owners, not of the name: tells placements apart. */
uint64_t ce_placement_hash(const struct ce_placement *placement);

#endif
