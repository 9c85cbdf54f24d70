/* scaled_block.h - one MoE block as a linear map of the scaling compressed experts
 *
 * With theta1 = theta3 = 1 the compressed block (moe/compressed.h) of a token x is
 *
 *   y = sum_i a_i D_i (h_i(x) * theta2),   theta2 = sum_j a'_j table[j]
 *
 * i over its main experts, j over its auxiliary ones, a'_j = a_j / sum a: linear in the
 * table [experts][intermediate]. Run with table - 1 it is the map A from what is to be
 * added to tables of ones to what that adds to the truncated block. Its transpose on q
 *
 *   (A^T q)[j] = sum_t a'_tj sum_i a_ti h_ti * (D_i^T q_t)
 *
 * wants q where the main experts are: the rows of q go the way of those of x, and meet
 * the h that the run on x has left there.
 */

#ifndef CE_CALIBRATE_SCALED_BLOCK_H
#define CE_CALIBRATE_SCALED_BLOCK_H

#include "base/arena.h"
#include "base/status.h"
#include "calibrate/exact.h"
#include "engine/engine.h"
#include "moe/moe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What theta2 is. */
enum ce_scaled_theta {
    CE_SCALED_ONES = 0, /* the truncated block */
    CE_SCALED_TABLE,    /* of the table */
    CE_SCALED_SIGNS     /* |a'| times random signs, the same for the same token */
};

struct ce_scaled_block {
    struct ce_moe moe;
    float *kept; /* [kept_rows][intermediate] h of the last run, not scaled */
    size_t kept_rows;
    float *factors; /* [tile] the weights of assignments at hand */
    uint32_t *row;  /* [tile] 0, 1, 2, ... */
    enum ce_scaled_theta theta;
    const float *table; /* [experts][intermediate] */
    struct ce_exact
        *transposed; /* [experts][intermediate] A^T q of this rank's experts */
};

/* The settings of a block that compresses `compressed` of a token's experts, from those
 * of the engine's; then ce_scaled_block_take. */
void ce_scaled_block_init(struct ce_scaled_block *block,
                          const struct ce_moe *full,
                          size_t compressed);
/* moe's settings must be set. False when the arena has no room; a measuring one tells
 * how much is needed. */
bool ce_scaled_block_take(struct ce_scaled_block *block, struct ce_arena *arena);

/* One step's tokens of this rank. */
struct ce_scaled_step {
    const struct ce_layer_weights *layer;
    size_t layer_index;
    uint32_t step; /* differs from that of the exchange before */
    size_t tokens;
};

/* y = the block on x, both [tokens][hidden]. With CE_SCALED_SIGNS the expectation of
 * |y|^2 is the trace of A^T A: theta2 has the covariance sum_j a'_j^2 times the
 * identity. Collective, statuses as in ce_moe_run: see block->moe.told. */
CE_MUST_CHECK enum ce_status ce_scaled_block_run(struct ce_scaled_block *block,
                                                 const struct ce_scaled_step *at,
                                                 enum ce_status status,
                                                 const float *x,
                                                 float *y,
                                                 struct ce_error *err);

/* Adds to `transposed` what q [tokens][hidden] brings to this rank's experts, for the
 * tokens of the last run; `ignored` [tokens][hidden] is overwritten. Collective alike.
 */
CE_MUST_CHECK enum ce_status ce_scaled_block_transpose(struct ce_scaled_block *block,
                                                       const struct ce_scaled_step *at,
                                                       enum ce_status status,
                                                       const float *q,
                                                       float *ignored,
                                                       struct ce_error *err);

#endif
