/* neurons.h - which neurons of an expert are worth keeping, and what they are
 *
 * An expert is E(x) = sum_n down_n h_n(x). The constant and the map stand in well for a
 * neuron that hardly varies, so those that vary most are the candidates: of the largest
 *   sum w (h_n - mean h_n)^2 |down_n|^2
 * over the rows to fit, w = a^2. Sums are in double about zero, row by row in the order
 * of these; equal neurons are taken in their order in the expert.
 */

#ifndef CE_CALIBRATE_NEURONS_H
#define CE_CALIBRATE_NEURONS_H

#include "base/arena.h"
#include "model/weights.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_neurons {
    size_t intermediate; /* f: neurons an expert has */
    size_t most;         /* s: of each that are chosen; 0: nothing is taken or done */
    size_t own;          /* room: experts of a layer */

    double *weight;   /* [own], sum w */
    double *sums;     /* [own][f], sum w h */
    double *squares;  /* [own][f], sum w h^2 */
    double *scores;   /* [f], of the expert at hand */
    uint32_t *chosen; /* [own][s], the best first */
};

/* The sizes must be set. False when the arena has no room; a measuring one tells how
 * much is needed. */
bool ce_neurons_take(struct ce_neurons *neurons, struct ce_arena *arena);
/* Forgets all rows. */
void ce_neurons_clear(struct ce_neurons *neurons);

/* One row of the expert in place `own`: h [f], a the router's weight. Different places
 * may be added to at once. */
void ce_neurons_add(struct ce_neurons *neurons, size_t own, const float *h, double a);

/* Fills `chosen` for the place. The weights are not packed, here and below. */
void ce_neurons_choose(struct ce_neurons *neurons,
                       size_t own,
                       const struct ce_expert_weights *weights);

/* The rows of gate and up and columns of down of these neurons, rounded to BF16: each
 * [count][hidden]. */
void ce_neurons_read(float *gate,
                     float *up,
                     float *down,
                     const struct ce_expert_weights *weights,
                     const uint32_t *chosen,
                     size_t count);

#endif
