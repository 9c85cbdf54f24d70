/* fit.h - the best affine map of rank r from the moments of an expert
 *
 * For a row with w = a^2 the map y ~ U V x + b minimises sum w |y - U V x - b|^2, with
 * a ridge, for every r up to a largest one at once:
 *   C = centred xx + lambda I,  B = centred xy,  C = L L^T,  Z = L^-1 B
 *   the leading eigenvectors e_1, e_2, ... of Z^T Z are the columns of U, the rows of V
 *   are (L^-T Z e_i)^T, b = mean y - U V mean x.
 * This is reduced-rank regression in the metric of C: the ridge solution A = C^-1 B cut
 * to its leading right singular vectors of L^T A. A. J. Izenman, "Reduced-rank
 * regression for the multivariate linear model", J. Multivariate Analysis 5 (1975).
 *
 * The ridge is relative to the mean of C's diagonal and chosen by the held-out error.
 *
 * With kept neurons S of the expert its exact part D_S h_S is taken from y first, in
 * the moments: U, V and b are then of y - D_S h_S.
 */

#ifndef CE_CALIBRATE_FIT_H
#define CE_CALIBRATE_FIT_H

#include "base/arena.h"
#include "base/status.h"
#include "calibrate/moments.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ce_fit_status {
    CE_FIT_FULL = 0, /* all ranks up to most_rank */
    CE_FIT_SHRUNK,   /* fewer: not enough rows for more, or inputs that do not vary */
    CE_FIT_CONSTANT, /* too few rows for a map: a constant, drawn to the layer's mean */
    CE_FIT_UNSEEN,   /* no row at all: the layer's mean */
};

struct ce_fit_options {
    size_t most_rank;
    const double *ridges; /* candidates in ascending order, all > 0 */
    size_t ridge_count;
    const float *layer_mean; /* [hidden], sum w y / sum w over the layer's experts */
};

/* What was found for one expert; arrays are taken once and used again. */
struct ce_fit {
    size_t hidden;
    size_t most_rank; /* room, and what was asked for */

    enum ce_fit_status status;
    size_t rank;      /* computed: u, v and the errors up to this one are valid */
    double ridge;     /* relative; 0 where there is no map */
    bool regularised; /* even the chosen ridge was too small for C and was raised */
    size_t rows;      /* of the moments to fit */
    double weight;    /* sum w of these */
    double effective_rows;
    double total; /* sum w |y|^2 of these: the error without the expert */
    size_t heldout_rows;
    double heldout_weight;
    double heldout_effective_rows;
    double heldout_total;

    float *u;      /* [most_rank][hidden]: row i is column i of U, so a smaller r is a
                      shorter array */
    float *v;      /* [most_rank][hidden] */
    float *mean_x; /* [hidden] */
    float
        *mean_y; /* [hidden], without the kept neurons' part: b = mean_y - U V mean_x */
    double *error;         /* [most_rank + 1], on the rows fitted, by rank */
    double *heldout_error; /* [most_rank + 1] */
};

/* Neurons of the expert to keep; NULL: none. */
struct ce_fit_neurons {
    size_t count;
    const uint32_t *kept; /* indices into the moments' candidates */
    const float *down;    /* [candidates][hidden]: row i is candidate i's column of D */
};

bool ce_fit_take(struct ce_fit *fit,
                 size_t hidden,
                 size_t most_rank,
                 struct ce_arena *arena);

/* What ce_fit_solve works in: about three matrices of d^2 doubles. `neurons`: the most
 * that are kept. SIZE_MAX when it does not exist. */
size_t ce_fit_workspace_bytes(size_t hidden, size_t most_rank, size_t neurons);

/* `heldout` may be empty: then the middle ridge is taken and the held-out errors are 0.
 * Threads: calls on different fits and workspaces may run at once, and should, inside a
 * parallel region: one that is alone takes all cores, with other bits. CE_ERR_NUMERIC
 * when the moments are not finite, which says nothing of the expert's name. */
CE_MUST_CHECK enum ce_status ce_fit_solve(struct ce_fit *fit,
                                          const struct ce_moments *moments,
                                          const struct ce_moments *heldout,
                                          const struct ce_fit_neurons *neurons,
                                          const struct ce_fit_options *options,
                                          void *workspace,
                                          struct ce_error *err);

/* The error per unit of weight that new rows should meet at `rank`, times the weight of
 * all rows, fitted and held-out: comparable between experts. Held-out errors where
 * there are enough of these rows, else the fitted ones, corrected for what was fitted.
 */
double ce_fit_expected_error(const struct ce_fit *fit, size_t rank);
/* What dropping the expert costs on all rows. */
double ce_fit_expected_total(const struct ce_fit *fit);

/* "full", "shrunk", "constant", "unseen" */
const char *ce_fit_status_name(enum ce_fit_status status);

#endif
