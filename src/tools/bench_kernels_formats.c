/* bench_kernels_formats.c - the table of ways to keep and use weights */

#include "kernels/blas/sgemm.h"
#include "model/weights.h"
#include "tools/bench_kernels.h"

#include <string.h>

static size_t
matrix_bytes(const struct ce_bench_format *format, size_t outputs, size_t inputs)
{
    return ce_weights_matrix_bytes(format->dtype, outputs, inputs);
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

static void pack_panels(const struct ce_bench_format *format,
                        void *packed,
                        const float *weights,
                        size_t outputs,
                        size_t inputs)
{
    const struct ce_matrix from = {CE_DTYPE_F32, outputs, inputs, weights};
    const enum ce_quantisation quantisation =
        format->dtype == CE_DTYPE_Q8 ? CE_QUANTISATION_Q8 : CE_QUANTISATION_Q4;

#pragma omp parallel for schedule(static)
    for (size_t panel = 0; panel < ce_quantised_panels(outputs); panel++) {
        (void)ce_quantise_panels(packed, quantisation, &from, panel, 1);
    }
}

static void multiply_by_kernels(const struct ce_bench_format *format,
                                const struct ce_bench_product *product,
                                const void *packed)
{
    const struct ce_matrix matrix = {
        format->dtype, product->outputs, product->inputs, packed};
    struct ce_rows x = {.values = product->x, .stride = product->inputs};

    if (ce_dtype_is_packed(format->dtype)) {
        ce_rows_quantise(
            product->kernels, &x, product->blocks, product->rows, product->inputs);
    }
    ce_product_parallel(
        product->kernels, product->y, product->outputs, &x, product->rows, &matrix);
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
    {"f32", CE_DTYPE_F32, matrix_bytes, pack_elements, multiply_by_kernels},
    {"bf16", CE_DTYPE_BF16, matrix_bytes, pack_elements, multiply_by_kernels},
    {"f16", CE_DTYPE_F16, matrix_bytes, pack_elements, multiply_by_kernels},
    {"q8", CE_DTYPE_Q8, matrix_bytes, pack_panels, multiply_by_kernels},
    {"q4", CE_DTYPE_Q4, matrix_bytes, pack_panels, multiply_by_kernels},
    {"openblas", CE_DTYPE_F32, matrix_bytes, pack_elements, multiply_blas},
};
