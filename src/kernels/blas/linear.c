/* linear.c - wrappers of CBLAS, and of LAPACK in OpenBLAS's library
 *
 * LAPACK knows columns only: it sees the transpose of a row-major matrix, so a part
 * "from the diagonal on" is its lower triangle. Debian's OpenBLAS has LAPACK's Fortran
 * symbols but no header for them; they are declared here.
 */

#include "kernels/blas/linear.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>

/* Fortran passes the length of each character argument behind all others. */
void dpotrf_(const char *triangle,
             const blasint *n,
             double *a,
             const blasint *lda,
             blasint *info,
             size_t triangle_length);
void dsyevr_(const char *job,
             const char *range,
             const char *triangle,
             const blasint *n,
             double *a,
             const blasint *lda,
             const double *lower,
             const double *upper,
             const blasint *first,
             const blasint *last,
             const double *tolerance,
             blasint *found,
             double *values,
             double *vectors,
             const blasint *ldv,
             blasint *support,
             double *work,
             const blasint *work_length,
             blasint *integer_work,
             const blasint *integer_work_length,
             blasint *info,
             size_t job_length,
             size_t range_length,
             size_t triangle_length);

enum {
    /* dsyevr: at least 26; more lets dsytrd work in blocks of up to 64 columns. */
    EIGEN_REALS = 26 + 64,
    EIGEN_INTEGERS = 10,
    EIGEN_SUPPORT = 2, /* integers a vector */
};

static_assert(sizeof(blasint) == sizeof(int), "OpenBLAS is built for 32-bit sizes");

static blasint size_of(size_t n)
{
    assert(n <= INT_MAX);
    return (blasint)n;
}

/* Leading dimensions may not be 0. */
static blasint stride_of(size_t n)
{
    return n == 0 ? 1 : size_of(n);
}

void ce_linear_add_gram(
    float *c, size_t ldc, const float *x, size_t ldx, size_t rows, size_t n)
{
    cblas_ssyrk(CblasRowMajor,
                CblasUpper,
                CblasTrans,
                size_of(n),
                size_of(rows),
                1,
                x,
                stride_of(ldx),
                1,
                c,
                stride_of(ldc));
}

void ce_linear_add_cross(float *c,
                         size_t ldc,
                         const float *x,
                         size_t ldx,
                         const float *y,
                         size_t ldy,
                         size_t rows,
                         size_t m,
                         size_t n)
{
    cblas_sgemm(CblasRowMajor,
                CblasTrans,
                CblasNoTrans,
                size_of(m),
                size_of(n),
                size_of(rows),
                1,
                x,
                stride_of(ldx),
                y,
                stride_of(ldy),
                1,
                c,
                stride_of(ldc));
}

void ce_linear_gram(double *c, const double *x, size_t n)
{
    cblas_dsyrk(CblasRowMajor,
                CblasUpper,
                CblasTrans,
                size_of(n),
                size_of(n),
                1,
                x,
                stride_of(n),
                0,
                c,
                stride_of(n));
}

/* c = factor * x y + keep * c */
static void product(double *c,
                    double keep,
                    double factor,
                    const double *x,
                    const double *y,
                    enum CBLAS_TRANSPOSE turn_y,
                    size_t m,
                    size_t n,
                    size_t k)
{
    cblas_dgemm(CblasRowMajor,
                CblasNoTrans,
                turn_y,
                size_of(m),
                size_of(n),
                size_of(k),
                factor,
                x,
                stride_of(k),
                y,
                stride_of(turn_y == CblasTrans ? k : n),
                keep,
                c,
                stride_of(n));
}

void ce_linear_product(
    double *c, const double *x, const double *y, size_t m, size_t n, size_t k)
{
    product(c, 0, 1, x, y, CblasNoTrans, m, n, k);
}

void ce_linear_subtract_product(
    double *c, const double *x, const double *y, size_t m, size_t n, size_t k)
{
    product(c, 1, -1, x, y, CblasNoTrans, m, n, k);
}

void ce_linear_product_transposed(
    double *c, const double *x, const double *y, size_t m, size_t n, size_t k)
{
    product(c, 0, 1, x, y, CblasTrans, m, n, k);
}

void ce_linear_product_symmetric(
    double *c, const double *x, const double *s, size_t m, size_t n)
{
    cblas_dsymm(CblasRowMajor,
                CblasRight,
                CblasUpper,
                size_of(m),
                size_of(n),
                1,
                s,
                stride_of(n),
                x,
                stride_of(n),
                0,
                c,
                stride_of(n));
}

bool ce_linear_factor(double *s, size_t n)
{
    const blasint size = size_of(n);
    const blasint stride = stride_of(n);
    blasint info = 0;

    dpotrf_("L", &size, s, &stride, &info, 1);
    return info == 0;
}

void ce_linear_solve_left(double *x, const double *factor, size_t n, size_t columns)
{
    cblas_dtrsm(CblasRowMajor,
                CblasLeft,
                CblasUpper,
                CblasTrans,
                CblasNonUnit,
                size_of(n),
                size_of(columns),
                1,
                factor,
                stride_of(n),
                x,
                stride_of(columns));
}

void ce_linear_solve_rows(double *x, const double *factor, size_t n, size_t rows)
{
    cblas_dtrsm(CblasRowMajor,
                CblasRight,
                CblasUpper,
                CblasTrans,
                CblasNonUnit,
                size_of(rows),
                size_of(n),
                1,
                factor,
                stride_of(n),
                x,
                stride_of(n));
}

size_t ce_linear_eigen_reals(size_t n)
{
    return EIGEN_REALS * n;
}

size_t ce_linear_eigen_integers(size_t n, size_t count)
{
    return EIGEN_INTEGERS * n + EIGEN_SUPPORT * count;
}

/* Rows and values from the last to the first. */
static void reverse(double *values, double *vectors, size_t n, size_t count)
{
    for (size_t low = 0; low + 1 < count - low; low++) {
        const size_t high = count - 1 - low;
        const double value = values[low];

        values[low] = values[high];
        values[high] = value;
        cblas_dswap(size_of(n), vectors + low * n, 1, vectors + high * n, 1);
    }
}

bool ce_linear_eigenvectors(double *values,
                            double *vectors,
                            double *s,
                            size_t n,
                            size_t count,
                            double *reals,
                            int *integers)
{
    const blasint size = size_of(n);
    const blasint stride = stride_of(n);
    const blasint first = size_of(n - count + 1);
    const blasint reals_length = size_of((EIGEN_REALS - 1) * n);
    const blasint integers_length = size_of(EIGEN_INTEGERS * n);
    const double ignored = 0;
    double *all_values = reals + reals_length; /* dsyevr wants room for n */
    blasint found = 0;
    blasint info = 0;

    assert(count >= 1 && count <= n);
    dsyevr_("V",
            "I",
            "L",
            &size,
            s,
            &stride,
            &ignored,
            &ignored,
            &first,
            &size,
            &ignored,
            &found,
            all_values,
            vectors,
            &stride,
            integers + integers_length,
            reals,
            &reals_length,
            integers,
            &integers_length,
            &info,
            1,
            1,
            1);
    if (info != 0 || (size_t)found != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = all_values[i];
    }
    reverse(values, vectors, n, count);
    return true;
}
