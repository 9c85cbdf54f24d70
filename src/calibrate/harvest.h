/* harvest.h - what the experts of this rank compute, row by row to moments
 *
 *   run of an expert (moe/experts.h) ─► rows where it is auxiliary ─► 512 of an expert
 *       ─► its moments to fit, or held out
 *
 * One slot an expert; a group of experts at a time, where memory has no room for all.
 * An expert's rows are added in the order they come, always so many at once: the bits
 * of its moments depend on that order alone.
 */

#ifndef CE_CALIBRATE_HARVEST_H
#define CE_CALIBRATE_HARVEST_H

#include "base/arena.h"
#include "base/status.h"
#include "calibrate/moments.h"
#include "calibrate/neurons.h"
#include "calibrate/text_windows.h"
#include "moe/experts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of one expert that wait to be added. */
struct ce_harvest_slot {
    size_t expert;
    size_t rows;
    float *x;       /* [CE_HARVEST_ROWS][hidden] */
    float *y;       /* alike */
    float *weights; /* [CE_HARVEST_ROWS] the router's */
    float *h;       /* [CE_HARVEST_ROWS][neurons.most] of the chosen neurons */
    struct ce_moments moments[CE_TEXT_SETS];
};

enum { CE_HARVEST_ROWS = 512 };

struct ce_harvest {
    size_t hidden;
    size_t experts;         /* of the layer */
    size_t first_auxiliary; /* position in the router's order */
    size_t slots;           /* room */
    size_t threads;

    struct ce_harvest_slot *slot; /* [slots] */
    size_t used;                  /* slots of the group at hand */
    int32_t *slot_of;             /* [experts], -1: not of the group */
    float *scratch;               /* [threads][scratch_floats] */
    size_t scratch_floats;
    enum ce_text_set set; /* that rows belong to */

    /* Of all of this rank's experts, also those of other groups: sum w y and sum w of
     * the rows to fit, while `sums_outputs` is set. */
    bool sums_outputs;
    size_t own;            /* room: the most experts of a layer */
    int32_t *own_of;       /* [experts] the place among the rank's own, -1: not here */
    double *output_sum;    /* [own][hidden] */
    double *output_weight; /* [own] */

    /* Of the same rows and experts, while `sums_activations` is set; then the
     * candidates of the moments. `intermediate` and `most` must be set. */
    bool sums_activations;
    struct ce_neurons neurons;
    uint32_t *columns; /* [neurons.most] 0, 1, ... */

    enum ce_status status; /* the first failure */
    struct ce_error err;
    uint64_t ns;   /* in all calls */
    uint64_t rows; /* that were added */
    double flops;  /* of the products, a multiply-add as two */
    /* Sees the rows that are added; NULL: nobody. */
    void (*tee)(void *context,
                enum ce_text_set set,
                size_t expert,
                const struct ce_moments_rows *rows);
    void *tee_context;
};

/* The sizes must be set. False when the arena has no room; a measuring one tells how
 * much is needed. */
bool ce_harvest_take(struct ce_harvest *harvest, struct ce_arena *arena);

/* A layer begins, in which these `count` experts are this rank's. */
void ce_harvest_begin_layer(struct ce_harvest *harvest,
                            const size_t *experts,
                            size_t count);
/* From here on the moments are those of these experts, at most `slots`, from nothing.
 */
void ce_harvest_begin_group(struct ce_harvest *harvest,
                            const size_t *experts,
                            size_t count);
struct ce_expert_observer ce_harvest_observer(struct ce_harvest *harvest);
/* After the rows of a set: adds those that still wait. Returns what has gone wrong
 * since the group began, naming the expert. */
CE_MUST_CHECK enum ce_status
ce_harvest_end_set(struct ce_harvest *harvest, size_t layer, struct ce_error *err);

#endif
