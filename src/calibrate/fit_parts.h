/* fit_parts.h - moments about chosen means, and the workspace; private to fit*.c */

#ifndef CE_CALIBRATE_FIT_PARTS_H
#define CE_CALIBRATE_FIT_PARTS_H

#include "calibrate/fit.h"

#include <stdbool.h>
#include <stddef.h>

/* One workspace, cut up. d is hidden, r most_rank, s the most neurons kept. */
struct ce_fit_work {
    double *c; /* [d][d] */
    double *z; /* [d][d] */
    double *g; /* [d][d] */

    double *vectors; /* [r][d], U^T */
    double *maps;    /* [r][d], V */
    double *product; /* [r][d] */
    double *values;  /* [r], eigenvalues */
    double *error;   /* [r + 1] */
    double *heldout; /* [r + 1] */
    double *reals;   /* for ce_linear_eigenvectors */
    int *integers;   /* the same */
    double *mean_x;  /* [d] */
    double *mean_h;  /* [s] */
    double *mean_y;  /* [d], without the kept neurons' part */
    double *shift_x; /* [d], of the moments at hand: from their origin to the mean */
    double *shift_h; /* [s] */
    double *shift_y; /* [d] */
    double *with_h;  /* [d][s], xx between x and the kept neurons */
    double *down;    /* [s][d] */
};

/* `arena` has room, or measures and `work` is of no use. */
void ce_fit_work_take(struct ce_fit_work *work,
                      size_t hidden,
                      size_t most_rank,
                      size_t neurons,
                      struct ce_arena *arena);

/* Moments about the means in the workspace, with the kept neurons' part of y gone.
 * They must have rows. */
struct ce_fit_view {
    const struct ce_moments *moments;
    const struct ce_fit_neurons *neurons; /* count 0: none */
    struct ce_fit_work *work;
};

/* Sets the means in the workspace to those of these moments. */
void ce_fit_view_set_means(const struct ce_fit_view *view);
/* Makes the shifts in the workspace those of these moments: before the three below. */
void ce_fit_view_begin(const struct ce_fit_view *view);
/* xx of x alone into [d][d] `out`, from the diagonal on. False when not finite. */
CE_MUST_CHECK bool ce_fit_view_inputs(const struct ce_fit_view *view, double *out);
/* xy into [d][d] `out`. False when not finite. */
CE_MUST_CHECK bool ce_fit_view_products(const struct ce_fit_view *view, double *out);
/* sum w |y|^2 */
double ce_fit_view_outputs(const struct ce_fit_view *view);

/* One ridge: vectors, maps, and both errors of the workspace up to `rank`. `raised`:
 * the ridge that it took instead, where C was not positive definite with this one.
 * `heldout` may have no rows. */
CE_MUST_CHECK enum ce_status ce_fit_map(const struct ce_fit_view *fit,
                                        const struct ce_fit_view *heldout,
                                        double ridge,
                                        size_t rank,
                                        double *raised,
                                        struct ce_error *err);

#endif
