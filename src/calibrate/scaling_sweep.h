/* scaling_sweep.h - sums over all tokens that least squares for scaling vectors asks
 * for
 *
 *   inputs [tokens of this rank][d]   what the router and the experts of a layer get
 *     | to fit ...        | held out ... |   in steps, each of one set
 *
 * r_t = full block - truncated block of token t, A the map of scaled_block.h. What one
 * sweep over the tokens adds up is exact (exact.h) and shared: all ranks have the same,
 * and so does any number of them.
 */

#ifndef CE_CALIBRATE_SCALING_SWEEP_H
#define CE_CALIBRATE_SCALING_SWEEP_H

#include "base/arena.h"
#include "base/status.h"
#include "calibrate/scaled_block.h"
#include "calibrate/walk.h"
#include "engine/engine.h"

#include <stdbool.h>
#include <stddef.h>

/* Over the tokens of a set and all ranks. */
struct ce_scaling_sums {
    double full;      /* |full block|^2 */
    double truncated; /* |r|^2 */
    double fitted;    /* |r - A (table - 1)|^2 */
    double trace;     /* of A^T A, estimated */
};

struct ce_scaling_sweep {
    struct ce_engine *engine; /* runs the full block */
    size_t tokens[CE_TEXT_SETS];
    size_t steps[CE_TEXT_SETS]; /* of the rank that has most */
    size_t most_tokens;         /* of a step */
    size_t values;              /* experts * intermediate */

    float *inputs;
    float *table; /* [experts][intermediate] */
    double *sum;  /* [experts][intermediate] of all ranks */
    float *full;  /* [most_tokens][hidden], and those below */
    float *scaled;
    float *ignored;
    struct ce_scaled_block block;

    size_t layer;
    struct ce_exact full_square; /* of this rank, see struct ce_scaling_sums */
    struct ce_exact truncated_square;
    struct ce_exact fitted_square;
    struct ce_exact trace;
    bool told; /* the failure at hand is known to all ranks */
    /* Called on every rank after each step; NULL: nobody. */
    void (*on_step)(void *context);
    void *context;
};

/* Counts what a rank has of the windows. */
void ce_scaling_sweep_count(struct ce_scaling_sweep *sweep,
                            const struct ce_text_windows *windows,
                            const struct ce_walk_limits *limits,
                            int rank);
/* After that and ce_scaled_block_init. False when the arena has no room; a measuring
 * one tells how much is needed. */
bool ce_scaling_sweep_take(struct ce_scaling_sweep *sweep, struct ce_arena *arena);

/* From here on it is about this layer, whose inputs have been filled. */
void ce_scaling_sweep_begin(struct ce_scaling_sweep *sweep, size_t layer);

/* sum = A^T r over the tokens to fit; `sums` but for `fitted`. Collective, as those
 * below. */
CE_MUST_CHECK enum ce_status ce_scaling_sweep_right(struct ce_scaling_sweep *sweep,
                                                    struct ce_scaling_sums *sums,
                                                    struct ce_error *err);
/* sum = A^T A table over the tokens to fit. */
CE_MUST_CHECK enum ce_status ce_scaling_sweep_product(struct ce_scaling_sweep *sweep,
                                                      struct ce_error *err);
/* `sums` of a set, with this table, but for `trace`. */
CE_MUST_CHECK enum ce_status ce_scaling_sweep_errors(struct ce_scaling_sweep *sweep,
                                                     enum ce_text_set set,
                                                     struct ce_scaling_sums *sums,
                                                     struct ce_error *err);

#endif
