/* bench_work.h - what steps really did: weights read, arithmetic, time by stage
 *
 * Counted on every rank from its own batch and from the rows that arrived at its
 * experts, so routing, ranks and batches are those of the run:
 *
 *   bytes  for every step with tokens of this rank all dense matrices but the
 *          embedding, with rows of logits the output matrix; of matrices that are
 *          split the slices here, in every step with such rows on any rank; for every
 *          batch of a layer's rows each expert among them once
 *   FLOP   2 x (tokens x dense parameters of the layers + assignments x 3 d f
 *          + rows of logits x vocabulary x d)
 *          + 4 x heads x head_dim x layers for each pair of a token and one before it
 *          or itself
 *
 * Not in it: embedding rows, the KV cache, compressed tables, activations.
 */

#ifndef CE_TOOLS_BENCH_WORK_H
#define CE_TOOLS_BENCH_WORK_H

#include "engine/engine.h"

#include <stddef.h>
#include <stdint.h>

struct ce_work {
    uint64_t steps;        /* of the job */
    uint64_t tokens;       /* of this rank, as all that follows */
    uint64_t token_steps;  /* steps with tokens */
    uint64_t dense_reads;  /* of attention's matrices, or of this rank's slices */
    uint64_t logits_reads; /* of the output matrix, likewise */
    uint64_t logits;       /* rows */
    uint64_t pairs;        /* of tokens that attend and are attended */
    uint64_t assignments;  /* rows through experts */
    uint64_t experts_read; /* over steps and layers */
    uint64_t bytes;        /* of weights */
    uint64_t stage_ns[CE_STAGES];
    uint64_t moe_ns[CE_MOE_STAGES];
};

/* Before a step of `count` items: what its tokens and their positions tell. */
void ce_work_count(struct ce_work *work, const struct ce_step_item *item, size_t count);

/* Counters of the engine as they stand. Work adds the difference of two. */
struct ce_work_mark {
    uint64_t assignments;
    uint64_t experts_read;
    uint64_t dense_reads;
    uint64_t logits_reads;
    uint64_t stage_ns[CE_STAGES];
    uint64_t moe_ns[CE_MOE_STAGES];
};
struct ce_work_mark ce_work_mark(const struct ce_engine *engine);
/* After the steps; `since` is the mark before them. */
void ce_work_add(struct ce_work *work,
                 const struct ce_engine *engine,
                 const struct ce_work_mark *since);

/* Bytes of weights that were read, from the counts of this rank. */
uint64_t ce_work_bytes(const struct ce_work *work, const struct ce_engine *engine);
/* Of counts of any number of ranks. */
double ce_work_flops(const struct ce_work *work, const struct ce_config *config);

/* Adds another rank's, but for steps and times, which are those of the first. */
void ce_work_join(struct ce_work *work, const struct ce_work *other);

#endif
