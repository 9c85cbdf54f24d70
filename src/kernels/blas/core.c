/* core.c - the choice of OpenBLAS, and a better one */

#include "kernels/blas/core.h"

#include "kernels/cpu_x86.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

/* What it takes for an x86-64 that it does not know. */
#define FALLBACK "Prescott"

const char *ce_blas_core(void)
{
    return openblas_get_corename();
}

const char *ce_blas_better_core(void)
{
    if (getenv(CE_BLAS_CORE_VARIABLE) != NULL ||
        strcmp(ce_blas_core(), FALLBACK) != 0) {
        return NULL;
    }
    if (ce_cpu_has_avx512()) {
        return "SkylakeX";
    }
    return ce_cpu_has_avx2() ? "Haswell" : NULL;
}
