/* layers.h - the run of a calibration: layer after layer, all ranks together
 *
 *   for each layer
 *     to keep neurons: walk the windows to fit; which neurons vary most
 *     walk all windows; the owners of experts add what these compute to moments
 *     the layer's mean of all ranks
 *     every rank fits its experts, a thread an expert
 *     rank 0 gets the fits of all and writes the layer's part
 *
 * A layer that has a part is only walked through, and not even that behind the last
 * that has none.
 */

#ifndef CE_CALIBRATE_LAYERS_H
#define CE_CALIBRATE_LAYERS_H

#include "calibrate/needs.h"
#include "calibrate/parts.h"
#include "calibrate/text_windows.h"
#include "engine/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the run is, as told while it goes on. */
struct ce_calibrate_progress {
    size_t layer;
    size_t layers; /* up to the last that is walked through */
    size_t pass;
    size_t passes;
    size_t step;  /* done of this pass */
    size_t steps; /* of a pass */
};

/* Of this rank. */
struct ce_calibrate_counters {
    uint64_t walk_ns;    /* without what the harvest took */
    uint64_t collect_ns; /* rows to moments */
    uint64_t solve_ns;
    uint64_t write_ns; /* gathering and writing the fits */
    uint64_t rows;     /* that were added to moments */
    double flops;      /* of the moments */
    uint64_t tokens;   /* of all ranks, times the layers and passes */
};

struct ce_calibrate_run {
    struct ce_engine *engine;
    const struct ce_text_windows *windows;
    size_t compressed; /* n_ce that the experts are fitted for */
    struct ce_record_shape shape;
    struct ce_calibrate_needs needs;
    const struct ce_parts *parts; /* NULL but on rank 0 */
    unsigned char *solved;        /* [layers] 1: has a part; the same on all ranks */
    /* Sees the rows of this layer as they are added; see harvest.h. */
    size_t tee_layer;
    void (*tee)(void *context,
                enum ce_text_set set,
                size_t expert,
                const struct ce_moments_rows *rows);
    void *tee_context;
    void (*on_progress)(void *context, const struct ce_calibrate_progress *progress);
    void *progress_context;
    struct ce_calibrate_counters counters; /* what came of it */
};

/* Errors are those of steps, of the fits (naming layer and expert) and of files. Sets
 * `solved` layer by layer. Collective. */
CE_MUST_CHECK enum ce_status ce_calibrate_layers(struct ce_calibrate_run *run,
                                                 struct ce_error *err);

/* True when one of so many layers is left to be fitted; then *last is the last of them:
 * none after it needs to be run. */
bool ce_calibrate_find_last(const struct ce_calibrate_run *run,
                            size_t layers,
                            size_t *last);

#endif
