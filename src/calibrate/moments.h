/* moments.h - weighted second moments of one expert's inputs and outputs
 *
 * For rows (x, y, a) with the weight w = a^2, a the router's weight:
 *   xx = sum w (x - ox)(x - ox)^T    xy = sum w (x - ox)(y - oy)^T
 * and what ce_fit (calibrate/fit.h) needs besides. The origins ox and oy are the
 * weighted means of the first rows; so near the final means F32 sums keep what
 * matters, and the fit moves them to those exactly.
 *
 * The inputs may be longer than x: behind it stand the activations h of candidate
 * neurons of the expert, so that one set of moments fits any subset of them kept.
 */

#ifndef CE_CALIBRATE_MOMENTS_H
#define CE_CALIBRATE_MOMENTS_H

#include "base/arena.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_moments {
    size_t hidden;  /* d: x and y */
    size_t neurons; /* s: candidate neurons */
    size_t inputs;  /* d + s */

    size_t rows;           /* those with a > 0 */
    double weight;         /* sum w */
    double weight_squares; /* sum w^2 */
    double yy;             /* sum w |y - oy|^2 */
    double total;          /* sum w |y|^2: what dropping the expert costs */
    float *origin_x;       /* [inputs] */
    float *origin_y;       /* [hidden] */
    double *sum_x;         /* [inputs], sum w (x - ox) */
    double *sum_y;         /* [hidden], sum w (y - oy) */
    float *xx;       /* [inputs][inputs], from the diagonal on; below it: anything */
    float *xy;       /* [inputs][hidden] */
    double *squares; /* [2][hidden], the parts of yy and total of one call */
};

/* Rows of one expert; strides count floats. */
struct ce_moments_rows {
    size_t rows;
    const float *x; /* [rows][x_stride >= hidden] */
    size_t x_stride;
    const float *y; /* [rows][y_stride >= hidden], before the router's weight */
    size_t y_stride;
    const float *weights; /* [rows], the router's a >= 0 */
    const float *h;       /* [rows][h_stride], NULL without candidates */
    size_t h_stride;      /* at least the largest of `candidates` + 1 */
    const uint32_t
        *candidates; /* [neurons]: columns of h, in the order of the inputs */
};

/* Takes the arrays from `arena`, about (2 d + s)(d + s) floats, and clears. False
 * when they do not fit; with a measuring arena too, where that means nothing. */
bool ce_moments_take(struct ce_moments *moments,
                     size_t hidden,
                     size_t neurons,
                     struct ce_arena *arena);
/* Ready for another expert; keeps the arrays. */
void ce_moments_clear(struct ce_moments *moments);

/* Floats that ce_moments_add needs for so many rows at once. */
size_t ce_moments_scratch(const struct ce_moments *moments, size_t rows);

/* Adds rows: best are 256 to 1024 a call, a short call reads and writes all of xx and
 * xy for little. Threads: shares its work between all of them, none more inside a
 * parallel region; the bits do not depend on that, only on the rows of each call and
 * on the order of calls. NaN and infinity: CE_ERR_NUMERIC, and the moments are spoilt.
 */
CE_MUST_CHECK enum ce_status ce_moments_add(struct ce_moments *moments,
                                            const struct ce_moments_rows *rows,
                                            float *scratch,
                                            struct ce_error *err);

/* Adds `other`, of the same sizes, as if its rows had been added here. */
void ce_moments_merge(struct ce_moments *moments, const struct ce_moments *other);

/* sum w y of the outputs, added to [hidden] `sum`; returns sum w. Over all experts of a
 * layer, and over ranks, it gives the layer's mean for ce_fit_options. */
double ce_moments_add_outputs(const struct ce_moments *moments, double *sum);

/* (sum w)^2 / sum w^2: as many rows of equal weight would be as good. */
double ce_moments_effective_rows(const struct ce_moments *moments);

#endif
