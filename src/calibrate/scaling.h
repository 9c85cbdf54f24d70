/* scaling.h - the run of a calibration of scaling vectors, layer after layer
 *
 *   for each layer
 *     walk all windows; keep what the router and the experts get
 *     A^T r and the trace of A^T A, then a sweep for each step of conjugate gradients
 *     the errors of both sets with the vectors that came out
 *     rank 0 writes the layer's part
 *
 * Minimised is sum_t |r_t - (A delta)_t|^2 + lambda |delta|^2 over the tokens to fit:
 * see scaled_block.h and scaling_sweep.h. theta2 = 1 + delta; theta1 and theta3 stay 1.
 */

#ifndef CE_CALIBRATE_SCALING_H
#define CE_CALIBRATE_SCALING_H

#include "calibrate/layers.h"
#include "calibrate/parts.h"
#include "calibrate/scaling_sweep.h"

#include <stddef.h>
#include <stdint.h>

/* The most steps of conjugate gradients in a layer. */
enum { CE_SCALING_STEPS = 20 };

/* Of a layer's fit. */
struct ce_scaling_facts {
    double full[CE_TEXT_SETS]; /* |full block|^2 */
    double truncated[CE_TEXT_SETS];
    double fitted[CE_TEXT_SETS];
    double lambda;
    uint64_t steps;
};

/* A part of this kind behind its head: facts, then theta2 [experts][intermediate]. */
size_t ce_scaling_body_bytes(size_t experts, size_t intermediate);

/* Bytes on a rank. */
struct ce_scaling_needs {
    size_t tokens;   /* ids */
    size_t residual; /* stream */
    size_t inputs;   /* of the layer at hand */
    size_t block;    /* its messages and rows, and vectors of the fit */
    size_t gathered; /* sums of all ranks */
    size_t records;  /* on rank 0: parts, and the file */
    size_t total;
};

/* What they depend on. */
struct ce_scaling_sizes {
    const struct ce_moe *full; /* settings of the engine's block */
    size_t compressed;
    size_t layers;
    const struct ce_text_windows *windows;
    struct ce_walk_limits limits;
    int rank;
};

/* Errors: CE_ERR_NOMEM for more than `limit` bytes, saying what is needed for what. */
CE_MUST_CHECK enum ce_status ce_scaling_needs_find(struct ce_scaling_needs *needs,
                                                   const struct ce_scaling_sizes *sizes,
                                                   size_t limit,
                                                   struct ce_error *err);

/* Errors: CE_ERR_UNSUPPORTED for an engine with packed experts: there is no product
 * with their transpose. */
CE_MUST_CHECK enum ce_status ce_scaling_check_engine(const struct ce_engine *engine,
                                                     struct ce_error *err);

/* As ce_calibrate_layers, of whose run it uses what is not about moments and records.
 * lambda is `ridge` times the mean of the diagonal of A^T A. The engine has been
 * checked, and its rows travel as F32. Collective. */
CE_MUST_CHECK enum ce_status
ce_scaling_layers(struct ce_calibrate_run *run, double ridge, struct ce_error *err);

#endif
