/* core.h - which processor's kernels OpenBLAS computes with
 *
 * OpenBLAS chooses when it is loaded, before main. For a processor that it does not
 * know, as one that is newer than it, it falls back on kernels several times slower.
 */

#ifndef CE_KERNELS_BLAS_CORE_H
#define CE_KERNELS_BLAS_CORE_H

/* What its environment variable is called. */
#define CE_BLAS_CORE_VARIABLE "OPENBLAS_CORETYPE"

/* The processor whose kernels OpenBLAS has chosen, "Haswell". */
const char *ce_blas_core(void);

/* The processor it should be told to compute for, by CE_BLAS_CORE_VARIABLE and another
 * start of the program: a literal; NULL where its own choice is good, or the variable
 * is set already. */
const char *ce_blas_better_core(void);

#endif
