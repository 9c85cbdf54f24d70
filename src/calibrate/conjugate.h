/* conjugate.h - conjugate gradients for least squares with a ridge
 *
 * Minimises |r - A x|^2 + lambda |x|^2 from x = 0 through the normal equations
 * (A^T A + lambda) x = A^T r, of which only the products with A^T A are asked for: one
 * walk over the data a step, and nothing of the size of A or A^T A is kept. The state
 * is the caller's, so that ranks can share products between steps and all have the same
 * x.
 *
 * Source: Hestenes, Stiefel, "Methods of conjugate gradients for solving linear
 * systems", 1952.
 */

#ifndef CE_CALIBRATE_CONJUGATE_H
#define CE_CALIBRATE_CONJUGATE_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>

struct ce_conjugate {
    size_t n;
    double lambda;
    double *x;         /* [n] the solution so far */
    double *direction; /* [n] whose product is wanted next */
    double *residual;  /* [n] A^T r - (A^T A + lambda) x */
    double norm;       /* |residual|^2 */
    double gained;     /* by how much the objective fell from x = 0 */
    double last_gain;  /* of that, by the last step */
    size_t steps;
};

/* n must be set. False when the arena has no room; a measuring one tells how much is
 * needed. */
bool ce_conjugate_take(struct ce_conjugate *conjugate, struct ce_arena *arena);

/* From x = 0; `right` is A^T r. */
void ce_conjugate_begin(struct ce_conjugate *conjugate,
                        const double *right,
                        double lambda);

/* `product` is A^T A times the direction. False when there is nothing more to gain: the
 * residual is 0, or rounding has the better of it; x is as it was then. */
bool ce_conjugate_step(struct ce_conjugate *conjugate, const double *product);

/* The last step gained less than this part of all there was. */
bool ce_conjugate_is_done(const struct ce_conjugate *conjugate, double part);

#endif
