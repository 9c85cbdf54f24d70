/* needs.h - the memory of a calibration, known before anything is loaded
 *
 *   residual   the tokens of this rank, for the whole run
 *   moments    per expert of a layer: moments to fit and held out, rows that wait
 *   solve      per thread: the workspace of a fit
 *   records    the fits of this rank's experts of a layer, on rank 0 of all of them
 *
 * What does not fit at once is taken in several passes over the layer, each for a group
 * of its experts; the results are the same.
 */

#ifndef CE_CALIBRATE_NEEDS_H
#define CE_CALIBRATE_NEEDS_H

#include "base/status.h"
#include "calibrate/harvest.h"
#include "calibrate/record.h"

#include <stddef.h>

/* What it depends on. */
struct ce_calibrate_sizes {
    struct ce_record_shape shape;
    size_t intermediate;
    size_t experts;     /* of a layer */
    size_t own_experts; /* of this rank, the most of any layer */
    size_t own_tokens;
    size_t all_tokens; /* ids are on every rank */
    size_t windows;    /* of all */
    size_t threads;
    bool gathers; /* this rank gets the fits of all */
};

/* Bytes of each part. */
struct ce_calibrate_needs {
    size_t tokens;
    size_t residual;
    size_t moments; /* of `slots` experts */
    size_t solve;   /* of `solvers` threads */
    size_t records;
    size_t total;
    size_t slots;   /* experts at a time */
    size_t passes;  /* over each layer */
    size_t solvers; /* at least two where there are two threads: see fit.h on bits */
};

/* The fewest passes that fit into `limit` bytes. Errors: CE_ERR_NOMEM when not even one
 * expert at a time does, saying what is needed for what. */
CE_MUST_CHECK enum ce_status
ce_calibrate_needs_find(struct ce_calibrate_needs *needs,
                        const struct ce_calibrate_sizes *sizes,
                        size_t limit,
                        struct ce_error *err);

/* The same with at least so many passes, as another rank needs. */
void ce_calibrate_needs_spread(struct ce_calibrate_needs *needs,
                               const struct ce_calibrate_sizes *sizes,
                               size_t passes);

/* What the harvest of so many experts takes. */
size_t ce_calibrate_harvest_bytes(const struct ce_calibrate_sizes *sizes, size_t slots);
/* Workspace and fit of one thread. */
size_t ce_calibrate_solver_bytes(struct ce_record_shape shape);

#endif
