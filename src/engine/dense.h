/* dense.h - products with attention's matrices and the output matrix
 *
 * Alone, a rank multiplies its own rows. With --expert-split node the ranks of a host
 * share these matrices, too: each has some of the outputs of each and computes them for
 * the rows of all, which stand one after another in the window:
 *
 *            | rows of rank 0 | of rank 1 | of rank 2 |
 *   inputs     each its own                              quantised where weights are
 *              meet
 *   outputs    every rank some columns of all            a panel is read once for all
 *              meet
 *
 * No sum is cut and a row is quantised by its owner, so the bits are those of one rank.
 *
 * How many rows a rank brings is told once per step; then its place is fixed. A rank
 * that fails later goes on to meet the others and to compute its part of their rows,
 * and tells its failure in the next dispatch (moe/split.h). What stands in its own
 * place until then is read by nobody but itself.
 */

#ifndef CE_ENGINE_DENSE_H
#define CE_ENGINE_DENSE_H

#include "base/arena.h"
#include "base/status.h"
#include "kernels/kernels.h"

#include <stddef.h>
#include <stdint.h>

struct ce_engine;

/* Rows of one step; [step_tokens] of everything but the logits. */
struct ce_activations {
    float *hidden; /* [d] the residual stream */
    float *normed; /* [d] */
    float *q;      /* [heads * head_dim], then the attention's result */
    float *k;      /* [kv_heads * head_dim] */
    float *v;      /* [kv_heads * head_dim] */
    float *mixed;  /* [heads * head_dim] attention before the output projection */
    float *branch; /* [d] what a branch adds to hidden */
    float *last;   /* [step_logits][d] */
    float *logits; /* [step_logits][vocab] */
};

/* The rows of all ranks that share: this rank's are `mine` from `first` on. */
struct ce_dense_rows {
    size_t first;
    size_t mine;
    size_t all;
};

/* What a rank brings to a step. */
struct ce_dense_count {
    _Alignas(64) uint64_t tokens;
    uint64_t logits;
};

struct ce_dense {
    struct ce_activations all; /* from the first rank's rows on; no hidden */
    /* Inputs of packed matrices, the widest of them; NULL where none is. */
    struct ce_quantised_block *blocks;
    struct ce_dense_count *count; /* [ranks] split only */
    struct ce_dense_rows tokens;  /* of the step */
    struct ce_dense_rows logits;
    size_t window_bytes; /* split: of rank 0's part of the window */
};

/* Takes the arrays from the arena or, split, from the window if it is made, and puts
 * this rank's rows at their beginning. After ce_moe_take. */
void ce_dense_take(struct ce_engine *engine, struct ce_arena *arena);

/* Gives the rows of engine->batch their place: engine->act, but for hidden. A rank with
 * a failure brings none. Errors: `status` if it is one; CE_ERR_TIMEOUT naming the ranks
 * that do not come. Collective. */
CE_MUST_CHECK enum ce_status
ce_dense_begin(struct ce_engine *engine, enum ce_status status, struct ce_error *err);

/* y = W x for all rows, with the rank's part of W. */
struct ce_dense_output {
    float *y; /* [rows->mine][outputs] in engine->act */
    const struct ce_matrix *matrix;
    size_t outputs; /* of all ranks */
};

/* Products of the rows x [rows->mine][inputs], which are in engine->act. `status` is
 * this rank's failure so far, which is returned. Collective where there are rows. */
CE_MUST_CHECK enum ce_status ce_dense_run(struct ce_engine *engine,
                                          const struct ce_dense_rows *rows,
                                          const float *x,
                                          size_t inputs,
                                          const struct ce_dense_output *output,
                                          size_t outputs,
                                          enum ce_status status,
                                          struct ce_error *err);

#endif
