/* solver.h - the fits of one expert, with none and more of its neurons kept, to a
 * record
 */

#ifndef CE_CALIBRATE_SOLVER_H
#define CE_CALIBRATE_SOLVER_H

#include "base/arena.h"
#include "base/status.h"
#include "calibrate/fit.h"
#include "calibrate/harvest.h"
#include "calibrate/record.h"
#include "model/weights.h"

#include <stdbool.h>
#include <stddef.h>

/* Relative ridges that a fit chooses from. */
extern const double ce_calibrate_ridges[];
extern const size_t ce_calibrate_ridge_count;

/* What one thread fits in. */
struct ce_solver {
    struct ce_record_shape shape;
    struct ce_fit fit;
    void *workspace;
};

/* False when the arena has no room; a measuring one tells how much is needed. */
bool ce_solver_take(struct ce_solver *solver,
                    struct ce_record_shape shape,
                    struct ce_arena *arena);

/* Fits the expert of slot `index`, whose neurons have been chosen, and writes all of
 * its record. `weights` are of that expert and not used without neurons; layer_mean
 * [hidden]. Threads and errors: see ce_fit_solve. */
CE_MUST_CHECK enum ce_status ce_solver_fit(struct ce_solver *solver,
                                           const struct ce_harvest *harvest,
                                           size_t index,
                                           const struct ce_expert_weights *weights,
                                           const float *layer_mean,
                                           void *record,
                                           struct ce_error *err);

#endif
