/* sgemm.h - y = x W^T in F32 by OpenBLAS: a second opinion, not a kernel set
 *
 * Its bits depend on the number of rows and on OpenBLAS's choice for the CPU,
 * which the contract of kernels.h forbids, so it is not in the table. It serves
 * as an independent oracle in tests and as a rate to compare with in benches.
 */

#ifndef CE_KERNELS_BLAS_SGEMM_H
#define CE_KERNELS_BLAS_SGEMM_H

#include <stddef.h>

/* Shapes: x [rows][inputs], w [outputs][inputs], y [rows][outputs], all row-major
 * and contiguous; no size may exceed INT_MAX.
 * Threads: as many as OpenBLAS takes; one inside a parallel region. */
void ce_sgemm_blas(float *y,
                   const float *x,
                   const float *w,
                   size_t rows,
                   size_t outputs,
                   size_t inputs);

#endif
