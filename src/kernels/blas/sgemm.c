/* sgemm.c - the product of OpenBLAS */

#include "kernels/blas/sgemm.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <string.h>

void ce_sgemm_blas(float *y,
                   const float *x,
                   const float *w,
                   size_t rows,
                   size_t outputs,
                   size_t inputs)
{
    assert(rows <= INT_MAX && outputs <= INT_MAX && inputs <= INT_MAX);
    if (rows == 0 || outputs == 0) {
        return;
    }
    if (inputs == 0) { /* leading dimensions may not be 0 */
        memset(y, 0, rows * outputs * sizeof(*y));
        return;
    }
    cblas_sgemm(CblasRowMajor,
                CblasNoTrans,
                CblasTrans,
                (blasint)rows,
                (blasint)outputs,
                (blasint)inputs,
                1,
                x,
                (blasint)inputs,
                w,
                (blasint)inputs,
                0,
                y,
                (blasint)outputs);
}
