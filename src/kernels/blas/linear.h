/* linear.h - the linear algebra of calibration: sums of products, factors, eigenvectors
 *
 * Matrices are row-major; a symmetric one is given by its part from the diagonal on,
 * and what is below is neither read nor, but for factors in place, kept. No size may
 * exceed INT_MAX. Threads: as many as OpenBLAS takes; one inside a parallel region,
 * where bits depend on the shapes alone.
 */

#ifndef CE_KERNELS_BLAS_LINEAR_H
#define CE_KERNELS_BLAS_LINEAR_H

#include <stdbool.h>
#include <stddef.h>

/* c [n][n] += x^T x, x [rows][n]; symmetric. */
void ce_linear_add_gram(
    float *c, size_t ldc, const float *x, size_t ldx, size_t rows, size_t n);

/* c [m][n] += x^T y, x [rows][m], y [rows][n]. */
void ce_linear_add_cross(float *c,
                         size_t ldc,
                         const float *x,
                         size_t ldx,
                         const float *y,
                         size_t ldy,
                         size_t rows,
                         size_t m,
                         size_t n);

/* c [n][n] = x^T x, x [n][n]; symmetric. */
void ce_linear_gram(double *c, const double *x, size_t n);

/* c [m][n] = x [m][k] y [k][n] */
void ce_linear_product(
    double *c, const double *x, const double *y, size_t m, size_t n, size_t k);

/* c [m][n] -= x [m][k] y [k][n] */
void ce_linear_subtract_product(
    double *c, const double *x, const double *y, size_t m, size_t n, size_t k);

/* c [m][n] = x [m][k] y^T, y [n][k] */
void ce_linear_product_transposed(
    double *c, const double *x, const double *y, size_t m, size_t n, size_t k);

/* c [m][n] = x [m][n] s, s [n][n] symmetric. */
void ce_linear_product_symmetric(
    double *c, const double *x, const double *s, size_t m, size_t n);

/* s = R^T R in place, R upper triangular; s [n][n] symmetric. False when s is not
 * positive definite; then s is lost. */
bool ce_linear_factor(double *s, size_t n);

/* x [n][columns] = R^-T x */
void ce_linear_solve_left(double *x, const double *factor, size_t n, size_t columns);

/* x [rows][n] = x R^-T: each row is R^-1 of itself. */
void ce_linear_solve_rows(double *x, const double *factor, size_t n, size_t rows);

/* The `count` largest eigenvalues of s [n][n] symmetric, from the largest down, and
 * their orthonormal vectors, [count][n], a row each; s is lost. False when LAPACK's
 * dsyevr does not converge. `reals` and `integers`: work of these lengths. */
bool ce_linear_eigenvectors(double *values,
                            double *vectors,
                            double *s,
                            size_t n,
                            size_t count,
                            double *reals,
                            int *integers);
size_t ce_linear_eigen_reals(size_t n);
size_t ce_linear_eigen_integers(size_t n, size_t count);

#endif
