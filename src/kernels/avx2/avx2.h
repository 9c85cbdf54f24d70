/* avx2.h - the set for CPUs with AVX2, FMA and F16C
 *
 * Only files of this folder are compiled for these instructions; the rest of
 * the library reaches them through the table.
 */

#ifndef CE_KERNELS_AVX2_AVX2_H
#define CE_KERNELS_AVX2_AVX2_H

#include "kernels/kernels.h"

/* Overrides what this set does better. */
void ce_kernels_fill_avx2(struct ce_kernels *kernels);

void ce_matmul_avx2(float *y,
                    size_t ldy,
                    const float *x,
                    size_t ldx,
                    size_t rows,
                    const struct ce_matrix *w,
                    size_t first,
                    size_t count);
void ce_rms_norm_avx2(
    float *y, const float *x, const float *weight, size_t n, float eps);
void ce_softmax_avx2(float *x, size_t n);
void ce_silu_multiply_avx2(
    float *h, const float *gate, const float *up, const float *scale, size_t n);
void ce_multiply_avx2(float *y, const float *x, const float *w, size_t n);
void ce_add_scaled_avx2(float *y, const float *x, float a, size_t n);
void ce_add_combined_avx2(float *y,
                          size_t ldy,
                          const struct ce_combination *c,
                          const struct ce_matrix *w,
                          size_t first,
                          size_t count);
void ce_rotate_avx2(float *x, const float *cosine, const float *sine, size_t n);
void ce_attend_avx2(const struct ce_attend *a);
void ce_quantise_rows_avx2(struct ce_quantised_block *blocks,
                           size_t ld_blocks,
                           const float *x,
                           size_t ldx,
                           size_t rows,
                           size_t inputs);
void ce_matmul_quantised_avx2(float *y,
                              size_t ldy,
                              const struct ce_quantised_block *x,
                              size_t ldx,
                              size_t rows,
                              const struct ce_quantised_matrix *w,
                              size_t first,
                              size_t count);
bool ce_all_finite_avx2(const float *x, size_t n);
uint64_t ce_checksum_avx2(const void *data, size_t bytes);
uint64_t ce_xor_words_avx2(const uint64_t *words, size_t n);

#endif
