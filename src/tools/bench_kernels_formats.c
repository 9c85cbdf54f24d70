/* bench_kernels_formats.c - the table of ways to keep and use weights */

#include "kernels/blas/sgemm.h"
#include "tools/bench_kernels.h"

#include <string.h>

static size_t
element_bytes(const struct ce_bench_format *format, size_t outputs, size_t inputs)
{
    return outputs * inputs * ce_dtype_size(format->dtype);
}

static void pack_elements(const struct ce_bench_format *format,
                          void *packed,
                          const float *weights,
                          size_t outputs,
                          size_t inputs)
{
    const size_t n = outputs * inputs;
    uint16_t *half = packed;

    if (format->dtype == CE_DTYPE_F32) {
        memcpy(packed, weights, n * sizeof(float));
        return;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) {
        half[i] = format->dtype == CE_DTYPE_BF16 ? ce_bf16_from_f32(weights[i])
                                                 : ce_f16_from_f32(weights[i]);
    }
}

static void multiply_elements(const struct ce_bench_format *format,
                              const struct ce_bench_product *product,
                              const void *packed)
{
    const struct ce_matrix matrix = {
        format->dtype, product->outputs, product->inputs, packed};

    ce_matmul_parallel(product->kernels,
                       product->y,
                       product->outputs,
                       product->x,
                       product->inputs,
                       product->rows,
                       &matrix);
}

static void multiply_blas(const struct ce_bench_format *format,
                          const struct ce_bench_product *product,
                          const void *packed)
{
    (void)format;
    ce_sgemm_blas(product->y,
                  product->x,
                  packed,
                  product->rows,
                  product->outputs,
                  product->inputs);
}

const struct ce_bench_format ce_bench_formats[CE_BENCH_FORMATS] = {
    {"f32", CE_DTYPE_F32, element_bytes, pack_elements, multiply_elements},
    {"bf16", CE_DTYPE_BF16, element_bytes, pack_elements, multiply_elements},
    {"f16", CE_DTYPE_F16, element_bytes, pack_elements, multiply_elements},
    {"openblas", CE_DTYPE_F32, element_bytes, pack_elements, multiply_blas},
};
