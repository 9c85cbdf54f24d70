/* fit_map.c - the maps of all ranks for one ridge, and their errors
 *
 * With C = R^T R (R = L^T), Z = R^-T B and e_i the orthonormal eigenvectors of Z^T Z,
 * the map of rank r is sum over i < r of e_i v_i^T, v_i = R^-1 Z e_i. As the e_i are
 * orthonormal, every rank adds its own part to the error on any moments xx, xy:
 *   sum w |y - sum e_i v_i^T x|^2 = sum w |y|^2 - sum_i (2 v_i^T xy e_i - v_i^T xx
 * v_i). On the moments fitted v_i^T xy e_i = |Z e_i|^2 = s_i, the eigenvalue, and v_i^T
 * xx v_i = s_i - lambda |v_i|^2.
 */

#include "calibrate/fit_parts.h"
#include "kernels/blas/linear.h"

#include <string.h>

enum {
    RAISE = 10, /* by how much a ridge is raised when C is not positive definite */
    MOST_RAISES = 8,
};

static double mean_diagonal(const double *square, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += square[i * n + i];
    }
    return sum / (double)n;
}

/* C and its factor in work->c. Gives lambda, and the relative ridge it is of. */
static enum ce_status factor_inputs(const struct ce_fit_view *fit,
                                    double *ridge,
                                    double *lambda,
                                    struct ce_error *err)
{
    double *c = fit->work->c;
    const size_t d = fit->moments->hidden;

    for (unsigned raises = 0; raises <= MOST_RAISES; raises++) {
        if (!ce_fit_view_inputs(fit, c)) {
            return ce_fail(err, CE_ERR_NUMERIC, "moments of the inputs are not finite");
        }
        *lambda = *ridge * mean_diagonal(c, d);
        for (size_t i = 0; i < d; i++) {
            c[i * d + i] += *lambda;
        }
        if (ce_linear_factor(c, d)) {
            return CE_OK;
        }
        *ridge *= RAISE;
    }
    return ce_fail(err,
                   CE_ERR_NUMERIC,
                   "moments of the inputs are not positive definite, even with a ridge "
                   "of %g of their mean",
                   *ridge / RAISE);
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static enum ce_status
find_maps(const struct ce_fit_view *fit, size_t rank, struct ce_error *err)
{
    struct ce_fit_work *work = fit->work;
    const size_t d = fit->moments->hidden;

    if (!ce_fit_view_products(fit, work->z)) {
        return ce_fail(
            err, CE_ERR_NUMERIC, "moments of inputs and outputs are not finite");
    }
    ce_linear_solve_left(work->z, work->c, d, d);
    ce_linear_gram(work->g, work->z, d);
    if (!ce_linear_eigenvectors(work->values,
                                work->vectors,
                                work->g,
                                d,
                                rank,
                                work->reals,
                                work->integers)) {
        return ce_fail(
            err, CE_ERR_NUMERIC, "the eigenvectors of the fit do not converge");
    }
    ce_linear_product_transposed(work->maps, work->vectors, work->z, rank, d, d);
    ce_linear_solve_rows(work->maps, work->c, d, rank);
    return CE_OK;
}

static void set_fitted_error(const struct ce_fit_view *fit,
                             size_t rank,
                             double lambda,
                             double *error)
{
    const struct ce_fit_work *work = fit->work;
    const size_t d = fit->moments->hidden;

    error[0] = ce_fit_view_outputs(fit);
    for (size_t i = 0; i < rank; i++) {
        const double *v = work->maps + i * d;

        error[i + 1] = error[i] - work->values[i] - lambda * dot(v, v, d);
    }
}

static enum ce_status set_heldout_error(const struct ce_fit_view *heldout,
                                        size_t rank,
                                        double *error,
                                        struct ce_error *err)
{
    struct ce_fit_work *work = heldout->work;
    const size_t d = heldout->moments->hidden;

    ce_fit_view_begin(heldout);
    error[0] = ce_fit_view_outputs(heldout);
    if (!ce_fit_view_products(heldout, work->g)) {
        return ce_fail(err,
                       CE_ERR_NUMERIC,
                       "held-out moments of inputs and outputs are not finite");
    }
    ce_linear_product(work->product, work->maps, work->g, rank, d, d);
    for (size_t i = 0; i < rank; i++) {
        error[i + 1] = -2 * dot(work->product + i * d, work->vectors + i * d, d);
    }
    if (!ce_fit_view_inputs(heldout, work->g)) {
        return ce_fail(
            err, CE_ERR_NUMERIC, "held-out moments of the inputs are not finite");
    }
    ce_linear_product_symmetric(work->product, work->maps, work->g, rank, d);
    for (size_t i = 0; i < rank; i++) {
        error[i + 1] += error[i] + dot(work->product + i * d, work->maps + i * d, d);
    }
    return CE_OK;
}

enum ce_status ce_fit_map(const struct ce_fit_view *fit,
                          const struct ce_fit_view *heldout,
                          double ridge,
                          size_t rank,
                          double *raised,
                          struct ce_error *err)
{
    struct ce_fit_work *work = fit->work;
    double lambda = 0;
    enum ce_status status;

    ce_fit_view_begin(fit);
    *raised = ridge;
    status = factor_inputs(fit, raised, &lambda, err);
    if (status == CE_OK) {
        status = find_maps(fit, rank, err);
    }
    if (status != CE_OK) {
        return status;
    }
    set_fitted_error(fit, rank, lambda, work->error);
    if (heldout->moments->rows == 0) {
        memset(work->heldout, 0, (rank + 1) * sizeof(*work->heldout));
        return CE_OK;
    }
    return set_heldout_error(heldout, rank, work->heldout, err);
}
